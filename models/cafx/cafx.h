// models/cafx/cafx.h -- CAFx, and the form of it that is pretrained. Its layers, forward and backward:
// models/cafx/net.h.
//
//   The pretrained form goes from z straight to unpooling (always by positions) and has convolutional weights only.
//
// Source   arXiv:1810.06603; the journal version's choices are fields of CafxConfig.
#pragma once

#include <memory>
#include <vector>

#include "models/cafx/config.h"
#include "models/cafx/net.h"

namespace cafx {

enum class CafxForm { kSupervised, kPretrain };

std::vector<LayerRow> cafx_layers(const CafxConfig&, CafxForm);

class CafxModel : public CafxNet {
 public:
  explicit CafxModel(const CafxConfig&, CafxForm = CafxForm::kSupervised);

  const CafxConfig& config() const override { return sizes(); }
  // Keeps every slope within saaf.lipschitz, where that is set.
  void project(const Context&) override;
  // Of the supervised form with a SAAF: saaf/penalty, saaf/lipschitz (the largest constant of all channels' curves),
  // saaf/values and saaf/slopes, saaf/curves; with a batch saaf/input_peak, the largest magnitude that reaches the
  // SAAF.
  std::vector<Fact> facts(const Context&, const Batch* = nullptr) override;
  bool negate_output() override;

  double penalty() const;
  double lipschitz() const;                              // 0 without SAAF
  double saaf_input_peak(const Context&, const Batch&);  // 0 without SAAF
  // Curve of one channel at n points.
  void curve(int channel, float* y, const float* x, int n) const;

 private:
  bool has_saaf() const;
  void negate_last_shifts();
};

std::unique_ptr<Model> make_cafx(const ModelConfig&, const std::string& form);

}  // namespace cafx
