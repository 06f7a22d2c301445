#include "host/train/optimiser.h"

#include <fmt/ranges.h>

#include "kernels/base/error.h"

namespace cafx {

namespace {

void adam(const Context& context, const OptimiserStep& s) {
  if (s.state) {
    adam_step(context, s.params, s.m, s.v, s.gradient, s.decay_mask, s.n, s.state);
  } else {
    adam_step(context, s.params, s.m, s.v, s.gradient, s.decay_mask, s.n, s.constants);
  }
}

void lamb(const Context& context, const OptimiserStep& s) {
  if (s.state) {
    lamb_step(context, s.params, s.m, s.v, s.gradient, s.decay_mask, s.tensors, s.n_tensors, s.n, s.scratch, s.state);
  } else {
    lamb_step(context, s.params, s.m, s.v, s.gradient, s.decay_mask, s.tensors, s.n_tensors, s.n, s.scratch,
              s.constants);
  }
}

}  // namespace

const std::vector<Optimiser>& optimisers() {
  static const std::vector<Optimiser> all{
      {"adam", [](long, int) { return std::size_t{1}; }, adam},
      {"lamb", lamb_scratch, lamb},
  };
  return all;
}

std::vector<std::string> optimiser_names() {
  std::vector<std::string> names;
  for (const Optimiser& o : optimisers()) names.emplace_back(o.name);
  return names;
}

const Optimiser& optimiser(const std::string& name) {
  for (const Optimiser& o : optimisers()) {
    if (name == o.name) return o;
  }
  throw Error("unknown optimizer '{}'; known are {}", name, fmt::join(optimiser_names(), ", "));
}

}  // namespace cafx
