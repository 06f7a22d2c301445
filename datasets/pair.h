// datasets/pair.h -- one note, dry and wet, and what its files were like before anything was done to them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "datasets/audio_file.h"
#include "datasets/recording.h"

namespace cafx {

// What is known of one file, as it lies on disk.
struct FileFacts {
  int rate = 0, bits = 0, channels = 1;  // bits: of integer formats; 0: float, lossy or unknown
  bool is_float = false;
  std::int64_t frames = 0;
  Clipping clipping;
  int channel = -1;                // the one that is used; -1: the mean of all
  std::string channel_why;         // where the doctor chose it: what was seen
  std::string codec;               // of lossy files
  double lost_db = -200.0;         // energy above half the model's rate, of all energy; DC counts in neither
  std::vector<std::string> notes;  // what is wrong with its header, nothing being lost
};

// Where a knob of the device stood.
struct KnobValue {
  std::string name, text;                                    // text: as the file's name or the manifest has it
  double number = std::numeric_limits<double>::quiet_NaN();  // not a number: a word, of a switch

  bool is_number() const { return number == number; }
  std::string show() const;  // the number, else the word
};

// Of equal length at the model's rate, once repaired.
struct Pair {
  std::string name;     // of the note: the first nine characters in IDMT, the file's stem or "name@seconds" elsewhere
  std::string group;    // the instrument and its setting, "G6": what a split by instrument keeps together
  std::string setting;  // of the effect, where the reader knows it
  std::string part;     // of the data set's own split: "train", "validation", "test"; empty: it gives none
  std::vector<KnobValue> knobs;
  std::vector<float> controls;               // what a model reads of those that data.knobs names (kernels/base/knobs.h)
  std::filesystem::path dry_path, wet_path;  // wet_path is empty where a chain made the wet audio
  SharedRecording dry, wet;
  FileFacts dry_file, wet_file;
  double offset_seconds = 0.0;   // where this piece begins in its file, or in the part of it that a table states
  double excerpt_seconds = 0.0;  // where that part begins in the file
  bool copy = false;             // at another level, or shifted: for training alone
};

// The pair without its samples: what its pieces begin as.
Pair without_audio(const Pair&);
// The path of the dry or wet file as text, the note's name where a chain made the audio.
std::string file_of(const Pair&, bool wet);

}  // namespace cafx
