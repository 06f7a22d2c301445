// datasets/find/channels.h -- which channel of a file holds the recording.
//
//   A file is one side of a pair, and a model has one input and one output. Channels that are alike are averaged. Where
//   they are not, the mean is wrong: half the level where one is empty, a comb where one is late, next to nothing where
//   one is inverted.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "datasets/config.h"
#include "datasets/finding.h"

namespace cafx {

// What the channels of one file are to each other.
enum class Image {
  kOne,       // there is one channel
  kAlike,     // all the same up to 1 dB and small differences
  kOneLive,   // one holds the recording, the others are silent, or hold noise
  kInverted,  // the second is the first turned over
  kDelayed,   // the second is the first, later or earlier
  kWide,      // related, but different in parts of the band: a stereo effect, two microphones
  kUnlike,    // nothing in common
};

struct ChannelScan {
  Image image = Image::kOne;
  int channels = 1, live = 0;             // live: the first channel that holds the recording, from 0
  std::vector<double> level_db, mean_db;  // of each channel: RMS without DC; DC
  double correlation = 1.0;               // of the two loudest
  double late_seconds = 0.0;              // kDelayed: by how much the second is late
  std::string text;                       // what was seen, a clause
};

// Reads the whole file, in blocks; two channels are compared in up to 32 windows spread over it.
ChannelScan scan_channels(const std::filesystem::path&);

// The channel that is used, -1 for the mean, and what is said of it.
struct ChannelChoice {
  int channel = -1;
  bool chosen = false;  // by the doctor, not by the config
};
// For all files of one side together: files of one kind are treated alike.
ChannelChoice choose_channel(const ChannelScan&, const DataConfig&, bool wet, const std::string& file,
                             std::vector<Finding>& findings);

}  // namespace cafx
