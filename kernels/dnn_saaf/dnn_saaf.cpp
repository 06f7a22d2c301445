#include "kernels/dnn_saaf/dnn_saaf.h"

#include <type_traits>

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
          (const Context&, Stored* u, const DnnSaafRows& rows, float* saved, const Stored* r, const float* z,
           const std::int32_t* positions, const float* packed, float* scratch, const DnnSaafDims& d));
CAFX_CUDA(void, dnn_saaf_backward,
          (const Context&, Stored* dr, float* dz, const DnnSaafGrads& grads, const DnnSaafDu& du, const float* saved,
           const Stored* r, const float* z, const std::int32_t* positions, const DnnSaafWeights& weights,
           const float* packed, float* scratch, const DnnSaafDims& d));
CAFX_CUDA(bool, dnn_saaf_takes_dy, (const Context&, const DnnSaafDims& d, int K));
CAFX_CUDA(bool, dnn_saaf_gives_rows, (const Context&, const DnnSaafDims& d, int K));
CAFX_CUDA(bool, dnn_saaf_one_by_one, (const Context&, const DnnSaafDims& d));
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

// Whether frames with weights of their own go through the device one after the other.
static bool one_by_one(const Context& context, const DnnSaafDims& d) {
  if (!has_own_weights(d)) return false;
  CAFX_CUDA_CALL(context, dnn_saaf_one_by_one, d);
  return true;
}
static DnnSaafDims of_one(DnnSaafDims d) {
  d.B = d.saaf.B = 1;
  d.apart = 0;
  return d;
}
// What one frame has in packed weights or in what is saved, on a border of 64 bytes.
static std::size_t of_frame(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

namespace {

// Where frame b's part of each operand begins; what is null stays it.
struct FrameAt {
  const Context& context;
  const DnnSaafDims& d;
  long b;
  template <class T>
  T* plus(T* p, long n) const {
    return p ? p + b * n : nullptr;
  }
  template <class T>
  T* bytes(T* p, std::size_t n) const {
    using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
    return plus(static_cast<Byte*>(p), static_cast<long>(n));
  }
  template <class T>
  T* stored(T* p) const {
    return bytes(p, stored_bytes(context) * static_cast<std::size_t>(d.T) * static_cast<std::size_t>(d.C));
  }
  template <class T>
  T* pooled(T* p) const {
    return plus(p, static_cast<long>(d.T / d.P) * d.C);
  }
  DnnSaafWeights weights(DnnSaafWeights w) const {
    for (int l = 0; l < d.L; ++l) w.w[l] = plus(w.w[l], d.apart), w.bias[l] = plus(w.bias[l], d.apart);
    return w;
  }
  DnnSaafGrads grads(DnnSaafGrads g) const {
    for (int l = 0; l < d.L; ++l) g.dw[l] = plus(g.dw[l], d.apart), g.dbias[l] = plus(g.dbias[l], d.apart);
    return g;
  }
};

}  // namespace

bool dnn_saaf_takes_dy(const Context& context, const DnnSaafDims& d, int K) {
  check(d);
  CAFX_CUDA_CALL(context, dnn_saaf_takes_dy, d, K);
  return false;
}

bool dnn_saaf_gives_rows(const Context& context, const DnnSaafDims& d, int K) {
  check(d);
  CAFX_CUDA_CALL(context, dnn_saaf_gives_rows, d, K);
  return false;
}

std::size_t dnn_saaf_packed(const Context& context, const DnnSaafDims& d) {
  check(d);
  if (one_by_one(context, d)) {
    return static_cast<std::size_t>(d.B) * of_frame(dnn_saaf_packed(context, of_one(d)));
  }
  CAFX_CUDA_CALL(context, dnn_saaf_packed, d);
  return sizeof(float) * static_cast<std::size_t>(DnnPacked(d).size);
}
std::size_t dnn_saaf_saved(const Context& context, const DnnSaafDims& d) {
  check(d);
  if (one_by_one(context, d)) return static_cast<std::size_t>(d.B) * of_frame(dnn_saaf_saved(context, of_one(d)));
  CAFX_CUDA_CALL(context, dnn_saaf_saved, d);
  return sizeof(float) * static_cast<std::size_t>(DnnSaved(d).size);
}
std::size_t dnn_saaf_scratch(const Context& context, const DnnSaafDims& d) {
  check(d);
  if (one_by_one(context, d)) return dnn_saaf_scratch(context, of_one(d));
  CAFX_CUDA_CALL(context, dnn_saaf_scratch, d);
  return sizeof(float) * static_cast<std::size_t>(DnnScratch(d).size);
}

void dnn_saaf_prepare(const Context& context, void* packed, const DnnSaafWeights& weights, const DnnSaafDims& d) {
  check(d);
  if (one_by_one(context, d)) {
    const DnnSaafDims one = of_one(d);
    const std::size_t size = of_frame(dnn_saaf_packed(context, one));
    for (int b = 0; b < d.B; ++b) {
      const FrameAt f{context, d, b};
      dnn_saaf_prepare(context, f.bytes(packed, size), f.weights(weights), one);
    }
    return;
  }
  CAFX_CUDA_CALL(context, dnn_saaf_prepare, static_cast<float*>(packed), weights, d);
  CAFX_CALL(context, dnn_saaf_prepare, static_cast<float*>(packed), weights, bf16_units(context), d);
}

void dnn_saaf_forward(const Context& context, Stored* u, void* saved, const Stored* r, const float* z,
                      const std::int32_t* positions, const void* packed, void* scratch, const DnnSaafDims& d) {
  dnn_saaf_forward_to(context, u, {}, saved, r, z, positions, packed, scratch, d);
}

void dnn_saaf_forward_to(const Context& context, Stored* u, const DnnSaafRows& rows, void* saved, const Stored* r,
                         const float* z, const std::int32_t* positions, const void* packed, void* scratch,
                         const DnnSaafDims& d) {
  check(d);
  CAFX_CHECK(positions || d.unpool == Unpool::kHold);
  CAFX_CHECK(rows.rows ? dnn_saaf_gives_rows(context, d, rows.K) : u != nullptr, rows.K);
  if (one_by_one(context, d)) {
    const DnnSaafDims one = of_one(d);
    const std::size_t size = of_frame(dnn_saaf_packed(context, one)), kept = of_frame(dnn_saaf_saved(context, one));
    for (int b = 0; b < d.B; ++b) {
      const FrameAt f{context, d, b};
      dnn_saaf_forward(context, f.stored(u), f.bytes(saved, kept), f.stored(r), f.pooled(z), f.pooled(positions),
                       f.bytes(packed, size), scratch, one);
    }
    return;
  }
  CAFX_CUDA_CALL(context, dnn_saaf_forward, u, rows, static_cast<float*>(saved), r, z, positions,
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
  if (one_by_one(context, d)) {
    const DnnSaafDims one = of_one(d);
    const std::size_t size = of_frame(dnn_saaf_packed(context, one)), kept = of_frame(dnn_saaf_saved(context, one));
    for (int b = 0; b < d.B; ++b) {
      const FrameAt f{context, d, b};
      dnn_saaf_backward(context, f.stored(dr), f.pooled(dz), f.grads(grads), f.stored(du.du), f.bytes(saved, kept),
                        f.stored(r), f.pooled(z), f.pooled(positions), f.weights(weights), f.bytes(packed, size),
                        scratch, one);
    }
    return;
  }
  CAFX_CUDA_CALL(context, dnn_saaf_backward, dr, dz, grads, du, static_cast<const float*>(saved), r, z, positions,
                 weights, static_cast<const float*>(packed), static_cast<float*>(scratch), d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, dnn_saaf_backward, static_cast<float*>(dr), dz, grads, static_cast<const float*>(du.du),
            static_cast<const float*>(saved), static_cast<const float*>(r), z, positions, weights,
            static_cast<const float*>(packed), static_cast<float*>(scratch), bf16_units(context),
            stored_precision(context), d);
}

}  // namespace cafx
