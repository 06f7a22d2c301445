// models/model.h -- the interface of a model for trainer, player, exporter and commands.
//
//   A model is a folder here with a line in models/registry.h. It holds its parameters (models/params.h), learns from
//   places in concatenated audio, and plays: a frame at a time (forward, sequence) or as a stream, by geometry().frame.
//   What it does not have keeps the default below.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device/context.h"
#include "kernels/dropout/dropout.h"
#include "kernels/frames/frames.h"
#include "models/config.h"
#include "models/loss.h"
#include "models/params.h"
#include "models/player.h"

namespace cafx {

inline constexpr const char* kSupervised = "supervised";
inline constexpr const char* kPretrain = "pretrain";

// B places in concatenated audio, where the context computes; outside of a place's note there is silence.
//   Frames   samples [start, start + T) of each ref; T is the model's frame, t0 = 0. The context around them, where the
//            geometry has one, is gathered by the model.
//   Streams  a ref's start is that of a segment; the batch is samples [start + t0, start + t0 + T), which follow the
//            former block's. The warm-up lies before the start.
struct Batch {
  const float* input;
  const float* target;
  const FrameRef* refs;  // (B), in input
  int B, T;
  int t0 = 0;
  int warm_up = 0;               // of a stream: warm-up before the start, in samples; at least the geometry's
  const float* knobs = nullptr;  // (B, geometry().knobs), where the context computes; null: all 0
  // The update that this gradient is for, by which dropout leaves out; null: nothing is left out.
  const DropoutDraw* draw = nullptr;
  const FrameRef* refs_of_target = nullptr;  // (B), in target; null: refs

  const FrameRef* target_refs() const { return refs_of_target ? refs_of_target : refs; }
};

// One line of `cafx info`.
struct LayerRow {
  enum class Kind { kInput, kConvolution, kLocalConvolution, kDense, kRecurrent, kCurve, kElementwise, kDeconvolution };
  Kind kind;
  std::string name = {}, output = {}, detail = {};
  long parameters = 0;
  long multiply_adds = 0;  // of one frame, of a stream's sample, forward
  double backward = 0.0;   // the same of its gradient; what needs none is left out
};

// A value that a model reports besides its loss; metrics, TensorBoard, result.json and pages print it.
struct Fact {
  enum class Kind { kNumber, kDistribution, kCurves, kFilters };
  std::string name;  // "saaf/penalty": a group and a name
  std::string help;  // one line, with the unit
  Kind kind = Kind::kNumber;
  double number = 0.0;
  // Of a distribution all; of curves and filters y, one after the other, each on all of x. Curves lie in one picture; a
  // filter is an impulse response over x in samples, in a picture of its own.
  std::vector<float> values = {};
  std::vector<float> x = {};
};

// Frames of one signal, one after another, `hop` apart: what neighbours have in common is computed once. One thread;
// what it needs is allocated by the constructor, nothing afterwards, so that a real-time effect can use it.
class FrameSequence {
 public:
  virtual ~FrameSequence() = default;
  // y (frame) of the frame that begins at sample `at` of the signal; x (span) begins with the context before it. It
  // costs least where `at` is the former call's plus hop; any other value starts again. The bits are those of
  // Model::forward in every case.
  virtual void next(float* y, const float* x, std::int64_t at) noexcept = 0;
  // As Player::set, from the next frame on.
  virtual void set(int /* knob */, float /* value */) noexcept {}
  // Another one with a state of its own on the same copy of the weights, for another thread.
  virtual std::unique_ptr<FrameSequence> twin() const = 0;
  // Multiply-adds of a frame that follows its neighbour.
  virtual double multiply_adds() const = 0;
};

class GraphBuilder;  // models/graph.h

// What a .nam file holds of a model, which NeuralAmpModeler and the hosts that play its models read.
struct NamModel {
  std::string architecture, config;  // config: JSON
  std::vector<float> weights;        // in the format's order
  bool parametric = false;           // with knobs, which hosts of NAM's parametric fork read
};

class Model {
 public:
  virtual ~Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  virtual const ModelConfig& config() const = 0;
  const std::string& form() const { return form_; }  // kSupervised, or another that the type lists
  Geometry geometry() const { return config().geometry(); }
  Params& params() { return params_; }
  const Params& params() const { return params_; }
  // Short for those of params().
  float* data() { return params_.data(); }
  const float* data() const { return params_.data(); }
  long n_floats() const { return params_.n_floats(); }
  long n_parameters() const { return params_.n_parameters(); }
  // Where the knobs stand for forward() and for what sequence() and stream() make: geometry().knobs controls
  // (kernels/base/knobs.h); empty: at their start.
  void turn_to(std::vector<float> controls) { position_ = std::move(controls); }
  const std::vector<float>& position() const { return position_; }
  void initialize(std::uint64_t seed) { params_.initialize(seed); }
  float* weights(const Context& context) { return params_.on(context); }
  void upload(const Context& context) { params_.upload(context); }
  void download(const Context& context) { params_.download(context); }

  // Training. Pointers are where the context computes.
  // Bytes of activations and workspace for B places of T samples, and those that libraries ask for beside.
  virtual std::size_t training_bytes(const Context&, int B, int T, const Loss&) const = 0;
  virtual std::size_t library_bytes(const Context&, int /* B */, int /* T */) const { return 0; }
  // For batches of up to B places of T samples. Afterwards nothing is allocated and nothing waits, so that a CUDA graph
  // can hold what follows.
  virtual void reserve(const Context&, int B, int T, const Loss&) = 0;
  // Of a stream, new segments: runs their warm-up and gets the loss's references for their blocks. T is the whole
  // segment's length.
  virtual void begin(const Context&, const Batch&, const Loss&) {}
  // Writes the gradient of the mean loss over the batch, plus the model's own penalty, to g (params().n_floats());
  // equal bits for every number of threads. g null: the losses alone; a stream's state advances.
  virtual void gradient(const Context&, float* g, const Batch&, const Loss&) = 0;
  // (B) of the batch that gradient() saw last, where the context computes: T times each place's loss.
  virtual const double* losses() const = 0;
  // The mean over the batch; waits for the device.
  double mean_loss(const Context&, const Batch&) const;
  // Puts the weights back into what the model allows. To be called after each step.
  virtual void project(const Context&) {}

  // Playing, on frames: y (B,frame) from x (B,span), contiguous, where the context computes. One caller at a time.
  virtual void forward(const Context&, float* y, const float* x, int B);
  // With a copy of the weights as they are now, on the CPU; null where the model, its form or the context has none.
  virtual std::unique_ptr<FrameSequence> sequence(const Context&, int /* hop */) const { return nullptr; }
  virtual std::unique_ptr<Player> stream(const Context&) const { return nullptr; }

  // Telling.
  virtual std::vector<LayerRow> layers() const = 0;
  // Facts of the weights on the host; with a batch also those that need a signal.
  virtual std::vector<Fact> facts(const Context&, const Batch* = nullptr) { return {}; }
  // The forward pass of one frame as nodes of a graph; false: there is none.
  virtual bool graph(GraphBuilder&) const { return false; }
  // Of a model with knobs: where they were turned to, or all of it.
  virtual std::optional<NamModel> nam() const { return std::nullopt; }
  // Turns the sign of the output by that of weights on the host; false where no weights do.
  virtual bool negate_output() { return false; }

 protected:
  explicit Model(std::string form = kSupervised) : form_(std::move(form)) {}
  Params params_;

 private:
  std::vector<float> position_;
  std::string form_;
};

}  // namespace cafx
