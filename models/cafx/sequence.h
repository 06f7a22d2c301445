// models/cafx/sequence.h -- CAFx over consecutive frames of one signal, with the front end shared between them.
//
//   Frames overlap: at hop 64 a sample is in sixteen frames of 1024. What the front end makes of it is the same in all
//   of them, but for the frame's borders, beyond which a frame sees zeros:
//
//     x1  Conv1D        row t of a frame sees zeros for t < left1 or t >= T - right1 (31 and 32 of 64 taps)
//     z   Conv1D-Local  a window sees such a row, or zeros, for t < left1 + left2 or t >= T - right1 - right2
//
//   The rows and windows between are kept in a sliding buffer; each frame adds hop rows and hop / pool windows and
//   makes its own borders (63 rows, 12 of 64 windows). The borders are written into the buffer in place: no later frame
//   wants the inner values of the left one's rows, and the right one's are recomputed when their samples have arrived.
//   Dense-Local, Dense, DNN-SAAF and the deconvolution differ from frame to frame (they see zhat) and share nothing.
//
// Shared   where pool divides hop and a frame has inner windows; otherwise every frame is computed whole, to the same
//          bits.
// Bits     those of CafxNet::forward of the frame: every sum runs in the same order. Only denormal numbers (below
//          1.2e-38) count as zero here.
#pragma once

#include "models/cafx/net.h"

namespace cafx {

// position: as Model::position.
std::unique_ptr<FrameSequence> make_cafx_sequence(const Params&, const CafxConfig&, CafxParts,
                                                  const std::vector<float>& position, const Context&, int hop);

}  // namespace cafx
