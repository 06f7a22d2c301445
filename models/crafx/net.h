// models/crafx/net.h -- the supervised CRAFx; forward and backward, naming no device (layers: models/crafx/crafx.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/crafx/pass.h"
#include "models/model.h"

namespace cafx {

class CrafxModel : public Model {
 public:
  CrafxModel(const CrafxConfig&, const std::string& form);  // of a config that has been checked
  ~CrafxModel() override;

  const CrafxConfig& config() const override;
  std::size_t training_bytes(const Context&, int B, int T, const Loss&) const override;
  std::size_t library_bytes(const Context&, int B, int T) const override;  // kernels/conv1d/conv1d.h
  void reserve(const Context&, int B, int T, const Loss&) override;
  // The penalty is saaf.l2 times the sum of squares of both SAAFs' weights.
  void gradient(const Context&, float* g, const Batch&, const Loss&) override;
  const double* losses() const override;
  void forward(const Context&, float* y, const float* x, int B) override;
  std::unique_ptr<FrameSequence> sequence(const Context&, int hop) const override;  // models/crafx/sequence.h
  std::vector<LayerRow> layers() const override;
  std::vector<Fact> facts(const Context&, const Batch* = nullptr) override;  // saaf/penalty, conv1d/filters
  bool graph(GraphBuilder&) const override;                                  // graph.cpp
  bool negate_output() override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::vector<LayerRow> crafx_layers(const CrafxConfig&);

}  // namespace cafx
