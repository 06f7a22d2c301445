// models/cafx/cafx.h -- CAFx, and the form of it that is pretrained; forward and backward, naming no device.
//
//   layer               output               (frame 1024, 128 filters)
//   input               (1024, 1)
//   Conv1D              (1024, 128) = x1, kept signed as the residual
//   abs, Conv1D-Local, softplus, max pool    (64, 128) = z, with positions
//   Dense-Local         (64, 128) = h        own layer per channel, softplus; or one for all: latent_layer = "dense"
//   Dense               (64, 128) = zhat     one layer for all channels, softplus
//   unpool, times x1, DNN-SAAF               (1024, 128) = u
//   deConv1D            (1024, 1) = y        the weights of Conv1D, transposed
//
//   The pretrained form goes from z straight to unpooling (always by positions) and has convolutional weights only.
//
// Source   arXiv:1810.06603; the journal version's choices are fields of CafxConfig.
#pragma once

#include <memory>
#include <vector>

#include "models/cafx/config.h"
#include "models/model.h"

namespace cafx {

enum class CafxForm { kSupervised, kPretrain };

// The layer table of `cafx info`.
std::vector<LayerRow> cafx_layers(const CafxConfig&, CafxForm);

class CafxModel : public Model {
 public:
  explicit CafxModel(const CafxConfig&, CafxForm = CafxForm::kSupervised);
  ~CafxModel() override;

  const CafxConfig& config() const override;

  std::size_t training_bytes(const Context&, int B, int T, const Loss&) const override;
  std::size_t library_bytes(const Context&, int B, int T) const override;  // kernels/conv1d/conv1d.h
  void reserve(const Context&, int B, int T, const Loss&) override;
  // The penalty is saaf.l2 times the sum of squares of the SAAF's weights.
  void gradient(const Context&, float* g, const Batch&, const Loss&) override;
  const double* losses() const override;
  // Keeps every slope within saaf.lipschitz, where that is set.
  void project(const Context&) override;

  void forward(const Context&, float* y, const float* x, int B) override;  // supervised and pretrained form alike
  std::unique_ptr<FrameSequence> sequence(const Context&, int hop) const override;  // models/cafx/sequence.h

  std::vector<LayerRow> layers() const override;
  // Of the supervised form with a SAAF: saaf/penalty, saaf/lipschitz (the largest constant of all channels' curves),
  // saaf/values and saaf/slopes, saaf/curves; with a batch saaf/input_peak, the largest magnitude that reaches the SAAF.
  std::vector<Fact> facts(const Context&, const Batch* = nullptr) override;
  bool negate_output() override;

  double penalty() const;
  double lipschitz() const;                              // 0 without SAAF
  double saaf_input_peak(const Context&, const Batch&);  // 0 without SAAF
  // Curve of one channel at n points.
  void curve(int channel, float* y, const float* x, int n) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::unique_ptr<Model> make_cafx(const ModelConfig&, const std::string& form);

}  // namespace cafx
