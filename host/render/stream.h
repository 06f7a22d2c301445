// host/render/stream.h -- a model as a real-time effect: samples in, as many samples out, at a constant delay.
//
//   StreamRenderer effect(*load_model("model.safetensors").model, {.hop = 256});   // all memory is taken here
//   delay = effect.latency();
//   effect.process(in, out, n);                                                    // any n, from the audio thread
//
// Rate     samples are at sample_rate(), the model's; a host at another rate resamples around this.
// Latency  frame - gcd(hop, multiple): 1023 samples for a frame of 1024 and blocks of any length; 960 at hop 64 where every
//          block is a multiple of 64. It cannot be less: an output sample is final once the last frame that holds it is
//          complete, and that frame begins up to hop - 1 samples before it.
// Equal    out[latency + i] has the bits of render_signal()[i], for blocks of every length. The first `latency` samples
//          are 0. Before the stream there is silence, as in render_signal; at its end, feed `latency` zeros to get the rest.
// Real time  process allocates nothing, locks nothing, calls nothing of the system, starts no thread (a test counts). Denormal
//          numbers count as zero inside; the caller's mode is restored. Its time: a block in which c frames become complete
//          takes c times a frame's time and little else, so blocks shorter than `hop` find one block in hop / n that takes
//          it all. It keeps up where a frame takes less time than the block in which it ends.
// Threads  one caller at a time. Objects are independent; those made by twin() share the weights.
// Errors   hop below 1 or over half a frame, multiple below 1, a model of the pretrained form, a precision that is emulated:
//          Error.
#pragma once

#include <cstddef>
#include <memory>

#include "models/model.h"

namespace cafx {

struct StreamOptions {
  int hop = 0;       // samples between frames; 0: the model's own, or half a frame where that is less
  int multiple = 1;  // every call of process brings a multiple of this: a host's fixed block lowers the latency
  Isa isa = best_isa();
  Precision precision = Precision::kFp32;  // tf32, or bf16 without units for it, is emulated: Error, as that allocates
};

class StreamRenderer {
 public:
  explicit StreamRenderer(const Model&, const StreamOptions& = {});  // copies the weights; the model may go
  ~StreamRenderer();
  StreamRenderer(StreamRenderer&&) noexcept;
  StreamRenderer& operator=(StreamRenderer&&) noexcept;

  // in == out is allowed. False, with zeros in `out` and nothing else done, where n is no multiple of options.multiple.
  bool process(const float* in, float* out, std::size_t n) noexcept;
  void reset() noexcept;  // as if nothing had come yet; allocates nothing

  int latency() const noexcept;  // samples
  int hop() const noexcept;
  int frame() const noexcept;
  int sample_rate() const noexcept;       // Hz
  double multiply_adds() const noexcept;  // of a frame: per second, times sample_rate / hop
  StreamRenderer twin() const;            // another one at its beginning, for a second channel

 private:
  struct State;
  explicit StreamRenderer(std::unique_ptr<State>);
  std::unique_ptr<State> state_;
};

}  // namespace cafx
