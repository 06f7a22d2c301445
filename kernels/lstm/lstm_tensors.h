// kernels/lstm/lstm_tensors.h -- the four tensors that PyTorch holds of an LSTM, and the two that kernels/lstm reads.
//
//   w = [w_input, w_hidden], row by row      bias = bias_input + bias_hidden
//
// Shapes   w, dw (4H,I+H)   w_input (4H,I)   w_hidden (4H,H)   bias and both of its parts (4H)
// Grads    lstm_part adds dw and dbias to the gradients of the four: += on each; both biases get dbias.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     the same on every device.
#pragma once

#include "kernels/lstm/lstm.h"

namespace cafx {

template <class Pointer>
struct LstmTensors {
  Pointer w_input, w_hidden, bias_input, bias_hidden;
};

// T and B are not read.
void lstm_join(const Context&, float* w, float* bias, const LstmTensors<const float*>&, LstmDims);
void lstm_part(const Context&, const LstmTensors<float*>& gradients, const float* dw, const float* dbias, LstmDims);

}  // namespace cafx
