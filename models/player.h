// models/player.h -- a model as it plays: one channel, samples in, as many samples out, at a constant delay.
#pragma once

#include <cstddef>
#include <memory>

namespace cafx {

// Made outside of the audio thread; allocates nothing, locks nothing and calls nothing of the system afterwards.
// Samples are at the model's rate. Before the first sample there is silence, as long as the model takes to come to
// rest. Denormal numbers count as zero inside; the caller's mode is restored. One caller at a time.
class Player {
 public:
  virtual ~Player() = default;
  // Any n; y == x is allowed. The same bits however the samples are divided.
  virtual void process(float* y, const float* x, std::size_t n) noexcept = 0;
  // Turns a knob, where the model has some, to a value as kernels/base/knobs.h has it; it gets there within 20 ms, with
  // frames by the overlap of the next ones.
  virtual void set(int /* knob */, float /* value */) noexcept {}
  virtual void reset() noexcept = 0;                  // as after a long silence
  virtual int latency() const noexcept = 0;           // samples from an input to its output
  virtual double multiply_adds() const noexcept = 0;  // of a second of audio
  // Another one at rest on the same copy of the weights, for another channel.
  virtual std::unique_ptr<Player> twin() const = 0;
};

}  // namespace cafx
