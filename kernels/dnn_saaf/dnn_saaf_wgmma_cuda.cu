#include "kernels/dnn_saaf/dnn_saaf_wgmma_cuda.h"

#include "kernels/device/memory.h"
#include "kernels/device/wgmma_cuda.h"
#include "kernels/dnn_saaf/dnn_saaf_persistent_parts_cuda.h"

// A block has four warp groups. Each of two of the *chain* has half a tile, 32 samples, to itself: it computes the
// layers again and then the gradients down through them. Two of *helpers* add up, from what the chain lays down in
// shared memory, the curve's sums and the weights' gradients, which stay in registers until the block ends; they have
// more than twice as many registers as the chain. Named barriers hand the tiles over. Since the helpers serve the
// groups of the chain in turn, these are in different layers at any time, and what one waits for the other fills.
//
// The chain's products have outputs along the rows, 64 at once, and samples along the columns: a warp group needs 64
// rows, and with so few samples in work both groups' fit into shared memory. In shared memory a row is a sample
// nevertheless, as in global; blocks of 8 x 8 are transposed on the way between it and registers. A lane's place in a
// block is the same for all of these tensors, so that one address and constants reach them.
//
// Where du is computed, it is filters times the signal's Hankel matrix, whose 8 x 8 blocks hang on the sum of their
// indices alone: 11 of them, for which there is room. The filters come as fragments from global memory.
namespace cafx::cuda::dnn_wgmma {

namespace {

using namespace dnn_persistent;
using wgmma::Blocks;

constexpr int kGroup = 128, kChain = 2 * kGroup, kHelp = 2 * kGroup, kAll = kChain + kHelp;  // threads
constexpr int kChainRegisters = 80, kHelpRegisters = 176;  // 128 of each thread when the block starts
constexpr int kHalf = kTile / 2;                           // samples of a group of the chain

// Shared memory: byte offsets. Weights and tensors lie in blocks of 64 columns, but h2, whose columns go to the groups
// of helpers by halves, in blocks of 32. Each group of the chain has tensors of its own, offsets in them from h0 on.
template <class S>
struct Layout {
  static constexpr int kRowBytes = 2 * kHalf;
  static constexpr int bias = 2 * S::n_weights(), ones = bias + 4 * S::n_bias(),
                       tiles = (ones + 512 + 1023) / 1024 * 1024;
  static constexpr int h0 = 0, again = h0 + kRowBytes * S::C, h1 = again + kRowBytes * S::C,
                       h2 = h1 + kRowBytes * S::width(1), h3 = h2 + kRowBytes * S::width(2),
                       top = h3 + kRowBytes * S::width(3), third = top + kRowBytes * S::C,
                       t = third + kRowBytes * S::width(3), regions = t + kRowBytes * S::C,
                       of_group = regions + kHalf * S::C;
  static constexpr int second = h3;         // gradients of the outputs of layer 2; of 4 and then 1: top; of 3: third
  static constexpr int dr = h1, next = h2;  // behind the last use of these: dr, and r of the next tile
  static constexpr int hankel = third, signal = third + 2048;  // of dy; the latter of the next tile, behind third's use
  static constexpr int windows = tiles + 2 * of_group,         // the first half's terms of dz in windows of 64 samples
      sums = windows + 4 * S::C;
  static int bytes(int curve_regions) { return sums + 4 * 3 * curve_regions * S::C; }
};

// Barriers of a group of the chain and the helpers, in the order in which a tile passes them; then that of the group.
enum Barrier : int {
  kSumsTaken,    // helpers: t, regions and du of the tile before may go
  kFirstTaken,   // helpers: the gradient of layer 1 and h0 of the tile before may go
  kCurve,        // chain: t, regions, du, the last layer's gradient and its inputs are there
  kLastTaken,    // helpers: the last layer's gradient and inputs may go
  kSecond,       // chain: the gradients of layers 2 and 3 are there
  kLayersTaken,  // helpers: these, and the outputs of layers 1 and 2, may go
  kFirst,        // chain: the gradient of layer 1 and h0 are there
  kStage,
};
constexpr int kBoth = kGroup + kHelp;
// Their numbers are computed anew: the compiler would keep all of them, and spill others.
__device__ __forceinline__ void wait_for(Barrier b, int group) { wait_at(2 * b + anew(group), kBoth); }
__device__ __forceinline__ void arrive(Barrier b, int group) { arrive_at(2 * b + anew(group), kBoth); }
// The group's threads see what all of them wrote, and so do products.
__device__ __forceinline__ void meet(int group) {
  wgmma::show_to_products();
  wait_at(2 * kStage + anew(group), kGroup);
}

// Where a lane's row of its warp's 16 columns begins, in the first 16 rows of a block of Columns columns; 16 rows on is
// `kBelow` further.
template <int Columns>
struct Lane {
  static constexpr int kBelow = Blocks<Columns>::bytes(16);
  static __device__ Word at(Word warp, Word lane) {
    const Word columns = 16 * warp;
    return static_cast<Word>(columns / Columns * Blocks<Columns>::bytes(kHalf)) +
           Blocks<Columns>::piece_at(lane % 8 + lane / 16 * 8, columns % Columns / 8 + lane / 8 % 2);
  }
};
constexpr int kBlock = Blocks<64>::bytes(kHalf), kBelow = Lane<64>::kBelow;

// A thread's of 64 outputs and 32 samples: output lane / 4 + 8 r of the warp's 16 and sample 8 j + 2 (lane % 4) + e at
// [4 j + 2 r + e].
using Outputs = float[16];

// c = w h^T: 64 of w's rows, which `w` begins with; over 16 Steps columns of both.
template <Number F, int ColumnsH, int Steps>
__device__ __forceinline__ void product(Outputs& c, Word w, int rows_of_w, Word h) {
  w = wgmma::units_of(w), h = wgmma::units_of(anew(h));
  wgmma::begin_products();
  wgmma::multiply<F, false, false, false>(c, wgmma::along<64>(w, rows_of_w, 0), wgmma::along<ColumnsH>(h, kHalf, 0));
#pragma unroll
  for (int k = 1; k < Steps; ++k) {
    wgmma::multiply<F, false, false, true>(c, wgmma::along<64>(w, rows_of_w, k), wgmma::along<ColumnsH>(h, kHalf, k));
  }
  wgmma::end_products();
}
// c = w^T g^T: one block of w's columns, over its 16 Steps rows.
template <Number F, int Steps>
__device__ __forceinline__ void product_down(Outputs& c, Word w, Word g) {
  w = wgmma::units_of(w), g = wgmma::units_of(anew(g));
  wgmma::begin_products();
  wgmma::multiply<F, true, false, false>(c, wgmma::down<64>(w, 0), wgmma::along<64>(g, kHalf, 0));
#pragma unroll
  for (int k = 1; k < Steps; ++k) {
    wgmma::multiply<F, true, false, true>(c, wgmma::down<64>(w, k), wgmma::along<64>(g, kHalf, k));
  }
  wgmma::end_products();
}
// sums += g^T h over the half tile, of one block of each.
template <Number F, int ColumnsH, int N>
__device__ __forceinline__ void outer_product(float (&sums)[N], Word g, Word h) {
#pragma unroll
  for (int k = 0; k < kHalf / 16; ++k) {
    wgmma::multiply<F, true, true, true>(sums, wgmma::down<64>(wgmma::units_of(g), k),
                                         wgmma::down<ColumnsH>(wgmma::units_of(h), k));
  }
}
// The same of two blocks of h, one after the other.
template <Number F>
__device__ __forceinline__ void outer_product(float (&sums)[64], Word g, Word h) {
#pragma unroll
  for (int k = 0; k < kHalf / 16; ++k) {
    wgmma::multiply<F, true, true, true>(sums, wgmma::down<64>(wgmma::units_of(g), k),
                                         wgmma::down_two(wgmma::units_of(h), kBlock, k));
  }
}
// Column l of `bias` += g's sums over the half tile. `ones` has sixteen rows of 16 bytes twice, 256 apart, in which row
// 7 is of ones: from row 7 - l on, column l is.
template <Number F>
__device__ __forceinline__ void add_bias(Sums& bias, Word g, Word ones, int l) {
#pragma unroll
  for (int k = 0; k < kHalf / 16; ++k) {
    wgmma::multiply<F, true, false, true>(bias, wgmma::down<64>(wgmma::units_of(g), k),
                                          wgmma::of_eight(ones + 16 * (7 - l), 256));
  }
}

// 16 samples, as columns of registers and as rows of shared memory.
template <Number F>
__device__ __forceinline__ void round_columns(Fragment& to, const float* v) {
#pragma unroll
  for (int i = 0; i < 4; ++i) to[i] = round_pair<F>(v[2 * i], v[2 * i + 1]);
}
template <Number F>
__device__ __forceinline__ void store_columns(Word at, const float* v) {
  Fragment pairs;
  round_columns<F>(pairs, v);
  store_blocks_transposed(at, pairs);
}

// Eight at once, step by step: no step waits for the one before.
template <Activation A>
__device__ __forceinline__ void activate_all(Outputs& c, int first) {
  static_assert(A == Activation::kSoftplus);
  float u[8], q[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) u[i] = exp2_fast(fabsf(c[first + i]) * -kLog2E);
#pragma unroll
  for (int i = 0; i < 8; ++i) q[i] = softplus_polynomial(u[i]);
#pragma unroll
  for (int i = 0; i < 8; ++i) c[first + i] = fmaf(q[i], u[i], fmaxf(c[first + i], 0.0f));
}

// Outputs of a layer, activated.
template <Number F, Activation A>
__device__ __forceinline__ void finish_layer(Outputs& c, const float2& bias, Word at, int below) {
#pragma unroll
  for (int i = 0; i < 16; ++i) c[i] += i / 2 % 2 ? bias.y : bias.x;
#pragma unroll
  for (int p = 0; p < 2; ++p) {
    activate_all<A>(c, 8 * p);
    store_columns<F>(at + p * below, c + 8 * p);
  }
}
// Gradients of outputs h, from those behind the activation.
template <Number F, Activation A>
__device__ __forceinline__ void finish_down(Outputs& c, const Fragment (&h)[2], Word at) {
#pragma unroll
  for (int p = 0; p < 2; ++p) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 y = widen<F>(h[p][i]);
      float* d = c + 8 * p + 2 * i;
      d[0] = times_slope<A>(d[0], y.x), d[1] = times_slope<A>(d[1], y.y);
    }
    store_columns<F>(at + p * kBelow, c + 8 * p);
  }
}

// The deconvolution behind, where du is computed from the gradient of its output.
struct Deconvolution {
  const float *dy_padded, *w;  // (B,T+K-1), (C,K)
  int K, tiles;                // tiles: of a frame
  bool flip;
};
constexpr int kTaps = 64, kHankelRows = kHalf + kTaps - 8, kSignal = kHankelRows + 7;

// The filters in shared memory, at `to`, then as fragments in global: of each 64 channels and 16 taps (warps, lanes).
template <Number F>
__device__ __forceinline__ void share_filters(Word to, const Operands& x, const Deconvolution& deconv) {
  const int k = threadIdx.x % (kTaps / 4) * 4, step = deconv.flip ? -1 : 1;
#pragma unroll 1
  for (int c = threadIdx.x / (kTaps / 4); c < 128; c += kAll / (kTaps / 4)) {
    const float* from = x.of(deconv.w) + c * deconv.K + (deconv.flip ? deconv.K - 1 - k : k);
    float tap[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) tap[i] = k + i < deconv.K ? from[i * step] : 0.0f;
    store_words(row_at<kTaps>(to, c) ^ (2 * k), uint2{round_pair<F>(tap[0], tap[1]), round_pair<F>(tap[2], tap[3])});
  }
}
__device__ __forceinline__ void move_filters(uint4* to, Word from) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int i = warp; i < 32; i += kAll / 32) {  // 64 channels, 16 taps, warp of the product
    Fragment a;
    load_blocks(a, row_at<kTaps>(from, i / 16 * 64 + i % 4 * 16 + lane % 16) ^ (i / 4 % 4 * 32 + lane / 16 * 16));
    to[i * 32 + lane] = {a[0], a[1], a[2], a[3]};
  }
}
// Begins copying what the group's half tile is convolved of; zeros behind the frame's end.
__device__ __forceinline__ void begin_signal(Word to, const Operands& x, const Deconvolution& deconv, int tile,
                                             int group, int thread) {
  if (thread >= kSignal) return;
  const int frame = tile / deconv.tiles, at = (tile - frame * deconv.tiles) * kTile + kHalf * group + thread,
            width = deconv.tiles * kTile + deconv.K - 1;
  const float* from = x.of(deconv.dy_padded) + static_cast<long>(frame) * width;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to + 4 * thread),
               "l"(at < width ? from + at : from), "r"(at < width ? 4 : 0)
               : "memory");
}
template <Number F>
__device__ __forceinline__ void lay_down_hankel(Word to, Word signal, int thread) {
  if (thread >= kHankelRows) return;
  float s[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) s[i] = load_float(signal + 4 * (thread + i));
  store_words(to + 16 * thread, uint4{round_pair<F>(s[0], s[1]), round_pair<F>(s[2], s[3]), round_pair<F>(s[4], s[5]),
                                      round_pair<F>(s[6], s[7])});
}
// c = filters of 64 channels times the Hankel matrix.
template <Number F>
__device__ __forceinline__ void convolve(Outputs& c, const Fragment (&filters)[kTaps / 16], Word hankel) {
  wgmma::begin_products();
  wgmma::multiply_rows<F, false>(c, filters[0], wgmma::of_eight(hankel, 128));
#pragma unroll
  for (int k = 1; k < kTaps / 16; ++k) {
    wgmma::multiply_rows<F, true>(c, filters[k], wgmma::of_eight(hankel + 256 * k, 128));
  }
  wgmma::end_products();
}

// From outputs c of the last layer, of 64 channels, and du: t and region of each, and du times the curve's slope as the
// gradient. For add_curve, 8 x 8 blocks of t, and of du in its own place, have channels as rows; a channel's regions
// are 16 bytes for 16 samples, those of samples 2 k, 2 k + 1, 2 k + 8 and 2 k + 9 together.
template <class S>
__device__ __forceinline__ void finish_curve(Outputs& v, const Operands& x, const Fragment (&du)[2], Word own,
                                             Word regions, const float2& bias, const char* slopes) {
  using At = Layout<S>;
  using F = typename S::Format;
  if (x.curve.regions) {
    const char* slopes_of[2] = {slopes, slopes + 64 * x.curve.regions};
    float2 slope[16];
#pragma unroll
    for (int p = 0; p < 2; ++p) {
      Word number[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int row = i / 2 % 2;
        float& of = v[8 * p + i];
        of += row ? bias.y : bias.x;
        const float region = region_number(x.curve, of);
        number[i] = __float_as_uint(region);
        // 2^23 is taken off the region by what `slopes` begins with.
        slope[8 * p + i] = __ldg(reinterpret_cast<const float2*>(slopes_of[row] + std::uint64_t{number[i]} * 64));
        of -= left_end(x.curve, region);
      }
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        const Word* n = number + 2 * row;
        store_word(regions + p * 16 * S::C + row * 128,
                   __byte_perm(__byte_perm(n[0], n[1], 0x0040), __byte_perm(n[4], n[5], 0x0040), 0x5410));
      }
      Fragment t;
      round_columns<F>(t, v + 8 * p);
      store_blocks(own + At::t + p * kBelow, t);
    }
#pragma unroll
    for (int i = 0; i < 16; ++i) v[i] = fmaf(v[i], slope[i].y, slope[i].x);
  } else {
#pragma unroll
    for (int i = 0; i < 16; ++i) v[i] = 1.0f;
  }
#pragma unroll
  for (int p = 0; p < 2; ++p) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 d = widen<F>(du[p][i]);
      v[8 * p + 2 * i] *= d.x, v[8 * p + 2 * i + 1] *= d.y;
    }
    store_columns<F>(own + At::top + p * kBelow, v + 8 * p);
  }
}

// Factors of a lane's two channels in the one or two windows of the half tile.
template <bool kPositions>
struct Windows {
  float z[2][2];
  int at[2][2];
  __device__ Windows(const Operands& x, int C, long n0, int channel) {
    const long from = (n0 >> x.log2_P) * C + channel;
    const int next = x.P == 16 ? C : 0;
#pragma unroll
    for (int p = 0; p < 2; ++p) {
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        z[p][row] = x.of(x.z)[from + p * next + 8 * row];
        if constexpr (kPositions) at[p][row] = x.of(x.positions)[from + p * next + 8 * row];
      }
    }
  }
};
// From gradients d of h0, of 64 channels, through the residual: dr, in shared memory; dz; and h0 in the place of r.
template <class S, bool kPositions>
__device__ __forceinline__ void finish_residual(const Outputs& d, const Operands& x, const Windows<kPositions>& windows,
                                                Word own, Word parts, long n0, int channel, int lane) {
  using At = Layout<S>;
  using F = typename S::Format;
  const int sample = static_cast<int>(n0 & (x.P - 1)) + lane % 4 * 2;
  float terms[4] = {};
#pragma unroll
  for (int p = 0; p < 2; ++p) {
    Fragment r, through;
    load_blocks_transposed(r, own + At::again + p * kBelow);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = i % 2;
      const float2 y = widen<F>(r[i]);
      float2 dd{d[8 * p + 2 * i], d[8 * p + 2 * i + 1]}, f{windows.z[p][row], windows.z[p][row]};
      if constexpr (kPositions) {
        const int here = windows.at[p][row] - ((sample + 8 * (i / 2) + 16 * p) & (x.P - 1));
        if (here != 0) dd.x = f.x = 0.0f;
        if (here != 1) dd.y = f.y = 0.0f;
      }
      terms[2 * p + row] = fmaf(dd.y, y.y, fmaf(dd.x, y.x, terms[2 * p + row]));
      through[i] = round_pair<F>(dd.x * f.x, dd.y * f.y);
      r[i] = round_pair<F>(y.x * f.x, y.y * f.y);
    }
    store_blocks_transposed(own + At::again + p * kBelow, r);
    store_blocks_transposed(own + At::dr + p * kBelow, through);
  }
  // Over the samples; the lane's bits name the 16 samples and the channel of what is left.
  sum_by_halves<2, 1>(terms, lane);
  channel += lane % 2 * 8;
  float* dz = x.of(x.dz) + (n0 >> x.log2_P) * S::C + channel;
  if (x.P == 16) {
    dz[lane % 4 / 2 * S::C] = terms[0];
    return;
  }
  float sum = terms[0] + __shfl_xor_sync(0xffffffffu, terms[0], 2);
  if (lane & 2) return;
  if (x.P == 64) {
    // The helpers are done with the first half before they free what the second needed to come here.
    if ((n0 & kHalf) == 0) return store_float(parts + 4 * channel, sum);
    sum = load_float(parts + 4 * channel) + sum;
  }
  *dz = sum;
}

// Where a lane's pieces of its warp's 8 rows lie, two rows after two: a row has 16 pieces.
struct Pieces {
  Word first;
  __device__ Pieces(Word tensors, Word warp, Word lane)
      : first(tensors + lane % 16 / 8 * kBlock + Blocks<64>::piece_at(8 * warp + lane / 16, lane % 8)) {}
  __device__ Word at(int below) const { return (first ^ (16 * below)) + below * Blocks<64>::kRow; }
};
// Begins copying this warp's 8 rows of a half tile of (rows,128), of which this lane's pieces begin at `from`.
__device__ __forceinline__ void begin_tile(Pieces to, int tensor, const std::uint16_t* from) {
#pragma unroll
  for (int i = 0; i < 8; i += 2) begin_copy(to.at(i) + tensor, from + i * 128);
}

// The curve's sums over 16 samples p of the half tile, by a thread for each channel. Two samples at once: the second
// sum of one region goes on from the first's. In memory: for each region s0 and s1 of all channels, and after all
// regions s2.
template <class S, bool kSecond>
__device__ __forceinline__ void add_samples(Word tile, Word sums, int channel, int p) {
  using At = Layout<S>;
  using F = typename S::Format;
  const Word own = tile + p * kBelow + channel / 64 * kBlock + Blocks<64>::piece_at(channel % 8, channel % 64 / 8);
  const uint4 words = load_words(tile + At::regions + p * 16 * S::C + 16 * channel);
  const Word regions[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int eight = 0; eight < 2; ++eight) {
    const Word at = own + eight * Blocks<64>::bytes(8);
    const uint4 t4 = load_words(at + At::t), du4 = load_words(at + At::h0);
    const Word ts[4] = {t4.x, t4.y, t4.z, t4.w}, dus[4] = {du4.x, du4.y, du4.z, du4.w};
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const Word a = __byte_perm(regions[k], 0, 0x4440 + 2 * eight), b = __byte_perm(regions[k], 0, 0x4441 + 2 * eight);
      const bool same = a == b;
      const float2 t = widen<F>(ts[k]), du = widen<F>(dus[k]);
      if constexpr (kSecond) {
        const Word at_a = sums + a * 4 * S::C, at_b = sums + b * 4 * S::C;
        const float sum_a = load_float(at_a), sum_b = load_float(at_b);
        const float left = fmaf(du.x * t.x, t.x, sum_a);
        store_float(at_a, left);
        store_float(at_b, fmaf(du.y * t.y, t.y, same ? left : sum_b));
      } else {
        const Word at_a = sums + a * 8 * S::C, at_b = sums + b * 8 * S::C;
        const float2 sum_a = load_floats(at_a), sum_b = load_floats(at_b);
        const float2 left{sum_a.x + du.x, fmaf(du.x, t.x, sum_a.y)}, from = same ? left : sum_b;
        store_floats(at_a, left);
        store_floats(at_b, {from.x + du.y, fmaf(du.y, t.y, from.y)});
      }
    }
  }
}

// Where a thread's sums of a layer's gradient lie in the block's partial one: float4 [part][thread]; biases in order.
template <class S, int l, int N>
__device__ __forceinline__ void write_sums(float* partial, const float (&sums)[N], int thread) {
  auto* to = reinterpret_cast<float4*>(partial + S::weights_at(l)) + thread;
#pragma unroll
  for (int j = 0; j < N / 4; ++j) to[j * 256] = {sums[4 * j], sums[4 * j + 1], sums[4 * j + 2], sums[4 * j + 3]};
}
template <class S, int l>
__device__ __forceinline__ void write_bias(float* partial, const Sums& bias, int row0, int lane) {
  if (lane % 4 != l / 2) return;
  float* to = partial + S::n_weights() + S::bias_at(l) + row0 + lane / 4;
  to[0] = bias[l % 2], to[8] = bias[2 + l % 2];
}
struct Place {
  template <class S, int l>
  static __device__ int2 of(int i) {
    const int e = i % 4, thread = i / 4 % 256, lane = thread % 32, group = thread / 128, j = i / 4 / 256;
    return {(l == 0 || l == 3 ? 64 * group : 0) + thread % 128 / 32 * 16 + lane / 4 + e / 2 * 8,
            (l == 1   ? 64 * group
             : l == 2 ? 32 * group
                      : 0) +
                8 * j + lane % 4 * 2 + e % 2};
  }
};

template <class S, Activation A, bool kPositions, bool kFromDy>
__device__ __forceinline__ void chain(const Operands& x, const Deconvolution& deconv, Word base) {
  using At = Layout<S>;
  using F = typename S::Format;
  constexpr int C = S::C, W1 = S::width(1), W2 = S::width(2), W3 = S::width(3);
  static_assert(C == 128 && W1 == C && W2 == 64 && W3 == 64, "products have 64 outputs");
  // The same for all lanes, which the compiler knows of a shuffle: addresses of products are uniform registers.
  const int group = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / kGroup, 0);
  using Factors = Held<F, kPositions>;
  const auto factors_of = [&](int tile, unsigned thread) {
    const long row = static_cast<long>(tile) * kTile + 8 * (thread / 32);
    return Factors(x, row >> x.log2_P, C, 8 * (thread % 16));
  };
  Factors factors = factors_of(blockIdx.x, threadIdx.x);
  {
    const unsigned lane = threadIdx.x % 32, warp_of_all = threadIdx.x / 32;
    begin_tile(Pieces(base + At::tiles + group * At::of_group, warp_of_all % 4, lane), At::next,
               x.of(x.r) + (static_cast<long>(blockIdx.x) * kTile + 8 * warp_of_all) * C + 8 * lane);
    if constexpr (kFromDy) {
      begin_signal(base + At::tiles + group * At::of_group + At::signal, x, deconv, blockIdx.x, group,
                   threadIdx.x % kGroup);
    }
  }
#pragma unroll 1
  for (int tile = blockIdx.x; tile < x.tiles; tile += gridDim.x) {
    // Addresses are computed anew for each tile: kept, they would take registers of which the chain has few.
    const unsigned thread = anew(threadIdx.x), lane = thread % 32, warp_of_all = thread / 32, warp = warp_of_all % 4;
    const Word tensors = base + At::tiles + group * At::of_group;
    const Word own = tensors + Lane<64>::at(warp, lane), own_h2 = tensors + At::h2 + Lane<32>::at(warp, lane);
    const Pieces pieces(tensors, warp, lane);
    const unsigned first_channel = 16 * warp + lane / 4;  // of a lane, of 64
    const Word bias = base + At::bias + 4 * first_channel;
    const auto weights = [&](int l) { return base + 2 * S::weights_at(l); };
    const auto biases = [&](int n) { return float2{load_float(bias + 4 * n), load_float(bias + 4 * n + 32)}; };
    const long n0 = static_cast<long>(tile) * kTile + kHalf * group;
    const auto copied = [&](const std::uint16_t* tensor) { return tensor + (n0 + 8 * warp) * C + 8 * lane; };
    Outputs c;
    wait_copies();
    wait_for(kSumsTaken, group);
    wait_for(kFirstTaken, group);
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
      const uint4 r = load_words(pieces.at(i) + At::next);
      store_words(pieces.at(i) + At::h0, factors.times(r, (8 * warp_of_all & (x.P - 1)) + lane / 16 + i));
      store_words(pieces.at(i) + At::again, r);
    }
    if constexpr (kFromDy) lay_down_hankel<F>(tensors + At::hankel, tensors + At::signal, thread % kGroup);
    meet(group);
#pragma unroll 1
    for (int step = 0; step < 4; ++step) {  // two halves of layer 0; layers 1 and 2: one copy of the activation's code
      Word to;
      if (step < 2) {
        product<F, 64, C / 16>(c, weights(0) + step * Blocks<64>::bytes(64), W1, tensors + At::h0);
        to = own + At::h1 + step * kBlock;
      } else if (step == 2) {
        if constexpr (!kFromDy) begin_tile(pieces, At::h0, copied(x.of(x.du)));
        product<F, 64, W1 / 16>(c, weights(1), W2, tensors + At::h1);
        to = own_h2;
      } else {
        product<F, 32, W2 / 16>(c, weights(2), W3, tensors + At::h2);
        to = own + At::h3;
      }
      const float2 b = biases(64 * step);
      wgmma::wait_products();
      finish_layer<F, A>(c, b, to, step == 2 ? Lane<32>::kBelow : kBelow);
      if (!kFromDy && step == 3) wait_copies();
      if (step > 0) meet(group);
    }
    const char* slopes = reinterpret_cast<const char*>(x.of(x.slopes)) +
                         64 * (2 * warp * x.curve.regions - std::int64_t{__float_as_uint(kRegionZero)}) + lane / 4 * 8;
#pragma unroll 1
    for (int m = 0; m < 2; ++m) {
      Fragment du[2];
      if constexpr (kFromDy) {
        Fragment filters[kTaps / 16];
        const uint4* from =
            reinterpret_cast<const uint4*>(partial_of<S>(x, blockIdx.x)) + m * (kTaps / 16 * kGroup) + thread % kGroup;
#pragma unroll
        for (int k = 0; k < kTaps / 16; ++k) {
          const uint4 a = from[k * kGroup];
          filters[k][0] = a.x, filters[k][1] = a.y, filters[k][2] = a.z, filters[k][3] = a.w;
        }
        convolve<F>(c, filters, tensors + At::hankel);
        wgmma::wait_products();
#pragma unroll
        for (int p = 0; p < 2; ++p) round_columns<F>(du[p], c + 8 * p);
      }
      product<F, 64, W3 / 16>(c, weights(3) + m * Blocks<64>::bytes(64), C, tensors + At::h3);
      const float2 b = biases(S::bias_at(3) + 64 * m);
#pragma unroll
      for (int p = 0; p < 2; ++p) {
        const Word at = own + m * kBlock + At::h0 + p * kBelow;
        if constexpr (!kFromDy) load_blocks_transposed(du[p], at);
        store_blocks(at, du[p]);
      }
      wgmma::wait_products();
      finish_curve<S>(c, x, du, own + m * kBlock, tensors + At::regions + 16 * (64 * m + first_channel) + lane % 4 * 4,
                      b, slopes + 512l * m * x.curve.regions);
    }
    meet(group);
    arrive(kCurve, group);
#pragma unroll 1
    for (int l = 3; l > 1; --l) {
      if (l == 3) {
        product_down<F, C / 16>(c, weights(3), tensors + At::top);
      } else {
        product_down<F, W3 / 16>(c, weights(2), tensors + At::third);
        wait_for(kLastTaken, group);
      }
      Fragment h[2];
      load_blocks_transposed(h[0], l == 3 ? own + At::h3 : own_h2);
      load_blocks_transposed(h[1], l == 3 ? own + At::h3 + kBelow : own_h2 + Lane<32>::kBelow);
      wgmma::wait_products();
      finish_down<F, A>(c, h, l == 3 ? own + At::third : own + At::second);
      meet(group);
    }
    arrive(kSecond, group);
#pragma unroll 1
    for (int m = 0; m < 2; ++m) {
      product_down<F, W2 / 16>(c, weights(1) + m * Blocks<64>::bytes(W2), tensors + At::second);
      Fragment h[2];
      load_blocks_transposed(h[0], own + At::h1 + m * kBlock);
      load_blocks_transposed(h[1], own + At::h1 + m * kBlock + kBelow);
      wgmma::wait_products();
      finish_down<F, A>(c, h, own + At::top + m * kBlock);
    }
    meet(group);
    // Behind the last tile once more its own: a branch here would make the compiler spill them.
    const int next = tile + static_cast<int>(gridDim.x) < x.tiles ? tile + static_cast<int>(gridDim.x) : tile;
    factors = factors_of(next, thread);
    wait_for(kLayersTaken, group);
    begin_tile(pieces, At::next, copied(x.of(x.r)) + static_cast<long>(next - tile) * kTile * C);
    if constexpr (kFromDy) begin_signal(tensors + At::signal, x, deconv, next, group, thread % kGroup);
#pragma unroll 1
    for (int m = 0; m < 2; ++m) {
      product_down<F, W1 / 16>(c, weights(0) + m * Blocks<64>::bytes(W1), tensors + At::top);
      const int channel = 64 * m + first_channel;
      const Windows<kPositions> windows(x, C, n0, channel);
      wgmma::wait_products();
      finish_residual<S, kPositions>(c, x, windows, own + m * kBlock, base + At::windows, n0, channel, lane);
    }
    meet(group);
    arrive(kFirst, group);
    auto* dr = x.of(x.dr) + (n0 + 8 * warp) * C + 8 * lane;
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
      __stcs(reinterpret_cast<uint4*>(dr + i * C), load_words(pieces.at(i) + At::dr));
    }
  }
  wait_copies();
  wait_for(kSumsTaken, group);
  wait_for(kFirstTaken, group);
}

template <class S>
__device__ __forceinline__ void help(const Operands& x, const char* shared, Word base) {
  using At = Layout<S>;
  using F = typename S::Format;
  const int thread = threadIdx.x - kChain, group = __shfl_sync(0xffffffffu, thread / kGroup, 0);
  const Word ones = base + At::ones;
  float w0[64] = {}, w1[32] = {}, w2[16] = {}, w3[32] = {};
  Sums bias{};
#pragma unroll 1
  for (int side = 0; side < 2; ++side) {
    arrive(kSumsTaken, side);
    arrive(kFirstTaken, side);
  }
#pragma unroll 1
  for (int tile = 2 * blockIdx.x; tile < 2 * x.tiles; tile += tile % 2 ? 2 * gridDim.x - 1 : 1) {
    const int side = tile % 2;
    const Word tensors = base + At::tiles + side * At::of_group, top = tensors + At::top + kBlock * group;
    wait_for(kCurve, side);
    wgmma::begin_products();
    outer_product<F, 64>(w3, top, tensors + At::h3);
    add_bias<F>(bias, top, ones, 3);
    wgmma::end_products();
    wgmma::wait_products();
    arrive(kLastTaken, side);
    // Half of the threads have a channel each, on all schedulers.
#pragma unroll 1
    for (int p = 0; p < 2; ++p) {
      const int channel = anew(thread) % S::C;
      if (x.curve.regions) {
        const Word sums = base + At::sums;
        if (group) {
          add_samples<S, true>(tensors, sums + 8 * x.curve.regions * S::C + 4 * channel, channel, p);
        } else {
          add_samples<S, false>(tensors, sums + 8 * channel, channel, p);
        }
      }
      if (p == 1) break;
      wait_for(kSecond, side);
      wgmma::begin_products();
      outer_product<F, 64>(w1, tensors + At::second, tensors + At::h1 + kBlock * group);
      outer_product<F, 32>(w2, tensors + At::third, tensors + At::h2 + Blocks<32>::bytes(kHalf) * group);
      add_bias<F>(bias, tensors + (group ? At::third : At::second), ones, 1);
      wgmma::end_products();
      wgmma::wait_products();
      arrive(kLayersTaken, side);
    }
    arrive(kSumsTaken, side);
    wait_for(kFirst, side);
    wgmma::begin_products();
    outer_product<F>(w0, top, tensors + At::again);
    add_bias<F>(bias, top, ones, 0);
    wgmma::end_products();
    wgmma::wait_products();
    arrive(kFirstTaken, side);
  }
  float* partial = partial_of<S>(x, blockIdx.x);
  write_sums<S, 0>(partial, w0, thread);
  write_sums<S, 1>(partial, w1, thread);
  write_sums<S, 2>(partial, w2, thread);
  write_sums<S, 3>(partial, w3, thread);
  const int row0 = thread / 32 * 16, lane = thread % 32;
  write_bias<S, 0>(partial, bias, row0, lane);
  write_bias<S, 3>(partial, bias, row0, lane);
  write_bias<S, 1>(partial, bias, row0, lane);  // of layers 1 and 2: one group has each
  // All helpers were done with the curve's sums before the last barrier that they waited at.
  const auto* sums = reinterpret_cast<const float*>(shared + At::sums);
  const int n = x.curve.regions * S::C;
  float* to = partial + S::n_weights() + S::n_bias();
#pragma unroll 1
  for (int i = thread; i < n; i += kHelp)
    to[i] = sums[2 * i], to[n + i] = sums[2 * i + 1], to[2 * n + i] = sums[2 * n + i];
}

// Begins copying the packed weights, whole rows whose pieces are permuted, to blocks.
template <class S, int l = 0>
__device__ __forceinline__ void begin_weights(Word base, const uint4* packed) {
  constexpr int K = S::width(l), N = S::width(l + 1), kPieces = K / 8;
#pragma unroll 1
  for (int i = threadIdx.x; i < K * N / 8; i += kAll) {
    const int row = i / kPieces, piece = i % kPieces ^ static_cast<int>(permutation<K>(row) / 16);
    begin_copy(base + 2 * S::weights_at(l) + piece / 8 * Blocks<64>::bytes(N) + Blocks<64>::piece_at(row, piece % 8),
               packed + S::weights_at(l) / 8 + i);
  }
  if constexpr (l + 1 < S::L) begin_weights<S, l + 1>(base, packed);
}

template <class S, Activation A, bool kPositions, bool kFromDy>
__global__ void __launch_bounds__(kAll, 1)
    wgmma_backward_kernel(Members, const __grid_constant__ Operands x, const __grid_constant__ Deconvolution deconv) {
  if (!wgmma::kHere) return;
  using At = Layout<S>;
  extern __shared__ __align__(1024) char shared[];
  const Word base = shared_address(shared);
  let_next_kernel_begin();
  begin_weights<S>(base, x.of(x.weights));
  auto* sums = reinterpret_cast<float4*>(shared + At::sums);
#pragma unroll 1
  for (int i = threadIdx.x; i < 3 * x.curve.regions * S::C / 4; i += kAll) sums[i] = {};
  auto* bias = reinterpret_cast<float*>(shared + At::bias);
#pragma unroll 1
  for (int i = threadIdx.x; i < S::n_bias(); i += kAll) bias[i] = x.of(x.bias)[i];
  auto* ones = reinterpret_cast<Word*>(shared + At::ones);
  if (threadIdx.x < 128) ones[threadIdx.x] = threadIdx.x / 4 % 16 == 7 ? kOnes<typename S::Format> : 0u;
  if constexpr (kFromDy) share_filters<typename S::Format>(base + At::tiles, x, deconv);
  wait_copies();
  wgmma::show_to_products();
  wait_for_kernel_before();
  __syncthreads();
  if constexpr (kFromDy) {  // to where the block's sums come in the end
    move_filters(reinterpret_cast<uint4*>(partial_of<S>(x, blockIdx.x)), base + At::tiles);
    __syncthreads();
  }
  if (threadIdx.x < kChain) {
    wgmma::give_registers<kChainRegisters>();
    chain<S, A, kPositions, kFromDy>(x, deconv, base);
  } else {
    wgmma::take_registers<kHelpRegisters>();
    help<S>(x, shared, base);
  }
}

template <Number F>
using Paper = Shape<F, 128, 128, 64, 64>;

template <class S>
void run(const Context& context, Operands x, const DnnSaafGrads& grads, const DnnSaafDu& du, float* scratch,
         const DnnSaafDims& d) {
  const int blocks = blocks_of_backward(context, d);
  x.partials = partials_in(scratch, d);
  const Deconvolution deconv{du.dy_padded, du.w, du.K, d.T / kTile, du.flip};
  const auto start = [&]<bool kPositions, bool kFromDy>() {
    launch_early(context, wgmma_backward_kernel<S, Activation::kSoftplus, kPositions, kFromDy>, blocks, kAll,
                 static_cast<std::size_t>(Layout<S>::bytes(x.curve.regions)), x, deconv);
  };
  const bool positions = d.unpool == Unpool::kPositions;
  if (du.du) {
    positions ? start.template operator()<true, false>() : start.template operator()<false, false>();
  } else {
    positions ? start.template operator()<true, true>() : start.template operator()<false, true>();
  }
  add_partials<S, Place>(context, grads, scratch, blocks, d);
}

}  // namespace

bool takes(const Context& context, const DnnSaafDims& d) {
#ifdef CAFX_HAS_WGMMA
  return context.cuda->major == 9 && Paper<Bfloat>::is(d) && d.activation == Activation::kSoftplus &&
         static_cast<std::size_t>(Layout<Paper<Bfloat>>::bytes(d.saaf.S + 2)) <= context.cuda->shared_max;
#else
  static_cast<void>(context), static_cast<void>(d);
  return false;
#endif
}

bool takes_dy(const Context& context, const DnnSaafDims& d, int K) { return takes(context, d) && K <= kTaps; }

void backward(const Context& context, Stored* dr, float* dz, const DnnSaafGrads& grads, const DnnSaafDu& du,
              const Stored* r, const float* z, const std::int32_t* positions, const float* packed, float* scratch,
              const DnnSaafDims& d) {
  with_number(context, [&]<Number F>() {
    Operands x = operands<Paper<F>>(context, reinterpret_cast<const char*>(packed), d, r, z, positions, kTile);
    x.du = static_cast<const std::uint16_t*>(du.du), x.dr = static_cast<std::uint16_t*>(dr), x.dz = dz;
    run<Paper<F>>(context, x, grads, du, scratch, d);
  });
}

}  // namespace cafx::cuda::dnn_wgmma
