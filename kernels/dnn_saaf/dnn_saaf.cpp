#include "kernels/dnn_saaf/dnn_saaf.h"

#include "kernels/device/dispatch.h"
#include "kernels/dnn_saaf/dnn_saaf_layout.h"

namespace cafx {

CAFX_BACKENDS(void, dnn_saaf_prepare,
              (float* packed, const DnnSaafWeights& weights, bool bf16_units, const DnnSaafDims& d));
CAFX_BACKENDS(void, dnn_saaf_forward,
              (float* u, float* saved, const float* r, const float* z, const std::int32_t* positions,
               const float* packed, float* scratch, bool bf16_units, Precision stored, const DnnSaafDims& d));
CAFX_BACKENDS(void, dnn_saaf_backward,
              (float* dr, float* dz, const DnnSaafGrads& grads, const float* du, const float* saved, const float* r,
               const float* z, const std::int32_t* positions, const DnnSaafWeights& weights, const float* packed,
               float* scratch, bool bf16_units, Precision stored, const DnnSaafDims& d));
CAFX_CUDA(void, dnn_saaf_prepare, (const Context&, float* packed, const DnnSaafWeights& weights, const DnnSaafDims& d));
CAFX_CUDA(void, dnn_saaf_forward,
          (const Context&, Stored* u, float* saved, const Stored* r, const float* z, const std::int32_t* positions,
           const float* packed, float* scratch, const DnnSaafDims& d));
CAFX_CUDA(void, dnn_saaf_backward,
          (const Context&, Stored* dr, float* dz, const DnnSaafGrads& grads, const DnnSaafDu& du, const float* saved,
           const Stored* r, const float* z, const std::int32_t* positions, const DnnSaafWeights& weights,
           const float* packed, float* scratch, const DnnSaafDims& d));
CAFX_CUDA(bool, dnn_saaf_takes_dy, (const Context&, const DnnSaafDims& d, int K));
CAFX_CUDA(std::size_t, dnn_saaf_packed, (const Context&, const DnnSaafDims& d));
CAFX_CUDA(std::size_t, dnn_saaf_saved, (const Context&, const DnnSaafDims& d));
CAFX_CUDA(std::size_t, dnn_saaf_scratch, (const Context&, const DnnSaafDims& d));

static void check(const DnnSaafDims& d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.C >= 1 && d.P >= 1, d.B, d.T, d.C, d.P);
  CAFX_CHECK(d.T % d.P == 0, d.T, d.P);
  CAFX_CHECK(d.L >= 1 && d.L <= kMaxDnnLayers, d.L);
  for (int l = 0; l < d.L; ++l) CAFX_CHECK(d.width[l] >= 1, l, d.width[l]);
  CAFX_CHECK(d.width[d.L - 1] == d.C, d.width[d.L - 1], d.C);
  CAFX_CHECK(!d.use_saaf || (d.saaf.S >= 1 && d.saaf.lo < d.saaf.hi), d.saaf.S, d.saaf.lo, d.saaf.hi);
}

bool dnn_saaf_takes_dy(const Context& context, const DnnSaafDims& d, int K) {
  check(d);
  CAFX_CUDA_CALL(context, dnn_saaf_takes_dy, d, K);
  return false;
}

std::size_t dnn_saaf_packed(const Context& context, const DnnSaafDims& d) {
  check(d);
  CAFX_CUDA_CALL(context, dnn_saaf_packed, d);
  return sizeof(float) * static_cast<std::size_t>(DnnPacked(d).size);
}
std::size_t dnn_saaf_saved(const Context& context, const DnnSaafDims& d) {
  check(d);
  CAFX_CUDA_CALL(context, dnn_saaf_saved, d);
  return sizeof(float) * static_cast<std::size_t>(DnnSaved(d).size);
}
std::size_t dnn_saaf_scratch(const Context& context, const DnnSaafDims& d) {
  check(d);
  CAFX_CUDA_CALL(context, dnn_saaf_scratch, d);
  return sizeof(float) * static_cast<std::size_t>(DnnScratch(d).size);
}

void dnn_saaf_prepare(const Context& context, void* packed, const DnnSaafWeights& weights, const DnnSaafDims& d) {
  check(d);
  CAFX_CUDA_CALL(context, dnn_saaf_prepare, static_cast<float*>(packed), weights, d);
  CAFX_CALL(context, dnn_saaf_prepare, static_cast<float*>(packed), weights, bf16_units(context), d);
}

void dnn_saaf_forward(const Context& context, Stored* u, void* saved, const Stored* r, const float* z,
                      const std::int32_t* positions, const void* packed, void* scratch, const DnnSaafDims& d) {
  check(d);
  CAFX_CHECK(positions || d.unpool == Unpool::kHold);
  CAFX_CUDA_CALL(context, dnn_saaf_forward, u, static_cast<float*>(saved), r, z, positions,
                 static_cast<const float*>(packed), static_cast<float*>(scratch), d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, dnn_saaf_forward, static_cast<float*>(u), static_cast<float*>(saved), static_cast<const float*>(r),
            z, positions, static_cast<const float*>(packed), static_cast<float*>(scratch), bf16_units(context),
            stored_precision(context), d);
}

void dnn_saaf_backward(const Context& context, Stored* dr, float* dz, const DnnSaafGrads& grads, const Stored* du,
                       const void* saved, const Stored* r, const float* z, const std::int32_t* positions,
                       const DnnSaafWeights& weights, const void* packed, void* scratch, const DnnSaafDims& d) {
  dnn_saaf_backward_from(context, dr, dz, grads, DnnSaafDu{du}, saved, r, z, positions, weights, packed, scratch, d);
}

void dnn_saaf_backward_from(const Context& context, Stored* dr, float* dz, const DnnSaafGrads& grads,
                            const DnnSaafDu& du, const void* saved, const Stored* r, const float* z,
                            const std::int32_t* positions, const DnnSaafWeights& weights, const void* packed,
                            void* scratch, const DnnSaafDims& d) {
  check(d);
  CAFX_CHECK(positions || d.unpool == Unpool::kHold);
  CAFX_CHECK(du.du || dnn_saaf_takes_dy(context, d, du.K), du.K);
  CAFX_CUDA_CALL(context, dnn_saaf_backward, dr, dz, grads, du, static_cast<const float*>(saved), r, z, positions,
                 weights, static_cast<const float*>(packed), static_cast<float*>(scratch), d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, dnn_saaf_backward, static_cast<float*>(dr), dz, grads, static_cast<const float*>(du.du),
            static_cast<const float*>(saved), static_cast<const float*>(r), z, positions, weights,
            static_cast<const float*>(packed), static_cast<float*>(scratch), bf16_units(context),
            stored_precision(context), d);
}

}  // namespace cafx
