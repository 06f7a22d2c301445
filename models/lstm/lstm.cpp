#include "models/lstm/lstm.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "kernels/base/knobs.h"
#include "kernels/dense/dense.h"
#include "kernels/lstm/lstm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/transpose/transpose.h"
#include "models/knob_ramp.h"
#include "models/nam_controls.h"
#include "models/recurrent_dropout.h"
#include "models/stream_places.h"

namespace cafx {

namespace {

constexpr int kSlotStreams = 8;  // places of a gradient slot: enough rows to keep a processor's adders busy
constexpr int kLstmBlock = 512;  // samples heard or played at a time

class LstmModel : public Model {
 public:
  LstmModel(const LstmConfig& config, const std::string& form)
      : Model(form), config_(config), n_controls_(config.geometry().knobs) {
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

  std::size_t training_bytes(const Context& context, int B, int T, const Loss& loss) const override {
    std::size_t floats = n_dropped();
    for (int i = 0; i < n_slots(context, B); ++i) {
      const int n = first(context, B, i + 1) - first(context, B, i);
      for (const long size : sizes_of(context, n, T, loss)) floats += static_cast<std::size_t>(size) + 64;
    }
    return sizeof(float) * floats;
  }

  void reserve(const Context& context, int B, int T, const Loss& loss) override {
    share_out(context, B, loss);
    for (Slot& slot : slots_) {
      slot.memory.lay_out(context, sizes_of(context, slot.B, T, loss));
      slot.memory.lay_out(context, sizes_of(context, slot.B, kLstmBlock, loss));
    }
  }

  void begin(const Context& context, const Batch& batch, const Loss& loss) override {
    const int warm_up = std::max(batch.warm_up, geometry().warm_up);
    share_out(context, batch.B, loss);
    drop(context, batch.draw);
    over_tasks(context, static_cast<int>(slots_.size()), [&](const Context& inner, int i) {
      const FlushDenormals flush;
      Slot& slot = slots_[static_cast<std::size_t>(i)];
      fill_zero(inner, slot.state.data(), sizeof(float) * slot.state.size());
      for (int t = 0; t < warm_up; t += kLstmBlock)
        hear(inner, slot, batch, t - warm_up, std::min(kLstmBlock, warm_up - t));
      losses_.refer(inner, slot.memory, batch, slot.b0, slot.B);
    });
  }

  void gradient(const Context& context, float* gradient, const Batch& batch, const Loss& loss) override {
    CAFX_CHECK(batch.B == n_places_ && batch.T >= 1, batch.B, n_places_, batch.T);
    const int S = static_cast<int>(slots_.size());
    drop(context, batch.draw);
    over_tasks(context, S, [&](const Context& inner, int i) {
      const FlushDenormals flush;
      Slot& slot = slots_[static_cast<std::size_t>(i)];
      float* own = context.device == Device::kCpu ? slot.gradient.data() : gradient;  // a GPU has one slot
      train(inner, slot, batch, loss, gradient ? own : nullptr);
    });
    if (!gradient) return;
    losses_.finish(context, gradient, params_.n_floats(), batch, S,
                   [&](std::size_t i) { return slots_[i].gradient.data(); });
    if (drops_) drop_recurrent(context, gradient, *batch.draw);
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
                      fmt::format("{} hidden units{}", H, l == 0 && n_controls_ > 0 ? ", knobs beside the input" : ""),
                      parameters, n, static_cast<double>(n + 4 * H * H + below)});
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

  bool graph(GraphBuilder& g) const override {
    const auto file = nam();
    if (!file || file->parametric) return false;
    lstm_graph(g, config_, file->weights);
    return true;
  }

  // Of each layer [4H, I+H] by rows i, f, g, o; bias; h and c at rest. Then the head's weights and bias. In the
  // parametric form the first layer's inputs are the sample and the controls.
  std::optional<NamModel> nam() const override {
    const bool parametric = n_controls_ > 0 && position().empty();
    const std::vector<Knob> knobs = parse_knobs(config_.knobs, "model.knobs");
    NamModel nam{parametric ? "ConcatLSTM" : "LSTM",
                 fmt::format(R"({{"input_size": {}, "hidden_size": {}, "num_layers": {}}})",
                             parametric ? 1 + nam_controls(knobs) : 1, config_.hidden, config_.layers),
                 {},
                 parametric};
    const auto add = [&](std::size_t i) {
      const float* from = at(params_.data(), i);
      nam.weights.insert(nam.weights.end(), from, from + params_[i].size);
    };
    Context context;
    context.isa = best_isa();
    const std::vector<float> rest = lstm_rest(context, *this);
    for (int l = 0; l < config_.layers; ++l) {
      if (l == 0 && n_controls_ > 0) {
        parametric ? add_first_layer(nam.weights, knobs) : add_first_layer(nam.weights);
      } else {
        add(weight(l));
        add(weight(l) + 1);
      }
      nam.weights.insert(nam.weights.end(), rest.begin() + 2L * l * config_.hidden,
                         rest.begin() + 2L * (l + 1) * config_.hidden);
    }
    add(head());
    add(head() + 1);
    return nam;
  }

  void add_first_layer(std::vector<float>& weights, const std::vector<Knob>& knobs) const {
    const int H = config_.hidden, I = inputs(0);
    for (int r = 0; r < 4 * H; ++r) {
      const float* row = at(params_.data(), 0) + static_cast<long>(r) * (I + H);
      weights.push_back(row[0]);
      add_nam_row(weights, row + 1, knobs);
      weights.insert(weights.end(), row + I, row + I + H);
    }
    weights.insert(weights.end(), at(params_.data(), 1), at(params_.data(), 1) + 4L * H);
  }

  // The first layer as one of the sample alone, [4H, 1+H] and bias: what the knobs add where they stand is part of the
  // bias.
  void add_first_layer(std::vector<float>& weights) const {
    const int H = config_.hidden, I = inputs(0), rows = 4 * H;
    std::vector<float> bias(at(params_.data(), 1), at(params_.data(), 1) + rows);
    for (int r = 0; r < rows; ++r) {
      const float* row = at(params_.data(), 0) + static_cast<long>(r) * (I + H);
      weights.push_back(row[0]);
      weights.insert(weights.end(), row + I, row + I + H);
      for (int k = 0; k < n_controls_; ++k) {
        bias[static_cast<std::size_t>(r)] += row[1 + k] * position()[static_cast<std::size_t>(k)];
      }
    }
    weights.insert(weights.end(), bias.begin(), bias.end());
  }

  // T samples of one layer after the other. h and c (T+1,B,H) of each layer; row 0 is the state, and is taken from
  // `state` before and put there afterwards.
  void layers_forward(const Context& context, const float* weights, float* state, float* const* h, float* const* c,
                      float* const* gates, const float* x, void* scratch, int T, int B) const {
    const int H = config_.hidden;
    const long BH = static_cast<long>(B) * H;
    for (int l = 0; l < config_.layers; ++l) {
      float* of_layer = state + 2 * l * BH;
      copy(context, h[l], of_layer, sizeof(float) * static_cast<std::size_t>(BH));
      copy(context, c[l], of_layer + BH, sizeof(float) * static_cast<std::size_t>(BH));
      lstm_forward(context, h[l], c[l], gates ? gates[l] : nullptr, l == 0 ? x : h[l - 1] + BH, at(weights, weight(l)),
                   at(weights, weight(l) + 1), scratch, {T, B, inputs(l), H});
      copy(context, of_layer, h[l] + T * BH, sizeof(float) * static_cast<std::size_t>(BH));
      copy(context, of_layer + BH, c[l] + T * BH, sizeof(float) * static_cast<std::size_t>(BH));
    }
  }
  int inputs(int layer) const { return layer == 0 ? 1 + n_controls_ : config_.hidden; }
  int widest() const { return std::max(inputs(0), config_.layers > 1 ? config_.hidden : 1); }
  static std::size_t weight(int layer) { return 2 * static_cast<std::size_t>(layer); }
  std::size_t head() const { return 2 * static_cast<std::size_t>(config_.layers); }
  template <class T>
  T* at(T* base, std::size_t tensor) const {
    return base + params_[tensor].offset;
  }
  long forward_scratch(const Context& context, int T, int B) const {
    const int H = config_.hidden;
    return floats_of(
        std::max(lstm_forward_scratch(context, {T, B, widest(), H}), dense_scratch(context, {T * B, H, 1})));
  }
  DenseDims head_dims(int n) const { return {n, config_.hidden, 1}; }

 private:
  struct Slot {
    int b0 = 0, B = 0;         // its places
    DeviceArray<float> state;  // (layers, 2, B, H): h and c
    std::vector<float> gradient;
    StreamMemory memory;
  };

  static int n_slots(const Context& context, int B) {
    if (context.device != Device::kCpu) return 1;
    return std::clamp((B + kSlotStreams - 1) / kSlotStreams, 1, kGradientSlots);
  }
  static int first(const Context& context, int B, int slot) {
    return static_cast<int>(static_cast<long>(slot) * B / n_slots(context, B));
  }

  // The weights as an update sees them: dropped_, where something is left out.
  void drop(const Context& context, const DropoutDraw* draw) {
    drops_ = draw && config_.dropout > 0.0;
    if (!drops_) return;
    copy(context, dropped_.data(), params_.on(context), sizeof(float) * dropped_.size());
    drop_recurrent(context, dropped_.data(), *draw);
  }
  void drop_recurrent(const Context& context, float* block, const DropoutDraw& draw) const {
    for (int l = 0; l < config_.layers; ++l) {
      cafx::drop_recurrent(context, at(block, weight(l)), inputs(l), config_.hidden, config_.dropout, draw,
                           static_cast<std::uint32_t>(l));
    }
  }
  std::size_t n_dropped() const { return config_.dropout > 0.0 ? static_cast<std::size_t>(params_.n_floats()) : 0; }
  const float* weights_of(const Context& context) { return drops_ ? dropped_.data() : params_.on(context); }

  // Places to slots, and what each place has of its own.
  void share_out(const Context& context, int B, const Loss& loss) {
    const bool other_device = context.device != device_;
    losses_.reserve(context, B, loss);
    if (B == n_places_ && !other_device) return;
    if (dropped_.size() < n_dropped() || other_device) dropped_ = DeviceArray<float>(context, n_dropped());
    n_places_ = B;
    device_ = context.device;
    slots_.resize(static_cast<std::size_t>(n_slots(context, B)));
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      Slot& slot = slots_[i];
      slot.b0 = first(context, B, static_cast<int>(i));
      slot.B = first(context, B, static_cast<int>(i) + 1) - slot.b0;
      const auto floats = static_cast<std::size_t>(2 * config_.layers * slot.B * config_.hidden);
      if (slot.state.size() < floats || other_device) slot.state = DeviceArray<float>(context, floats);
      if (context.device == Device::kCpu) slot.gradient.resize(static_cast<std::size_t>(params_.n_floats()));
    }
  }

  // What a block of T samples of B places needs; the state is heard up to a segment in the first parts of it.
  std::vector<long> sizes_of(const Context& context, int B, int T, const Loss& loss) const {
    const int H = config_.hidden, L = config_.layers;
    const long BH = static_cast<long>(B) * H, TB = static_cast<long>(T) * B;
    std::vector<long> sizes;
    for (int l = 0; l < 2 * L; ++l) sizes.push_back((T + 1) * BH);  // h, then c
    for (int l = 0; l < L; ++l) sizes.push_back(T * BH * 4);        // gates
    sizes.insert(sizes.end(), {T * BH, T * BH});                    // dh, dh of the layer below
    sizes.push_back(TB * inputs(0));                                // x
    sizes.insert(sizes.end(), 5, TB);                               // y, dy; along time: x or y, dy, target
    sizes.push_back(floats_of(loss.scratch(context, {B, T, T})));
    sizes.push_back(
        std::max(forward_scratch(context, T, B), floats_of(lstm_backward_scratch(context, {T, B, widest(), H}))));
    return sizes;
  }

  // x (T,B,I): the samples along time (B,T), and each place's controls beside them.
  void arrange(const Context& context, float* x, const float* along, const Batch& batch, const Slot& slot,
               int T) const {
    if (n_controls_ == 0) return transpose(context, x, along, {1, slot.B, T});
    const float* controls = batch.knobs ? batch.knobs + static_cast<long>(slot.b0) * n_controls_ : nullptr;
    with_constants(context, x, along, controls, {slot.B, T, n_controls_});
  }

  void hear(const Context& context, Slot& slot, const Batch& batch, int t, int T) {
    const auto L = static_cast<std::size_t>(config_.layers);
    const std::vector<float*> m = slot.memory.lay_out(context, sizes_of(context, slot.B, T, Loss()));
    float *const *rest = m.data() + 3 * L, *x = rest[2], *along = rest[5];
    gather_inputs(context, along, batch, slot.b0, slot.B, t, T);
    arrange(context, x, along, batch, slot, T);
    layers_forward(context, weights_of(context), slot.state.data(), m.data(), m.data() + L, nullptr, x, rest[9], T,
                   slot.B);
  }

  // g null: the losses alone.
  void train(const Context& context, Slot& slot, const Batch& batch, const Loss& loss, float* g) {
    const int H = config_.hidden, B = slot.B, L = config_.layers, T = batch.T;
    const long BH = static_cast<long>(B) * H;
    const std::vector<float*> m = slot.memory.lay_out(context, sizes_of(context, B, T, loss));
    float *const *h = m.data(), *const *c = h + L, *const *gates = c + L, *const *rest = gates + L;
    float *dh = rest[0], *dh_below = rest[1], *x = rest[2], *y = rest[3], *dy = rest[4];
    float *along = rest[5], *dy_along = rest[6], *target = rest[7];
    void *for_loss = rest[8], *scratch = rest[9];
    const float* weights = weights_of(context);

    gather_inputs(context, along, batch, slot.b0, B, batch.t0, T);
    arrange(context, x, along, batch, slot, T);
    layers_forward(context, weights, slot.state.data(), h, c, gates, x, scratch, T, B);
    const float* top = h[L - 1] + BH;
    dense_forward(context, y, top, at(weights, head()), at(weights, head() + 1), scratch, head_dims(T * B));

    // The loss runs along time.
    transpose(context, along, y, {1, T, B});
    gather_targets(context, target, batch, slot.b0, B, batch.t0, T);
    losses_(context, loss, dy_along, along, target, g != nullptr, batch, slot.b0, B, for_loss);
    if (!g) return;
    transpose(context, dy, dy_along, {1, B, T});

    fill_zero(context, g, sizeof(float) * static_cast<std::size_t>(params_.n_floats()));
    dense_backward(context, dh, at(g, head()), at(g, head() + 1), dy, y, top, at(weights, head()), scratch,
                   head_dims(T * B));
    for (int l = L - 1; l >= 0; --l) {
      lstm_backward(context, l > 0 ? dh_below : nullptr, at(g, weight(l)), at(g, weight(l) + 1), dh,
                    l == 0 ? x : h[l - 1] + BH, h[l], c[l], gates[l], at(weights, weight(l)), scratch,
                    {T, B, inputs(l), H});
      std::swap(dh, dh_below);
    }
  }

  LstmConfig config_;
  int n_controls_;
  int n_places_ = 0;  // that the slots were made for
  Device device_ = Device::kCpu;
  std::vector<Slot> slots_;
  bool drops_ = false;
  DeviceArray<float> dropped_;
  StreamLosses losses_;
};

// Weights laid out for playing, shared by the twins.
struct LstmPacked {
  StreamMemory memory;
  std::vector<float*> layers;
};

class LstmPlayer : public Player {
 public:
  LstmPlayer(const Context& context, std::shared_ptr<const LstmModel> model, std::shared_ptr<const LstmPacked> packed,
             std::vector<float> rest, const KnobRamp& knobs)
      : model_(std::move(model)), packed_(std::move(packed)), knobs_(knobs), rest_(std::move(rest)) {
    knobs_.finish();
    context_ = context;
    context_.device = Device::kCpu;
    context_.pool = nullptr;
    if (!packed_) pack();
    const LstmConfig& c = model_->config();
    std::size_t scratch = dense_scratch(context_, model_->head_dims(kLstmBlock));
    for (int l = 0; l < c.layers; ++l) scratch = std::max(scratch, lstm_play_scratch(context_, dims(l, kLstmBlock)));
    const long rows = static_cast<long>(kLstmBlock) * c.hidden;
    parts_ =
        memory_.lay_out(context_, {rows, rows, floats_of(scratch), static_cast<long>(kLstmBlock) * model_->inputs(0)});
    if (rest_.empty()) {
      rest_.assign(static_cast<std::size_t>(2 * c.layers * c.hidden), 0.0f);
      state_ = rest_;
      std::vector<float> silence(static_cast<std::size_t>(kRestSamples), 0.0f), y(silence.size());
      process(y.data(), silence.data(), silence.size());
      rest_ = state_;
    }
    state_ = rest_;
  }

  void process(float* y, const float* x, std::size_t n) noexcept override {
    const FlushDenormals flush;
    const int L = model_->config().layers, H = model_->config().hidden;
    const float* weights = model_->params().data();
    float *h = parts_[0], *below = parts_[1];
    for (std::size_t t = 0; t < n; t += kLstmBlock) {
      const int T = static_cast<int>(std::min<std::size_t>(kLstmBlock, n - t));
      const float* in = with_controls(x + t, T);
      for (int l = 0; l < L; ++l) {
        lstm_play(context_, h, state_.data() + static_cast<std::ptrdiff_t>(2 * l * H), l == 0 ? in : below,
                  packed_->layers[static_cast<std::size_t>(l)], parts_[2], dims(l, T));
        std::swap(h, below);
      }
      dense_forward(context_, y + t, below, model_->at(weights, model_->head()),
                    model_->at(weights, model_->head() + 1), parts_[2], model_->head_dims(T));
    }
  }
  void set(int knob, float value) noexcept override { knobs_.set(knob, value); }
  void reset() noexcept override { std::copy(rest_.begin(), rest_.end(), state_.begin()); }
  int latency() const noexcept override { return 0; }
  double multiply_adds() const noexcept override {
    const LstmConfig& c = model_->config();
    double sum = c.hidden;
    for (int l = 0; l < c.layers; ++l) sum += 4.0 * c.hidden * (model_->inputs(l) + c.hidden);
    return sum * c.sample_rate;
  }
  std::unique_ptr<Player> twin() const override {
    return std::make_unique<LstmPlayer>(context_, model_, packed_, rest_, knobs_);
  }
  const std::vector<float>& rest() const { return rest_; }

 private:
  LstmDims dims(int layer, int T) const { return {T, 1, model_->inputs(layer), model_->config().hidden}; }

  // (T,I): each sample with its controls.
  const float* with_controls(const float* x, int T) noexcept {
    const int K = knobs_.size();
    if (K == 0) return x;
    float* to = parts_[3];
    for (int t = 0; t < T; ++t) {
      knobs_.advance(1);
      *to++ = x[t];
      to = std::copy_n(knobs_.now(), K, to);
    }
    return parts_[3];
  }

  void pack() {
    auto packed = std::make_shared<LstmPacked>();
    std::vector<long> sizes;
    const int L = model_->config().layers;
    for (int l = 0; l < L; ++l) sizes.push_back(floats_of(lstm_packed(context_, dims(l, 1))));
    packed->layers = packed->memory.lay_out(context_, sizes);
    const float* weights = model_->params().data();
    for (int l = 0; l < L; ++l) {
      lstm_prepare(context_, packed->layers[static_cast<std::size_t>(l)], model_->at(weights, LstmModel::weight(l)),
                   model_->at(weights, LstmModel::weight(l) + 1), dims(l, 1));
    }
    packed_ = std::move(packed);
  }

  Context context_;
  std::shared_ptr<const LstmModel> model_;
  std::shared_ptr<const LstmPacked> packed_;
  KnobRamp knobs_;
  std::vector<float> rest_, state_;  // (layers, 2, H): h and c
  StreamMemory memory_;
  std::vector<float*> parts_;
};

std::unique_ptr<Player> LstmModel::stream(const Context& context) const {
  auto copy = std::make_shared<LstmModel>(config_, form());
  std::copy_n(params_.data(), params_.n_floats(), copy->params().data());
  return std::make_unique<LstmPlayer>(context, std::move(copy), nullptr, std::vector<float>(),
                                      KnobRamp(config_, position()));
}

}  // namespace

std::unique_ptr<Model> make_lstm(const ModelConfig& config, const std::string& form) {
  config.check("model");
  return std::make_unique<LstmModel>(dynamic_cast<const LstmConfig&>(config), form);
}

std::vector<float> lstm_rest(const Context& context, const Model& model) {
  const auto stream = model.stream(context);
  return dynamic_cast<const LstmPlayer&>(*stream).rest();
}

}  // namespace cafx
