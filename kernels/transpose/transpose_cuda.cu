#include "kernels/device/each_cuda.h"
#include "kernels/transpose/transpose.h"

namespace cafx::cuda {

namespace {

constexpr int kTile = 32, kRows = 8;

// A tile of a matrix through shared memory, so that both reads and writes are along rows.
__global__ void transpose_kernel(Members members, float* y, const float* x, TransposeDims d, int row_tiles,
                                 int column_tiles) {
  members.enter(y, x);
  __shared__ float tile[kTile][kTile + 1];
  const long n = static_cast<long>(d.R) * d.C, b = blockIdx.x / (row_tiles * column_tiles);
  const int in_matrix = static_cast<int>(blockIdx.x % (row_tiles * column_tiles));
  const int r0 = in_matrix / column_tiles * kTile, c0 = in_matrix % column_tiles * kTile;
  x += b * n;
  y += b * n;
  for (int i = threadIdx.y; i < kTile; i += kRows) {
    const int r = r0 + i, c = c0 + static_cast<int>(threadIdx.x);
    if (r < d.R && c < d.C) tile[i][threadIdx.x] = x[static_cast<long>(r) * d.C + c];
  }
  __syncthreads();
  for (int i = threadIdx.y; i < kTile; i += kRows) {
    const int c = c0 + i, r = r0 + static_cast<int>(threadIdx.x);
    if (r < d.R && c < d.C) y[static_cast<long>(c) * d.R + r] = tile[threadIdx.x][i];
  }
}

}  // namespace

void transpose_each(const Context& context, float* y, const float* x, TransposeDims d) {
  const int row_tiles = static_cast<int>(ceil_div(d.R, kTile)), column_tiles = static_cast<int>(ceil_div(d.C, kTile));
  launch(context, transpose_kernel, static_cast<unsigned>(d.B * row_tiles * column_tiles), dim3(kTile, kRows), 0, y, x,
         d, row_tiles, column_tiles);
}

void exchange_outer(const Context& context, float* y, const float* x, ExchangeDims d) {
  const long I = d.I, J = d.J, K = d.K, C = d.C;
  for_each(context, K * J * I * C, [=] __device__(Members members) mutable {
    members.enter(y, x);
    return [=](long at) {
      const long c = at % C, i = at / C % I, j = at / (C * I) % J, k = at / (C * I * J);
      y[at] = x[((i * J + j) * K + k) * C + c];
    };
  });
}

void with_constants(const Context& context, float* y, const float* x, const float* c, ConstantsDims d) {
  const long width = d.K + 1, B = d.B;
  for_each(context, width * B * d.T, [=] __device__(Members members) mutable {
    members.enter(y, x);
    members.enter_given(c);
    return [=](long at) {
      const long k = at % width, b = at / width % B, t = at / (width * B);
      y[at] = k == 0 ? x[b * d.T + t] : c ? c[b * d.K + k - 1] : 0.0f;
    };
  });
}

}  // namespace cafx::cuda
