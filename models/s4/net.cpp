#include "models/s4/net.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx {

namespace {

constexpr int kHeard = 4096;  // samples of the warm-up that are heard at a time, about

}  // namespace

// Initial values as PyTorch's layers and nablafx's DSSM have them.
S4Model::S4Model(const S4Config& config, const std::string& form)
    : Model(form), config_(config), n_controls_(config.geometry().knobs) {
  const long C = config.channels, N = config.state, H = 2 * C;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape, Init init, double scale,
                       bool decay = false) {
    ParamSpec p{name, std::move(shape)};
    p.init = init;
    (init == Init::kFanInUniform ? p.fan_in : p.init_scale) = scale;
    p.decay = decay;
    return params_.add(std::move(p));
  };
  const auto dense = [&](const std::string& name, long outputs, long inputs) {
    const std::size_t i =
        add(name + ".weight", {outputs, inputs}, Init::kFanInUniform, static_cast<double>(inputs), true);
    add(name + ".bias", {outputs}, Init::kFanInUniform, static_cast<double>(inputs));
    return i;
  };
  const auto around = [&](const std::string& name, std::vector<std::int64_t> shape, double lo, double hi) {
    ParamSpec p{name, std::move(shape)};
    p.init = Init::kAround;
    p.init_centre = (lo + hi) / 2;
    p.init_scale = (hi - lo) / 2;
    return params_.add(std::move(p));
  };
  expand_ = dense("expand", C, 1);
  if (has_knob_film()) knob_net_ = dense("knobs", kFilmHidden, n_controls_);
  for (int k = 0; k < config.blocks; ++k) {
    const std::string name = "blocks." + std::to_string(k) + ".";
    Block b{};
    b.linear = dense(name + "linear", C, C);
    b.linear_bias = b.linear + 1;
    b.log_dt = around(name + "s4.log_dt", {C}, std::log(0.001), std::log(0.1));
    b.c = add(name + "s4.C", {C, N, 2}, Init::kNormal, std::sqrt(0.5), true);
    b.log_a_real = around(name + "s4.log_A_real", {C, N}, std::log(0.5), std::log(0.5));
    b.a_imag = add(name + "s4.A_imag", {C, N}, Init::kRamp, std::numbers::pi);
    b.d = add(name + "s4.D", {C}, Init::kNormal, 1.0, true);
    if (config.temporal()) {
      const double fan_in = static_cast<double>(H);
      b.lstm = {add(name + "film.lstm.weight_ih_l0", {4 * H, C + n_controls_}, Init::kFanInUniform, fan_in, true),
                add(name + "film.lstm.weight_hh_l0", {4 * H, H}, Init::kFanInUniform, fan_in, true),
                add(name + "film.lstm.bias_ih_l0", {4 * H}, Init::kFanInUniform, fan_in),
                add(name + "film.lstm.bias_hh_l0", {4 * H}, Init::kFanInUniform, fan_in)};
    }
    if (has_knob_film()) {
      b.film = dense(name + "film", H, kFilmHidden);
      b.film_bias = b.film + 1;
    }
    b.residual = add(name + "res.weight", {C, 1, 1}, Init::kFanInUniform, 1.0, true);
    blocks_.push_back(b);
  }
  contract_ = dense("contract", 1, C);
}

double S4Model::multiply_adds() const {
  const double C = config_.channels, H = 2 * C;
  double block = C * C + C * (6.0 * config_.state + 1) + C;
  if (config_.temporal()) block += 4 * H * (C + n_controls_ + H) / config_.film_block + C;
  return 2 * C + config_.blocks * block;
}

void S4Model::prepare(const Context& context, int B, const Loss& loss) {
  const bool other_device = context.device != device_;
  const auto n = static_cast<std::size_t>(B), blocks = blocks_.size();
  const auto floats = blocks * n * static_cast<std::size_t>(2 * config_.channels);  // twice: of the LSTMs
  losses_.reserve(context, B, loss);
  if (lstm_state_.size() < 2 * floats || other_device) {  // a smaller batch keeps every address: a graph may hold it
    ssm_state_ = DeviceArray<float>(context, floats * static_cast<std::size_t>(config_.state));
    lstm_state_ = DeviceArray<float>(context, 2 * floats);
  }
  if (ready_.ssm.size() == 0 || other_device) {
    const LstmDims d = lstm_dims(1, 1);
    ready_.ssm_size = floats_of(ssm_packed(ssm_dims(1, 1)) + 63) / 16 * 16;
    ready_.lstm_size = 4L * d.H * (d.I + d.H + 1);
    ready_.ssm = DeviceArray<float>(context, blocks * static_cast<std::size_t>(ready_.ssm_size));
    if (config_.temporal())
      ready_.lstm = DeviceArray<float>(context, blocks * static_cast<std::size_t>(ready_.lstm_size));
  }
  device_ = context.device;
  n_places_ = B;
  if (memory_.size() < static_cast<std::size_t>(context.n_workers())) {
    memory_.resize(static_cast<std::size_t>(context.n_workers()));
  }
}

void S4Model::make_ready(const Context& context) {
  const float* weights = params_.on(context);
  for (std::size_t k = 0; k < blocks_.size(); ++k) {
    ssm_prepare(context, ready_.ssm.data() + static_cast<long>(k) * ready_.ssm_size, ssm_tensors(weights, blocks_[k]),
                ssm_dims(1, 1));
    if (!config_.temporal()) continue;
    const LstmDims d = lstm_dims(1, 1);
    float* w = ready_.lstm.data() + static_cast<long>(k) * ready_.lstm_size;
    lstm_join(context, w, w + 4L * d.H * (d.I + d.H), lstm_tensors(weights, blocks_[k]), d);
  }
}

// The parts of Parts, in its order.
std::vector<long> S4Model::sizes_of(const Context& context, int B, int T, const Loss& loss) const {
  const int C = config_.channels;
  const long rows = static_cast<long>(B) * C * T, BT = static_cast<long>(B) * T;
  const LstmDims l = lstm_dims(B, T);
  const long K = config_.temporal() ? l.T : 0, BH = static_cast<long>(B) * l.H;
  const long after = config_.temporal() ? (K + 1) * BH : 0;
  std::size_t scratch =
      std::max({conv1x1_backward_scratch(context, mix(1, C, B, T)), conv1x1_backward_scratch(context, mix(C, C, B, T)),
                conv1x1_backward_scratch(context, mix(C, 1, B, T)), ssm_scratch(context, ssm_dims(B, T))});
  if (config_.temporal())
    scratch = std::max({scratch, lstm_forward_scratch(context, l), lstm_backward_scratch(context, l)});
  if (has_knob_film()) {
    const Context c = unrounded(context);
    scratch = std::max({scratch, dense_scratch(c, hidden_dims(B)), dense_scratch(c, modulation_dims(B))});
  }
  std::vector<long> sizes;
  for (std::size_t k = 0; k < blocks_.size(); ++k) {
    for (const long size : {rows, rows, rows, static_cast<long>(B) * C * ssm_marks(T) * 2 * config_.state, K * B * l.I,
                            after, after, K * BH * 4}) {
      sizes.push_back(size);
    }
  }
  const long w = config_.temporal() ? 4L * l.H * (l.I + l.H) : 0, bias = config_.temporal() ? 4L * l.H : 0;
  const long net = has_knob_film() ? B * long{kFilmHidden} : 0, of_block = has_knob_film() ? BH : 0;
  for (const long size :
       {rows, BT, rows, rows, rows, std::max(K * BH, of_block), K * B * l.I, w, bias, BT, BT, BT, floats_of(scratch),
        floats_of(loss.scratch(context, {B, T, T})), static_cast<long>(B) * n_controls_, net, net, net,
        static_cast<long>(blocks_.size()) * of_block}) {
    sizes.push_back(size);
  }
  return sizes;
}

S4Model::Parts S4Model::lay_out(const Context& context, int B, int T, const Loss& loss) {
  Parts p;
  const std::vector<float*> parts =
      memory_[static_cast<std::size_t>(context.worker)].lay_out(context, sizes_of(context, B, T, loss));
  auto part = parts.begin();
  for (std::size_t k = 0; k < blocks_.size(); ++k) {
    Saved s{};
    for (float** at : {&s.x, &s.u, &s.z, &s.marks, &s.pooled, &s.h, &s.c, &s.gates}) *at = *part++;
    p.blocks.push_back(s);
  }
  for (float** at :
       {&p.last, &p.y, &p.dx[0], &p.dx[1], &p.dz, &p.dmodulation, &p.dpooled, &p.dw, &p.dbias, &p.input, &p.target,
        &p.dout, &p.scratch, &p.loss, &p.controls, &p.hidden, &p.dhidden[0], &p.dhidden[1], &p.modulations}) {
    *at = *part++;
  }
  return p;
}

std::size_t S4Model::training_bytes(const Context& context, int B, int T, const Loss& loss) const {
  const int n = places_per_call(context, B);
  const auto bytes = [&](int samples) {
    std::size_t floats = 0;
    for (const long size : sizes_of(context, n, samples, loss)) floats += static_cast<std::size_t>(size) + 64;
    return sizeof(float) * floats * static_cast<std::size_t>(context.n_workers());
  };
  return std::max(bytes(T), bytes(rounded_up(kHeard, config_.film_block)));
}

void S4Model::reserve(const Context& context, int B, int T, const Loss& loss) {
  prepare(context, B, loss);
  const int n = places_per_call(context, B);
  for (StreamMemory& m : memory_) {
    m.lay_out(context, sizes_of(context, n, std::max(T, rounded_up(kHeard, config_.film_block)), loss));
    m.lay_out(context, sizes_of(context, n, T, loss));
  }
}

float* S4Model::ssm_state(std::size_t block, int b) {
  const long place = static_cast<long>(config_.channels) * 2 * config_.state;
  return ssm_state_.data() + (static_cast<long>(block) * n_places_ + b) * place;
}
float* S4Model::lstm_state(std::size_t block, int b, int which) {
  const long H = 2L * config_.channels;
  return lstm_state_.data() + ((2 * static_cast<long>(block) + which) * n_places_ + b) * H;
}

void S4Model::begin(const Context& context, const Batch& batch, const Loss& loss) {
  prepare(context, batch.B, loss);
  make_ready(context);
  ssm_state_.fill_zero();
  lstm_state_.fill_zero();
  const int step = config_.temporal() ? config_.film_block : 1;
  const int warm_up = rounded_up(batch.warm_up, step), chunk = rounded_up(kHeard, step);
  const int n = places_per_call(context, batch.B);
  over_tasks(context, batch.B / n, [&](const Context& inner, int b) {
    const FlushDenormals flush;
    for (int t = 0; t < warm_up; t += chunk) hear(inner, batch, t - warm_up, std::min(chunk, warm_up - t), b * n, n);
    losses_.refer(inner, memory_[static_cast<std::size_t>(inner.worker)], batch, b * n, n);
  });
}

void S4Model::hear(const Context& context, const Batch& batch, int t, int T, int b, int n) {
  const Parts p = lay_out(context, n, T, Loss());
  gather_inputs(context, p.input, batch, b, n, t, T);
  take_controls(context, p, batch, b, n);
  run_layers(context, p, b, n, T);
}

void S4Model::check_start(int t0) const {
  if (!config_.temporal() || t0 % config_.film_block == 0) return;
  throw Error(
      "train.block makes a block begin at sample {}, within one of {} samples that FiLM modulates alike; let "
      "train.block be a multiple of model.film_block, or 0",
      t0, config_.film_block);
}

void S4Model::gradient(const Context& context, float* gradient, const Batch& batch, const Loss& loss) {
  CAFX_CHECK(batch.T >= 1 && batch.B == n_places_, batch.T, batch.B, n_places_);
  check_start(batch.t0);
  make_ready(context);
  const bool on_cpu = context.device == Device::kCpu;
  const int S = on_cpu ? std::min(kGradientSlots, batch.B) : 1, n = places_per_call(context, batch.B);
  const auto floats = static_cast<std::size_t>(params_.n_floats());
  if (gradient && on_cpu) slots_.resize(static_cast<std::size_t>(S));
  over_tasks(context, S, [&](const Context& inner, int i) {
    const FlushDenormals flush;
    float* g = gradient;
    if (gradient && on_cpu) {
      slots_[static_cast<std::size_t>(i)].resize(floats);
      g = slots_[static_cast<std::size_t>(i)].data();
    }
    if (g) fill_zero(inner, g, sizeof(float) * floats);
    const auto first = [&](int slot) { return static_cast<int>(static_cast<long>(slot) * batch.B / S); };
    for (int b = first(i); b < first(i + 1); b += n) train(inner, g, batch, loss, b, n);
  });
  if (!gradient) return;
  losses_.finish(context, gradient, params_.n_floats(), batch, S, [&](std::size_t i) { return slots_[i].data(); });
}

void S4Model::take_controls(const Context& context, const Parts& p, const Batch& batch, int b, int n) const {
  const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(n) * static_cast<std::size_t>(n_controls_);
  if (bytes == 0) return;
  if (!batch.knobs) return fill_zero(context, p.controls, bytes);
  copy(context, p.controls, batch.knobs + static_cast<long>(b) * n_controls_, bytes);
}

void S4Model::knob_hidden(float* hidden, const float* weights, const float* controls) const noexcept {
  const float *w = at(weights, knob_net_), *bias = at(weights, knob_net_ + 1);
  for (int h = 0; h < kFilmHidden; ++h, w += n_controls_) {
    float sum = bias[h];
    for (int k = 0; k < n_controls_; ++k) sum += w[k] * controls[k];
    hidden[h] = std::tanh(sum);
  }
}

void S4Model::knob_modulation(float* modulation, const float* weights, const Block& block,
                              const float* hidden) const noexcept {
  const int C = config_.channels;
  const float *w = at(weights, block.film), *bias = at(weights, block.film_bias);
  for (int o = 0; o < 2 * C; ++o, w += kFilmHidden) {
    float sum = bias[o];
    for (int h = 0; h < kFilmHidden; ++h) sum += w[h] * hidden[h];
    modulation[o] = sum;
  }
}

void S4Model::run_layers(const Context& context, const Parts& p, int b, int n, int T) {
  const int C = config_.channels;
  const float* weights = params_.on(context);
  if (has_knob_film()) {
    dense_forward(unrounded(context), p.hidden, p.controls, at(weights, knob_net_), at(weights, knob_net_ + 1),
                  p.scratch, hidden_dims(n));
  }
  conv1x1_forward(context, p.blocks[0].x, p.input, at(weights, expand_), at(weights, expand_ + 1), mix(1, C, n, T));
  for (std::size_t k = 0; k < blocks_.size(); ++k) {
    const Block& w = blocks_[k];
    const Saved& s = p.blocks[k];
    conv1x1_forward(context, s.u, s.x, at(weights, w.linear), at(weights, w.linear_bias), mix(C, C, n, T));
    activation_forward(context, s.u, s.u, static_cast<long>(n) * C * T, Activation::kTanh);
    ssm_forward(context, s.z, ssm_state(k, b), s.marks, s.u, ready_.ssm.data() + static_cast<long>(k) * ready_.ssm_size,
                p.scratch, ssm_dims(n, T));
    const float* modulation = nullptr;
    if (config_.temporal()) {
      modulate(context, s, k, p, b, n, T);
      modulation = s.h + static_cast<long>(n) * 2 * C;
    }
    if (has_knob_film()) {
      float* of_block = modulation_at(p, k, n);
      dense_forward(unrounded(context), of_block, p.hidden, at(weights, w.film), at(weights, w.film_bias), p.scratch,
                    modulation_dims(n));
      modulation = of_block;
    }
    film_forward(context, k + 1 < blocks_.size() ? p.blocks[k + 1].x : p.last, s.z, s.x, at(weights, w.residual),
                 modulation, film_dims(n, T));
  }
  conv1x1_forward(context, p.y, p.last, at(weights, contract_), at(weights, contract_ + 1), mix(C, 1, n, T));
  activation_forward(context, p.y, p.y, static_cast<long>(n) * T, Activation::kTanh);
}

void S4Model::modulate(const Context& context, const Saved& s, std::size_t block, const Parts& p, int b, int n, int T) {
  const LstmDims d = lstm_dims(n, T);
  const long row = static_cast<long>(n) * d.H;
  const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(row);
  const float* w = ready_.lstm.data() + static_cast<long>(block) * ready_.lstm_size;
  film_pool_forward(context, s.pooled, s.z, p.controls, film_dims(n, T));
  copy(context, s.h, lstm_state(block, b, 0), bytes);
  copy(context, s.c, lstm_state(block, b, 1), bytes);
  lstm_forward(context, s.h, s.c, s.gates, s.pooled, w, w + 4L * d.H * (d.I + d.H), p.scratch, d);
  copy(context, lstm_state(block, b, 0), s.h + d.T * row, bytes);
  copy(context, lstm_state(block, b, 1), s.c + d.T * row, bytes);
}

// Places [b, b + n) of the batch. g null: the losses alone.
void S4Model::train(const Context& context, float* g, const Batch& batch, const Loss& loss, int b, int n) {
  const int T = batch.T;
  const Parts p = lay_out(context, n, T, loss);
  gather_inputs(context, p.input, batch, b, n, batch.t0, T);
  gather_targets(context, p.target, batch, b, n, batch.t0, T);
  take_controls(context, p, batch, b, n);
  run_layers(context, p, b, n, T);
  losses_(context, loss, p.dout, p.y, p.target, g != nullptr, batch, b, n, p.loss);
  if (g) backward(context, p, g, n, T);
}

void S4Model::backward(const Context& context, const Parts& p, float* g, int n, int T) {
  const int C = config_.channels;
  const long rows = static_cast<long>(n) * C * T;
  const float* weights = params_.on(context);
  float *dy = p.dx[0], *dz = p.dz, *du = p.dx[1];
  activation_backward(context, p.dout, p.dout, p.y, static_cast<long>(n) * T, Activation::kTanh);
  conv1x1_backward(context, dy, at(g, contract_), at(g, contract_ + 1), p.dout, p.last, at(weights, contract_),
                   p.scratch, mix(C, 1, n, T));
  for (std::size_t k = blocks_.size(); k-- > 0;) {
    const Block& w = blocks_[k];
    const Saved& s = p.blocks[k];
    const float* modulation = config_.temporal() ? s.h + static_cast<long>(n) * 2 * C
                              : has_knob_film()  ? modulation_at(p, k, n)
                                                 : nullptr;
    film_backward(context, dz, p.dmodulation, dy, s.z, modulation, film_dims(n, T));
    if (has_knob_film()) knobs_backward(context, p, g, k, n);
    if (config_.temporal())
      film_pool_backward(context, dz, modulation_backward(context, p, g, s, k, n, T), s.z, film_dims(n, T));
    ssm_backward(context, du, ssm_tensors(g, w), dz, s.u, s.marks,
                 ready_.ssm.data() + static_cast<long>(k) * ready_.ssm_size, p.scratch, ssm_dims(n, T));
    activation_backward(context, du, du, s.u, rows, Activation::kTanh);
    float* dx = dz;  // which has been read
    conv1x1_backward(context, dx, at(g, w.linear), at(g, w.linear_bias), du, s.x, at(weights, w.linear), p.scratch,
                     mix(C, C, n, T));
    film_residual_backward(context, dx, at(g, w.residual), dy, s.x, at(weights, w.residual), film_dims(n, T));
    std::swap(dy, dz);
  }
  conv1x1_backward(context, nullptr, at(g, expand_), at(g, expand_ + 1), dy, p.input, at(weights, expand_), p.scratch,
                   mix(1, C, n, T));
}

// From the gradient of a block's modulation to that of its weights, and with the first block, the last of all, to the
// net's.
void S4Model::knobs_backward(const Context& given, const Parts& p, float* g, std::size_t block, int n) {
  const Context context = unrounded(given);
  const Block& b = blocks_[block];
  const float* weights = params_.on(context);
  const bool begins = block + 1 == blocks_.size();
  dense_backward(context, p.dhidden[begins ? 0 : 1], at(g, b.film), at(g, b.film_bias), p.dmodulation,
                 modulation_at(p, block, n), p.hidden, at(weights, b.film), p.scratch, modulation_dims(n));
  if (!begins) add_scaled(context, p.dhidden[0], 1.0f, p.dhidden[1], static_cast<long>(n) * kFilmHidden);
  if (block > 0) return;
  dense_backward(context, nullptr, at(g, knob_net_), at(g, knob_net_ + 1), p.dhidden[0], p.hidden, p.controls,
                 at(weights, knob_net_), p.scratch, hidden_dims(n));
}

// From the gradient of the modulation to that of the maxima, which it returns.
float* S4Model::modulation_backward(const Context& context, const Parts& p, float* g, const Saved& s, std::size_t block,
                                    int n, int T) {
  const LstmDims d = lstm_dims(n, T);
  const long weights = 4L * d.H * (d.I + d.H);
  fill_zero(context, p.dw, sizeof(float) * static_cast<std::size_t>(weights));
  fill_zero(context, p.dbias, sizeof(float) * static_cast<std::size_t>(4 * d.H));
  lstm_backward(context, p.dpooled, p.dw, p.dbias, p.dmodulation, s.pooled, s.h, s.c, s.gates,
                ready_.lstm.data() + static_cast<long>(block) * ready_.lstm_size, p.scratch, d);
  lstm_part(context, lstm_tensors(g, blocks_[block]), p.dw, p.dbias, d);
  return p.dpooled;
}

std::vector<LayerRow> S4Model::layers() const {
  const long C = config_.channels, N = config_.state, H = 2 * C, Q = kSsmChunk;
  std::vector<LayerRow> rows{{LayerRow::Kind::kInput, "input", "1", fmt::format("{} Hz", config_.sample_rate)}};
  const auto add = [&](LayerRow::Kind kind, const std::string& name, long outputs, const std::string& detail,
                       long parameters, long forward, double backward) {
    rows.push_back({kind, name, fmt::format("{}", outputs), detail, parameters, forward, backward});
  };
  add(LayerRow::Kind::kDense, "expand", C, "", 2 * C, C, static_cast<double>(C));
  if (has_knob_film()) {  // where a knob moves alone
    add(LayerRow::Kind::kDense, "knobs", kFilmHidden, "tanh, once for each position", kFilmHidden * (n_controls_ + 1),
        0, 0.0);
  }
  for (int k = 0; k < config_.blocks; ++k) {
    const std::string name = fmt::format("block {}: ", k + 1);
    add(LayerRow::Kind::kDense, name + "linear", C, "tanh", C * C + C, C * C, 2.0 * static_cast<double>(C * C));
    add(LayerRow::Kind::kRecurrent, name + "state space", C, fmt::format("{} oscillators a channel", N),
        2 * C + 4 * C * N, C * (6 * N + 1), static_cast<double>(C * (2 * Q + 10 * N)));
    if (config_.temporal()) {
      const double sample = static_cast<double>(4 * H * (C + n_controls_ + H)) / config_.film_block;
      add(LayerRow::Kind::kRecurrent, name + "FiLM", 2 * C,
          fmt::format("LSTM of {} units on maxima of {} samples", H, config_.film_block),
          4 * H * (C + n_controls_ + H + 2), std::max(1L, static_cast<long>(sample)), 2.0 * sample);
    }
    if (has_knob_film()) {
      add(LayerRow::Kind::kElementwise, name + "FiLM", 2 * C, "scales and shifts from the knobs", H * (kFilmHidden + 1),
          2 * C, 2.0 * static_cast<double>(H));
    }
    add(LayerRow::Kind::kElementwise, name + "residual", C, "tanh, then added", C, C, 2.0 * static_cast<double>(C));
  }
  add(LayerRow::Kind::kDense, "contract", 1, "tanh", C + 1, C, 2.0 * static_cast<double>(C));
  return rows;
}

std::vector<Fact> S4Model::facts(const Context&, const Batch*) {
  Fact longest{"s4/memory", "longest time constant of an oscillator, in milliseconds"};
  Fact all{"s4/time_constants", "time constants of all oscillators, in milliseconds", Fact::Kind::kDistribution};
  for (const Block& b : blocks_) {
    for (int i = 0; i < config_.channels * config_.state; ++i) {
      const double damping = std::exp(static_cast<double>(at(params_.data(), b.log_a_real)[i]) +
                                      at(params_.data(), b.log_dt)[i / config_.state]);  // of a sample
      const double ms = std::min(1e3 / (damping * config_.sample_rate), 1e30);
      all.values.push_back(static_cast<float>(ms));
      longest.number = std::max(longest.number, ms);
    }
  }
  return {longest, all};
}

bool S4Model::negate_output() {
  for (const std::size_t i : {contract_, contract_ + 1}) {
    float* p = at(params_.data(), i);
    for (long k = 0; k < params_[i].size; ++k) p[k] = -p[k];
  }
  return true;
}

}  // namespace cafx
