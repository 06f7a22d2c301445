// host/metrics/metrics.h -- all metrics between a target and an output, over whole waveforms.
//
//   error.h       mae, mae_matched (full scale = 1), esr, esr_emphasis (no unit)
//   spectral.h    mfcc_cosine, mr_stft (no unit)
//   modulation.h  ms_mse (no unit)
//   envelope.h    attack_db, decay_db (dB)
//
// All of them are 0 for equal signals, and lower is better.
// Cases    a NaN or infinite sample in either: every metric is NaN. Silence and constants: see each header.
#pragma once

#include <vector>

#include "host/metrics/error.h"

namespace cafx {

struct Metrics : ErrorMetrics {
  Metrics() = default;
  Metrics(const ErrorMetrics& e) : ErrorMetrics(e) {}
  double mfcc_cosine = 0.0, ms_mse = 0.0, mr_stft = 0.0, attack_db = 0.0, decay_db = 0.0;
};

struct MetricName {
  const char *key, *title, *unit;  // unit: empty where there is none
  const char* heading;             // of a column of nine characters, with the unit
  double Metrics::*value;
};
extern const std::vector<MetricName> kMetricNames;

// Precomputes the part that depends on the target alone, for several outputs.
class Measure {
 public:
  Measure(const std::vector<float>& target, int sample_rate);
  Metrics operator()(const std::vector<float>& output) const;  // as long as the target

 private:
  const std::vector<float>& target_;
  int rate_;
  bool finite_;
  std::vector<double> mfcc_, modulation_;
};

}  // namespace cafx
