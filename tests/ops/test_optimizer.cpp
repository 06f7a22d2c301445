#include "kernels/optimizer/optimizer.h"

#include "kernels/device/members.h"

#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr long kCounts[] = {0, 1, 15, 33, 4096, 4097, 20011};

// Ten steps in one call, each of its own gradient: (10, n).
constexpr long kSteps = 10;
AdamStep step_of(long step, float epsilon) { return {1e-2f, 0.9f, 0.999f, epsilon, 0.1f, 0.7f, step}; }

TEST(Adam, TenStepsMatchReference) {
  for (const long n : kCounts) {
    const Vec grads = random(kSteps * n, 10, -0.1, 0.1), start = random(n, 1), zero(static_cast<std::size_t>(n));
    for (const Vec& mask : {Vec(), random(n, 5, 0, 1)}) {
      Vec params = start, m = zero, v = zero;
      for (long t = 0; t < kSteps; ++t) {
        const Vec of_step(grads.begin() + t * n, grads.begin() + (t + 1) * n);
        reference::adam_step(params, m, v, of_step, mask, step_of(t + 1, 1e-8f));
      }
      check_op(fmt::format("n={} masked={}", n, !mask.empty()), {{"grads", grads}, {"mask", mask}},
               {updates("params", start, params), updates("m", zero, m), updates("v", zero, v)},
               [=](const Context& context, const Buffers& b) {
                 const float* g = b["grads"];
                 for (long t = 0; t < kSteps; ++t) {
                   adam_step(context, b["params"], b["m"], b["v"], n > 0 ? g + t * n : g, b["mask"], n,
                             step_of(t + 1, 1e-8f));
                 }
               });
    }
  }
}

// Tensors of several sizes, one of them all zero, with gaps between.
TEST(Lamb, TenStepsMatchReference) {
  const std::vector<TensorSpan> tensors = {{0, 5}, {16, 4000}, {4016, 1}, {4032, 333}};
  const long n = 4368;
  const auto on_tensors = [&](const Vec& x) {
    Vec y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const long at = static_cast<long>(i) % n;
      for (const TensorSpan& t : tensors) y[i] = at >= t.offset && at < t.offset + t.size ? x[i] : y[i];
    }
    return y;
  };
  const Vec grads = on_tensors(random(kSteps * n, 10, -0.1, 0.1)), mask = random(n, 5, 0, 1), zero(n);
  Vec start = on_tensors(random(n, 1));
  std::fill_n(start.begin() + 4032, 333, 0.0);
  Vec params = start, m = zero, v = zero;
  for (long t = 0; t < kSteps; ++t) {
    const Vec of_step(grads.begin() + t * n, grads.begin() + (t + 1) * n);
    reference::lamb_step(params, m, v, of_step, mask, tensors, step_of(t + 1, 1e-6f));
  }
  check_op(
      "four tensors", {{"grads", grads}, {"mask", mask}, items("spans", tensors)},
      {updates("params", start, params), updates("m", zero, m), updates("v", zero, v)},
      [&](const Context& context, const Buffers& b) {
        for (long t = 0; t < kSteps; ++t) {
          lamb_step(context, b["params"], b["m"], b["v"], static_cast<const float*>(b["grads"]) + t * n, b["mask"],
                    b["spans"], 4, n, b["scratch"], step_of(t + 1, 1e-6f));
        }
      },
      [=](const Context&) { return lamb_scratch(n, 4); });
}

// Ten updates, each of its own weights; TensorFlow's rates up to a horizon of three, which the last updates have.
TEST(Average, FollowsTheWeights) {
  EXPECT_FLOAT_EQ(average_rate(3, 1), 9.0f / 11.0f);
  EXPECT_FLOAT_EQ(average_rate(3, 17), 1.0f / 3.0f);
  EXPECT_FLOAT_EQ(average_rate(1, 1), 1.0f);
  for (const long n : kCounts) {
    const Vec params = random(kSteps * n, 10), start = random(n, 1);
    Vec average = start;
    for (long t = 0; t < kSteps; ++t) {
      const double rate = std::max(1.0 / 3.0, 9.0 / (10.0 + static_cast<double>(2 * t + 1)));
      for (long i = 0; i < n; ++i) average[i] = (1.0 - rate) * average[i] + rate * params[t * n + i];
    }
    check_op(fmt::format("n={}", n), {{"params", params}}, {updates("average", start, average)},
             [=](const Context& context, const Buffers& b) {
               const float* p = b["params"];
               for (long t = 0; t < kSteps; ++t) {
                 average_step(context, b["average"], n > 0 ? p + t * n : p, n, average_rate(3, 2 * t + 1));
               }
             });
  }
}

// The form that waits for the device and, on a GPU, the one that a CUDA graph can hold.
TEST(SquaredNorm, IsTheSum) {
  for (const long n : kCounts) {
    const Vec x = random(n, 1);
    double want = 0;
    for (const double value : x) want += value * value;
    for (const Context& context : contexts()) {
      Floats fx(x);
      EXPECT_NEAR(squared_norm(context, fx, n), want, 1e-12 * want) << label(context) << " n=" << n;
    }
    check_op(
        fmt::format("n={}", n), {{"x", x}}, {sets_doubles("total", {want}, {0, 1e-12})},
        [=](const Context& context, const Buffers& b) {
          double* total = b["total"];
          if (context.device == Device::kCpu) {
            *total = squared_norm(context, b["x"], n);
          } else {
            squared_norm(context, total, b["x"], n, b["scratch"], squared_norm_scratch(context, n));
          }
        },
        [=](const Context& context) { return context.device == Device::kCpu ? 0 : squared_norm_scratch(context, n); });
  }
}

TEST(ReduceSlots, IsTheSum) {
  for (const int n_slots : {1, 2, 3, 7, kGradientSlots}) {
    if (on_cuda() && n_slots > 1) continue;  // a GPU has one
    for (const long n : kCounts) {
      std::vector<Input> slots;
      Vec want(static_cast<std::size_t>(n));
      for (int s = 0; s < n_slots; ++s) {
        slots.push_back({std::to_string(s), random(n, static_cast<std::uint64_t>(s))});
        for (std::size_t i = 0; i < want.size(); ++i) want[i] += slots.back().values[i];
      }
      check_op(fmt::format("{} slots n={}", n_slots, n), slots, {sets("total", want)},
               [=](const Context& context, const Buffers& b) {
                 std::vector<float*> pointers;
                 for (int s = 0; s < n_slots; ++s) pointers.push_back(b[std::to_string(s)]);
                 reduce_slots(context, b["total"], pointers.data(), n_slots, n);
               });
    }
  }
}

// The record, the factor of clipping and the flag, from losses and gradient; the same bits each time, whichever block
// is last.
TEST(Optimizer, StepEndRecordsLossAndNorm) {
  if (!on_cuda()) GTEST_SKIP() << "a CPU's steps end on the host";
  const Context context = cuda_context();
  for (const long n : {1L, 15L, 4097L, 300011L}) {
    Vec g = random(n, 1);
    const std::vector<double> losses = {3.0, 0.25, 7.5};
    double squares = 0.0;
    for (const double x : g) squares += x * x;
    DeviceArray<float> gradient(context, std::vector<float>(g.begin(), g.end()));
    DeviceArray<double> of_losses(context, losses);
    DeviceArray<StepState> state(context, 1);
    DeviceArray<StepRecord> records(context, 5);
    DeviceArray<StepScalars> table(context, 5);
    Bytes scratch(step_end_scratch());
    StepState now{1, {}, 1.0f, 0};
    now.from.records = records.data();
    now.from.table = table.data();
    const auto end = [&](float clip_norm) {
      StepScalars rows[5];
      for (StepScalars& row : rows) row.lr = 0.5f, row.clip_norm = clip_norm;
      table.upload(rows, 5);
      state.upload(&now, 1);
      PartialSums none;
      step_end(context, state.data(), nullptr, nullptr, of_losses.data(), 3, gradient.data(), n, none, scratch.get(), 2,
               5);
      state.download(&now, 1);
      EXPECT_EQ(now.scalars.lr, 0.5f) << "what the update reads";
      EXPECT_EQ(now.arrived, 0u);
      return now;
    };
    const double norm = std::sqrt(squares);
    EXPECT_EQ(end(0.0f).gradient_scale, 1.0f);
    EXPECT_EQ(end(static_cast<float>(2.0 * norm)).gradient_scale, 1.0f);
    EXPECT_NEAR(end(static_cast<float>(0.5 * norm)).gradient_scale, 0.5, 1e-6);
    StepRecord got[5];
    records.download(got, 5);
    for (int i = 1; i <= 3; ++i) {
      EXPECT_EQ(got[i].loss, 10.75 / 10.0);
      EXPECT_NEAR(got[i].norm, norm, 1e-12 * norm);
      EXPECT_EQ(got[i].norm, got[1].norm) << "two calls";
    }
    gradient.upload(std::vector<float>{std::numeric_limits<float>::infinity()}.data(), 1,
                    static_cast<std::size_t>(n) - 1);
    const StepState after = end(0.0f);
    EXPECT_EQ(after.skip, 1);
    EXPECT_EQ(after.index, 5);
  }
}

// Sums of parts that are left to the step's end: the gradient that they make, and the norm of all of it. One has pieces
// apart, two are one, one has more parts than a block has threads, and one ends the gradient.
TEST(Optimizer, StepEndAddsUpWhatIsLeft) {
  if (!on_cuda()) GTEST_SKIP() << "a CPU leaves no sums";
  const Context context = cuda_context();
  for (const long n : {700L, 70000L}) {
    const Vec start = random(n, 1);
    const long half = n / 2, few = n / 10;
    struct Left {
      int parts;
      std::vector<std::pair<long, long>> pieces;  // of the gradient: first, size
    };
    const std::vector<Left> lefts = {
        {3, {{0, few}, {half, few + 1}}}, {300, {{n - 1, 1}}}, {2, {{few, few}}}, {5, {{few, few}}}};
    DeviceArray<float> gradient(context, std::vector<float>(start.begin(), start.end()));
    Vec want = start;
    std::vector<std::vector<float>> partials(3);  // the last two are neighbours
    for (std::size_t i = 0; i < lefts.size(); ++i) {
      long size = 0, at = 0;
      for (const auto& piece : lefts[i].pieces) size += piece.second;
      const Vec parts = random(size * lefts[i].parts, 10 + static_cast<int>(i));
      for (const auto& [first, count] : lefts[i].pieces) {
        for (long k = 0; k < count; ++k, ++at) {
          for (int p = 0; p < lefts[i].parts; ++p) {
            want[static_cast<std::size_t>(first + k)] += parts[static_cast<std::size_t>(p * size + at)];
          }
        }
      }
      std::vector<float>& to = partials[std::min<std::size_t>(i, 2)];
      to.insert(to.end(), parts.begin(), parts.end());
    }
    const DeviceArray<float> first(context, partials[0]), second(context, partials[1]), third(context, partials[2]);
    PartialSums sums;
    const auto leave = [&](std::size_t i, const float* from) {
      PartialSums::Sum sum{from, lefts[i].parts, 0, {}, 0};
      for (const auto& [at, count] : lefts[i].pieces) {
        sum.pieces[sum.n_pieces++] = {sum.n, gradient.data() + at};
        sum.n += count;
      }
      return sums.take(sum);
    };
    EXPECT_TRUE(leave(0, first.data()));
    EXPECT_TRUE(leave(1, second.data()));
    EXPECT_TRUE(leave(2, third.data()));
    EXPECT_FALSE(leave(3, third.data() + 1)) << "parts apart from those of the same piece";
    EXPECT_TRUE(leave(3, third.data() + 2 * few));
    EXPECT_EQ(sums.n, 3);
    const DeviceArray<StepScalars> table(context, std::vector<StepScalars>(1));
    DeviceArray<StepRecord> records(context, 1);
    const DeviceArray<double> losses(context, std::vector<double>{1.0});
    DeviceArray<StepState> state(context, 1);
    Bytes scratch(step_end_scratch());
    StepState now{0, {}, 1.0f, 0};
    now.from.table = table.data(), now.from.records = records.data();
    state.upload(&now, 1);
    PartialSums again = sums;
    step_end(context, state.data(), nullptr, nullptr, losses.data(), 1, gradient.data(), n, sums, scratch.get(), 1, 1);
    EXPECT_EQ(sums.n, 0);
    std::vector<float> got(static_cast<std::size_t>(n)), apart(got.size());
    gradient.download(got.data(), got.size());
    double squares = 0.0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], want[i], 2e-7 * (1.0 + std::abs(want[i]))) << i;
      squares += static_cast<double>(got[i]) * got[i];
    }
    StepRecord record;
    records.download(&record, 1);
    EXPECT_NEAR(record.norm, std::sqrt(squares), 1e-12 * std::sqrt(squares));
    // In a kernel of their own the same numbers.
    gradient.upload(std::vector<float>(start.begin(), start.end()).data(), static_cast<std::size_t>(n));
    add_left_parts(context, again);
    gradient.download(apart.data(), apart.size());
    EXPECT_EQ(apart, got);
  }
}

// An epoch of 7 places in steps of 3, for one GPU and for each of two: the first step's places by step_begin, those of
// each later one by the step before. None are taken behind the last.
TEST(Optimizer, EachStepEndTakesTheNextStepsPlaces) {
  if (!on_cuda()) GTEST_SKIP() << "a CPU's places are taken on the host";
  const Context context = cuda_context();
  const int n = 7, batch = 3, steps = 3;
  std::vector<FrameRef> refs;
  for (int i = 0; i < n; ++i) refs.push_back({100 * i, 100 * i - 5, 100 * i + 50});
  const std::vector<std::uint32_t> order = {3, 1, 6, 0, 5, 2, 4};
  DeviceArray<FrameRef> all(context, refs), taken(context, batch), of_targets(context, batch);
  DeviceArray<std::uint32_t> in_order(context, order);
  DeviceArray<StepScalars> table(context, std::vector<StepScalars>(steps));
  DeviceArray<StepRecord> records(context, steps);
  DeviceArray<float> gradient(context, std::vector<float>{1.0f});
  DeviceArray<double> losses(context, std::vector<double>{1.0});
  DeviceArray<StepState> state(context, 1);
  Bytes scratch(step_end_scratch());
  for (const int ranks : {1, 2}) {
    for (int rank = 0; rank < ranks; ++rank) {
      StepState now{0, {}, 1.0f, 0};
      now.from = {
          table.data(), in_order.data(), all.data(), nullptr, records.data(), 1000, 2000, 9, 40, n, batch, 1, rank,
          ranks};
      state.upload(&now, 1);
      taken.fill_zero();
      of_targets.fill_zero();
      step_begin(context, state.data(), taken.data(), of_targets.data());
      FrameRef got[batch] = {}, targets[batch] = {};
      for (int step = 0; step < steps; ++step) {
        const int of_step = std::min(batch, n - step * batch), first = rank * of_step / ranks,
                  last = (rank + 1) * of_step / ranks;
        taken.download(got, batch);
        of_targets.download(targets, batch);
        state.download(&now, 1);
        EXPECT_EQ(now.dropout.update, 40u + static_cast<unsigned>(step) + 1u);
        for (int b = 0; b < last - first; ++b) {
          const auto i = static_cast<std::int64_t>(order[static_cast<std::size_t>(step * batch + first + b)]);
          EXPECT_EQ(got[b].start, 100 * i + 1000) << step << " " << b << " of rank " << rank;
          EXPECT_EQ(got[b].begin, 100 * i + 995);
          EXPECT_EQ(got[b].end, 100 * i + 1050);
          EXPECT_EQ(targets[b].start, 100 * i + 2000);
        }
        PartialSums none;
        step_end(context, state.data(), taken.data(), of_targets.data(), losses.data(), 1, gradient.data(), 1, none,
                 scratch.get(), batch, 1);
      }
      FrameRef after[batch] = {};
      taken.download(after, batch);
      EXPECT_EQ(std::memcmp(after, got, sizeof got), 0) << "behind the last step";
    }
  }
}

// What a step's end works on, of one member: parts of the whole gradient but its last number.
class StepEnd {
 public:
  StepEnd(const Context& context, long n, int seed)
      : n_(n),
        gradient_(context, floats(n, seed)),
        partial_(context, floats(3 * (n - 1), seed + 1)),
        losses_(context, std::vector<double>{1.0}),
        table_(context, std::vector<StepScalars>(1)),
        records_(context, 1),
        state_(context, 1),
        scratch_(context, step_end_scratch()) {
    StepState state{0, {}, 1.0f, 0};
    state.from.table = table_.data(), state.from.records = records_.data();
    state_.upload(&state, 1);
  }
  void run(const Context& context) {
    PartialSums sums;
    sums.take({partial_.data(), 3, n_ - 1, {{0, gradient_.data()}}, 1});
    step_end(context, state_.data(), nullptr, nullptr, losses_.data(), 1, gradient_.data(), n_, sums, scratch_.data(),
             1, 1);
  }
  double norm() const {
    StepRecord record;
    records_.download(&record, 1);
    return record.norm;
  }

 private:
  static std::vector<float> floats(long n, int seed) {
    const Vec v = random(n, seed);
    return std::vector<float>(v.begin(), v.end());
  }
  long n_;
  DeviceArray<float> gradient_, partial_;
  DeviceArray<double> losses_;
  DeviceArray<StepScalars> table_;
  DeviceArray<StepRecord> records_;
  DeviceArray<StepState> state_;
  DeviceArray<unsigned char> scratch_;
};

// The norm, by which gradients are clipped, to its last bit; of so many numbers that sums which are launched for
// themselves are cut otherwise for several members.
TEST(Optimizer, TheNormOfMembersSideBySideIsThatOfEach) {
  if (!on_cuda()) GTEST_SKIP() << "a CPU leaves no sums";
  const Context context = cuda_context();
  const long n = 60001;
  constexpr int kMembers = 3;
  std::vector<double> want;
  for (int k = 0; k < kMembers; ++k) {
    StepEnd alone(context, n, 10 * k + 1);
    alone.run(context);
    want.push_back(alone.norm());
  }
  MemberMemory memory(context, kMembers, measure_member(context, [&] { StepEnd(context, n, 1).run(context); }));
  std::vector<std::unique_ptr<StepEnd>> members(kMembers);
  for (int k = 0; k < kMembers; ++k) {
    memory.allocate_in(k, [&] { members[k] = std::make_unique<StepEnd>(context, n, 10 * k + 1); });
  }
  memory.for_members(0, kMembers, [&] { members[0]->run(context); });
  for (int k = 0; k < kMembers; ++k) EXPECT_EQ(members[k]->norm(), want[k]) << k;
}

// Whether a sum is left does not hang on the members that it is for, since the order of the norm's squares does on it.
TEST(Optimizer, WhatIsLeftIsTheSameForAnyNumberOfMembers) {
  if (!on_cuda()) GTEST_SKIP() << "a CPU leaves no sums";
  Context context = cuda_context();
  const auto left = [&](int members, int parts) {
    MemberMemory memory(context, members,
                        measure_member(context, [&] { DeviceArray<float>(context, 4096l * (parts + 1)); }));
    std::vector<DeviceArray<float>> own(members);
    for (int k = 0; k < members; ++k) {
      memory.allocate_in(k, [&] { own[k] = DeviceArray<float>(context, 4096l * (parts + 1)); });
      own[k].fill_zero();
    }
    PartialSums sums;
    context.sums = &sums;
    memory.for_members(0, members, [&] {
      add_parts(context, {own[0].data() + 4096, parts, 4096, {{0, own[0].data()}}, 1});
    });
    context.sums = nullptr;
    return sums.n;
  };
  EXPECT_EQ(left(1, 40), 1);
  EXPECT_EQ(left(8, 40), 1);
  EXPECT_EQ(left(1, 200), 0);
}

TEST(Optimizer, RefusesWhatItsContractExcludes) {
  Floats one(1, 0.0f);
  float* slots[] = {one};
  AdamStep zeroth;
  zeroth.step = 0;
  EXPECT_THROW(adam_step({}, one, one, one, one, nullptr, 1, zeroth), CheckError);
  EXPECT_THROW(adam_step({}, one, one, one, one, nullptr, -1, {}), CheckError);
  EXPECT_THROW(average_step({}, one, one, -1, 1.0f), CheckError);
  EXPECT_THROW(average_rate(0, 1), CheckError);
  EXPECT_THROW(average_rate(1, 0), CheckError);
  EXPECT_THROW(squared_norm({}, one, -1), CheckError);
  EXPECT_THROW(reduce_slots({}, one, slots, 0, 1), CheckError);
  EXPECT_THROW(reduce_slots({}, one, slots, kGradientSlots + 1, 1), CheckError);
}

}  // namespace
}  // namespace cafx
