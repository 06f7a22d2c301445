// kernels/lstm/lstm.h -- a layer of long short-term memory over a block of samples of several streams.
//
//   z[t] = bias + w [x[t], h[t-1]]      i, f, o = sigmoid, g = tanh of the rows of z, in this order: i, f, g, o
//   c[t] = f c[t-1] + i g               h[t] = o tanh(c[t])
//
//   reversed   from the last sample to the first: t + 1 stands for t - 1
//   linear     the identity stands for both tanh, as in Keras's activation='linear'
//
// Source   Hochreiter & Schmidhuber 1997; order of the gates as in PyTorch, whose two biases are one here: what a .nam
//          file holds.
// Shapes   x, dx (T,B,I)   h, c (T+1,B,H): row 0 is the state before the block, read; rows 1..T are written; reversed:
//          row T is the state, rows 0..T-1 are written
//          gates (T,B,4H), after their activations; may be null in forward, which then keeps none
//          w, dw (4H,I+H)   bias, dbias (4H)   dh (T,B,H): gradient of the rows of h that are written
//          Time is outermost: a step of the recurrence reads one row of every stream.
// Grads    dx = (may be null)   dw +=   dbias +=      None for the state before the block: back-propagation ends there.
// Saved    x, h, c, gates.
// GPU      Own kernels, not cuDNN's RNN: its release notes warn that equal bits depend on how cuBLAS's workspace is
//          configured (CUBLAS_WORKSPACE_CONFIG), and it wants the weights repacked into its layout at every step. Here
//          a block of threads goes through all samples of one stream with the weights of h in its registers (H <= 64):
//          a call is a handful of launches, whatever T is.
// Scratch  lstm_forward_scratch and lstm_backward_scratch bytes.   In place: no.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits, however a block is divided into calls of forward. No
//          atomics.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"

namespace cafx {

struct LstmDims {
  int T, B, I, H;
  bool reversed = false, linear = false;
};
inline constexpr int kLstmChunk = 64;  // samples whose gates' gradient is held at a time

std::size_t lstm_forward_scratch(const Context&, LstmDims);  // bytes
void lstm_forward(const Context&, float* h, float* c, float* gates, const float* x, const float* w, const float* bias,
                  void* scratch, LstmDims);
std::size_t lstm_backward_scratch(const Context&, LstmDims);  // bytes
void lstm_backward(const Context&, float* dx, float* dw, float* dbias, const float* dh, const float* x, const float* h,
                   const float* c, const float* gates, const float* w, void* scratch, LstmDims);

// The same for playing: one stream from first to last, with weights laid out once, no gates kept. h (T,H) of the
// block's samples; state (2,H): h and c before the block, and after it. packed: lstm_packed bytes, made by
// lstm_prepare. CPU alone: CheckError on a GPU.
// Bits   those of however the samples are divided into calls; lstm_forward sums in another order.
std::size_t lstm_packed(const Context&, LstmDims);  // bytes
void lstm_prepare(const Context&, void* packed, const float* w, const float* bias, LstmDims);
std::size_t lstm_play_scratch(const Context&, LstmDims);  // bytes
void lstm_play(const Context&, float* h, float* state, const float* x, const void* packed, void* scratch, LstmDims);

}  // namespace cafx
