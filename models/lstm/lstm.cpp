#include "models/lstm/lstm.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "kernels/dense/dense.h"
#include "kernels/lstm/lstm.h"
#include "kernels/optimizer/optimizer.h"
#include "models/stream_memory.h"

namespace cafx {

namespace {

constexpr int kSlotStreams = 8;  // places of a gradient slot: enough rows to keep a processor's adders busy
constexpr int kChunk = 512;      // samples of one call

class LstmModel : public Model {
 public:
  LstmModel(const LstmConfig& config, const std::string& form) : Model(form), config_(config) {
    const long H = config.hidden;
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape, bool decay) {
      ParamSpec p{name, std::move(shape)};
      p.init = Init::kFanInUniform;
      p.fan_in = static_cast<double>(H);
      p.decay = decay;
      params_.add(std::move(p));
    };
    for (int l = 0; l < config.layers; ++l) {
      const std::string name = "lstm." + std::to_string(l);
      add(name + ".weight", {4 * H, inputs(l) + H}, true);
      add(name + ".bias", {4 * H}, false);
    }
    add("head.weight", {1, H}, true);
    add("head.bias", {1}, false);
  }

  const LstmConfig& config() const override { return config_; }

  std::size_t training_bytes(const Context&, int B, int T, const Loss&) const override {
    const std::size_t L = static_cast<std::size_t>(config_.layers), H = static_cast<std::size_t>(config_.hidden);
    return sizeof(float) * static_cast<std::size_t>(B) *
           (static_cast<std::size_t>(T + 1) * H * (6 * L + 2) + static_cast<std::size_t>(4 * T));
  }

  void reserve(const Context& context, int, int, const Loss&) override { CAFX_CHECK(context.device == Device::kCpu); }

  void begin(const Context& context, const Batch& batch, const Loss& loss) override {
    const int warm_up = std::max(batch.warm_up, geometry().warm_up);
    slots_.resize(static_cast<std::size_t>(n_slots(batch.B)));
    reference_.resize(static_cast<std::size_t>(batch.B) * Loss::kReferences);
    over_tasks(context, n_slots(batch.B), [&](const Context& inner, int i) {
      const FlushDenormals flush;
      Slot& slot = slots_[static_cast<std::size_t>(i)];
      slot.b0 = first(batch.B, i);
      slot.B = first(batch.B, i + 1) - slot.b0;
      slot.state.assign(static_cast<std::size_t>(2 * config_.layers * slot.B * config_.hidden), 0.0f);
      for (int t = 0; t < warm_up; t += kChunk) hear(inner, slot, batch, t - warm_up, std::min(kChunk, warm_up - t));
      if (!loss.relative()) return;
      float* target = slot.memory.lay_out({batch.T})[0];
      for (int b = slot.b0; b < slot.b0 + slot.B; ++b) {
        gather_place(target, batch.target, batch.refs[b], 0, batch.T);
        loss.reference(inner, &reference_[static_cast<std::size_t>(b) * Loss::kReferences], target,
                       {1, batch.T, batch.T});
      }
    });
  }

  void gradient(const Context& context, float* gradient, const Batch& batch, const Loss& loss) override {
    const int S = n_slots(batch.B);
    CAFX_CHECK(context.device == Device::kCpu && static_cast<int>(slots_.size()) == S && batch.T >= 1, S, batch.T);
    losses_.assign(static_cast<std::size_t>(batch.B), 0.0);
    over_tasks(context, S, [&](const Context& inner, int i) {
      const FlushDenormals flush;
      train(inner, slots_[static_cast<std::size_t>(i)], batch, loss, gradient != nullptr);
    });
    if (!gradient) return;
    float* parts[kGradientSlots];
    for (int i = 0; i < S; ++i) parts[i] = slots_[static_cast<std::size_t>(i)].gradient.data();
    reduce_slots(context, gradient, parts, S, params_.n_floats());
  }

  const double* losses() const override { return losses_.data(); }

  std::unique_ptr<Player> stream(const Context&) const override;

  std::vector<LayerRow> layers() const override {
    const long H = config_.hidden;
    std::vector<LayerRow> rows{{LayerRow::Kind::kInput, "input", "1", fmt::format("{} Hz", config_.sample_rate)}};
    for (int l = 0; l < config_.layers; ++l) {
      const long n = 4 * H * (inputs(l) + H), parameters = params_[weight(l)].size + params_[weight(l) + 1].size;
      const long below = l == 0 ? 0 : 4 * H * inputs(l);  // the input needs no gradient
      rows.push_back({LayerRow::Kind::kRecurrent, fmt::format("LSTM {}", l + 1), fmt::format("{}", H),
                      fmt::format("{} hidden units", H), parameters, n, static_cast<double>(n + 4 * H * H + below)});
    }
    rows.push_back({LayerRow::Kind::kDense, "head", "1", "", H + 1, H, 2.0 * static_cast<double>(H)});
    return rows;
  }

  bool negate_output() override {
    for (const std::size_t i : {head(), head() + 1}) {
      float* p = at(params_.data(), i);
      for (long k = 0; k < params_[i].size; ++k) p[k] = -p[k];
    }
    return true;
  }

  // Of each layer [4H, I+H] by rows i, f, g, o; bias; h and c at rest. Then the head's weights and bias.
  std::optional<NamModel> nam() const override {
    NamModel nam{
        "LSTM",
        fmt::format(R"({{"input_size": 1, "hidden_size": {}, "num_layers": {}}})", config_.hidden, config_.layers),
        {}};
    const auto add = [&](std::size_t i) {
      const float* from = at(params_.data(), i);
      nam.weights.insert(nam.weights.end(), from, from + params_[i].size);
    };
    Context context;
    context.isa = best_isa();
    const std::vector<float> rest = lstm_rest(context, *this);
    for (int l = 0; l < config_.layers; ++l) {
      add(weight(l));
      add(weight(l) + 1);
      nam.weights.insert(nam.weights.end(), rest.begin() + 2L * l * config_.hidden,
                         rest.begin() + 2L * (l + 1) * config_.hidden);
    }
    add(head());
    add(head() + 1);
    return nam;
  }

  // T samples of one layer after the other. h and c (T+1,B,H) of each layer; row 0 is the state, and is taken from
  // `state` before and put there afterwards.
  void layers_forward(const Context& context, const float* weights, float* state, float* const* h, float* const* c,
                      float* const* gates, const float* x, void* scratch, int T, int B) const {
    const int H = config_.hidden;
    const long BH = static_cast<long>(B) * H;
    for (int l = 0; l < config_.layers; ++l) {
      float* of_layer = state + 2 * l * BH;
      std::copy_n(of_layer, BH, h[l]);
      std::copy_n(of_layer + BH, BH, c[l]);
      lstm_forward(context, h[l], c[l], gates ? gates[l] : nullptr, l == 0 ? x : h[l - 1] + BH, at(weights, weight(l)),
                   at(weights, weight(l) + 1), scratch, {T, B, inputs(l), H});
      std::copy_n(h[l] + T * BH, BH, of_layer);
      std::copy_n(c[l] + T * BH, BH, of_layer + BH);
    }
  }
  int inputs(int layer) const { return layer == 0 ? 1 : config_.hidden; }
  static std::size_t weight(int layer) { return 2 * static_cast<std::size_t>(layer); }
  std::size_t head() const { return 2 * static_cast<std::size_t>(config_.layers); }
  template <class T>
  T* at(T* base, std::size_t tensor) const {
    return base + params_[tensor].offset;
  }
  long forward_scratch(const Context& context, int T, int B) const {
    const int H = config_.hidden;
    return static_cast<long>(std::max({lstm_forward_scratch(context, {T, B, config_.layers > 1 ? H : 1, H}),
                                       dense_scratch(context, {T * B, H, 1})}) /
                             sizeof(float));
  }
  DenseDims head_dims(int n) const { return {n, config_.hidden, 1}; }

 private:
  struct Slot {
    int b0 = 0, B = 0;         // its places
    std::vector<float> state;  // (layers, 2, B, H): h and c
    std::vector<float> gradient;
    StreamMemory memory;
  };

  static int n_slots(int B) { return std::clamp((B + kSlotStreams - 1) / kSlotStreams, 1, kGradientSlots); }
  static int first(int B, int slot) { return static_cast<int>(static_cast<long>(slot) * B / n_slots(B)); }

  // x (T,B) of a slot's places, time outermost: samples [t, t + T) from their segments' starts.
  static void gather(float* x, const Slot& slot, const Batch& batch, int t, int T) {
    for (int b = 0; b < slot.B; ++b) gather_place(x + b, batch.input, batch.refs[slot.b0 + b], t, T, slot.B);
  }

  void hear(const Context& context, Slot& slot, const Batch& batch, int t, int T) {
    const long BH = static_cast<long>(slot.B) * config_.hidden, rows = (T + 1) * BH;
    const auto L = static_cast<std::size_t>(config_.layers);
    std::vector<long> sizes(2 * L, rows);
    sizes.push_back(static_cast<long>(T) * slot.B);
    sizes.push_back(forward_scratch(context, T, slot.B));
    const std::vector<float*> m = slot.memory.lay_out(sizes);
    gather(m[2 * L], slot, batch, t, T);
    layers_forward(context, params_.data(), slot.state.data(), m.data(), m.data() + L, nullptr, m[2 * L], m[2 * L + 1],
                   T, slot.B);
  }

  void train(const Context& context, Slot& slot, const Batch& batch, const Loss& loss, bool backward) {
    const int H = config_.hidden, B = slot.B, L = config_.layers, T = batch.T;
    const long BH = static_cast<long>(B) * H, TB = static_cast<long>(T) * B;
    std::vector<long> sizes;
    for (int l = 0; l < 2 * L; ++l) sizes.push_back((T + 1) * BH);  // h, then c
    for (int l = 0; l < L; ++l) sizes.push_back(T * BH * 4);        // gates
    sizes.insert(sizes.end(), {T * BH, T * BH, TB, TB, TB});        // dh, dh of the layer below, x, y, dy
    sizes.insert(sizes.end(), {static_cast<long>(T), loss_scratch(context, loss, T)});  // target, and for the loss
    sizes.push_back(
        std::max(forward_scratch(context, T, B),
                 static_cast<long>(lstm_backward_scratch(context, {T, B, L > 1 ? H : 1, H}) / sizeof(float))));
    const std::vector<float*> m = slot.memory.lay_out(sizes);
    float *const *h = m.data(), *const *c = h + L, *const *gates = c + L, *const *rest = gates + L;
    float *dh = rest[0], *dh_below = rest[1], *x = rest[2], *y = rest[3], *dy = rest[4], *target = rest[5];
    void *for_loss = rest[6], *scratch = rest[7];
    const float* weights = params_.data();

    gather(x, slot, batch, batch.t0, T);
    layers_forward(context, weights, slot.state.data(), h, c, gates, x, scratch, T, B);
    const float* top = h[L - 1] + BH;
    dense_forward(context, y, top, at(weights, head()), at(weights, head() + 1), scratch, head_dims(T * B));

    // The loss runs along time: y and dy are transposed, in dh, which is free here.
    float *y_b = dh, *dy_b = dh_below;
    const auto scale = backward ? static_cast<float>(1.0 / (static_cast<double>(batch.B) * T)) : 0.0f;
    for (int b = 0; b < B; ++b) {
      const auto place = static_cast<std::size_t>(slot.b0 + b);
      for (long t = 0; t < T; ++t) y_b[t] = y[t * B + b];
      gather_place(target, batch.target, batch.refs[place], batch.t0, T);
      loss(context, &losses_[place], dy_b, y_b, target, &reference_[place * Loss::kReferences], scale, {1, T, T},
           for_loss);
      for (long t = 0; t < T; ++t) dy[t * B + b] = dy_b[t];
    }
    if (!backward) return;

    slot.gradient.assign(static_cast<std::size_t>(params_.n_floats()), 0.0f);
    float* g = slot.gradient.data();
    dense_backward(context, dh, at(g, head()), at(g, head() + 1), dy, y, top, at(weights, head()), scratch,
                   head_dims(T * B));
    for (int l = L - 1; l >= 0; --l) {
      lstm_backward(context, l > 0 ? dh_below : nullptr, at(g, weight(l)), at(g, weight(l) + 1), dh,
                    l == 0 ? x : h[l - 1] + BH, h[l], c[l], gates[l], at(weights, weight(l)), scratch,
                    {T, B, inputs(l), H});
      std::swap(dh, dh_below);
    }
  }

  static long loss_scratch(const Context& context, const Loss& loss, int T) {
    return static_cast<long>((loss.scratch(context, {1, T, T}) + sizeof(float) - 1) / sizeof(float));
  }

  LstmConfig config_;
  std::vector<Slot> slots_;
  std::vector<float> reference_;
  std::vector<double> losses_;
};

class LstmPlayer : public Player {
 public:
  LstmPlayer(const Context& context, std::shared_ptr<const LstmModel> model, std::vector<float> rest)
      : model_(std::move(model)), rest_(std::move(rest)) {
    context_ = context;
    context_.pool = nullptr;
    const LstmConfig& c = model_->config();
    const auto L = static_cast<std::size_t>(c.layers);
    std::vector<long> sizes(2 * L, static_cast<long>(kChunk + 1) * c.hidden);
    sizes.push_back(model_->forward_scratch(context_, kChunk, 1));
    parts_ = memory_.lay_out(sizes);
    if (rest_.empty()) {
      rest_.assign(2 * L * static_cast<std::size_t>(c.hidden), 0.0f);
      state_ = rest_;
      std::vector<float> silence(static_cast<std::size_t>(kRestSamples), 0.0f), y(silence.size());
      process(y.data(), silence.data(), silence.size());
      rest_ = state_;
    }
    state_ = rest_;
  }

  void process(float* y, const float* x, std::size_t n) noexcept override {
    const FlushDenormals flush;
    const auto L = static_cast<std::size_t>(model_->config().layers);
    const float* weights = model_->params().data();
    for (std::size_t t = 0; t < n; t += kChunk) {
      const int T = static_cast<int>(std::min<std::size_t>(kChunk, n - t));
      model_->layers_forward(context_, weights, state_.data(), parts_.data(), parts_.data() + L, nullptr, x + t,
                             parts_[2 * L], T, 1);
      dense_forward(context_, y + t, parts_[L - 1] + model_->config().hidden, model_->at(weights, model_->head()),
                    model_->at(weights, model_->head() + 1), parts_[2 * L], model_->head_dims(T));
    }
  }
  void reset() noexcept override { std::copy(rest_.begin(), rest_.end(), state_.begin()); }
  int latency() const noexcept override { return 0; }
  double multiply_adds() const noexcept override {
    const LstmConfig& c = model_->config();
    double sum = c.hidden;
    for (int l = 0; l < c.layers; ++l) sum += 4.0 * c.hidden * (model_->inputs(l) + c.hidden);
    return sum * c.sample_rate;
  }
  std::unique_ptr<Player> twin() const override { return std::make_unique<LstmPlayer>(context_, model_, rest_); }
  const std::vector<float>& rest() const { return rest_; }

 private:
  Context context_;
  std::shared_ptr<const LstmModel> model_;
  std::vector<float> rest_, state_;
  StreamMemory memory_;
  std::vector<float*> parts_;
};

std::unique_ptr<Player> LstmModel::stream(const Context& context) const {
  auto copy = std::make_shared<LstmModel>(config_, form());
  std::copy_n(params_.data(), params_.n_floats(), copy->params().data());
  return std::make_unique<LstmPlayer>(context, std::move(copy), std::vector<float>());
}

}  // namespace

Fields LstmConfig::fields() {
  return {
      field("sample_rate", sample_rate, 0, 384000, "rate the model works at, in Hz; 0: that of what it learns from"),
      field("hidden", hidden, 1, 1024, "hidden units of a layer"),
      field("layers", layers, 1, 16, "layers"),
  };
}

void LstmConfig::check(const std::string& where) const {
  if (sample_rate < 1) throw Error("{}: sample_rate = {}; a model's is 1 Hz or more", where, sample_rate);
}

Geometry LstmConfig::geometry() const {
  Geometry g{sample_rate};
  g.block = 1024;
  return g;
}

std::vector<std::string> lstm_presets() { return {"lstm", "lstm-lite", "lstm-feather", "lstm-nano"}; }

std::unique_ptr<ModelConfig> lstm_preset(const std::string& name) {
  auto c = std::make_unique<LstmConfig>();
  if (name == "lstm-lite") {
    c->layers = 2;
    c->hidden = 8;
  }
  if (name == "lstm-feather") c->hidden = 16;
  if (name == "lstm-nano") c->hidden = 12;
  return c;
}

std::vector<std::pair<std::string, std::string>> lstm_training(const std::string&) {
  return {{"segment_seconds", "0.5"}, {"batch", "8"},           {"block", "1024"},
          {"burn_in", "1024"},        {"epochs", "300"},        {"patience", "300"},
          {"pretrain_epochs", "0"},   {"refine_epochs", "0"},   {"lr", "1e-2"},
          {"schedule", "cosine"},     {"final_factor", "0.01"}, {"clip_norm", "1"},
          {"loss.mae", "0"},          {"loss.esr", "1"},        {"stop_on", "esr"}};
}

std::unique_ptr<Model> make_lstm(const ModelConfig& config, const std::string& form) {
  config.check("model");
  return std::make_unique<LstmModel>(dynamic_cast<const LstmConfig&>(config), form);
}

std::vector<float> lstm_rest(const Context& context, const Model& model) {
  const auto stream = model.stream(context);
  return dynamic_cast<const LstmPlayer&>(*stream).rest();
}

}  // namespace cafx
