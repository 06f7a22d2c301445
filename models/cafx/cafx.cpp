#include "models/cafx/cafx.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/saaf/saaf.h"
#include "models/cafx/dims.h"

namespace cafx {

namespace {

CafxParts parts_of(const CafxConfig& config, CafxForm form) {
  const bool whole = form == CafxForm::kSupervised;
  return {whole, whole, whole ? config.geometry().knobs : 0};
}

}  // namespace

CafxModel::CafxModel(const CafxConfig& config, CafxForm form)
    : CafxNet((config.check("model"), config), parts_of(config, form),
              form == CafxForm::kSupervised ? kSupervised : kPretrain) {}

bool CafxModel::has_saaf() const { return form() == kSupervised && sizes().saaf; }

double CafxModel::penalty() const {
  double total = 0.0;
  for (const ParamSpec& p : params_) {
    if (!p.penalised) continue;
    for (long i = p.offset; i < p.offset + p.size; ++i) {
      total += static_cast<double>(params_.data()[i]) * params_.data()[i];
    }
  }
  return sizes().saaf_l2 * total;
}

void CafxModel::project(const Context& context) {
  if (!has_saaf() || sizes().saaf_lipschitz <= 0.0) return;
  float* weights = params_.on(context);
  saaf_project(context, weights + params_.find("saaf.v")->offset, weights + params_.find("saaf.w")->offset,
               static_cast<float>(sizes().saaf_lipschitz), CafxDims::saaf_of(sizes(), 1));
}

double CafxModel::lipschitz() const {
  if (!has_saaf()) return 0.0;
  std::vector<float> constant(static_cast<std::size_t>(sizes().filters));
  saaf_lipschitz(constant.data(), params_.tensor("saaf.v"), params_.tensor("saaf.w"), CafxDims::saaf_of(sizes(), 1));
  return *std::max_element(constant.begin(), constant.end());
}

double CafxModel::saaf_input_peak(const Context& context, const Batch& batch) {
  return has_saaf() ? dnn_output_peak(context, batch) : 0.0;
}

void CafxModel::curve(int channel, float* y, const float* x, int n) const {
  CAFX_CHECK(has_saaf() && channel >= 0 && channel < sizes().filters, channel);
  const float *all_v = params_.tensor("saaf.v"), *all_w = params_.tensor("saaf.w");
  const int C = sizes().filters;
  SaafDims d = CafxDims::saaf_of(sizes(), 1);
  d.C = 1;
  d.T = n;
  std::vector<float> v, w;
  for (int i = 0; i < n_v(d); ++i) v.push_back(all_v[i * C + channel]);
  for (int i = 0; i < n_curved(d); ++i) w.push_back(all_w[i * C + channel]);
  const Context context;
  std::vector<unsigned char> scratch(saaf_scratch(context, d) + 64);
  saaf_forward(context, y, x, v.data(), w.data(), scratch.data(), d);
}

std::vector<Fact> CafxModel::facts(const Context& context, const Batch* batch) {
  const CafxConfig& c = sizes();
  if (!has_saaf()) return CafxNet::facts(context, batch);
  std::vector<Fact> facts{{"saaf/penalty", "saaf.l2 times the sum of squares of the SAAF's weights"},
                          {"saaf/lipschitz", "largest slope of all curves"}};
  facts[0].number = penalty();
  facts[1].number = lipschitz();
  if (batch) {
    facts.push_back(
        {"saaf/input_peak",
         fmt::format("largest magnitude that reaches the SAAF, whose domain is [{:g}, {:g}]", c.saaf_lo, c.saaf_hi)});
    facts.back().number = saaf_input_peak(context, *batch);
  }
  // Values of the curves at their segments' ends, and their mean slope in each segment.
  const int n = c.saaf_segments + 1;
  const double width = (c.saaf_hi - c.saaf_lo) / c.saaf_segments;
  Fact curves{"saaf/curves", "output of each channel's curve at the ends of its segments", Fact::Kind::kCurves};
  for (int i = 0; i < n; ++i) curves.x.push_back(static_cast<float>(c.saaf_lo + i * width));
  Fact slopes{"saaf/slopes", "mean slope of each curve in each segment", Fact::Kind::kDistribution};
  std::vector<float> y(curves.x.size());
  for (int channel = 0; channel < c.filters; ++channel) {
    curve(channel, y.data(), curves.x.data(), n);
    curves.values.insert(curves.values.end(), y.begin(), y.end());
    for (std::size_t i = 1; i < y.size(); ++i) slopes.values.push_back((y[i] - y[i - 1]) / static_cast<float>(width));
  }
  Fact values{"saaf/values", "output of the curves at the ends of their segments", Fact::Kind::kDistribution};
  values.values = curves.values;
  for (Fact* f : {&values, &slopes, &curves}) facts.push_back(std::move(*f));
  for (Fact& f : CafxNet::facts(context, batch)) facts.push_back(std::move(f));
  return facts;
}

// The last layer before the tied deconvolution, which itself has no sign of its own: its weights are Conv1D's.
bool CafxModel::negate_output() {
  if (form() != kSupervised) return false;
  const CafxConfig& c = sizes();
  const std::string last = "dnn." + std::to_string(c.dnn.size() - 1);
  const std::vector<std::string> names = c.saaf ? std::vector<std::string>{"saaf.v", "saaf.w"}
                                                : std::vector<std::string>{last + ".weight", last + ".bias"};
  const auto negate = [&](const std::string& name) {
    const ParamSpec* p = params_.find(name);
    for (long i = p->offset; i < p->offset + p->size; ++i) params_.data()[i] = -params_.data()[i];
  };
  for (const std::string& name : names) negate(name);
  if (!c.saaf && params_.find("film.bias")) negate_last_shifts();
  negate("deconv.bias");
  return true;
}

// What knobs add behind DNN-SAAF's last layer: the last rows of their net.
void CafxModel::negate_last_shifts() {
  for (const char* name : {"film.weight", "film.bias"}) {
    const ParamSpec* p = params_.find(name);
    const long n = p->size / p->shape[0] * sizes().filters;
    float* end = params_.data() + p->offset + p->size;
    for (float* v = end - n; v < end; ++v) *v = -*v;
  }
}

std::unique_ptr<Model> make_cafx(const ModelConfig& config, const std::string& form) {
  return std::make_unique<CafxModel>(dynamic_cast<const CafxConfig&>(config),
                                     form == kPretrain ? CafxForm::kPretrain : CafxForm::kSupervised);
}

std::vector<LayerRow> cafx_layers(const CafxConfig& config, CafxForm form) {
  return cafx_layers(config, parts_of(config, form));
}

}  // namespace cafx
