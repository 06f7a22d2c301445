// kernels/deconv1d/deconv1d.h -- deConv1D: C channels back to one, with the weights of Conv1D (tied) and a scalar bias.
//
//   adjoint    y[b,t] = bias + sum_c sum_k w[c,k] u[b, t - k + left, c]       left = (K-1)/2
//   correlate  y[b,t] = bias + sum_c sum_k w[c,k] u[b, t + k - left, c]       (the journal version's form)
//   with u zero outside [0, T).
//
// Source   arXiv:1810.06603, last layer; the adjoint is the true transpose of Conv1D.
// Shapes   u, du (B,T,C), Stored   w, dw (C,K)   bias, dbias (1)   y (B,T)   dy_padded (B,T+K-1)     C contiguous
//          dy_padded holds dy[b,t] at left + t (adjoint) or K-1-left + t (correlate), zero around: deconv1d_pad(dims).
// Grads    du = (none where it is null, on a GPU)   dw +=   dbias +=
// Scratch  deconv1d_scratch bytes, for forward, with its error too, and backward.   In place: no.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"
#include "kernels/frames/frames.h"

namespace cafx {

enum class Deconv { kAdjoint, kCorrelate };

struct Deconv1dDims {
  int B, T, C, K;
  Deconv form = Deconv::kAdjoint;
};

constexpr int deconv1d_pad(Deconv1dDims d) {
  return d.form == Deconv::kAdjoint ? (d.K - 1) / 2 : d.K - 1 - (d.K - 1) / 2;
}

inline constexpr int kDeconvTile = 64;  // samples whose products the CPU stores before it sums them

std::size_t deconv1d_scratch(const Context&, Deconv1dDims);  // bytes
void deconv1d_forward(const Context&, float* y, const Stored* u, const float* w, const float* bias, void* scratch,
                      Deconv1dDims);
// The mean absolute error behind it, as loss.h has it: losses[b] = sum over t of |y - target|, dy_padded = scale times
// its sign. The target is (B,T) with row stride target_stride, or the frames of a recording.
struct DeconvMae {
  double* losses = nullptr;
  float* dy_padded = nullptr;
  const float* target = nullptr;
  long target_stride = 0;
  float scale = 0.0f;
  FrameSource frames = {};
  float* dy_sums = nullptr;  // where given: of each frame of dy_padded, for dbias
};
// Forward and error in one, without writing y, where a kernel does both (deconv1d_has_mae); else false, and nothing is
// done.
bool deconv1d_has_mae(const Context&, Deconv1dDims);
bool deconv1d_mae(const Context&, const DeconvMae&, const Stored* u, const float* w, const float* bias, void* scratch,
                  Deconv1dDims);
// Rows: what each 16 samples of u add to the output, which reaches K - 1 samples beyond them, of K <= 64 taps:
//   rows[b, i, j] = sum over t + k = j, t < 16, of sum_c u[b, 16 i + t, c] w'[c,k]     w' the taps in the form's order
// (B,T/16,kDeconvRow), 16 divides T. A kernel that computes u leaves them (dnn_saaf.h), so that none reads u for y.
inline constexpr int kDeconvRowSamples = 16, kDeconvRowTaps = 64, kDeconvRow = kDeconvRowSamples + kDeconvRowTaps;
// The error of the sums of rows. On a GPU alone.
void deconv1d_mae_of_rows(const Context&, const DeconvMae&, const float* rows, const float* bias, Deconv1dDims);
// dbias: null where DeconvMae::dy_sums are added up for it.
void deconv1d_backward(const Context&, Stored* du, float* dw, float* dbias, const float* dy_padded, const Stored* u,
                       const float* w, void* scratch, Deconv1dDims);

}  // namespace cafx
