#include "kernels/device/each_cuda.h"
#include "kernels/lstm/lstm_tensors.h"

namespace cafx::cuda {

void lstm_join(const Context& context, float* w, float* bias, const LstmTensors<const float*>& p, LstmDims d) {
  const int in = d.I + d.H, G = 4 * d.H, I = d.I, H = d.H;
  LstmTensors<const float*> from = p;
  for_each(context, static_cast<long>(G) * (in + 1), [=] __device__(Members members) mutable {
    members.enter(bias, w, from.w_input, from.w_hidden, from.bias_input, from.bias_hidden);
    return [=](long i) {
      if (i >= static_cast<long>(G) * in) {
        const long g = i - static_cast<long>(G) * in;
        bias[g] = from.bias_input[g] + from.bias_hidden[g];
        return;
      }
      const long g = i / in, k = i % in;
      w[i] = k < I ? from.w_input[g * I + k] : from.w_hidden[g * H + k - I];
    };
  });
}

void lstm_part(const Context& context, const LstmTensors<float*>& p, const float* dw, const float* dbias, LstmDims d) {
  const int in = d.I + d.H, G = 4 * d.H, I = d.I, H = d.H;
  LstmTensors<float*> to = p;
  for_each(context, static_cast<long>(G) * (in + 1), [=] __device__(Members members) mutable {
    members.enter(dbias, dw, to.w_input, to.w_hidden, to.bias_input, to.bias_hidden);
    return [=](long i) {
      if (i >= static_cast<long>(G) * in) {
        const long g = i - static_cast<long>(G) * in;
        to.bias_input[g] += dbias[g];
        to.bias_hidden[g] += dbias[g];
        return;
      }
      const long g = i / in, k = i % in;
      (k < I ? to.w_input[g * I + k] : to.w_hidden[g * H + k - I]) += dw[i];
    };
  });
}

}  // namespace cafx::cuda
