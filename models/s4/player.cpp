#include <algorithm>

#include "kernels/base/flush_denormals.h"
#include "kernels/pointwise/pointwise.h"
#include "models/knob_ramp.h"
#include "models/s4/net.h"

namespace cafx {

namespace {

constexpr int kRampStep = 16;  // while a knob moves

// Weights laid out for playing, shared by the twins.
struct S4Packed {
  StreamMemory memory;
  std::vector<float*> ssm, lstm;  // [block]
};

class S4Player : public Player {
 public:
  S4Player(const Context& context, std::shared_ptr<const S4Model> model, std::shared_ptr<const S4Packed> packed,
           std::vector<float> rest, const KnobRamp& knobs)
      : model_(std::move(model)), packed_(std::move(packed)), knobs_(knobs), rest_(std::move(rest)) {
    knobs_.finish();
    context_ = context;
    context_.device = Device::kCpu;
    context_.pool = nullptr;
    const S4Config& c = model_->config();
    late_ = c.temporal() ? c.film_block - 1 : 0;
    chunk_ = model_->played_at_once();
    if (!packed_) pack();
    const std::size_t blocks = model_->blocks().size();
    of_ssm_ = static_cast<long>(ssm_play_state(ssm(1)));
    of_lstm_ = c.temporal() ? 2L * lstm().H : 0;
    const std::size_t scratch = std::max(ssm_play_scratch(ssm(1)), lstm_play_scratch(context_, lstm()));
    const long rows = static_cast<long>(c.channels) * chunk_;
    const long modulations = model_->has_knob_film() ? static_cast<long>(blocks) * 2 * c.channels : 0;
    parts_ = memory_.lay_out(
        context_, {rows, rows, floats_of(scratch), c.channels + knobs_.size(), lstm().H, chunk_, chunk_, modulations});
    modulate();
    if (rest_.empty()) {
      rest_.assign(blocks * static_cast<std::size_t>(of_ssm_ + of_lstm_), 0.0f);
      state_ = rest_;
      const FlushDenormals flush;
      std::fill_n(input(), chunk_, 0.0f);
      for (int t = 0; t < model_->rest_length(); t += chunk_) run(output(), input(), chunk_);
      rest_ = state_;
    }
    state_ = rest_;
    S4Player::reset();
  }

  void process(float* y, const float* x, std::size_t n) noexcept override {
    const FlushDenormals flush;
    if (late_ == 0) {
      for (std::size_t t = 0; t < n;) {
        const int m = turn(static_cast<int>(std::min<std::size_t>(S4Model::kPlayedAtOnce, n - t)));
        run(y + t, x + t, m);
        t += static_cast<std::size_t>(m);
      }
      return;
    }
    // A block is played when its last sample is there; what was made of the one before comes out meanwhile.
    for (std::size_t t = 0; t < n; ++t) {
      input()[n_in_] = x[t];
      if (++n_in_ == chunk_) {
        knobs_.advance(chunk_);
        run(output(), input(), chunk_);
        n_in_ = 0;
      }
      y[t] = output()[n_in_];
    }
  }
  void set(int knob, float value) noexcept override {
    knobs_.set(knob, value);
    of_step_ = 0;
  }
  void reset() noexcept override {
    std::copy(rest_.begin(), rest_.end(), state_.begin());
    std::fill_n(output(), chunk_, 0.0f);
    n_in_ = 0;
  }
  int latency() const noexcept override { return late_; }
  double multiply_adds() const noexcept override { return model_->multiply_adds() * model_->config().sample_rate; }
  std::unique_ptr<Player> twin() const override {
    return std::make_unique<S4Player>(context_, model_, packed_, rest_, knobs_);
  }

 private:
  SsmDims ssm(int T) const { return model_->ssm_dims(1, T); }
  LstmDims lstm() const { return model_->lstm_dims(1, 1); }
  float* input() { return parts_[5]; }
  float* output() { return parts_[6]; }

  // How many of the next n samples have one modulation, which is made: knobs move in steps of kRampStep samples.
  int turn(int n) noexcept {
    if (!model_->has_knob_film()) return n;
    if (of_step_ == 0) {
      if (!knobs_.moving()) return n;
      knobs_.advance(kRampStep);
      modulate();
      of_step_ = kRampStep;
    }
    const int m = std::min(n, of_step_);
    of_step_ -= m;
    return m;
  }

  void modulate() noexcept {
    if (!model_->has_knob_film()) return;
    float hidden[kFilmHidden];
    const float* weights = model_->params().data();
    model_->knob_hidden(hidden, weights, knobs_.now());
    float* to = parts_[7];
    for (const S4Model::Block& b : model_->blocks()) {
      model_->knob_modulation(to, weights, b, hidden);
      to += 2 * model_->config().channels;
    }
  }

  void run(float* y, const float* x, int n) {
    const float* weights = model_->params().data();
    const int C = model_->config().channels;
    float *between = parts_[0], *u = parts_[1], *scratch = parts_[2], *pooled = parts_[3], *h = parts_[4];
    conv1x1_forward(context_, between, x, model_->at(weights, model_->expand()),
                    model_->at(weights, model_->expand() + 1), model_->mix(1, C, 1, n));
    float* state = state_.data();
    for (std::size_t k = 0; k < model_->blocks().size(); ++k, state += of_ssm_ + of_lstm_) {
      const S4Model::Block& w = model_->blocks()[k];
      conv1x1_forward(context_, u, between, model_->at(weights, w.linear), model_->at(weights, w.linear_bias),
                      model_->mix(C, C, 1, n));
      activation_forward(context_, u, u, static_cast<long>(C) * n, Activation::kTanh);
      ssm_play(context_, u, state, u, packed_->ssm[k], scratch, ssm(n));
      if (of_lstm_ > 0) {
        film_pool_forward(context_, pooled, u, knobs_.now(), model_->film_dims(1, n));
        lstm_play(context_, h, state + of_ssm_, pooled, packed_->lstm[k], scratch, lstm());
      }
      const float* modulation = model_->has_knob_film() ? parts_[7] + static_cast<long>(k) * 2 * C : nullptr;
      film_forward(context_, between, u, between, model_->at(weights, w.residual), of_lstm_ > 0 ? h : modulation,
                   model_->film_dims(1, n));
    }
    conv1x1_forward(context_, y, between, model_->at(weights, model_->contract()),
                    model_->at(weights, model_->contract() + 1), model_->mix(C, 1, 1, n));
    activation_forward(context_, y, y, n, Activation::kTanh);
  }

  void pack() {
    auto packed = std::make_shared<S4Packed>();
    const auto blocks = model_->blocks().size();
    const bool temporal = model_->config().temporal();
    const LstmDims d = lstm();
    const float* weights = model_->params().data();
    std::vector<long> sizes(blocks, floats_of(ssm_play_packed(ssm(1))));
    if (temporal) sizes.insert(sizes.end(), blocks, floats_of(lstm_packed(context_, d)));
    const std::vector<float*> parts = packed->memory.lay_out(context_, sizes);
    for (std::size_t k = 0; k < blocks; ++k) {
      packed->ssm.push_back(parts[k]);
      ssm_play_prepare(context_, parts[k], model_->ssm_tensors(weights, model_->blocks()[k]), ssm(1));
      if (!temporal) continue;
      packed->lstm.push_back(parts[blocks + k]);
      std::vector<float> w(static_cast<std::size_t>(4 * d.H * (d.I + d.H))), bias(static_cast<std::size_t>(4 * d.H));
      lstm_join(context_, w.data(), bias.data(), model_->lstm_tensors(weights, model_->blocks()[k]), d);
      lstm_prepare(context_, parts[blocks + k], w.data(), bias.data(), d);
    }
    packed_ = std::move(packed);
  }

  Context context_;
  std::shared_ptr<const S4Model> model_;
  std::shared_ptr<const S4Packed> packed_;
  KnobRamp knobs_;
  int of_step_ = 0;                  // samples that the modulation still holds for
  std::vector<float> rest_, state_;  // [block]: the oscillators', then h and c
  long of_ssm_ = 0, of_lstm_ = 0;    // floats of a block's state
  int late_ = 0, chunk_ = 0, n_in_ = 0;
  StreamMemory memory_;
  std::vector<float*> parts_;
};

}  // namespace

std::unique_ptr<Player> S4Model::stream(const Context& context) const {
  auto copy = std::make_shared<S4Model>(config_, form());
  std::copy_n(params_.data(), params_.n_floats(), copy->params().data());
  return std::make_unique<S4Player>(context, std::move(copy), nullptr, std::vector<float>(),
                                    KnobRamp(config_, position()));
}

}  // namespace cafx
