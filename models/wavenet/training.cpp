// The gradient of a WaveNet.
#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "kernels/conv1x1/conv1x1.h"
#include "kernels/film/film_fold.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pointwise/pointwise.h"
#include "models/wavenet/net.h"

namespace cafx {

std::size_t WavenetModel::training_bytes(const Context& context, int B, int T, const Loss& loss) const {
  std::size_t floats = 0;
  for (const long size : sizes_of(context, places_per_call(context, B), T, loss)) {
    floats += static_cast<std::size_t>(size) + 64;
  }
  return sizeof(float) * floats * static_cast<std::size_t>(context.n_workers());
}

void WavenetModel::reserve(const Context& context, int B, int T, const Loss& loss) {
  prepare(context, B, loss);
  for (StreamMemory& m : memory_) m.lay_out(context, sizes_of(context, places_per_call(context, B), T, loss));
}

void WavenetModel::begin(const Context& context, const Batch& batch, const Loss& loss) {
  prepare(context, batch.B, loss);
  over_calls(context, batch.B, 0, batch.B, [&](const Context& inner, int b, int n) {
    losses_.refer(inner, memory_[static_cast<std::size_t>(inner.worker)], batch, b, n);
  });
}

void WavenetModel::gradient(const Context& context, float* gradient, const Batch& batch, const Loss& loss) {
  CAFX_CHECK(batch.T >= 1 && batch.B <= losses_.places(), batch.T, batch.B);
  const bool on_cpu = context.device == Device::kCpu;
  const int S = on_cpu ? std::min(kGradientSlots, batch.B) : 1;
  if (gradient && on_cpu) slots_.resize(static_cast<std::size_t>(S));
  over_tasks(context, S, [&](const Context& inner, int i) {
    const FlushDenormals flush;
    float* g = gradient;
    if (gradient && on_cpu) {
      slots_[static_cast<std::size_t>(i)].resize(static_cast<std::size_t>(params_.n_floats()));
      g = slots_[static_cast<std::size_t>(i)].data();
    }
    if (g) fill_zero(inner, g, sizeof(float) * static_cast<std::size_t>(params_.n_floats()));
    const auto first = [&](int slot_index) { return static_cast<int>(static_cast<long>(slot_index) * batch.B / S); };
    over_calls(inner, batch.B, first(i), first(i + 1),
               [&](const Context& c, int b, int n) { train(c, g, batch, loss, b, n); });
  });
  if (!gradient) return;
  losses_.finish(context, gradient, params_.n_floats(), batch, S, [&](std::size_t i) { return slots_[i].data(); });
}

void WavenetModel::prepare(const Context& context, int B, const Loss& loss) {
  losses_.reserve(context, B, loss);
  if (memory_.size() < static_cast<std::size_t>(context.n_workers())) {
    memory_.resize(static_cast<std::size_t>(context.n_workers()));
  }
}

std::vector<std::vector<int>> WavenetModel::lengths_of(int T) const {
  std::vector<std::vector<int>> all;
  int length = context_ + T;
  for (const Array& array : arrays_) {
    all.emplace_back();
    for (const Layer& l : array.layers) {
      all.back().push_back(length);
      length -= (config_.taps - 1) * l.dilation;
    }
    all.back().push_back(length);
  }
  return all;
}

std::vector<long> WavenetModel::sizes_of(const Context& context, int B, int T, const Loss& loss) const {
  const auto lengths = lengths_of(T);
  std::vector<long> sizes;
  long widest = 0, channels = 1;
  std::size_t scratch = 0;
  for (std::size_t a = 0; a < arrays_.size(); ++a) {
    const Array& array = arrays_[a];
    const long Z = config_.gated ? 2L * array.C : array.C;
    const int whole = lengths[a][0];
    widest = std::max(widest, static_cast<long>(array.C) * whole);
    channels = std::max({channels, static_cast<long>(array.C), static_cast<long>(array.outputs)});
    scratch = std::max({scratch, conv1x1_backward_scratch(context, {array.inputs, array.C, whole, whole, whole, B}),
                        conv1x1_backward_scratch(context, {array.C, array.outputs, T, T, T, B})});
    for (std::size_t l = 0; l < array.layers.size(); ++l) {
      const int length = lengths[a][l], made = lengths[a][l + 1];
      const WavenetLayerDims d = dims(array, array.layers[l], made, T, length, made, B, context_ + T);
      scratch =
          std::max({scratch, wavenet_layer_forward_scratch(context, d), wavenet_layer_backward_scratch(context, d)});
      sizes.push_back(static_cast<long>(array.C) * length);
      sizes.push_back(Z * made);
    }
    for (const long size : {static_cast<long>(array.C) * T, static_cast<long>(array.outputs) * T,
                            static_cast<long>(array.C) * lengths[a].back()}) {
      sizes.push_back(size);
    }
  }
  for (const long size : {widest, widest, channels * T, channels * T, static_cast<long>(T),
                          static_cast<long>(context_ + T), static_cast<long>(T)}) {
    sizes.push_back(size);
  }
  for (long& size : sizes) size *= B;
  const long block = film_.rows > 0 ? params_.n_floats() : 0;
  for (const long size : {block, block, block > 0 ? fold_room(context) : 0,
                          block > 0 ? film_.rows + long{kFilmHidden} : 0, static_cast<long>(film_.controls)}) {
    sizes.push_back(size);
  }
  sizes.push_back(floats_of(scratch));
  sizes.push_back(floats_of(loss.scratch(context, {B, T, T})));
  return sizes;
}

WavenetModel::Saved WavenetModel::lay_out(const Context& context, int B, int T, const Loss& loss) {
  Saved s;
  const std::vector<float*> parts =
      memory_[static_cast<std::size_t>(context.worker)].lay_out(context, sizes_of(context, B, T, loss));
  auto part = parts.begin();
  for (const Array& array : arrays_) {
    s.x.emplace_back();
    s.saved.emplace_back();
    for (std::size_t l = 0; l < array.layers.size(); ++l) {
      s.x.back().push_back(*part++);
      s.saved.back().push_back(*part++);
    }
    s.head.push_back(*part++);
    s.out.push_back(*part++);
    s.y.push_back(*part++);
  }
  s.y.back() = nullptr;
  for (float** p : {&s.dx[0], &s.dx[1], &s.dhead, &s.dout, &s.scaled, &s.input, &s.target, &s.folded, &s.dfolded,
                    &s.room, &s.dmodulation, &s.controls, &s.scratch, &s.loss}) {
    *p = *part++;
  }
  return s;
}

void WavenetModel::run_layers(const Context& context, const Saved& s, const float* weights, int B, int T) const {
  const auto lengths = lengths_of(T);
  const int n = static_cast<int>(arrays_.size()), all = context_ + T;
  const auto bytes = [&](long channels) { return sizeof(float) * static_cast<std::size_t>(channels * T * B); };
  for (int a = 0; a < n; ++a) {
    const Array& array = arrays_[static_cast<std::size_t>(a)];
    const auto k = static_cast<std::size_t>(a);
    const std::vector<int>& length = lengths[k];
    conv1x1_forward(context, s.x[k][0], a == 0 ? s.input : s.y[k - 1], at(weights, array.rechannel), nullptr,
                    {array.inputs, array.C, length[0], length[0], length[0], B});
    if (a == 0) {
      fill_zero(context, s.head[0], bytes(array.C));
    } else {
      copy(context, s.head[k], s.out[k - 1], bytes(array.C));
    }
    for (std::size_t l = 0; l < array.layers.size(); ++l) {
      float* y = l + 1 < array.layers.size() ? s.x[k][l + 1] : s.y[k];
      wavenet_layer_forward(context, y, s.head[k], s.saved[k][l], s.x[k][l], s.input + (all - length[l + 1]),
                            tensors(weights, array.layers[l]), s.scratch,
                            dims(array, array.layers[l], length[l + 1], T, length[l], length[l + 1], B, all));
    }
    conv1x1_forward(context, s.out[k], s.head[k], at(weights, array.head),
                    array.head_bias ? at(weights, array.head + 1) : nullptr, {array.C, array.outputs, T, T, T, B});
  }
  scale(context, s.scaled, s.out.back(), static_cast<long>(B) * T);
}

void WavenetModel::scale(const Context& context, float* to, const float* from, long n) const {
  fill_zero(context, to, sizeof(float) * static_cast<std::size_t>(n));
  add_scaled(context, to, static_cast<float>(config_.head_scale), from, n);
}

void WavenetModel::train(const Context& context, float* g, const Batch& batch, const Loss& loss, int b, int n) {
  const int T = batch.T;
  const Saved s = lay_out(context, n, T, loss);
  const float* weights = params_.on(context);
  if (film_.rows > 0) {
    const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(film_.controls);
    if (batch.knobs) {
      copy(context, s.controls, batch.knobs + static_cast<long>(b) * film_.controls, bytes);
    } else {
      fill_zero(context, s.controls, bytes);
    }
    fold(context, s.folded, weights, s.controls, s.room);
    weights = s.folded;
  }
  gather_inputs(context, s.input, batch, b, n, batch.t0 - context_, context_ + T);
  gather_targets(context, s.target, batch, b, n, batch.t0, T);
  run_layers(context, s, weights, n, T);
  losses_(context, loss, s.dx[0], s.scaled, s.target, g != nullptr, batch, b, n, s.loss);
  if (!g) return;
  scale(context, s.dout, s.dx[0], static_cast<long>(n) * T);
  if (film_.rows == 0) return backward(context, s, weights, g, g, n, T);
  fill_zero(context, s.dfolded, sizeof(float) * static_cast<std::size_t>(params_.n_floats()));
  backward(context, s, weights, g, s.dfolded, n, T);
  fold_backward(context, s, params_.on(context), g);
}

// From the gradients of the folded weights to those of the weights and of the net of the knobs.
void WavenetModel::fold_backward(const Context& context, const Saved& s, const float* weights, float* g) const {
  const float *hidden = s.room + fold_scratch(context), *modulation = hidden + kFilmHidden;
  float* dmodulation = s.dmodulation;
  fill_zero(context, dmodulation, sizeof(float) * static_cast<std::size_t>(film_.rows));
  for (const Array& a : arrays_) {
    const int Z = config_.gated ? 2 * a.C : a.C;
    for (const Layer& l : a.layers) {
      const auto from = tensors(weights, l), folded = tensors(s.dfolded, l);
      film_fold_backward(context, {at(g, l.tensors), at(g, l.tensors + 1)}, dmodulation + l.film,
                         {folded.w, folded.bias}, {from.w, from.bias}, modulation + l.film, {Z, a.C * config_.taps});
      film_fold_backward(context, {at(g, l.tensors + 2), nullptr}, dmodulation + l.film, {folded.mixer, nullptr},
                         {from.mixer, nullptr}, modulation + l.film, {Z, 1});
    }
  }
  film_.backward(context, film_tensors(g), dmodulation + film_.rows, dmodulation, modulation, hidden,
                 film_tensors(weights), s.controls, s.room, 1);
}

void WavenetModel::backward(const Context& context, const Saved& s, const float* weights, float* g, float* folds, int B,
                            int T) const {
  const auto lengths = lengths_of(T);
  const int n = static_cast<int>(arrays_.size()), all = context_ + T;
  float *dhead = s.dhead, *dout = s.dout, *dx = s.dx[0], *dy = s.dx[1];
  for (int a = n - 1; a >= 0; --a) {
    const Array& array = arrays_[static_cast<std::size_t>(a)];
    const auto k = static_cast<std::size_t>(a);
    const std::vector<int>& length = lengths[k];
    conv1x1_backward(context, dhead, at(g, array.head), array.head_bias ? at(g, array.head + 1) : nullptr, dout,
                     s.head[k], at(weights, array.head), s.scratch, {array.C, array.outputs, T, T, T, B});
    for (std::size_t l = array.layers.size(); l-- > 0;) {
      const bool wanted = a + 1 < n || l + 1 < array.layers.size();
      const auto p = [&](std::size_t i) { return at(i < 3 ? folds : g, array.layers[l].tensors + i); };
      wavenet_layer_backward(context, dx, {p(0), p(1), p(2), p(3), p(4)}, wanted ? dy : nullptr, dhead, s.x[k][l],
                             s.input + (all - length[l + 1]), s.saved[k][l], tensors(weights, array.layers[l]),
                             s.scratch,
                             dims(array, array.layers[l], length[l + 1], T, length[l], length[l + 1], B, all));
      std::swap(dx, dy);
    }
    conv1x1_backward(context, a > 0 ? dx : nullptr, at(g, array.rechannel), nullptr, dy, a == 0 ? s.input : s.y[k - 1],
                     at(weights, array.rechannel), s.scratch,
                     {array.inputs, array.C, length[0], length[0], length[0], B});
    std::swap(dx, dy);
    std::swap(dhead, dout);  // the sum begins with what the head before made
  }
}

}  // namespace cafx
