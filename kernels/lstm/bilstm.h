// kernels/lstm/bilstm.h -- a bidirectional layer: one LSTM from the first row to the last, another from last to first.
//
//   y[t] = [h of the one, h of the other]      both begin at rest; kernels/lstm/lstm.h has the recurrence
//
// Source   Schuster & Paliwal 1997; in CRAFx over the rows of the latent, arXiv:1905.06148.
// Shapes   x, dx (T,B,I)   y, dy (T,B,2H)   of each direction w, dw (4H,I+H), bias, dbias (4H)
// Grads    dx = (may be null)   of each direction dw += dbias +=
// Saved    x, and bilstm_saved bytes from forward to backward: states and gates of both directions.
// Scratch  bilstm_forward_scratch and bilstm_backward_scratch bytes.   In place: no.
// Errors   sizes >= 1, not reversed: CheckError with the numbers.
// Bits     those of lstm.h; a stream's do not depend on the others of its call.
#pragma once

#include "kernels/lstm/lstm.h"

namespace cafx {

template <class Pointer>
struct BilstmTensors {
  Pointer w, bias, w_reversed, bias_reversed;
};

std::size_t bilstm_saved(const Context&, LstmDims);            // bytes
std::size_t bilstm_forward_scratch(const Context&, LstmDims);  // bytes
void bilstm_forward(const Context&, float* y, void* saved, const float* x, const BilstmTensors<const float*>&,
                    void* scratch, LstmDims);
std::size_t bilstm_backward_scratch(const Context&, LstmDims);  // bytes
void bilstm_backward(const Context&, float* dx, const BilstmTensors<float*>& gradients, const float* dy, const float* x,
                     const void* saved, const BilstmTensors<const float*>&, void* scratch, LstmDims);

}  // namespace cafx
