// models/cafx/net.h -- the parts of CAFx and its relatives; forward and backward, naming no device.
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
//   Knobs change weights of Dense or of DNN-SAAF, frame by frame: models/cafx/knobs.h.
//   Without `latent`, zhat is z, unpooled by positions; without `dnn`, u is unpooled zhat times the residual.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/cafx/config.h"
#include "models/model.h"

namespace cafx {

struct CafxParts {
  bool latent = true, dnn = true;
  int controls = 0;  // of knobs
};

std::vector<LayerRow> cafx_layers(const CafxConfig&, CafxParts);

// A model of these parts; a derived class supplies config and form, and checks the sizes first.
class CafxNet : public Model {
 public:
  ~CafxNet() override;

  std::size_t training_bytes(const Context&, int B, int T, const Loss&) const override;
  std::size_t library_bytes(const Context&, int B, int T) const override;  // kernels/conv1d/conv1d.h
  void reserve(const Context&, int B, int T, const Loss&) override;
  // The penalty is saaf.l2 times the sum of squares of the SAAF's weights.
  void gradient(const Context&, float* g, const Batch&, const Loss&) override;
  const double* losses() const override;
  void forward(const Context&, float* y, const float* x, int B) override;
  std::unique_ptr<FrameSequence> sequence(const Context&, int hop) const override;  // models/cafx/sequence.h
  std::vector<LayerRow> layers() const override;
  std::vector<Fact> facts(const Context&, const Batch* = nullptr) override;  // conv1d/filters
  bool graph(GraphBuilder&) const override;                                  // graph.cpp

 protected:
  CafxNet(const CafxConfig& sizes, CafxParts, const std::string& form);
  const CafxConfig& sizes() const;
  // The weights on the host where the knobs stand, laid out as params().
  std::vector<float> at_position() const;
  CafxParts parts() const;
  // The largest output magnitude of DNN-SAAF's last dense layer over the batch.
  double dnn_output_peak(const Context&, const Batch&);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cafx
