#include "kernels/device/memory.h"
#include "kernels/device/sums_cuda.h"

namespace cafx::cuda {

namespace {

__global__ void __launch_bounds__(kThreads) add_left_kernel(Members members, const __grid_constant__ SumBlocks sums) {
  __shared__ double memory[4][kThreads];
  sums.add(members, blockIdx.x, memory, [](float) {});
}

}  // namespace

// Of more parts than these, in bytes, the sum is worth a launch of its own: it then runs beside the kernels that come
// next, where at the step's end it would be waited for. Of one member, however many there are: which numbers step_end
// adds up by itself decides in what order it adds their squares.
constexpr std::size_t kFewBytes = 2ul << 20;

void add_parts(const Context& context, const PartialSums::Sum& sum) {
  const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(sum.parts * sum.n);
  if (context.sums && bytes <= kFewBytes && context.sums->take(sum)) return;
  PartialSums one;
  one.take(sum);
  aside(context, [&] { add_left_parts(context, one); });
}

void add_left_parts(const Context& context, PartialSums& sums) {
  const SumBlocks blocks(context, sums, false);
  launch(context, add_left_kernel, blocks.blocks, kThreads, 0, blocks);
  sums.n = 0;
}

}  // namespace cafx::cuda
