#include "models/crafx/crafx.h"

#include "kernels/base/error.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/optimizer/optimizer.h"
#include "models/cafx/net.h"
#include "models/crafx/net.h"
#include "models/crafx/sequence.h"
#include "models/gradient_scale.h"
#include "models/recurrent_dropout.h"

namespace cafx {

namespace {

// CAFx's pretrained form on the frame itself; its weights are taken over by name.
class CrafxFrontEnd : public CafxNet {
 public:
  CrafxFrontEnd(const CrafxConfig& config, const std::string& form)
      : CafxNet(config.parts(), {.latent = false, .dnn = false}, form), config_(config) {}
  const CrafxConfig& config() const override { return config_; }

  void forward(const Context& context, float* y, const float* x, int B) override {
    const Geometry g = geometry();
    const auto n = static_cast<std::size_t>(B) * static_cast<std::size_t>(g.frame);
    if (own_.size() < n || context.device != device_) own_ = DeviceArray<float>(context, n);
    device_ = context.device;
    pad_frames(context, own_.data(), x, {B, g.frame, 1, 0, g.before, g.span()});
    CafxNet::forward(context, y, own_.data(), B);
  }

 private:
  CrafxConfig config_;
  DeviceArray<float> own_;  // the frames without their context
  Device device_ = Device::kCpu;
};

}  // namespace

// Activations of a call's places for each worker, gradients of each slot.
struct CrafxModel::State {
  CrafxConfig config;
  Params* params;
  Arena arena;
  int B = 0, n_workers = 0;
  Device device = Device::kCpu;
  bool training = false;
  Loss loss;
  std::size_t stored_size = 0;
  void *front_packed = nullptr, *dnn_packed = nullptr;
  float *reference = nullptr, *constants = nullptr;
  double* losses = nullptr;
  std::vector<CrafxPass> workers;
  std::vector<float*> slots;
  float* dropped = nullptr;  // the weights as an update sees them, of a model that leaves some out

  State(const CrafxConfig& c, Params* p) : config(c), params(p) {}

  void lay_out(const Context& context, Arena& a) {
    const int n = frames_per_call(context, B);
    const CrafxDims d(config, n);
    stored_size = stored_bytes(context);
    front_packed = a.take<char>(front_end_packed(context, d.all.front));
    dnn_packed = a.take<char>(dnn_saaf_packed(context, d.own.dnn));
    losses = a.take<double>(static_cast<std::size_t>(B));
    if (training) {
      reference = a.take<float>(loss.relative() ? static_cast<std::size_t>(B) * Loss::kReferences : 0);
      constants = a.take<float>(Loss::kConstants);
      slots.assign(static_cast<std::size_t>(n_slots(context, B)), nullptr);
      for (float*& slot : slots) slot = a.take<float>(static_cast<std::size_t>(params->n_slot()));
      if (config.dropout > 0.0) dropped = a.take<float>(static_cast<std::size_t>(params->n_floats()));
    }
    workers.assign(static_cast<std::size_t>(n_workers), {});
    const auto use = training ? CrafxPass::Use::kTraining : CrafxPass::Use::kForward;
    for (CrafxPass& w : workers) w.lay_out(context, a, config, n, use, loss);
  }

  // For forward alone where no loss is given.
  void reserve(const Context& context, int places, const Loss* wanted) {
    const bool same_device = context.device == device && stored_bytes(context) == stored_size;
    const bool same_loss = !wanted || (training && *wanted == loss);
    if (wanted) loss = *wanted;
    if (places <= B && context.n_workers() == n_workers && same_loss && same_device) return;
    device = context.device;
    B = std::max(B, places);
    n_workers = context.n_workers();
    training = training || wanted;
    arena.build(context, [&](Arena& a) { lay_out(context, a); });
    if (training) copy(context, constants, loss.constants().data(), sizeof(float) * Loss::kConstants);
  }

  bool drops(const DropoutDraw* draw) const { return draw && config.dropout > 0.0; }
  CrafxTensors weights(const Context& context, const DropoutDraw* draw = nullptr) {
    if (!drops(draw)) return tensors_of(config, *params, params->on(context));
    copy(context, dropped, params->on(context), sizeof(float) * static_cast<std::size_t>(params->n_floats()));
    const CrafxTensors t = tensors_of(config, *params, dropped);
    drop_recurrent(context, t, *draw);
    return t;
  }

  // In place, of weights or their gradient.
  void drop_recurrent(const Context& context, const CrafxTensors& t, const DropoutDraw& draw) const {
    long in = static_cast<long>(config.frames()) * config.filters;
    for (std::size_t l = 0; l < config.lstm.size(); ++l) {
      const long H = config.lstm[l];
      const auto layer = static_cast<std::uint32_t>(2 * l);
      cafx::drop_recurrent(context, t.lstm[l].w, in, H, config.dropout, draw, layer);
      cafx::drop_recurrent(context, t.lstm[l].w_reversed, in, H, config.dropout, draw, layer + 1);
      in = 2 * H;
    }
  }

  // Packs weights for the fused ops: once a step, after the weights have changed.
  void prepare(const Context& context, const CrafxTensors& t) {
    const CrafxDims d(config, 1);
    front_end_prepare(context, front_packed, t.conv_w, t.conv_b, t.local_w, t.local_b, d.all.front);
    dnn_saaf_prepare(context, dnn_packed, dnn_weights_of(t), d.own.dnn);
  }

  CrafxPass& worker(const Context& inner) { return workers[static_cast<std::size_t>(inner.worker)]; }

  // The padded frames of n places, one after another in time: load(where, samples from the first frame's first).
  template <class Load>
  void load_frames(CrafxPass& w, int n, Load load) {
    const long floats = static_cast<long>(n) * (config.frame + config.taps - 1);
    for (int k = 0; k < config.frames(); ++k) load(w.x_padded + k * floats, static_cast<long>(k) * config.context_hop);
  }

  void forward(const Context& inner, CrafxPass& w, float* y, const CrafxTensors& t, bool save, const CrafxDims& d) {
    w.front_end(inner, front_packed, d);
    w.remember(inner, t, d);
    w.decode(inner, y, w.own(inner, w.x1, config.before, d), w.own_positions(config.before, d), t, dnn_packed, save, d);
  }

  // Forward and losses of places [b, b + n); their outputs stay in the worker.
  void hear(const MicroBatch& mb, int b, const Batch& batch, const CrafxTensors& t, bool save, float scale,
            const CrafxDims& d) {
    const Context& inner = mb.context;
    CrafxPass& w = worker(inner);
    const int T = config.frame, K = config.taps;
    const long first = -static_cast<long>(config.before) * config.context_hop;
    load_frames(w, mb.n, [&](float* x, long at) {
      gather_frames(inner, x, batch.input, batch.refs + b, {mb.n, T, K, same_left(K), first + at});
    });
    gather_frames(inner, w.target, batch.target, batch.target_refs() + b, {mb.n, T, 1, 0});
    forward(inner, w, w.y, t, save, d);
    const Loss::Shape shape{mb.n, T, T, K, deconv1d_pad(d.own.deconv)};
    float* r = reference + static_cast<long>(b) * (loss.relative() ? Loss::kReferences : 0);
    if (loss.relative()) loss.reference(inner, r, w.target, constants, shape);
    loss(inner, losses + b, w.dy_padded, w.y, w.target, r, constants, scale, shape, w.loss_scratch);
  }
};

CrafxModel::CrafxModel(const CrafxConfig& config, const std::string& form)
    : Model(form), state_(std::make_unique<State>(config, &params_)) {
  visit_tensors(config, [&](const std::string& name, std::vector<std::int64_t> shape, const CafxTensorKind& k, auto) {
    params_.add(spec_of(name, std::move(shape), k));
  });
}

CrafxModel::~CrafxModel() = default;

const CrafxConfig& CrafxModel::config() const { return state_->config; }
const double* CrafxModel::losses() const { return state_->losses; }

std::size_t CrafxModel::training_bytes(const Context& context, int B, int, const Loss& loss) const {
  State plan(state_->config, state_->params);
  plan.B = B;
  plan.n_workers = context.n_workers();
  plan.training = true;
  plan.loss = loss;
  Arena arena;
  plan.lay_out(context, arena);
  return arena.used();
}

// Conv1D runs over all frames, the deconvolution over the places' own.
template <class F>
static void over_convolutions(const Context& context, const CrafxConfig& c, int B, F f) {
  const int n = frames_per_call(context, B);
  const bool flipped = CafxDims(c.parts(), 1).deconv.form == Deconv::kCorrelate;
  for (const int frames : {n * c.frames(), n}) f(Conv1dDims{frames, c.frame, c.filters, c.taps}, flipped);
}

std::size_t CrafxModel::library_bytes(const Context& context, int B, int) const {
  std::size_t most = 0;
  over_convolutions(context, config(), B, [&](Conv1dDims d, bool flipped) {
    most = std::max(most, convolution_workspace(context, d, flipped));
  });
  return most;
}

void CrafxModel::reserve(const Context& context, int B, int, const Loss& loss) {
  state_->reserve(context, B, &loss);
  over_convolutions(context, config(), B,
                    [&](Conv1dDims d, bool flipped) { reserve_convolutions(context, d, flipped); });
}

void CrafxModel::forward(const Context& context, float* y, const float* x, int B) {
  CAFX_CHECK(B >= 1, B);
  State& s = *state_;
  s.reserve(context, B, nullptr);
  const CrafxTensors t = s.weights(context);
  s.prepare(context, t);
  const CrafxDims d(s.config, frames_per_call(context, B));
  const int T = s.config.frame, K = s.config.taps;
  const long span = geometry().span();
  over_frames(context, B, [&](const MicroBatch& mb) {
    CrafxPass& w = s.worker(mb.context);
    for (int b = mb.b0; b < mb.b1; b += mb.n) {
      s.load_frames(w, mb.n, [&](float* to, long at) {
        pad_frames(mb.context, to, x + b * span, {mb.n, T, K, same_left(K), at, span});
      });
      s.forward(mb.context, w, y + static_cast<long>(b) * T, t, false, d);
    }
  });
}

void CrafxModel::gradient(const Context& given, float* gradient, const Batch& batch, const Loss& loss) {
  State& s = *state_;
  Context context = given;
  context.sums = nullptr;  // ops add to slots, which are read here
  const CrafxConfig& c = s.config;
  CAFX_CHECK(batch.B >= 1 && batch.T == c.frame && batch.t0 == 0, batch.B, batch.T, batch.t0);
  s.reserve(context, batch.B, &loss);
  const CrafxTensors t = s.weights(context, batch.draw);
  s.prepare(context, t);
  const CrafxDims d(c, frames_per_call(context, batch.B));
  const GradientScale larger(context, batch.B, c.frame);
  const float scale =
      gradient ? larger.scale() * static_cast<float>(1.0 / (static_cast<double>(batch.B) * c.frame)) : 0.0f;
  over_frames(context, batch.B, [&](const MicroBatch& mb) {
    float* slot = s.slots[static_cast<std::size_t>(mb.slot)];
    if (gradient) fill_zero(mb.context, slot, sizeof(float) * static_cast<std::size_t>(params_.n_slot()));
    const CrafxTensors g = tensors_of(c, params_, slot);
    for (int b = mb.b0; b < mb.b1; b += mb.n) {
      s.hear(mb, b, batch, t, gradient != nullptr, scale, d);
      if (gradient) s.worker(mb.context).backward(mb.context, t, g, s.dnn_packed, c.before, d);
    }
  });
  if (!gradient) return;
  reduce_slots(context, gradient, s.slots.data(), n_slots(context, batch.B), params_.n_slot());
  larger.undo(context, gradient, params_.n_floats());
  if (s.drops(batch.draw)) s.drop_recurrent(context, tensors_of(c, params_, gradient), *batch.draw);
  for (const ParamSpec& p : params_) {
    if (!p.penalised) continue;
    add_scaled(context, gradient + p.offset, 2.0f * static_cast<float>(c.saaf_l2), params_.on(context) + p.offset,
               p.size);
  }
}

std::unique_ptr<FrameSequence> CrafxModel::sequence(const Context& context, int hop) const {
  if (context.device != Device::kCpu) return nullptr;
  return make_crafx_sequence(params_, config(), context, hop);
}

// zhat and with it the residual's path turn by the latent's curves; the dense layers are given what they had before,
// and their curves turn the other path.
bool CrafxModel::negate_output() {
  for (const char* name : {"latent_saaf.v", "latent_saaf.w", "dnn.0.weight", "saaf.v", "saaf.w", "deconv.bias"}) {
    const ParamSpec* p = params_.find(name);
    for (long i = p->offset; i < p->offset + p->size; ++i) params_.data()[i] = -params_.data()[i];
  }
  return true;
}

std::unique_ptr<Model> make_crafx(const ModelConfig& config, const std::string& form) {
  config.check("model");
  const auto& c = dynamic_cast<const CrafxConfig&>(config);
  if (form == kPretrain) return std::make_unique<CrafxFrontEnd>(c, form);
  return std::make_unique<CrafxModel>(c, form);
}

}  // namespace cafx
