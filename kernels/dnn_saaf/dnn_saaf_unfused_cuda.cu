#include "kernels/dnn_saaf/dnn_saaf_unfused_cuda.h"

#include "kernels/dense/dense.h"
#include "kernels/device/each_cuda.h"
#include "kernels/device/memory.h"
#include "kernels/device/stored_cuda.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/pool/pool.h"
#include "kernels/saaf/saaf.h"

namespace cafx::cuda::dnn_unfused {

namespace {

// Unpool, times r, dense layers, SAAF. Saves every layer's output.
struct Buffers {
  float* h[kMaxDnnLayers + 1];  // saved; h[0] = unpooled z times r
  float *held, *g[2];
  void* op;
  std::size_t saved_bytes, scratch_bytes;
  Buffers(const Context& context, const DnnSaafDims& d, const void* saved, void* scratch) {
    const long rows = static_cast<long>(d.B) * d.T;
    const auto rounded = [](long n) { return (n + 63) / 64 * 64; };
    float* at = static_cast<float*>(const_cast<void*>(saved));
    const float* begin = at;
    long widest = d.C;
    for (int l = 0; l <= d.L; ++l) {
      h[l] = at;
      const int width = l == 0 ? d.C : d.width[l - 1];
      at += rounded(rows * width);
      widest = std::max<long>(widest, width);
    }
    saved_bytes = sizeof(float) * static_cast<std::size_t>(at - begin);
    at = static_cast<float*>(scratch);
    begin = at;
    held = at, at += rounded(rows * d.C);
    g[0] = at, at += rounded(rows * widest);
    g[1] = at, at += rounded(rows * widest);
    op = at;
    std::size_t bytes = saaf_scratch(context, saaf_of(d));
    for (int l = 0; l < d.L; ++l) bytes = std::max(bytes, cafx::dense_scratch(context, layer(d, l)));
    scratch_bytes = sizeof(float) * static_cast<std::size_t>(at - begin) + (d.use_saaf || bytes ? bytes : 0);
  }
  static DenseDims layer(const DnnSaafDims& d, int l) {
    return {d.B * d.T, l == 0 ? d.C : d.width[l - 1], d.width[l], l + 1 < d.L ? d.activation : Activation::kIdentity};
  }
  static SaafDims saaf_of(const DnnSaafDims& d) {
    SaafDims s = d.saaf;
    s.B = d.B, s.T = d.T, s.C = d.C;
    if (!d.use_saaf) s.S = 1, s.lo = -1.0f, s.hi = 1.0f, s.order = 2;
    return s;
  }
  static std::size_t saaf_scratch(const Context& context, SaafDims s) { return cafx::saaf_scratch(context, s); }
};

template <Number S>
void widen_all(const Context& context, float* to, const S* from, long n) {
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(to, from);
    return [=](long i) { to[i] = read(from + i); };
  });
}
template <Number S>
void narrow_all(const Context& context, S* to, const float* from, long n) {
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(to, from);
    return [=](long i) { write(to + i, from[i]); };
  });
}

// n numbers in place, or widened into `buffer`; and back.
const float* as_floats(const Context& context, const Stored* from, float* buffer, long n) {
  if (stored_bytes(context) == sizeof(float)) return static_cast<const float*>(from);
  with_number(context, [&]<Number S>() { widen_all(context, buffer, static_cast<const S*>(from), n); });
  return buffer;
}
void store_floats(const Context& context, Stored* to, const float* from, long n) {
  if (to == from) return;
  if (stored_bytes(context) == sizeof(float)) {
    copy(context, to, from, sizeof(float) * static_cast<std::size_t>(n));
    return;
  }
  with_number(context, [&]<Number S>() { narrow_all(context, static_cast<S*>(to), from, n); });
}

}  // namespace

std::size_t saved(const Context& context, const DnnSaafDims& d) {
  return Buffers(context, d, nullptr, nullptr).saved_bytes;
}

std::size_t scratch(const Context& context, const DnnSaafDims& d) {
  const Buffers at(context, d, nullptr, nullptr);
  return at.saved_bytes + at.scratch_bytes;  // activations of a forward without backward
}

void forward(const Context& context, Stored* u, float* saved, const Stored* r, const float* z,
             const std::int32_t* positions, const DnnSaafWeights& weights, float* scratch, const DnnSaafDims& d) {
  const std::size_t saved_floats = Buffers(context, d, nullptr, nullptr).saved_bytes / sizeof(float);
  const Buffers at(context, d, saved ? saved : scratch, saved ? scratch : scratch + saved_floats);
  const PoolDims pool{d.B, d.T, d.C, d.P};
  const long n = static_cast<long>(d.B) * d.T * d.C;
  cafx::unpool_forward(context, at.held, z, positions, pool, d.unpool);
  cafx::multiply_forward(context, at.h[0], at.held, as_floats(context, r, at.h[0], n), n);
  for (int l = 0; l < d.L; ++l) {
    cafx::dense_forward(context, at.h[l + 1], at.h[l], weights.w[l], weights.bias[l], at.op, Buffers::layer(d, l));
  }
  if (d.use_saaf) {
    float* to = stored_bytes(context) == sizeof(float) ? static_cast<float*>(u) : at.g[0];
    cafx::saaf_forward(context, to, at.h[d.L], weights.saaf_v, weights.saaf_w, at.op, Buffers::saaf_of(d));
    store_floats(context, u, to, n);
  } else {
    store_floats(context, u, at.h[d.L], n);
  }
}

void backward(const Context& context, Stored* dr, float* dz, const DnnSaafGrads& grads, const Stored* du,
              const float* saved, const Stored* r, const float* z, const std::int32_t* positions,
              const DnnSaafWeights& weights, float* scratch, const DnnSaafDims& d) {
  const Buffers at(context, d, saved, scratch);
  const PoolDims pool{d.B, d.T, d.C, d.P};
  const long n = static_cast<long>(d.B) * d.T * d.C;
  float *g = at.g[0], *below = at.g[1];
  const float* dy = as_floats(context, du, below, n);
  if (d.use_saaf) {
    cafx::saaf_backward(context, g, grads.dsaaf_v, grads.dsaaf_w, dy, at.h[d.L], weights.saaf_v, weights.saaf_w, at.op,
                        Buffers::saaf_of(d));
  } else {
    copy(context, g, dy, sizeof(float) * static_cast<std::size_t>(n));
  }
  for (int l = d.L - 1; l >= 0; --l) {
    cafx::dense_backward(context, below, grads.dw[l], grads.dbias[l], g, at.h[l + 1], at.h[l], weights.w[l], at.op,
                         Buffers::layer(d, l));
    std::swap(g, below);
  }
  cafx::unpool_forward(context, at.held, z, positions, pool, d.unpool);
  float* to = stored_bytes(context) == sizeof(float) ? static_cast<float*>(dr) : g;
  cafx::multiply_backward(context, below, to, g, at.held, as_floats(context, r, below, n), n);
  store_floats(context, dr, to, n);
  cafx::unpool_backward(context, dz, below, positions, pool, d.unpool);
}

}  // namespace cafx::cuda::dnn_unfused
