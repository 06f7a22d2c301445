// models/knob_ramp.h -- the controls of a player while knobs are turned: straight lines of 20 ms, so that nothing
// clicks.
#pragma once

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "models/config.h"

namespace cafx {

class KnobRamp {
 public:
  // `controls` as Model::position.
  KnobRamp(const ModelConfig& config, const std::vector<float>& controls)
      : knobs_(parse_knobs(config.knobs, "model.knobs")), length_(std::max(1, config.sample_rate / 50)) {
    now_ = controls.empty() ? controls_at(knobs_, knobs_at_start(knobs_)) : controls;
    CAFX_CHECK(static_cast<int>(now_.size()) == count_controls(knobs_), now_.size(), count_controls(knobs_));
    from_ = to_ = now_;
    passed_ = length_;
  }

  void set(int knob, float value) noexcept {
    if (knob < 0 || knob >= static_cast<int>(knobs_.size()) || !(value == value)) return;
    float* at = to_.data();
    for (int i = 0; i < knob; ++i) at += knobs_[static_cast<std::size_t>(i)].controls();
    write_controls(at, knobs_[static_cast<std::size_t>(knob)], static_cast<double>(value));
    std::copy(now_.begin(), now_.end(), from_.begin());
    passed_ = 0;
  }
  // To the end of what it is on the way to.
  void finish() noexcept { advance(length_); }
  void advance(int samples) noexcept {
    if (!moving()) return;
    passed_ = std::min(length_, passed_ + samples);
    if (!moving()) {
      std::copy(to_.begin(), to_.end(), now_.begin());
      return;
    }
    const float part = static_cast<float>(passed_) / static_cast<float>(length_);
    for (std::size_t i = 0; i < now_.size(); ++i) now_[i] = from_[i] + part * (to_[i] - from_[i]);
  }

  bool moving() const noexcept { return passed_ < length_; }
  int size() const noexcept { return static_cast<int>(now_.size()); }
  const float* now() const noexcept { return now_.data(); }
  const std::vector<float>& values() const noexcept { return now_; }

 private:
  std::vector<Knob> knobs_;
  std::vector<float> now_, from_, to_;
  int length_, passed_;
};

}  // namespace cafx
