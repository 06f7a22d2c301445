#include "models/student/student.h"

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "models/student/students.h"

namespace cafx {

void Student::add(const std::string& name, std::vector<std::int64_t> shape, long fan_in, bool decay) {
  ParamSpec p{name, std::move(shape), n_floats_, 1, fan_in > 0 ? Init::kFanInUniform : Init::kZero, 1.0, decay};
  for (const auto n : p.shape) p.size *= static_cast<long>(n);
  if (fan_in > 0) p.init_scale = 1.0 / std::sqrt(static_cast<double>(fan_in));
  n_floats_ += (p.size + 15) / 16 * 16;
  n_parameters_ += p.size;
  params_.push_back(std::move(p));
  block_.assign(static_cast<std::size_t>(n_floats_), 0.0f);
}

const float* Student::tensor(const std::string& name) const {
  for (const ParamSpec& p : params_) {
    if (p.name == name) return block_.data() + p.offset;
  }
  CAFX_CHECK(false, name);
  return nullptr;
}

void Student::initialize(std::uint64_t seed) {
  for (const ParamSpec& p : params_) {
    std::uint64_t stream = 1469598103934665603ull;  // from the name, as in CafxModel::initialize
    for (const char c : p.name) stream = (stream ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    const Rng rng{seed, stream};
    for (long i = 0; i < p.size; ++i) {
      block_[static_cast<std::size_t>(p.offset + i)] =
          p.init == Init::kZero
              ? 0.0f
              : static_cast<float>(p.init_scale * (2.0 * rng.uniform(static_cast<std::uint64_t>(i)) - 1.0));
    }
  }
}

std::vector<float*> StudentMemory::lay_out(const std::vector<long>& sizes) {
  constexpr std::size_t kBorder = 16;  // floats
  std::size_t total = kBorder;
  for (const long n : sizes) total += (static_cast<std::size_t>(n) + kBorder - 1) / kBorder * kBorder;
  if (block_.size() < total) block_.resize(total);
  const auto address = reinterpret_cast<std::uintptr_t>(block_.data());
  float* at = block_.data() + (64 - address % 64) % 64 / sizeof(float);
  std::vector<float*> parts;
  for (const long n : sizes) {
    parts.push_back(at);
    at += (static_cast<std::size_t>(n) + kBorder - 1) / kBorder * kBorder;
  }
  return parts;
}

std::unique_ptr<Student> make_student(const StudentConfig& config) {
  check(config, "student");
  CAFX_CHECK(config.sample_rate > 0, config.sample_rate);
  return config.kind == "lstm" ? make_lstm_student(config) : make_wavenet_student(config);
}

}  // namespace cafx
