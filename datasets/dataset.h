// datasets/dataset.h -- pairs of dry and wet notes, from an IDMT folder, two folders, or two files; and their split.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "datasets/audio_file.h"
#include "kernels/base/describe.h"

namespace cafx {

struct DataConfig {
  std::string reader = "idmt";  // "idmt", "folders" or "files"
  std::string path;             // idmt: the folder that holds it all
  std::string dry, wet;         // folders: two folders with equal names; files: two files
  std::string instrument = "guitar";
  std::string effect = "Distortion";
  int setting = 0;               // 0: all there are
  std::string chain;             // SoX effects that make the wet audio from the dry; empty: wet audio is read
  double segment_seconds = 5.0;  // files: length of the pieces that count as notes
  std::string split = "note";
  double validation = 0.05, test = 0.05;
  std::vector<std::string> validation_notes, test_notes;
  std::int64_t seed = 1;
  bool align = true;
  bool invert = false;
  double dry_gain_db = 0.0, wet_gain_db = 0.0;
  int level_copies = 0;          // of each training note, at other levels
  double level_range_db = 12.0;  // their gains are drawn from +- this
  std::vector<std::string> allow;
};
Fields describe(DataConfig&);

// One note, dry and wet, of equal length at the model's rate.
struct Pair {
  std::string name;   // of the note: the first nine characters in IDMT, the file's stem or "name@seconds" elsewhere
  std::string group;  // the instrument and its setting, "G6": what a split by instrument keeps together
  std::filesystem::path dry_path, wet_path;  // wet_path is empty where a chain made the wet audio
  std::vector<float> dry, wet;

  // What was found before resampling and cutting, for the doctor. Frames at the file's own rate.
  int dry_rate = 0, wet_rate = 0, dry_bits = 0, wet_bits = 0;
  std::int64_t dry_frames = 0, wet_frames = 0;
  Clipping dry_clipping, wet_clipping;
  std::vector<std::string> dry_notes, wet_notes;  // Audio::notes
  double offset_seconds = 0.0;  // files: where this piece begins
  bool copy = false;            // at another level: for training alone
};

enum class Severity { kInfo, kWarning, kRefuse };

// Something that the doctor found. Text says what, cause why, cure what to do.
struct Finding {
  Severity severity = Severity::kInfo;
  std::string code;       // "latency", "polarity", "clipping", ...: what data.allow names
  std::string file;       // or note
  double seconds = -1.0;  // where in the file; negative: all of it
  std::string text, cause, cure;
};

struct Dataset {
  std::vector<Pair> pairs;
  std::vector<std::string> unpaired, unreadable;  // a line each, with the reason
  std::vector<Finding> findings;
};

// Whether training stops at it: of severity kRefuse, and its code not in config.allow.
bool stops_training(const Finding&, const DataConfig&);

// Level augmentation (data.level_copies): dry notes again at gains drawn with data.seed, and their wet audio made anew by
// data.chain. An effect that bends the signal answers another level with another sound, so a wet recording cannot be scaled
// along with its dry note (that would teach the opposite of what the device does): without a chain it is refused.
//
// Reads, pairs, checks (datasets/check.h) and compensates latency. Error where nothing is left, or where a finding stops
// training.
Dataset load_dataset(const DataConfig&, int sample_rate);
// The same without refusing: for `cafx data check`.
Dataset inspect_dataset(const DataConfig&, int sample_rate);

struct Split {
  std::vector<int> train, validation, test;  // indices in pairs, ascending
};

// Whole notes, never frames: every setting of a note is on one side. By `split` = "instrument", whole groups. Lists of
// notes in the config go first (a note is named by any beginning of its name); the rest is drawn with the seed, at
// least one note each where there are three or more. Copies at other levels stand in training alone.
Split split_dataset(const Dataset&, const DataConfig&);
std::string split_json(const Dataset&, const Split&);

// Of names and samples; 32 hex digits.
std::string content_hash(const Dataset&);

}  // namespace cafx
