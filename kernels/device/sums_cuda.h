// kernels/device/sums_cuda.h -- the blocks that add up what PartialSums names, for kernels of their own and step_end.
#pragma once

#include "kernels/device/each_cuda.h"
#include "kernels/device/sums.h"

namespace cafx {

// PartialSums as kernels take them: blocks [first_block, first_block of the next) of the grid have a sum.
struct SumBlocks {
  struct Sum : PartialSums::Sum {
    PartsCut cut;
    unsigned first_block;
  };
  Sum sums[PartialSums::kMost];
  int n = 0;
  unsigned blocks = 0;
  // same_for_any: blocks have the same numbers however many members there are.
  SumBlocks(const Context& context, const PartialSums& from, bool same_for_any) : n(from.n) {
    for (int i = 0; i < n; ++i) {
      const PartialSums::Sum& s = from.sums[i];
      const PartsCut cut(context, s.partial, s.parts, s.n, same_for_any ? 0 : context.cuda->n_members);
      sums[i] = {s, cut, blocks};
      blocks += cut.blocks;
    }
  }

  // The numbers of block `block`, which the gradients hold then; added(number) for each, by the threads that have one.
  template <class F>
  __device__ void add(Members members, unsigned block, double (*memory)[kThreads], F added) const {
    int which = 0;
    for (int i = 1; i < n; ++i) which = block >= sums[i].first_block ? i : which;
    const Sum& s = sums[which];
    const auto put = [&](long i, double sum) {
      int piece = 0;
      for (int k = 1; k < s.n_pieces; ++k) piece = i >= s.pieces[k].first ? k : piece;
      float& out = members.of(s.pieces[piece].out)[i - s.pieces[piece].first];
      const float total = out + static_cast<float>(sum);
      out = total;
      added(total);
    };
    const float* partial = members.of(s.partial);
    if (s.cut.wide == 4) {
      sum_of_parts<4>(partial, s.parts, s.n, s.cut.across, block - s.first_block, memory, put);
    } else {
      sum_of_parts<1>(partial, s.parts, s.n, s.cut.across, block - s.first_block, memory, put);
    }
  }
};

}  // namespace cafx
