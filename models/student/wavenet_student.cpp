// The convolutional student: arrays of WaveNet layers. Each array mixes its input to its own channels (rechannel); its layers
// add to the sum that its head reads, which begins with what the head before made; the last head's output is y.
#include <algorithm>
#include <cstring>

#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "kernels/conv1x1/conv1x1.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/relative_error/relative_error.h"
#include "kernels/wavenet_layer/wavenet_layer.h"
#include "models/student/students.h"

namespace cafx {

namespace {

constexpr int kChunk = 512;  // samples played at a time

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

class WavenetStudent : public Student {
 public:
  explicit WavenetStudent(const StudentConfig& config) : Student(config) {
    const long K = config.taps;
    std::size_t next = 0;
    const auto named = [&](const std::string& name, std::vector<std::int64_t> shape, long fan_in, bool decay) {
      add(name, std::move(shape), fan_in, decay);
      return next++;
    };
    std::size_t dilation = 0;
    for (std::size_t a = 0; a < config.channels.size(); ++a) {
      const std::string of_array = "arrays." + std::to_string(a) + ".";
      const bool last = a + 1 == config.channels.size();
      const long C = config.channels[a], in = a == 0 ? 1 : config.channels[a - 1];
      const long out = last ? 1 : config.channels[a + 1], Z = config.gated ? 2 * C : C;
      Array array{static_cast<int>(in), static_cast<int>(C), static_cast<int>(out), 0, 0, last, {}};
      array.rechannel = named(of_array + "rechannel.weight", {C, in}, in, true);
      for (int l = 0; l < config.array_layers[a]; ++l) {
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

  int receptive_context() const override { return context_; }
  double multiply_adds() const override {
    double sum = 0.0;
    for (const Array& a : arrays_) {
      const double Z = config_.gated ? 2 * a.C : a.C;
      sum += static_cast<double>(a.C) * (a.inputs + a.outputs);
      sum += static_cast<double>(a.layers.size()) * (Z * a.C * config_.taps + Z + static_cast<double>(a.C) * a.C);
    }
    return sum;
  }

  void begin(const Context&, const StudentSegments& s) override {
    CAFX_CHECK(s.context >= context_, s.context, context_);
  }

  double gradient(const Context& context, float* gradient, const StudentSegments& s, int t0, int T) override {
    CAFX_CHECK(t0 >= 0 && T >= 1 && t0 + T <= s.length, t0, T, s.length);
    const int S = std::min(kGradientSlots, s.B);
    losses_.assign(static_cast<std::size_t>(s.B), 0.0);
    slots_.resize(static_cast<std::size_t>(S));
    memory_.resize(static_cast<std::size_t>(context.n_workers()));
    over_tasks(context, S, [&](const Context& inner, int i) {
      const FlushDenormals flush;
      std::vector<float>& slot = slots_[static_cast<std::size_t>(i)];
      slot.assign(static_cast<std::size_t>(n_floats()), 0.0f);
      const auto first = [&](int slot_index) { return static_cast<int>(static_cast<long>(slot_index) * s.B / S); };
      for (int b = first(i); b < first(i + 1); ++b) train(inner, slot.data(), s, b, t0, T);
    });
    float* parts[kGradientSlots];
    for (int i = 0; i < S; ++i) parts[i] = slots_[static_cast<std::size_t>(i)].data();
    reduce_slots(context, gradient, parts, S, n_floats());
    double loss = 0.0;
    for (const double of_segment : losses_) loss += of_segment;
    return loss;
  }

  std::unique_ptr<StudentStream> stream(const Context&) const override;

  const std::vector<Array>& arrays() const { return arrays_; }
  WavenetLayerTensors<const float*> tensors(const Layer& l) const {
    const auto p = [&](std::size_t i) { return at(data(), l.tensors + i); };
    return {p(0), p(1), p(2), p(3), p(4)};
  }
  const float* tensor_at(std::size_t i) const { return at(data(), i); }
  WavenetLayerDims dims(const Array& a, const Layer& l, int T, int H, long x_stride, long y_stride) const {
    return {a.C, config_.taps, l.dilation, T, H, config_.gated, x_stride, y_stride, H};
  }

 private:
  // What forward keeps of each layer and array, and gradients on their way down.
  struct Saved {
    std::vector<std::vector<float*>> x, saved;  // [array][layer]: its input (C, length), tanh and sigmoid
    std::vector<std::vector<int>> length;       // of each layer's input; one more for the last one's output
    std::vector<float*> head, out;  // [array]: sum that the head reads (C,T), what it makes of it (outputs,T)
    std::vector<float*> y;          // [array]: output of its last layer, null for the last array
    float *dx[2] = {}, *dhead = nullptr, *dout = nullptr, *scratch = nullptr;
  };

  Saved lay_out(const Context& context, StudentMemory& memory, int T) const {
    Saved s;
    std::vector<long> sizes;
    const auto n = arrays_.size();
    s.x.resize(n);
    s.saved.resize(n);
    s.length.resize(n);
    int length = context_ + T;
    long widest = 0, channels = 1;
    std::size_t scratch = 0;
    for (std::size_t a = 0; a < n; ++a) {
      const Array& array = arrays_[a];
      const long Z = config_.gated ? 2L * array.C : array.C;
      widest = std::max(widest, static_cast<long>(array.C) * length);
      channels = std::max({channels, static_cast<long>(array.C), static_cast<long>(array.outputs)});
      scratch = std::max({scratch, conv1x1_backward_scratch(context, {array.inputs, array.C, length, length, length}),
                          conv1x1_backward_scratch(context, {array.C, array.outputs, T, T, T})});
      for (const Layer& l : array.layers) {
        s.length[a].push_back(length);
        sizes.push_back(static_cast<long>(array.C) * length);
        const int made = length - (config_.taps - 1) * l.dilation;
        const WavenetLayerDims d = dims(array, l, made, T, length, made);
        scratch =
            std::max({scratch, wavenet_layer_forward_scratch(context, d), wavenet_layer_backward_scratch(context, d)});
        sizes.push_back(Z * made);
        length = made;
      }
      s.length[a].push_back(length);
      for (const long size : {static_cast<long>(array.C) * T, static_cast<long>(array.outputs) * T,
                              static_cast<long>(array.C) * length}) {
        sizes.push_back(size);
      }
    }
    for (const long size : {widest, widest, channels * T, channels * T, static_cast<long>(scratch / sizeof(float))}) {
      sizes.push_back(size);
    }
    const std::vector<float*> parts = memory.lay_out(sizes);
    auto part = parts.begin();
    for (std::size_t a = 0; a < n; ++a) {
      for (std::size_t l = 0; l < arrays_[a].layers.size(); ++l) {
        s.x[a].push_back(*part++);
        s.saved[a].push_back(*part++);
      }
      s.head.push_back(*part++);
      s.out.push_back(*part++);
      s.y.push_back(*part++);
    }
    s.y.back() = nullptr;
    for (float** p : {&s.dx[0], &s.dx[1], &s.dhead, &s.dout, &s.scratch}) *p = *part++;
    return s;
  }

  void train(const Context& context, float* g, const StudentSegments& segments, int b, int t0, int T) {
    const Saved s = lay_out(context, memory_[static_cast<std::size_t>(context.worker)], T);
    const float* x = segments.x + static_cast<long>(b) * (segments.context + segments.length) + segments.context -
                     context_ + t0;  // (context_ + T)
    const int n = static_cast<int>(arrays_.size()), all = context_ + T;
    for (int a = 0; a < n; ++a) {
      const Array& array = arrays_[static_cast<std::size_t>(a)];
      const auto k = static_cast<std::size_t>(a);
      const std::vector<int>& length = s.length[k];
      conv1x1_forward(context, s.x[k][0], a == 0 ? x : s.y[k - 1], at(data(), array.rechannel), nullptr,
                      {array.inputs, array.C, length[0], length[0], length[0]});
      if (a == 0) {
        std::fill_n(s.head[0], static_cast<long>(array.C) * T, 0.0f);
      } else {
        std::copy_n(s.out[k - 1], static_cast<long>(array.C) * T, s.head[k]);
      }
      for (std::size_t l = 0; l < array.layers.size(); ++l) {
        float* y = l + 1 < array.layers.size() ? s.x[k][l + 1] : s.y[k];
        wavenet_layer_forward(context, y, s.head[k], s.saved[k][l], s.x[k][l], x + (all - length[l + 1]),
                              tensors(array.layers[l]), s.scratch,
                              dims(array, array.layers[l], length[l + 1], T, length[l], length[l + 1]));
      }
      conv1x1_forward(context, s.out[k], s.head[k], at(data(), array.head),
                      array.head_bias ? at(data(), array.head + 1) : nullptr, {array.C, array.outputs, T, T, T});
    }

    float* y = s.out.back();
    const auto scale = static_cast<float>(config_.head_scale);
    for (int t = 0; t < T; ++t) y[t] *= scale;
    relative_error_forward_backward(context, &losses_[static_cast<std::size_t>(b)], s.dout, y,
                                    segments.target + static_cast<long>(b) * segments.length + t0,
                                    segments.esr_scale + b, segments.mae_scale + b,
                                    {1, T, segments.length, segments.pre_emphasis});
    for (int t = 0; t < T; ++t) s.dout[t] *= scale;

    float *dhead = s.dhead, *dout = s.dout, *dx = s.dx[0], *dy = s.dx[1];
    for (int a = n - 1; a >= 0; --a) {
      const Array& array = arrays_[static_cast<std::size_t>(a)];
      const auto k = static_cast<std::size_t>(a);
      const std::vector<int>& length = s.length[k];
      conv1x1_backward(context, dhead, at(g, array.head), array.head_bias ? at(g, array.head + 1) : nullptr, dout,
                       s.head[k], at(data(), array.head), s.scratch, {array.C, array.outputs, T, T, T});
      for (std::size_t l = array.layers.size(); l-- > 0;) {
        const bool wanted = a + 1 < n || l + 1 < array.layers.size();
        const auto p = [&](std::size_t i) { return at(g, array.layers[l].tensors + i); };
        wavenet_layer_backward(context, dx, {p(0), p(1), p(2), p(3), p(4)}, wanted ? dy : nullptr, dhead, s.x[k][l],
                               x + (all - length[l + 1]), s.saved[k][l], tensors(array.layers[l]), s.scratch,
                               dims(array, array.layers[l], length[l + 1], T, length[l], length[l + 1]));
        std::swap(dx, dy);
      }
      conv1x1_backward(context, a > 0 ? dx : nullptr, at(g, array.rechannel), nullptr, dy, a == 0 ? x : s.y[k - 1],
                       at(data(), array.rechannel), s.scratch,
                       {array.inputs, array.C, length[0], length[0], length[0]});
      std::swap(dx, dy);
      std::swap(dhead, dout);  // the sum begins with what the head before made
    }
  }

  std::vector<Array> arrays_;
  int context_ = 0;
  std::vector<std::vector<float>> slots_;
  std::vector<StudentMemory> memory_;  // of each worker
  std::vector<double> losses_;
};

// Each layer's input stands behind the samples of it that it still needs: what the future hears of the past.
class WavenetStream : public StudentStream {
 public:
  WavenetStream(const Context& context, std::shared_ptr<const WavenetStudent> student,
                std::vector<std::vector<float>> rest)
      : student_(std::move(student)), rest_(std::move(rest)) {
    context_ = context;
    context_.pool = nullptr;
    const StudentConfig& c = student_->config();
    long channels = 1;
    std::size_t scratch = 0;
    for (const Array& a : student_->arrays()) {
      channels = std::max({channels, static_cast<long>(a.C), static_cast<long>(a.outputs)});
      for (const Layer& l : a.layers) {
        const long past = static_cast<long>(c.taps - 1) * l.dilation;
        past_.push_back(past);
        inputs_.emplace_back(static_cast<std::size_t>(a.C * (past + kChunk)), 0.0f);
        scratch = std::max(scratch, wavenet_layer_forward_scratch(
                                        context_, student_->dims(a, l, kChunk, kChunk, past + kChunk, kChunk)));
      }
    }
    parts_ = memory_.lay_out(
        {channels * kChunk, channels * kChunk, channels * kChunk, static_cast<long>(scratch / sizeof(float))});
    if (rest_.empty()) {
      const std::vector<float> silence(static_cast<std::size_t>(student_->receptive_context()) + 1, 0.0f);
      std::vector<float> y(silence.size());
      process(y.data(), silence.data(), static_cast<long>(y.size()));
      rest_ = inputs_;
    }
    inputs_ = rest_;
  }

  void process(float* y, const float* x, long n) override {
    const FlushDenormals flush;
    for (long t = 0; t < n; t += kChunk) chunk(y + t, x + t, static_cast<int>(std::min<long>(kChunk, n - t)));
  }
  void reset() override { inputs_ = rest_; }
  std::unique_ptr<StudentStream> twin() const override {
    return std::make_unique<WavenetStream>(context_, student_, rest_);
  }

 private:
  void chunk(float* y, const float* x, int n) {
    float *head = parts_[0], *out = parts_[1], *between = parts_[2], *scratch = parts_[3];
    std::size_t l = 0;  // over all arrays
    const auto stride = [&](std::size_t i) { return past_[i] + kChunk; };
    for (std::size_t a = 0; a < student_->arrays().size(); ++a) {
      const Array& array = student_->arrays()[a];
      conv1x1_forward(context_, inputs_[l].data() + past_[l], a == 0 ? x : between,
                      student_->tensor_at(array.rechannel), nullptr, {array.inputs, array.C, n, n, stride(l)});
      if (a == 0) {
        std::fill_n(head, static_cast<long>(array.C) * n, 0.0f);
      } else {
        std::swap(head, out);
      }
      for (std::size_t i = 0; i < array.layers.size(); ++i, ++l) {
        const bool last = i + 1 == array.layers.size(), wanted = !last || a + 1 < student_->arrays().size();
        float* to = !wanted ? nullptr : last ? between : inputs_[l + 1].data() + past_[l + 1];
        wavenet_layer_forward(context_, to, head, nullptr, inputs_[l].data(), x, student_->tensors(array.layers[i]),
                              scratch,
                              student_->dims(array, array.layers[i], n, n, stride(l), last ? n : stride(l + 1)));
      }
      conv1x1_forward(context_, out, head, student_->tensor_at(array.head),
                      array.head_bias ? student_->tensor_at(array.head + 1) : nullptr,
                      {array.C, array.outputs, n, n, n});
    }
    const auto scale = static_cast<float>(student_->config().head_scale);
    for (int t = 0; t < n; ++t) y[t] = scale * out[t];
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      for (float* row = inputs_[i].data(); row < inputs_[i].data() + inputs_[i].size(); row += stride(i)) {
        std::memmove(row, row + n, sizeof(float) * static_cast<std::size_t>(past_[i]));
      }
    }
  }

  Context context_;
  std::shared_ptr<const WavenetStudent> student_;
  std::vector<long> past_;                         // [layer]: samples of its input before the chunk
  std::vector<std::vector<float>> inputs_, rest_;  // [layer]: (C, past + chunk)
  StudentMemory memory_;
  std::vector<float*> parts_;
};

std::unique_ptr<StudentStream> WavenetStudent::stream(const Context& context) const {
  auto copy = std::make_shared<WavenetStudent>(config_);
  std::copy_n(data(), n_floats(), copy->data());
  return std::make_unique<WavenetStream>(context, std::move(copy), std::vector<std::vector<float>>());
}

}  // namespace

std::unique_ptr<Student> make_wavenet_student(const StudentConfig& config) {
  return std::make_unique<WavenetStudent>(config);
}

}  // namespace cafx
