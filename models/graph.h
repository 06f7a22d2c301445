// models/graph.h -- the forward pass of one frame, or of some samples of a stream, as nodes of a graph, written beside
// the model's ops. Who builds the graph knows the file's format and no model; the model knows the operators and no
// format.
//
//   Operators  the standard ones of ONNX, opset 13. The input is "x" (B, span), the output "y" (B, frame); B is free.
//              Of a stream x and y are (B, T), T free too, and what it keeps from call to call goes through states.
//   Names      a node is named after the layer that it belongs to; initializers as the tensors in params().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cafx {

class GraphBuilder {
 public:
  using Ints = std::vector<std::int64_t>;
  struct Attribute {
    const char* name;
    Ints ints;
    bool single = false;
    std::vector<float> floats = {};  // in place of ints, as are
    std::vector<std::string> strings = {};
  };
  static Attribute text(const char* name, const std::string& value) { return {name, {}, true, {}, {value}}; }
  static Attribute one(const char* name, std::int64_t value) { return {name, {value}, true}; }
  static constexpr std::int64_t kFloat = 1, kInt32 = 6;  // types of a Cast, as ONNX counts them

  virtual ~GraphBuilder() = default;
  // A node of one output, whose name this is and is given back.
  virtual std::string add(const char* op, const std::string& output, std::vector<std::string> inputs,
                          const std::vector<Attribute>& attributes = {}) = 0;
  // Constants.
  virtual std::string floats(const std::string& name, const float* data, const Ints& shape) = 0;
  virtual std::string int64s(const std::string& name, const Ints& data) = 0;
  virtual std::string int32s(const std::string& name, const std::vector<std::int32_t>& data, const Ints& shape) = 0;
  // A node of several outputs; an input without a name is one that the operator may lack.
  virtual void add_to(const std::vector<std::string>& outputs, const char* op, std::vector<std::string> inputs,
                      const std::vector<Attribute>& attributes = {}) = 0;
  // A state of a stream: an input of this name, whose axis of -1 is B, and `next` of it as output "NAME.next". `rest`:
  // of one stream, as after a long silence.
  virtual std::string state(const std::string& name, const Ints& shape, const std::vector<float>& rest) = 0;
  virtual void next_state(const std::string& name, const std::string& next) = 0;
  // Of a stream, how many samples a call may have; any number where none is told.
  virtual void most_samples(std::int64_t) = 0;
  static constexpr std::int64_t kToTheEnd = INT64_MAX;  // of a slice
  std::string scalar(const std::string& name, double value) {
    const auto x = static_cast<float>(value);
    return floats(name, &x, {});
  }
};

}  // namespace cafx
