#include "kernels/film/film.h"

#include "kernels/pointwise/pointwise_cpu.h"

namespace cafx::CAFX_ISA_NS {

namespace {

// body(b, c, row, k, t, n): blocks of n samples from t of every row; without modulation the row is one block.
template <class Body>
CAFX_INLINE void over_blocks(FilmDims d, bool whole_rows, Body body) {
  const int block = whole_rows ? d.T : d.block;
  for (int b = 0; b < d.B; ++b) {
    for (int c = 0; c < d.C; ++c) {
      const long row = (static_cast<long>(b) * d.C + c) * d.T;
      for (int t = 0, k = 0; t < d.T; t += block, ++k) body(b, c, row, k, t, d.T - t < block ? d.T - t : block);
    }
  }
}

long place(const FilmDims& d, int k, int b, int channels) { return (static_cast<long>(k) * d.B + b) * channels; }

float scale_of(const float* m, int c, const FilmDims& d) { return m ? m[c] + (d.around_one ? 1.0f : 0.0f) : 1.0f; }

// The largest of n numbers, and where it first stands; the first number where that is no number.
struct Maximum {
  float value;
  int at;
};
CAFX_INLINE Maximum maximum(const float* x, int n) {
  vf most = set1(x[0]), begins = {};
  int t = 0;
  for (; t + kW <= n; t += kW) {
    const vf here = load(x + t);
    begins = here > most ? set1(static_cast<float>(t)) : begins;
    most = here > most ? here : most;
  }
  float values[kW], vectors[kW];
  store(values, most);
  store(vectors, begins);
  Maximum all{x[0], 0};
  for (int i = 0; i < kW; ++i) {
    const int at = static_cast<int>(vectors[i]) + i;
    if (values[i] > all.value || (values[i] == all.value && at < all.at)) all = {values[i], at};
  }
  for (; t < n; ++t) {
    if (x[t] > all.value) all = {x[t], t};
  }
  return all;
}

}  // namespace

void film_pool_forward(float* pooled, const float* x, const float* constants, FilmDims d) {
  over_blocks(d, false, [&](int b, int c, long row, int k, int t, int n) {
    const float largest = maximum(x + row + t, n).value;
    float* to = pooled + place(d, k, b, d.C + d.beside);
    to[c] = n < d.block && largest < 0.0f ? 0.0f : largest;
    if (c > 0) return;
    for (int i = 0; i < d.beside; ++i) to[d.C + i] = constants ? constants[static_cast<long>(b) * d.beside + i] : 0.0f;
  });
}

void film_pool_backward(float* dx, const float* dpooled, const float* x, FilmDims d) {
  over_blocks(d, false, [&](int b, int c, long row, int k, int t, int n) {
    const Maximum most = maximum(x + row + t, n);
    if (n < d.block && most.value < 0.0f) return;
    dx[row + t + most.at] += dpooled[place(d, k, b, d.C + d.beside) + c];
  });
}

void film_forward(float* y, const float* z, const float* x, const float* residual, const float* modulation,
                  FilmDims d) {
  over_blocks(d, !modulation, [&](int b, int c, long row, int k, int t0, int n) {
    const float* m = modulation ? modulation + place(d, k, b, 2 * d.C) : nullptr;
    const float scale = scale_of(m, c, d), shift = m ? m[d.C + c] : 0.0f, r = residual[c];
    const long at = row + t0;
    for_vectors(n, [&](long t, int v) {
      store_m(y + at + t, vtanh(scale * load_m(z + at + t, v) + shift) + r * load_m(x + at + t, v), v);
    });
  });
}

void film_backward(float* dz, float* dmodulation, const float* dy, const float* z, const float* modulation,
                   FilmDims d) {
  over_blocks(d, !modulation, [&](int b, int c, long row, int k, int t0, int n) {
    const float* m = modulation ? modulation + place(d, k, b, 2 * d.C) : nullptr;
    const float scale = scale_of(m, c, d), shift = m ? m[d.C + c] : 0.0f;
    const long at = row + t0;
    vf of_scale = {}, of_shift = {};
    for_vectors(n, [&](long t, int v) {
      const vf in = load_m(z + at + t, v), bent = vtanh(scale * in + shift);
      const vf slope = load_m(dy + at + t, v) * (1.0f - bent * bent);
      store_m(dz + at + t, slope * scale, v);
      of_scale += slope * in;  // dy beyond the row reads as 0
      of_shift += slope;
    });
    if (!m) return;
    float* dm = dmodulation + place(d, k, b, 2 * d.C);
    dm[c] = sum(of_scale);
    dm[d.C + c] = sum(of_shift);
  });
}

void film_residual_backward(float* dx, float* dresidual, const float* dy, const float* x, const float* residual,
                            FilmDims d) {
  over_blocks(d, true, [&](int, int c, long row, int, int, int n) {
    const float r = residual[c];
    vf total = {};
    for_vectors(n, [&](long t, int v) {
      const vf of = load_m(dy + row + t, v);
      store_m(dx + row + t, load_m(dx + row + t, v) + r * of, v);
      total += of * load_m(x + row + t, v);
    });
    dresidual[c] += sum(total);
  });
}

}  // namespace cafx::CAFX_ISA_NS
