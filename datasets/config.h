// datasets/config.h -- what a data set is read from, how it is split, and what the doctor may do to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/describe.h"

namespace cafx {

struct DataConfig {
  std::string reader = "idmt";  // a name in readers/reader.h
  std::string path;             // the folder that holds it all, or a table of files
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
  int shift_copies = 0;          // of each training note, between its samples
  double level_range_db = 12.0;  // their gains are drawn from +- this
  std::vector<std::string> allow;

  // Left out of a run's hash at their defaults.
  std::string dry_channel = "auto", wet_channel = "auto";  // "auto", "mean", "left", "right" or a number from 1
  std::vector<std::string> repair = {"channel", "scale", "dc", "latency", "drift", "steps"};
  std::string drift = "auto";            // "auto", "off", or the ppm by which wet runs slow
  std::string dry_pattern, wet_pattern;  // folders: names with * for what a pair shares; empty: found
  std::string pattern;                   // pattern: wet names (readers/name_pattern.h); dry_pattern: dry names
  std::vector<std::string> select;       // NAME=VALUE of a setting: which of several
  std::vector<std::string> knobs;        // that a model learns, in words (kernels/base/knobs.h)
  bool given_split = true;               // parts that the data set gives itself stay
};
Fields describe(DataConfig&);
// Error where a value is none: unknown repairs, channels, patterns without *, paths that are not UTF-8.
void check(const DataConfig&, const std::string& where);

// Whether the repair is asked for (data.repair, and data.align for those in time).
bool repairs(const DataConfig&, const std::string& what);
// Of data.drift, where it is a number.
std::optional<double> stated_drift(const DataConfig&);
// Of data.dry_channel or data.wet_channel: counted from 0, -1 for the mean; nothing for "auto".
std::optional<int> stated_channel(const std::string&);

}  // namespace cafx
