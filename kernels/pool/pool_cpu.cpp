#include "kernels/pool/pool.h"

#include "kernels/pointwise/pointwise_cpu.h"

namespace cafx::CAFX_ISA_NS {

void max_pool_forward(float* z, std::int32_t* positions, const float* x, PoolDims d) {
  const long n_windows = static_cast<long>(d.B) * (d.T / d.P);
  for (long p = 0; p < n_windows; ++p) {
    for_vectors(d.C, [&](long c, int m) {
      const float* first = x + p * d.P * d.C + c;
      vf best = load_m(first, m);
      vi at = {};
      for (int r = 1; r < d.P; ++r) {
        const vf v = load_m(first + static_cast<long>(r) * d.C, m);
        at = v > best ? set1i(r) : at;
        best = v > best ? v : best;
      }
      store_m(z + p * d.C + c, best, m);
      store_n(positions + p * d.C + c, at, m);
    });
  }
}

void unpool_forward(float* y, const float* z, const std::int32_t* positions, PoolDims d, Unpool u) {
  const long n_windows = static_cast<long>(d.B) * (d.T / d.P);
  for (long p = 0; p < n_windows; ++p) {
    for (int r = 0; r < d.P; ++r) {
      float* row = y + (p * d.P + r) * d.C;
      const float* value = z + p * d.C;
      if (u == Unpool::kHold) {
        for (int c = 0; c < d.C; ++c) row[c] = value[c];
      } else {
        const std::int32_t* at = positions + p * d.C;
        for (int c = 0; c < d.C; ++c) row[c] = at[c] == r ? value[c] : 0.0f;
      }
    }
  }
}

void max_pool_backward(float* dx, const float* dz, const std::int32_t* positions, PoolDims d) {
  unpool_forward(dx, dz, positions, d, Unpool::kPositions);
}

void unpool_backward(float* dz, const float* dy, const std::int32_t* positions, PoolDims d, Unpool u) {
  const long n_windows = static_cast<long>(d.B) * (d.T / d.P);
  for (long p = 0; p < n_windows; ++p) {
    const float* first = dy + p * d.P * d.C;
    float* out = dz + p * d.C;
    if (u == Unpool::kPositions) {
      for (int c = 0; c < d.C; ++c) out[c] = first[static_cast<long>(positions[p * d.C + c]) * d.C + c];
      continue;
    }
    for_vectors(d.C, [&](long c, int m) {
      vf total = {};
      for (int r = 0; r < d.P; ++r) total += load_m(first + static_cast<long>(r) * d.C + c, m);
      store_m(out + c, total, m);
    });
  }
}

namespace {
// Lanes whose window gives sample r its value, of one vector of channels from i on.
CAFX_INLINE vi gives(const std::int32_t* positions, long i, int r, int m, Unpool form) {
  if (form == Unpool::kHold) return set1i(-1);
  vi at = {};
  for (int lane = 0; lane < m; ++lane) at[lane] = positions[i + lane];
  return at == set1i(r);
}
}  // namespace

void unpool_multiply_forward(float* u, const float* z, const float* x, const std::int32_t* positions, Precision stored,
                             PoolDims d, Unpool form) {
  const long n_windows = static_cast<long>(d.B) * (d.T / d.P);
  for (long p = 0; p < n_windows; ++p) {
    for (int r = 0; r < d.P; ++r) {
      const long row = (p * d.P + r) * d.C;
      for_vectors(d.C, [&](long c, int m) {
        const vf held = gives(positions, p * d.C + c, r, m, form) ? load_m(z + p * d.C + c, m) : vf{};
        const vf v = held * load_m(x + row + c, m);
        store_m(u + row + c, vrounded(v, stored), m);
      });
    }
  }
}

void unpool_multiply_backward(float* dz, float* dx, const float* du, const float* z, const float* x,
                              const std::int32_t* positions, Precision stored, PoolDims d, Unpool form, bool adds) {
  const long n_windows = static_cast<long>(d.B) * (d.T / d.P);
  for (long p = 0; p < n_windows; ++p) {
    for_vectors(d.C, [&](long c, int m) {
      const vf value = load_m(z + p * d.C + c, m);
      vf total = {};
      for (int r = 0; r < d.P; ++r) {
        const long i = (p * d.P + r) * d.C + c;
        const vi here = gives(positions, p * d.C + c, r, m, form);
        const vf g = load_m(du + i, m);
        vf v = g * (here ? value : vf{});
        if (adds) v += load_m(dx + i, m);
        store_m(dx + i, vrounded(v, stored), m);
        const vf through = g * load_m(x + i, m);
        total = form == Unpool::kHold ? total + through : (here ? through : total);
      }
      if (adds) total += load_m(dz + p * d.C + c, m);
      store_m(dz + p * d.C + c, total, m);
    });
  }
}

}  // namespace cafx::CAFX_ISA_NS
