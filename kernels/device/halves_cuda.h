// kernels/device/halves_cuda.h -- sums over the lanes of a warp, of several numbers at once.
#pragma once

namespace cafx::cuda {

// Each of N numbers over the lanes that differ in the bits First, First / 2, .. Last of their number. At each bit two
// lanes share the work: each gives half of its sums to the other, and the lane whose bit is set keeps the upper half.
// What is left, N over two for each bit, stands in front.
template <int First, int Last, int N>
__device__ __forceinline__ void sum_by_halves(float (&v)[N], int lane) {
  static_assert(N * Last >= 2 * First, "a number is left to each lane");
#pragma unroll
  for (int bit = First, n = N / 2; bit >= Last; bit /= 2, n /= 2) {
    const bool upper = lane & bit;
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const float away = upper ? v[i] : v[i + n], kept = upper ? v[i + n] : v[i];
      v[i] = kept + __shfl_xor_sync(0xffffffffu, away, bit);
    }
  }
}

}  // namespace cafx::cuda
