// kernels/dnn_saaf/dnn_saaf_persistent_parts_cuda.h -- what the kernels of DNN-SAAF for known widths have in common.
//
//   Shapes, arguments, the curve's regions and sums, a tile's inputs, the packed weights, and where the sums of the
//   blocks' partial gradients go. For dnn_saaf_persistent_cuda.cu (mma.sync) and dnn_saaf_wgmma_cuda.cu (wgmma).
#pragma once

#include <bit>

#include "kernels/deconv1d/deconv1d.h"
#include "kernels/device/each_cuda.h"
#include "kernels/device/grid_cuda.h"
#include "kernels/device/halves_cuda.h"
#include "kernels/device/memory.h"
#include "kernels/device/tensor_core_cuda.h"
#include "kernels/dnn_saaf/dnn_saaf.h"
#include "kernels/pointwise/pointwise_cuda.h"
#include "kernels/saaf/saaf_cuda.h"

namespace cafx::cuda::dnn_persistent {

using namespace tensor_core;

constexpr int kForwardRows = 32;                  // samples of a warp of the forward kernel
constexpr int kTile = 64;                         // samples of the backward kernels' tile
constexpr int kChainThreads = 128, kHelpers = 8;  // threads; warps
constexpr int kHelperThreads = 32 * kHelpers, kBackThreads = kChainThreads + kHelperThreads;

// Four layers of these widths, each 32, 64 or 128, in bf16 or fp16.
template <Number Format_, int C_, int W1, int W2, int W3>
struct Shape {
  using Format = Format_;
  static constexpr int L = 4, C = C_;
  static constexpr int kCopies = 128 / C;  // of the curve's sums: threads that share a channel
  __host__ __device__ static constexpr int width(int l) { return l == 1 ? W1 : l == 2 ? W2 : l == 3 ? W3 : C_; }
  __host__ __device__ static constexpr int widest() {
    int w = 0;
    for (int l = 0; l <= L; ++l) w = width(l) > w ? width(l) : w;
    return w;
  }
  __host__ __device__ static constexpr int narrowest() {
    int w = 128;
    for (int l = 0; l <= L; ++l) w = width(l) < w ? width(l) : w;
    return w;
  }
  __host__ __device__ static constexpr int weights_at(int l) {  // numbers before those of layer l, of 0 .. L - 1
    int n = 0;
    for (int k = 0; k < l; ++k) n += width(k) * width(k + 1);
    return n;
  }
  __host__ __device__ static constexpr int bias_at(int l) {
    int n = 0;
    for (int k = 0; k < l; ++k) n += width(k + 1);
    return n;
  }
  static constexpr int n_weights() { return weights_at(L); }
  static constexpr int n_bias() { return bias_at(L); }
  static bool is(const DnnSaafDims& d) {
    return d.L == L && d.C == C && d.width[0] == W1 && d.width[1] == W2 && d.width[2] == W3;
  }
};

// The curve's region of x is floor(regions_below_one * saturate(x scale + offset)), without a conversion to integers.
struct Curve {
  float scale = 0.0f, offset = 0.0f, regions_below_one = 0.0f, lo = 0.0f, width = 0.0f;
  int regions = 0;
  explicit Curve(const DnnSaafDims& d) {
    if (!d.use_saaf) return;
    regions = d.saaf.S + 2;
    const double per_width = 1.0 / saaf_width(d.saaf);
    scale = static_cast<float>(per_width / regions);
    offset = static_cast<float>((1.0 - d.saaf.lo * per_width) / regions);
    regions_below_one = std::nextafter(static_cast<float>(regions), 0.0f);
    lo = d.saaf.lo, width = static_cast<float>(saaf_width(d.saaf));
  }
};
constexpr float kRegionZero = 8388608.0f;  // 2^23: a region is what is added to it, and its lowest bits
__device__ __forceinline__ float region_number(const Curve& c, float x) {  // NaN: region 0
  return __fmaf_rd(__saturatef(fmaf(x, c.scale, c.offset)), c.regions_below_one, kRegionZero);
}
__device__ __forceinline__ Word region_of(float number) { return __float_as_uint(number) & 0xffu; }
__device__ __forceinline__ float left_end(const Curve& c, float number) {
  return fmaf(fmaxf(number - (kRegionZero + 1.0f), 0.0f), c.width, c.lo);
}

// Arguments by value. r, u, their gradients and `weights` are in the shape's format; the latter lie as
// tensor_core_cuda.h says, layer after layer.
struct Operands {
  const std::uint16_t *r, *du;
  const float *z, *bias;
  const std::int32_t* positions;
  const uint4* weights;
  const float4* table;
  // (C/8,S+2,8): a piece's slope at its left end, and what a unit of t adds. dnn_saaf_narrow_cuda.cu has an order of
  // its own for both.
  const float2* slopes;
  std::uint16_t *u, *dr;
  float *dz, *partials;
  int P, log2_P, tiles;  // of kForwardRows or kTile samples
  Curve curve;
  Members members;
  template <class T>
  __device__ __forceinline__ T* of(T* p) const {
    return members.of(p);
  }
};

template <Activation A>
__device__ __forceinline__ float activated(float x) {
  if constexpr (A == Activation::kSoftplus) return softplus_fast(x);
  return activate<A>(x);
}
template <Activation A>
__device__ __forceinline__ float slope_from(float y) {
  if constexpr (A == Activation::kSoftplus) return 1.0f - exp2_fast(y * -kLog2E);
  return activation_slope<A>(y);
}
template <Activation A>
__device__ __forceinline__ float times_slope(float d, float y) {
  if constexpr (A == Activation::kSoftplus) return fmaf(d, -exp2_fast(y * -kLog2E), d);
  return d * activation_slope<A>(y);
}

// The factors from z of this lane's eight channels, for rows of one window; `row` counts within it.
template <Number F, bool kPositions>
struct Held {
  float z[8];
  int at[8];
  __device__ Held(const Operands& x, long window, int C, int channel) {
    const float* from = x.of(x.z) + window * C + channel;
#pragma unroll
    for (int k = 0; k < 8; k += 4) {
      const float4 v = *reinterpret_cast<const float4*>(from + k);
      z[k] = v.x, z[k + 1] = v.y, z[k + 2] = v.z, z[k + 3] = v.w;
      if constexpr (kPositions) {
        const int4 p = *reinterpret_cast<const int4*>(x.of(x.positions) + window * C + channel + k);
        at[k] = p.x, at[k + 1] = p.y, at[k + 2] = p.z, at[k + 3] = p.w;
      }
    }
  }
  // The same from copies in shared memory.
  __device__ Held(Word z_at, Word positions_at) {
#pragma unroll
    for (int k = 0; k < 8; k += 4) {
      const uint4 v = load_words(z_at + 4 * k);
      z[k] = __uint_as_float(v.x), z[k + 1] = __uint_as_float(v.y);
      z[k + 2] = __uint_as_float(v.z), z[k + 3] = __uint_as_float(v.w);
      if constexpr (kPositions) {
        const uint4 p = load_words(positions_at + 4 * k);
        at[k] = p.x, at[k + 1] = p.y, at[k + 2] = p.z, at[k + 3] = p.w;
      }
    }
  }
  __device__ float factor(int k, int row) const { return kPositions && at[k] != row ? 0.0f : z[k]; }
  __device__ uint4 times(uint4 r, int row) const {
    const float4 a = widen<F>(uint2{r.x, r.y}), b = widen<F>(uint2{r.z, r.w});
    return {round_pair<F>(a.x * factor(0, row), a.y * factor(1, row)),
            round_pair<F>(a.z * factor(2, row), a.w * factor(3, row)),
            round_pair<F>(b.x * factor(4, row), b.y * factor(5, row)),
            round_pair<F>(b.z * factor(6, row), b.w * factor(7, row))};
  }
};

__device__ __forceinline__ float load_float(Word at) { return __uint_as_float(load_word(at)); }
__device__ __forceinline__ void store_float(Word at, float v) { store_word(at, __float_as_uint(v)); }
__device__ __forceinline__ float2 load_floats(Word at) {
  float2 v;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(at) : "memory");
  return v;
}
__device__ __forceinline__ void store_floats(Word at, float2 v) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(v.x), "f"(v.y) : "memory");
}
template <Number F>
__device__ __forceinline__ float load_number(Word at) {
  std::uint16_t v;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(at) : "memory");
  return widen(F{v});
}
__device__ __forceinline__ Word load_byte(Word at) {
  Word v;
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(v) : "r"(at) : "memory");
  return v;
}
__device__ __forceinline__ void store_half_word(Word at, Word v) {
  asm volatile("st.shared.u16 [%0], %1;" ::"r"(at), "h"(static_cast<std::uint16_t>(v)) : "memory");
}

// Where the regions of a sample's channel and of its neighbour lie, bytes: as their t does, in half the room.
template <int C>
__device__ __forceinline__ Word region_at(int row, int channel) {
  return (static_cast<Word>(row) * (2 * C) + (static_cast<Word>(2 * channel) ^ permutation<C>(row))) / 2;
}

// The same number, of which the compiler knows nothing: what depends on it is not computed before a loop and kept.
__device__ __forceinline__ int anew(int v) {
  asm volatile("" : "+r"(v));
  return v;
}

// Begins copying Rows rows of a tile of (rows,C) to shared memory, from row `row0` on, a multiple of 8.
template <int C, int Rows>
__device__ __forceinline__ void begin_rows(Word to, const std::uint16_t* tile, int row0, int lane) {
  constexpr int kPieces = C / 8, kRowsOfLoad = 32 / kPieces;
  const int piece = lane % kPieces, row = row0 + lane / kPieces;
  const Word own = row_at<C>(to, row) ^ (16 * piece);
  const std::uint16_t* from = tile + row * C + 8 * piece;
#pragma unroll
  for (int i = 0; i < Rows; i += kRowsOfLoad) begin_copy((own ^ permutation<C>(i)) + i * 2 * C, from + i * C);
}

// A tile's r and z for h0: the rows of one warp of several, on their way from global memory until they are stored.
template <class S, bool kPositions, int kRows = 16>
struct TileInputs {
  static constexpr int C = S::C, kPieces = C / 8, kRowsOfLoad = 32 / kPieces, kLoads = kRows / kRowsOfLoad;
  uint4 r[kLoads];
  Held<typename S::Format, kPositions> held;
  __device__ __forceinline__ TileInputs(const Operands& x, int tile, int warp, int lane)
      : held(x, (static_cast<long>(tile) * kTile + kRows * warp) >> x.log2_P, C, 8 * (lane % kPieces)) {
    const auto* from =
        reinterpret_cast<const uint4*>(x.of(x.r) + (static_cast<long>(tile) * kTile + kRows * warp) * C) + lane;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) r[i] = __ldcg(from + 32 * i);
  }
  // at(rows below the lane's first): where the row's piece goes.
  template <class At>
  __device__ __forceinline__ void store(const Operands& x, int warp, int lane, At at) const {
    const int in_window = (kRows * warp & (x.P - 1)) + lane / kPieces;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) store_words(at(i * kRowsOfLoad), held.times(r[i], in_window + i * kRowsOfLoad));
  }
  __device__ __forceinline__ void store(const Operands& x, Word h0, int warp, int lane) const {
    const Word to = row_at<C>(h0, kRows * warp + lane / kPieces) ^ (16 * (lane % kPieces));
    store(x, warp, lane, [to](int below) { return (to ^ permutation<C>(below)) + below * 2 * C; });
  }
};

template <class S>
__device__ __forceinline__ float* partial_of(const Operands& x, int part) {
  return x.of(x.partials) + static_cast<long>(part) * (S::n_weights() + S::n_bias() + 3 * x.curve.regions * S::C);
}

// The curve's sums over the tile. A channel's belong to one thread of each copy and kind: s0 and s1, or s2. Two samples
// at once: the second sum of one region goes on from the first's, so that they add up as they would one after the
// other. In memory: of a copy, for each region s0 and s1 of all channels, and after all regions s2.
template <class S, class At, bool kSecond>
__device__ __forceinline__ void add_curve(const Operands& x, Word base, int channel, int copy) {
  constexpr int C = S::C, kRows = kTile / S::kCopies;
  constexpr Word kRegion = (kSecond ? 4 : 8) * C;
  const Word n = 4 * x.curve.regions * C,
             own = base + At::sums + copy * 3 * n + (kSecond ? 2 * n + 4 * channel : 8 * channel),
             regions = base - base / 2 + At::regions;
  const auto place = [&](int row) {
    return base + (copy * kRows + row) * (2 * C) + (static_cast<Word>(2 * channel) ^ permutation<C>(row));
  };
  struct Sample {
    float t, du;
    Word region;
  };
  const auto load = [&](Word row, int k) -> Sample {
    const Word at = row ^ permutation<C>(k);
    return {load_number<typename S::Format>(at + k * 2 * C + At::t),
            load_number<typename S::Format>(at + k * 2 * C + At::h0), load_byte(regions + at / 2 + k * C)};
  };
  Sample next_a = load(place(0), 0), next_b = load(place(0), 1);
#pragma unroll 1
  for (int row = 0; row < kRows; row += 4) {
    const Word here = place(row), after = place((row + 4) % kRows);
#pragma unroll
    for (int k = 0; k < 4; k += 2) {
      const Sample a = next_a, b = next_b;
      const Word at_a = own + a.region * kRegion, at_b = own + b.region * kRegion;
      const bool same = at_a == at_b;
      if constexpr (kSecond) {
        const float sum_a = load_float(at_a), sum_b = load_float(at_b);
        next_a = k == 0 ? load(here, 2) : load(after, 0), next_b = k == 0 ? load(here, 3) : load(after, 1);
        const float left = fmaf(a.du * a.t, a.t, sum_a);
        store_float(at_a, left);
        store_float(at_b, fmaf(b.du * b.t, b.t, same ? left : sum_b));
      } else {
        const float2 sum_a = load_floats(at_a), sum_b = load_floats(at_b);
        next_a = k == 0 ? load(here, 2) : load(after, 0), next_b = k == 0 ? load(here, 3) : load(after, 1);
        const float2 left{sum_a.x + a.du, fmaf(a.du, a.t, sum_a.y)}, from = same ? left : sum_b;
        store_floats(at_a, left);
        store_floats(at_b, {from.x + b.du, fmaf(b.du, b.t, from.y)});
      }
    }
  }
}

// A warp's products of its 16 samples with the deconvolution's taps, P[t, k], as C of eight 16 x 8 blocks, to their
// sums along j = t + k. Rows t and t + 8 meet on a diagonal one block further, so that eight rows of 72 columns are
// left, of which the warp's part of shared memory takes a copy. `number`(block, i): of P.
constexpr int kDiagonalRow = 72, kDiagonalBytes = 4 * 8 * kDiagonalRow;
template <class Number>
__device__ __forceinline__ void sum_diagonals(float* to, Word own, int lane, Number number) {
  const Word at = own + 4 * static_cast<Word>(lane / 4 * kDiagonalRow + lane % 4 * 2);
#pragma unroll
  for (int j = 0; j < 9; ++j) {
    float2 v{};
    if (j < 8) v = {number(j, 0), number(j, 1)};
    if (j > 0) v.x += number(j - 1, 2), v.y += number(j - 1, 3);
    store_floats(at + 32 * j, v);
  }
  __syncwarp();
#pragma unroll
  for (int first = 0; first < kDeconvRow; first += 32) {
    const int j = first + lane;
    float sum = 0.0f;
#pragma unroll
    for (int row = 0; row < 8; ++row) {
      const int column = j - row;
      if (column >= 0 && column < kDiagonalRow) {
        sum += load_float(own + 4 * static_cast<Word>(row * kDiagonalRow + column));
      }
    }
    if (j < kDeconvRow) to[j] = sum;
  }
  __syncwarp();
}

template <class S>
std::size_t partial_size(const DnnSaafDims& d) {
  return static_cast<std::size_t>(S::n_weights() + S::n_bias()) + (d.use_saaf ? 3ul * (d.saaf.S + 2) * S::C : 0);
}

// Of the packed weights: offsets in bytes. What the curve needs comes last, so that the rest lies where it does
// without.
template <class S>
struct Packed {
  static constexpr std::size_t bias = 2 * S::n_weights(), table = bias + 4 * S::n_bias();
  static std::size_t slopes(const SaafDims& d) { return table + saaf_table_bytes(d); }
  // (C/32,4,2,S+2,4): the table's pieces of channels 32 i + 8 t + 2 j + e at [i][j][e][.][t].
  static std::size_t turned(const SaafDims& d) { return slopes(d) + saaf_table_bytes(d) / 2; }
  static std::size_t bytes(const SaafDims& d) { return turned(d) + saaf_table_bytes(d); }
};

template <class S>
Operands operands(const Context& context, const char* packed, const DnnSaafDims& d, const Stored* r, const float* z,
                  const std::int32_t* positions, int rows) {
  return {static_cast<const std::uint16_t*>(r),
          nullptr,
          z,
          reinterpret_cast<const float*>(packed + Packed<S>::bias),
          positions,
          reinterpret_cast<const uint4*>(packed),
          reinterpret_cast<const float4*>(packed + Packed<S>::table),
          reinterpret_cast<const float2*>(packed + Packed<S>::slopes(d.saaf)),
          nullptr,
          nullptr,
          nullptr,
          nullptr,
          d.P,
          std::countr_zero(static_cast<unsigned>(d.P)),
          static_cast<int>(static_cast<long>(d.B) * d.T / rows),
          Curve(d),
          members_of(context)};
}

// Four tiles and more to a block of the backward kernels, whose sums are written and read again.
inline int blocks_of_backward(const Context& context, const DnnSaafDims& d) {
  return static_cast<int>(std::min<long>(ceil_div(static_cast<long>(d.B) * d.T / kTile, 4), context.cuda->n_sm));
}

// Destinations of the sums over the blocks' partial gradients; Place::of<S, l>(i): output and input of number i of
// layer l's part.
template <class S, class Place>
struct Finish {
  DnnSaafGrads to;
  SaafSums* sums;
  int n_sums;  // of each kind
  template <int l>
  __device__ bool weight(Members members, int i, float sum) const {
    if (i >= S::weights_at(l + 1)) return false;
    const int2 at = Place::template of<S, l>(i - S::weights_at(l));
    members.of(to.dw[l])[at.x * S::width(l) + at.y] += sum;
    return true;
  }
  __device__ auto operator()(Members members) const {
    return [=, *this](long item, double total) { add(members, item, total); };
  }
  __device__ void add(Members members, long item, double total) const {
    int i = static_cast<int>(item);
    const auto sum = static_cast<float>(total);
    if (weight<0>(members, i, sum) || weight<1>(members, i, sum) || weight<2>(members, i, sum) ||
        weight<3>(members, i, sum)) {
      return;
    }
    i -= S::n_weights();
    if (i < S::n_bias()) {
      int l = 0;
      while (l < S::L - 1 && i >= S::bias_at(l + 1)) ++l;
      members.of(to.dbias[l])[i - S::bias_at(l)] += sum;
      return;
    }
    i -= S::n_bias();
    reinterpret_cast<float*>(members.of(sums))[i % n_sums * 4 + i / n_sums] = sum;
  }
};

// A backward call's scratch: the curve's sums, where it has one, then the parts.
inline float* partials_in(float* scratch, const DnnSaafDims& d) {
  return scratch + (d.use_saaf ? saaf_sums_bytes(d.saaf) / sizeof(float) : 0);
}
// grads += `parts` partial gradients, and what the curve's sums say of v and w.
template <class S, class Place>
void add_partials(const Context& context, const DnnSaafGrads& grads, float* scratch, int parts, const DnnSaafDims& d) {
  auto* sums = reinterpret_cast<SaafSums*>(scratch);
  const int n_sums = d.use_saaf ? (d.saaf.S + 2) * S::C : 0;
  aside(context, [&] {
    sum_parts(context, partials_in(scratch, d), parts, static_cast<long>(partial_size<S>(d)),
              Finish<S, Place>{grads, sums, n_sums});
  });
  if (!d.use_saaf) return;
  aside(context, [&] { saaf_gradients(context, grads.dsaaf_v, grads.dsaaf_w, sums, d.saaf); });
}

}  // namespace cafx::cuda::dnn_persistent
