// models/crafx/crafx.h -- CRAFx: CAFx with a memory of frames around the frame, for effects that vary with time.
//
//   layer               output               (published sizes)
//   input               (9, 4096, 1)         frames 2048 samples apart, the fifth is the one that comes out
//   Conv1D              (9, 4096, 32) = x1, of the fifth kept signed as the residual; the same weights for all frames
//   abs, Conv1D-Local, softplus, max pool    (9, 64, 32) = z
//   side by side        (64, 288)            all frames of a step of the latent, in their order
//   Bi-LSTM             (64, 128), (64, 64), (64, 32)   64, 32, 16 units a direction; the last one linear
//   SAAF                (64, 32) = zhat
//   unpool, times x1    (4096, 32) = u
//   dense, SAAF         (4096, 32) = v       32, 16, 16 tanh, 32
//   squeeze, excite     u + s v              s: a gain for each channel from the mean magnitudes of v (512 relu,
//                       sigmoid)
//   deConv1D            (4096, 1) = y        the weights of Conv1D
//
//   The pretrained form is CAFx's, on the frame without its context.
//
// Source   Martinez Ramirez, Benetos, Reiss: A general-purpose deep learning approach to model time-varying audio
//          effects, DAFx-19, arXiv:1905.06148; sizes of the journal, Applied Sciences 10(2) 638: 275,073 parameters.
//          The last Bi-LSTM's linear activation is Keras's: of the candidate and of the output.
// Differs  overlap-add of any hop instead of a fixed one; no dropout; the LSTM's weights start uniform within
//          1 / sqrt(units); a frame's context is silence before and after its note.
// Latency  as a real-time effect that of a frame and the context after it: `after` = 0 leaves CAFx's.
#pragma once

#include <memory>
#include <string>

#include "models/crafx/config.h"
#include "models/model.h"

namespace cafx {

std::unique_ptr<Model> make_crafx(const ModelConfig&, const std::string& form);

}  // namespace cafx
