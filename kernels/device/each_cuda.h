// kernels/device/each_cuda.h -- one thread for each of n items, and sums over rows in a fixed order, for every member.
//
//   What a sum or an item needs is made on the device by a function of Members, which finds its member's pointers:
//   for_each(context, n, [=] __device__(Members members) mutable {
//     members.enter(y, x);
//     return [=](long i) { y[i] = x[i]; };
//   });
#pragma once

#include "kernels/device/cuda.h"

namespace cafx {

template <class F>
__global__ void each_kernel(Members members, long n, F f) {
  const long stride = static_cast<long>(gridDim.x) * blockDim.x;
  const auto own = f(members);
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) own(i);
}

// f(members)(i) on the device for i in [0, n).
template <class F>
void for_each(const Context& context, long n, F f) {
  if (n == 0) return;
  const unsigned blocks = static_cast<unsigned>(std::min<long>(ceil_div(n, kThreads), 1 << 20));
  launch(context, each_kernel<F>, blocks, kThreads, 0, n, f);
}

// Slices of the rows of a sum: enough blocks to fill the GPU, the same number for the same sizes.
inline int n_slices(long rows, int columns) {
  const long wanted = 1024 / ceil_div(columns, 32) + 1, most = ceil_div(rows, 64);
  return static_cast<int>(std::max<long>(1, std::min(wanted, most)));
}

// partial[slice, c] = sum over the slice's rows of value(members)(row, c), in order.
template <class F>
__global__ void column_sums_kernel(Members members, float* partial, long rows, int columns, F value) {
  __shared__ float sums[8][33];
  members.enter(partial);
  const auto of = value(members);
  const int c = blockIdx.x * 32 + threadIdx.x;
  const long per = (rows + gridDim.y - 1) / gridDim.y, first = blockIdx.y * per;
  const long last = first + per < rows ? first + per : rows;
  float sum = 0.0f;
  if (c < columns) {
    for (long row = first + threadIdx.y; row < last; row += 8) sum += of(row, c);
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && c < columns) {
    for (int i = 1; i < 8; ++i) sum += sums[i][threadIdx.x];
    partial[static_cast<long>(blockIdx.y) * columns + c] = sum;
  }
}

// How sums over parts are cut into blocks: `across` threads in a row, a power of two, each with `wide` neighbouring
// numbers; a block's rows of threads share the parts, and a tree adds them up.
struct PartsCut {
  int across = 8, wide = 1;
  unsigned blocks = 0;
  PartsCut() = default;
  // members: what the cut is for. 0: whatever their number is.
  PartsCut(const Context& context, const float* partial, int parts, long n, unsigned members) {
    // Whole lines where there are many numbers; more threads for each where there are few, or many parts of each.
    across = (n >= 8192 && parts <= 128) || (n >= 2048 && parts <= 64) ? 32 : 8;
    while (across > n) across /= 2;
    // Four numbers to a load take fewer instructions, but neighbouring lanes then write their sums four numbers apart,
    // in more sectors: it pays where the card is full.
    const bool aligned = n % 4 == 0 && reinterpret_cast<std::uintptr_t>(partial) % sizeof(float4) == 0;
    const long of_four = ceil_div(n, 4 * across);
    if (aligned && (members == 0 ? n >= 4096 : of_four * members >= 4l * context.cuda->n_sm)) wide = 4;
    blocks = blocks_for(n, wide * across);
  }
};

// put(i, sum over the parts of partial[part * n + i]) for the numbers of block `block`, in double and in a fixed order,
// which hangs on the number of rows of threads alone. sums: (kWide, kThreads) of shared memory.
template <int kWide, class F>
__device__ __forceinline__ void sum_of_parts(const float* partial, int parts, long n, int across, unsigned block,
                                             double (*sums)[kThreads], F put) {
  using Numbers = std::conditional_t<kWide == 4, float4, float>;
  const auto t = static_cast<int>(threadIdx.x);
  const long i = (static_cast<long>(block) * across + t % across) * kWide;
  double sum[kWide] = {};
  if (i < n) {
#pragma unroll 8
    for (int part = t / across; part < parts; part += kThreads / across) {
      const Numbers numbers = *reinterpret_cast<const Numbers*>(partial + part * n + i);
#pragma unroll
      for (int k = 0; k < kWide; ++k) sum[k] += reinterpret_cast<const float*>(&numbers)[k];
    }
  }
#pragma unroll
  for (int k = 0; k < kWide; ++k) sums[k][t] = sum[k];
  for (int half = kThreads / 2; half >= across; half /= 2) {
    __syncthreads();
    if (t >= half) continue;
#pragma unroll
    for (int k = 0; k < kWide; ++k) sums[k][t] = sum[k] += sums[k][t + half];
  }
  if (t >= across || i >= n) return;
#pragma unroll
  for (int k = 0; k < kWide; ++k) put(i + k, sum[k]);
}

// finish(members)(i, sum over the parts of partial[part * n + i]).
template <int kWide, class F>
__global__ void sum_parts_kernel(Members members, const float* partial, int parts, long n, int across, F finish) {
  __shared__ double sums[kWide][kThreads];
  members.enter(partial);
  auto own = finish(members);
  sum_of_parts<kWide>(partial, parts, n, across, blockIdx.x, sums, [&](long i, double sum) { own(i, sum); });
}
template <class F>
void sum_parts(const Context& context, const float* partial, int parts, long n, F finish) {
  const PartsCut cut(context, partial, parts, n, context.cuda->n_members);
  launch(context, cut.wide == 4 ? sum_parts_kernel<4, F> : sum_parts_kernel<1, F>, cut.blocks, kThreads, 0, partial,
         parts, n, cut.across, finish);
}

// total[i] += sum over slices of partial[slice, i].
inline void add_slices(const Context& context, float* total, const float* partial, int slices, long n) {
  sum_parts(context, partial, slices, n, [=] __device__(Members members) {
    return [=](long i, double sum) { members.of(total)[i] += static_cast<float>(sum); };
  });
}

// partial[block] = sum over i of value(members)(i), i = block's threads and on; a fixed tree.
inline constexpr int kSumBlocks = 128;
template <class F>
__global__ void sum_kernel(Members members, float* partial, long n, F value) {
  __shared__ float sums[kThreads];
  members.enter(partial);
  const auto of = value(members);
  float sum = 0.0f;
#pragma unroll 4
  for (long i = static_cast<long>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += kSumBlocks * kThreads) sum += of(i);
  sums[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) partial[blockIdx.x] = sums[0];
}

// *total += sum over i of value(i); partial holds kSumBlocks floats.
template <class F>
void add_sum(const Context& context, float* total, float* partial, long n, F value) {
  launch(context, sum_kernel<F>, kSumBlocks, kThreads, 0, partial, n, value);
  add_slices(context, total, partial, kSumBlocks, 1);
}

// total[c] += sum over rows of value(row, c); partial holds n_slices(rows, columns) x columns floats.
template <class F>
void add_column_sums(const Context& context, float* total, float* partial, long rows, int columns, F value) {
  const int slices = n_slices(rows, columns);
  launch(context, column_sums_kernel<F>, dim3(blocks_for(columns, 32), slices), dim3(32, 8), 0, partial, rows, columns,
         value);
  add_slices(context, total, partial, slices, columns);
}

}  // namespace cafx
