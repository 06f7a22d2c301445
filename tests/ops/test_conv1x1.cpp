#include "kernels/conv1x1/conv1x1.h"

#include "tests/ops/differences.h"
#include "tests/reference/reference_student.h"

namespace cafx {
namespace {

using namespace op_test;

// Rows stand further apart than they are long in some cases; what lies between is compared too, as NaN.
void expect_rows(Floats& got, const Vec& want, int rows, long length, long stride, const std::string& what) {
  Vec tight, tight_want;
  const Vec all = got.values();
  for (long r = 0; r < rows; ++r) {
    for (long t = 0; t < stride; ++t) {
      const auto i = static_cast<std::size_t>(r * stride + t);
      if (t < length) {
        tight.push_back(all[i]);
        tight_want.push_back(want[i]);
      } else {
        EXPECT_TRUE(std::isnan(all[i])) << what << " is written between rows";
      }
    }
  }
  Floats compact(tight);
  expect_near(compact, tight_want, what);
}

TEST(Conv1x1, OraclesGradientIsThatOfDifferences) {
  const Conv1x1Dims d{3, 2, 5, 5, 5};
  Vec x = random(15, 1), w = random(6, 2), bias = random(2, 3), dw(6), dbias(2);
  const Vec dy = random(10, 4), dx = reference::conv1x1_backward(dw, dbias, dy, x, w, d);
  const auto f = [&] { return dot(reference::conv1x1_forward(x, w, bias, d), dy); };
  expect_gradient("dx", x, dx, f);
  expect_gradient("dw", w, dw, f);
  expect_gradient("dbias", bias, dbias, f);
}

TEST(Conv1x1, IsTheOracles) {
  for (const Conv1x1Dims d : {Conv1x1Dims{3, 5, 17, 20, 18},
                              {1, 1, 1, 1, 1},
                              {1, 16, 1000, 1000, 1300},
                              {16, 1, 513, 513, 513},
                              {7, 9, 100, 100, 100}}) {
    for (const bool has_bias : {true, false}) {
      const Vec x = random(d.I * d.x_stride, 1), w = random(d.O * d.I, 2), bias = has_bias ? random(d.O, 3) : Vec(),
                dy = random(d.O * d.y_stride, 4), y = reference::conv1x1_forward(x, w, bias, d);
      Vec dw(w.size()), dbias(bias.size());
      const Vec dx = reference::conv1x1_backward(dw, dbias, dy, x, w, d);
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} I={} O={} T={} bias={}", label(context), d.I, d.O, d.T, has_bias));
        Floats fx(x), fw(w), fbias(random(d.O, 3)), fdy(dy), got_y(y.size(), kNan);
        conv1x1_forward(context, got_y, fx, fw, has_bias ? static_cast<float*>(fbias) : nullptr, d);
        expect_rows(got_y, y, d.O, d.T, d.y_stride, "y");
        for (const float start : kStarts) {
          Floats got_x(x.size(), kNan), got_w(w.size(), start), got_bias(d.O, start), without(w.size(), start);
          Bytes scratch(conv1x1_backward_scratch(context, d));
          float* of_bias = has_bias ? static_cast<float*>(got_bias) : nullptr;
          conv1x1_backward(context, got_x, got_w, of_bias, fdy, fx, fw, scratch.get(), d);
          expect_rows(got_x, dx, d.I, d.T, d.x_stride, "dx");
          expect_near(got_w, dw, "dw", start, {3e-6, 3e-5});
          if (has_bias) expect_near(got_bias, dbias, "dbias", start, {3e-6, 3e-5});
          conv1x1_backward(context, nullptr, without, of_bias, fdy, fx, fw, scratch.get(), d);
          expect_same_bits(without, got_w, w.size(), "dw without dx");
        }
      }
    }
  }
}

TEST(Conv1x1, RefusesWrongSizes) {
  Floats one(16, 0.0f);
  for (const Conv1x1Dims d : {Conv1x1Dims{0, 1, 1, 1, 1}, {1, 0, 1, 1, 1}, {1, 1, 0, 1, 1}, {1, 1, 2, 1, 2}}) {
    EXPECT_THROW(conv1x1_forward({}, one, one, one, one, d), CheckError);
    EXPECT_THROW(conv1x1_backward({}, one, one, one, one, one, one, one.data(), d), CheckError);
    EXPECT_THROW(conv1x1_backward_scratch({}, d), CheckError);
  }
}

}  // namespace
}  // namespace cafx
