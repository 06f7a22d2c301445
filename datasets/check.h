// datasets/check.h -- the doctor: what is wrong with a data set before a model learns it.
//
//   code        found                                                            severity
//   latency     wet lags or leads dry by n samples, by how much and how sure     info (compensated) or warning
//   polarity    wet is inverted against dry                                      warning
//   clipping    flat tops at the file's highest value, at its own rate           warning (dry), info (wet)
//   identical   wet is sample by sample its dry file                             refuse
//   silence     dry or wet is silent, in whole (refuse) or for long (info)       refuse, info
//   gain        peak so low that half of 16 bits is empty                        warning
//   rate        dry and wet differ in rate (warning); one of them claims a rate it does not have (refuse)
//   length      lengths differ: cut to the shorter (warning), by over 10 % (refuse)
//   header      a length in a file's header is wrong; what is there was read      warning
//   not_finite  NaN or infinite samples                                          refuse
//   leak        the same audio or the same note in training and in test          refuse
//   mismatch    dry and wet are not each other's                                 refuse
#pragma once

#include <string>
#include <vector>

#include "datasets/dataset.h"

namespace cafx {

// Latency of wet against dry in samples (positive: wet is late), by the cross-correlation of whitened signals.
struct Latency {
  int samples = 0;
  double confidence = 0.0;  // 0 .. 1: how far the peak stands out
  double sign = 1.0;        // of the peak: negative where wet is inverted
};
Latency find_latency(const std::vector<float>& dry, const std::vector<float>& wet, int sample_rate);

// What one pair shows on its own (all but latency, leak and mismatch by comparison).
std::vector<Finding> check_pair(const Pair&, int sample_rate);
// All pairs: everything above, latency agreed on over the pairs, mismatch against the other pairs. Where config.align
// and the latency is sure, moves wet and cuts both (pairs change).
std::vector<Finding> check_pairs(std::vector<Pair>& pairs, const DataConfig&, int sample_rate);
// Notes or audio that are in training and in test or validation.
std::vector<Finding> check_split(const Dataset&, const Split&);

// Refusals first; at most three of one kind and severity, the last of them saying how many more there are.
std::vector<Finding> shorten(const std::vector<Finding>&);
std::string to_string(Severity);
std::string format_findings(const std::vector<Finding>&);  // text for people, a few lines each
std::string findings_json(const Dataset&);

}  // namespace cafx
