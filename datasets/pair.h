// datasets/pair.h -- one note, dry and wet, and what its files were like before anything was done to them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "datasets/audio_file.h"

namespace cafx {

// What is known of one file. Levels are of the channel that is used, at the file's own rate, before any repair.
struct FileFacts {
  int rate = 0, bits = 0, channels = 1;  // bits: of integer formats; 0: float, lossy or unknown
  std::int64_t frames = 0;
  Clipping clipping;
  std::vector<ChannelFacts> of_channels;  // where there are several
  double image = 1.0;                     // two channels: their correlation, and by how many seconds the second is late
  double image_seconds = 0.0;
  Mix mix;              // what was used
  bool chosen = false;  // the mix was chosen by the doctor, where several channels differ
  bool lossy = false;
  std::string codec;             // of lossy files
  double lost_band_db = -200.0;  // energy above half the model's rate, of all energy, DC apart
  std::vector<std::string> notes;
};

// Of equal length at the model's rate, once repaired.
struct Pair {
  std::string name;   // of the note: the first nine characters in IDMT, the file's stem or "name@seconds" elsewhere
  std::string group;  // the instrument and its setting, "G6": what a split by instrument keeps together
  std::string setting;  // of the effect, where the reader knows it
  std::filesystem::path dry_path, wet_path;  // wet_path is empty where a chain made the wet audio
  std::vector<float> dry, wet;
  FileFacts dry_file, wet_file;
  double offset_seconds = 0.0;  // where this piece begins in its file
  bool copy = false;            // at another level: for training alone
};

// The path of the dry or wet file as text, the note's name where a chain made the audio.
std::string file_of(const Pair&, bool wet);

}  // namespace cafx
