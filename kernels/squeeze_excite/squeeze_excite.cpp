#include "kernels/squeeze_excite/squeeze_excite.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, squeeze_excite_forward,
              (float* y, float* saved, const float* x, const SqueezeExciteTensors<const float*>& p, Precision stored,
               SqueezeExciteDims d));
CAFX_BACKENDS(void, squeeze_excite_backward,
              (float* dx, const SqueezeExciteTensors<float*>& g, const float* dy, const float* x, const float* saved,
               const SqueezeExciteTensors<const float*>& p, float* scratch, Precision stored, SqueezeExciteDims d));
CAFX_CUDA(std::size_t, squeeze_excite_scratch, (const Context&, SqueezeExciteDims d));
CAFX_CUDA(void, squeeze_excite_forward,
          (const Context&, Stored* y, float* saved, const Stored* x, const SqueezeExciteTensors<const float*>& p,
           void* scratch, SqueezeExciteDims d));
CAFX_CUDA(void, squeeze_excite_backward,
          (const Context&, Stored* dx, const SqueezeExciteTensors<float*>& g, const Stored* dy, const Stored* x,
           const float* saved, const SqueezeExciteTensors<const float*>& p, void* scratch, SqueezeExciteDims d));

static void check(SqueezeExciteDims d) { CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.C >= 1 && d.H >= 1, d.B, d.T, d.C, d.H); }

// The gradients of a, s and h of one frame.
std::size_t squeeze_excite_scratch(const Context& context, SqueezeExciteDims d) {
  check(d);
  CAFX_CUDA_CALL(context, squeeze_excite_scratch, d);
  d.B = 1;
  return sizeof(float) * squeeze_excite_saved(d);
}

void squeeze_excite_forward(const Context& context, Stored* y, float* saved, const Stored* x,
                            const SqueezeExciteTensors<const float*>& p, void* scratch, SqueezeExciteDims d) {
  check(d);
  CAFX_CUDA_CALL(context, squeeze_excite_forward, y, saved, x, p, scratch, d);
  CAFX_CALL(context, squeeze_excite_forward, static_cast<float*>(y), saved, static_cast<const float*>(x), p,
            stored_precision(context), d);
}

void squeeze_excite_backward(const Context& context, Stored* dx, const SqueezeExciteTensors<float*>& g,
                             const Stored* dy, const Stored* x, const float* saved,
                             const SqueezeExciteTensors<const float*>& p, void* scratch, SqueezeExciteDims d) {
  check(d);
  CAFX_CUDA_CALL(context, squeeze_excite_backward, dx, g, dy, x, saved, p, scratch, d);
  CAFX_CALL(context, squeeze_excite_backward, static_cast<float*>(dx), g, static_cast<const float*>(dy),
            static_cast<const float*>(x), saved, p, static_cast<float*>(scratch), stored_precision(context), d);
}

}  // namespace cafx
