// kernels/wavenet_layer/wavenet_layer.h -- a layer of WaveNet: dilated causal convolution, activation, 1x1, residual.
//
//   z[o,t] = bias[o] + mixer[o] condition[t] + sum_i sum_k w[o,i,k] x[i, t + k dilation]
//   a = tanh(z)       or, gated, Z = 2C:   a = tanh(z[0..C)) sigmoid(z[C..2C))
//   head[i,t] += a[i,t]  for the last H of the T samples
//   y[o,t] = x[o, t + (K-1) dilation] + bias1[o] + sum_i w1[o,i] a[i,t]
//
//   Causal: row t of x is (K-1) dilation samples older than row t of the output; there is no padding inside.
//
// Source   van den Oord et al. 2016, arXiv:1609.03499; with the mixer and the head of NeuralAmpModeler.
// Shapes   of B segments, time contiguous, since channels are few:
//          x, dx (B, C, T + (K-1) dilation), rows x_stride apart
//          y, dy (B,C,T), rows y_stride apart; null: the layer's output is not wanted, has no gradient
//          head, dhead (B,C,H), rows head_stride apart   condition (B,T), rows condition_stride apart
//          saved (B,Z,T): tanh and sigmoid of z; null in forward, which then keeps none
//          w, dw (Z,C,K)   bias, dbias, mixer, dmixer (Z)   w1, dw1 (C,C)   bias1, dbias1 (C)
// Grads    dx =   others +=      None for the condition: it is the input of the network.
// Saved    x, condition, saved.
// Scratch  *_scratch bytes for forward and backward.   In place: no.
// Errors   sizes >= 1, 0 <= H <= T, strides as long as their rows (B = 1: condition_stride is not read): CheckError
//          with the numbers.
// Bits     same input, same device and instruction set: same bits; of forward, however T is divided into calls.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"

namespace cafx {

struct WavenetLayerDims {
  int C, K, dilation, T, H;
  bool gated;
  long x_stride, y_stride, head_stride;
  int B = 1;
  long condition_stride = 0;
};
// One layer's tensors, or their gradients.
template <class Pointer>
struct WavenetLayerTensors {
  Pointer w, bias, mixer, w1, bias1;
};
constexpr int n_z(const WavenetLayerDims& d) { return d.gated ? 2 * d.C : d.C; }
inline constexpr int kWavenetTile = 256;  // samples that go through the layer while they are in cache

std::size_t wavenet_layer_forward_scratch(const Context&, WavenetLayerDims);  // bytes
void wavenet_layer_forward(const Context&, float* y, float* head, float* saved, const float* x, const float* condition,
                           const WavenetLayerTensors<const float*>&, void* scratch, WavenetLayerDims);
std::size_t wavenet_layer_backward_scratch(const Context&, WavenetLayerDims);  // bytes
void wavenet_layer_backward(const Context&, float* dx, const WavenetLayerTensors<float*>& gradients, const float* dy,
                            const float* dhead, const float* x, const float* condition, const float* saved,
                            const WavenetLayerTensors<const float*>&, void* scratch, WavenetLayerDims);

}  // namespace cafx
