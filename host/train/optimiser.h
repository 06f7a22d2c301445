// host/train/optimiser.h -- the optimisers that train.optimizer names: a table, so that steppers know none of them.
#pragma once

#include <string>
#include <vector>

#include "kernels/optimizer/optimizer.h"
#include "models/params.h"

namespace cafx {

// Everything that a step reads and writes, where the context computes.
struct OptimiserStep {
  float *params, *m, *v;               // n floats each
  const float *gradient, *decay_mask;  // likewise
  const TensorSpan* tensors;           // n_tensors
  int n_tensors;
  long n;
  void* scratch;
  AdamStep constants = {};           // on a CPU; a GPU has `state`
  const StepState* state = nullptr;  // on a GPU
};

struct Optimiser {
  const char* name;
  std::size_t (*scratch)(long n, int n_tensors);  // bytes
  void (*step)(const Context&, const OptimiserStep&);
};
const std::vector<Optimiser>& optimisers();
std::vector<std::string> optimiser_names();
const Optimiser& optimiser(const std::string& name);  // Error lists them

}  // namespace cafx
