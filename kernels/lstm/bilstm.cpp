#include "kernels/lstm/bilstm.h"

#include <algorithm>

#include "kernels/device/dispatch.h"
#include "kernels/device/memory.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx {

CAFX_CUDA(void, bilstm_join, (const Context&, float* y, const float* a, const float* b, long rows, int H));
CAFX_CUDA(void, bilstm_part, (const Context&, float* a, float* b, const float* y, long rows, int H));

namespace {

void check_bilstm(LstmDims d) {
  CAFX_CHECK(d.T >= 1 && d.B >= 1 && d.I >= 1 && d.H >= 1 && !d.reversed, d.T, d.B, d.I, d.H, d.reversed);
}

LstmDims backwards(LstmDims d) {
  d.reversed = true;
  return d;
}

// Of one direction: states with a row at rest, gates.
template <class F>
struct Direction {
  F *h, *c, *gates, *written;  // written: rows of h that the direction writes
};
long row_floats(LstmDims d) { return static_cast<long>(d.B) * d.H; }
long direction_floats(LstmDims d) { return row_floats(d) * (2 * (d.T + 1L) + 4L * d.T); }
template <class F>
Direction<F> direction(F* saved, LstmDims d) {
  F* h = saved + (d.reversed ? direction_floats(d) : 0);
  F* c = h + row_floats(d) * (d.T + 1);
  return {h, c, c + row_floats(d) * (d.T + 1), h + (d.reversed ? 0 : row_floats(d))};
}

// y (rows,2H) = [a, b], and back.
void join_directions(const Context& context, float* y, const float* a, const float* b, long rows, int H) {
  CAFX_CUDA_CALL(context, bilstm_join, y, a, b, rows, H);
  for (long n = 0; n < rows; ++n) std::copy_n(b + n * H, H, std::copy_n(a + n * H, H, y + n * 2 * H));
}
void part_directions(const Context& context, float* a, float* b, const float* y, long rows, int H) {
  CAFX_CUDA_CALL(context, bilstm_part, a, b, y, rows, H);
  for (long n = 0; n < rows; ++n) {
    std::copy_n(y + n * 2 * H, H, a + n * H);
    std::copy_n(y + n * 2 * H + H, H, b + n * H);
  }
}

}  // namespace

std::size_t bilstm_saved(const Context&, LstmDims d) {
  check_bilstm(d);
  return 2 * sizeof(float) * static_cast<std::size_t>(direction_floats(d));
}

std::size_t bilstm_forward_scratch(const Context& context, LstmDims d) {
  check_bilstm(d);
  return lstm_forward_scratch(context, d);
}

void bilstm_forward(const Context& context, float* y, void* saved, const float* x, const BilstmTensors<const float*>& p,
                    void* scratch, LstmDims d) {
  check_bilstm(d);
  const auto one = direction(static_cast<float*>(saved), d),
             other = direction(static_cast<float*>(saved), backwards(d));
  const std::size_t row = sizeof(float) * static_cast<std::size_t>(row_floats(d));
  fill_zero(context, one.h, row);
  fill_zero(context, one.c, row);
  fill_zero(context, other.h + d.T * row_floats(d), row);
  fill_zero(context, other.c + d.T * row_floats(d), row);
  lstm_forward(context, one.h, one.c, one.gates, x, p.w, p.bias, scratch, d);
  lstm_forward(context, other.h, other.c, other.gates, x, p.w_reversed, p.bias_reversed, scratch, backwards(d));
  join_directions(context, y, one.written, other.written, static_cast<long>(d.T) * d.B, d.H);
}

// The gradients of both directions' h; the second one's of x; what a direction needs.
std::size_t bilstm_backward_scratch(const Context& context, LstmDims d) {
  check_bilstm(d);
  const auto rows = static_cast<std::size_t>(d.T) * static_cast<std::size_t>(d.B);
  return sizeof(float) * rows * static_cast<std::size_t>(2 * d.H + d.I) + lstm_backward_scratch(context, d);
}

void bilstm_backward(const Context& context, float* dx, const BilstmTensors<float*>& g, const float* dy, const float* x,
                     const void* saved, const BilstmTensors<const float*>& p, void* scratch, LstmDims d) {
  check_bilstm(d);
  const long rows = static_cast<long>(d.T) * d.B;
  float *dh = static_cast<float*>(scratch), *dh_other = dh + rows * d.H, *dx_other = dh_other + rows * d.H,
        *inner = dx_other + rows * d.I;
  const auto one = direction(static_cast<const float*>(saved), d),
             other = direction(static_cast<const float*>(saved), backwards(d));
  part_directions(context, dh, dh_other, dy, rows, d.H);
  lstm_backward(context, dx, g.w, g.bias, dh, x, one.h, one.c, one.gates, p.w, inner, d);
  lstm_backward(context, dx ? dx_other : nullptr, g.w_reversed, g.bias_reversed, dh_other, x, other.h, other.c,
                other.gates, p.w_reversed, inner, backwards(d));
  if (dx) add_scaled(context, dx, 1.0f, dx_other, rows * d.I);
}

}  // namespace cafx
