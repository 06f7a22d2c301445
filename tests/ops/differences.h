// tests/ops/differences.h -- a gradient against central differences, in double: 1e-7 + 1e-6 |ref|, for every element.
#pragma once

#include <initializer_list>

#include "tests/ops/op_test.h"

namespace cafx::op_test {

inline double dot(const Vec& a, const Vec& b) {
  double s = 0;
  for (std::size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
  return s;
}

// Compares `gradient` with the differences of f() in each number of x, `step` to both sides.
template <class F>
void expect_gradient(const std::string& what, Vec& x, const Vec& gradient, F f, double step = 1e-5) {
  ASSERT_EQ(x.size(), gradient.size()) << what;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double before = x[i];
    x[i] = before + step;
    const double above = f();
    x[i] = before - step;
    const double below = f();
    x[i] = before;
    const double difference = (above - below) / (2 * step), err = std::abs(gradient[i] - difference);
    EXPECT_TRUE(err <= 1e-7 + 1e-6 * std::abs(difference))
        << what << "[" << i << "] is " << gradient[i] << ", differences give " << difference;
  }
}

// Of several tensors that f reads.
struct Gradient {
  const char* what;
  Vec& x;
  const Vec& gradient;
};
template <class F>
void expect_gradients(F f, std::initializer_list<Gradient> all) {
  for (const Gradient& g : all) expect_gradient(g.what, g.x, g.gradient, f);
}

}  // namespace cafx::op_test
