// models/params.h -- the parameters of a model: one flat block of named tensors, on the host and where a GPU computes.
//
//   A model adds its tensors once, in their order in memory; allocation, initialisation, checkpoints, files, export and
//   tests read the table. No one else knows a tensor's offset: find() returns it by name.
//
// Bits     initialize: a tensor draws from a stream made of its own name, so that it starts the same in every model
//          that has it with that shape.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/device/memory.h"

namespace cafx {

// kAround: init_centre plus init_scale times a uniform number of [-1, 1).   kRamp: init_scale times the index of the
// last dimension.
enum class Init { kZero, kLecunUniform, kGlorotUniform, kFanInUniform, kNormal, kIdentityCurve, kAround, kRamp };

// One tensor of a model. The shape is PyTorch's: out before in, cross-correlation.
struct ParamSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  long offset = 0;  // in the flat block, in floats, a multiple of 16
  long size = 0;    // product of shape
  Init init = Init::kZero;
  double init_scale = 1.0;         // standard deviation of kNormal, half width of kAround, step of kRamp
  double init_centre = 0.0;        // of kAround
  double fan_in = 1, fan_out = 1;  // of the uniform ones
  bool decay = false;              // weight decay applies
  bool penalised = false;          // the model's own penalty on the sum of squares applies
  bool whole_batch =
      false;  // its gradient is summed over the batch by one op: no gradient slots. Such tensors are last.
};

// While one lives, models made by this thread take at most kSlack parameters more than a file holds: what its config
// describes is held against it before memory is taken. A model within the slack is made, and its tensors compared by
// name. Error names the file.
class ParamsLimit {
 public:
  static constexpr std::int64_t kSlack = std::int64_t{1} << 22;  // 16 MiB

  ParamsLimit(std::int64_t n_in_file, std::string file);
  ~ParamsLimit();
  ParamsLimit(const ParamsLimit&) = delete;
  ParamsLimit& operator=(const ParamsLimit&) = delete;

 private:
  friend class Params;
  std::int64_t n_in_file_;
  std::string file_;
  ParamsLimit* before_;
};

class Params {
 public:
  Params() = default;
  Params(const Params&) = delete;
  Params& operator=(const Params&) = delete;

  // Places the tensor behind the others; offset and size are set here. Its index.
  std::size_t add(ParamSpec);

  const std::vector<ParamSpec>& specs() const { return specs_; }
  std::vector<ParamSpec>::const_iterator begin() const { return specs_.begin(); }
  std::vector<ParamSpec>::const_iterator end() const { return specs_.end(); }
  std::size_t size() const { return specs_.size(); }
  const ParamSpec& operator[](std::size_t i) const { return specs_[i]; }
  const ParamSpec* find(std::string_view name) const;  // null: none of that name

  long n_floats() const { return n_floats_; }          // of the block, gaps between tensors included (always 0 there)
  long n_parameters() const { return n_parameters_; }  // that are learned
  long n_slot() const { return n_slot_; }              // of the block's first tensors, those without whole_batch

  // The block on the host, and one tensor of it; CheckError where there is none of that name.
  float* data() { return block_.data(); }
  const float* data() const { return block_.data(); }
  const float* tensor(std::string_view name) const;
  float* tensor(std::string_view name);

  // The block where the context computes: data() on a CPU. On a GPU it is a copy, made by the first use; upload and
  // download bring one up to date with the other.
  float* on(const Context&);
  void upload(const Context&);
  void download(const Context&);

  void initialize(std::uint64_t seed);
  // Copies every tensor that `from` has under the same name and shape, from a block in its layout. Returns how many.
  int take_by_name(const Params& from, const float* values);
  // 1 where weight decay applies, 0 elsewhere; n_floats() of them.
  std::vector<float> decay_mask() const;

 private:
  std::vector<ParamSpec> specs_;
  std::vector<float> block_;
  DeviceArray<float> on_device_;
  long n_floats_ = 0, n_parameters_ = 0, n_slot_ = 0;
};

}  // namespace cafx
