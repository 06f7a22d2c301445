#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/device/dispatch.h"
#include "kernels/device/memory.h"
#include "kernels/optimizer/optimizer_math.h"

namespace cafx {

CAFX_BACKENDS(void, adam_block,
              (float* params, float* m, float* v, const float* grads, const float* decay_mask, long n, AdamStep step,
               float correction1, float correction2));
CAFX_BACKENDS(void, average_block, (float* average, const float* params, long n, float rate));
CAFX_BACKENDS(double, squared_norm_block, (const float* x, long n));
CAFX_BACKENDS(void, reduce_block, (float* total, float* const* slots, int n_slots, long at, long n));

CAFX_CUDA(void, adam_step,
          (const Context&, float* params, float* m, float* v, const float* grads, const float* decay_mask, long n,
           AdamStep step, float correction1, float correction2, const StepState* state));
CAFX_CUDA(void, lamb_step,
          (const Context&, float* params, float* m, float* v, const float* grads, const float* decay_mask,
           const TensorSpan* tensors, int n_tensors, long n, void* scratch, AdamStep step, float correction1,
           float correction2, const StepState* state));
CAFX_CUDA(void, average_step,
          (const Context&, float* average, const float* params, long n, float rate, const StepState* state));
CAFX_CUDA(void, sum_losses, (const Context&, double* total, const double* losses, int n, bool add));
CAFX_CUDA(std::size_t, squared_norm_scratch, (const Context&, long n));
CAFX_CUDA(void, squared_norm,
          (const Context&, double* total, const float* x, long n, void* scratch, std::size_t bytes));
CAFX_CUDA(void, reduce_slots, (const Context&, float* total, float* const* slots, int n_slots, long n));
CAFX_CUDA(void, step_begin, (const Context&, StepState* state, FrameRef* refs, FrameRef* target_refs));
CAFX_CUDA(void, step_rows,
          (const Context&, const StepState* state, float* rows, int width, int first, int B, int batch));
CAFX_CUDA(void, step_end,
          (const Context&, StepState* state, FrameRef* refs, FrameRef* target_refs, const double* losses, int n_losses,
           float* gradient, long n, PartialSums& sums, double* partial, int B, int T));

constexpr long kBlock = 4096;

// body(first, count) for each block of [0, n), in parallel.
template <class Body>
static void over_blocks(const Context& context, long n, const Body& body) {
  const int n_blocks = static_cast<int>((n + kBlock - 1) / kBlock);
  over_tasks(context, n_blocks,
             [&](const Context& inner, int i) { body(inner, i * kBlock, std::min(kBlock, n - i * kBlock)); });
}

void adam_step(const Context& context, float* params, float* m, float* v, const float* grads, const float* decay_mask,
               long n, AdamStep step) {
  CAFX_CHECK(n >= 0 && step.step >= 1, n, step.step);
  const double t = static_cast<double>(step.step);
  const auto correction1 = static_cast<float>(1.0 - std::pow(static_cast<double>(step.beta1), t));
  const auto correction2 = static_cast<float>(1.0 - std::pow(static_cast<double>(step.beta2), t));
  CAFX_CUDA_CALL(context, adam_step, params, m, v, grads, decay_mask, n, step, correction1, correction2, nullptr);
  over_blocks(context, n, [&](const Context& inner, long at, long count) {
    CAFX_CALL(inner, adam_block, params + at, m + at, v + at, grads + at, decay_mask ? decay_mask + at : nullptr, count,
              step, correction1, correction2);
  });
}

std::size_t lamb_scratch(long n, int n_tensors) {
  CAFX_CHECK(n >= 0 && n_tensors >= 1, n, n_tensors);
  return sizeof(float) * static_cast<std::size_t>((n + 63) / 64 * 64) +
         sizeof(float) * static_cast<std::size_t>(n_tensors);
}

void lamb_step(const Context& context, float* params, float* m, float* v, const float* grads, const float* decay_mask,
               const TensorSpan* tensors, int n_tensors, long n, void* scratch, AdamStep step) {
  CAFX_CHECK(n >= 0 && n_tensors >= 1 && step.step >= 1, n, n_tensors, step.step);
  const double t = static_cast<double>(step.step);
  const auto correction1 = static_cast<float>(1.0 - std::pow(static_cast<double>(step.beta1), t));
  const auto correction2 = static_cast<float>(1.0 - std::pow(static_cast<double>(step.beta2), t));
  CAFX_CUDA_CALL(context, lamb_step, params, m, v, grads, decay_mask, tensors, n_tensors, n, scratch, step, correction1,
                 correction2, nullptr);
  over_tasks(context, n_tensors, [&](const Context&, int tensor) {
    const TensorSpan span = tensors[tensor];
    float* u = static_cast<float*>(scratch) + span.offset;
    double p_norm = 0.0, u_norm = 0.0;
    for (long i = 0; i < span.size; ++i) {
      const long at = span.offset + i;
      u[i] = adam_direction(m[at], v[at], params[at], grads[at], decay_mask ? decay_mask[at] : 1.0f, step, correction1,
                            correction2);
      p_norm += static_cast<double>(params[at]) * static_cast<double>(params[at]);
      u_norm += static_cast<double>(u[i]) * static_cast<double>(u[i]);
    }
    const double trust = p_norm > 0.0 && u_norm > 0.0 ? std::sqrt(p_norm / u_norm) : 1.0;
    const auto rate = static_cast<float>(step.lr * trust);
    for (long i = 0; i < span.size; ++i) params[span.offset + i] -= rate * u[i];
  });
}

float average_rate(int horizon, long step) {
  CAFX_CHECK(horizon >= 1 && step >= 1, horizon, step);
  return static_cast<float>(std::max(1.0 / horizon, 9.0 / (10.0 + static_cast<double>(step))));
}

void average_step(const Context& context, float* average, const float* params, long n, float rate) {
  CAFX_CHECK(n >= 0, n);
  CAFX_CUDA_CALL(context, average_step, average, params, n, rate, nullptr);
  over_blocks(context, n, [&](const Context& inner, long at, long count) {
    CAFX_CALL(inner, average_block, average + at, params + at, count, rate);
  });
}

double squared_norm(const Context& context, const float* x, long n) {
  CAFX_CHECK(n >= 0, n);
  if (context.device == Device::kCuda) {
    const std::size_t bytes = squared_norm_scratch(context, n);
    DeviceArray<unsigned char> scratch(context, bytes);
    DeviceArray<double> total(context, 1);
    squared_norm(context, total.data(), x, n, scratch.data(), bytes);
    double norm = 0.0;
    total.download(&norm, 1);
    return norm;
  }
  std::vector<double> sums(static_cast<std::size_t>((n + kBlock - 1) / kBlock));
  over_blocks(context, n, [&](const Context& inner, long at, long count) {
    sums[static_cast<std::size_t>(at / kBlock)] = CAFX_CALL(inner, squared_norm_block, x + at, count);
  });
  double total = 0.0;
  for (const double s : sums) total += s;
  return total;
}

void reduce_slots(const Context& context, float* total, float* const* slots, int n_slots, long n) {
  CAFX_CHECK(n >= 0 && n_slots >= 1 && n_slots <= kGradientSlots, n, n_slots);
  CAFX_CUDA_CALL(context, reduce_slots, total, slots, n_slots, n);
  over_blocks(context, n, [&](const Context& inner, long at, long count) {
    CAFX_CALL(inner, reduce_block, total, slots, n_slots, at, count);
  });
}

static void only_on_cuda(const Context& context) { CAFX_CHECK(context.device == Device::kCuda); }

void adam_step(const Context& context, float* params, float* m, float* v, const float* grads, const float* decay_mask,
               long n, const StepState* state) {
  only_on_cuda(context);
  CAFX_CUDA_CALL(context, adam_step, params, m, v, grads, decay_mask, n, AdamStep(), 1.0f, 1.0f, state);
}
void lamb_step(const Context& context, float* params, float* m, float* v, const float* grads, const float* decay_mask,
               const TensorSpan* tensors, int n_tensors, long n, void* scratch, const StepState* state) {
  only_on_cuda(context);
  CAFX_CUDA_CALL(context, lamb_step, params, m, v, grads, decay_mask, tensors, n_tensors, n, scratch, AdamStep(), 1.0f,
                 1.0f, state);
}
void average_step(const Context& context, float* average, const float* params, long n, const StepState* state) {
  only_on_cuda(context);
  CAFX_CUDA_CALL(context, average_step, average, params, n, 0.0f, state);
}
void sum_losses(const Context& context, double* total, const double* losses, int n, bool add) {
  only_on_cuda(context);
  CAFX_CUDA_CALL(context, sum_losses, total, losses, n, add);
}
std::size_t squared_norm_scratch(const Context& context, long n) {
  only_on_cuda(context);
  CAFX_CUDA_CALL(context, squared_norm_scratch, n);
  return 0;
}
void squared_norm(const Context& context, double* total, const float* x, long n, void* scratch, std::size_t bytes) {
  only_on_cuda(context);
  CAFX_CUDA_CALL(context, squared_norm, total, x, n, scratch, bytes);
}
void step_begin(const Context& context, StepState* state, FrameRef* refs, FrameRef* target_refs) {
  only_on_cuda(context);
  CAFX_CUDA_CALL(context, step_begin, state, refs, target_refs);
}
void step_rows(const Context& context, const StepState* state, float* rows, int width, int first, int B, int batch) {
  only_on_cuda(context);
  CAFX_CUDA_CALL(context, step_rows, state, rows, width, first, B, batch);
}
std::size_t step_end_scratch() { return sizeof(double) * (kStepEndBlocks + kStepEndSumBlocks); }
void step_end(const Context& context, StepState* state, FrameRef* refs, FrameRef* target_refs, const double* losses,
              int n_losses, float* gradient, long n, PartialSums& sums, void* scratch, int B, int T) {
  only_on_cuda(context);
  CAFX_CHECK(n_losses >= 1 && n >= 1 && B >= 1 && T >= 1, n_losses, n, B, T);
  CAFX_CUDA_CALL(context, step_end, state, refs, target_refs, losses, n_losses, gradient, n, sums,
                 static_cast<double*>(scratch), B, T);
}

}  // namespace cafx
