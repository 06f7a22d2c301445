// A WaveNet sample by sample.
#include <algorithm>
#include <cstring>

#include "kernels/base/flush_denormals.h"
#include "kernels/conv1x1/conv1x1.h"
#include "models/knob_ramp.h"
#include "models/wavenet/net.h"

namespace cafx {

namespace {

constexpr int kWaveNetChunk = 512;    // samples played at a time
constexpr int kWaveNetRampStep = 16;  // samples, while a knob moves
constexpr long kRoom = 1024;          // behind a layer's past: it is moved back once in so many samples, less a chunk

// Each layer's input stands behind the samples of it that it still needs: what the future hears of the past.
class WavenetPlayer : public Player {
 public:
  WavenetPlayer(const Context& context, std::shared_ptr<const WavenetModel> model, std::vector<std::vector<float>> rest,
                const KnobRamp& knobs)
      : model_(std::move(model)), knobs_(knobs), rest_(std::move(rest)) {
    knobs_.finish();
    context_ = context;
    context_.device = Device::kCpu;
    context_.pool = nullptr;
    const WavenetConfig& c = model_->config();
    long channels = 1;
    std::size_t scratch = 0;
    for (const WavenetModel::Array& a : model_->arrays()) {
      channels = std::max({channels, static_cast<long>(a.C), static_cast<long>(a.outputs)});
      for (const WavenetModel::Layer& l : a.layers) {
        const long past = static_cast<long>(c.taps - 1) * l.dilation;
        past_.push_back(past);
        inputs_.emplace_back(static_cast<std::size_t>(a.C * (past + kRoom)), 0.0f);
        scratch = std::max(
            scratch, wavenet_layer_forward_scratch(
                         context_, model_->dims(a, l, kWaveNetChunk, kWaveNetChunk, past + kRoom, kWaveNetChunk)));
      }
    }
    const bool turned = has_knobs();
    parts_ =
        memory_.lay_out(context_, {channels * kWaveNetChunk, channels * kWaveNetChunk, channels * kWaveNetChunk,
                                   static_cast<long>(scratch / sizeof(float)), turned ? model_->params().n_floats() : 0,
                                   turned ? model_->fold_room(context_) : 0});
    weights_ = turned ? parts_[4] : model_->params().data();
    fold();
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
    for (std::size_t t = 0; t < n;) {
      const int m = turn(static_cast<int>(std::min<std::size_t>(kWaveNetChunk, n - t)));
      chunk(y + t, x + t, m);
      t += static_cast<std::size_t>(m);
    }
  }
  void set(int knob, float value) noexcept override {
    knobs_.set(knob, value);
    of_step_ = 0;
  }
  void reset() noexcept override {
    for (std::size_t i = 0; i < rest_.size(); ++i) std::copy(rest_[i].begin(), rest_[i].end(), inputs_[i].begin());
    at_ = 0;
  }
  int latency() const noexcept override { return 0; }
  double multiply_adds() const noexcept override { return model_->multiply_adds() * model_->config().sample_rate; }
  std::unique_ptr<Player> twin() const override {
    return std::make_unique<WavenetPlayer>(context_, model_, rest_, knobs_);
  }

 private:
  bool has_knobs() const { return model_->film().rows > 0; }
  void fold() noexcept {
    if (has_knobs()) model_->fold(context_, parts_[4], model_->params().data(), knobs_.now(), parts_[5]);
  }
  // How many of the next n samples have the same weights, which are made: knobs move in steps of kWaveNetRampStep.
  int turn(int n) noexcept {
    if (of_step_ == 0) {
      if (!knobs_.moving()) return n;
      knobs_.advance(kWaveNetRampStep);
      fold();
      of_step_ = kWaveNetRampStep;
    }
    const int m = std::min(n, of_step_);
    of_step_ -= m;
    return m;
  }

  const float* tensor_at(std::size_t i) const { return model_->at(weights_, i); }
  void chunk(float* y, const float* x, int n) {
    float *head = parts_[0], *out = parts_[1], *between = parts_[2], *scratch = parts_[3];
    std::size_t l = 0;  // over all arrays
    const auto input = [&](std::size_t i) { return inputs_[i].data() + at_; };
    for (std::size_t a = 0; a < model_->arrays().size(); ++a) {
      const WavenetModel::Array& array = model_->arrays()[a];
      conv1x1_forward(context_, input(l) + past_[l], a == 0 ? x : between, tensor_at(array.rechannel), nullptr,
                      {array.inputs, array.C, n, n, stride(l)});
      if (a == 0) {
        std::fill_n(head, static_cast<long>(array.C) * n, 0.0f);
      } else {
        std::swap(head, out);
      }
      for (std::size_t i = 0; i < array.layers.size(); ++i, ++l) {
        const bool last = i + 1 == array.layers.size(), wanted = !last || a + 1 < model_->arrays().size();
        float* to = !wanted ? nullptr : last ? between : input(l + 1) + past_[l + 1];
        wavenet_layer_forward(context_, to, head, nullptr, input(l), x, model_->tensors(weights_, array.layers[i]),
                              scratch, model_->dims(array, array.layers[i], n, n, stride(l), last ? n : stride(l + 1)));
      }
      conv1x1_forward(context_, out, head, tensor_at(array.head), array.head_bias ? tensor_at(array.head + 1) : nullptr,
                      {array.C, array.outputs, n, n, n});
    }
    const auto scale = static_cast<float>(model_->config().head_scale);
    for (int t = 0; t < n; ++t) y[t] = scale * out[t];
    at_ += n;
    if (at_ + kWaveNetChunk > kRoom) rewind();
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
  KnobRamp knobs_;
  int of_step_ = 0;  // samples that the weights still hold for
  const float* weights_ = nullptr;
  std::vector<long> past_;                         // [layer]: samples of its input before the chunk
  std::vector<std::vector<float>> inputs_, rest_;  // [layer]: (C, past + room)
  long at_ = 0;                                    // where the past begins in each row
  StreamMemory memory_;
  std::vector<float*> parts_;
};

}  // namespace

std::unique_ptr<Player> WavenetModel::stream(const Context& context) const {
  auto copy = std::make_shared<WavenetModel>(config_, form());
  std::copy_n(params_.data(), params_.n_floats(), copy->params().data());
  return std::make_unique<WavenetPlayer>(context, std::move(copy), std::vector<std::vector<float>>(),
                                         KnobRamp(config_, position()));
}

}  // namespace cafx
