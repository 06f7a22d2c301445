#include "kernels/film/film_fold.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_CUDA(void, film_fold,
          (const Context&, const FilmLayer<float*>& folded, const FilmLayer<const float*>& layer,
           const float* modulation, FilmFoldDims d));
CAFX_CUDA(void, film_fold_backward,
          (const Context&, const FilmLayer<float*>& gradients, float* dmodulation,
           const FilmLayer<const float*>& dfolded, const FilmLayer<const float*>& layer, const float* modulation,
           FilmFoldDims d));

static void check_sizes(FilmFoldDims d) { CAFX_CHECK(d.O >= 1 && d.I >= 1 && d.B >= 1, d.O, d.I, d.B); }

void film_fold(const Context& context, const FilmLayer<float*>& folded, const FilmLayer<const float*>& layer,
               const float* modulation, FilmFoldDims d) {
  check_sizes(d);
  CAFX_CUDA_CALL(context, film_fold, folded, layer, modulation, d);
  for (int b = 0; b < d.B; ++b) {
    const float* m = modulation + b * d.modulation_apart;
    const long at = b * d.folded_apart;
    for (int o = 0; o < d.O; ++o) {
      const float scale = 1.0f + m[o];
      const long row = static_cast<long>(o) * d.I;
      for (int i = 0; i < d.I; ++i) folded.w[at + row + i] = scale * layer.w[row + i];
      if (layer.bias) folded.bias[at + o] = scale * layer.bias[o] + m[d.O + o];
    }
  }
}

void film_fold_backward(const Context& context, const FilmLayer<float*>& gradients, float* dmodulation,
                        const FilmLayer<const float*>& dfolded, const FilmLayer<const float*>& layer,
                        const float* modulation, FilmFoldDims d) {
  check_sizes(d);
  CAFX_CUDA_CALL(context, film_fold_backward, gradients, dmodulation, dfolded, layer, modulation, d);
  for (int b = 0; b < d.B; ++b) {
    const float *m = modulation + b * d.modulation_apart, *dw = dfolded.w + b * d.folded_apart;
    const float* dbias = layer.bias ? dfolded.bias + b * d.folded_apart : nullptr;
    float* dm = dmodulation + b * d.modulation_apart;
    for (int o = 0; o < d.O; ++o) {
      const float scale = 1.0f + m[o];
      const long row = static_cast<long>(o) * d.I;
      float sum = 0.0f;
      for (int i = 0; i < d.I; ++i) {
        gradients.w[row + i] += scale * dw[row + i];
        sum += dw[row + i] * layer.w[row + i];
      }
      if (dbias) {
        gradients.bias[o] += scale * dbias[o];
        sum += dbias[o] * layer.bias[o];
        dm[d.O + o] += dbias[o];
      }
      dm[o] += sum;
    }
  }
}

}  // namespace cafx
