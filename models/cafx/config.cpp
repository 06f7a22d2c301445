#include "models/cafx/config.h"

#include <fmt/ranges.h>

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "kernels/dnn_saaf/dnn_saaf.h"
#include "models/model.h"

namespace cafx {

Fields CafxConfig::fields() {
  CafxConfig& c = *this;
  const double inf = 1e30;
  const auto whole = [](Field f) { return read_by({kSupervised}, std::move(f)); };  // not read by the pretrained form
  return {
      field("sample_rate", c.sample_rate, 1000, 384000, "rate the model works at, in Hz"),
      field("frame", c.frame, 2, 1 << 20, "samples in and out of one forward pass"),
      field("hop", c.hop, 1, 1 << 19, "samples between the frames of training, at most frame / 2"),
      field("filters", c.filters, 1, 4096, "filters of Conv1D, channels of all that follows"),
      field("taps", c.taps, 1, 1 << 16, "taps of Conv1D and of the tied deconvolution"),
      field("local_taps", c.local_taps, 1, 1 << 16, "taps of Conv1D-Local"),
      field("pool", c.pool, 1, 1 << 16, "window of the max pooling; divides frame"),
      whole(field("latent", c.latent, 1, 1 << 16, "outputs of Dense-Local")),
      whole(choice("latent_layer", c.latent_layer, {"local", "dense"},
                   "local: Dense-Local, an own layer for each channel; dense: one for all channels in its place")),
      whole(field("dnn", c.dnn, "outputs of the dense layers of DNN-SAAF; the last equals filters")),
      whole(choice("activation", c.activation, {"softplus", "relu", "tanh", "identity"},
                   "between the layers of DNN-SAAF")),
      whole(choice("unpool", c.unpool, {"hold", "positions"},
                   "hold: repeat the value; positions: only where the maximum was")),
      choice("deconv", c.deconv, {"adjoint", "correlate"},
             "deconvolution: true transpose, or the journal's correlation"),
      choice("conv_init", c.conv_init, {"lecun_uniform", "glorot_uniform", "fan_in_uniform"},
             "initial weights of the convolutions"),
      whole(choice("dense_init", c.dense_init, {"glorot_uniform", "lecun_uniform", "fan_in_uniform"},
                   "initial weights of the dense layers")),
      whole(field("saaf.enabled", c.saaf, "false: DNN-SAAF ends with its last dense layer")),
      whole(field("saaf.segments", c.saaf_segments, 1, 4096, "equal segments of the SAAF's domain")),
      whole(field("saaf.order", c.saaf_order, 1, 2, "1: piecewise linear; 2: piecewise quadratic")),
      whole(field("saaf.lo", c.saaf_lo, -inf, inf, "lower end of the SAAF's domain")),
      whole(field("saaf.hi", c.saaf_hi, -inf, inf, "upper end of the SAAF's domain")),
      whole(field("saaf.every_second", c.saaf_every_second, "only segments 0, 2, 4, ... are curved")),
      whole(field("saaf.v0", c.saaf_has_v0, "the curve has an offset of its own")),
      whole(field("saaf.scale", c.saaf_scale, 1e-6, 1e6, "factor on the basis functions")),
      whole(choice("saaf.init", c.saaf_init, {"identity", "normal"}, "initial curves: y = x, or all weights normal")),
      whole(field("saaf.init_std", c.saaf_init_std, 0, 10, "standard deviation for saaf.init = normal")),
      whole(
          field("saaf.l2", c.saaf_l2, 0, 1e3, "added to the loss: l2 times the sum of squares of the SAAF's weights")),
      whole(field("saaf.lipschitz", c.saaf_lipschitz, 0, 1e6, "bound kept on every slope after each step; 0: none")),
      late(whole(choice("knob_layers", c.knob_layers, {"film", "latent"},
                        "film: knobs scale and shift the layers of DNN-SAAF; latent: they stand beside the rows of "
                        "latent"))),
      late(field("knobs", c.knobs,
                 "what modulates beside the audio, from data.knobs: NAME: LOWEST..HIGHEST UNIT or NAME: OFF|ON")),
      whole(late(field("dropout", c.dropout, 0, 0.9,
                       "share of the outputs of Dense-Local that a step of training leaves out"))),
  };
}

std::vector<std::string> cafx_presets() { return {"default", "paper", "journal", "full", "full-48k"}; }

namespace {

// The default preset at another rate: frame, hop, filters and pool last as long there, to a quarter of the pool. The
// latent layers keep their 64 steps a frame.
CafxConfig at_rate(int rate) {
  const CafxConfig base;
  CafxConfig c;
  const int quarter = base.pool / 4;
  const auto scaled = [&](int size, int pool) { return size / base.pool * pool; };
  const double ratio = static_cast<double>(rate) / base.sample_rate;
  c.sample_rate = rate;
  c.pool = quarter * static_cast<int>(std::lround(ratio * base.pool / quarter));
  c.frame = scaled(base.frame, c.pool);
  c.hop = scaled(base.hop, c.pool);
  c.taps = scaled(base.taps, c.pool);
  c.local_taps = scaled(base.local_taps, c.pool);
  return c;
}

}  // namespace

CafxConfig cafx_preset(const std::string& name) {
  CafxConfig c;
  if (name == "default") return c;
  if (name == "full") return at_rate(44100);
  if (name == "full-48k") return at_rate(48000);
  if (name == "paper") {
    c.hop = 64;
    c.filters = 128;
    c.dnn = {128, 64, 64, 128};
    c.activation = "softplus";
    c.unpool = "positions";
    c.dense_init = "glorot_uniform";
    c.saaf_segments = 25;
    return c;
  }
  if (name == "journal") {
    c.frame = 4096;
    c.hop = 2048;
    c.filters = 128;
    c.pool = 64;
    c.dnn = {128, 64, 64, 64, 128};
    c.activation = "relu";
    c.unpool = "hold";
    c.deconv = "correlate";
    c.dense_init = "glorot_uniform";
    c.saaf_segments = 24;  // between 25 break points
    c.saaf_lo = -0.2;
    c.saaf_hi = 0.2;
    c.saaf_every_second = true;
    c.saaf_has_v0 = false;
    c.saaf_scale = 100.0;
    c.saaf_init = "normal";
    return c;
  }
  throw Error("unknown preset '{}'; known are {}", name, fmt::join(cafx_presets(), ", "));
}

// Of the default preset what learned best on the shipped notes: README.md has the table. A frame of the full band costs
// about six times as much, so its frames lie further apart.
std::vector<std::pair<std::string, std::string>> cafx_training(const std::string& preset) {
  const bool full = preset == "full" || preset == "full-48k";
  if (preset != "default" && !full) return {};
  const std::string hop = preset == "full" ? "704" : preset == "full-48k" ? "768" : "64";
  return {{"batch", "16"},
          {"hop", hop},
          {"pretrain_epochs", "15"},
          {"epochs", "70"},
          {"refine_epochs", "15"},
          {"pretrain_lr", "1e-3"},
          {"lr", "3e-3"},
          {"schedule", "cosine"},
          {"warmup_steps", "200"},
          {"silence_db", "-60"}};
}

Geometry CafxConfig::geometry() const {
  Geometry g{sample_rate};
  g.frame = frame;
  g.hop = hop;
  g.knobs = count_controls(parse_knobs(knobs, "model.knobs"));
  return g;
}

void CafxConfig::fit(const std::string& form) {
  if (form == kPretrain) dnn = {filters};  // it has no DNN-SAAF, whose last layer must end in the filters all the same
}

void CafxConfig::check(const std::string& where) const {
  const CafxConfig& c = *this;
  parse_knobs(c.knobs, where + ": knobs");
  if (c.frame % c.pool != 0) {
    throw Error("{}: frame = {} is not divisible by pool = {}; choose a frame that is a multiple of the pool", where,
                c.frame, c.pool);
  }
  if (c.hop > c.frame / 2) {
    throw Error("{}: hop = {} is over half a frame ({}); overlap-add would leave gaps, choose at most {}", where, c.hop,
                c.frame, c.frame / 2);
  }
  if (c.dnn.empty() || static_cast<int>(c.dnn.size()) > kMaxDnnLayers) {
    throw Error("{}: dnn has {} layers; 1 to {} are possible", where, c.dnn.size(), kMaxDnnLayers);
  }
  for (const int width : c.dnn) {
    if (width < 1 || width > 1 << 16) throw Error("{}: dnn holds {}; every width is 1 to 65536", where, width);
  }
  if (c.dnn.back() != c.filters) {
    throw Error("{}: the last layer of dnn has {} outputs, but filters = {}; they must be equal", where, c.dnn.back(),
                c.filters);
  }
  if (!(c.saaf_lo < c.saaf_hi)) {
    throw Error("{}: saaf.lo = {} is not below saaf.hi = {}", where, c.saaf_lo, c.saaf_hi);
  }
}

}  // namespace cafx
