// The harness sees what is wrong with an op: each of its checks against an op that breaks just that.
#include "tests/ops/harness.h"

#include <gtest/gtest-spi.h>

namespace cafx {
namespace {

using namespace op_test;

constexpr int kN = 5;
struct Args {
  float *y, *dw;
  const float* x;
  float* scratch;
  const Context& context;
};

// y = 2 x, dw += x, by `work`, which may be wrong.
Op doubling(const std::function<void(const Args&)>& work) {
  const Vec x = {1, 2, 3, 4, 5}, y = {2, 4, 6, 8, 10};
  return {"doubling",
          {{"x", x}},
          {sets("y", y), optional(adds("dw", x))},
          [=](const Context& c, const Buffers& b) {
            work({b["y"], b["dw"], b["x"], b["scratch"], c});
          },
          [](const Context&) { return sizeof(float) * kN; }};
}
void right(const Args& a) {
  for (int i = 0; i < kN; ++i) {
    a.scratch[i] = a.x[i];
    a.y[i] = 2 * a.scratch[i];
    if (a.dw) a.dw[i] += a.x[i];
  }
}

std::string failures_of(const std::function<void()>& test) {
  testing::TestPartResultArray results;
  {
    testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
    test();
  }
  std::string all;
  for (int i = 0; i < results.size(); ++i) all += results.GetTestPartResult(i).message();
  return all;
}
std::string failures_of(const Op& op) {
  return failures_of([&] { check_op(op); });
}
void expect_found(const std::string& what, const std::function<void(const Args&)>& work) {
  const std::string found = failures_of(doubling(work));
  EXPECT_NE(found.find(what), std::string::npos) << "expected \"" << what << "\", found: " << found;
}

TEST(Harness, ARightOpPasses) {
  if (on_cuda()) GTEST_SKIP() << "an op of the CPU";
  EXPECT_EQ(failures_of(doubling(right)), "");
}

TEST(Harness, SeesWhatAnOpDoesWrong) {
  if (on_cuda()) GTEST_SKIP() << "broken ops of the CPU";
  expect_found("y[3] is 9", [](const Args& a) { right(a), a.y[3] = 9; });
  expect_found("dw[0] is 1", [](const Args& a) {
    right(a);
    for (int i = 0; a.dw && i < kN; ++i) a.dw[i] = a.x[i];  // = where += is declared
  });
  expect_found("x, an input, is changed", [](const Args& a) { right(a), const_cast<float*>(a.x)[2] = 0; });
  expect_found("in a second call", [](const Args& a) {
    const float rubbish = a.scratch[0];
    right(a);
    if (rubbish == rubbish) a.y[1] = 4.000001f;
  });
  expect_found("with three threads", [](const Args& a) {
    right(a);
    if (a.context.pool) a.y[1] = 4.000001f;
  });
  expect_found("without dw", [](const Args& a) {
    right(a);
    if (!a.dw) a.y[0] = 2.000001f;
  });
#if !defined(__SANITIZE_ADDRESS__)
  expect_found("written outside", [](const Args& a) { right(a), a.y[kN] = 1; });
  expect_found("written outside", [](const Args& a) { right(a), a.scratch[kN] = 1; });
#endif
}

TEST(Harness, SeesWritesBetweenRowsAndBitsInPlace) {
  if (on_cuda()) GTEST_SKIP() << "broken ops of the CPU";
  Op op = doubling(right);
  op.outputs[0].want[2] = NAN;  // lies between two rows, and is written
  EXPECT_NE(failures_of(op).find("y[2] is written"), std::string::npos);
  op = doubling([](const Args& a) {
    right(a);
    if (a.y == a.x) a.y[0] = 2.000001f;
  });
  op.outputs[0].in_place = "x";
  EXPECT_NE(failures_of(op).find("y in place of x"), std::string::npos);
}

TEST(Harness, SeesATwinThatIsNotOneAndAFrameThatIsNotAlone) {
  if (on_cuda()) GTEST_SKIP() << "broken ops of the CPU";
  const Op op = doubling(right), other = doubling([](const Args&a) { right(a), a.y[4] = 11; });
  EXPECT_EQ(failures_of([&] { expect_twin(op, op.call, ""); }), "");
  EXPECT_NE(failures_of([&] { expect_twin(op, other.call, ""); }).find("y[4] is 10"), std::string::npos);
  EXPECT_EQ(failures_of([&] { expect_twin(op, other.call, "y"); }), "");
  EXPECT_EQ(failures_of([&] { expect_same_alone(op, op, 2); }), "");
  EXPECT_NE(failures_of([&] { expect_same_alone(op, other, 2); }), "");
}

struct Sizes {
  int n;
};
struct Tensors {
  const float *a, *b;
};
void refuses(const Context&, float* y, const Tensors& t, void* scratch, Sizes d) {
  if (!y || !t.a || !t.b || !scratch) throw Error("a pointer is null");  // not the sizes' refusal
  CAFX_CHECK(d.n == 2, d.n);
}

TEST(Harness, SeesACallThatIsNotRefused) {
  for (const auto& found : {failures_of([] {
                              expect_refused({Sizes{1}, {2}}, refuses);
                            }),
                            failures_of([] {
                              expect_refused({1, 2}, [](int n) { CAFX_CHECK(n == 2, n); });
                            })}) {
    EXPECT_EQ(found.find("sizes 0"), std::string::npos) << found;
    EXPECT_NE(found.find("sizes 1"), std::string::npos) << found;
  }
}

}  // namespace
}  // namespace cafx
