// models/model.h -- what every model of an audio effect states about itself, whatever is inside.
#pragma once

#include <cstdint>
#include <memory>
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

// Frames of one signal, one after another, `hop` apart: what neighbours have in common is computed once. One thread; what
// it needs is allocated when it is made, and nothing after that, so that a real-time effect can stand on it.
class FrameSequence {
 public:
  virtual ~FrameSequence() = default;
  // y (frame) of the frame x (frame), which begins at sample `at` of the signal. It costs least where `at` is the former
  // call's plus hop; any other value begins anew. The bits are those of FrameModel::forward, whatever came before.
  virtual void next(float* y, const float* x, std::int64_t at) noexcept = 0;
  // Another one with a state of its own on the same copy of the weights, for another thread.
  virtual std::unique_ptr<FrameSequence> twin() const = 0;
  // Multiply-adds of a frame that follows its neighbour.
  virtual double multiply_adds() const = 0;
};

// A trained model that turns frames into frames.
class FrameModel {
 public:
  virtual ~FrameModel() = default;
  virtual Geometry geometry() const = 0;
  // y (B,frame) from x (B,frame), both contiguous. Uses the context's threads; safe for one caller at a time.
  virtual void forward(const Context&, float* y, const float* x, int B) = 0;
  // On the CPU, with a copy of the weights as they are now; null where there is only `forward`.
  virtual std::unique_ptr<FrameSequence> sequence(const Context&, int /* hop */) const { return nullptr; }
};

}  // namespace cafx
