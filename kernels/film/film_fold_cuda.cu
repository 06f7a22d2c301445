#include "kernels/device/each_cuda.h"
#include "kernels/film/film_fold.h"

namespace cafx::cuda {

namespace {

// A warp for each row of each position, its sum in a fixed tree; gradients of the layer where there is one position.
__global__ void fold_backward_kernel(Members members, FilmLayer<float*> gradients, float* dmodulation,
                                     FilmLayer<const float*> dfolded, FilmLayer<const float*> layer,
                                     const float* modulation, FilmFoldDims d) {
  members.enter(dmodulation, modulation, gradients.w, dfolded.w, layer.w);
  members.enter_given(gradients.bias, dfolded.bias, layer.bias);
  const long row = (static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= static_cast<long>(d.B) * d.O) return;  // a whole warp
  const long b = row / d.O, o = row % d.O, at = b * d.folded_apart;
  modulation += b * d.modulation_apart, dmodulation += b * d.modulation_apart;
  const float scale = 1.0f + modulation[o];
  float sum = 0.0f;
  for (long i = o * d.I + lane; i < (o + 1) * d.I; i += 32) {
    if (d.B == 1) gradients.w[i] += scale * dfolded.w[i];
    sum += dfolded.w[at + i] * layer.w[i];
  }
  for (int half = 16; half > 0; half /= 2) sum += __shfl_down_sync(0xffffffffu, sum, half);
  if (lane != 0) return;
  if (layer.bias) {
    const float of_bias = dfolded.bias[at + o];
    if (d.B == 1) gradients.bias[o] += scale * of_bias;
    sum += of_bias * layer.bias[o];
    dmodulation[d.O + o] += of_bias;
  }
  dmodulation[o] += sum;
}

}  // namespace

void film_fold(const Context& context, const FilmLayer<float*>& to, const FilmLayer<const float*>& from,
               const float* modulation, FilmFoldDims d) {
  FilmLayer<float*> folded = to;
  FilmLayer<const float*> layer = from;
  for_each(context, static_cast<long>(d.B) * d.O * (d.I + 1), [=] __device__(Members members) mutable {
    members.enter(modulation, folded.w, layer.w);
    members.enter_given(folded.bias, layer.bias);
    return [=](long k) {
      const long row = k / (d.I + 1), i = k % (d.I + 1), b = row / d.O, o = row % d.O, at = b * d.folded_apart;
      const float* m = modulation + b * d.modulation_apart;
      const float scale = 1.0f + m[o];
      if (i < d.I) {
        folded.w[at + o * d.I + i] = scale * layer.w[o * d.I + i];
      } else if (layer.bias) {
        folded.bias[at + o] = scale * layer.bias[o] + m[d.O + o];
      }
    };
  });
}

void film_fold_backward(const Context& context, const FilmLayer<float*>& to, float* dmodulation,
                        const FilmLayer<const float*>& from, const FilmLayer<const float*>& layer,
                        const float* modulation, FilmFoldDims d) {
  launch(context, fold_backward_kernel, dim3(blocks_for(32L * d.B * d.O)), kThreads, 0, to, dmodulation, from, layer,
         modulation, d);
  if (d.B == 1) return;
  // Of the layer: over the positions, in order.
  FilmLayer<float*> gradients = to;
  FilmLayer<const float*> dfolded = from;
  const bool with_bias = layer.bias;
  for_each(context, static_cast<long>(d.O) * (d.I + 1), [=] __device__(Members members) mutable {
    members.enter(modulation, gradients.w, dfolded.w);
    members.enter_given(gradients.bias, dfolded.bias);
    return [=](long k) {
      const long o = k / (d.I + 1), i = k % (d.I + 1);
      if (i == d.I && !with_bias) return;
      const float* of = i < d.I ? dfolded.w + o * d.I + i : dfolded.bias + o;
      float sum = 0.0f;
#pragma unroll 8
      for (int b = 0; b < d.B; ++b) sum += (1.0f + modulation[b * d.modulation_apart + o]) * of[b * d.folded_apart];
      (i < d.I ? gradients.w[o * d.I + i] : gradients.bias[o]) += sum;
    };
  });
}

}  // namespace cafx::cuda
