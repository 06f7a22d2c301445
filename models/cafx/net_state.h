// models/cafx/net_state.h -- activations, workspaces and gradient slots of CafxNet, and its forward and backward of one
// call.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/conv1d/conv1d.h"
#include "kernels/deconv1d/deconv1d.h"
#include "kernels/dense/dense.h"
#include "kernels/device/arena.h"
#include "kernels/device/sums.h"
#include "kernels/dnn_saaf/dnn_saaf.h"
#include "kernels/dropout/dropout.h"
#include "kernels/front_end/front_end.h"
#include "kernels/latent/latent.h"
#include "kernels/local_dense/local_dense.h"
#include "kernels/loss/loss.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/pool/pool.h"
#include "models/cafx/dims.h"
#include "models/cafx/knobs.h"
#include "models/cafx/net.h"
#include "models/cafx/tensors.h"
#include "models/knob_ramp.h"

namespace cafx {

// What one context needs to run: activations of the whole batch, a workspace for each worker, gradients of each slot.
struct CafxNet::State {
  CafxConfig config;
  CafxParts parts;
  Params* params;
  CafxKnobs knobs;

  State(const CafxConfig& c, CafxParts f, Params* p) : config(c), parts(f), params(p), knobs(c, f) {}

  struct Worker {  // of the frames of one call
    Stored *u, *du;
    float *y, *dy_padded, *dy_sums, *rows;
    void *saved, *scratch, *front_scratch, *loss_scratch;
    float *knobs, *knobs_back;  // of CafxKnobs::fold and backward
    void* dnn_packed;           // where knobs change it
  };
  Arena arena;
  int B = 0, n_workers = 0;  // sizes of the arena's layout
  Device device = Device::kCpu;
  bool training = false;
  Loss loss;
  const DropoutDraw* draw = nullptr;  // of the gradient under way
  float *x_padded = nullptr, *z = nullptr, *h = nullptr, *kept = nullptr, *zhat = nullptr;
  float *dz = nullptr, *dh = nullptr, *dzhat = nullptr, *target = nullptr, *reference = nullptr, *constants = nullptr;
  Stored *x1 = nullptr, *dx1 = nullptr;
  std::size_t stored_size = 0;  // bytes of a number of theirs
  std::int32_t* positions = nullptr;
  void *front_packed = nullptr, *dnn_packed = nullptr, *local_dense_scratch = nullptr;
  double* losses = nullptr;
  std::vector<Worker> workers;
  std::vector<float*> slots;
  float *middle = nullptr, *position = nullptr;  // (B,controls) of batches without, zeros; of forward

  CafxTensors tensors(float* base) const {
    CafxTensors t{};
    std::size_t i = 0;
    visit_tensors(config, parts, [&](const std::string&, std::vector<std::int64_t>, const CafxTensorKind&, auto m) {
      member(t, m) = base + (*params)[i++].offset;
    });
    return t;
  }
  float* weights(const Context& context) { return params->on(context); }

  bool local_latent() const { return parts.latent && config.latent_layer == "local"; }
  // Where it does, h has a twin with what the update leaves out.
  bool drops() const { return draw && parts.latent && config.dropout > 0.0; }
  // One kernel knows neither what is left out between the layers nor a bias for each frame.
  bool fused_latent(const Context& context) const {
    return local_latent() && config.dropout <= 0.0 && !knobs.in_bias() &&
           latent_is_fused(context, CafxDims(config, 1).both);
  }

  void lay_out(const Context& context, Arena& a) {
    const int at_once = frames_per_call(context, B), turned = positions_of(at_once);
    const std::size_t n = static_cast<std::size_t>(at_once);
    const CafxDims d(config, B), call = call_dims(context, B);
    const auto take_stored = [&](std::size_t values) -> Stored* {
      return a.take<char>(stored_bytes(context) * values);
    };
    stored_size = stored_bytes(context);
    const std::size_t frames = static_cast<std::size_t>(B), T = config.frame, C = config.filters, K = config.taps,
                      pooled = T / config.pool, latent = config.latent;
    x_padded = a.take<float>(frames * (T + K - 1));
    x1 = take_stored(frames * T * C);
    z = a.take<float>(frames * pooled * C);
    positions = a.take<std::int32_t>(frames * pooled * C);
    losses = a.take<double>(frames);
    front_packed = a.take<char>(front_end_packed(context, d.front));
    if (parts.dnn && !knobs.in_dnn()) dnn_packed = a.take<char>(dnn_saaf_packed(context, d.dnn));
    middle = a.take<float>(frames * static_cast<std::size_t>(parts.controls));
    position = a.take<float>(frames * static_cast<std::size_t>(parts.controls));
    if (parts.latent) {
      h = a.take<float>(frames * latent * C);
      if (training && config.dropout > 0.0) kept = a.take<float>(frames * latent * C);
      zhat = a.take<float>(frames * pooled * C);
      if (local_latent()) {
        local_dense_scratch =
            a.take<char>(std::max(cafx::local_dense_scratch(context, d.local_dense), latent_scratch(context, d.both)));
      }
    }
    if (training) {
      target = a.take<float>(frames * T);
      reference = a.take<float>(loss.relative() ? frames * Loss::kReferences : 0);
      constants = a.take<float>(Loss::kConstants);
      dz = a.take<float>(frames * pooled * C);
      dx1 = take_stored(frames * T * C);
      if (parts.latent) {
        dh = a.take<float>(frames * latent * C);
        dzhat = a.take<float>(frames * pooled * C);
      }
      slots.assign(static_cast<std::size_t>(n_slots(context, B)), nullptr);
      if (context.device == Device::kCpu) {  // a GPU adds to the whole gradient
        for (float*& slot : slots) slot = a.take<float>(static_cast<std::size_t>(params->n_slot()));
      }
    }
    workers.assign(static_cast<std::size_t>(n_workers), {});
    for (Worker& w : workers) {
      w.u = take_stored(n * T * C);
      w.y = a.take<float>(n * T);
      const std::size_t front = front_end_scratch(context, call.front);
      std::size_t scratch = std::max(front, deconv1d_scratch(context, call.deconv));
      if (parts.latent && !fused_latent(context)) {
        scratch = std::max(scratch, dense_time_scratch(context, call.dense));
        if (!local_latent()) scratch = std::max(scratch, dense_time_scratch(context, call.latent));
      }
      if (parts.dnn) scratch = std::max(scratch, dnn_saaf_scratch(context, call.dnn));
      w.scratch = a.take<char>(scratch);
      // A GPU is at the front end's gradients while it still adds up those of what comes after.
      w.front_scratch = training && context.device != Device::kCpu ? a.take<char>(front) : w.scratch;
      w.knobs = a.take<float>(knobs.room(context, turned));
      w.knobs_back = a.take<float>(training ? knobs.back_room(turned) : 0);
      if (knobs.in_dnn()) w.dnn_packed = a.take<char>(dnn_saaf_packed(context, call.dnn));
      if (training) {
        const bool rounds =
            parts.dnn && convolutions_round(context, {at_once, config.frame, config.filters, config.taps});
        if (!rounds || !dnn_saaf_takes_dy(context, call.dnn, config.taps)) w.du = take_stored(n * T * C);
        if (rounds && loss.is_mae() && dnn_saaf_gives_rows(context, call.dnn, config.taps)) {
          w.rows = a.take<float>(n * T / kDeconvRowSamples * kDeconvRow);
        }
        w.dy_padded = a.take<float>(n * (T + K - 1));
        w.dy_sums = a.take<float>(n);
        w.loss_scratch = a.take<char>(loss.scratch(context, loss_shape(call)));
        if (parts.dnn) w.saved = a.take<char>(dnn_saaf_saved(context, call.dnn));
      }
    }
  }

  // For forward alone where no loss is given.
  void reserve(const Context& context, int frames, const Loss* wanted) {
    const bool same_device = context.device == device && stored_bytes(context) == stored_size;
    const bool same_loss = !wanted || (training && *wanted == loss);
    if (wanted) loss = *wanted;
    if (frames <= B && context.n_workers() == n_workers && same_loss && same_device) return;
    device = context.device;
    B = std::max(B, frames);
    n_workers = context.n_workers();
    training = training || wanted;
    arena.build(context, [&](Arena& a) { lay_out(context, a); });
    if (training) copy(context, constants, loss.constants().data(), sizeof(float) * Loss::kConstants);
    fill_zero(context, middle, sizeof(float) * static_cast<std::size_t>(B) * static_cast<std::size_t>(parts.controls));
  }

  // Pointers to what belongs to frame b.
  struct Frame {
    float *x_padded, *z, *h, *kept, *zhat, *dz, *dh, *dzhat, *target;
    Stored *x1, *dx1;
    std::int32_t* positions;
    int b;
  };
  Frame frame(int b) const {
    const long i = b, T = config.frame, C = config.filters, pooled = T / config.pool, latent = config.latent;
    const auto at = [](float* p, long offset) { return p ? p + offset : nullptr; };
    const auto stored_at = [&](Stored* p) -> Stored* {
      return p ? static_cast<char*>(p) + stored_size * static_cast<std::size_t>(i * T * C) : nullptr;
    };
    return {at(x_padded, i * (T + config.taps - 1)),
            at(z, i * pooled * C),
            at(h, i * latent * C),
            at(kept, i * latent * C),
            at(zhat, i * pooled * C),
            at(dz, i * pooled * C),
            at(dh, i * latent * C),
            at(dzhat, i * pooled * C),
            at(target, i * T),
            stored_at(x1),
            stored_at(dx1),
            positions + i * pooled * C,
            b};
  }
  const Worker& worker(const Context& inner) const { return workers[static_cast<std::size_t>(inner.worker)]; }

  // Packs weights for the fused ops: once a step, after the weights have changed.
  void prepare(const Context& context) {
    prepare_front(context);
    prepare_dnn(context);
  }
  void prepare_front(const Context& context) {
    const CafxTensors t = tensors(weights(context));
    const CafxDims d(config, 1);
    aside(context,
          [&] { front_end_prepare(context, front_packed, t.conv_w, t.conv_b, t.local_w, t.local_b, d.front); });
  }
  void prepare_dnn(const Context& context) {
    if (!parts.dnn || knobs.in_dnn()) return;
    const CafxTensors t = tensors(weights(context));
    const CafxDims d(config, 1);
    aside(context, [&] { dnn_saaf_prepare(context, dnn_packed, dnn_weights_of(t), d.dnn); });
  }

  // f(first, last) of the numbers on whose squares there is a penalty, neighbours at once.
  template <class F>
  void over_penalised(F f) const {
    long from = 0, to = 0;
    for (const ParamSpec& p : *params) {
      if (!p.penalised) continue;
      if (p.offset != to) {
        if (to > from) f(from, to);
        from = p.offset;
      }
      to = p.offset + p.size;
    }
    if (to > from) f(from, to);
  }
  float penalty() const { return 2.0f * static_cast<float>(config.saaf_l2); }
  // gradient += that of the penalty on the SAAF's weights.
  void add_penalty(const Context& context, float* gradient) {
    over_penalised([&](long from, long to) {
      add_scaled(context, gradient + from, penalty(), weights(context) + from, to - from);
    });
  }
  // What ops add to: zeros, and where asked for the penalty's gradient. Dense-Local's is written by the fused layers.
  void start_gradient(const Context& context, float* gradient, bool with_penalty) {
    IndexRange penalised, written;
    int ranges = 0;
    if (with_penalty) over_penalised([&](long from, long to) { penalised = {from, to}, ++ranges; });
    if (fused_latent(context)) {
      float* base = weights(context);
      const CafxTensors t = tensors(base);
      const long of_bias = static_cast<long>(config.filters) * config.latent;
      written = {t.local_dense_w - base, t.local_dense_b - base + of_bias};
      CAFX_CHECK(written.last - written.first == of_bias * (config.frame / config.pool + 1), written.first,
                 written.last);
    }
    if (ranges > 1) penalised = {};
    scaled_within(context, gradient, penalty(), weights(context), penalised, written, params->n_floats());
    if (ranges > 1) add_penalty(context, gradient);
  }

  // body(frames b .. b + n of the batch, in place), for each call of the micro-batch.
  template <class Body>
  void over_calls(const MicroBatch& mb, Body body) {
    for (int b = mb.b0; b < mb.b1; b += mb.n) body(mb, b, frame(b));
  }
  template <class Body>
  void over_calls(const Context& context, int frames, Body body) {
    over_frames(context, frames, [&](const MicroBatch& mb) { over_calls(mb, body); });
  }
  // Positions of the knobs in a call of n frames: in playing one, which layers that are the same for all frames have.
  int positions_of(int n) const { return knobs.in_dnn() && !training ? 1 : n; }
  // Of a call for a batch of so many frames.
  CafxDims call_dims(const Context& context, int frames) const {
    CafxDims d(config, frames_per_call(context, frames));
    d.dnn.apart = knobs.apart(positions_of(d.front.B));
    return d;
  }

  // The weights of a call's frames, those of DNN-SAAF packed.
  struct Turned {
    CafxTensors t;
    const void* dnn;
  };
  // Those of t at these controls; in the worker's room, where there are any.
  Turned turn(const Context& inner, const CafxTensors& t, const float* controls, const CafxDims& call) const {
    if (!knobs.any()) return {t, dnn_packed};
    const Worker& w = worker(inner);
    const CafxTensors own = knobs.fold(inner, t, controls, w.knobs, positions_of(call.front.B));
    if (!knobs.in_dnn()) return {own, dnn_packed};
    dnn_saaf_prepare(inner, w.dnn_packed, dnn_weights_of(own), call.dnn);
    return {own, w.dnn_packed};
  }
  // The controls of the frames from b on; null where there are no knobs.
  const float* controls_of(const Batch& batch, int b) const {
    return knobs.any() ? (batch.knobs ? batch.knobs : middle) + static_cast<long>(b) * parts.controls : nullptr;
  }
  DenseTimeDims dense_of(const CafxDims& call) const {
    DenseTimeDims d = call.dense;
    d.bias_of_each = knobs.in_bias();
    return d;
  }

  // x_padded -> x1, z, positions -> h, and zhat where a GPU has one kernel for both. Dense-Local runs over all channels
  // of the whole batch, so its weights, the largest of the model, are read once a step and not once a frame.
  // load(..) brings a call's input, loaded(..) whatever else is to be done after it, but not before the front end;
  // front(..) runs the front end from where the input lies, or returns false.
  template <class Load, class Loaded, class Front>
  void encode(const Context& context, int frames, Load load, Loaded loaded, Front front) {
    const CafxDims call(config, frames_per_call(context, frames)), all(config, frames);
    over_calls(context, frames, [&](const MicroBatch& mb, int b, const Frame& f) {
      load(mb, b, f);
      join(mb.context);  // of the packed weights
      loaded(mb, b, f);
      if (front(mb, b, f)) return;
      front_end_forward(mb.context, f.x1, f.z, f.positions, f.x_padded, front_packed, worker(mb.context).scratch,
                        call.front);
    });
    const CafxTensors t = tensors(weights(context));
    if (fused_latent(context)) {
      latent_forward(context, h, zhat, z, t.local_dense_w, t.local_dense_b, t.dense_w, t.dense_b, all.both);
    } else if (local_latent()) {
      local_dense_forward(context, h, z, t.local_dense_w, t.local_dense_b, local_dense_scratch, all.local_dense);
    }
  }

  // Of Dense-Local's outputs, or of their gradient, what this update keeps.
  void drop(const Context& inner, float* to, const float* from, const Frame& f, const CafxDims& call) const {
    if (!drops()) return;
    const long of_frame = static_cast<long>(config.latent) * config.filters;
    const long n = call.front.B * of_frame;
    dropout(inner, to, from, config.dropout, *draw, 0, (draw->place + f.b) * of_frame, {1, n, n});
  }

  // The frames of one call: h (computed from z here, if one layer serves all channels) -> zhat -> u. Without the latent
  // layers zhat is z; without DNN-SAAF, u is unpooled zhat times the residual.
  void decode_to_u(const Context& inner, const Frame& f, const Turned& at, const CafxDims& call, bool save,
                   float* rows = nullptr) {
    const Worker& w = worker(inner);
    const CafxTensors& t = at.t;
    if (parts.latent && !fused_latent(inner)) {
      if (!local_latent()) dense_time_forward(inner, f.h, f.z, t.latent_w, t.latent_b, w.scratch, call.latent);
      drop(inner, f.kept, f.h, f, call);
      dense_time_forward(inner, f.zhat, drops() ? f.kept : f.h, t.dense_w, t.dense_b, w.scratch, dense_of(call));
    }
    if (parts.dnn) {
      const DnnSaafRows to{rows, t.conv_w, config.taps, call.deconv.form == Deconv::kCorrelate};
      dnn_saaf_forward_to(inner, rows && !save ? nullptr : w.u, to, save ? w.saved : nullptr, f.x1, f.zhat, f.positions,
                          at.dnn, w.scratch, call.dnn);
    } else {
      unpool_multiply_forward(inner, w.u, parts.latent ? f.zhat : f.z, f.x1, f.positions, call.pool, unpool(call));
    }
  }
  // And to y.
  void decode(const Context& inner, float* y, const Frame& f, const Turned& at, const CafxDims& call, bool save) {
    decode_to_u(inner, f, at, call, save);
    const Worker& w = worker(inner);
    deconv1d_forward(inner, y, w.u, at.t.conv_w, at.t.deconv_b, w.scratch, call.deconv);
  }
  // Whether the deconvolution takes the error itself, from the targets in the recordings.
  bool compares_where_it_lies(const Context& context, const CafxDims& call) const {
    return loss.is_mae() && deconv1d_has_mae(context, call.deconv);
  }
  // And to the losses and their gradient w.dy_padded, b: the call's first frame.
  void decode_and_compare(const Context& inner, const Batch& batch, int b, const Frame& f, const Turned& at,
                          float scale, const CafxDims& call, bool save) {
    const Worker& w = worker(inner);
    const bool compares = compares_where_it_lies(inner, call);
    decode_to_u(inner, f, at, call, save, compares ? w.rows : nullptr);
    if (compares) {
      const DeconvMae mae{.losses = losses + b,
                          .dy_padded = w.dy_padded,
                          .scale = scale,
                          .frames = {batch.target, batch.target_refs() + b},
                          .dy_sums = w.dy_sums};
      if (w.rows) return deconv1d_mae_of_rows(inner, mae, w.rows, at.t.deconv_b, call.deconv);
      deconv1d_mae(inner, mae, w.u, at.t.conv_w, at.t.deconv_b, w.scratch, call.deconv);
      return;
    }
    deconv1d_forward(inner, w.y, w.u, at.t.conv_w, at.t.deconv_b, w.scratch, call.deconv);
    error(inner, b, f, scale, call);
  }
  // What the pretrained form has kept of a window is where its maximum was.
  Unpool unpool(const CafxDims& call) const { return parts.latent ? call.dnn.unpool : Unpool::kPositions; }
  static long n_values(const CafxDims& call) { return static_cast<long>(call.front.B) * call.front.T * call.front.C; }

  // The same list upward: from w.dy_padded to dx1 (the part through the residual), dzhat and dh, or dz.
  void decode_backward(const Context& inner, const Frame& f, const Turned& at, const CafxTensors& g,
                       const CafxDims& call) {
    const Worker& w = worker(inner);
    const CafxTensors& t = at.t;
    const bool summed = compares_where_it_lies(inner, call);
    deconv1d_backward(inner, w.du, g.conv_w, summed ? nullptr : g.deconv_b, w.dy_padded, w.u, t.conv_w, w.scratch,
                      call.deconv);
    if (summed) add_parts(inner, {w.dy_sums, call.front.B, 1, {{0, g.deconv_b}}, 1});
    if (parts.dnn) {
      const DnnSaafDu du{w.du, w.dy_padded, t.conv_w, config.taps, call.deconv.form == Deconv::kCorrelate};
      dnn_saaf_backward_from(inner, f.dx1, f.dzhat, dnn_grads_of(g), du, w.saved, f.x1, f.zhat, f.positions,
                             dnn_weights_of(t), at.dnn, w.scratch, call.dnn);
    } else {
      unpool_multiply_backward(inner, parts.latent ? f.dzhat : f.dz, f.dx1, w.du, parts.latent ? f.zhat : f.z, f.x1,
                               f.positions, call.pool, unpool(call));
    }
    if (!parts.latent || fused_latent(inner)) return;
    dense_time_backward(inner, f.dh, g.dense_w, g.dense_b, f.dzhat, f.zhat, drops() ? f.kept : f.h, t.dense_w,
                        w.scratch, dense_of(call));
    drop(inner, f.dh, f.dh, f, call);
    if (!local_latent()) {
      dense_time_backward(inner, f.dz, g.latent_w, g.latent_b, f.dh, f.h, f.z, t.latent_w, w.scratch, call.latent);
    }
  }

  // Input and target of the batch into x_padded and target, then encode. Before the targets of the first call, rest().
  template <class Rest>
  void encode(const Context& context, const Batch& batch, Rest rest) {
    const CafxConfig& c = config;
    const CafxTensors t = tensors(weights(context));
    const CafxDims call = call_dims(context, batch.B);
    const bool gathers = front_end_gathers(context, call.front), compares = compares_where_it_lies(context, call);
    encode(
        context, batch.B,
        [&](const MicroBatch& mb, int b, const Frame& f) {
          if (gathers) return;
          gather_frames(mb.context, f.x_padded, batch.input, batch.refs + b,
                        {mb.n, c.frame, c.taps, same_left(c.taps)});
        },
        [&](const MicroBatch& mb, int b, const Frame& f) {
          if (b == 0) rest();
          if (compares) return;
          aside(mb.context, [&] {
            gather_frames(mb.context, f.target, batch.target, batch.target_refs() + b, {mb.n, c.frame, 1, 0});
          });
        },
        [&](const MicroBatch& mb, int b, const Frame& f) {
          return gathers &&
                 front_end_forward_from(mb.context, f.x1, f.z, f.positions, f.x_padded, {batch.input, batch.refs + b},
                                        same_left(c.taps), {t.conv_w, t.conv_b, t.local_w, t.local_b}, call.front);
        });
  }
  void encode(const Context& context, const Batch& batch) {
    encode(context, batch, [] {});
  }

  Loss::Shape loss_shape(const CafxDims& call) const {
    return {call.front.B, config.frame, config.frame, config.taps, deconv1d_pad(call.deconv)};
  }

  void error(const Context& inner, int b, const Frame& f, float scale, const CafxDims& call) {
    const Worker& w = worker(inner);
    float* r = reference + static_cast<long>(b) * (loss.relative() ? Loss::kReferences : 0);
    if (loss.relative()) loss.reference(inner, r, f.target, constants, loss_shape(call));
    loss(inner, losses + b, w.dy_padded, w.y, f.target, r, constants, scale, loss_shape(call), w.loss_scratch);
  }
};

}  // namespace cafx
