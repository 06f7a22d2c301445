#include "kernels/loss/loss.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/device/dispatch.h"
#include "kernels/loss/loss_math.h"

namespace cafx {

CAFX_BACKENDS(void, mae_forward_backward,
              (double* losses, float* dy, const float* y, const float* target, float scale, LossDims d));
CAFX_BACKENDS(void, loss_forward_backward,
              (double* losses, float* dy, const float* y, const float* target, const float* reference, float scale,
               const LossWeights& w, const StftTables& tables, void* scratch, LossDims d));
CAFX_BACKENDS(void, loss_reference,
              (float* reference, const float* target, const float* floors, float pre_emphasis, LossDims d));
CAFX_CUDA(void, mae_forward_backward,
          (const Context&, double* losses, float* dy, const float* y, const float* target, float scale, LossDims d));
CAFX_CUDA(void, loss_forward_backward,
          (const Context&, double* losses, float* dy, const float* y, const float* target, const float* reference,
           float scale, const LossWeights& w, void* scratch, LossDims d));
CAFX_CUDA(void, loss_reference,
          (const Context&, float* reference, const float* target, const float* floors, float pre_emphasis, LossDims d));
CAFX_CUDA(std::size_t, loss_scratch, (const Context&, const LossWeights& w, LossDims d));

namespace {

void check(LossDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.K >= 1 && d.pad >= 0 && d.pad < d.K, d.B, d.T, d.K, d.pad);
  CAFX_CHECK(d.target_stride >= d.T, d.target_stride, d.T);
}
void check(const LossWeights& w, LossDims d) {
  check(d);
  for (const float x :
       {w.mae, w.mse, w.esr, w.dc, w.log_cosh, w.mr_stft, w.stft_convergence, w.stft_log, w.stft_linear}) {
    CAFX_CHECK(std::isfinite(x) && x >= 0.0f, x);
  }
  CAFX_CHECK(w.pre_emphasis >= 0.0f && w.pre_emphasis <= 1.0f, w.pre_emphasis);
  CAFX_CHECK(w.mr_stft == 0.0f || stft_fits(d.T, 512), w.mr_stft, d.T);
}

StftTables make_tables() {
  StftTables t;
  for (int k = 0; k < kStftLargest; ++k) {
    const double angle = 2.0 * std::numbers::pi * k / kStftLargest;
    t.twiddles[2 * k] = static_cast<float>(std::cos(angle));
    t.twiddles[2 * k + 1] = static_cast<float>(-std::sin(angle));
  }
  float* window = t.windows;
  for (const StftResolution& r : kStftResolutions) {
    for (int i = 0; i < r.window; ++i) {
      *window++ = static_cast<float>(0.5 - 0.5 * std::cos(2.0 * std::numbers::pi * i / r.window));
    }
  }
  return t;
}
const StftTables& stft_tables() {
  static const StftTables tables = make_tables();
  return tables;
}

}  // namespace

// On a CPU, in floats: both filtered signals and the gradient of one; spectra of y, magnitudes of the target and two
// buffers of a transform for frames that go through it together, two to a lane and up to 16 lanes.
std::size_t loss_scratch(const Context& context, const LossWeights& w, LossDims d) {
  check(w, d);
  CAFX_CUDA_CALL(context, loss_scratch, w, d);
  if (w.mr_stft == 0.0f) return 0;
  std::size_t largest = 0;
  for (const StftResolution& r : kStftResolutions) {
    const auto groups = static_cast<std::size_t>((stft_frames(d.T, r.hop) + 31) / 32);
    const auto bins = static_cast<std::size_t>(r.n_fft / 2 + 1), n_fft = static_cast<std::size_t>(r.n_fft);
    if (stft_fits(d.T, r.n_fft)) largest = std::max(largest, 16 * (groups * bins * 6 + 4 * n_fft));
  }
  return sizeof(float) * (largest + 3 * static_cast<std::size_t>(d.T));
}

void loss_forward_backward(const Context& context, double* losses, float* dy, const float* y, const float* target,
                           const float* reference, float scale, const LossWeights& w, void* scratch, LossDims d) {
  check(w, d);
  CAFX_CHECK(reference || !w.relative_mae);
  if (dy && mae_alone(w)) {
    CAFX_CUDA_CALL(context, mae_forward_backward, losses, dy, y, target, scale, d);
    return CAFX_CALL(context, mae_forward_backward, losses, dy, y, target, scale, d);
  }
  CAFX_CUDA_CALL(context, loss_forward_backward, losses, dy, y, target, reference, scale, w, scratch, d);
  CAFX_CALL(context, loss_forward_backward, losses, dy, y, target, reference, scale, w, stft_tables(), scratch, d);
}

void loss_reference(const Context& context, float* reference, const float* target, const float* floors,
                    float pre_emphasis, LossDims d) {
  check(d);
  CAFX_CUDA_CALL(context, loss_reference, reference, target, floors, pre_emphasis, d);
  CAFX_CALL(context, loss_reference, reference, target, floors, pre_emphasis, d);
}

}  // namespace cafx
