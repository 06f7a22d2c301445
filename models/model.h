// models/model.h -- what every model of an audio effect states about itself, whatever is inside.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device/context.h"

namespace cafx {

// Sampler, loss and renderer read this and know no model. All in samples at the model's rate.
struct Geometry {
  int frame;           // samples in and out of one forward pass
  int hop;             // between frames, in training and, unless another is asked for, in rendering
  int context_before;  // samples before the frame that the model also reads (0: none)
  int context_after;
  int latency;      // least delay of a streaming renderer: a frame must have arrived
  int sample_rate;  // in Hz
};

enum class Init { kZero, kLecunUniform, kGlorotUniform, kFanInUniform, kNormal, kIdentityCurve };

// One tensor of a model. The shape is PyTorch's: out before in, cross-correlation.
struct ParamSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  long offset = 0;  // in the flat block of parameters, in floats, a multiple of 16
  long size = 0;    // product of shape
  Init init = Init::kZero;
  double init_scale = 1.0;
  bool decay = false;  // weight decay applies
};

// One line of `cafx info`.
struct LayerRow {
  std::string name, output, detail;
  long parameters, multiply_adds;  // of one frame, forward
};

// A trained model that turns frames into frames.
class FrameModel {
 public:
  virtual ~FrameModel() = default;
  virtual Geometry geometry() const = 0;
  // y (B,frame) from x (B,frame), both contiguous. Uses the context's threads; safe for one caller at a time.
  virtual void forward(const Context&, float* y, const float* x, int B) = 0;
};

}  // namespace cafx
