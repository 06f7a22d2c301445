#include "kernels/device/each_cuda.h"
#include "kernels/film/film.h"

namespace cafx::cuda {

namespace {

// The first maximum of a block of a row, and whether the zeros behind the row's end are larger.
struct Maximum {
  int at;
  bool behind;
};
__device__ Maximum maximum(const float* row, int k, FilmDims d) {
  const int t0 = k * d.block, end = min(t0 + d.block, d.T);
  int at = t0;
  for (int t = t0 + 1; t < end; ++t) {
    if (row[t] > row[at]) at = t;
  }
  return {at, end - t0 < d.block && row[at] < 0.0f};
}

__device__ float one_of(const FilmDims& d) { return d.around_one ? 1.0f : 0.0f; }

// A warp for each block of each row: the two sums of its samples, in a fixed tree.
__global__ void backward_kernel(Members members, float* dz, float* dmodulation, const float* dy, const float* z,
                                const float* modulation, FilmDims d, long n) {
  members.enter(dz, dmodulation, dy, z, modulation);
  const long i = (static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (i >= n) return;  // a whole warp
  const long c = i % d.C, kb = i / d.C, b = kb % d.B, k = kb / d.B;
  const float scale = modulation[kb * 2 * d.C + c] + one_of(d), shift = modulation[kb * 2 * d.C + d.C + c];
  const long row = (b * d.C + c) * d.T, end = min((k + 1) * d.block, static_cast<long>(d.T));
  float of_scale = 0.0f, of_shift = 0.0f;
  for (long t = k * d.block + lane; t < end; t += 32) {
    const float in = z[row + t], bent = tanhf(scale * in + shift), slope = dy[row + t] * (1.0f - bent * bent);
    dz[row + t] = slope * scale;
    of_scale += slope * in;
    of_shift += slope;
  }
  for (int half = 16; half > 0; half /= 2) {
    of_scale += __shfl_down_sync(0xffffffffu, of_scale, half);
    of_shift += __shfl_down_sync(0xffffffffu, of_shift, half);
  }
  if (lane != 0) return;
  dmodulation[kb * 2 * d.C + c] = of_scale;
  dmodulation[kb * 2 * d.C + d.C + c] = of_shift;
}

// A channel a block: all places and samples, in a fixed tree.
__global__ void residual_kernel(Members members, float* dresidual, const float* dy, const float* x, FilmDims d) {
  members.enter(dresidual, dy, x);
  __shared__ float sums[1024];
  const int tid = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  float sum = 0.0f;
  for (long b = 0; b < d.B; ++b) {
    const long row = (b * d.C + blockIdx.x) * d.T;
    for (int t = tid; t < d.T; t += threads) sum += dy[row + t] * x[row + t];
  }
  sums[tid] = sum;
  for (int half = threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (tid < half) sums[tid] += sums[tid + half];
  }
  if (tid == 0) dresidual[blockIdx.x] += sums[0];
}

long rows_of(FilmDims d) { return static_cast<long>(d.B) * d.C; }

}  // namespace

void film_pool_forward(const Context& context, float* pooled, const float* x, const float* constants, FilmDims d) {
  const long width = d.C + d.beside;
  for_each(context, film_blocks(d) * d.B * width, [=] __device__(Members members) mutable {
    members.enter(x, pooled);
    members.enter_given(constants);
    return [=](long i) {
      const long c = i % width, b = i / width % d.B, k = i / width / d.B;
      if (c >= d.C) {
        pooled[i] = constants ? constants[b * d.beside + c - d.C] : 0.0f;
        return;
      }
      const float* of = x + (b * d.C + c) * d.T;
      const Maximum m = maximum(of, static_cast<int>(k), d);
      pooled[i] = m.behind ? 0.0f : of[m.at];
    };
  });
}

void film_pool_backward(const Context& context, float* dx, const float* dpooled, const float* x, FilmDims d) {
  for_each(context, film_blocks(d) * rows_of(d), [=] __device__(Members members) mutable {
    members.enter(x, dx, dpooled);
    return [=](long i) {
      const long k = i / (d.B * d.C), row = i % (d.B * d.C), c = row % d.C;
      const Maximum m = maximum(x + row * d.T, static_cast<int>(k), d);
      if (!m.behind) dx[row * d.T + m.at] += dpooled[i / d.C * (d.C + d.beside) + c];
    };
  });
}

void film_forward(const Context& context, float* y, const float* z, const float* x, const float* residual,
                  const float* modulation, FilmDims d) {
  for_each(context, rows_of(d) * d.T, [=] __device__(Members members) mutable {
    members.enter(y, z, residual, x);
    members.enter_given(modulation);
    return [=](long i) {
      const long row = i / d.T, b = row / d.C, c = row % d.C, k = modulation ? i % d.T / d.block : 0;
      const float* m = modulation ? modulation + (k * d.B + b) * 2 * d.C + c : nullptr;
      y[i] = tanhf((m ? m[0] + one_of(d) : 1.0f) * z[i] + (m ? m[d.C] : 0.0f)) + residual[c] * x[i];
    };
  });
}

void film_backward(const Context& context, float* dz, float* dmodulation, const float* dy, const float* z,
                   const float* modulation, FilmDims d) {
  if (!modulation) {
    return for_each(context, rows_of(d) * d.T, [=] __device__(Members members) mutable {
      members.enter(z, dz, dy);
      return [=](long i) {
        const float bent = tanhf(z[i]);
        dz[i] = dy[i] * (1.0f - bent * bent);
      };
    });
  }
  const long n = film_blocks(d) * rows_of(d);
  launch(context, backward_kernel, dim3(blocks_for(32 * n)), kThreads, 0, dz, dmodulation, dy, z, modulation, d, n);
}

void film_residual_backward(const Context& context, float* dx, float* dresidual, const float* dy, const float* x,
                            const float* residual, FilmDims d) {
  launch(context, residual_kernel, dim3(static_cast<unsigned>(d.C)), 1024, 0, dresidual, dy, x, d);
  for_each(context, rows_of(d) * d.T, [=] __device__(Members members) mutable {
    members.enter(dx, residual, dy);
    return [=](long i) { dx[i] += residual[i / d.T % d.C] * dy[i]; };
  });
}

}  // namespace cafx::cuda
