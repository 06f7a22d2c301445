// The layer table of CAFx and its relatives.
#include "models/cafx/dims.h"
#include "models/cafx/net.h"
#include "models/knob_film.h"

namespace cafx {

std::vector<LayerRow> cafx_layers(const CafxConfig& c, CafxParts parts) {
  using Kind = LayerRow::Kind;
  const long T = c.frame, C = c.filters, pooled = T / c.pool, latent = c.latent;
  const auto shape = [](long t, long channels) { return fmt::format("({}, {})", t, channels); };
  std::vector<LayerRow> rows;
  const auto add = [&](Kind kind, const std::string& name, const std::string& output, const std::string& detail,
                       long parameters = 0, long multiply_adds = 0) -> LayerRow& {
    rows.push_back({kind, name, output, detail, parameters, multiply_adds, 2.0 * static_cast<double>(multiply_adds)});
    return rows.back();
  };
  add(Kind::kInput, "input", shape(T, 1), fmt::format("{} Hz", c.sample_rate));
  LayerRow& conv = add(Kind::kConvolution, "Conv1D", shape(T, C), fmt::format("{} filters of {} taps = X1", C, c.taps),
                       C * c.taps + C, T * C * c.taps);
  conv.backward /= 2.0;  // the input needs no gradient
  add(Kind::kElementwise, "abs", shape(T, C), "");
  LayerRow& local_conv =
      add(Kind::kLocalConvolution, "Conv1D-Local", shape(T, C),
          fmt::format("{} taps per channel, softplus", c.local_taps), C * c.local_taps + C, T * C * c.local_taps);
  local_conv.backward /= c.pool;  // one sample of each window has a gradient
  add(Kind::kElementwise, "max pool", shape(pooled, C), fmt::format("{}, positions kept = Z", c.pool));
  if (parts.latent) {
    const bool local = c.latent_layer == "local";
    add(Kind::kDense, local ? "Dense-Local" : "Dense", shape(latent, C),
        local ? "own layer per channel, softplus" : "one layer for all channels, softplus",
        (local ? C : 1) * (latent * pooled + latent), C * latent * pooled);
    const bool beside = parts.controls > 0 && c.knob_layers == "latent";
    add(Kind::kDense, "Dense", shape(pooled, C),
        beside ? "one layer for all channels, knobs beside the input, softplus"
               : "one layer for all channels, softplus",
        pooled * latent + pooled + (beside ? pooled * parts.controls : 0), C * pooled * latent);
  }
  add(Kind::kElementwise, "unpool", shape(T, C), parts.latent ? c.unpool : "positions");
  add(Kind::kElementwise, "multiply", shape(T, C), "by X1");
  if (parts.dnn) {
    long in = C;
    for (std::size_t l = 0; l < c.dnn.size(); ++l) {
      const long out = c.dnn[l];
      add(Kind::kDense, fmt::format("DNN-SAAF dense {}", l + 1), shape(T, out),
          l + 1 < c.dnn.size() ? c.activation : "linear", out * in + out, T * out * in);
      in = out;
    }
    if (c.saaf) {
      const SaafDims s = CafxDims::saaf_of(c, 1);
      add(Kind::kCurve, "SAAF", shape(T, C),
          fmt::format("{} segments on [{:g}, {:g}]", c.saaf_segments, c.saaf_lo, c.saaf_hi),
          C * (n_v(s) + n_curved(s)));
    }
  }
  if (parts.dnn && parts.controls > 0 && c.knob_layers == "film") {  // where a knob moves alone
    long outputs = 0;
    for (const int width : c.dnn) outputs += 2 * width;
    add(Kind::kDense, "FiLM of DNN-SAAF", fmt::format("{}", outputs), "scales and shifts from the knobs",
        kFilmHidden * (parts.controls + 1L) + outputs * (kFilmHidden + 1L));
  }
  add(Kind::kDeconvolution, "deConv1D", shape(T, 1), "weights of Conv1D, " + c.deconv, 1, T * C * c.taps);
  return rows;
}

}  // namespace cafx
