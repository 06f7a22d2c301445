// models/crafx/sequence.h -- CRAFx over consecutive frames of one signal, with the latents of frames kept.
//
//   A frame's latent z is that of a later frame's context. Where `hop` divides context_hop, at most 64 times, each z is
//   computed when its frame first comes into sight and kept until it leaves; then a frame costs one front end and not
//   before + 1 + after. The first context_hop / hop frames of a signal that does not begin in silence have nothing to
//   share. X1 of the frame itself is computed again, which takes a third of a front end.
//
// Bits     those of Model::forward of the frame. Only denormal numbers (below 1.2e-38) count as zero here.
#pragma once

#include <memory>

#include "models/crafx/config.h"
#include "models/model.h"

namespace cafx {

std::unique_ptr<FrameSequence> make_crafx_sequence(const Params&, const CrafxConfig&, const Context&, int hop);

}  // namespace cafx
