// datasets/find/find.h -- the doctor: what is wrong with a data set before a model learns it. It changes nothing.
//
//   code        found
//   latency     wet lags or leads dry: all pairs alike, or each by its own
//   drift       the clocks of dry and wet run apart, in ppm
//   steps       samples lost or inserted at a place
//   dropouts    one side is silent for a moment, from one sample to the next, while the other plays on
//   hum         a tone of the mains sounds all along wet
//   noise       wet hisses where dry pauses
//   wander      the lag moves to and fro: an effect that modulates time, or a tape
//   polarity    wet is inverted against dry, or some pairs against the others
//   clipping    flat tops at the file's highest value, at its own rate
//   identical   wet is its dry file, sample by sample or up to a gain
//   silence     dry or wet is silent, in whole or for long, or one of them alone for a while
//   gain        so quiet that bits are empty; notes that another gain was given than the others
//   scale       integers written as float
//   dc          an offset that is there in silence too, constant or drifting
//   channels    channels of a file that are not alike
//   bits, lossy 8 bits; a codec that leaves out
//   rate        dry and wet differ in rate; a header claims a rate that the content has not
//   bandwidth   what lies above half the model's rate, or half the files'
//   length      lengths differ
//   excerpt     a stated part of a file goes beyond its end
//   header      a length in a file's header is wrong; what is there was read
//   not_finite  NaN or infinite samples
//   names, settings            what file names tell
//   swapped     dry and wet the other way round, by their names or their sound
//   normalised  wet files that each have a gain of their own
//   leak        the same audio or the same note in training and in test
//   judge       a validation or test part that cannot judge
//   mismatch    dry and wet are not each other's, in whole or for a while
#pragma once

#include <string>
#include <vector>

#include "datasets/find/lags.h"
#include "datasets/find/level.h"

namespace cafx {

// What was measured. Findings that say what will be done come with the plan (datasets/plan.h).
struct Seen {
  std::vector<Level> dry, wet;  // of each pair
  Lags lags;
  // DC of each pair's sides: a long recording's own, or that of all notes of the side.
  std::vector<Offset> dry_offset, wet_offset;
  double dry_full_scale = 1.0, wet_full_scale = 1.0;  // of all files of a side: integers as float
  std::vector<Finding> findings;
};

Seen examine(const std::vector<Pair>&, const DataConfig&, int sample_rate);

}  // namespace cafx
