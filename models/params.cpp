#include "models/params.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/rng.h"

namespace cafx {

namespace {

constexpr long kBorder = 16;  // floats: a tensor starts on a border of 64 bytes

double uniform_limit(const ParamSpec& p) {
  switch (p.init) {
    case Init::kLecunUniform:
      return std::sqrt(3.0 / p.fan_in);
    case Init::kGlorotUniform:
      return std::sqrt(6.0 / (p.fan_in + p.fan_out));
    case Init::kFanInUniform:
      return 1.0 / std::sqrt(p.fan_in);
    default:
      return 0.0;
  }
}

thread_local ParamsLimit* limit = nullptr;

}  // namespace

ParamsLimit::ParamsLimit(std::int64_t n_in_file, std::string file)
    : n_in_file_(n_in_file), file_(std::move(file)), before_(limit) {
  limit = this;
}
ParamsLimit::~ParamsLimit() { limit = before_; }

std::size_t Params::add(ParamSpec p) {
  CAFX_CHECK(!find(p.name) && (p.whole_batch || n_slot_ == n_floats_), p.name);
  p.offset = n_floats_;
  p.size = 1;
  bool fits = true;
  for (const auto n : p.shape) fits = !__builtin_mul_overflow(p.size, static_cast<long>(n), &p.size) && fits;
  CAFX_CHECK(fits, p.name);
  if (limit && p.size > limit->n_in_file_ + ParamsLimit::kSlack - n_parameters_) {
    throw Error(
        "{}: its config describes a model of {} parameters and more, its tensors hold {}; it is damaged, or its config "
        "is "
        "that of another file",
        limit->file_, n_parameters_ + p.size, limit->n_in_file_);
  }
  n_floats_ += (p.size + kBorder - 1) / kBorder * kBorder;
  n_parameters_ += p.size;
  if (!p.whole_batch) n_slot_ = n_floats_;
  specs_.push_back(std::move(p));
  block_.assign(static_cast<std::size_t>(n_floats_), 0.0f);
  return specs_.size() - 1;
}

const ParamSpec* Params::find(std::string_view name) const {
  const auto found = std::find_if(specs_.begin(), specs_.end(), [&](const ParamSpec& p) { return p.name == name; });
  return found == specs_.end() ? nullptr : &*found;
}

const float* Params::tensor(std::string_view name) const {
  const ParamSpec* p = find(name);
  CAFX_CHECK(p, name);
  return block_.data() + p->offset;
}

float* Params::tensor(std::string_view name) { return const_cast<float*>(std::as_const(*this).tensor(name)); }

float* Params::on(const Context& context) {
  if (context.device == Device::kCpu) return block_.data();
  if (on_device_.size() != block_.size()) on_device_ = DeviceArray<float>(context, block_);
  return on_device_.data();
}

void Params::upload(const Context& context) {
  if (context.device == Device::kCpu) return;
  copy(context, on(context), block_.data(), sizeof(float) * block_.size());
}

void Params::download(const Context& context) {
  if (context.device == Device::kCpu) return;
  copy(context, block_.data(), on(context), sizeof(float) * block_.size());
}

void Params::initialize(std::uint64_t seed) {
  std::fill(block_.begin(), block_.end(), 0.0f);
  for (const ParamSpec& p : specs_) {
    std::uint64_t stream = 1469598103934665603ull;
    for (const char c : p.name) stream = (stream ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    const Rng rng{seed, stream};
    float* out = block_.data() + p.offset;
    const double limit = uniform_limit(p);
    for (long i = 0; i < p.size; ++i) {
      const auto index = static_cast<std::uint64_t>(i);
      if (limit > 0.0) out[i] = static_cast<float>(limit * (2.0 * rng.uniform(index) - 1.0));
      if (p.init == Init::kNormal) out[i] = static_cast<float>(p.init_scale * rng.normal(index));
      if (p.init == Init::kAround) {
        out[i] = static_cast<float>(p.init_centre + p.init_scale * (2.0 * rng.uniform(index) - 1.0));
      }
      if (p.init == Init::kRamp) out[i] = static_cast<float>(p.init_scale * static_cast<double>(i % p.shape.back()));
    }
    if (p.init == Init::kIdentityCurve) {  // v1 = 1: the last row
      std::fill(out + (p.shape[0] - 1) * p.shape[1], out + p.size, 1.0f);
    }
  }
}

int Params::take_by_name(const Params& from, const float* values) {
  int n_taken = 0;
  for (const ParamSpec& p : from) {
    const ParamSpec* to = find(p.name);
    if (!to || to->shape != p.shape) continue;
    std::copy_n(values + p.offset, p.size, block_.data() + to->offset);
    ++n_taken;
  }
  return n_taken;
}

std::vector<float> Params::decay_mask() const {
  std::vector<float> mask(block_.size(), 0.0f);
  for (const ParamSpec& p : specs_) std::fill_n(mask.begin() + p.offset, p.size, p.decay ? 1.0f : 0.0f);
  return mask;
}

}  // namespace cafx
