#include "models/play/overlap_add.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/frames/frames.h"

namespace cafx {

int checked_hop(int asked, int own, int frame) {
  const int hop = asked == 0 ? std::min(own, frame / 2) : asked;
  if (hop < 1 || hop > frame / 2) {
    throw Error("hop = {} is not possible with frames of {} samples: overlap-add needs 1 to {}", hop, frame, frame / 2);
  }
  return hop;
}

// A GPU sums the frames of one call; the host adds that to what is there.
struct OverlapAdd::OnDevice {
  OnDevice(const Context& context, const std::vector<float>& hann, std::size_t n)
      : window(context, hann), sum(context, n), weight(context, n), own_sum(n), own_weight(n) {}
  DeviceArray<float> window;
  DeviceArray<double> sum, weight;
  std::vector<double> own_sum, own_weight;
};

OverlapAdd::OverlapAdd(const Context& context, int frame, int hop, int most)
    : frame_(frame), hop_(checked_hop(hop, hop, frame)), most_(most), window_(hann_window(frame)) {
  const auto n = static_cast<std::size_t>(overlap_add_samples({most, frame, hop}));
  sum_.resize(n);
  weight_.resize(n);
  if (context.device != Device::kCpu) on_device_ = std::make_unique<OnDevice>(context, window_, n);
  reset();
}

OverlapAdd::~OverlapAdd() = default;

void OverlapAdd::reset() noexcept {
  std::fill(sum_.begin(), sum_.end(), 0.0);
  std::fill(weight_.begin(), weight_.end(), 0.0);
  n_frames_ = 0;
  start_ = next_start();
}

void OverlapAdd::add(const Context& context, const float* frames, int B) {
  CAFX_CHECK(B >= 1 && B <= most_ && start_ == next_start(), B, most_, start_);
  const OverlapAddDims d{B, frame_, hop_};
  n_frames_ += B;
  if (!on_device_) {
    overlap_add(context, sum_.data(), weight_.data(), frames, window_.data(), d);
    return;
  }
  OnDevice& g = *on_device_;
  const auto n = static_cast<std::size_t>(overlap_add_samples(d));
  g.sum.fill_zero();
  g.weight.fill_zero();
  overlap_add(context, g.sum.data(), g.weight.data(), frames, g.window.data(), d);
  g.sum.download(g.own_sum.data(), n);
  g.weight.download(g.own_weight.data(), n);
  for (std::size_t i = 0; i < n; ++i) {
    sum_[i] += g.own_sum[i];
    weight_[i] += g.own_weight[i];
  }
}

void OverlapAdd::take(float* y) noexcept {
  const std::int64_t n = next_start() - start_;
  for (std::int64_t i = std::max<std::int64_t>(0, -start_); i < n; ++i) {
    const auto k = static_cast<std::size_t>(i);
    *y++ = overlap_added(sum_[k], weight_[k]);
  }
  for (auto* of : {&sum_, &weight_}) {
    std::copy(of->begin() + n, of->end(), of->begin());
    std::fill(of->end() - n, of->end(), 0.0);
  }
  start_ += n;
}

void OverlapAdd::take_rest(float* y, std::int64_t n) noexcept {
  const std::int64_t from = std::max<std::int64_t>(0, -start_);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto k = static_cast<std::size_t>(from + i);
    y[i] = k < weight_.size() ? overlap_added(sum_[k], weight_[k]) : 0.0f;
  }
}

}  // namespace cafx
