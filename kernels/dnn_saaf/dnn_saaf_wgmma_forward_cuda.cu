#include "kernels/device/wgmma_cuda.h"
#include "kernels/dnn_saaf/dnn_saaf_persistent_parts_cuda.h"
#include "kernels/dnn_saaf/dnn_saaf_wgmma_cuda.h"

// A warp group takes 64 samples through all layers, and nothing of them lies in shared memory: a layer's outputs, as
// the products leave them in registers, are the next layer's inputs. Groups do not wait for each other. For reads and
// writes of 16 bytes a lane has eight neighbouring channels of each 32: the first layer's inputs and the last one's
// outputs are in an order of their own, which the weights in shared memory follow. Where the deconvolution's rows are
// asked for, the outputs are the inputs of one product more, with its filters.
namespace cafx::cuda::dnn_wgmma {

namespace {

using namespace dnn_persistent;
using wgmma::Blocks;

constexpr int kGroups = 4, kThreads = 128 * kGroups;

// Shared memory: weights in blocks of 64 columns, biases, the deconvolution's filters, each warp's inputs, and its sums
// along diagonals.
template <class S, bool kRows>
struct Layout {
  static constexpr int bias = 2 * S::n_weights(), filters = bias + Blocks<16>::bytes(S::n_bias()),
                       inputs = filters + (kRows ? Blocks<64>::bytes(S::C) : 0),
                       diagonals = inputs + 4 * kGroups * (16 * 2 * S::C + 2 * 4 * S::C),
                       bytes = diagonals + (kRows ? 4 * kGroups * kDiagonalBytes : 0);
  static_assert(filters % 1024 == 0 && kDeconvRowTaps == 64);
};

// c = bias + a w^T: 64 of w's rows, which `w` begins with; a in registers. The bias is a step of the product: its first
// columns are three numbers whose sum it is, and `ones` has those.
template <Number F, int Steps>
__device__ __forceinline__ void product(float (&c)[32], const Fragment& ones, Word bias, const Fragment (&a)[Steps],
                                        Word w, int rows_of_w) {
  w = wgmma::units_of(w);
  wgmma::begin_products();
  wgmma::multiply_rows<F, false>(c, ones, wgmma::of_blocks<16>(wgmma::units_of(bias)));
#pragma unroll
  for (int k = 0; k < Steps; ++k) wgmma::multiply_rows<F, true>(c, a[k], wgmma::along<64>(w, rows_of_w, k));
  wgmma::end_products();
}
// Activated outputs as inputs of a product, 16 at a time: those of 64.
template <Number F>
__device__ __forceinline__ void finish(Fragment (&to)[4], float (&c)[32]) {
  wgmma::wait_products();
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    float u[8], q[8], *v = c + 8 * k;
    // Step by step, so that none waits for the one before.
#pragma unroll
    for (int i = 0; i < 8; ++i) u[i] = exp2_fast(fabsf(v[i]) * -kLog2E);
#pragma unroll
    for (int i = 0; i < 8; ++i) q[i] = softplus_polynomial(u[i]);
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = fmaf(q[i], u[i], fmaxf(v[i], 0.0f));
#pragma unroll
    for (int i = 0; i < 4; ++i) to[k][i] = round_pair<F>(v[2 * i], v[2 * i + 1]);
  }
}

// h0 of a warp's 16 samples, as inputs of products: of each 32 channels a lane has 8 (lane % 4) + 4 s + 2 q + e at [2 b
// + s][2 q + row]. Their residual and factors are copied to the warp's part of shared memory while the tile before is
// in work.
template <class S, bool kPositions>
struct Inputs {
  static constexpr int C = S::C, kRead = 16 * 2 * C, kBytes = kRead + 2 * 4 * C;  // r; z and positions
  Word own;
  // A row's 16 pieces change places in every second row, so that those of two rows collide in no bank.
  __device__ Word piece(int row, int i) const { return own + row * 2 * C + 16 * (i ^ row % 2 * 4); }
  __device__ void begin(const Operands& x, long row0, int lane) const {
    const std::uint16_t* from = x.of(x.r) + row0 * C + 8 * lane;
#pragma unroll
    for (int i = 0; i < 16; i += 2) begin_copy(piece(lane / 16 + i, lane % 16), from + i * C);
    const long at = (row0 >> x.log2_P) * C + 4 * lane;
    begin_copy(own + kRead + 16 * lane, x.of(x.z) + at);
    if constexpr (kPositions) begin_copy(own + kRead + 4 * C + 16 * lane, x.of(x.positions) + at);
  }
  __device__ void take(Fragment (&a)[8], const Operands& x, long row0, int lane) const {
    const int in_window = static_cast<int>(row0 & (x.P - 1)) + lane / 4;
    wait_copies();
    __syncwarp();
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      const Word factors = own + kRead + 4 * (32 * b + lane % 4 * 8);
      const Held<typename S::Format, kPositions> held(factors, factors + 4 * C);
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        const uint4 h = held.times(load_words(piece(lane / 4 + 8 * row, 4 * b + lane % 4)), in_window + 8 * row);
        a[2 * b][row] = h.x, a[2 * b][2 + row] = h.y, a[2 * b + 1][row] = h.z, a[2 * b + 1][2 + row] = h.w;
      }
    }
    __syncwarp();
  }
};
// u of 64 channels, from outputs of the last layer: a lane's column 2 t + e of eight columns j of 32 is channel
// 8 t + 2 j + e. To memory where u is given, and as inputs of a product.
template <class S>
__device__ __forceinline__ void finish_curve(Fragment (&to)[4], float (&c)[32], const Operands& x, const char* curve,
                                             std::uint16_t* u) {
  wgmma::wait_products();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Word out[2][4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      float* v = c + 16 * half + 4 * j;
      if (x.curve.regions) {
        float4 piece[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          // 2^23 is taken off the region by what `curve` begins with.
          const Word number = __float_as_uint(region_number(x.curve, v[i]));
          piece[i] = __ldg(reinterpret_cast<const float4*>(curve + ((4 * half + j) * 2 + i % 2) * 64 * x.curve.regions +
                                                           std::uint64_t{number} * 64));
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float t = v[i] - piece[i].w;
          v[i] = fmaf(t, fmaf(t, piece[i].z, piece[i].y), piece[i].x);
        }
      }
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        out[row][j] = round_pair<typename S::Format>(v[2 * row], v[2 * row + 1]);
        to[2 * half + j / 2][j % 2 * 2 + row] = out[row][j];
      }
    }
    if (!u) continue;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      __stcs(reinterpret_cast<uint4*>(u + row * 8 * S::C + 32 * half),
             uint4{out[row][0], out[row][1], out[row][2], out[row][3]});
    }
  }
}

// The packed weights, whole rows whose pieces are permuted, to blocks; columns of the first layer and rows of the last
// in the order above.
template <class S>
__device__ __forceinline__ void load_first(char* shared, const uint4* packed) {
  constexpr int K = S::width(0), N = S::width(1), kPieces = K / 8;
#pragma unroll
  for (int i = threadIdx.x; i < N * kPieces; i += kThreads) {
    const int row = i / kPieces, piece = i % kPieces ^ static_cast<int>(permutation<K>(row) / 16);
    const uint4 v = packed[i];
    const Word pairs[4] = {v.x, v.y, v.z, v.w};
    char* block = shared + piece / 8 * Blocks<64>::bytes(N) + piece % 4 * 4;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      *reinterpret_cast<Word*>(block + Blocks<64>::piece_at(row, piece % 8 / 4 * 4 + k)) = pairs[k];
    }
  }
}
// Where the last layer's outputs stand in its products.
__device__ __forceinline__ int row_of_last(int channel) {
  return channel / 32 * 32 + channel / 2 % 4 * 8 + channel / 8 % 4 * 2 + channel % 2;
}
// The deconvolution's filters, a channel's taps along a row, rows as the outputs stand.
template <class S>
__device__ __forceinline__ void load_filters(Word to, const DnnSaafRows& rows, const float* w) {
  // A thread has the same two taps of every 16th channel.
  const int k = threadIdx.x % 32 * 2, of_two = rows.flip ? -1 : 1;
  const float* tap = w + (rows.flip ? rows.K - 1 - k : k);
#pragma unroll 4
  for (int channel = threadIdx.x / 32; channel < S::C; channel += kThreads / 32) {
    const float* own = tap + channel * rows.K;
    store_word(to + Blocks<64>::piece_at(row_of_last(channel), k / 8) + k % 8 * 2,
               round_pair<typename S::Format>(k < rows.K ? own[0] : 0.0f, k + 1 < rows.K ? own[of_two] : 0.0f));
  }
}
// As a finite number of the format; a bias that is infinite or NaN remains so in the last of its three numbers.
template <Number F>
__device__ __forceinline__ float as_number(float v) {
  constexpr float kLargest = std::is_same_v<F, Half> ? 65504.0f : 0x1.fep127f;
  return widen<F>(round_pair<F>(fminf(fmaxf(v, -kLargest), kLargest), 0.0f)).x;
}
template <class S, int l = 1>
__device__ __forceinline__ void begin_others(Word base, const uint4* packed) {
  constexpr int K = S::width(l), N = S::width(l + 1), kPieces = K / 8;
#pragma unroll 1
  for (int i = threadIdx.x; i < N * kPieces; i += kThreads) {
    const int row = i / kPieces, piece = i % kPieces ^ static_cast<int>(permutation<K>(row) / 16);
    const int to = l == S::L - 1 ? row_of_last(row) : row;
    begin_copy(base + 2 * S::weights_at(l) + piece / 8 * Blocks<64>::bytes(N) + Blocks<64>::piece_at(to, piece % 8),
               packed + S::weights_at(l) / 8 + i);
  }
  if constexpr (l + 1 < S::L) begin_others<S, l + 1>(base, packed);
}

template <class S, bool kPositions, bool kRows>
__global__ void __launch_bounds__(kThreads, 1)
    wgmma_forward_kernel(Members, const __grid_constant__ Operands x, const float4* curve,
                         const __grid_constant__ DnnSaafRows rows) {
  if (!wgmma::kHere) return;
  using F = typename S::Format;
  using At = Layout<S, kRows>;
  constexpr int C = S::C, W1 = S::width(1), W2 = S::width(2), W3 = S::width(3);
  static_assert(C == 128 && W1 == C && W2 == 64 && W3 == 64, "products have 64 outputs");
  extern __shared__ __align__(1024) char shared[];
  const Word base = shared_address(shared);
  let_next_kernel_begin();
  begin_others<S>(base, x.of(x.weights));
  load_first<S>(shared, x.of(x.weights));
  if constexpr (kRows) load_filters<S>(base + At::filters, rows, x.of(rows.w));
  if (threadIdx.x < S::n_bias()) {
    const int i = threadIdx.x, last = S::bias_at(3), row = i < last ? i : last + row_of_last(i - last);
    const float value = x.of(x.bias)[i], first = as_number<F>(value), second = as_number<F>(value - first);
    char* block = shared + At::bias;
    *reinterpret_cast<uint4*>(block + Blocks<16>::piece_at(row, 0)) = {
        round_pair<F>(first, second), round_pair<F>(value - first - second, 0.0f), 0, 0};
    *reinterpret_cast<uint4*>(block + Blocks<16>::piece_at(row, 1)) = {};
  }
  wait_copies();
  wgmma::show_to_products();
  wait_for_kernel_before();
  __syncthreads();
  // The same for all lanes, which the compiler knows of a shuffle.
  const int group = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 128, 0);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  // `anew`: not computed once more behind the fence of a product that takes it.
  const Word bias = base + At::bias, pair = anew(lane % 4 == 0 ? kOnes<F> : lane % 4 == 1 ? kOnes<F> & 0xffffu : 0u);
  const Fragment ones = {pair, pair, 0, 0};
  const auto weights = [&](int l) { return base + 2 * S::weights_at(l); };
  const char* pieces =
      reinterpret_cast<const char*>(x.of(curve)) + lane % 4 * 16 - 64 * std::int64_t{__float_as_uint(kRegionZero)};
  int tile = blockIdx.x + gridDim.x * group;
  if (tile >= x.tiles) return;
  const int stride = gridDim.x * kGroups;
  const auto row_of = [&](int at) { return static_cast<long>(at) * kTile + 16 * warp; };
  const Inputs<S, kPositions> inputs{base + At::inputs + threadIdx.x / 32 * Inputs<S, kPositions>::kBytes};
  inputs.begin(x, row_of(tile), lane);
#pragma unroll 1
  for (; tile < x.tiles; tile += stride) {
    const long row0 = row_of(tile);
    float c[32];
    Fragment h1[8];
    {
      Fragment h0[8];
      inputs.take(h0, x, row0, lane);
      // Behind the last tile once more its own, which a branch would not save.
      inputs.begin(x, row_of(tile + stride < x.tiles ? tile + stride : tile), lane);
#pragma unroll 1
      for (int n = 0; n < W1; n += 64) {  // one copy of its code
        product<F>(c, ones, bias + Blocks<16>::bytes(n), h0, weights(0) + Blocks<64>::bytes(n), W1);
        Fragment out[4];
        finish<F>(out, c);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
#pragma unroll
          for (int i = 0; i < 4; ++i) h1[k][i] = h1[4 + k][i], h1[4 + k][i] = out[k][i];
        }
      }
    }
    Fragment h2[4], h3[4];
    product<F>(c, ones, bias + Blocks<16>::bytes(S::bias_at(1)), h1, weights(1), W2);
    finish<F>(h2, c);
    product<F>(c, ones, bias + Blocks<16>::bytes(S::bias_at(2)), h2, weights(2), W3);
    finish<F>(h3, c);
    std::uint16_t* u = x.u ? x.of(x.u) + (row0 + lane / 4) * C + lane % 4 * 8 : nullptr;
    float products[kRows ? 32 : 1] = {};
    const Word filters = wgmma::units_of(base + At::filters);
#pragma unroll 1
    for (int n = 0; n < C; n += 64) {
      product<F>(c, ones, bias + Blocks<16>::bytes(S::bias_at(3) + n), h3, weights(3) + Blocks<64>::bytes(n), C);
      Fragment out[4];
      finish_curve<S>(out, c, x, pieces + 16l * n * x.curve.regions, u ? u + n : u);
      if constexpr (kRows) {
#pragma unroll
        for (int k = 0; k < 4; ++k) wgmma::settle(out[k]);
        wgmma::begin_products();
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          wgmma::multiply_rows<F, true, true>(products, out[k],
                                              wgmma::down<64>(filters + (Blocks<64>::bytes(n) >> 4), k));
        }
        wgmma::end_products();
        wgmma::wait_products();
      }
    }
    if constexpr (kRows) {
      sum_diagonals(x.of(rows.rows) + row0 / kDeconvRowSamples * kDeconvRow,
                    base + At::diagonals + threadIdx.x / 32 * kDiagonalBytes, lane,
                    [&](int block, int i) { return products[4 * block + i]; });
    }
  }
  wait_copies();
}

template <Number F>
using Paper = Shape<F, 128, 128, 64, 64>;

}  // namespace

void forward(const Context& context, Stored* u, const DnnSaafRows& rows, const Stored* r, const float* z,
             const std::int32_t* positions, const float* packed, const DnnSaafDims& d) {
  with_number(context, [&]<Number F>() {
    using S = Paper<F>;
    const char* at = reinterpret_cast<const char*>(packed);
    Operands x = operands<S>(context, at, d, r, z, positions, kTile);
    x.u = static_cast<std::uint16_t*>(u);
    const auto blocks = static_cast<unsigned>(std::min<long>(x.tiles, multiprocessors_each(context)));
    const auto run = [&]<bool kPositions, bool kRows>() {
      launch_early(context, wgmma_forward_kernel<S, kPositions, kRows>, blocks, kThreads, Layout<S, kRows>::bytes, x,
                   reinterpret_cast<const float4*>(at + Packed<S>::turned(d.saaf)), rows);
    };
    const bool positions_kept = d.unpool == Unpool::kPositions;
    if (rows.rows) {
      positions_kept ? run.template operator()<true, true>() : run.template operator()<false, true>();
    } else {
      positions_kept ? run.template operator()<true, false>() : run.template operator()<false, false>();
    }
  });
}

}  // namespace cafx::cuda::dnn_wgmma
