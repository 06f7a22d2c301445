// kernels/conv1d/filter_parts_cuda.h -- partial sums of the filters' gradient, (slices,C,K), in the GPU's workspace.
//
//   In line with what comes before (Context::aside is false), an op runs beside an earlier one that is aside: each has
//   half of the workspace, one behind the other, and only its sum, which may be added to the same gradient, waits for
//   that.
#pragma once

#include "kernels/conv1d/conv1d.h"
#include "kernels/device/each_cuda.h"
#include "kernels/device/memory.h"
#include "kernels/device/sums.h"

namespace cafx {

inline long floats_of_filters(Conv1dDims d) { return static_cast<long>(d.C) * d.K; }

inline long most_filter_slices(const Context& context, Conv1dDims d) {
  return static_cast<long>(context.cuda->workspace_bytes / sizeof(float)) / (2 * floats_of_filters(d));
}

inline float* filter_parts(const Context& context, int slices, Conv1dDims d) {
  const long n = slices * floats_of_filters(d);
  return static_cast<float*>(shared_scratch(context, 2 * sizeof(float) * static_cast<std::size_t>(n))) +
         (context.aside ? 0 : n);
}

// dw += their sum over the slices, or, where `later`, what Context::sums takes.
inline void add_filter_parts(const Context& context, float* dw, const float* parts, int slices, Conv1dDims d,
                             bool later) {
  if (later && context.sums && context.sums->take({parts, slices, floats_of_filters(d), {{0, dw}}, 1})) return;
  if (!context.aside) join(context);
  add_slices(context, dw, parts, slices, floats_of_filters(d));
}

}  // namespace cafx
