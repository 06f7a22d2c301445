#include "models/wavenet/wavenet.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "kernels/conv1x1/conv1x1.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/wavenet_layer/wavenet_layer.h"
#include "models/stream_memory.h"

namespace cafx {

namespace {

constexpr int kChunk = 512;   // samples played at a time
constexpr long kRoom = 1024;  // behind a layer's past: it is moved back once in so many samples, less a chunk

struct Layer {
  int dilation;
  std::size_t tensors;  // of conv.weight; bias, mixer, 1x1 and its bias follow
};
struct Array {
  int inputs, C, outputs;
  std::size_t rechannel, head;  // tensors
  bool head_bias;
  std::vector<Layer> layers;
};

class WavenetModel : public Model {
 public:
  WavenetModel(const WavenetConfig& config, const std::string& form) : Model(form), config_(config) {
    const long K = config.taps;
    const auto named = [&](const std::string& name, std::vector<std::int64_t> shape, long fan_in, bool decay) {
      ParamSpec p{name, std::move(shape)};
      p.init = Init::kFanInUniform;
      p.fan_in = static_cast<double>(fan_in);
      p.decay = decay;
      return params_.add(std::move(p));
    };
    std::size_t dilation = 0;
    for (std::size_t a = 0; a < config.channels.size(); ++a) {
      const std::string of_array = "arrays." + std::to_string(a) + ".";
      const bool last = a + 1 == config.channels.size();
      const long C = config.channels[a], in = a == 0 ? 1 : config.channels[a - 1];
      const long out = last ? 1 : config.channels[a + 1], Z = config.gated ? 2 * C : C;
      Array array{static_cast<int>(in), static_cast<int>(C), static_cast<int>(out), 0, 0, last, {}};
      array.rechannel = named(of_array + "rechannel.weight", {C, in}, in, true);
      for (int l = 0; l < config.layers[a]; ++l) {
        const std::string of_layer = of_array + "layers." + std::to_string(l) + ".";
        Layer layer{config.dilations[dilation++], 0};
        layer.tensors = named(of_layer + "conv.weight", {Z, C, K}, C * K, true);
        named(of_layer + "conv.bias", {Z}, C * K, false);
        named(of_layer + "mixer.weight", {Z, 1}, 1, true);
        named(of_layer + "dense.weight", {C, C}, C, true);
        named(of_layer + "dense.bias", {C}, C, false);
        context_ += static_cast<int>(K - 1) * layer.dilation;
        array.layers.push_back(layer);
      }
      array.head = named(of_array + "head.weight", {out, C}, C, true);
      if (last) named(of_array + "head.bias", {1}, C, false);
      arrays_.push_back(std::move(array));
    }
  }

  const WavenetConfig& config() const override { return config_; }

  std::size_t training_bytes(const Context& context, int B, int T, const Loss& loss) const override {
    std::size_t floats = 0;
    for (const long size : sizes_of(context, places_per_call(context, B), T, loss)) {
      floats += static_cast<std::size_t>(size) + 64;
    }
    return sizeof(float) * floats * static_cast<std::size_t>(context.n_workers());
  }

  void reserve(const Context& context, int B, int T, const Loss& loss) override {
    prepare(context, B, loss);
    for (StreamMemory& m : memory_) m.lay_out(context, sizes_of(context, places_per_call(context, B), T, loss));
  }

  void begin(const Context& context, const Batch& batch, const Loss& loss) override {
    prepare(context, batch.B, loss);
    if (!loss.relative()) return;
    over_calls(context, batch.B, 0, batch.B, [&](const Context& inner, int b, int n) {
      StreamMemory& memory = memory_[static_cast<std::size_t>(inner.worker)];
      float* target = memory.lay_out(inner, {static_cast<long>(n) * batch.T})[0];
      gather_frames(inner, target, batch.target, batch.refs + b, {n, batch.T, 1, 0});
      loss.reference(inner, reference_.data() + b * Loss::kReferences, target, floors_.data(), {n, batch.T, batch.T});
    });
  }

  void gradient(const Context& context, float* gradient, const Batch& batch, const Loss& loss) override {
    CAFX_CHECK(batch.T >= 1 && static_cast<std::size_t>(batch.B) <= losses_.size(), batch.T, batch.B);
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
    if (!gradient || !on_cpu) return;
    float* parts[kGradientSlots];
    for (int i = 0; i < S; ++i) parts[i] = slots_[static_cast<std::size_t>(i)].data();
    reduce_slots(context, gradient, parts, S, params_.n_floats());
  }

  const double* losses() const override { return losses_.data(); }

  std::unique_ptr<Player> stream(const Context&) const override;

  std::vector<LayerRow> layers() const override {
    std::vector<LayerRow> rows{{LayerRow::Kind::kInput, "input", "1", fmt::format("{} Hz", config_.sample_rate)}};
    for (std::size_t a = 0; a < arrays_.size(); ++a) {
      const Array& array = arrays_[a];
      const long C = array.C, Z = config_.gated ? 2 * C : C, n = static_cast<long>(array.layers.size());
      const bool last = array.head_bias;
      const std::string of_array = fmt::format("array {}: ", a + 1);
      const auto add = [&](LayerRow::Kind kind, const char* name, long channels, const std::string& detail,
                           long parameters, long forward, double backward) {
        rows.push_back({kind, of_array + name, fmt::format("{}", channels), detail, parameters, forward,
                        backward * static_cast<double>(forward)});
      };
      long parameters = 0;
      for (const Layer& l : array.layers) {
        for (std::size_t i = 0; i < 5; ++i) parameters += params_[l.tensors + i].size;
      }
      add(LayerRow::Kind::kDense, "rechannel", C, "", C * array.inputs, C * array.inputs, a == 0 ? 1.0 : 2.0);
      add(LayerRow::Kind::kConvolution, "layers", C,
          fmt::format("{} of {} taps, {}", n, config_.taps, config_.gated ? "tanh times sigmoid" : "tanh"), parameters,
          n * (Z * C * config_.taps + Z + C * C), 2.0);
      add(LayerRow::Kind::kDense, "head", array.outputs, "", C * array.outputs + (last ? 1 : 0), C * array.outputs,
          2.0);
    }
    return rows;
  }

  bool negate_output() override {
    const std::size_t head = arrays_.back().head;
    for (const std::size_t i : {head, head + 1}) {
      float* p = at(params_.data(), i);
      for (long k = 0; k < params_[i].size; ++k) p[k] = -p[k];
    }
    return true;
  }

  // Tensors stand in the format's order: of each array rechannel; of each layer convolution [out][in][tap], its bias,
  // input mixer, 1x1, its bias; the array's head. Then the head's scale.
  std::optional<NamModel> nam() const override {
    const auto scale = static_cast<float>(config_.head_scale);
    std::string layers;
    std::size_t dilation = 0;
    for (std::size_t a = 0; a < arrays_.size(); ++a) {
      const auto first = config_.dilations.begin() + static_cast<long>(dilation);
      dilation += arrays_[a].layers.size();
      const std::vector<int> own(first, config_.dilations.begin() + static_cast<long>(dilation));
      layers += fmt::format(
          R"({}{{"input_size": {}, "condition_size": 1, "head_size": {}, "channels": {}, "kernel_size": {}, )"
          R"("dilations": [{}], "activation": "Tanh", "gated": {}, "head_bias": {}}})",
          a > 0 ? ", " : "", arrays_[a].inputs, arrays_[a].outputs, arrays_[a].C, config_.taps, fmt::join(own, ", "),
          config_.gated, arrays_[a].head_bias);
    }
    NamModel nam{"WaveNet", fmt::format(R"({{"layers": [{}], "head": null, "head_scale": {}}})", layers, scale), {}};
    for (const ParamSpec& p : params_) {
      nam.weights.insert(nam.weights.end(), params_.data() + p.offset, params_.data() + p.offset + p.size);
    }
    nam.weights.push_back(scale);
    return nam;
  }

  int context() const { return context_; }
  double multiply_adds() const {
    double sum = 0.0;
    for (const Array& a : arrays_) {
      const double Z = config_.gated ? 2 * a.C : a.C;
      sum += static_cast<double>(a.C) * (a.inputs + a.outputs);
      sum += static_cast<double>(a.layers.size()) * (Z * a.C * config_.taps + Z + static_cast<double>(a.C) * a.C);
    }
    return sum;
  }

  const std::vector<Array>& arrays() const { return arrays_; }
  WavenetLayerTensors<const float*> tensors(const float* weights, const Layer& l) const {
    const auto p = [&](std::size_t i) { return at(weights, l.tensors + i); };
    return {p(0), p(1), p(2), p(3), p(4)};
  }
  const float* tensor_at(std::size_t i) const { return at(params_.data(), i); }
  template <class T>
  T* at(T* base, std::size_t tensor) const {
    return base + params_[tensor].offset;
  }
  WavenetLayerDims dims(const Array& a, const Layer& l, int T, int H, long x_stride, long y_stride, int B = 1,
                        long condition_stride = 0) const {
    return {a.C, config_.taps, l.dilation, T, H, config_.gated, x_stride, y_stride, H, B, condition_stride};
  }

 private:
  // What forward keeps of each layer and array, and gradients on their way down; of B places.
  struct Saved {
    std::vector<std::vector<float*>> x, saved;  // [array][layer]: its input (B,C,length), tanh and sigmoid
    std::vector<float*> head, out;  // [array]: sum that the head reads (B,C,T), what it makes of it (B,outputs,T)
    std::vector<float*> y;          // [array]: output of its last layer, null for the last array
    float *dx[2] = {}, *dhead = nullptr, *dout = nullptr, *scaled = nullptr;
    float *scratch = nullptr, *input = nullptr, *target = nullptr,
          *loss = nullptr;  // input (B,context + T), target (B,T)
  };

  static int places_per_call(const Context& context, int B) { return context.device == Device::kCpu ? 1 : B; }

  // body(b, n) for places [b, b + n), which go through the ops together: one on a CPU, all on a GPU.
  template <class Body>
  static void over_calls(const Context& context, int B, int first, int last, Body body) {
    const int n = places_per_call(context, B);
    for (int b = first; b < last; b += n) body(context, b, n);
  }

  void prepare(const Context& context, int B, const Loss& loss) {
    const bool other_device = context.device != device_;
    const auto n = static_cast<std::size_t>(B);
    if (losses_.size() < n || other_device) {  // a smaller batch keeps every address: a graph may hold it
      losses_ = DeviceArray<double>(context, n);
      reference_ = DeviceArray<float>(context, n * Loss::kReferences);
    }
    if (floors_.size() == 0 || !(loss == loss_) || other_device) {
      floors_ = DeviceArray<float>(context, Loss::kReferences);
      floors_.upload(loss.floors().data(), Loss::kReferences);
    }
    loss_ = loss;
    device_ = context.device;
    if (memory_.size() < static_cast<std::size_t>(context.n_workers())) {
      memory_.resize(static_cast<std::size_t>(context.n_workers()));
    }
  }

  // Samples of each layer's input, all arrays one after the other; of an array one more for its output.
  std::vector<std::vector<int>> lengths_of(int T) const {
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

  // The parts of Saved, in its order of arrays and layers.
  std::vector<long> sizes_of(const Context& context, int B, int T, const Loss& loss) const {
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
    sizes.push_back(floats_of(scratch));
    sizes.push_back(floats_of(loss.scratch(context, {B, T, T})));
    return sizes;
  }

  Saved lay_out(const Context& context, int B, int T, const Loss& loss) {
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
    for (float** p : {&s.dx[0], &s.dx[1], &s.dhead, &s.dout, &s.scaled, &s.input, &s.target, &s.scratch, &s.loss}) {
      *p = *part++;
    }
    return s;
  }

  // The forward pass of B places from s.input into s; y (B,T) in s.scaled.
  void forward(const Context& context, const Saved& s, const float* weights, int B, int T) const {
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

  // to = head_scale from.
  void scale(const Context& context, float* to, const float* from, long n) const {
    fill_zero(context, to, sizeof(float) * static_cast<std::size_t>(n));
    add_scaled(context, to, static_cast<float>(config_.head_scale), from, n);
  }

  // Places [b, b + n) of the batch. g null: the losses alone.
  void train(const Context& context, float* g, const Batch& batch, const Loss& loss, int b, int n) {
    const int T = batch.T;
    const Saved s = lay_out(context, n, T, loss);
    const float* weights = params_.on(context);
    gather_frames(context, s.input, batch.input, batch.refs + b, {n, context_ + T, 1, 0, batch.t0 - context_});
    gather_frames(context, s.target, batch.target, batch.refs + b, {n, T, 1, 0, batch.t0});
    forward(context, s, weights, n, T);
    loss(context, losses_.data() + b, s.dx[0], s.scaled, s.target, reference_.data() + b * Loss::kReferences,
         g ? static_cast<float>(1.0 / (static_cast<double>(batch.B) * T)) : 0.0f, {n, T, T}, s.loss);
    if (!g) return;
    scale(context, s.dout, s.dx[0], static_cast<long>(n) * T);
    backward(context, s, weights, g, n, T);
  }

  void backward(const Context& context, const Saved& s, const float* weights, float* g, int B, int T) const {
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
        const auto p = [&](std::size_t i) { return at(g, array.layers[l].tensors + i); };
        wavenet_layer_backward(context, dx, {p(0), p(1), p(2), p(3), p(4)}, wanted ? dy : nullptr, dhead, s.x[k][l],
                               s.input + (all - length[l + 1]), s.saved[k][l], tensors(weights, array.layers[l]),
                               s.scratch,
                               dims(array, array.layers[l], length[l + 1], T, length[l], length[l + 1], B, all));
        std::swap(dx, dy);
      }
      conv1x1_backward(context, a > 0 ? dx : nullptr, at(g, array.rechannel), nullptr, dy,
                       a == 0 ? s.input : s.y[k - 1], at(weights, array.rechannel), s.scratch,
                       {array.inputs, array.C, length[0], length[0], length[0], B});
      std::swap(dx, dy);
      std::swap(dhead, dout);  // the sum begins with what the head before made
    }
  }

  WavenetConfig config_;
  std::vector<Array> arrays_;
  int context_ = 0;
  Device device_ = Device::kCpu;
  Loss loss_;
  DeviceArray<float> reference_, floors_;
  DeviceArray<double> losses_;
  std::vector<std::vector<float>> slots_;
  std::vector<StreamMemory> memory_;  // of each worker
};

// Each layer's input stands behind the samples of it that it still needs: what the future hears of the past.
class WavenetPlayer : public Player {
 public:
  WavenetPlayer(const Context& context, std::shared_ptr<const WavenetModel> model, std::vector<std::vector<float>> rest)
      : model_(std::move(model)), rest_(std::move(rest)) {
    context_ = context;
    context_.device = Device::kCpu;
    context_.pool = nullptr;
    const WavenetConfig& c = model_->config();
    long channels = 1;
    std::size_t scratch = 0;
    for (const Array& a : model_->arrays()) {
      channels = std::max({channels, static_cast<long>(a.C), static_cast<long>(a.outputs)});
      for (const Layer& l : a.layers) {
        const long past = static_cast<long>(c.taps - 1) * l.dilation;
        past_.push_back(past);
        inputs_.emplace_back(static_cast<std::size_t>(a.C * (past + kRoom)), 0.0f);
        scratch = std::max(
            scratch, wavenet_layer_forward_scratch(context_, model_->dims(a, l, kChunk, kChunk, past + kRoom, kChunk)));
      }
    }
    parts_ = memory_.lay_out(context_, {channels * kChunk, channels * kChunk, channels * kChunk,
                                        static_cast<long>(scratch / sizeof(float))});
    if (rest_.empty()) {
      const std::vector<float> silence(static_cast<std::size_t>(model_->context()) + 1, 0.0f);
      std::vector<float> y(silence.size());
      process(y.data(), silence.data(), y.size());
      rewind();
      rest_ = inputs_;
    }
    inputs_ = rest_;
  }

  void process(float* y, const float* x, std::size_t n) noexcept override {
    const FlushDenormals flush;
    for (std::size_t t = 0; t < n; t += kChunk) {
      chunk(y + t, x + t, static_cast<int>(std::min<std::size_t>(kChunk, n - t)));
    }
  }
  void reset() noexcept override {
    for (std::size_t i = 0; i < rest_.size(); ++i) std::copy(rest_[i].begin(), rest_[i].end(), inputs_[i].begin());
    at_ = 0;
  }
  int latency() const noexcept override { return 0; }
  double multiply_adds() const noexcept override { return model_->multiply_adds() * model_->config().sample_rate; }
  std::unique_ptr<Player> twin() const override { return std::make_unique<WavenetPlayer>(context_, model_, rest_); }

 private:
  void chunk(float* y, const float* x, int n) {
    float *head = parts_[0], *out = parts_[1], *between = parts_[2], *scratch = parts_[3];
    std::size_t l = 0;  // over all arrays
    const auto input = [&](std::size_t i) { return inputs_[i].data() + at_; };
    for (std::size_t a = 0; a < model_->arrays().size(); ++a) {
      const Array& array = model_->arrays()[a];
      conv1x1_forward(context_, input(l) + past_[l], a == 0 ? x : between, model_->tensor_at(array.rechannel), nullptr,
                      {array.inputs, array.C, n, n, stride(l)});
      if (a == 0) {
        std::fill_n(head, static_cast<long>(array.C) * n, 0.0f);
      } else {
        std::swap(head, out);
      }
      for (std::size_t i = 0; i < array.layers.size(); ++i, ++l) {
        const bool last = i + 1 == array.layers.size(), wanted = !last || a + 1 < model_->arrays().size();
        float* to = !wanted ? nullptr : last ? between : input(l + 1) + past_[l + 1];
        wavenet_layer_forward(context_, to, head, nullptr, input(l), x,
                              model_->tensors(model_->params().data(), array.layers[i]), scratch,
                              model_->dims(array, array.layers[i], n, n, stride(l), last ? n : stride(l + 1)));
      }
      conv1x1_forward(context_, out, head, model_->tensor_at(array.head),
                      array.head_bias ? model_->tensor_at(array.head + 1) : nullptr, {array.C, array.outputs, n, n, n});
    }
    const auto scale = static_cast<float>(model_->config().head_scale);
    for (int t = 0; t < n; ++t) y[t] = scale * out[t];
    at_ += n;
    if (at_ + kChunk > kRoom) rewind();
  }

  long stride(std::size_t layer) const { return past_[layer] + kRoom; }
  // What the future hears of the past, back to the rows' beginnings.
  void rewind() noexcept {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      for (float* row = inputs_[i].data(); row < inputs_[i].data() + inputs_[i].size(); row += stride(i)) {
        std::memmove(row, row + at_, sizeof(float) * static_cast<std::size_t>(past_[i]));
      }
    }
    at_ = 0;
  }

  Context context_;
  std::shared_ptr<const WavenetModel> model_;
  std::vector<long> past_;                         // [layer]: samples of its input before the chunk
  std::vector<std::vector<float>> inputs_, rest_;  // [layer]: (C, past + room)
  long at_ = 0;                                    // where the past begins in each row
  StreamMemory memory_;
  std::vector<float*> parts_;
};

std::unique_ptr<Player> WavenetModel::stream(const Context& context) const {
  auto copy = std::make_shared<WavenetModel>(config_, form());
  std::copy_n(params_.data(), params_.n_floats(), copy->params().data());
  return std::make_unique<WavenetPlayer>(context, std::move(copy), std::vector<std::vector<float>>());
}

}  // namespace

Fields WavenetConfig::fields() {
  return {
      field("sample_rate", sample_rate, 0, 384000, "rate the model works at, in Hz; 0: that of what it learns from"),
      field("channels", channels, "channels of each array of layers"),
      field("layers", layers, "layers of each array"),
      field("dilations", dilations, "dilation of every layer, all arrays one after the other"),
      field("taps", taps, 1, 64, "taps of every dilated convolution"),
      field("gated", gated, "tanh times sigmoid instead of tanh"),
      field("head_scale", head_scale, 1e-6, 1e6, "factor on the output"),
  };
}

void WavenetConfig::check(const std::string& where) const {
  if (sample_rate < 1) throw Error("{}: sample_rate = {}; a model's is 1 Hz or more", where, sample_rate);
  if (channels.empty() || channels.size() != layers.size() || channels.size() > 16) {
    throw Error("{}: channels has {} numbers and layers {}; give one in each for every array, 1 to 16", where,
                channels.size(), layers.size());
  }
  for (const auto& [name, list, most] :
       {std::tuple("channels", &channels, 256), {"layers", &layers, 64}, {"dilations", &dilations, 65536}}) {
    for (const int value : *list) {
      if (value < 1 || value > most) throw Error("{}: {} holds {}; each is 1 to {}", where, name, value, most);
    }
  }
  const int wanted = std::accumulate(layers.begin(), layers.end(), 0);
  if (wanted != static_cast<int>(dilations.size())) {
    throw Error("{}: layers asks for {} layers, dilations holds {}; give one for each layer", where, wanted,
                dilations.size());
  }
  const long context = geometry().warm_up;
  if (context > 1 << 20) {
    throw Error("{}: the layers look {} samples back; at most {} are possible, lower dilations", where, context,
                1 << 20);
  }
}

Geometry WavenetConfig::geometry() const {
  Geometry g{sample_rate};
  for (const int d : dilations) g.warm_up += (taps - 1) * d;
  return g;
}

std::vector<std::string> wavenet_presets() { return {"wavenet", "wavenet-lite", "wavenet-feather", "wavenet-nano"}; }

std::unique_ptr<ModelConfig> wavenet_preset(const std::string& name) {
  auto c = std::make_unique<WavenetConfig>();
  const int wide = name == "wavenet-lite" ? 12 : name == "wavenet-feather" ? 8 : name == "wavenet-nano" ? 4 : 16;
  if (wide == 16) return c;
  c->channels = {wide, wide / 2};
  c->layers = {7, 13};
  c->dilations = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
  return c;
}

// Its layers look back over any block's border: one block, the segment.
std::vector<std::pair<std::string, std::string>> wavenet_training(const std::string&) {
  return {{"segment_seconds", "0.5"}, {"batch", "4"},           {"block", "0"},
          {"burn_in", "1024"},        {"epochs", "100"},        {"patience", "300"},
          {"pretrain_epochs", "0"},   {"refine_epochs", "0"},   {"lr", "5e-3"},
          {"schedule", "cosine"},     {"final_factor", "0.01"}, {"clip_norm", "1"},
          {"loss.mae", "0"},          {"loss.esr", "1"},        {"stop_on", "esr"}};
}

std::unique_ptr<Model> make_wavenet(const ModelConfig& config, const std::string& form) {
  config.check("model");
  return std::make_unique<WavenetModel>(dynamic_cast<const WavenetConfig&>(config), form);
}

}  // namespace cafx
