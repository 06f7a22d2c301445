#include "kernels/device/each_cuda.h"
#include "kernels/device/stored_cuda.h"
#include "kernels/pool/pool.h"

namespace cafx::cuda {

// One thread for each window and channel; neighbouring threads take neighbouring channels.
template <class F>
static void over_windows(const Context& context, PoolDims d, F f) {
  const int C = d.C, P = d.P;
  for_each(context, static_cast<long>(d.B) * (d.T / P) * C, [=] __device__(Members members) mutable {
    return [=, of = f(members)](long i) {
      const long window = i / C;
      of(i, window * P * C + (i - window * C));  // the first sample of the window in (B,T,C)
    };
  });
}

void max_pool_forward(const Context& context, float* z, std::int32_t* positions, const float* x, PoolDims d) {
  const int C = d.C, P = d.P;
  over_windows(context, d, [=] __device__(Members members) mutable {
    members.enter(x, z, positions);
    return [=](long i, long first) {
      float largest = x[first];
      int at = 0;
      for (int r = 1; r < P; ++r) {
        const float v = x[first + static_cast<long>(r) * C];
        if (v > largest) largest = v, at = r;
      }
      z[i] = largest;
      positions[i] = at;
    };
  });
}

void max_pool_backward(const Context& context, float* dx, const float* dz, const std::int32_t* positions, PoolDims d) {
  const int C = d.C, P = d.P;
  over_windows(context, d, [=] __device__(Members members) mutable {
    members.enter(positions, dz, dx);
    return [=](long i, long first) {
      const int at = positions[i];
      const float g = dz[i];
      for (int r = 0; r < P; ++r) dx[first + static_cast<long>(r) * C] = r == at ? g : 0.0f;
    };
  });
}

void unpool_forward(const Context& context, float* y, const float* z, const std::int32_t* positions, PoolDims d,
                    Unpool u) {
  const int C = d.C, P = d.P;
  over_windows(context, d, [=] __device__(Members members) mutable {
    members.enter(positions, z, y);
    return [=](long i, long first) {
      const int at = u == Unpool::kHold ? -1 : positions[i];
      const float v = z[i];
      for (int r = 0; r < P; ++r) y[first + static_cast<long>(r) * C] = at < 0 || r == at ? v : 0.0f;
    };
  });
}

void unpool_backward(const Context& context, float* dz, const float* dy, const std::int32_t* positions, PoolDims d,
                     Unpool u) {
  const int C = d.C, P = d.P;
  over_windows(context, d, [=] __device__(Members members) mutable {
    members.enter(dz, dy, positions);
    return [=](long i, long first) {
      if (u == Unpool::kPositions) {
        dz[i] = dy[first + static_cast<long>(positions[i]) * C];
        return;
      }
      float sum = 0.0f;
      for (int r = 0; r < P; ++r) sum += dy[first + static_cast<long>(r) * C];
      dz[i] = sum;
    };
  });
}

template <class S>
static void unpool_multiply(const Context& context, S* u, const float* z, const S* x, const std::int32_t* positions,
                            PoolDims d, Unpool form) {
  const int C = d.C, P = d.P;
  over_windows(context, d, [=] __device__(Members members) mutable {
    members.enter(positions, z, u, x);
    return [=](long i, long first) {
      const int at = form == Unpool::kHold ? -1 : positions[i];
      const float v = z[i];
      for (int r = 0; r < P; ++r) {
        const long j = first + static_cast<long>(r) * C;
        write(u + j, (at < 0 || r == at ? v : 0.0f) * read(x + j));
      }
    };
  });
}
void unpool_multiply_forward(const Context& context, Stored* u, const float* z, const Stored* x,
                             const std::int32_t* positions, PoolDims d, Unpool form) {
  with_stored(context, [&]<class S>() {
    unpool_multiply(context, static_cast<S*>(u), z, static_cast<const S*>(x), positions, d, form);
  });
}

template <class S>
static void unpool_multiply_back(const Context& context, float* dz, S* dx, const S* du, const float* z, const S* x,
                                 const std::int32_t* positions, PoolDims d, Unpool form, bool adds) {
  const int C = d.C, P = d.P;
  over_windows(context, d, [=] __device__(Members members) mutable {
    members.enter(positions, z, du, dx, x, dz);
    return [=](long i, long first) {
      const bool hold = form == Unpool::kHold;
      const int at = hold ? -1 : positions[i];
      const float v = z[i];
      float total = 0.0f;
      for (int r = 0; r < P; ++r) {
        const long j = first + static_cast<long>(r) * C;
        const float g = read(du + j);
        const float of_x = g * (hold || r == at ? v : 0.0f);
        write(dx + j, adds ? of_x + read(dx + j) : of_x);
        if (hold) total += g * read(x + j);
        if (r == at) total = g * read(x + j);
      }
      dz[i] = adds ? total + dz[i] : total;
    };
  });
}
void unpool_multiply_backward(const Context& context, float* dz, Stored* dx, const Stored* du, const float* z,
                              const Stored* x, const std::int32_t* positions, PoolDims d, Unpool form, bool adds) {
  with_stored(context, [&]<class S>() {
    unpool_multiply_back(context, dz, static_cast<S*>(dx), static_cast<const S*>(du), z, static_cast<const S*>(x),
                         positions, d, form, adds);
  });
}

}  // namespace cafx::cuda
