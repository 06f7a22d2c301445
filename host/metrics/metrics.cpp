#include "host/metrics/metrics.h"

#include <algorithm>
#include <cmath>

#include "host/metrics/envelope.h"
#include "host/metrics/modulation.h"
#include "host/metrics/spectral.h"
#include "kernels/base/error.h"

namespace cafx {

const std::vector<MetricName> kMetricNames = {
    {"mae", "MAE", "", "MAE", static_cast<double Metrics::*>(&ErrorMetrics::mae)},
    {"mae_matched", "MAE, level-matched", "", "MAE lvl", static_cast<double Metrics::*>(&ErrorMetrics::mae_matched)},
    {"esr", "ESR", "", "ESR", static_cast<double Metrics::*>(&ErrorMetrics::esr)},
    {"esr_emphasis", "ESR, pre-emphasis", "", "ESR pre", static_cast<double Metrics::*>(&ErrorMetrics::esr_emphasis)},
    {"mfcc_cosine", "MFCC cosine", "", "MFCC cos", &Metrics::mfcc_cosine},
    {"ms_mse", "MS-MSE", "", "MS-MSE", &Metrics::ms_mse},
    {"mr_stft", "MR-STFT", "", "MR-STFT", &Metrics::mr_stft},
    {"attack_db", "attack", "dB", "attack dB", &Metrics::attack_db},
    {"decay_db", "decay", "dB", "decay dB", &Metrics::decay_db},
};

namespace {
bool finite(const std::vector<float>& x) {
  return std::all_of(x.begin(), x.end(), [](float v) { return std::isfinite(v); });
}
}  // namespace

Measure::Measure(const std::vector<float>& target, int sample_rate)
    : target_(target), rate_(sample_rate), finite_(finite(target)) {
  CAFX_CHECK(!target.empty() && sample_rate > 0, target.size(), sample_rate);
  if (!finite_) return;
  mfcc_ = mfcc(target, sample_rate);
  modulation_ = modulation_spectrum(target, sample_rate);
}

Metrics Measure::operator()(const std::vector<float>& output) const {
  CAFX_CHECK(output.size() == target_.size(), output.size(), target_.size());
  Metrics m(error_metrics(target_.data(), output.data(), target_.size()));
  if (!finite_ || !finite(output)) {
    for (const MetricName& name : kMetricNames) m.*name.value = std::nan("");
    return m;
  }
  m.mfcc_cosine = cosine_distance(mfcc_, mfcc(output, rate_), kMfcc);
  m.ms_mse = ms_mse(modulation_, modulation_spectrum(output, rate_));
  m.mr_stft = mr_stft(target_, output);
  const EnvelopeError e = envelope_error(target_, output, rate_);
  m.attack_db = e.attack_db;
  m.decay_db = e.decay_db;
  return m;
}

}  // namespace cafx
