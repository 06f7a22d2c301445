// datasets/dataset.h -- pairs of dry and wet notes: found (readers/), read, examined (find/), planned (plan.h),
// repaired (repair/), cut and split.
#pragma once

#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "datasets/config.h"
#include "datasets/finding.h"
#include "datasets/pair.h"
#include "datasets/plan.h"
#include "datasets/shelf.h"
#include "datasets/split.h"

namespace cafx {

struct Dataset {
  std::vector<Pair> pairs;
  std::vector<std::string> unpaired, unreadable;  // a line each, with the reason
  std::vector<Finding> findings;
  std::vector<Repair> repairs;  // what was done
  std::size_t n_cut = 0;        // pairs that were cut into these pieces; 0: none were
  int sample_rate = 0;          // of the pairs
  bool split_by_knobs = false;  // the same dry audio at other positions is another example
  double wet_lost_db = -200.0;  // of the wet audio's energy: what lies above half that rate, at most
  int file_rate = 0;            // the highest
};

// Where a knob stood in the recordings.
struct KnobRange {
  std::string name;
  double lo = std::numeric_limits<double>::infinity(), hi = -lo;  // of numbers
  bool words = false;                                             // a switch
  std::string unit = {};                                          // of numbers that have one behind them
  std::vector<std::string> positions = {};                        // that are there, without repetition
  std::string text() const;                                       // for people
};
std::vector<KnobRange> knob_ranges(const Dataset&);

// Level augmentation (data.level_copies): dry notes again at gains drawn with data.seed, and their wet audio made anew
// by data.chain. An effect that bends the signal answers another level with another sound, so a wet recording cannot be
// scaled along with its dry note (it would teach the opposite of what the device does): refused without a chain.
// Shifts (data.shift_copies): copy k of n is later by k / (n + 1) of a sample, dry and wet by the same filter
// (shift.h), which a device that does not vary with time answers as it answered the note.
//
// Recordings that `shelf` has, by data sets before this one, are read and held once; null: there is none.
//
// Error where nothing is left, or where a finding stops training.
Dataset load_dataset(const DataConfig&, int sample_rate, Shelf* shelf = nullptr);
// The same without refusing: for `cafx data check`.
Dataset inspect_dataset(const DataConfig&, int sample_rate, Shelf* shelf = nullptr);

// What was found and done, for data.json of a run folder, result.json and the report.
nlohmann::ordered_json data_json(const Dataset&);
// The same as lines for people: what was done, the bandwidth; empty where there is nothing to say.
std::vector<std::string> data_lines(const Dataset&);
// What is amiss, as lines for people: files that were left out, warnings with cause and cure.
std::vector<std::string> warning_lines(const Dataset&);
// Findings in full, for `cafx data check --json`.
std::string findings_json(const Dataset&);

// Each pair as repaired, as FOLDER/dry/NAME.wav and FOLDER/wet/NAME.wav, float: to be listened to, or read as two
// folders. Error where the folder holds such folders already.
void write_pairs(const Dataset&, const std::string& folder);

// Of names and samples; 32 hex digits.
std::string content_hash(const Dataset&);

}  // namespace cafx
