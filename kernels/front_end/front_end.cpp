#include "kernels/front_end/front_end.h"

#include "kernels/device/dispatch.h"
#include "kernels/front_end/front_end_layout.h"

namespace cafx {

CAFX_BACKENDS(void, front_end_prepare,
              (float* packed, const float* w1, const float* bias1, const float* w2, const float* bias2, bool bf16_units,
               Precision stored, FrontEndDims d));
CAFX_BACKENDS(void, front_end_forward,
              (float* x1, float* z, std::int32_t* positions, const float* x_padded, const float* packed, float* scratch,
               bool bf16_units, Precision stored, FrontEndDims d));
CAFX_BACKENDS(void, front_end_rows,
              (float* x1, const float* x, const float* packed, int n, bool bf16_units, Precision stored,
               FrontEndDims d));
CAFX_BACKENDS(void, front_end_windows,
              (float* z, std::int32_t* positions, const float* x1, int n, int before, int after, const float* packed,
               float* scratch, FrontEndDims d));
CAFX_BACKENDS(void, front_end_backward,
              (float* dx1, float* dw1, float* dbias1, float* dw2, float* dbias2, const float* dz, const float* x1,
               const float* z, const std::int32_t* positions, const float* x_padded, const float* w2, float* scratch,
               bool bf16_units, Precision stored, FrontEndDims d));
CAFX_CUDA(void, front_end_prepare,
          (const Context&, float* packed, const float* w1, const float* bias1, const float* w2, const float* bias2,
           FrontEndDims d));
CAFX_CUDA(void, front_end_forward,
          (const Context&, Stored* x1, float* z, std::int32_t* positions, const float* x_padded, const float* packed,
           float* scratch, FrontEndDims d));
CAFX_CUDA(bool, front_end_gathers, (const Context&, FrontEndDims d));
CAFX_CUDA(bool, front_end_forward_from,
          (const Context&, Stored* x1, float* z, std::int32_t* positions, float* x_padded, FrameSource source, int left,
           FrontEndWeights weights, FrontEndDims d));
CAFX_CUDA(void, front_end_backward,
          (const Context&, Stored* dx1, float* dw1, float* dbias1, float* dw2, float* dbias2, const float* dz,
           const Stored* x1, const float* z, const std::int32_t* positions, const float* x_padded, const float* w2,
           float* scratch, FrontEndDims d));
CAFX_CUDA(std::size_t, front_end_packed, (const Context&, FrontEndDims d));
CAFX_CUDA(std::size_t, front_end_scratch, (const Context&, FrontEndDims d));

static void check(FrontEndDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.C >= 1 && d.K1 >= 1 && d.K2 >= 1 && d.P >= 1, d.B, d.T, d.C, d.K1, d.K2, d.P);
  CAFX_CHECK(d.T % d.P == 0, d.T, d.P);
}

std::size_t front_end_packed(const Context& context, FrontEndDims d) {
  check(d);
  CAFX_CUDA_CALL(context, front_end_packed, d);
  return sizeof(float) * static_cast<std::size_t>(FrontEndPacked(d).size);
}

std::size_t front_end_scratch(const Context& context, FrontEndDims d) {
  check(d);
  CAFX_CUDA_CALL(context, front_end_scratch, d);
  return sizeof(float) * static_cast<std::size_t>(FrontEndScratch(d).size);
}

void front_end_prepare(const Context& context, void* packed, const float* w1, const float* bias1, const float* w2,
                       const float* bias2, FrontEndDims d) {
  check(d);
  CAFX_CUDA_CALL(context, front_end_prepare, static_cast<float*>(packed), w1, bias1, w2, bias2, d);
  CAFX_CALL(context, front_end_prepare, static_cast<float*>(packed), w1, bias1, w2, bias2, bf16_units(context),
            stored_precision(context), d);
}

void front_end_forward(const Context& context, Stored* x1, float* z, std::int32_t* positions, const float* x_padded,
                       const void* packed, void* scratch, FrontEndDims d) {
  check(d);
  CAFX_CUDA_CALL(context, front_end_forward, x1, z, positions, x_padded, static_cast<const float*>(packed),
                 static_cast<float*>(scratch), d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, front_end_forward, static_cast<float*>(x1), z, positions, x_padded,
            static_cast<const float*>(packed), static_cast<float*>(scratch), bf16_units(context),
            stored_precision(context), d);
}

bool front_end_gathers(const Context& context, FrontEndDims d) {
  check(d);
  CAFX_CUDA_CALL(context, front_end_gathers, d);
  return false;
}

bool front_end_forward_from(const Context& context, Stored* x1, float* z, std::int32_t* positions, float* x_padded,
                            FrameSource source, int left, FrontEndWeights weights, FrontEndDims d) {
  check(d);
  CAFX_CHECK(source.refs && left >= 0 && left < d.K1, left, d.K1);
  CAFX_CUDA_CALL(context, front_end_forward_from, x1, z, positions, x_padded, source, left, weights, d);
  return false;
}

void front_end_backward(const Context& context, Stored* dx1, float* dw1, float* dbias1, float* dw2, float* dbias2,
                        const float* dz, const Stored* x1, const float* z, const std::int32_t* positions,
                        const float* x_padded, const float* w2, void* scratch, FrontEndDims d) {
  check(d);
  CAFX_CUDA_CALL(context, front_end_backward, dx1, dw1, dbias1, dw2, dbias2, dz, x1, z, positions, x_padded, w2,
                 static_cast<float*>(scratch), d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, front_end_backward, static_cast<float*>(dx1), dw1, dbias1, dw2, dbias2, dz,
            static_cast<const float*>(x1), z, positions, x_padded, w2, static_cast<float*>(scratch),
            bf16_units(context), stored_precision(context), d);
}

void front_end_rows(const Context& context, float* x1, const float* x, const void* packed, int n, FrontEndDims d) {
  check(d);
  CAFX_CHECK(n >= 0, n);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, front_end_rows, x1, x, static_cast<const float*>(packed), n, bf16_units(context),
            stored_precision(context), d);
}

void front_end_windows(const Context& context, float* z, std::int32_t* positions, const float* x1, int n, int before,
                       int after, const void* packed, void* scratch, FrontEndDims d) {
  check(d);
  CAFX_CHECK(n >= 0 && static_cast<long>(n) * d.P <= d.T && before >= 0 && after >= 0, n, d.P, d.T, before, after);
  CAFX_CALL(context, front_end_windows, z, positions, x1, n, before, after, static_cast<const float*>(packed),
            static_cast<float*>(scratch), d);
}

}  // namespace cafx
