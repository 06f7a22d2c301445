#include "kernels/dnn_saaf/dnn_saaf_wgmma_cuda.h"

#include "kernels/device/memory.h"
#include "kernels/device/wgmma_cuda.h"
#include "kernels/dnn_saaf/dnn_saaf_persistent_parts_cuda.h"

// A block has a tile of 64 samples and four warp groups. Two of the *chain*, each with half of a layer's columns,
// compute the layers again and then the gradients down through them, and meet after each; two of *helpers* add up, from
// what the chain lays down in shared memory, the curve's sums and the weights' gradients, but those of the third layer,
// for which the chain has registers left. All sums of the weights' gradients stay in registers until the block ends,
// and the helpers have twice as many registers as the chain. Named barriers hand the tiles over; while the helpers are
// at the last product of a tile, the chain is in the layers of the next.
namespace cafx::cuda::dnn_wgmma {

namespace {

using namespace dnn_persistent;
using wgmma::Blocks;

constexpr int kChain = 256, kHelp = 256, kAll = kChain + kHelp;  // threads
constexpr int kChainRegisters = 88, kHelpRegisters = 168;        // 128 of each thread when the block starts

// Shared memory: byte offsets. Weights of layers 2 and 3 and h2, whose columns go to the groups by halves, lie in
// blocks of 32 columns, what else products take in blocks of 64; du, in the place of h0, and t have whole rows
// (tensor_core_cuda.h).
template <class S>
struct Layout {
  static constexpr int kRowBytes = 2 * kTile;
  static constexpr int bias = 2 * S::n_weights(), ones = bias + 4 * S::n_bias(), h0 = (ones + 512 + 1023) / 1024 * 1024,
                       again = h0 + kRowBytes * S::C, h1 = again + kRowBytes * S::C, h2 = h1 + kRowBytes * S::width(1),
                       h3 = h2 + kRowBytes * S::width(2), top = h3 + kRowBytes * S::width(3),
                       third = top + kRowBytes * S::C, t = third + kRowBytes * S::width(3),
                       regions = t + kRowBytes * S::C, sums = regions + kTile * S::C;
  static constexpr int second = h3;  // gradients of the outputs of layer 2; of 4 and then 1: top; of 3: third
  static constexpr int dz = h2;      // terms of each warp's samples, behind the last use of h2
  static int bytes(int curve_regions) { return sums + 4 * 3 * S::kCopies * curve_regions * S::C; }
};

// As in dnn_saaf_persistent_cuda.cu.
enum Barrier : int {
  kSumsTaken = 1,  // helpers: t, regions and du of the tile before may go
  kLayersTaken,    // helpers: the outputs of layer 1 and the gradients of layers 2 and 3 may go
  kFirstTaken,     // helpers: the gradient of layer 1 and h0 may go
  kCurve,          // chain: t, regions, du, the last layer's gradient and its inputs are there
  kLastTaken,      // helpers: the last layer's gradient and inputs may go
  kSecond,         // chain: the gradients of layers 2 and 3 are there
  kFirst,          // chain: the gradient of layer 1 and h0 are there
  kStage,          // the chain
};
// The chain's threads see what all of them wrote, and so do products.
__device__ __forceinline__ void meet() {
  wgmma::show_to_products();
  wait_at<kStage, kChain>();
}

// A warp's 16 rows of some columns of a matrix: where its lane's row of a 16 x 16 block begins, 16 columns after 16.
struct Rows {
  Word own;
  __device__ Word at(int column) const { return own ^ (2 * column); }
};
template <int Columns>
__device__ __forceinline__ Rows rows_of_block(Word block, int warp, int lane) {
  return {block + Blocks<Columns>::piece_at(16 * warp + lane % 16, 0) ^ (lane / 16 * 16)};
}
template <int C>
__device__ __forceinline__ Rows whole_rows(Word tile, int warp, int lane) {
  return {row_at<C>(tile, 16 * warp + lane % 16) ^ (lane / 16 * 16)};
}

constexpr int kColumns = 32;  // of the chain's products that are finished at once
using Outputs = float[16];    // a thread's of those

// c = a w^T: 32 of w's rows, which `w` begins with; over 16 Steps columns of both.
template <Number F, int ColumnsA, int ColumnsW, int Steps, int N>
__device__ __forceinline__ void product(float (&c)[N], Word a, Word w, int rows_of_w) {
  a = wgmma::units_of(a), w = wgmma::units_of(w);
  wgmma::begin_products();
  wgmma::multiply<F, false, false, false>(c, wgmma::along<ColumnsA>(a, kTile, 0),
                                          wgmma::along<ColumnsW>(w, rows_of_w, 0));
#pragma unroll
  for (int k = 1; k < Steps; ++k) {
    wgmma::multiply<F, false, false, true>(c, wgmma::along<ColumnsA>(a, kTile, k),
                                           wgmma::along<ColumnsW>(w, rows_of_w, k));
  }
  wgmma::end_products();
}
// c = g w: one block of w's columns, over its 16 Steps rows.
template <Number F, int ColumnsW, int Steps, int N>
__device__ __forceinline__ void product_down(float (&c)[N], Word g, Word w) {
  g = wgmma::units_of(g), w = wgmma::units_of(w);
  wgmma::begin_products();
  wgmma::multiply<F, false, true, false>(c, wgmma::along<64>(g, kTile, 0), wgmma::down<ColumnsW>(w, 0));
#pragma unroll
  for (int k = 1; k < Steps; ++k) {
    wgmma::multiply<F, false, true, true>(c, wgmma::along<64>(g, kTile, k), wgmma::down<ColumnsW>(w, k));
  }
  wgmma::end_products();
}
// f(N sums, the first of their columns), in turn over those of 64 columns with one copy of its code.
template <int N, class F>
__device__ __forceinline__ void by_pieces(float (&c)[32], F f) {
#pragma unroll 1
  for (int n = 0; n < 64; n += 2 * N) {
    float v[N];
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] = c[i];
    f(v, n);
#pragma unroll
    for (int i = 0; i + N < 32; ++i) c[i] = c[i + N];
  }
}
// finish(sums of 32 columns, the first of them, what load(first) brought), for both halves of 64 with one copy of its
// code. What comes from memory is asked for before the products are waited for, and before the half that it belongs to.
template <class Load, class Finish>
__device__ __forceinline__ void by_halves(float (&c)[32], Load load, Finish finish) {
  auto next = load(0);
  wgmma::wait_products();
#pragma unroll 1
  for (int n = 0; n < 64; n += kColumns) {
    const auto with = next;
    next = load(kColumns);  // once too often, which a branch would not save
    Outputs v;
#pragma unroll
    for (int i = 0; i < 16; ++i) v[i] = c[i];
    finish(v, n, with);
#pragma unroll
    for (int i = 0; i < 16; ++i) c[i] = c[i + 16];
  }
}
// sums += g^T h over the tile, of one block of each.
template <Number F, int ColumnsH, int N>
__device__ __forceinline__ void outer_product(float (&sums)[N], Word g, Word h) {
#pragma unroll
  for (int k = 0; k < kTile / 16; ++k) {
    wgmma::multiply<F, true, true, true>(sums, wgmma::down<64>(wgmma::units_of(g), k),
                                         wgmma::down<ColumnsH>(wgmma::units_of(h), k));
  }
}
// Column l of `bias` += g's sums over the tile. `ones` has sixteen rows of 16 bytes twice, 256 apart, in which row 7 is
// of ones: from row 7 - l on, column l is.
template <Number F>
__device__ __forceinline__ void add_bias(Sums& bias, Word g, Word ones, int l) {
#pragma unroll
  for (int k = 0; k < kTile / 16; ++k) {
    wgmma::multiply<F, true, false, true>(bias, wgmma::down<64>(wgmma::units_of(g), k),
                                          wgmma::of_eight(ones + 16 * (7 - l), 256));
  }
}

template <Number F>
__device__ __forceinline__ void store_columns(Rows rows, int n, const float* v) {  // 16 from n on
  wgmma::store_blocks(rows.at(n), round_pair<F>(v[0], v[1]), round_pair<F>(v[2], v[3]), round_pair<F>(v[4], v[5]),
                      round_pair<F>(v[6], v[7]));
}
template <Number F>
__device__ __forceinline__ void store_outputs(Rows rows, int n, const Outputs& c) {
#pragma unroll
  for (int p = 0; p < 2; ++p) store_columns<F>(rows, n + 16 * p, c + 8 * p);
}
// A lane's numbers of 32 columns, as pairs: those of sums 2 i and 2 i + 1.
struct Loaded {
  Fragment of[2];
  __device__ Loaded(Rows rows, int n) {
#pragma unroll
    for (int p = 0; p < 2; ++p) load_blocks(of[p], rows.at(n + 16 * p));
  }
  template <Number F>
  __device__ float2 pair(int i) const {
    return widen<F>(of[i / 4][i % 4]);
  }
};
// The biases of a lane's columns: [j] of columns 8 j ...
struct Biases {
  float2 of[4];
  __device__ Biases(Word bias, int lane) {
#pragma unroll
    for (int j = 0; j < 4; ++j) of[j] = load_floats(bias + 4 * (8 * j + lane % 4 * 2));
  }
  __device__ float operator[](int i) const { return i % 2 ? of[i / 4].y : of[i / 4].x; }
};

// Outputs of a layer, activated.
template <class S, Activation A>
__device__ __forceinline__ void finish_layer(Outputs& c, Rows to, int n, const Biases& b) {
#pragma unroll
  for (int i = 0; i < 16; ++i) c[i] = activated<A>(c[i] + b[i]);
  store_outputs<typename S::Format>(to, n, c);
}
// Gradients of outputs h, from those behind the activation.
template <class S, Activation A>
__device__ __forceinline__ void finish_down(Outputs& c, const Loaded& h, Rows to, int n) {
  using F = typename S::Format;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float2 y = h.pair<F>(i);
    c[2 * i] *= slope_from<A>(y.x), c[2 * i + 1] *= slope_from<A>(y.y);
  }
  store_outputs<F>(to, n, c);
}

// From outputs v of the last layer, channels n .. n + 16, and du: t and region of each, and du times the curve's slope
// as the gradient of v, to `top` of the block.
template <class S>
__device__ __forceinline__ void finish_curve(float (&v)[8], const Operands& x, Word base, Rows top, int n, int warp,
                                             int lane) {
  using At = Layout<S>;
  using F = typename S::Format;
  constexpr int C = S::C;
  if (x.curve.regions) {
    const Word bias = base + At::bias + 4 * (S::bias_at(3) + n + lane % 4 * 2);
    const Word regions = base + At::regions + region_at<C>(16 * warp + lane / 4, n + lane % 4 * 2);
    const auto* slopes = reinterpret_cast<const char*>(x.of(x.slopes));
    const Word of_channel = 32 * x.curve.regions, own = n / 4 * of_channel + lane % 4 * 8;
    float2 slope[8];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float2 b = load_floats(bias + 32 * j);
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        Word region[2];
#pragma unroll
        for (int k = 0; k < 2; ++k) {
          const int i = 4 * j + 2 * s + k;
          v[i] += k ? b.y : b.x;
          const float number = region_number(x.curve, v[i]);
          region[k] = region_of(number);
          slope[i] = __ldg(reinterpret_cast<const float2*>(slopes + (own + (2 * j + k) * of_channel + 32 * region[k])));
          v[i] -= left_end(x.curve, number);
        }
        store_half_word((regions ^ (8 * j)) + s * 8 * C, region[0] | region[1] << 8);
      }
    }
    store_columns<F>(whole_rows<C>(base + At::t, warp, lane), n, v);
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = fmaf(v[i], slope[i].y, slope[i].x);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = 1.0f;
  }
  Fragment du;
  load_blocks(du, whole_rows<C>(base + At::h0, warp, lane).at(n));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 d = widen<F>(du[i]);
    v[2 * i] *= d.x, v[2 * i + 1] *= d.y;
  }
  store_columns<F>(top, n % 64, v);
}

// From gradients d of h0, channels n .. n + 32, through the residual: dr, dz's terms of each 16 samples, and h0 in the
// place of r.
template <class S, bool kPositions>
__device__ __forceinline__ void finish_residual(const Outputs& d, const Operands& x, Word base, Rows rows, long n0,
                                                int n, int warp, int lane) {
  using F = typename S::Format;
  constexpr int C = S::C;
  const long row0 = n0 + 16 * warp, window = row0 >> x.log2_P;
  const int in_window = static_cast<int>(row0 & (x.P - 1)) + lane / 4;
  const float* z_at = x.of(x.z) + window * C + n + lane % 4 * 2;
  const std::int32_t* position_at = nullptr;
  if constexpr (kPositions) position_at = x.of(x.positions) + window * C + n + lane % 4 * 2;
  std::uint16_t* dr = x.of(x.dr) + (row0 + lane / 4) * C + n + 8 * (lane % 2) + lane % 4 / 2 * 4;
  float2 z[4];
  int2 position[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    z[j] = *reinterpret_cast<const float2*>(z_at + 8 * j);
    if constexpr (kPositions) position[j] = *reinterpret_cast<const int2*>(position_at + 8 * j);
  }
  float terms[8];
#pragma unroll
  for (int p = 0; p < 2; ++p) {  // 16 columns
    Fragment r, through;
    load_blocks(r, rows.at(n % 64 + 16 * p));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int j = 2 * p + i / 2, s = i % 2;
      const float2 own = widen<F>(r[i]), dd{d[8 * p + 2 * i], d[8 * p + 2 * i + 1]};
      float2 f = z[j];
      bool here[2] = {true, true};
      if constexpr (kPositions) {
        here[0] = position[j].x == in_window + 8 * s, here[1] = position[j].y == in_window + 8 * s;
        if (!here[0]) f.x = 0.0f;
        if (!here[1]) f.y = 0.0f;
      }
      const float first = here[0] ? dd.x * own.x : 0.0f, second = here[1] ? dd.y * own.y : 0.0f;
      terms[2 * j] = s == 0 ? first : terms[2 * j] + first;
      terms[2 * j + 1] = s == 0 ? second : terms[2 * j + 1] + second;
      through[i] = round_pair<F>(dd.x * f.x, dd.y * f.y);
      r[i] = round_pair<F>(own.x * f.x, own.y * f.y);
    }
    wgmma::store_blocks(rows.at(n % 64 + 16 * p), r[0], r[1], r[2], r[3]);
    // Two neighbouring lanes exchange halves, so that each writes 8 bytes of the 32 that a row's 16 columns are.
    const bool odd = lane % 2;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const Word other = __shfl_xor_sync(0xffffffffu, odd ? through[s] : through[2 + s], 1);
      __stcs(reinterpret_cast<uint2*>(dr + 8 * s * C + 16 * p),
             odd ? uint2{other, through[2 + s]} : uint2{through[s], other});
    }
  }
  // Over the 16 samples; the lane's bits name the channel of what is left.
  sum_by_halves<16, 4>(terms, lane);
  const int channel = n + lane / 8 * 8 + lane % 4 * 2 + lane / 4 % 2;
  if (x.P == 16) {
    x.of(x.dz)[window * C + channel] = terms[0];
  } else {
    store_float(base + Layout<S>::dz + 4 * (warp * C + channel), terms[0]);
  }
}
// dz of windows of more than 16 samples, from the warps' terms; a thread has a channel.
template <class S>
__device__ __forceinline__ void add_windows(const Operands& x, Word base, long n0, int channel) {
  const int warps = x.P / 16;
  const Word own = base + Layout<S>::dz + 4 * channel;
  for (int first = 0; first < kTile / 16; first += warps) {
    float sum = 0.0f;
    for (int k = 0; k < warps; ++k) sum += load_float(own + 4 * (first + k) * S::C);
    x.of(x.dz)[((n0 + 16 * first) >> x.log2_P) * S::C + channel] = sum;
  }
}

// The address of a piece of a tile's row: of whole rows, or of blocks.
template <int C, bool kBlocks>
__device__ __forceinline__ Word piece_of_tile(Word tile, int row, int piece) {
  if constexpr (!kBlocks) return row_at<C>(tile, row) ^ (16 * piece);
  return tile + piece / 8 * Blocks<64>::bytes(kTile) + Blocks<64>::piece_at(row, piece % 8);
}
// Begins copying this warp's 8 rows of a tile of (rows,C).
template <int C, bool kBlocks>
__device__ __forceinline__ void begin_tile(Word to, const std::uint16_t* tile, int warp, int lane) {
  constexpr int kPieces = C / 8;
  const int piece = lane % kPieces, row = 8 * warp + lane / kPieces;
#pragma unroll
  for (int i = 0; i < 8; i += 32 / kPieces) {
    begin_copy(piece_of_tile<C, kBlocks>(to, row + i, piece), tile + (row + i) * C + 8 * piece);
  }
}

// Where a thread's sums of a layer's gradient lie in the block's partial one: float4 [part][thread]; biases in order.
template <class S, int l, int N>
__device__ __forceinline__ void write_sums(float* partial, const float (&sums)[N], int part, int thread) {
  auto* to = reinterpret_cast<float4*>(partial + S::weights_at(l)) + part * 256 + thread;
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

template <class S, Activation A, bool kPositions>
__device__ __forceinline__ void chain(const Operands& x, Word base) {
  using At = Layout<S>;
  using F = typename S::Format;
  constexpr int C = S::C, W1 = S::width(1), W2 = S::width(2), W3 = S::width(3);
  static_assert(C == 128 && W1 == C && W2 == 64 && W3 == 64, "the groups' columns are blocks");
  constexpr int kWide = Blocks<64>::bytes(kTile), kNarrow = Blocks<32>::bytes(kTile);
  float w2[16] = {};
  using Inputs = TileInputs<S, kPositions, 8>;
  Inputs inputs(x, blockIdx.x, threadIdx.x / 32, threadIdx.x % 32);
#pragma unroll 1
  for (int tile = blockIdx.x; tile < x.tiles; tile += gridDim.x) {
    // Addresses are computed anew for each tile: kept, they would take the registers of the sums.
    int own = anew(threadIdx.x);
    int lane = own % 32, warp_of_all = own / 32, group = warp_of_all / 4, warp = warp_of_all % 4;
    const int first = 64 * group, narrow = 32 * group;  // of this group's columns, of 128 and of 64
    const auto weights = [&](int l) { return base + 2 * S::weights_at(l); };
    const auto wide = [&](int at) { return rows_of_block<64>(base + at + kWide * group, warp, lane); };
    const auto half = [&](int at) { return Rows{rows_of_block<64>(base + at, warp, lane).at(narrow)}; };
    const auto h2 = [&] { return rows_of_block<32>(base + At::h2 + kNarrow * group, warp, lane); };
    const int piece = lane % (C / 8), row = 8 * warp_of_all + lane / (C / 8);
    const long n0 = static_cast<long>(tile) * kTile;
    Outputs c;
    float wide_c[32];
    wait_at<kSumsTaken, kAll>();
    inputs.store(x, warp_of_all, lane,
                 [&](int below) { return piece_of_tile<C, true>(base + At::h0, row + below, piece); });
    meet();
    const auto biases = [&](int l, int first_of) {
      return [=](int n) { return Biases(base + At::bias + 4 * (S::bias_at(l) + first_of + n), lane); };
    };
    product<F, 64, 64, C / 16>(wide_c, base + At::h0, weights(0) + Blocks<64>::bytes(first), W1);
    wait_at<kLayersTaken, kAll>();
    by_halves(wide_c, biases(0, first),
              [&](Outputs& v, int n, const Biases& b) { finish_layer<S, A>(v, wide(At::h1), n, b); });
    meet();
#pragma unroll 1
    for (int l = 1; l < 3; ++l) {  // with one copy of the activation's code
      if (l == 1) {
        begin_tile<C, false>(base + At::h0, x.of(x.du) + n0 * C, warp_of_all, lane);
        product<F, 64, 64, W1 / 16>(c, base + At::h1, weights(1) + Blocks<64>::bytes(narrow), W2);
      } else {
        product<F, 32, 32, W2 / 16>(c, base + At::h2, weights(2) + Blocks<32>::bytes(narrow), W3);
      }
      const Biases b = biases(1, narrow)(l == 1 ? 0 : S::bias_at(2) - S::bias_at(1));
      wgmma::wait_products();
      finish_layer<S, A>(c, l == 1 ? h2() : half(At::h3), 0, b);
      if (l == 2) wait_copies();
      meet();
    }
    product<F, 64, 32, W3 / 16>(wide_c, base + At::h3, weights(3) + Blocks<32>::bytes(first), C);
    wait_at<kFirstTaken, kAll>();
    begin_tile<C, true>(base + At::again, x.of(x.r) + n0 * C, warp_of_all, lane);
    wgmma::wait_products();
    by_pieces<8>(wide_c,
                 [&](float(&v)[8], int n) { finish_curve<S>(v, x, base, wide(At::top), first + n, warp, lane); });
    meet();
    arrive_at<kCurve, kAll>();
    own = anew(own), lane = own % 32, warp_of_all = own / 32, group = warp_of_all / 4, warp = warp_of_all % 4;
#pragma unroll 1
    for (int l = 3; l > 1; --l) {
      if (l == 3) {
        product_down<F, 32, C / 16>(c, base + At::top, weights(3) + Blocks<32>::bytes(C) * group);
      } else {
        product_down<F, 32, W3 / 16>(c, base + At::third, weights(2) + Blocks<32>::bytes(W3) * group);
        outer_product<F, 32>(w2, base + At::third, base + At::h2 + kNarrow * group);
        wgmma::end_products();
        wait_at<kLastTaken, kAll>();
      }
      const Loaded h(l == 3 ? half(At::h3) : h2(), 0);
      wgmma::wait_products();
      finish_down<S, A>(c, h, l == 3 ? half(At::third) : half(At::second), 0);
      if (l == 2) wait_copies();
      meet();
    }
    arrive_at<kSecond, kAll>();
    product_down<F, 64, W2 / 16>(wide_c, base + At::second, weights(1) + Blocks<64>::bytes(W2) * group);
    by_halves(
        wide_c, [&](int n) { return Loaded(wide(At::h1), n); },
        [&](Outputs& v, int n, const Loaded& h) { finish_down<S, A>(v, h, wide(At::top), n); });
    meet();
    product_down<F, 64, W1 / 16>(wide_c, base + At::top, weights(0) + Blocks<64>::bytes(W1) * group);
    wgmma::wait_products();
    by_pieces<16>(wide_c, [&](Outputs& v, int n) {
      finish_residual<S, kPositions>(v, x, base, wide(At::again), n0, first + n, warp, lane);
    });
    meet();
    arrive_at<kFirst, kAll>();
    if (x.P != 16 && threadIdx.x < C) add_windows<S>(x, base, n0, threadIdx.x);
    const int next = tile + static_cast<int>(gridDim.x);
    // Behind the last tile once more its own: a branch here would make the compiler spill them.
    inputs = Inputs(x, next < x.tiles ? next : tile, warp_of_all, lane);
  }
  float* partial = partial_of<S>(x);
  write_sums<S, 2>(partial, w2, 0, threadIdx.x);
  wait_at<kSumsTaken, kAll>();
  wait_at<kLayersTaken, kAll>();
  wait_at<kFirstTaken, kAll>();
}

template <class S>
__device__ __forceinline__ void help(const Operands& x, const char* shared, Word base) {
  using At = Layout<S>;
  using F = typename S::Format;
  constexpr int kWide = Blocks<64>::bytes(kTile);
  const int thread = threadIdx.x - kChain, group = thread / 128;
  const Word ones = base + At::ones, top = base + At::top + kWide * group;
  float w0[32] = {}, w0_right[32] = {}, w1[32] = {}, w3[32] = {};
  Sums bias{};
  arrive_at<kSumsTaken, kAll>();
  arrive_at<kLayersTaken, kAll>();
  arrive_at<kFirstTaken, kAll>();
#pragma unroll 1
  for (int tile = blockIdx.x; tile < x.tiles; tile += gridDim.x) {
    wait_at<kCurve, kAll>();
    wgmma::begin_products();
    outer_product<F, 64>(w3, top, base + At::h3);
    add_bias<F>(bias, top, ones, 3);
    wgmma::end_products();
    wgmma::wait_products();
    arrive_at<kLastTaken, kAll>();
    if (x.curve.regions) {
      const int own = anew(thread), channel = own % S::C, copy = own / S::C % S::kCopies;
      if (own >= kHelp / 2) {
        add_curve<S, At, true>(x, base, channel, copy);
      } else {
        add_curve<S, At, false>(x, base, channel, copy);
      }
    }
    arrive_at<kSumsTaken, kAll>();
    wait_at<kSecond, kAll>();
    wgmma::begin_products();
    outer_product<F, 64>(w1, base + At::second, base + At::h1 + kWide * group);
    add_bias<F>(bias, base + At::second, ones, 1);
    add_bias<F>(bias, base + At::third, ones, 2);
    wgmma::end_products();
    wgmma::wait_products();
    arrive_at<kLayersTaken, kAll>();
    wait_at<kFirst, kAll>();
    wgmma::begin_products();
    outer_product<F, 64>(w0, top, base + At::again);
    outer_product<F, 64>(w0_right, top, base + At::again + kWide);
    add_bias<F>(bias, top, ones, 0);
    wgmma::end_products();
    wgmma::wait_products();
    arrive_at<kFirstTaken, kAll>();
  }
  float* partial = partial_of<S>(x);
  write_sums<S, 0>(partial, w0, 0, thread);
  write_sums<S, 0>(partial, w0_right, 8, thread);
  write_sums<S, 1>(partial, w1, 0, thread);
  write_sums<S, 3>(partial, w3, 0, thread);
  const int row0 = thread / 32 * 16, lane = thread % 32;
  write_bias<S, 0>(partial, bias, row0, lane);
  write_bias<S, 3>(partial, bias, row0, lane);
  if (group == 0) {
    write_bias<S, 1>(partial, bias, row0, lane);
    write_bias<S, 2>(partial, bias, row0, lane);
  }
  // All helpers were done with the curve's sums before the last barrier that they waited at.
  const auto* sums = reinterpret_cast<const float*>(shared + At::sums);
  const int n = x.curve.regions * S::C;
  float* to = partial + S::n_weights() + S::n_bias();
#pragma unroll 1
  for (int i = thread; i < n; i += kHelp)
    to[i] = sums[2 * i], to[n + i] = sums[2 * i + 1], to[2 * n + i] = sums[2 * n + i];
}

// The packed weights, whole rows whose pieces are permuted, to blocks.
template <class S, int l = 0>
__device__ __forceinline__ void load_layer(char* shared, const uint4* packed) {
  constexpr int K = S::width(l), N = S::width(l + 1), kPieces = K / 8, kColumns = l < 2 ? 64 : 32,
                kOfBlock = kColumns / 8;
#pragma unroll 1
  for (int i = threadIdx.x; i < K * N / 8; i += kAll) {
    const int row = i / kPieces, piece = i % kPieces ^ static_cast<int>(permutation<K>(row) / 16);
    char* block = shared + 2 * S::weights_at(l) + piece / kOfBlock * Blocks<kColumns>::bytes(N);
    *reinterpret_cast<uint4*>(block + Blocks<kColumns>::piece_at(row, piece % kOfBlock)) =
        packed[S::weights_at(l) / 8 + i];
  }
  if constexpr (l + 1 < S::L) load_layer<S, l + 1>(shared, packed);
}

template <class S, Activation A, bool kPositions>
__global__ void __launch_bounds__(kAll, 1) wgmma_backward_kernel(Members, const __grid_constant__ Operands x) {
  if (!wgmma::kHere) return;
  using At = Layout<S>;
  extern __shared__ __align__(1024) char shared[];
  auto* sums = reinterpret_cast<float4*>(shared + At::sums);
#pragma unroll 1
  for (int i = threadIdx.x; i < 3 * S::kCopies * x.curve.regions * S::C / 4; i += kAll) sums[i] = {};
  load_layer<S>(shared, x.of(x.weights));
  auto* bias = reinterpret_cast<float*>(shared + At::bias);
#pragma unroll 1
  for (int i = threadIdx.x; i < S::n_bias(); i += kAll) bias[i] = x.of(x.bias)[i];
  auto* ones = reinterpret_cast<Word*>(shared + At::ones);
  if (threadIdx.x < 128) ones[threadIdx.x] = threadIdx.x / 4 % 16 == 7 ? kOnes<typename S::Format> : 0u;
  wgmma::show_to_products();
  __syncthreads();
  const Word base = shared_address(shared);
  if (threadIdx.x < kChain) {
    wgmma::give_registers<kChainRegisters>();
    chain<S, A, kPositions>(x, base);
  } else {
    wgmma::take_registers<kHelpRegisters>();
    help<S>(x, shared, base);
  }
}

template <Number F>
using Paper = Shape<F, 128, 128, 64, 64>;

template <class S>
void run(const Context& context, Operands x, const DnnSaafGrads& grads, float* scratch, const DnnSaafDims& d) {
  const int blocks = blocks_of_backward(context, d);
  auto* sums = reinterpret_cast<SaafSums*>(scratch);
  x.partials = scratch + (d.use_saaf ? saaf_sums_bytes(d.saaf) / sizeof(float) : 0);
  const auto start = [&]<bool kPositions>() {
    launch(context, wgmma_backward_kernel<S, Activation::kSoftplus, kPositions>, blocks, kAll,
           static_cast<std::size_t>(Layout<S>::bytes(x.curve.regions)), x);
  };
  d.unpool == Unpool::kPositions ? start.template operator()<true>() : start.template operator()<false>();
  aside(context, [&] {
    sum_parts(context, x.partials, blocks, static_cast<long>(partial_size<S>(d)),
              Finish<S, Place>{grads, sums, x.curve.regions * S::C});
  });
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

void backward(const Context& context, Stored* dr, float* dz, const DnnSaafGrads& grads, const Stored* du,
              const Stored* r, const float* z, const std::int32_t* positions, const float* packed, float* scratch,
              const DnnSaafDims& d) {
  const auto in = [&]<Number F>() {
    Operands x = operands<Paper<F>>(context, reinterpret_cast<const char*>(packed), d, r, z, positions, kTile);
    x.du = static_cast<const std::uint16_t*>(du), x.dr = static_cast<std::uint16_t*>(dr), x.dz = dz;
    run<Paper<F>>(context, x, grads, scratch, d);
  };
  context.precision == Precision::kFp16 ? in.template operator()<Half>() : in.template operator()<Bfloat>();
  if (!d.use_saaf) return;
  aside(context, [&] {
    saaf_gradients(context, grads.dsaaf_v, grads.dsaaf_w, reinterpret_cast<const SaafSums*>(scratch), d.saaf);
  });
}

}  // namespace cafx::cuda::dnn_wgmma
