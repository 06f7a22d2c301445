// kernels/ssm/ssm.h -- a diagonal state-space layer: in every channel N damped complex oscillators hear the input.
//
//   dt = exp(log_dt)   A = -exp(log_a_real) + i a_imag   E = (exp(dt A) - 1) / A        of channel c, oscillator n
//   s_n[t] = exp(dt A_n) s_n[t-1] + u[t]                 y[t] = d u[t] + 2 Re sum_n c_n E_n s_n[t]
//
//   It is computed kSsmChunk samples at a time: within a chunk as a product with the first samples of the impulse
//   response, from chunk to chunk as a scan. A whole signal is thus products of matrices, however long it is.
//
// Source   S4D: Gu et al. 2022, arXiv:2206.11893, zero-order hold. What nablafx calls DSSM, whose convolution by FFT
//          gives the same numbers.
// Shapes   u, y, du, dy (B,C,T), contiguous   log_dt, d (C)   c (C,N,2): real, imaginary   log_a_real, a_imag (C,N)
//          state (B,C,N,2): real, imaginary; before the first sample, and after the last
//          saved (B,C,ssm_marks(T),N,2): states that backward begins from; may be null in forward, which then keeps
//          none
// Grads    du =   others +=      None for the state before the block: back-propagation ends there. `state` is not an
//          output of which there is a gradient.
// Saved    u, saved.
// Packed   ssm_packed bytes, made of the tensors by ssm_prepare: once a step, for all places. The powers of exp(dt A)
//          are made in double.
// Scratch  ssm_scratch bytes for forward and backward.   In place: no.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits; of forward also where a block is divided at whole
//          chunks.
#pragma once

#include <complex>
#include <cstddef>

#include "kernels/device/context.h"

namespace cafx {

struct SsmDims {
  int B, C, N, T;
};
template <class Pointer>
struct SsmTensors {
  Pointer log_dt, c, log_a_real, a_imag, d;
};
// The numbers of one oscillator of a channel, from tensors in the host's memory.
struct SsmOscillator {
  std::complex<double> A, a, c, E;  // a = exp(dt A)
  double dt;
  SsmOscillator(const SsmTensors<const float*>&, int N, int channel, int n);
};
inline constexpr int kSsmChunk = 32;      // samples
inline constexpr int kSsmTile = 24 * 32;  // samples from one saved state to the next: multiples of a chunk
constexpr int ssm_marks(int T) { return (T + kSsmTile - 1) / kSsmTile; }

std::size_t ssm_packed(SsmDims);  // bytes; B and T are not read
void ssm_prepare(const Context&, void* packed, const SsmTensors<const float*>&, SsmDims);
std::size_t ssm_scratch(const Context&, SsmDims);  // bytes
void ssm_forward(const Context&, float* y, float* state, float* saved, const float* u, const void* packed,
                 void* scratch, SsmDims);
void ssm_backward(const Context&, float* du, const SsmTensors<float*>& gradients, const float* dy, const float* u,
                  const float* saved, const void* packed, void* scratch, SsmDims);

// The same for playing, sample by sample: one stream (B = 1). state (ssm_play_state floats) begins as zeros; packed has
// ssm_play_packed bytes and is made by ssm_play_prepare. y == u is allowed. CPU alone: CheckError on a GPU.
// Bits   those of however the samples are divided into calls; ssm_forward sums in another order.
std::size_t ssm_play_state(SsmDims);   // floats
std::size_t ssm_play_packed(SsmDims);  // bytes
void ssm_play_prepare(const Context&, void* packed, const SsmTensors<const float*>&, SsmDims);
std::size_t ssm_play_scratch(SsmDims);  // bytes
void ssm_play(const Context&, float* y, float* state, const float* u, const void* packed, void* scratch, SsmDims);

}  // namespace cafx
