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

#include "kernels/device/context.h"
#include "kernels/frames/frames.h"
#include "models/cafx/config.h"
#include "models/model.h"

namespace cafx {

enum class CafxForm { kSupervised, kPretrain };

// Every tensor of a form with its shape, in the order in which it lies in the flat block.
std::vector<ParamSpec> cafx_params(const CafxConfig&, CafxForm);
// The layer table of `cafx info`.
std::vector<LayerRow> cafx_layers(const CafxConfig&, CafxForm);

// Frames of one step: frame i is input[refs[i]] and target[refs[i]], zero outside its note.
struct CafxBatch {
  const float* input;
  const float* target;
  const FrameRef* refs;
  int B;
};

class CafxModel : public FrameModel {
 public:
  explicit CafxModel(const CafxConfig&, CafxForm = CafxForm::kSupervised);
  ~CafxModel() override;

  const CafxConfig& config() const;
  CafxForm form() const;
  const std::vector<ParamSpec>& params() const;
  long n_floats() const;      // of the flat block, gaps between tensors included (always 0 there)
  long n_parameters() const;  // that are learned
  float* data();              // the flat block on the host: tensor i at params()[i].offset
  const float* data() const;
  // The same block where the context computes: data() itself on the CPU. On a GPU it is a copy, made by the first use;
  // upload and download bring one up to date with the other.
  float* weights(const Context&);
  void upload(const Context&);
  void download(const Context&);

  void initialize(std::uint64_t seed);

  Geometry geometry() const override;
  void forward(const Context&, float* y, const float* x, int B) override;  // supervised and pretrained form alike
  std::unique_ptr<FrameSequence> sequence(const Context&, int hop) const override;  // models/cafx/sequence.h

  // All pointers of a batch, and y, x and the gradient, are where the context computes.
  // Mean absolute error of the batch, the SAAF's penalty left out; gradient of error plus penalty (n_floats()) written.
  // Equal bits for every number of threads of the context.
  double loss_and_gradient(const Context&, float* gradient, const CafxBatch&);
  // The same without waiting: sums of absolute errors are then in losses() (B), on the device. With memory reserved
  // before, nothing is allocated, so that a CUDA graph can hold it.
  void enqueue_gradient(const Context&, float* gradient, const CafxBatch&);
  const double* losses() const;
  void reserve(const Context&, int B);
  std::size_t training_memory(const Context&, int B) const;  // bytes of activations and workspace
  // Bytes that the convolutions' library asks for beside, and `reserve` allocates: kernels/conv1d/conv1d.h.
  std::size_t convolution_workspace(const Context&, int B) const;
  // Mean absolute error of the batch alone.
  double loss(const Context&, const CafxBatch&);
  // saaf.l2 times the sum of squares of the SAAF's weights.
  double penalty() const;
  // Keeps every slope within saaf.lipschitz, where that is set. To be called after each step.
  void project(const Context&);
  // The largest Lipschitz constant of all channels' curves; 0 without SAAF.
  double lipschitz() const;
  // The largest magnitude that reaches the SAAF over the batch, to hold against its domain; 0 without SAAF.
  double saaf_input_peak(const Context&, const CafxBatch&);
  // Curve of one channel at n points.
  void curve(int channel, float* y, const float* x, int n) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cafx
