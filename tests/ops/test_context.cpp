#include "kernels/device/context.h"

#include <atomic>
#include <mutex>
#include <stdexcept>

#include "tests/ops/op_test.h"

namespace cafx {
namespace {

TEST(OverFrames, EveryFrameOnceAndTheSplitDependsOnTheBatchAlone) {
  for (const int B : {1, 2, 3, 15, 16, 17, 32, 33, 100}) {
    std::vector<std::pair<int, int>> alone;
    for (const int threads : {0, 1, 2, 5}) {
      ThreadPool pool(std::max(threads, 1));
      Context context;
      context.pool = threads == 0 ? nullptr : &pool;
      ASSERT_EQ(n_slots(context, B), std::min(kGradientSlots, B));
      std::vector<std::pair<int, int>> ranges(static_cast<std::size_t>(n_slots(context, B)), {-1, -1});
      std::mutex mutex;
      over_frames(context, B, [&](const MicroBatch& batch) {
        const std::lock_guard lock(mutex);
        EXPECT_EQ(batch.context.pool, nullptr);
        EXPECT_GE(batch.context.worker, 0);
        EXPECT_LT(batch.context.worker, std::max(threads, 1));
        ASSERT_GE(batch.slot, 0);
        ASSERT_LT(batch.slot, n_slots(context, B));
        EXPECT_EQ(ranges[batch.slot].first, -1) << "slot " << batch.slot << " twice";
        ranges[batch.slot] = {batch.b0, batch.b1};
      });
      int next = 0;
      for (const auto& [b0, b1] : ranges) {
        EXPECT_EQ(b0, next);
        EXPECT_GT(b1, b0);
        next = b1;
      }
      EXPECT_EQ(next, B);
      if (threads == 0) alone = ranges;
      EXPECT_EQ(ranges, alone) << threads << " threads";
    }
  }
}

TEST(OverTasks, EveryTaskOnce) {
  for (const int threads : {0, 1, 2, 5}) {
    ThreadPool pool(std::max(threads, 1));
    Context context;
    context.pool = threads == 0 ? nullptr : &pool;
    for (const int n : {0, 1, 2, 77}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(n));
      over_tasks(context, n, [&](const Context&, int i) { ++runs[i]; });
      for (const auto& count : runs) EXPECT_EQ(count, 1);
    }
  }
}

TEST(OverTasks, AnErrorOfATaskReachesTheCaller) {
  ThreadPool pool(3);
  Context context;
  context.pool = &pool;
  EXPECT_THROW(over_tasks(context, 20, [](const Context&, int i) { CAFX_CHECK(i != 7, i); }), CheckError);
  std::atomic<int> after{0};
  over_tasks(context, 20, [&](const Context&, int) { ++after; });
  EXPECT_EQ(after, 20);
}

TEST(Isa, NamesAreReadBackAndUnknownOnesRefused) {
  EXPECT_EQ(parse_isa("portable"), Isa::kPortable);
  EXPECT_EQ(parse_isa(to_string(best_isa())), best_isa());
  EXPECT_THROW(parse_isa("sse9"), Error);
}

TEST(Context, ADeviceThatIsNotThereIsRefusedWithTheReason) {
  Context context;
  for (const char* name : {"gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:99999", ""}) {
    EXPECT_THROW(use_device(context, name), Error) << name;
  }
  if (cuda_info().reason.empty()) {
    EXPECT_THROW(use_device(context, "cuda:99"), Error);
    return;
  }
  use_device(context, "auto");
  EXPECT_EQ(context.device, Device::kCpu);
  try {
    use_device(context, "cuda");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("--device cpu"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace cafx
