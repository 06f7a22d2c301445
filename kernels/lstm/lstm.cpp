#include "kernels/lstm/lstm.h"

#include "kernels/base/elements.h"
#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, lstm_forward,
              (float* h, float* c, float* gates, const float* x, const float* w, const float* bias, void* scratch,
               LstmDims d));
CAFX_BACKENDS(void, lstm_backward,
              (float* dx, float* dw, float* dbias, const float* dh, const float* x, const float* h, const float* c,
               const float* gates, const float* w, void* scratch, LstmDims d));

CAFX_BACKENDS(void, lstm_prepare, (void* packed, const float* w, const float* bias, LstmDims d));
CAFX_BACKENDS(void, lstm_play, (float* h, float* state, const float* x, const void* packed, void* scratch, LstmDims d));

CAFX_CUDA(void, lstm_forward,
          (const Context&, float* h, float* c, float* gates, const float* x, const float* w, const float* bias,
           void* scratch, LstmDims d));
CAFX_CUDA(void, lstm_backward,
          (const Context&, float* dx, float* dw, float* dbias, const float* dh, const float* x, const float* h,
           const float* c, const float* gates, const float* w, void* scratch, LstmDims d));
CAFX_CUDA(std::size_t, lstm_forward_scratch, (const Context&, LstmDims));
CAFX_CUDA(std::size_t, lstm_backward_scratch, (const Context&, LstmDims));

static void check(LstmDims d) { CAFX_CHECK(d.T >= 1 && d.B >= 1 && d.I >= 1 && d.H >= 1, d.T, d.B, d.I, d.H); }

// w transposed (I+H,4H); gates of one sample, for a caller that keeps none.
std::size_t lstm_forward_scratch(const Context& context, LstmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, lstm_forward_scratch, d);
  return sizeof(float) * (elements(d.I + d.H, 4 * d.H) + elements(d.B, 4 * d.H));
}

void lstm_forward(const Context& context, float* h, float* c, float* gates, const float* x, const float* w,
                  const float* bias, void* scratch, LstmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, lstm_forward, h, c, gates, x, w, bias, scratch, d);
  CAFX_CALL(context, lstm_forward, h, c, gates, x, w, bias, scratch, d);
}

// dw transposed (I+H,4H); the gradient of z over a chunk; those of h and c at one sample.
std::size_t lstm_backward_scratch(const Context& context, LstmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, lstm_backward_scratch, d);
  return sizeof(float) * (elements(d.I + d.H, 4 * d.H) + elements(kLstmChunk * d.B, 4 * d.H) + 2 * elements(d.B, d.H));
}

// Gates padded to whole vectors of the widest instruction set.
static int padded(int H) { return 4 * ((H + 15) / 16 * 16); }

std::size_t lstm_packed(const Context& context, LstmDims d) {
  check(d);
  CAFX_CHECK(context.device == Device::kCpu && d.B == 1, d.B);
  return sizeof(float) * elements(d.I + d.H + 1, padded(d.H));
}

void lstm_prepare(const Context& context, void* packed, const float* w, const float* bias, LstmDims d) {
  CAFX_CHECK(context.device == Device::kCpu);
  CAFX_CALL(context, lstm_prepare, packed, w, bias, d);
}

std::size_t lstm_play_scratch(const Context&, LstmDims d) {
  check(d);
  return sizeof(float) * elements(2, padded(d.H));
}

void lstm_play(const Context& context, float* h, float* state, const float* x, const void* packed, void* scratch,
               LstmDims d) {
  check(d);
  CAFX_CHECK(context.device == Device::kCpu && d.B == 1 && !d.reversed && !d.linear, d.B, d.reversed, d.linear);
  CAFX_CALL(context, lstm_play, h, state, x, packed, scratch, d);
}

void lstm_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dh, const float* x,
                   const float* h, const float* c, const float* gates, const float* w, void* scratch, LstmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, lstm_backward, dx, dw, dbias, dh, x, h, c, gates, w, scratch, d);
  CAFX_CALL(context, lstm_backward, dx, dw, dbias, dh, x, h, c, gates, w, scratch, d);
}

}  // namespace cafx
