#include "kernels/lstm/lstm_tensors.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_CUDA(void, lstm_join, (const Context&, float* w, float* bias, const LstmTensors<const float*>& from, LstmDims d));
CAFX_CUDA(void, lstm_part,
          (const Context&, const LstmTensors<float*>& to, const float* dw, const float* dbias, LstmDims d));

static void check_sizes(LstmDims d) { CAFX_CHECK(d.I >= 1 && d.H >= 1, d.I, d.H); }

void lstm_join(const Context& context, float* w, float* bias, const LstmTensors<const float*>& from, LstmDims d) {
  check_sizes(d);
  CAFX_CUDA_CALL(context, lstm_join, w, bias, from, d);
  for (int g = 0; g < 4 * d.H; ++g) {
    for (int i = 0; i < d.I; ++i) *w++ = from.w_input[g * d.I + i];
    for (int k = 0; k < d.H; ++k) *w++ = from.w_hidden[g * d.H + k];
    bias[g] = from.bias_input[g] + from.bias_hidden[g];
  }
}

void lstm_part(const Context& context, const LstmTensors<float*>& to, const float* dw, const float* dbias, LstmDims d) {
  check_sizes(d);
  CAFX_CUDA_CALL(context, lstm_part, to, dw, dbias, d);
  for (int g = 0; g < 4 * d.H; ++g) {
    for (int i = 0; i < d.I; ++i) to.w_input[g * d.I + i] += *dw++;
    for (int k = 0; k < d.H; ++k) to.w_hidden[g * d.H + k] += *dw++;
    to.bias_input[g] += dbias[g];
    to.bias_hidden[g] += dbias[g];
  }
}

}  // namespace cafx
