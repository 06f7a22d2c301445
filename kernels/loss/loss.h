// kernels/loss/loss.h -- error of B places against their targets: a weighted sum of terms, with its gradient.
//
//   e = y - target     p[t] = e[t] - a e[t-1], e[-1] = 0     (a: pre-emphasis, 0 for none)
//
//   losses[b] / T =   mae      mean |e| / m                m = reference[b][2] if relative_mae, else 1
//                   + mse      mean e^2
//                   + esr      mean p^2 / E                E = reference[b][0]
//                   + dc       (mean e)^2 / D              D = reference[b][1]
//                   + log_cosh mean log cosh e
//                   + mr_stft  mean over resolutions of
//                                stft_convergence |R - S| / |R| + stft_log mean |log R - log S|
//                                + stft_linear mean |R - S|
//                              S, R: magnitudes of y and target, both filtered like p; |.|: Frobenius norm
//   dy[b, pad + t] = scale d losses[b] / d y[b,t], zero around it
//
//   The sum of losses / T is what a caller averages; scale is 1 / (places in the whole batch x T) for the gradient of
//   that mean. Without a reference E and D are the place's own: mean p^2 and mean e^2 of the target + 1e-8.
//   `loss_reference` takes them from a longer stretch: what a block is measured against is more than the block.
//   STFT: frames around every hop-th sample, the signal reflected at both ends; a periodic Hann window in the middle of
//   n_fft samples; magnitude sqrt(max(re^2 + im^2, 1e-8)). A resolution takes part if T > n_fft / 2: reflection needs
//   that many.
//
// Source   auraloss 0.4 (Steinmetz & Reiss 2020): ESRLoss, DCLoss, LogCoshLoss, MultiResolutionSTFTLoss and its
//          defaults, each place for itself. Wright et al. 2020 (ESR with pre-emphasis).   Differs: no 1e-8 inside the
//          logarithm of log cosh.
// Shapes   y (B,T)   target (B,T) with row stride target_stride   dy (B, T + K - 1), where deconv1d_backward reads it
//          (K = 1: (B,T)); null: losses alone   reference (B,3) or null   losses (B)
// Grads    dy =     sign(0) = 0; a magnitude below the floor has none.
// Scratch  loss_scratch bytes.   In place: no.
// Errors   B, T, K >= 1, 0 <= pad < K, target_stride >= T; mr_stft: T > 256; weights finite and >= 0, 0 <= a <= 1;
//          relative_mae without a reference: CheckError.
// Bits     same input, same device and instruction set: same bits; sums over time in double, in a fixed order.
//          y = target: loss and gradient are exactly 0.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"

namespace cafx {

struct LossWeights {
  float mae = 0.0f, mse = 0.0f, esr = 0.0f, dc = 0.0f, log_cosh = 0.0f, mr_stft = 0.0f;
  float pre_emphasis = 0.0f;
  float stft_convergence = 1.0f, stft_log = 1.0f, stft_linear = 0.0f;
  bool relative_mae = false;
  // On a GPU: mae, mse, esr, dc, log_cosh and mr_stft in device memory, in place of those above, which models side by
  // side may each have their own of (device/members.h). Those above decide which kernels run; null: they hold.
  const float* own = nullptr;
};
inline constexpr int kLossTerms = 6;
struct LossDims {
  int B, T, K, pad;
  long target_stride;
};
struct StftResolution {
  int n_fft, hop, window;
};
inline constexpr StftResolution kStftResolutions[] = {{1024, 120, 600}, {2048, 240, 1200}, {512, 50, 240}};
inline constexpr int kLossReferences = 3;

std::size_t loss_scratch(const Context&, const LossWeights&, LossDims);  // bytes
void loss_forward_backward(const Context&, double* losses, float* dy, const float* y, const float* target,
                           const float* reference, float scale, const LossWeights&, void* scratch, LossDims);

// reference[b] = floors + {mean p^2, mean t^2, mean |t|} of a place's target t, p the filtered t; floors has
// kLossReferences numbers. target (B,T) with row stride target_stride; K and pad are not used.
void loss_reference(const Context&, float* reference, const float* target, const float* floors, float pre_emphasis,
                    LossDims);

}  // namespace cafx
