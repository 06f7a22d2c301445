#include <thrust/iterator/transform_iterator.h>
#include <cub/device/device_reduce.cuh>

#include <algorithm>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/device/memory.h"
#include "kernels/device/sums_cuda.h"
#include "kernels/optimizer/optimizer_math.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx::cuda {

namespace {

struct Square {
  __device__ double operator()(float x) const { return static_cast<double>(x) * static_cast<double>(x); }
};

}  // namespace

namespace {

// The step's scalars, from the host or from the device's state. False: skip the update.
struct Scalars {
  AdamStep step;
  float correction1, correction2;
  const StepState* state;
  __device__ bool load(Members members) {
    if (!state) return true;
    members.enter_given(state);
    step.lr = state->scalars.lr;
    step.beta1 = state->scalars.beta1;
    step.beta2 = state->scalars.beta2;
    step.epsilon = state->scalars.epsilon;
    step.weight_decay = state->scalars.weight_decay;
    step.gradient_scale = state->gradient_scale;
    correction1 = state->scalars.correction1;
    correction2 = state->scalars.correction2;
    return !state->skip;
  }
};

// LAMB's second pass, after the direction of every number: one block for a tensor, both norms in a fixed tree, in
// double.
__global__ void trust_kernel(Members members, float* trust, const float* params, const float* u,
                             const TensorSpan* tensors) {
  members.enter(trust, params, u, tensors);
  __shared__ double sums[2][kThreads];
  const TensorSpan span = tensors[blockIdx.x];
  double p = 0.0, d = 0.0;
  for (long i = threadIdx.x; i < span.size; i += kThreads) {
    const double a = params[span.offset + i], b = u[span.offset + i];
    p += a * a, d += b * b;
  }
  sums[0][threadIdx.x] = p, sums[1][threadIdx.x] = d;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      sums[0][threadIdx.x] += sums[0][threadIdx.x + half];
      sums[1][threadIdx.x] += sums[1][threadIdx.x + half];
    }
  }
  if (threadIdx.x != 0) return;
  trust[blockIdx.x] = sums[0][0] > 0.0 && sums[1][0] > 0.0 ? static_cast<float>(sqrt(sums[0][0] / sums[1][0])) : 1.0f;
}

__global__ void apply_kernel(Members members, float* params, const float* u, const float* trust,
                             const TensorSpan* tensors, Scalars s) {
  members.enter(params, u, trust, tensors);
  if (!s.load(members)) return;
  const TensorSpan span = tensors[blockIdx.y];
  const float rate = s.step.lr * trust[blockIdx.y];
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < span.size;
       i += static_cast<long>(gridDim.x) * blockDim.x) {
    params[span.offset + i] -= rate * u[span.offset + i];
  }
}

__global__ void sum_kernel(Members members, double* total, const double* losses, int n, bool add) {
  members.enter(total, losses);
  __shared__ double sums[kThreads];
  double sum = 0.0;
  for (int i = threadIdx.x; i < n; i += kThreads) sum += losses[i];
  sums[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *total = add ? *total + sums[0] : sums[0];
}

// Four numbers to a thread, which has them before the step's end is there; one after the other where they are the last
// ones, or where the arrays do not begin at multiples of 16 bytes. Blocks are small, so that those of `paper` are one
// wave on 132 multiprocessors, and those of `default` three to each.
constexpr int kAdamThreads = 96;
__global__ void __launch_bounds__(kAdamThreads, 12)
    adam_kernel(Members members, float* params, float* m, float* v, const float* grads, const float* decay_mask, long n,
                bool aligned, Scalars s) {
  members.enter(params, m, v, grads);
  members.enter_given(decay_mask);
  const auto update = [&](float& p, float& m_of, float& v_of, float g, float mask) {
    p -= s.step.lr * adam_direction(m_of, v_of, p, g, mask, s.step, s.correction1, s.correction2);
  };
  const long first = (static_cast<long>(blockIdx.x) * kAdamThreads + threadIdx.x) * 4;
  if (!aligned || first + 4 > n) {
    wait_for_kernel_before();
    if (!s.load(members)) return;
    const long last = min(n, first + 4);
    for (long i = first; i < last; ++i) update(params[i], m[i], v[i], grads[i], decay_mask ? decay_mask[i] : 1.0f);
    return;
  }
  const auto load = [&](const float* x) { return *reinterpret_cast<const float4*>(x + first); };
  const auto store = [&](float* x, float4 numbers) { *reinterpret_cast<float4*>(x + first) = numbers; };
  float4 p = load(params), m4 = load(m), v4 = load(v), mask = {1.0f, 1.0f, 1.0f, 1.0f};
  if (decay_mask) mask = load(decay_mask);
  wait_for_kernel_before();
  const float4 g = load(grads);
  if (!s.load(members)) return;
#pragma unroll
  for (int i = 0; i < 4; ++i) update((&p.x)[i], (&m4.x)[i], (&v4.x)[i], (&g.x)[i], (&mask.x)[i]);
  store(params, p), store(m, m4), store(v, v4);
}

}  // namespace

// Every tensor of the model in one launch: they are one block.
void adam_step(const Context& context, float* params, float* m, float* v, const float* grads, const float* decay_mask,
               long n, AdamStep step, float correction1, float correction2, const StepState* state) {
  if (n == 0) return;
  bool aligned = true;
  for (const float* p : {static_cast<const float*>(params), static_cast<const float*>(m), static_cast<const float*>(v),
                         grads, decay_mask}) {
    aligned = aligned && reinterpret_cast<std::uintptr_t>(p) % sizeof(float4) == 0;
  }
  launch_early(context, adam_kernel, blocks_for(ceil_div(n, 4), kAdamThreads), kAdamThreads, 0, params, m, v, grads,
               decay_mask, n, aligned, Scalars{step, correction1, correction2, state});
  context.cuda->after_early = false;  // it writes weights, which the next one would read before it waits
}

void lamb_step(const Context& context, float* params, float* m, float* v, const float* grads, const float* decay_mask,
               const TensorSpan* tensors, int n_tensors, long n, void* scratch, AdamStep step, float correction1,
               float correction2, const StepState* state) {
  float* u = static_cast<float*>(scratch);  // (n)
  float* trust = u + (n + 63) / 64 * 64;    // (n_tensors)
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(u, m, v, params, grads);
    members.enter_given(decay_mask);
    return [=](long i) {
      Scalars s{step, correction1, correction2, state};
      u[i] = s.load(members) ? adam_direction(m[i], v[i], params[i], grads[i], decay_mask ? decay_mask[i] : 1.0f,
                                              s.step, s.correction1, s.correction2)
                             : 0.0f;
    };
  });
  launch(context, trust_kernel, n_tensors, kThreads, 0, trust, params, u, tensors);
  launch(context, apply_kernel, dim3(64, n_tensors), kThreads, 0, params, u, trust, tensors,
         Scalars{step, correction1, correction2, state});
}

void average_step(const Context& context, float* average, const float* params, long n, float rate,
                  const StepState* state) {
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(average, params);
    members.enter_given(state);
    return [=](long i) {
      if (state && state->skip) return;
      const float a = average[i];
      average[i] = a + (state ? state->scalars.average : rate) * (params[i] - a);
    };
  });
}

void sum_losses(const Context& context, double* total, const double* losses, int n, bool add) {
  launch(context, sum_kernel, 1, kThreads, 0, total, losses, n, add);
}

// Two passes in a fixed order (CUB promises equal bits from run to run); the result stays on the device.
std::size_t squared_norm_scratch(const Context&, long n) {
  std::size_t bytes = 0;
  const auto squares = thrust::make_transform_iterator(static_cast<const float*>(nullptr), Square());
  CAFX_CUDA_CHECK(cub::DeviceReduce::Sum(nullptr, bytes, squares, static_cast<double*>(nullptr), n));
  return bytes;
}

void squared_norm(const Context& context, double* total, const float* x, long n, void* scratch, std::size_t bytes) {
  for_each_member(context, [&](const auto& of) {
    const auto squares = thrust::make_transform_iterator(of(x), Square());
    CAFX_CUDA_CHECK(cub::DeviceReduce::Sum(of(scratch), bytes, squares, of(total), n, stream_of(context)));
  });
}

void reduce_slots(const Context& context, float* total, float* const* slots, int n_slots, long n) {
  // A GPU has one slot.
  CAFX_CHECK(n_slots == 1, n_slots);
  if (total != slots[0]) {
    copy(context, total, slots[0], sizeof(float) * static_cast<std::size_t>(n));
  }
}

namespace {

__device__ FrameRef moved(const FrameRef& r, std::int64_t by) { return {r.start + by, r.begin + by, r.end + by}; }

// The places of step `index`, if the epoch has it, by the threads of a block.
__device__ void take_places(StepState* state, FrameRef* refs, FrameRef* target_refs, std::int64_t index) {
  const StepSources& from = state->from;
  const int update = static_cast<int>(index), step = from.updates > 1 ? update / from.updates : update,
            n = min(from.batch, from.places - step * from.batch);
  const auto first_of = [&](int rank) { return from.ranks > 1 ? rank * n / from.ranks : rank * n; };
  const int first = first_of(from.rank), B = first_of(from.rank + 1) - first;
  const std::uint32_t* order = from.order + index * from.batch + first;
  for (int b = threadIdx.x; b < B; b += blockDim.x) {
    const FrameRef ref = from.all[order[b]];
    refs[b] = moved(ref, from.to_input);
    target_refs[b] = moved(ref, from.to_target);
  }
  if (threadIdx.x == 0) state->dropout = {from.seed, from.updates_before + static_cast<std::uint64_t>(index) + 1};
}

__global__ void begin_kernel(Members members, StepState* state, FrameRef* refs, FrameRef* target_refs) {
  members.enter(state, refs, target_refs);
  take_places(state, refs, target_refs, state->index);
}

// The sum of all threads' values, in a fixed tree; for thread 0.
__device__ double tree_sum(double value, double* sums) {
  sums[threadIdx.x] = value;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] = value += sums[threadIdx.x + half];
  }
  __syncthreads();
  return value;
}

// The numbers of a gradient that no sum writes, as ranges in their order.
struct RestOfGradient {
  static constexpr int kMost = PartialSums::kMost * PartialSums::kPieces + 1;
  IndexRange ranges[kMost];
  int n = 0;
  long size = 0;
  RestOfGradient(const float* gradient, long n_floats, const PartialSums& sums) {
    std::vector<IndexRange> written;
    for (int i = 0; i < sums.n; ++i) {
      const PartialSums::Sum& s = sums.sums[i];
      for (int k = 0; k < s.n_pieces; ++k) {
        const long first = s.pieces[k].out - gradient, last = k + 1 < s.n_pieces ? s.pieces[k + 1].first : s.n;
        written.push_back({first, first + last - s.pieces[k].first});
        CAFX_CHECK(first >= 0 && written.back().last <= n_floats, first, n_floats);
      }
    }
    std::sort(written.begin(), written.end(), [](IndexRange a, IndexRange b) { return a.first < b.first; });
    written.push_back({n_floats, n_floats});
    long at = 0;
    for (const IndexRange& w : written) {
      CAFX_CHECK(w.first >= at, w.first, at);
      if (w.first > at) ranges[n++] = {at, w.first}, size += w.first - at;
      at = w.last;
    }
  }
};

// Which block has which numbers does not hang on how many members there are, nor then does the norm's last bit.
// The first blocks add up parts of the gradient, the next ones the squares of the rest, the grid's last one takes the
// next step's places. The block that comes last, whichever it is, adds up the blocks' sums of squares in their order
// and ends the step.
__global__ void __launch_bounds__(kThreads, 4)
    end_kernel(Members members, StepState* state, FrameRef* refs, FrameRef* target_refs, const double* losses,
               int n_losses, const float* gradient, const __grid_constant__ RestOfGradient rest,
               const __grid_constant__ SumBlocks of_parts, double* partial, int B, int T) {
  members.enter(state, refs, target_refs, losses, gradient, partial);
  let_next_kernel_begin();
  wait_for_kernel_before();
  __shared__ double memory[4][kThreads];
  double* sums = memory[0];
  __shared__ bool last;
  const unsigned n_sums = gridDim.x - 1;
  double sum = 0.0;
  if (blockIdx.x == n_sums) {
    take_places(state, refs, target_refs, state->index + 1);
    __syncthreads();
  } else {
    if (blockIdx.x < of_parts.blocks) {
      of_parts.add(members, blockIdx.x, memory,
                   [&](float g) { sum += static_cast<double>(g) * static_cast<double>(g); });
      if (threadIdx.x < 32) {  // no other thread has a number
#pragma unroll
        for (int by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, by);
      }
    } else {
      const long first = static_cast<long>(blockIdx.x - of_parts.blocks) * kThreads + threadIdx.x,
                 step = (n_sums - of_parts.blocks) * kThreads;
      const auto add = [&](float g) { sum += static_cast<double>(g) * static_cast<double>(g); };
      const long before = static_cast<long>(reinterpret_cast<std::uintptr_t>(gradient) / sizeof(float) % 4);
      for (int k = 0; k < rest.n; ++k) {
        // Four at a time from the first whole one to the last; those around them by the first threads.
        const IndexRange r = rest.ranges[k];
        const long from = min(r.last, r.first + (4 - (before + r.first) % 4) % 4), to = from + (r.last - from) / 4 * 4;
        const auto* fours = reinterpret_cast<const float4*>(gradient + from);
#pragma unroll 4
        for (long i = first; i < (to - from) / 4; i += step) {
          const float4 g = fours[i];
          add(g.x), add(g.y), add(g.z), add(g.w);
        }
        if (first < from - r.first) add(gradient[r.first + first]);
        if (first < r.last - to) add(gradient[to + first]);
      }
      sum = tree_sum(sum, sums);
    }
  }
  if (threadIdx.x == 0) {
    if (blockIdx.x < n_sums) partial[blockIdx.x] = sum;
    __threadfence();
    last = atomicInc(&state->arrived, gridDim.x - 1) == gridDim.x - 1;  // back to 0 with the last
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  sum = 0.0;
#pragma unroll 4
  for (unsigned i = threadIdx.x; i < n_sums; i += kThreads) sum += __ldcg(partial + i);
  const double squared_norm = tree_sum(sum, sums);
  sum = 0.0;
  for (int i = threadIdx.x; i < n_losses; i += kThreads) sum += losses[i];
  sum = tree_sum(sum, sums);
  if (threadIdx.x != 0) return;
  const double loss = sum / (static_cast<double>(B) * T), norm = sqrt(squared_norm);
  state->from.records[state->index] = {loss, norm};
  // After a number that is not finite, nothing is updated any more: the last good weights stay.
  if (!isfinite(loss) || !isfinite(norm)) state->skip = 1;
  const StepScalars scalars = state->from.table[state->index];
  state->scalars = scalars;
  const float clip_norm = scalars.clip_norm;
  state->gradient_scale = clip_norm > 0.0f && norm > clip_norm ? static_cast<float>(clip_norm / norm) : 1.0f;
  ++state->index;
}

}  // namespace

void step_begin(const Context& context, StepState* state, FrameRef* refs, FrameRef* target_refs) {
  launch(context, begin_kernel, 1, kThreads, 0, state, refs, target_refs);
}

void step_rows(const Context& context, const StepState* state, float* rows, int width, int first, int B, int batch) {
  for_each(context, static_cast<long>(B) * width, [=] __device__(Members members) mutable {
    members.enter(rows, state);
    return [=](long at) {
      const StepSources& from = state->from;
      const std::uint32_t place = from.order[state->index * batch + first + at / width];
      rows[at] = from.rows_of_all[static_cast<long>(place) * width + at % width];
    };
  });
}

void step_end(const Context& context, StepState* state, FrameRef* refs, FrameRef* target_refs, const double* losses,
              int n_losses, float* gradient, long n, PartialSums& sums, double* partial, int B, int T) {
  if (SumBlocks(context, sums, true).blocks > static_cast<unsigned>(kStepEndSumBlocks)) add_left_parts(context, sums);
  const RestOfGradient rest(gradient, n, sums);
  const SumBlocks of_parts(context, sums, true);
  const long blocks = std::min<long>(kStepEndBlocks, ceil_div(rest.size, 8 * kThreads));
  launch_early(context, end_kernel, of_parts.blocks + static_cast<unsigned>(blocks) + 1, kThreads, 0, state, refs,
               target_refs, losses, n_losses, gradient, rest, of_parts, partial, B, T);
  sums.n = 0;
}

}  // namespace cafx::cuda
