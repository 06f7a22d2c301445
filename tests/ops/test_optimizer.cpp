#include "kernels/optimizer/optimizer.h"

#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr long kCounts[] = {0, 1, 15, 33, 4096, 4097, 20011};

TEST(Adam, TenStepsMatchReference) {
  for (const long n : kCounts) {
    for (const bool masked : {false, true}) {
      Vec mask = masked ? random(n, 5, 0, 1) : Vec();
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} n={} masked={}", label(context), n, masked));
        Vec params = random(n, 1), m(n), v(n);
        Floats fparams(params), fm(m), fv(v), fmask(mask);
        for (long step = 1; step <= 10; ++step) {
          const Vec grads = random(n, 10 + static_cast<std::uint64_t>(step), -0.1, 0.1);
          Floats fgrads(grads);
          const AdamStep s{1e-2f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.7f, step};
          reference::adam_step(params, m, v, grads, mask, s);
          adam_step(context, fparams, fm, fv, fgrads, masked ? fmask.data() : nullptr, n, s);
        }
        expect_near(fparams, params, "params");
        expect_near(fm, m, "m");
        expect_near(fv, v, "v");
      }
    }
  }
}

TEST(Adam, SameBitsForAnyNumberOfThreads) {
  const long n = 20011;
  const Vec params = random(n, 1), grads = random(n, 2);
  for (Context context : contexts()) {
    Floats first(params), fgrads(grads);
    {
      Floats m(n, 0.0f), v(n, 0.0f);
      adam_step(context, first, m, v, fgrads, nullptr, n, {});
    }
    const double norm = squared_norm(context, fgrads, n);
    for (const int threads : {1, 2, 5}) {
      ThreadPool pool(threads);
      context.pool = &pool;
      Floats again(params), m(n, 0.0f), v(n, 0.0f);
      adam_step(context, again, m, v, fgrads, nullptr, n, {});
      expect_same_bits(again, first, n, fmt::format("{} {} threads", label(context), threads));
      EXPECT_EQ(squared_norm(context, fgrads, n), norm) << label(context) << " " << threads << " threads";
    }
    context.pool = nullptr;
  }
}

// Tensors of several sizes, one of them all zero, with gaps between.
TEST(Lamb, TenStepsMatchReference) {
  const std::vector<TensorSpan> tensors = {{0, 5}, {16, 4000}, {4016, 1}, {4032, 333}};
  const long n = 4368;
  Vec mask = random(n, 5, 0, 1);
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context));
    Vec params(n), m(n), v(n);
    const Vec start = random(n, 1);
    for (const TensorSpan& t : tensors) {
      for (long i = t.offset; i < t.offset + t.size && t.offset != 4032; ++i) params[i] = start[i];
    }
    Floats fparams(params), fm(m), fv(v), fmask(mask);
    Items<TensorSpan> ftensors(tensors);
    Bytes scratch(lamb_scratch(n, 4));
    for (long step = 1; step <= 10; ++step) {
      Vec grads(n);
      const Vec noise = random(n, 10 + static_cast<std::uint64_t>(step), -0.1, 0.1);
      for (const TensorSpan& t : tensors) {
        for (long i = t.offset; i < t.offset + t.size; ++i) grads[i] = noise[i];
      }
      Floats fgrads(grads);
      const AdamStep s{1e-2f, 0.9f, 0.999f, 1e-6f, 0.1f, 0.7f, step};
      reference::lamb_step(params, m, v, grads, mask, tensors, s);
      lamb_step(context, fparams, fm, fv, fgrads, fmask, ftensors, 4, n, scratch.get(), s);
    }
    expect_near(fparams, params, "params");
    expect_near(fm, m, "m");
    expect_near(fv, v, "v");
  }
}

TEST(Adam, SquaredNormIsTheSum) {
  for (const long n : kCounts) {
    const Vec x = random(n, 1);
    double want = 0;
    for (const double value : x) want += value * value;
    for (const Context& context : contexts()) {
      Floats fx(x);
      EXPECT_NEAR(squared_norm(context, fx, n), want, 1e-12 * want) << label(context) << " n=" << n;
    }
  }
}

TEST(ReduceSlots, IsTheSumWithTheSameBitsForAnyNumberOfThreads) {
  for (const int n_slots : {1, 2, 3, 7, kGradientSlots}) {
    for (const long n : kCounts) {
      std::vector<Vec> slots;
      Vec want(n);
      for (int s = 0; s < n_slots; ++s) {
        slots.push_back(random(n, static_cast<std::uint64_t>(s)));
        for (long i = 0; i < n; ++i) want[i] += slots[s][i];
      }
      for (Context context : contexts()) {
        if (context.device == Device::kCuda && n_slots > 1) continue;  // a GPU has one
        SCOPED_TRACE(fmt::format("{} {} slots n={}", label(context), n_slots, n));
        std::vector<std::unique_ptr<Floats>> blocks;
        std::vector<float*> pointers;
        for (const Vec& slot : slots) {
          blocks.push_back(std::make_unique<Floats>(slot));
          pointers.push_back(blocks.back()->data());
        }
        Floats total(n, kNan);
        reduce_slots(context, total, pointers.data(), n_slots, n);
        expect_near(total, want, "total");
        for (const int threads : {1, 2, 5}) {
          if (n < 4096) continue;
          ThreadPool pool(threads);
          context.pool = &pool;
          Floats again(n, kNan);
          reduce_slots(context, again, pointers.data(), n_slots, n);
          expect_same_bits(again, total, n, fmt::format("{} threads", threads));
        }
      }
    }
  }
}

TEST(Optimizer, RefusesWhatItsContractExcludes) {
  Floats one(1, 0.0f);
  float* slots[] = {one};
  AdamStep zeroth;
  zeroth.step = 0;
  EXPECT_THROW(adam_step({}, one, one, one, one, nullptr, 1, zeroth), CheckError);
  EXPECT_THROW(adam_step({}, one, one, one, one, nullptr, -1, {}), CheckError);
  EXPECT_THROW(squared_norm({}, one, -1), CheckError);
  EXPECT_THROW(reduce_slots({}, one, slots, 0, 1), CheckError);
  EXPECT_THROW(reduce_slots({}, one, slots, kGradientSlots + 1, 1), CheckError);
}

}  // namespace
}  // namespace cafx
