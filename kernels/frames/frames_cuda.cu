#include "kernels/device/each_cuda.h"
#include "kernels/frames/frames.h"

namespace cafx::cuda {

void gather_frames(const Context& context, float* x_padded, const float* audio, const FrameRef* refs, GatherDims d) {
  const long width = d.T + d.K - 1;
  for_each(context, d.B * width, [=] __device__(long i) {
    const long b = i / width, t = i - b * width - d.left;
    const FrameRef ref = refs[b];
    const std::int64_t at = ref.start + t;
    x_padded[i] = t >= 0 && t < d.T && at >= ref.begin && at < ref.end ? audio[at] : 0.0f;
  });
}

void pad_frames(const Context& context, float* x_padded, const float* x, GatherDims d) {
  const long width = d.T + d.K - 1;
  for_each(context, d.B * width, [=] __device__(long i) {
    const long b = i / width, t = i - b * width - d.left;
    x_padded[i] = t >= 0 && t < d.T ? x[b * d.T + t] : 0.0f;
  });
}

// Each sample gathers the frames that cover it, in their order: no two threads write to one place.
void overlap_add(const Context& context, double* sum, double* weight, const float* frames, const float* window,
                 OverlapAddDims d) {
  for_each(context, overlap_add_samples(d), [=] __device__(long i) {
    long low = i - d.T < 0 ? 0 : (i - d.T) / d.hop + 1, high = i / d.hop;
    high = high < d.B - 1 ? high : d.B - 1;
    double total = sum[i], w_total = weight[i];
    for (long b = low; b <= high; ++b) {
      const long t = i - b * d.hop;
      const double w = window[t];
      total += w * frames[b * d.T + t];
      w_total += w;
    }
    sum[i] = total;
    weight[i] = w_total;
  });
}

}  // namespace cafx::cuda
