#include "models/cafx/net.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "models/cafx/net_state.h"
#include "models/cafx/sequence.h"
#include "models/gradient_scale.h"
#include "models/knob_ramp.h"

namespace cafx {

CafxNet::CafxNet(const CafxConfig& sizes, CafxParts parts, const std::string& form)
    : Model(form), state_(std::make_unique<State>(sizes, parts, &params_)) {
  visit_tensors(sizes, parts,
                [&](const std::string& name, std::vector<std::int64_t> shape, const CafxTensorKind& k, auto) {
                  params_.add(spec_of(name, std::move(shape), k));
                });
}

CafxNet::~CafxNet() = default;

const CafxConfig& CafxNet::sizes() const { return state_->config; }
CafxParts CafxNet::parts() const { return state_->parts; }

std::vector<Fact> CafxNet::facts(const Context&, const Batch*) {
  const CafxConfig& c = state_->config;
  Fact filters{"conv1d/filters", "filters of Conv1D", Fact::Kind::kFilters};
  for (int k = 0; k < c.taps; ++k) filters.x.push_back(static_cast<float>(k));
  const float* conv = params_.tensor("conv1d.weight");
  filters.values.assign(conv, conv + static_cast<long>(c.filters) * c.taps);
  return {filters};
}

std::vector<LayerRow> CafxNet::layers() const { return cafx_layers(state_->config, state_->parts); }

std::unique_ptr<FrameSequence> CafxNet::sequence(const Context& context, int hop) const {
  if (context.device != Device::kCpu || !state_->parts.latent) return nullptr;
  return make_cafx_sequence(params_, state_->config, state_->parts, position(), context, hop);
}

std::vector<float> CafxNet::at_position() const {
  std::vector<float> weights(params_.data(), params_.data() + params_.n_floats());
  const State& s = *state_;
  if (!s.knobs.any()) return weights;
  Context context;
  context.isa = best_isa();
  std::vector<float> room(s.knobs.room(context, 1));
  const CafxTensors t = s.tensors(weights.data());
  const CafxTensors folded = s.knobs.fold(context, t, KnobRamp(s.config, position()).now(), room.data(), 1);
  const auto put = [](float* to, const float* from, long n) {
    if (to != from) std::copy_n(from, n, to);
  };
  put(t.dense_b, folded.dense_b, s.config.frame / s.config.pool);
  long inputs = s.config.filters;
  for (std::size_t l = 0; l < s.config.dnn.size(); inputs = s.config.dnn[l++]) {
    put(t.dnn_w[l], folded.dnn_w[l], s.config.dnn[l] * inputs);
    put(t.dnn_b[l], folded.dnn_b[l], s.config.dnn[l]);
  }
  return weights;
}

std::size_t CafxNet::training_bytes(const Context& context, int B, int, const Loss& loss) const {
  State plan(state_->config, state_->parts, state_->params);
  plan.B = B;
  plan.n_workers = context.n_workers();
  plan.training = true;
  plan.loss = loss;
  Arena arena;
  plan.lay_out(context, arena);
  return arena.used();
}

static Conv1dDims convolutions_of(const CafxConfig& c, int B) { return {B, c.frame, c.filters, c.taps}; }
static bool is_flipped(const CafxConfig& c) { return CafxDims(c, 1).deconv.form == Deconv::kCorrelate; }

std::size_t CafxNet::library_bytes(const Context& context, int B, int) const {
  const CafxConfig& c = state_->config;
  return convolution_workspace(context, convolutions_of(c, frames_per_call(context, B)), is_flipped(c));
}

void CafxNet::reserve(const Context& context, int B, int, const Loss& loss) {
  state_->reserve(context, B, &loss);
  const CafxConfig& c = state_->config;
  reserve_convolutions(context, convolutions_of(c, frames_per_call(context, B)), is_flipped(c));
}

const double* CafxNet::losses() const { return state_->losses; }

void CafxNet::forward(const Context& context, float* y, const float* x, int B) {
  CAFX_CHECK(B >= 1, B);
  State& s = *state_;
  s.draw = nullptr;
  const CafxConfig& c = s.config;
  s.reserve(context, B, nullptr);
  s.prepare(context);
  const CafxTensors t = s.tensors(s.weights(context));
  const CafxDims call = s.call_dims(context, B);
  const auto at = [&](int b) { return static_cast<std::size_t>(b) * static_cast<std::size_t>(c.frame); };
  s.encode(
      context, B,
      [&](const MicroBatch& mb, int b, const State::Frame& f) {
        pad_frames(mb.context, f.x_padded, x + at(b), {mb.n, c.frame, c.taps, same_left(c.taps)});
      },
      [](const MicroBatch&, int, const State::Frame&) {},
      [](const MicroBatch&, int, const State::Frame&) { return false; });
  if (s.knobs.any()) {
    const std::vector<float> one = KnobRamp(c, position()).values();
    std::vector<float> all;
    for (int b = 0; b < B; ++b) all.insert(all.end(), one.begin(), one.end());
    copy(context, s.position, all.data(), sizeof(float) * all.size());
  }
  s.over_calls(context, B, [&](const MicroBatch& mb, int b, const State::Frame& f) {
    s.decode(mb.context, y + at(b), f, s.turn(mb.context, t, s.position, call), call, false);
  });
}

void CafxNet::gradient(const Context& given, float* gradient, const Batch& batch, const Loss& loss) {
  State& s = *state_;
  CAFX_CHECK(batch.B >= 1 && batch.T == s.config.frame && batch.t0 == 0, batch.B, batch.T, batch.t0);
  s.reserve(given, batch.B, &loss);
  Context context = given;
  // What has time until the next join: packing, targets, zeros; sums of partial gradients, whose scratch the fused
  // latent layers leave alone.
  context.aside =
      gradient && given.device == Device::kCuda && !s.knobs.any() && (!s.parts.latent || s.fused_latent(given));
  const bool slots = context.device == Device::kCpu;
  s.draw = batch.draw;
  const GradientScale larger(context, batch.B, s.config.frame);
  // Sums of parts are left to the step's end where nothing comes between that reads the gradient, else to the join.
  PartialSums own;
  context.sums = nullptr;
  if (context.aside) context.sums = given.sums && larger.scale() == 1.0f ? given.sums : &own;
  const CafxDims call = s.call_dims(context, batch.B);
  const bool gathers = front_end_gathers(context, call.front);
  if (!gradient) {
    if (!gathers) s.prepare_front(context);
    s.prepare_dnn(context);
    const CafxTensors t = s.tensors(s.weights(context));
    s.encode(context, batch);
    s.over_calls(context, batch.B, [&](const MicroBatch& mb, int b, const State::Frame& f) {
      s.decode_and_compare(mb.context, batch, b, f, s.turn(mb.context, t, s.controls_of(batch, b), call), 0.0f, call,
                           false);
    });
    return;
  }
  const CafxConfig& c = s.config;
  const CafxTensors t = s.tensors(s.weights(context)), total = s.tensors(gradient);
  const CafxDims all(c, batch.B);
  const float scale = larger.scale() * static_cast<float>(1.0 / (static_cast<double>(batch.B) * c.frame));

  // The curve's gradient begins with that of its penalty where nothing is added up from slots or scaled.
  const bool whole = !slots && larger.scale() == 1.0f;
  // The front end waits for its weights and for the input alone.
  if (!slots) s.slots = {gradient};
  if (!gathers) s.prepare_front(context);
  if (slots) s.prepare_dnn(context);
  const auto start = [&] { aside(context, [&] { s.start_gradient(context, gradient, whole); }); };
  // Where all that is added to the gradient is added aside, it begins there, so that DNN-SAAF waits for its weights
  // alone, and has them before the latent layers are done.
  const bool starts_later = context.aside && s.workers[0].rows;
  s.encode(context, batch, [&] {
    if (slots) return;
    if (!starts_later) start();
    s.prepare_dnn(context);
  });
  join(context);
  if (starts_later) start();

  over_frames(context, batch.B, [&](const MicroBatch& mb) {
    float* slot = s.slots[static_cast<std::size_t>(mb.slot)];
    if (slots) fill_zero(mb.context, slot, sizeof(float) * static_cast<std::size_t>(params_.n_slot()));
    const CafxTensors g = s.tensors(slot);
    s.over_calls(mb, [&](const MicroBatch&, int b, const State::Frame& f) {
      const State::Worker& w = s.worker(mb.context);
      const float* controls = s.controls_of(batch, b);
      const State::Turned at = s.turn(mb.context, t, controls, call);
      s.decode_and_compare(mb.context, batch, b, f, at, scale, call, true);
      if (!s.knobs.any()) return s.decode_backward(mb.context, f, at, g, call);
      const int n = s.positions_of(call.front.B);
      s.decode_backward(mb.context, f, at, s.knobs.gradients(mb.context, g, w.knobs_back, n), call);
      s.knobs.backward(mb.context, g, t, controls, w.knobs, w.knobs_back, n);
    });
  });

  if (s.fused_latent(context)) {
    latent_backward(context, s.dz, total.local_dense_w, total.local_dense_b, total.dense_w, total.dense_b, s.dzhat,
                    s.zhat, s.h, s.z, t.local_dense_w, t.dense_w, s.local_dense_scratch, all.both);
  } else if (s.local_latent()) {
    if (slots) {
      fill_zero(context, gradient + params_.n_slot(),
                sizeof(float) * static_cast<std::size_t>(params_.n_floats() - params_.n_slot()));
    }
    local_dense_backward(context, s.dz, total.local_dense_w, total.local_dense_b, s.dh, s.h, s.z, t.local_dense_w,
                         s.local_dense_scratch, all.local_dense);
  }

  s.over_calls(context, batch.B, [&](const MicroBatch& mb, int, const State::Frame& f) {
    const CafxTensors g = s.tensors(s.slots[static_cast<std::size_t>(mb.slot)]);
    front_end_backward(mb.context, f.dx1, g.conv_w, g.conv_b, g.local_w, g.local_b, f.dz, f.x1, f.z, f.positions,
                       f.x_padded, t.local_w, s.worker(mb.context).front_scratch, call.front);
  });
  join(context);
  add_left_parts(context, own);
  reduce_slots(context, gradient, s.slots.data(), n_slots(context, batch.B), params_.n_slot());
  larger.undo(context, gradient, params_.n_floats());
  if (!whole) s.add_penalty(context, gradient);
}

double CafxNet::dnn_output_peak(const Context& context, const Batch& batch) {
  State& s = *state_;
  s.reserve(context, batch.B, &s.loss);
  s.prepare(context);
  s.draw = nullptr;
  const CafxTensors t = s.tensors(s.weights(context));
  CafxDims call = s.call_dims(context, batch.B);
  call.dnn.use_saaf = false;  // u is then the output of the last dense layer
  s.encode(context, batch);
  const std::size_t n = static_cast<std::size_t>(State::n_values(call));
  std::vector<float> peaks(static_cast<std::size_t>(batch.B), 0.0f);
  s.over_calls(context, batch.B, [&](const MicroBatch& mb, int b, const State::Frame& f) {
    const State::Worker& w = s.worker(mb.context);
    s.decode(mb.context, w.y, f, s.turn(mb.context, t, s.controls_of(batch, b), call), call, false);
    float& peak = peaks[static_cast<std::size_t>(b)];
    for (const float x : stored_values(mb.context, w.u, n)) peak = std::max(peak, std::abs(x));
  });
  return *std::max_element(peaks.begin(), peaks.end());
}

}  // namespace cafx
