// What CRAFx tells of itself: the table of its layers, its facts.
#include "models/crafx/net.h"

namespace cafx {

std::vector<LayerRow> crafx_layers(const CrafxConfig& c) {
  using Kind = LayerRow::Kind;
  const CafxConfig parts = c.parts();
  const long T = c.frame, C = c.filters, N = T / c.pool, F = c.frames();
  const SaafDims s = CafxDims::saaf_of(parts, 1);
  const long of_curves = C * (n_v(s) + n_curved(s));
  const auto shape = [](long t, long channels) { return fmt::format("({}, {})", t, channels); };
  const auto of_frames = [&](long t, long channels) { return fmt::format("({}, {}, {})", F, t, channels); };
  std::vector<LayerRow> rows;
  const auto add = [&](Kind kind, const std::string& name, const std::string& output, const std::string& detail,
                       long parameters = 0, long multiply_adds = 0) -> LayerRow& {
    rows.push_back({kind, name, output, detail, parameters, multiply_adds, 2.0 * static_cast<double>(multiply_adds)});
    return rows.back();
  };
  const std::string curve = fmt::format("{} segments on [{:g}, {:g}]", c.saaf_segments, c.saaf_lo, c.saaf_hi);
  add(Kind::kInput, "input", of_frames(T, 1),
      fmt::format("{} Hz, {} frames before, {} after, {} samples apart", c.sample_rate, c.before, c.after,
                  c.context_hop));
  LayerRow& conv = add(Kind::kConvolution, "Conv1D", of_frames(T, C),
                       fmt::format("{} filters of {} taps = X1", C, c.taps), C * c.taps + C, F * T * C * c.taps);
  conv.backward /= 2.0;  // the input needs no gradient
  add(Kind::kElementwise, "abs", of_frames(T, C), "");
  LayerRow& local_conv =
      add(Kind::kLocalConvolution, "Conv1D-Local", of_frames(T, C),
          fmt::format("{} taps per channel, softplus", c.local_taps), C * c.local_taps + C, F * T * C * c.local_taps);
  local_conv.backward /= c.pool;  // one sample of each window has a gradient
  add(Kind::kElementwise, "max pool", of_frames(N, C), fmt::format("{}, positions kept = Z", c.pool));
  add(Kind::kElementwise, "side by side", shape(N, F * C), "the frames of a step of the latent");
  long in = F * C;
  for (std::size_t l = 0; l < c.lstm.size(); ++l) {
    const long H = c.lstm[l], weights = 8 * H * (in + H);
    add(Kind::kRecurrent, fmt::format("Bi-LSTM {}", l + 1), shape(N, 2 * H),
        fmt::format("{} units a direction{}", H, l + 1 < c.lstm.size() ? "" : ", linear"), weights + 8 * H,
        N * weights);
    in = 2 * H;
  }
  add(Kind::kCurve, "SAAF", shape(N, C), curve, of_curves);
  add(Kind::kElementwise, "unpool", shape(T, C), c.unpool);
  add(Kind::kElementwise, "multiply", shape(T, C), "by X1 of the frame itself = U");
  in = C;
  for (std::size_t l = 0; l < c.dnn.size(); ++l) {
    const long out = c.dnn[l];
    add(Kind::kDense, fmt::format("DNN-SAAF dense {}", l + 1), shape(T, out),
        l + 1 < c.dnn.size() ? c.activation : "linear", out * in + out, T * out * in);
    in = out;
  }
  add(Kind::kCurve, "SAAF", shape(T, C), curve + " = V", of_curves);
  add(Kind::kDense, "squeeze and excite", shape(1, C),
      fmt::format("mean magnitude of V, {} relu, {} sigmoid = S", c.excite, C), 2 * C * c.excite + c.excite + C,
      2 * C * c.excite);
  add(Kind::kElementwise, "sum", shape(T, C), "U + S V");
  add(Kind::kDeconvolution, "deConv1D", shape(T, 1), "weights of Conv1D, " + c.deconv, 1, T * C * c.taps);
  return rows;
}

std::vector<LayerRow> CrafxModel::layers() const { return crafx_layers(config()); }

std::vector<Fact> CrafxModel::facts(const Context&, const Batch*) {
  const CrafxConfig& c = config();
  Fact penalty{"saaf/penalty", "saaf.l2 times the sum of squares of both SAAFs' weights"};
  for (const ParamSpec& p : params_) {
    if (!p.penalised) continue;
    for (long i = p.offset; i < p.offset + p.size; ++i) {
      penalty.number += c.saaf_l2 * static_cast<double>(params_.data()[i]) * params_.data()[i];
    }
  }
  Fact filters{"conv1d/filters", "filters of Conv1D", Fact::Kind::kFilters};
  for (int k = 0; k < c.taps; ++k) filters.x.push_back(static_cast<float>(k));
  const float* conv = params_.tensor("conv1d.weight");
  filters.values.assign(conv, conv + static_cast<long>(c.filters) * c.taps);
  return {penalty, filters};
}

}  // namespace cafx
