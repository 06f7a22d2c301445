// kernels/optimizer/optimizer.h -- Adam and AdamW over one flat block, gradient norm and clipping.
//
//   m = b1 m + (1-b1) g     v = b2 v + (1-b2) g^2     p -= lr ( (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps) + decay p )
//   with g = gradient x gradient_scale.
//
//   LAMB: with u the bracket above, of one tensor:   p -= lr |p| / |u| u      (factor 1 where one of the norms is 0)
//
//   Average of the weights over the updates: average += rate (p - average), rate of update t: max(1/h, 9 / (10 + t)).
//
// Source   Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101 (decoupled decay);
//          You et al. 2020, arXiv:1904.00962 (LAMB, without bounds on the norms);
//          Polyak & Juditsky 1992, doi:10.1137/0330046 (averages); the rate of the first updates, which lets go of
//          where training began, is that of TensorFlow's ExponentialMovingAverage(1 - 1/h, num_updates=t).
// Shapes   params, grads, m, v, average: n floats each. decay_mask (n) scales weight_decay per number; null: 1
//          everywhere.
// Errors   n >= 0, step >= 1, horizon >= 1: CheckError.
// Bits     element-wise: the same for any number of threads. squared_norm sums blocks of 4096 in order, in double.
#pragma once

#include "kernels/device/sums.h"
#include "kernels/optimizer/step_state.h"

namespace cafx {

struct AdamStep {
  float lr = 1e-4f, beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f, weight_decay = 0.0f;
  float gradient_scale = 1.0f;  // below 1 where the norm is clipped
  long step = 1;                // t, from 1
};

void adam_step(const Context&, float* params, float* m, float* v, const float* grads, const float* decay_mask, long n,
               AdamStep);
// Offsets of the tensors in the flat block; the array is in the context's memory.
struct TensorSpan {
  long offset, size;
};
std::size_t lamb_scratch(long n, int n_tensors);  // bytes
void lamb_step(const Context&, float* params, float* m, float* v, const float* grads, const float* decay_mask,
               const TensorSpan* tensors, int n_tensors, long n, void* scratch, AdamStep);
// The rate of update `step`, from 1, with a horizon of h updates.
float average_rate(int horizon, long step);
void average_step(const Context&, float* average, const float* params, long n, float rate);
double squared_norm(const Context&, const float* x, long n);  // waits for the device
// GPU only: the same without the host, for a step that is one CUDA graph (step_state.h).
void adam_step(const Context&, float* params, float* m, float* v, const float* grads, const float* decay_mask, long n,
               const StepState* state);
void lamb_step(const Context&, float* params, float* m, float* v, const float* grads, const float* decay_mask,
               const TensorSpan* tensors, int n_tensors, long n, void* scratch, const StepState* state);
void average_step(const Context&, float* average, const float* params, long n, const StepState* state);
// total (=, or += on request) sum of n values: the losses of the parts of a step.
void sum_losses(const Context&, double* total, const double* losses, int n, bool add);
std::size_t squared_norm_scratch(const Context&, long n);  // bytes
void squared_norm(const Context&, double* total, const float* x, long n, void* scratch, std::size_t scratch_bytes);
// refs, target_refs: room for a step's places.
void step_begin(const Context&, StepState*, FrameRef* refs, FrameRef* target_refs);
void step_rows(const Context&, const StepState*, float* rows, int width, int first, int B, int batch);
// losses: of the step's frames, or n_losses sums over parts of them; of a step of B frames of T samples. refs,
// target_refs: for the next step's places. sums: what is left to add to the gradient; then there are none.
void step_end(const Context&, StepState*, FrameRef* refs, FrameRef* target_refs, const double* losses, int n_losses,
              float* gradient, long n, PartialSums& sums, void* scratch, int B, int T);
std::size_t step_end_scratch();  // bytes

void reduce_slots(const Context&, float* total, float* const* slots, int n_slots, long n);

}  // namespace cafx
