#include <thrust/iterator/transform_iterator.h>
#include <cub/device/device_reduce.cuh>

#include "kernels/device/each_cuda.h"
#include "kernels/optimizer/optimizer.h"

namespace cafx::cuda {

namespace {

struct Square {
  __device__ double operator()(float x) const { return static_cast<double>(x) * static_cast<double>(x); }
};

}  // namespace

// Every tensor of the model in one launch: they lie in one block.
void adam_step(const Context& context, float* params, float* m, float* v, const float* grads, const float* decay_mask,
               long n, AdamStep s, float correction1, float correction2, const StepState* state) {
  for_each(context, n, [=] __device__(long i) {
    float lr = s.lr, scale = s.gradient_scale, c1 = correction1, c2 = correction2;
    if (state) {
      if (state->skip) return;
      lr = state->scalars.lr, c1 = state->scalars.correction1, c2 = state->scalars.correction2;
      scale = state->gradient_scale;
    }
    const float g = grads[i] * scale;
    const float m1 = s.beta1 * m[i] + (1.0f - s.beta1) * g, v1 = s.beta2 * v[i] + (1.0f - s.beta2) * g * g;
    const float p = params[i], decay = s.weight_decay * (decay_mask ? decay_mask[i] : 1.0f);
    m[i] = m1;
    v[i] = v1;
    params[i] = p - lr * ((m1 / c1) / (sqrtf(v1 / c2) + s.epsilon) + decay * p);
  });
}

// Two passes in a fixed order (CUB promises equal bits from run to run); the result stays on the device.
std::size_t squared_norm_scratch(const Context&, long n) {
  std::size_t bytes = 0;
  const auto squares = thrust::make_transform_iterator(static_cast<const float*>(nullptr), Square());
  CAFX_CUDA_CHECK(cub::DeviceReduce::Sum(nullptr, bytes, squares, static_cast<double*>(nullptr), n));
  return bytes;
}

void squared_norm(const Context& context, double* total, const float* x, long n, void* scratch, std::size_t bytes) {
  const auto squares = thrust::make_transform_iterator(x, Square());
  CAFX_CUDA_CHECK(cub::DeviceReduce::Sum(scratch, bytes, squares, total, n, stream_of(context)));
}

void reduce_slots(const Context& context, float* total, float* const* slots, int n_slots, long n) {
  // A GPU has one slot.
  CAFX_CHECK(n_slots == 1, n_slots);
  if (total != slots[0]) {
    CAFX_CUDA_CHECK(cudaMemcpyAsync(total, slots[0], sizeof(float) * n, cudaMemcpyDeviceToDevice, stream_of(context)));
  }
}

namespace {

__global__ void begin_kernel(StepState* state, const StepScalars* table, FrameRef* refs, const FrameRef* all,
                             const std::uint32_t* order, int B, int batch) {
  const int b = blockIdx.x * blockDim.x + threadIdx.x;
  if (b < B) refs[b] = all[order[state->index * batch + b]];
  if (b == 0) state->scalars = table[state->index];
}

__global__ void end_kernel(StepState* state, StepRecord* records, const double* losses, const double* squared_norm,
                           int B, int T, float clip_norm) {
  __shared__ double sums[kThreads];
  double sum = 0.0;
  for (int b = threadIdx.x; b < B; b += kThreads) sum += losses[b];
  sums[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x != 0) return;
  const double loss = sums[0] / (static_cast<double>(B) * T), norm = sqrt(*squared_norm);
  records[state->index] = {loss, norm};
  // Once a number is not finite nothing is changed any more: the weights before it are kept.
  if (!isfinite(loss) || !isfinite(norm)) state->skip = 1;
  state->gradient_scale = clip_norm > 0.0f && norm > clip_norm ? static_cast<float>(clip_norm / norm) : 1.0f;
  ++state->index;
}

}  // namespace

void step_begin(const Context& context, StepState* state, const StepScalars* table, FrameRef* refs, const FrameRef* all,
                const std::uint32_t* order, int B, int batch) {
  launch(context, begin_kernel, blocks_for(B), kThreads, 0, state, table, refs, all, order, B, batch);
}

void step_end(const Context& context, StepState* state, StepRecord* records, const double* losses,
              const double* squared_norm, int B, int T, float clip_norm) {
  launch(context, end_kernel, 1, kThreads, 0, state, records, losses, squared_norm, B, T, clip_norm);
}

}  // namespace cafx::cuda
