#include "kernels/dnn_saaf/dnn_saaf_persistent_cuda.h"

#include "kernels/device/memory.h"
#include "kernels/dnn_saaf/dnn_saaf_persistent_parts_cuda.h"
#include "kernels/dnn_saaf/dnn_saaf_wgmma_cuda.h"

// Forward: a warp takes 32 samples through all layers. A layer's inputs go from the warp's own rows of shared memory to
// registers whole; then, 16 outputs at a time, products, activation, and back to the rows. That loop is not unrolled,
// so that the code stays in the instruction caches, and every load of a weight serves 32 samples.
//
// Backward: a block has a tile of 64 samples and two kinds of warps. Four *chain* warps, each with 32 samples and half
// of a layer's outputs, compute the layers again and then the gradients down through them; eight *helper* warps add up,
// from what the chain lays down in shared memory, the curve's sums and the weights' gradients, but those of the third
// layer, for which the chain has registers left. All sums of the weights' gradients stay in registers until the block
// ends, so that they leave the multiprocessor once. Named barriers hand the tiles over; while the helpers are at the
// last product of a tile, the chain is in the layers of the next.
namespace cafx::cuda::dnn_persistent {

namespace {

constexpr int kForwardWarps = 16;  // most warps of a block

// The inputs of 32 rows, K columns of a matrix of N: A of two products side by side, Fragment[2][K / 16] (an alias
// template of it stops nvcc 12.4).
template <int N, int Steps>
__device__ __forceinline__ void load_inputs(Fragment (&a)[2][Steps], Word rows, int lane) {
  const Word own = row_at<N>(rows, lane % 16) ^ (lane / 16 * 16);
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int k = 0; k < Steps; ++k) load_blocks(a[m][k], (own ^ (32 * k)) + m * 16 * 2 * N);
  }
}
using Outputs = Sums[2][2];  // 16 columns of 32 rows: [16 rows][8 columns]

template <Number F>
__device__ __forceinline__ void multiply(Outputs& c, const Fragment& a0, const Fragment& a1, const Fragment& b) {
  tensor_core::multiply<F>(c[0][0], a0, b[0], b[1]);
  tensor_core::multiply<F>(c[1][0], a1, b[0], b[1]);
  tensor_core::multiply<F>(c[0][1], a0, b[2], b[3]);
  tensor_core::multiply<F>(c[1][1], a1, b[2], b[3]);
}
// c = bias + a w^T, outputs n .. n + 16; w (outputs,K).
template <Number F, int K>
__device__ __forceinline__ void product(Outputs& c, const Fragment (&a)[2][K / 16], Word w, Word bias, int n,
                                        int lane) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float b0 = __uint_as_float(load_word(bias + 4 * (n + 8 * h + lane % 4 * 2))),
                b1 = __uint_as_float(load_word(bias + 4 * (n + 8 * h + lane % 4 * 2 + 1)));
#pragma unroll
    for (int m = 0; m < 2; ++m) c[m][h][0] = c[m][h][2] = b0, c[m][h][1] = c[m][h][3] = b1;
  }
  const Word own = row_at<K>(w, n + lane % 8 + lane / 16 * 8) ^ (lane / 8 % 2 * 16);
#pragma unroll
  for (int k = 0; k < K / 16; ++k) {
    Fragment b;
    load_blocks(b, own ^ (32 * k));
    multiply<F>(c, a[0][k], a[1][k], b);
  }
}
// c = g w, inputs n .. n + 16; w (K,N).
template <Number F, int K, int Permuted>
__device__ __forceinline__ void product_down(Outputs& c, const Fragment (&g)[2][K / 16], Word w, int N, int n,
                                             int lane) {
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) c[m][h][0] = c[m][h][1] = c[m][h][2] = c[m][h][3] = 0.0f;
  }
  const Word own = (w + lane % 16 * (2 * N) + permutation<Permuted>(lane % 16)) ^ (2 * n + lane / 16 * 16);
#pragma unroll
  for (int k = 0; k < K / 16; ++k) {
    Fragment b;
    load_blocks_transposed(b, own + k * 16 * 2 * N);
    multiply<F>(c, g[0][k], g[1][k], b);
  }
}
// Where this lane's pair of columns of C lies: f(m, h, s, address) for rows 16 m + 8 s of the 32, columns n + 8 h of N.
template <int Permuted, class F>
__device__ __forceinline__ void over_pairs(Word rows, int N, int n, int lane, F f) {
  const Word own = rows + lane / 4 * (2 * N) + permutation<Permuted>(lane / 4) + lane % 4 * 4;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int s = 0; s < 2; ++s) f(m, h, s, (own ^ (2 * n + 16 * h)) + (16 * m + 8 * s) * 2 * N);
    }
  }
}
template <Number F, int Permuted>
__device__ __forceinline__ void store_outputs(Word rows, int N, int n, int lane, const Outputs& c) {
  over_pairs<Permuted>(rows, N, n, lane, [&](int m, int h, int s, Word at) {
    store_word(at, round_pair<F>(c[m][h][2 * s], c[m][h][2 * s + 1]));
  });
}
template <Activation A>
__device__ __forceinline__ void activate_all(Outputs& c) {
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int i = 0; i < 4; ++i) c[m][h][i] = activated<A>(c[m][h][i]);
    }
  }
}

template <class S, int l, Activation A>
__device__ __forceinline__ void forward_layer(Word rows, Word weights, Word bias, int lane) {
  constexpr int K = S::width(l), N = S::width(l + 1);
  Fragment a[2][K / 16];
  load_inputs<S::widest()>(a, rows, lane);
  __syncwarp();
#pragma unroll 1
  for (int n = 0; n < N; n += 16) {
    Outputs c;
    product<typename S::Format, K>(c, a, weights + 2 * S::weights_at(l), bias + 4 * S::bias_at(l), n, lane);
    activate_all<A>(c);
    store_outputs<typename S::Format, S::widest()>(rows, S::widest(), n, lane, c);
  }
  __syncwarp();
}

template <class S>
__device__ __forceinline__ void load_weights(char* shared, const Operands& x) {
  auto* to = reinterpret_cast<uint4*>(shared);
  for (int i = threadIdx.x; i < S::n_weights() / 8; i += blockDim.x) to[i] = x.of(x.weights)[i];
  auto* bias = reinterpret_cast<float*>(shared + 2 * S::n_weights());
  for (int i = threadIdx.x; i < S::n_bias(); i += blockDim.x) bias[i] = x.of(x.bias)[i];
  __syncthreads();
}

template <class S, Activation A, bool kPositions>
__global__ void __launch_bounds__(32 * kForwardWarps, 1) forward_kernel(Members, const __grid_constant__ Operands x) {
  constexpr int C = S::C, N = S::widest(), kPieces = C / 8, kRowsOfLoad = 32 / kPieces, kLoads = 16 / kRowsOfLoad;
  extern __shared__ __align__(1024) char shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  load_weights<S>(shared, x);
  const Word weights = shared_address(shared), bias = weights + 2 * S::n_weights(),
             rows = bias + 4 * S::n_bias() + warp * kForwardRows * 2 * N;
  const int piece = lane % kPieces, row0 = lane / kPieces;
#pragma unroll 1
  for (int tile = blockIdx.x * warps + warp; tile < x.tiles; tile += gridDim.x * warps) {
    const long n0 = static_cast<long>(tile) * kForwardRows;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const long first = n0 + 16 * m, window = first / x.P;
      const auto* r = reinterpret_cast<const uint4*>(x.of(x.r) + first * C) + lane;
      uint4 v[kLoads];
#pragma unroll
      for (int i = 0; i < kLoads; ++i) v[i] = __ldcs(r + 32 * i);
      const Held<typename S::Format, kPositions> held(x, window, C, 8 * piece);
      const int in_window = static_cast<int>(first - window * x.P);
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        const int row = row0 + i * kRowsOfLoad;
        store_words(row_at<N>(rows, 16 * m + row) ^ (16 * piece), held.times(v[i], in_window + row));
      }
    }
    __syncwarp();
    forward_layer<S, 0, A>(rows, weights, bias, lane);
    forward_layer<S, 1, A>(rows, weights, bias, lane);
    forward_layer<S, 2, A>(rows, weights, bias, lane);
    {
      constexpr int K = S::width(3);
      Fragment a[2][K / 16];
      load_inputs<N>(a, rows, lane);
      __syncwarp();
#pragma unroll 1
      for (int n = 0; n < C; n += 16) {
        Outputs c;
        product<typename S::Format, K>(c, a, weights + 2 * S::weights_at(3), bias + 4 * S::bias_at(3), n, lane);
        if (x.curve.regions) {
#pragma unroll
          for (int m = 0; m < 2; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              float4 piece_of[4];
#pragma unroll
              for (int i = 0; i < 4; ++i) {
                piece_of[i] = __ldg(x.of(x.table) + region_of(region_number(x.curve, c[m][h][i])) * C + n + 8 * h +
                                    lane % 4 * 2 + i % 2);
              }
#pragma unroll
              for (int i = 0; i < 4; ++i) {
                const float4& p = piece_of[i];
                const float t = c[m][h][i] - p.w;
                c[m][h][i] = fmaf(t, fmaf(t, p.z, p.y), p.x);
              }
            }
          }
        }
        store_outputs<typename S::Format, N>(rows, N, n, lane, c);
      }
      __syncwarp();
    }
    auto* u = reinterpret_cast<uint4*>(x.of(x.u) + n0 * C) + lane;
#pragma unroll
    for (int i = 0; i < 2 * kLoads; ++i) {
      __stcs(u + 32 * i, load_words(row_at<N>(rows, row0 + i * kRowsOfLoad) ^ (16 * piece)));
    }
    __syncwarp();
  }
}

// Shared memory of the backward kernel: byte offsets.
template <class S>
struct Layout {
  static constexpr int kRowBytes = 2 * kTile;
  static constexpr int larger(int a, int b) { return a > b ? a : b; }
  static constexpr int bias = 2 * S::n_weights(), h0 = bias + 4 * S::n_bias(), h0_bytes = kRowBytes * S::C,
                       h1 = h0 + 2 * h0_bytes, h2 = h1 + kRowBytes * S::width(1), h3 = h2 + kRowBytes * S::width(2);
  // Gradients of the outputs of layers 4 and then 1, of 3, and of 2 in the place of h3; t of the curve.
  static constexpr int top = h3 + kRowBytes * larger(S::width(3), S::width(2)),
                       third = top + kRowBytes * larger(S::C, S::width(1)), second = h3,
                       t = third + kRowBytes * S::width(3), regions = t + kRowBytes * S::C, dz = regions + kTile * S::C,
                       sums = dz + 2 * 4 * S::C;  // dz: parts of a window of 64 samples
  static_assert(h0 % 512 == 0);
  static int bytes(int curve_regions) { return sums + 4 * 3 * S::kCopies * curve_regions * S::C; }
};

// Barriers of all threads, in the order in which a tile passes them, and then those of some.
enum Barrier : int {
  kSumsTaken = 1,  // helpers: t, regions and du of the tile before may go
  kLayersTaken,    // helpers: the outputs of layer 1 and the gradient of layer 2 may go
  kFirstTaken,     // helpers: the gradient of layer 1 and h0 may go
  kCurve,          // chain: t, regions, du, the last layer's gradient and its inputs are there
  kLastTaken,      // helpers: the last layer's gradient and inputs may go
  kSecond,         // chain: the gradient of layer 2 is there
  kFirst,          // chain: the gradient of layer 1 and h0 are there
  kChain,          // the chain
  kPair,           // and the next: the two warps of the chain that share 32 samples
};

// Warps over the 16 x 16 blocks of a weight gradient (O,I): warp w has rows x columns of them.
template <int O, int I, int Warps>
struct Share {
  static constexpr int per_warp = O * I / 256 < Warps ? 1 : O * I / 256 / Warps, rows = per_warp >= 4 ? 2 : 1,
                       columns = per_warp / rows, across = I / 16 / columns, warps = O / 16 / rows * across;
  using Part = Sums[rows][2 * columns];
};
template <int l>
inline constexpr int kWarpsOf = l == 2 ? kChainThreads / 32 : kHelpers;  // that add up layer l's
template <class S, int l>
using ShareOf = Share<S::width(l + 1), S::width(l), kWarpsOf<l>>;

// sums += g^T h over the tile; in `bias`, columns 2 l .. become g's sums over the tile.
template <class S, int l>
__device__ __forceinline__ void outer_product(typename ShareOf<S, l>::Part& sums, Sums& bias, Word g, Word h, int warp,
                                              int lane) {
  using Own = ShareOf<S, l>;
  using F = typename S::Format;
  constexpr int O = S::width(l + 1), I = S::width(l);
  if (Own::warps < kWarpsOf<l> && warp >= Own::warps) return;
  const Word own_g = row_at<O>(g, lane % 8 + lane / 16 * 8) ^ (warp / Own::across * Own::rows * 32 + lane / 8 % 2 * 16),
             own_h = row_at<I>(h, lane % 16) ^ (warp % Own::across * Own::columns * 32 + lane / 16 * 16);
#pragma unroll 1
  for (int row = 0; row < kTile; row += 16) {
    Fragment a[Own::rows];
#pragma unroll
    for (int m = 0; m < Own::rows; ++m) load_blocks_transposed(a[m], (own_g ^ (32 * m)) + row * 2 * O);
#pragma unroll
    for (int m = 0; m < Own::rows; ++m) {
      const Word ones = lane / 4 == 2 * l + m ? kOnes<F> : 0u;
      tensor_core::multiply<F>(bias, a[m], ones, ones);
    }
#pragma unroll
    for (int n = 0; n < Own::columns; ++n) {
      Fragment b;
      load_blocks_transposed(b, (own_h ^ (32 * n)) + row * 2 * I);
#pragma unroll
      for (int m = 0; m < Own::rows; ++m) {
        tensor_core::multiply<F>(sums[m][2 * n], a[m], b[0], b[1]);
        tensor_core::multiply<F>(sums[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}
// To the block's partial gradient: [part][warp][lane][4], as `place_of` reads it; bias in order.
template <class S, int l>
__device__ __forceinline__ void write_partial(float* partial, const typename ShareOf<S, l>::Part& sums,
                                              const Sums& bias, int warp, int lane) {
  using Own = ShareOf<S, l>;
  if (warp >= Own::warps) return;
  auto* to = reinterpret_cast<float4*>(partial + S::weights_at(l)) + warp * 32 + lane;
#pragma unroll
  for (int m = 0; m < Own::rows; ++m) {
#pragma unroll
    for (int n = 0; n < 2 * Own::columns; ++n) {
      const Sums& c = sums[m][n];
      to[(m * 2 * Own::columns + n) * Own::warps * 32] = {c[0], c[1], c[2], c[3]};
    }
  }
  if (lane % 4 != l || warp % Own::across != 0) return;
  float* own = partial + S::n_weights() + S::bias_at(l) + warp / Own::across * Own::rows * 16 + lane / 4;
  own[0] = bias[0], own[8] = bias[2];
  if constexpr (Own::rows == 2) own[16] = bias[1], own[24] = bias[3];
}
struct Place {
  template <class S, int l>
  static __device__ int2 of(int i) {
    using Own = ShareOf<S, l>;
    const int e = i % 4, lane = i / 4 % 32, warp = i / 128 % Own::warps, part = i / 128 / Own::warps,
              m = part / (2 * Own::columns), n = part % (2 * Own::columns);
    return {(warp / Own::across * Own::rows + m) * 16 + lane / 4 + e / 2 * 8,
            warp % Own::across * Own::columns * 16 + n * 8 + lane % 4 * 2 + e % 2};
  }
};

// The chain's layers of equal inputs, and its gradients of equal outputs, run through the same code: their other width
// is known only when it runs, so that all of the chain stays in the instruction caches.

// A layer: this warp's half of N outputs for its 32 samples, from K.
template <class S, int K, Activation A, class Before>
__device__ __forceinline__ void chain_layer(Word from, Word to, Word weights, Word bias, int N, int half, int lane,
                                            Before before_storing) {
  Fragment a[2][K / 16];
  load_inputs<K>(a, from, lane);
#pragma unroll 1
  for (int n = half * (N / 2); n < (half + 1) * (N / 2); n += 16) {
    Outputs c;
    product<typename S::Format, K>(c, a, weights, bias, n, lane);
    activate_all<A>(c);
    if (n == half * (N / 2)) before_storing();
    store_outputs<typename S::Format, S::narrowest()>(to, N, n, lane, c);
  }
}
// The gradient of a layer's N inputs h, where they were activated, from that of its K outputs.
template <class S, int K, Activation A>
__device__ __forceinline__ void chain_down(Word from, Word h, Word to, Word weights, int N, int half, int lane) {
  Fragment g[2][K / 16];
  load_inputs<K>(g, from, lane);
#pragma unroll 1
  for (int n = half * (N / 2); n < (half + 1) * (N / 2); n += 16) {
    Outputs c;
    product_down<typename S::Format, K, S::narrowest()>(c, g, weights, N, n, lane);
    over_pairs<S::narrowest()>(h, N, n, lane, [&](int m, int h8, int s, Word at) {
      const float2 y = widen<typename S::Format>(load_word(at));
      c[m][h8][2 * s] *= slope_from<A>(y.x), c[m][h8][2 * s + 1] *= slope_from<A>(y.y);
    });
    store_outputs<typename S::Format, S::narrowest()>(to, N, n, lane, c);
  }
}

// From the last layer's outputs v and du: t and region of each, and du times the curve's slope as its gradient.
template <class S>
__device__ __forceinline__ void chain_curve(const Operands& x, Word base, Word h0, int pair, int half, int lane) {
  using At = Layout<S>;
  constexpr int K = S::width(3), C = S::C;
  const int row0 = 32 * pair;
  Fragment a[2][K / 16];
  load_inputs<K>(a, base + At::h3 + row0 * 2 * K, lane);
#pragma unroll 1
  for (int n = half * (C / 2); n < (half + 1) * (C / 2); n += 16) {
    Outputs c;
    product<typename S::Format, K>(c, a, base + 2 * S::weights_at(3), base + At::bias + 4 * S::bias_at(3), n, lane);
    if (x.curve.regions) {
      float2 slope[2][2][4];
      const int of_eight = 8 * x.curve.regions;
      const float2* slopes = x.of(x.slopes) + n / 8 * of_eight + lane % 4 * 2;
#pragma unroll
      for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          Word region[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const float number = region_number(x.curve, c[m][h][i]);
            region[i] = region_of(number);
            slope[m][h][i] = __ldg(slopes + h * of_eight + 8 * region[i] + i % 2);
            c[m][h][i] -= left_end(x.curve, number);
          }
#pragma unroll
          for (int s = 0; s < 2; ++s) {
            store_half_word(
                base + At::regions + region_at<C>(row0 + 16 * m + 8 * s + lane / 4, n + 8 * h + lane % 4 * 2),
                region[2 * s] | region[2 * s + 1] << 8);
          }
        }
      }
      store_outputs<typename S::Format, C>(base + At::t + row0 * 2 * C, C, n, lane, c);
#pragma unroll
      for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
#pragma unroll
          for (int i = 0; i < 4; ++i) c[m][h][i] = fmaf(c[m][h][i], slope[m][h][i].y, slope[m][h][i].x);
        }
      }
    } else {
#pragma unroll
      for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) c[m][h][0] = c[m][h][1] = c[m][h][2] = c[m][h][3] = 1.0f;
      }
    }
    over_pairs<C>(h0 + row0 * 2 * C, C, n, lane, [&](int m, int h, int s, Word at) {
      const float2 du = widen<typename S::Format>(load_word(at));
      c[m][h][2 * s] *= du.x, c[m][h][2 * s + 1] *= du.y;
    });
    store_outputs<typename S::Format, C>(base + At::top + row0 * 2 * C, C, n, lane, c);
  }
}

// Through the first layer and the residual: dr, dz's terms of each 16 samples, and h0 in the place of r.
template <class S, bool kPositions>
__device__ __forceinline__ void chain_residual(const Operands& x, Word base, Word h0, long n0, int pair, int half,
                                               int lane) {
  using At = Layout<S>;
  constexpr int K = S::width(1), C = S::C;
  const int row0 = 32 * pair;
  Fragment g[2][K / 16];
  load_inputs<K>(g, base + At::top + row0 * 2 * K, lane);
  const float* z_at[2];
  const std::int32_t* position_at[2];
  int in_window[2];
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    const long first = n0 + row0 + 16 * m, window = first >> x.log2_P;
    in_window[m] = static_cast<int>(first & (x.P - 1)) + lane / 4;
    z_at[m] = x.of(x.z) + window * C + lane % 4 * 2;
    if constexpr (kPositions) position_at[m] = x.of(x.positions) + window * C + lane % 4 * 2;
  }
  std::uint16_t* dr = x.of(x.dr) + (n0 + row0 + lane / 4) * C + 8 * (lane % 2) + lane % 4 / 2 * 4;
#pragma unroll 1
  for (int n = half * (C / 2); n < (half + 1) * (C / 2); n += 16) {
    float2 z[2][2];
    int2 at[2][2];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        z[m][h] = *reinterpret_cast<const float2*>(z_at[m] + n + 8 * h);
        if constexpr (kPositions) at[m][h] = *reinterpret_cast<const int2*>(position_at[m] + n + 8 * h);
      }
    }
    Outputs c;
    product_down<typename S::Format, K, C>(c, g, base, C, n, lane);
    float terms[8] = {};
    Word through[2][2][2];
    over_pairs<C>(h0 + row0 * 2 * C, C, n, lane, [&](int m, int h, int s, Word place) {
      const float2 r = widen<typename S::Format>(load_word(place));
      float2 f = z[m][h];
      bool here[2] = {true, true};
      if constexpr (kPositions) {
        here[0] = at[m][h].x == in_window[m] + 8 * s, here[1] = at[m][h].y == in_window[m] + 8 * s;
        if (!here[0]) f.x = 0.0f;
        if (!here[1]) f.y = 0.0f;
      }
      const float d0 = c[m][h][2 * s], d1 = c[m][h][2 * s + 1];
      if (here[0]) terms[4 * m + 2 * h] += d0 * r.x;
      if (here[1]) terms[4 * m + 2 * h + 1] += d1 * r.y;
      through[m][h][s] = round_pair<typename S::Format>(d0 * f.x, d1 * f.y);
      store_word(place, round_pair<typename S::Format>(r.x * f.x, r.y * f.y));
    });
    // Two neighbouring lanes exchange halves, so that each writes 8 bytes of the 32 that a row's 16 columns are.
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        const bool odd = lane % 2;
        const Word away = odd ? through[m][0][s] : through[m][1][s], kept = odd ? through[m][1][s] : through[m][0][s];
        const Word other = __shfl_xor_sync(0xffffffffu, away, 1);
        __stcs(reinterpret_cast<uint2*>(dr + (16 * m + 8 * s) * C + n), odd ? uint2{other, kept} : uint2{kept, other});
      }
    }
    // Over the 16 samples; the lane's bits name rows, eighth and channel of what is left.
    sum_by_halves<16, 4>(terms, lane);
    const int m = lane / 16, channel = n + lane / 8 % 2 * 8 + lane % 4 * 2 + lane / 4 % 2;
    if (x.P == 16) {
      x.of(x.dz)[((n0 + row0) / 16 + m) * C + channel] = terms[0];
    } else {
      const float both = terms[0] + __shfl_xor_sync(0xffffffffu, terms[0], 16);
      if (x.P == 64) {
        store_float(base + At::dz + 4 * (pair * C + channel), both);
      } else {
        x.of(x.dz)[(n0 + row0) / 32 * C + channel] = both;
      }
    }
  }
}

template <class S, Activation A, bool kPositions>
__device__ __forceinline__ void chain(const Operands& x, Word base) {
  using At = Layout<S>;
  constexpr int C = S::C;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, pair = warp / 2, half = warp % 2, row0 = 32 * pair;
  const Word bias = base + At::bias, h0 = base + At::h0, again = h0 + At::h0_bytes;
  const auto both = [&] { wait_at(kPair + pair, 64); };
  const auto rows_of = [&](int at, int width) { return base + at + row0 * 2 * width; };
  const Word h1 = rows_of(At::h1, S::width(1)), h2 = rows_of(At::h2, S::width(2)), h3 = rows_of(At::h3, S::width(3)),
             top = rows_of(At::top, C), second = rows_of(At::second, S::width(2)),
             third = rows_of(At::third, S::width(3));
  static_assert(S::width(1) == C && S::width(2) == S::width(3), "of layers that share their code");
  static_assert(S::narrowest() >= 64 || S::widest() == 32, "one permutation for all widths");
  typename ShareOf<S, 2>::Part w2{};
  Sums bias_sums{};
  TileInputs<S, kPositions> inputs(x, blockIdx.x, warp, lane);
#pragma unroll 1
  for (int tile = blockIdx.x; tile < x.tiles; tile += gridDim.x) {
    const long n0 = static_cast<long>(tile) * kTile;
    wait_at<kSumsTaken, kBackThreads>();
    inputs.store(x, h0, warp, lane);
    both();
#pragma unroll 1
    for (int l = 0; l < 2; ++l) {
      const bool first = l == 0;
      chain_layer<S, C, A>(first ? h0 + row0 * 2 * C : h1, first ? h1 : h2, base + (first ? 0 : 2 * S::weights_at(1)),
                           bias + (first ? 0 : 4 * S::bias_at(1)), first ? S::width(1) : S::width(2), half, lane, [&] {
                             if (first) wait_at<kLayersTaken, kBackThreads>();
                           });
      both();
      if (first) begin_rows<C, 16>(h0, x.of(x.du) + n0 * C, 16 * warp, anew(lane));
    }
    chain_layer<S, S::width(2), A>(h2, h3, base + 2 * S::weights_at(2), bias + 4 * S::bias_at(2), S::width(3), half,
                                   lane, [] {});
    wait_copies();
    wait_at<kFirstTaken, kBackThreads>();
    begin_rows<C, 16>(again, x.of(x.r) + n0 * C, 16 * warp, anew(lane));
    chain_curve<S>(x, base, h0, pair, half, lane);
    both();
    arrive_at<kCurve, kBackThreads>();
    chain_down<S, C, A>(top, h3, third, base + 2 * S::weights_at(3), S::width(3), half, lane);
    wait_at<kLastTaken, kBackThreads>();
#pragma unroll 1
    for (int l = 2; l > 0; --l) {
      const bool first = l == 2;
      chain_down<S, S::width(2), A>(first ? third : second, first ? h2 : h1, first ? second : top,
                                    base + (first ? 2 * S::weights_at(2) : 2 * S::weights_at(1)),
                                    first ? S::width(2) : S::width(1), half, lane);
      if (!first) wait_copies();
      both();
      if (first) arrive_at<kSecond, kBackThreads>();
    }
    chain_residual<S, kPositions>(x, base, again, n0, pair, half, lane);
    arrive_at<kFirst, kBackThreads>();
    const int next = tile + static_cast<int>(gridDim.x);
    // Behind the last tile once more its own: a branch here would make the compiler spill them.
    inputs = TileInputs<S, kPositions>(x, next < x.tiles ? next : tile, anew(warp), anew(lane));
    outer_product<S, 2>(w2, bias_sums, base + At::third, base + At::h2, warp, anew(lane));
    if (x.P == 64) {
      wait_at<kChain, kChainThreads>();
      const Word parts = base + At::dz + 4 * threadIdx.x;
      if (threadIdx.x < C) x.of(x.dz)[n0 / 64 * C + threadIdx.x] = load_float(parts) + load_float(parts + 4 * C);
    }
  }
  write_partial<S, 2>(partial_of<S>(x, blockIdx.x), w2, bias_sums, warp, lane);
  wait_at<kSumsTaken, kBackThreads>();
  wait_at<kLayersTaken, kBackThreads>();
  wait_at<kFirstTaken, kBackThreads>();
}

template <class S>
__device__ __forceinline__ void help(const Operands& x, const char* shared, Word base) {
  using At = Layout<S>;
  const int thread = threadIdx.x - kChainThreads;
  typename ShareOf<S, 0>::Part w0{};
  typename ShareOf<S, 1>::Part w1{};
  typename ShareOf<S, 3>::Part w3{};
  Sums bias{};
  arrive_at<kSumsTaken, kBackThreads>();
  arrive_at<kLayersTaken, kBackThreads>();
  arrive_at<kFirstTaken, kBackThreads>();
#pragma unroll 1
  for (int tile = blockIdx.x; tile < x.tiles; tile += gridDim.x) {
    const int own = anew(thread), lane = own % 32, warp = own / 32;
    wait_at<kCurve, kBackThreads>();
    outer_product<S, 3>(w3, bias, base + At::top, base + At::h3, warp, lane);
    arrive_at<kLastTaken, kBackThreads>();
    if (x.curve.regions) {
      const int channel = own % S::C, copy = own / S::C % S::kCopies;
      if (own >= kHelperThreads / 2) {
        add_curve<S, Layout<S>, true>(x, base, channel, copy);
      } else {
        add_curve<S, Layout<S>, false>(x, base, channel, copy);
      }
    }
    arrive_at<kSumsTaken, kBackThreads>();
    wait_at<kSecond, kBackThreads>();
    outer_product<S, 1>(w1, bias, base + At::second, base + At::h1, warp, lane);
    arrive_at<kLayersTaken, kBackThreads>();
    wait_at<kFirst, kBackThreads>();
    outer_product<S, 0>(w0, bias, base + At::top, base + At::h0 + At::h0_bytes, warp, lane);
    arrive_at<kFirstTaken, kBackThreads>();
  }
  float* partial = partial_of<S>(x, blockIdx.x);
  write_partial<S, 0>(partial, w0, bias, thread / 32, thread % 32);
  write_partial<S, 1>(partial, w1, bias, thread / 32, thread % 32);
  write_partial<S, 3>(partial, w3, bias, thread / 32, thread % 32);
  // All helpers were done with the curve's sums before the last barrier that they waited at.
  const auto* sums = reinterpret_cast<const float*>(shared + At::sums);
  const int n = x.curve.regions * S::C;
  float* to = partial + S::n_weights() + S::n_bias();
#pragma unroll 1
  for (int i = thread; i < n; i += kHelperThreads) {
    float sum[3] = {};
    for (int copy = 0; copy < S::kCopies; ++copy) {
      const float* own = sums + copy * 3 * n;
      sum[0] += own[2 * i], sum[1] += own[2 * i + 1], sum[2] += own[2 * n + i];
    }
#pragma unroll
    for (int kind = 0; kind < 3; ++kind) to[kind * n + i] = sum[kind];
  }
}

template <class S, Activation A, bool kPositions>
__global__ void __launch_bounds__(kBackThreads, 1) backward_kernel(Members, const __grid_constant__ Operands x) {
  extern __shared__ __align__(1024) char shared[];
  auto* sums = reinterpret_cast<float4*>(shared + Layout<S>::sums);
#pragma unroll 1
  for (int i = threadIdx.x; i < 3 * S::kCopies * x.curve.regions * S::C / 4; i += kBackThreads) sums[i] = {};
  load_weights<S>(shared, x);
  const Word base = shared_address(shared);
  if (threadIdx.x < kChainThreads) {
    chain<S, A, kPositions>(x, base);
  } else {
    help<S>(x, shared, base);
  }
}

// f.operator()<S>() for the shape of these layers; false if there is none.
template <class F>
bool with_shape(Precision precision, const DnnSaafDims& d, F f) {
  const auto in = [&]<Number N>() {
    using Paper = Shape<N, 128, 128, 64, 64>;
    if (Paper::is(d) && d.activation == Activation::kSoftplus) {
      f.template operator()<Paper, Activation::kSoftplus>();
      return true;
    }
    return false;
  };
  return precision == Precision::kFp16 ? in.template operator()<Half>() : in.template operator()<Bfloat>();
}

}  // namespace

bool takes(const Context& context, const DnnSaafDims& d) {
  if (!is_16_bit(context.precision) || !context.fuse_dnn || context.cuda->major < 8) return false;
  if (has_own_weights(d)) return false;
  if (d.T % kTile != 0 || (d.P != 16 && d.P != 32 && d.P != 64)) return false;
  if (d.saaf.S + 2 > 255 || static_cast<long>(d.B) * d.T / kForwardRows > 1l << 30) return false;
  bool fits = false;
  with_shape(context.precision, d, [&]<class S, Activation>() {
    // With a curve or without, so that the same weights serve both.
    fits = static_cast<std::size_t>(Layout<S>::bytes(d.saaf.S + 2)) <= context.cuda->shared_max;
  });
  return fits;
}

bool takes_dy(const Context& context, const DnnSaafDims& d, int K) {
  return takes(context, d) && dnn_wgmma::takes_dy(context, d, K);
}

std::size_t packed(const DnnSaafDims& d) {
  std::size_t bytes = 0;
  with_shape(Precision::kBf16, d,
             [&]<class S, Activation>() { bytes = d.use_saaf ? Packed<S>::bytes(d.saaf) : Packed<S>::table; });
  return bytes;
}

std::size_t scratch(const Context& context, const DnnSaafDims& d) {
  std::size_t floats = 0;
  with_shape(context.precision, d, [&]<class S, Activation>() {
    floats = static_cast<std::size_t>(blocks_of_backward(context, d)) * partial_size<S>(d);
    if (d.use_saaf) floats += saaf_sums_bytes(d.saaf) / sizeof(float);
  });
  return sizeof(float) * floats;
}

namespace {

// One thread for two neighbouring weights, then for a bias, then for a channel's curve.
template <class S>
__global__ void prepare_kernel(Members members, char* packed, const __grid_constant__ DnnSaafWeights weights,
                               const float* v, const float* w, const __grid_constant__ SaafDims curve, bool use_saaf) {
  members.enter(packed, v, w);
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < S::n_weights() / 2) {
    i *= 2;
    int l = 0;
    while (l < S::L - 1 && i >= S::weights_at(l + 1)) ++l;
    const int K = S::width(l), at = i - S::weights_at(l), row = at / K, column = at % K;
    const Word permuted = static_cast<Word>(2 * column) ^ (K >= 64 ? permutation<64>(row) : permutation<32>(row));
    const float2 pair = *reinterpret_cast<const float2*>(members.of(weights.w[l]) + at);
    *reinterpret_cast<Word*>(packed + 2 * (S::weights_at(l) + row * K) + permuted) =
        round_pair<typename S::Format>(pair.x, pair.y);
    return;
  }
  i -= S::n_weights() / 2;
  if (i < S::n_bias()) {
    int l = 0;
    while (l < S::L - 1 && i >= S::bias_at(l + 1)) ++l;
    reinterpret_cast<float*>(packed + Packed<S>::bias)[i] = members.of(weights.bias[l])[i - S::bias_at(l)];
    return;
  }
  i -= S::n_bias();
  if (!use_saaf || i >= S::C) return;
  auto* table = reinterpret_cast<SaafPiece*>(packed + Packed<S>::table);
  auto* slopes = reinterpret_cast<float2*>(packed + Packed<S>::table + sizeof(SaafPiece) * (curve.S + 2) * S::C);
  auto* turned = reinterpret_cast<SaafPiece*>(slopes + (curve.S + 2) * S::C);
  saaf_make_table(table, v, w, curve, i);
  for (int k = 0; k < curve.S + 2; ++k) {
    const SaafPiece& piece = table[k * S::C + i];
    slopes[(i / 8 * (curve.S + 2) + k) * 8 + i % 8] = {piece.B, 2.0f * piece.H};
    turned[((i / 32 * 8 + i % 8) * (curve.S + 2) + k) * 4 + i / 8 % 4] = piece;
  }
}

}  // namespace

void prepare(const Context& context, float* packed, const DnnSaafWeights& weights, const DnnSaafDims& d) {
  with_shape(context.precision, d, [&]<class S, Activation>() {
    const long items = S::n_weights() / 2 + S::n_bias() + S::C;
    launch(context, prepare_kernel<S>, blocks_for(items), kThreads, 0, reinterpret_cast<char*>(packed), weights,
           weights.saaf_v, weights.saaf_w, d.saaf, d.use_saaf);
  });
}

void forward(const Context& context, Stored* u, const DnnSaafRows& rows, const Stored* r, const float* z,
             const std::int32_t* positions, const float* packed, const DnnSaafDims& d) {
  if (dnn_wgmma::takes(context, d)) return dnn_wgmma::forward(context, u, rows, r, z, positions, packed, d);
  with_shape(context.precision, d, [&]<class S, Activation A>() {
    Operands x = operands<S>(context, reinterpret_cast<const char*>(packed), d, r, z, positions, kForwardRows);
    x.u = static_cast<std::uint16_t*>(u);
    const std::size_t fixed = Packed<S>::table, of_warp = 2ul * kForwardRows * S::widest();
    const long most = std::min<long>(kForwardWarps, static_cast<long>((context.cuda->shared_max - fixed) / of_warp)),
               multiprocessors = multiprocessors_each(context),
               // Where there are few samples, fewer warps on more multiprocessors.
        warps = std::clamp<long>(ceil_div(x.tiles, multiprocessors), std::min<long>(4, most), most);
    const auto blocks = static_cast<unsigned>(std::min<long>(ceil_div(x.tiles, warps), multiprocessors));
    const auto run = [&]<bool kPositions>() {
      launch(context, forward_kernel<S, A, kPositions>, blocks, static_cast<unsigned>(32 * warps),
             fixed + of_warp * static_cast<std::size_t>(warps), x);
    };
    d.unpool == Unpool::kPositions ? run.template operator()<true>() : run.template operator()<false>();
  });
}

void backward(const Context& context, Stored* dr, float* dz, const DnnSaafGrads& grads, const DnnSaafDu& du,
              const Stored* r, const float* z, const std::int32_t* positions, const float* packed, float* scratch,
              const DnnSaafDims& d) {
  if (dnn_wgmma::takes(context, d)) {
    return dnn_wgmma::backward(context, dr, dz, grads, du, r, z, positions, packed, scratch, d);
  }
  with_shape(context.precision, d, [&]<class S, Activation A>() {
    Operands x = operands<S>(context, reinterpret_cast<const char*>(packed), d, r, z, positions, kTile);
    x.du = static_cast<const std::uint16_t*>(du.du), x.dr = static_cast<std::uint16_t*>(dr), x.dz = dz;
    const int blocks = blocks_of_backward(context, d);
    x.partials = partials_in(scratch, d);
    const auto run = [&]<bool kPositions>() {
      launch(context, backward_kernel<S, A, kPositions>, blocks, kBackThreads,
             static_cast<std::size_t>(Layout<S>::bytes(x.curve.regions)), x);
    };
    d.unpool == Unpool::kPositions ? run.template operator()<true>() : run.template operator()<false>();
    add_partials<S, Place>(context, grads, scratch, blocks, d);
  });
}

}  // namespace cafx::cuda::dnn_persistent
