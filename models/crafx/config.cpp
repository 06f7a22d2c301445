#include "models/crafx/config.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "models/model.h"

namespace cafx {

Fields CrafxConfig::fields() {
  CrafxConfig& c = *this;
  const double inf = 1e30;
  const auto whole = [](Field f) { return read_by({kSupervised}, std::move(f)); };  // not read by the pretrained form
  return {
      field("sample_rate", c.sample_rate, 1000, 384000, "rate the model works at, in Hz"),
      field("frame", c.frame, 2, 1 << 20, "samples out of one forward pass, and in each of its frames"),
      field("hop", c.hop, 1, 1 << 19, "samples between the frames of training, at most frame / 2"),
      whole(field("before", c.before, 0, 256, "context frames before the frame")),
      whole(field("after", c.after, 0, 256, "context frames after it, which add to the latency")),
      whole(field("context_hop", c.context_hop, 1, 1 << 20, "samples between context frames")),
      field("filters", c.filters, 1, 4096, "filters of Conv1D, channels of all that follows"),
      field("taps", c.taps, 1, 1 << 16, "taps of Conv1D and of the tied deconvolution"),
      field("local_taps", c.local_taps, 1, 1 << 16, "taps of Conv1D-Local"),
      field("pool", c.pool, 1, 1 << 16, "window of the max pooling; divides frame"),
      whole(field("lstm", c.lstm, "units a direction of the Bi-LSTM's layers; twice the last equals filters")),
      whole(field("dnn", c.dnn, "outputs of the dense layers of DNN-SAAF; the last equals filters")),
      whole(choice("activation", c.activation, {"tanh", "relu", "softplus", "identity"},
                   "between the layers of DNN-SAAF")),
      whole(field("excite", c.excite, 1, 1 << 16, "hidden units of squeeze and excitation")),
      whole(choice("unpool", c.unpool, {"hold", "positions"},
                   "hold: repeat the value; positions: only where the maximum was")),
      choice("deconv", c.deconv, {"correlate", "adjoint"},
             "deconvolution: the journal's correlation, or the true transpose"),
      choice("conv_init", c.conv_init, {"lecun_uniform", "glorot_uniform", "fan_in_uniform"},
             "initial weights of the convolutions"),
      whole(choice("dense_init", c.dense_init, {"glorot_uniform", "lecun_uniform", "fan_in_uniform"},
                   "initial weights of the dense layers")),
      whole(field("saaf.segments", c.saaf_segments, 1, 4096, "equal segments of the domain of both SAAFs")),
      whole(field("saaf.order", c.saaf_order, 1, 2, "1: piecewise linear; 2: piecewise quadratic")),
      whole(field("saaf.lo", c.saaf_lo, -inf, inf, "lower end of the SAAFs' domain")),
      whole(field("saaf.hi", c.saaf_hi, -inf, inf, "upper end of the SAAFs' domain")),
      whole(field("saaf.every_second", c.saaf_every_second, "only segments 0, 2, 4, ... are curved")),
      whole(field("saaf.v0", c.saaf_has_v0, "each curve has an offset of its own")),
      whole(field("saaf.scale", c.saaf_scale, 1e-6, 1e6, "factor on the basis functions")),
      whole(choice("saaf.init", c.saaf_init, {"normal", "identity"}, "initial curves: all weights normal, or y = x")),
      whole(field("saaf.init_std", c.saaf_init_std, 0, 10, "standard deviation for saaf.init = normal")),
      whole(
          field("saaf.l2", c.saaf_l2, 0, 1e3, "added to the loss: l2 times the sum of squares of the SAAFs' weights")),
      whole(late(field("dropout", c.dropout, 0, 0.9,
                       "share of the Bi-LSTM's recurrent weights that a step of training leaves out"))),
  };
}

CafxConfig CrafxConfig::parts() const {
  CafxConfig c;
  c.sample_rate = sample_rate;
  c.frame = frame;
  c.hop = hop;
  c.filters = filters;
  c.taps = taps;
  c.local_taps = local_taps;
  c.pool = pool;
  c.latent = 1;
  c.dnn = dnn;
  c.activation = activation;
  c.unpool = unpool;
  c.deconv = deconv;
  c.conv_init = conv_init;
  c.dense_init = dense_init;
  c.saaf_segments = saaf_segments;
  c.saaf_order = saaf_order;
  c.saaf_lo = saaf_lo;
  c.saaf_hi = saaf_hi;
  c.saaf_every_second = saaf_every_second;
  c.saaf_has_v0 = saaf_has_v0;
  c.saaf_scale = saaf_scale;
  c.saaf_init = saaf_init;
  c.saaf_init_std = saaf_init_std;
  c.saaf_l2 = saaf_l2;
  return c;
}

Geometry CrafxConfig::geometry() const {
  Geometry g{sample_rate};
  g.frame = frame;
  g.hop = hop;
  g.before = before * context_hop;
  g.after = after * context_hop;
  return g;
}

void CrafxConfig::fit(const std::string& form) {
  if (form != kPretrain) return;
  dnn = {filters};
  lstm = {std::max(1, filters / 2)};
}

void CrafxConfig::check(const std::string& where) const {
  parts().check(where);
  if (lstm.empty() || static_cast<int>(lstm.size()) > kMaxCrafxLayers) {
    throw Error("{}: lstm has {} layers; 1 to {} are possible", where, lstm.size(), kMaxCrafxLayers);
  }
  for (const int width : lstm) {
    if (width < 1 || width > 4096) throw Error("{}: lstm holds {}; every layer has 1 to 4096 units", where, width);
  }
  if (2 * lstm.back() != filters) {
    throw Error("{}: the last layer of lstm has {} units a direction, but filters = {}; it must have half as many",
                where, lstm.back(), filters);
  }
  constexpr long kLongest = 1L << 24;
  const long context = static_cast<long>(before + after) * context_hop;
  if (context > kLongest) {
    throw Error("{}: before = {} and after = {} frames, context_hop = {} apart, are {} samples of context; at most {}",
                where, before, after, context_hop, context, kLongest);
  }
}

std::vector<std::string> crafx_presets() { return {"crafx", "crafx-small"}; }

std::unique_ptr<ModelConfig> crafx_preset(const std::string& name) {
  auto c = std::make_unique<CrafxConfig>();
  if (name == "crafx-small") {
    c->frame = 1024;
    c->hop = 512;
    c->context_hop = 512;
    c->before = 8;
    c->after = 0;
    c->filters = 16;
    c->pool = 16;
    c->lstm = {16, 8};
    c->dnn = {16, 16, 16};
    c->excite = 64;
    c->deconv = "adjoint";
    c->dense_init = "fan_in_uniform";
    c->saaf_lo = -1.0;
    c->saaf_hi = 1.0;
    c->saaf_every_second = false;
    c->saaf_has_v0 = true;
    c->saaf_scale = 1.0;
    c->saaf_init = "identity";
  }
  return c;
}

std::vector<std::pair<std::string, std::string>> crafx_training(const std::string& preset) {
  if (preset != "crafx-small") return {};
  return {{"batch", "16"},      {"hop", "256"},          {"pretrain_epochs", "15"},
          {"epochs", "70"},     {"refine_epochs", "15"}, {"pretrain_lr", "1e-3"},
          {"lr", "3e-3"},       {"schedule", "cosine"},  {"warmup_steps", "200"},
          {"silence_db", "-60"}};
}

}  // namespace cafx
