#include <cub/device/device_radix_sort.cuh>

#include "kernels/device/each_cuda.h"
#include "kernels/frames/frames.h"

namespace cafx::cuda {

namespace {

// Keys and indices, unsorted and sorted, and the scratch of CUB's sort, which is stable, like the host's.
struct ShuffleScratch {
  std::uint64_t *keys, *sorted;
  std::uint32_t* indices;
  void* sort;
  std::size_t sort_bytes = 0, bytes;
  ShuffleScratch(std::uint32_t n, void* base) {
    const std::size_t n32 = (static_cast<std::size_t>(n) + 31) / 32 * 32;
    keys = static_cast<std::uint64_t*>(base);
    sorted = keys + n32;
    indices = reinterpret_cast<std::uint32_t*>(sorted + n32);
    sort = indices + n32;
    CAFX_CUDA_CHECK(cub::DeviceRadixSort::SortPairs(nullptr, sort_bytes, keys, sorted, indices, indices, n));
    bytes = n32 * (2 * sizeof(std::uint64_t) + sizeof(std::uint32_t)) + sort_bytes;
  }
};

}  // namespace

std::size_t shuffle_scratch(const Context&, std::uint32_t n) { return ShuffleScratch(n, nullptr).bytes; }

void shuffle(const Context& context, std::uint32_t* order, std::uint32_t n, Rng rng, void* scratch) {
  ShuffleScratch s(n, scratch);
  std::uint64_t* keys = s.keys;
  std::uint32_t* indices = s.indices;
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(keys, indices);
    return [=](long i) {
      keys[i] = rng.bits64(static_cast<std::uint64_t>(i));
      indices[i] = static_cast<std::uint32_t>(i);
    };
  });
  for_each_member(context, [&](const auto& of) {
    CAFX_CUDA_CHECK(cub::DeviceRadixSort::SortPairs(of(s.sort), s.sort_bytes, of(s.keys), of(s.sorted), of(s.indices),
                                                    of(order), n, 0, 64, stream_of(context)));
  });
}

void gather_frames(const Context& context, float* x_padded, const float* audio, const FrameRef* refs, GatherDims d) {
  const long width = d.T + d.K - 1;
  for_each(context, d.B * width, [=] __device__(Members members) mutable {
    members.enter(refs, x_padded);
    return [=](long i) {  // the recordings are shared
      const long b = i / width, t = i - b * width - d.left;
      const FrameRef ref = refs[b];
      const std::int64_t at = ref.start + d.offset + t;
      x_padded[i] = t >= 0 && t < d.T && at >= ref.begin && at < ref.end ? audio[at] : 0.0f;
    };
  });
}

void pad_frames(const Context& context, float* x_padded, const float* x, GatherDims d) {
  const long width = d.T + d.K - 1, row = d.row > 0 ? d.row : d.T;
  for_each(context, d.B * width, [=] __device__(Members members) mutable {
    members.enter(x_padded, x);
    return [=](long i) {
      const long b = i / width, t = i - b * width - d.left;
      x_padded[i] = t >= 0 && t < d.T ? x[b * row + d.offset + t] : 0.0f;
    };
  });
}

// Each sample gathers the frames that cover it, in order: no two threads write to the same place.
void overlap_add(const Context& context, double* sum, double* weight, const float* frames, const float* window,
                 OverlapAddDims d) {
  for_each(context, overlap_add_samples(d), [=] __device__(Members members) mutable {
    members.enter(sum, weight, window, frames);
    return [=](long i) {
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
    };
  });
}

}  // namespace cafx::cuda
