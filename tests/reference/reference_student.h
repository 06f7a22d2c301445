// tests/reference/reference_student.h -- the ops of students as plain double-precision loops.
#pragma once

#include "kernels/lstm/lstm.h"
#include "kernels/relative_error/relative_error.h"
#include "tests/reference/reference.h"

namespace cafx::reference {

struct Lstm {
  Vec h, c, gates;  // (T+1,B,H) with the state before the block in row 0, (T,B,4H)
};
// h0, c0 (B,H).
Lstm lstm_forward(const Vec& x, const Vec& h0, const Vec& c0, const Vec& w, const Vec& bias, LstmDims d);
// Returns dx.
Vec lstm_backward(Vec& dw, Vec& dbias, const Vec& dh, const Lstm& forward, const Vec& x, const Vec& w, LstmDims d);

Vec relative_error_forward(const Vec& y, const Vec& target, const Vec& esr_scale, const Vec& mae_scale,
                           RelativeErrorDims d);  // (B)
Vec relative_error_backward(const Vec& y, const Vec& target, const Vec& esr_scale, const Vec& mae_scale,
                            RelativeErrorDims d);

}  // namespace cafx::reference
