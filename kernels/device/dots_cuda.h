// kernels/device/dots_cuda.h -- sums over time of products of rows: the gradient of a weight between two channels. For
// *_cuda.cu only.
//
//   finish(members)(i, j, sum over places b and samples t of left(members)(b, i, t) right(members)(b, j, t))
//   i in [0, M), j in [0, N)
//
//   A block sums 16 x 16 of them over a slice of one place's samples; the slices are added up in double. Every sum runs
//   in one fixed order, which depends on the sizes alone.
#pragma once

#include "kernels/device/each_cuda.h"

namespace cafx {

struct DotsDims {
  int B, T, M, N;
  bool time_contiguous;  // neighbouring samples lie side by side, else neighbouring rows
};

// Slices of all places. Many fill the card; what they leave behind stays below 64 MiB where one slice of a place does.
inline long dots_slices(DotsDims d) {
  const long wanted = std::max<long>(1, 256 / d.B), most = ceil_div(d.T, 256);
  const long room = (1L << 24) / (static_cast<long>(d.B) * d.M * d.N);
  return d.B * std::max<long>(1, std::min({wanted, most, room}));
}
inline std::size_t dots_scratch(DotsDims d) {  // floats
  return static_cast<std::size_t>(dots_slices(d)) * static_cast<std::size_t>(d.M) * static_cast<std::size_t>(d.N);
}

template <class Left, class Right>
__global__ void dots_kernel(Members members, float* partial, DotsDims d, int per_place, Left left, Right right) {
  constexpr int kSide = 16, kDepth = 32;
  __shared__ float of_left[kSide][kDepth + 1], of_right[kSide][kDepth + 1];
  members.enter(partial);
  const auto of_l = left(members);
  const auto of_r = right(members);
  const int column_tiles = (d.N + kSide - 1) / kSide;
  const int i0 = static_cast<int>(blockIdx.x) / column_tiles * kSide,
            j0 = static_cast<int>(blockIdx.x) % column_tiles * kSide;
  const int slice = static_cast<int>(blockIdx.y), b = slice / per_place;
  const int length = (d.T + per_place - 1) / per_place, first = slice % per_place * length;
  const int last = min(first + length, d.T);
  const int row = static_cast<int>(threadIdx.x) / kSide, column = static_cast<int>(threadIdx.x) % kSide;
  float sum = 0.0f;
  for (int t0 = first; t0 < last; t0 += kDepth) {
    for (int at = static_cast<int>(threadIdx.x); at < kSide * kDepth; at += kThreads) {
      const int r = d.time_contiguous ? at / kDepth : at % kSide, t = d.time_contiguous ? at % kDepth : at / kSide;
      const bool inside = t0 + t < last;
      of_left[r][t] = inside && i0 + r < d.M ? of_l(b, i0 + r, t0 + t) : 0.0f;
      of_right[r][t] = inside && j0 + r < d.N ? of_r(b, j0 + r, t0 + t) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int t = 0; t < kDepth; ++t) sum += of_left[row][t] * of_right[column][t];
    __syncthreads();
  }
  if (i0 + row < d.M && j0 + column < d.N) {
    partial[(static_cast<long>(slice) * d.M + i0 + row) * d.N + j0 + column] = sum;
  }
}

template <class Left, class Right, class Finish>
void dots(const Context& context, float* scratch, DotsDims d, Left left, Right right, Finish finish) {
  const long slices = dots_slices(d), tiles = ceil_div(d.M, 16) * ceil_div(d.N, 16);
  launch(context, dots_kernel<Left, Right>, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(slices)), kThreads,
         0, scratch, d, static_cast<int>(slices / d.B), left, right);
  const int N = d.N;
  sum_parts(context, scratch, static_cast<int>(slices), static_cast<long>(d.M) * N,
            [=] __device__(Members members) mutable {
              return [of = finish(members), N](long i, double sum) {
                of(static_cast<int>(i / N), static_cast<int>(i % N), static_cast<float>(sum));
              };
            });
}

}  // namespace cafx
