#include "kernels/device/each_cuda.h"
#include "kernels/film/film_fold.h"

namespace cafx::cuda {

namespace {

// A warp for each row, its sum in a fixed tree.
__global__ void fold_backward_kernel(Members members, FilmLayer<float*> gradients, float* dmodulation,
                                     FilmLayer<const float*> dfolded, FilmLayer<const float*> layer,
                                     const float* modulation, FilmFoldDims d) {
  members.enter(dmodulation, modulation, gradients.w, dfolded.w, layer.w);
  members.enter_given(gradients.bias, dfolded.bias, layer.bias);
  const long o = (static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (o >= d.O) return;  // a whole warp
  const float scale = 1.0f + modulation[o];
  float sum = 0.0f;
  for (long i = o * d.I + lane; i < (o + 1) * d.I; i += 32) {
    gradients.w[i] += scale * dfolded.w[i];
    sum += dfolded.w[i] * layer.w[i];
  }
  for (int half = 16; half > 0; half /= 2) sum += __shfl_down_sync(0xffffffffu, sum, half);
  if (lane != 0) return;
  if (layer.bias) {
    gradients.bias[o] += scale * dfolded.bias[o];
    sum += dfolded.bias[o] * layer.bias[o];
    dmodulation[d.O + o] += dfolded.bias[o];
  }
  dmodulation[o] += sum;
}

}  // namespace

void film_fold(const Context& context, const FilmLayer<float*>& to, const FilmLayer<const float*>& from,
               const float* modulation, FilmFoldDims d) {
  FilmLayer<float*> folded = to;
  FilmLayer<const float*> layer = from;
  for_each(context, static_cast<long>(d.O) * (d.I + 1), [=] __device__(Members members) mutable {
    members.enter(modulation, folded.w, layer.w);
    members.enter_given(folded.bias, layer.bias);
    return [=](long k) {
      const long o = k / (d.I + 1), i = k % (d.I + 1);
      const float scale = 1.0f + modulation[o];
      if (i < d.I) {
        folded.w[o * d.I + i] = scale * layer.w[o * d.I + i];
      } else if (layer.bias) {
        folded.bias[o] = scale * layer.bias[o] + modulation[d.O + o];
      }
    };
  });
}

void film_fold_backward(const Context& context, const FilmLayer<float*>& gradients, float* dmodulation,
                        const FilmLayer<const float*>& dfolded, const FilmLayer<const float*>& layer,
                        const float* modulation, FilmFoldDims d) {
  launch(context, fold_backward_kernel, dim3(blocks_for(32L * d.O)), kThreads, 0, gradients, dmodulation, dfolded,
         layer, modulation, d);
}

}  // namespace cafx::cuda
