// models/config.h -- the config of a model of any type: its sizes and choices, as described fields.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/base/describe.h"
#include "models/geometry.h"

namespace cafx {

class ModelConfig {
 public:
  int sample_rate = 0;  // the rate that the model works at, in Hz; 0: not chosen yet, which check() refuses

  // That the model reads, in words (kernels/base/knobs.h); those of data.knobs where it was trained. A type that reads
  // some lists the field in fields(); the others have none.
  std::vector<std::string> knobs;

  virtual ~ModelConfig() = default;
  virtual const char* type() const = 0;  // "cafx": [model] type of a config, `model` in the metadata of a file
  // The fields of this object, for [model] of a config and the metadata of a file; sample_rate is one of them.
  virtual Fields fields() = 0;
  // Error that names the field, the value and what would do.
  virtual void check(const std::string& where) const = 0;
  virtual std::unique_ptr<ModelConfig> clone() const = 0;
  virtual Geometry geometry() const = 0;
  virtual bool takes_knobs() const { return false; }
  // The share that training leaves out at random (kernels/dropout); types that have it list the field.
  virtual double dropout_rate() const { return 0.0; }
  // Whether its products have operands that a precision other than fp32 rounds (kernels/device/precision.h).
  virtual bool rounds_products() const { return false; }
  // Fits the fields that `form` does not read (Field::forms), which are at their defaults, to the rest.
  virtual void fit(const std::string& /* form */) {}

 protected:
  ModelConfig() = default;
  ModelConfig(const ModelConfig&) = default;
  ModelConfig& operator=(const ModelConfig&) = default;
};

inline Fields describe(ModelConfig& c) { return c.fields(); }
inline void check(const ModelConfig& c, const std::string& where) { c.check(where); }

// A config of any type, as a value: a copy is one of its own.
class AnyConfig {
 public:
  AnyConfig();  // the default preset of the first type: models/registry.h
  AnyConfig(const ModelConfig& c) : config_(c.clone()) {}
  AnyConfig(std::unique_ptr<ModelConfig> c) : config_(std::move(c)) {}
  AnyConfig(const AnyConfig& other) : config_(other->clone()) {}
  AnyConfig(AnyConfig&&) noexcept = default;
  AnyConfig& operator=(AnyConfig other) noexcept {
    config_ = std::move(other.config_);
    return *this;
  }

  ModelConfig& operator*() { return *config_; }
  const ModelConfig& operator*() const { return *config_; }
  ModelConfig* operator->() { return config_.get(); }
  const ModelConfig* operator->() const { return config_.get(); }

 private:
  std::unique_ptr<ModelConfig> config_;
};

}  // namespace cafx
