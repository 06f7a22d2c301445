// rt/resampler.h -- from one rate to another with a known delay, in real time.
//
//   y[j] = sum_i x[i] h(t - i),   t = (j M - offset) / L in input samples,   to / from = L / M in lowest terms
//   h = windowed sinc: Kaiser, flat up to 0.9 of the lower rate's half, 110 dB down at that half
//
//   Why not libsoxr here: its stages allocate while they run, work in bursts and set their own delay. This one makes an
//   output sample as soon as the last input sample that it needs has come.
// Phases   up to kMaxPhases every one of the L phases has its own filter; beyond that filters are interpolated linearly
//          between kMaxPhases of them (error below -120 dB).
// Position exact: integers, no drift.
// Real time  feed and make allocate nothing and take no lock. The same samples come out for every division into blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cafx {

class RtResampler {
 public:
  // feed gets at most max_in samples at a time; `offset` >= 0, in 1/L of an input sample, delays the output.
  RtResampler(int from_hz, int to_hz, std::size_t max_in, std::int64_t offset);

  // An output at input time t needs inputs up to floor(t) + reach.
  static int reach(int from_hz, int to_hz);

  void feed(const float* x, std::size_t n) noexcept;
  // Writes the output samples that are complete, at most `room`; returns how many.
  std::size_t make(float* y, std::size_t room) noexcept;
  void reset() noexcept;

 private:
  static constexpr int kMaxPhases = 2048;

  std::int64_t L_, M_, offset_;
  int half_, n_phases_;
  std::vector<float> filters_;  // (n_phases + 1, 2 half), oldest input first
  std::vector<float> history_;
  std::size_t filled_ = 0;     // samples in history_
  std::int64_t first_ = 0;     // input sample that history_[0] is
  std::int64_t position_ = 0;  // of the next output, in 1/L of an input sample
};

}  // namespace cafx
