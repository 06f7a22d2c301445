// models/student/student.h -- a small model that plays sample by sample, made from a larger one or from recordings.
//
//   lstm      h = LSTM layers over x[t]; y[t] = head h[t]                           models/student/lstm_student.cpp
//   wavenet   arrays of dilated convolutions, every layer adding to a head's input  models/student/wavenet_student.cpp
//
//   Both are what NeuralAmpModeler (NAM) calls by these names, to the order of their weights. A student reads no future
//   sample: its latency is 0. Before the first sample there is silence, as long as it takes to come to rest.
//
// Training  goes over segments of recordings, block by block. A segment begins with its context, which is heard without
//           being learned from: the LSTM's state comes to what the past makes of it, the WaveNet's first layers look back
//           into it. The LSTM's state is carried from block to block, gradients are not (truncated back-propagation).
// Bits      the same for every number of threads.
#pragma once

#include <memory>
#include <vector>

#include "kernels/device/context.h"
#include "models/model.h"
#include "models/student/config.h"

namespace cafx {

// B segments of `length` samples, each with `context` samples before.
struct StudentSegments {
  const float* x;                      // (B, context + length)
  const float* target;                 // (B, length)
  const float *esr_scale, *mae_scale;  // (B): kernels/relative_error
  int B, context, length;
  float pre_emphasis;
};

// Samples in, as many out. One thread; what it needs is allocated when it is made.
class StudentStream {
 public:
  virtual ~StudentStream() = default;
  virtual void process(float* y, const float* x, long n) = 0;
  virtual void reset() = 0;  // as after a long silence
  // Another one at rest, on the same copy of the weights.
  virtual std::unique_ptr<StudentStream> twin() const = 0;
};

class Student {
 public:
  virtual ~Student() = default;
  const StudentConfig& config() const { return config_; }
  const std::vector<ParamSpec>& params() const { return params_; }
  long n_floats() const { return n_floats_; }  // of the flat block, gaps between tensors included (always 0 there)
  long n_parameters() const { return n_parameters_; }
  float* data() { return block_.data(); }  // tensor i at params()[i].offset
  const float* data() const { return block_.data(); }
  const float* tensor(const std::string& name) const;
  void initialize(std::uint64_t seed);

  // Samples that a segment's first output depends on beside its own: all of them for the WaveNet; 0 where a state carries
  // the past.
  virtual int receptive_context() const = 0;
  virtual double multiply_adds() const = 0;  // of one sample, forward

  // Hears the context of new segments.
  virtual void begin(const Context&, const StudentSegments&) = 0;
  // The loss of samples [t0, t0 + T) of the segments, and its gradient (n_floats()). Blocks follow each other.
  virtual double gradient(const Context&, float* gradient, const StudentSegments&, int t0, int T) = 0;

  // With a copy of the weights as they are now.
  virtual std::unique_ptr<StudentStream> stream(const Context&) const = 0;

 protected:
  explicit Student(const StudentConfig& config) : config_(config) {}
  // `fan_in`: initial values are uniform within 1 / sqrt(fan_in); 0: zeros.
  void add(const std::string& name, std::vector<std::int64_t> shape, long fan_in, bool decay);
  float* at(float* base, std::size_t tensor) const { return base + params_[tensor].offset; }
  const float* at(const float* base, std::size_t tensor) const { return base + params_[tensor].offset; }

  StudentConfig config_;

 private:
  std::vector<ParamSpec> params_;
  std::vector<float> block_;
  long n_floats_ = 0, n_parameters_ = 0;
};

std::unique_ptr<Student> make_student(const StudentConfig&);
// The LSTM's state after a long silence: h and c of each layer, (layers, 2, H).
std::vector<float> lstm_rest(const Context&, const Student&);

// Memory of a slot: parts of a block that grows to the largest asked for.
class StudentMemory {
 public:
  // Lays out parts of these sizes in floats, each on a border of 64 bytes; keeps nothing of what was there.
  std::vector<float*> lay_out(const std::vector<long>& sizes);

 private:
  std::vector<float> block_;
};

}  // namespace cafx
