#include "kernels/local_dense/local_dense.h"

#include <algorithm>

#include "kernels/device/dispatch.h"
#include "kernels/local_dense/local_dense_layout.h"

namespace cafx {

CAFX_BACKENDS(void, local_dense_forward_block,
              (float* y, const float* x, const float* w, const float* bias, float* scratch, LocalDenseDims d, int c0,
               int n_c));
CAFX_BACKENDS(void, local_dense_backward_block,
              (float* dx, float* dw, float* dbias, const float* dy, const float* y, const float* x, const float* w,
               float* scratch, LocalDenseDims d, int c0, int n_c));
CAFX_BACKENDS(void, local_dense_prepare, (float* packed, const float* w, const float* bias, LocalDenseDims d));
CAFX_BACKENDS(void, local_dense_forward_packed, (float* y, const float* x, const float* packed, LocalDenseDims d));
CAFX_CUDA(std::size_t, local_dense_scratch, (const Context&, LocalDenseDims d));
CAFX_CUDA(void, local_dense_forward,
          (const Context&, float* y, const float* x, const float* w, const float* bias, LocalDenseDims d));
CAFX_CUDA(void, local_dense_backward,
          (const Context&, float* dx, float* dw, float* dbias, const float* dy, const float* y, const float* x,
           const float* w, void* scratch, LocalDenseDims d));

// What a CPU emulates here: in tf32 this layer stays in fp32.
static Precision emulated_here(const Context& context) {
  const Precision p = emulated_precision(context);
  return is_16_bit(p) ? p : Precision::kFp32;
}

static void check(LocalDenseDims d) { CAFX_CHECK(d.B >= 1 && d.I >= 1 && d.O >= 1 && d.C >= 1, d.B, d.I, d.O, d.C); }

constexpr int kChannels =
    16;  // of one task; the widest vector, so that the tasks are the same for every instruction set

static std::size_t scratch_floats(LocalDenseDims d) {  // of one worker
  const auto rows = [&](int n) { return (static_cast<std::size_t>(d.B) * n + 15) / 16 * 16; };
  return kChannels * (rows(d.I) + rows(d.O)) + rows(d.I) + rows(d.O);
}

std::size_t local_dense_scratch(const Context& context, LocalDenseDims d) {
  check(d);
  CAFX_CUDA_CALL(context, local_dense_scratch, d);
  return sizeof(float) * scratch_floats(d) * static_cast<std::size_t>(context.n_workers());
}

template <class Body>
static void over_channels(const Context& context, void* scratch, LocalDenseDims d, const Body& body) {
  over_tasks(context, (d.C + kChannels - 1) / kChannels, [&](const Context& inner, int i) {
    const EmulatedPrecision emulated(emulated_here(inner));
    const std::size_t worker = context.pool ? static_cast<std::size_t>(inner.worker) : 0;
    body(inner, static_cast<float*>(scratch) + worker * scratch_floats(d), i * kChannels,
         std::min(kChannels, d.C - i * kChannels));
  });
}

void local_dense_forward(const Context& context, float* y, const float* x, const float* w, const float* bias,
                         void* scratch, LocalDenseDims d) {
  check(d);
  CAFX_CUDA_CALL(context, local_dense_forward, y, x, w, bias, d);
  over_channels(context, scratch, d, [&](const Context& inner, float* own, int c0, int n_c) {
    CAFX_CALL(inner, local_dense_forward_block, y, x, w, bias, own, d, c0, n_c);
  });
}

void local_dense_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* y,
                          const float* x, const float* w, void* scratch, LocalDenseDims d) {
  check(d);
  CAFX_CUDA_CALL(context, local_dense_backward, dx, dw, dbias, dy, y, x, w, scratch, d);
  over_channels(context, scratch, d, [&](const Context& inner, float* own, int c0, int n_c) {
    CAFX_CALL(inner, local_dense_backward_block, dx, dw, dbias, dy, y, x, w, own, d, c0, n_c);
  });
}

std::size_t local_dense_packed(const Context&, LocalDenseDims d) {
  check(d);
  return sizeof(float) * static_cast<std::size_t>(LocalDensePacked(d).size);
}

void local_dense_prepare(const Context& context, void* packed, const float* w, const float* bias, LocalDenseDims d) {
  check(d);
  const EmulatedPrecision emulated(emulated_here(context));
  if (EmulatedPrecision::is_on()) w = rounded_copy(0, w, static_cast<long>(d.C) * d.O * d.I);
  CAFX_CALL(context, local_dense_prepare, static_cast<float*>(packed), w, bias, d);
}

void local_dense_forward_packed(const Context& context, float* y, const float* x, const void* packed,
                                LocalDenseDims d) {
  check(d);
  const EmulatedPrecision emulated(emulated_here(context));
  if (EmulatedPrecision::is_on()) x = rounded_copy(0, x, static_cast<long>(d.B) * d.I * d.C);
  CAFX_CALL(context, local_dense_forward_packed, y, x, static_cast<const float*>(packed), d);
}

}  // namespace cafx
