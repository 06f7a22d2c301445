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

static void check_sizes(FilmFoldDims d) { CAFX_CHECK(d.O >= 1 && d.I >= 1, d.O, d.I); }

void film_fold(const Context& context, const FilmLayer<float*>& folded, const FilmLayer<const float*>& layer,
               const float* modulation, FilmFoldDims d) {
  check_sizes(d);
  CAFX_CUDA_CALL(context, film_fold, folded, layer, modulation, d);
  for (int o = 0; o < d.O; ++o) {
    const float scale = 1.0f + modulation[o];
    const long row = static_cast<long>(o) * d.I;
    for (int i = 0; i < d.I; ++i) folded.w[row + i] = scale * layer.w[row + i];
    if (layer.bias) folded.bias[o] = scale * layer.bias[o] + modulation[d.O + o];
  }
}

void film_fold_backward(const Context& context, const FilmLayer<float*>& gradients, float* dmodulation,
                        const FilmLayer<const float*>& dfolded, const FilmLayer<const float*>& layer,
                        const float* modulation, FilmFoldDims d) {
  check_sizes(d);
  CAFX_CUDA_CALL(context, film_fold_backward, gradients, dmodulation, dfolded, layer, modulation, d);
  for (int o = 0; o < d.O; ++o) {
    const float scale = 1.0f + modulation[o];
    const long row = static_cast<long>(o) * d.I;
    float sum = 0.0f;
    for (int i = 0; i < d.I; ++i) {
      gradients.w[row + i] += scale * dfolded.w[row + i];
      sum += dfolded.w[row + i] * layer.w[row + i];
    }
    if (layer.bias) {
      gradients.bias[o] += scale * dfolded.bias[o];
      sum += dfolded.bias[o] * layer.bias[o];
      dmodulation[d.O + o] += dfolded.bias[o];
    }
    dmodulation[o] += sum;
  }
}

}  // namespace cafx
