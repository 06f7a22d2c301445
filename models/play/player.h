// models/play/player.h -- a model of any type as a real-time effect: samples in, as many out, at a constant delay.
//
//   const auto effect = make_player(*load_model("model.safetensors").model, {.hop = 256});   // all memory is taken
//   here
//   effect->process(out, in, n);                                                              // any n, from the audio
//                                                                                             thread
//
//   A model of frames runs through overlap-add, with the front end shared between neighbours; a stream runs as it is.
//
// Latency  of a stream 0. Of frames frame - gcd(hop, multiple): 1023 samples for a frame of 1024 and blocks of any
//          length; 960 at hop 64 where every block is a multiple of 64. It cannot be less: an output sample is final
//          once the last frame that holds it is complete, and that frame begins up to hop - 1 samples before it. The
//          context behind a frame comes on top, rounded up to a multiple of that divisor.
// Equal    out[latency + i] has the bits of the rendered signal's [i], for blocks of every length; the first `latency`
//          samples are 0. At the end of a signal, feed `latency` zeros to get the rest.
// Time     of frames: a block in which c frames become complete takes c times a frame's time and little else, so blocks
//          shorter than `hop` find one block in hop / n that takes it all. It keeps up where a frame takes less time
//          than the block in which it ends. A stream takes the same time for every sample.
// Errors   hop below 1 or over half a frame, a hop for a stream, multiple below 1, a form that does not play, a
//          precision that is emulated: Error.
#pragma once

#include <memory>

#include "models/model.h"

namespace cafx {

struct PlayOptions {
  int hop = 0;  // samples between frames; 0: the model's own, or half a frame where that is less
  int multiple =
      1;  // every call of process brings a multiple of this: a host's fixed block lowers the latency. Any other call
          // writes zeros and does nothing else.
  Isa isa = best_isa();
  Precision precision =
      Precision::kFp32;  // tf32, fp16, or bf16 without units for it, is emulated: Error, as that allocates
};

// Copies the weights; the model may go.
std::unique_ptr<Player> make_player(const Model&, const PlayOptions& = {});
// Samples that the player works on at a time: the hop of frames, 1 of a stream.
int player_hop(const Model&, const PlayOptions& = {});

}  // namespace cafx
