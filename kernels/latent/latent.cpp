#include "kernels/latent/latent.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_CUDA(bool, latent_rounds, (const Context&, LatentDims d));
CAFX_CUDA(std::size_t, latent_scratch, (const Context&, LatentDims d));
CAFX_CUDA(void, latent_forward,
          (const Context&, float* h, float* zhat, const float* z, const float* w1, const float* bias1, const float* w2,
           const float* bias2, LatentDims d));
CAFX_CUDA(void, latent_backward,
          (const Context&, float* dz, float* dw1, float* dbias1, float* dw2, float* dbias2, const float* dzhat,
           const float* zhat, const float* h, const float* z, const float* w1, const float* w2, void* scratch,
           LatentDims d));

static void check(LatentDims d) { CAFX_CHECK(d.B >= 1 && d.I >= 1 && d.O >= 1 && d.C >= 1, d.B, d.I, d.O, d.C); }

bool latent_is_fused(const Context& context, LatentDims d) {
  check(d);
  return context.device == Device::kCuda && d.I == 64 && d.O == 64 && d.C % 8 == 0;
}

bool latent_rounds(const Context& context, LatentDims d) {
  if (context.device == Device::kCuda && !latent_is_fused(context, d)) return false;
  CAFX_CUDA_CALL(context, latent_rounds, d);
  return is_16_bit(emulated_precision(context));
}

std::size_t latent_scratch(const Context& context, LatentDims d) {
  if (!latent_is_fused(context, d)) return 0;
  CAFX_CUDA_CALL(context, latent_scratch, d);
  return 0;
}

void latent_forward([[maybe_unused]] const Context& context, [[maybe_unused]] float* h, [[maybe_unused]] float* zhat,
                    [[maybe_unused]] const float* z, [[maybe_unused]] const float* w1,
                    [[maybe_unused]] const float* bias1, [[maybe_unused]] const float* w2,
                    [[maybe_unused]] const float* bias2, LatentDims d) {
  CAFX_CHECK(latent_is_fused(context, d), d.B, d.I, d.O, d.C);
  CAFX_CUDA_CALL(context, latent_forward, h, zhat, z, w1, bias1, w2, bias2, d);
}

void latent_backward([[maybe_unused]] const Context& context, [[maybe_unused]] float* dz, [[maybe_unused]] float* dw1,
                     [[maybe_unused]] float* dbias1, [[maybe_unused]] float* dw2, [[maybe_unused]] float* dbias2,
                     [[maybe_unused]] const float* dzhat, [[maybe_unused]] const float* zhat,
                     [[maybe_unused]] const float* h, [[maybe_unused]] const float* z, [[maybe_unused]] const float* w1,
                     [[maybe_unused]] const float* w2, [[maybe_unused]] void* scratch, LatentDims d) {
  CAFX_CHECK(latent_is_fused(context, d), d.B, d.I, d.O, d.C);
  CAFX_CUDA_CALL(context, latent_backward, dz, dw1, dbias1, dw2, dbias2, dzhat, zhat, h, z, w1, w2, scratch, d);
}

}  // namespace cafx
