// kernels/device/grid_cuda.h -- how many blocks a kernel is given.
#pragma once

#include <algorithm>

#include "kernels/device/cuda.h"

namespace cafx::cuda {

// Multiprocessors for each of the members that work is enqueued for. More blocks than fill them only load the same
// weights again. For kernels whose results are the same for any number of blocks: a member has the bits that it has
// alone.
inline int multiprocessors_each(const Context& context) {
  return std::max(1, context.cuda->n_sm / static_cast<int>(context.cuda->n_members));
}

}  // namespace cafx::cuda
