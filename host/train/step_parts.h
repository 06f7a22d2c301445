// host/train/step_parts.h -- the places of a step, and its parts.
#pragma once

#include <algorithm>
#include <vector>

#include "host/train/stepper.h"
#include "kernels/base/error.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx {

inline int places_of_step(long step, std::size_t n_places, int batch) {
  return static_cast<int>(std::min<long>(batch, static_cast<long>(n_places) - step * batch));
}

// Places [first, last) of a batch of n, for each part of it; parts differ by one place at most.
template <class Body>
void over_parts(int n, int parts, Body body) {
  parts = std::min(parts, n);
  for (int k = 0; k < parts; ++k) {
    const auto first = static_cast<int>(static_cast<long>(k) * n / parts);
    body(k, first, static_cast<int>((static_cast<long>(k) + 1) * n / parts));
  }
}

inline std::vector<TensorSpan> spans_of(const Model& model) {
  std::vector<TensorSpan> spans;
  for (const ParamSpec& p : model.params()) spans.push_back({p.offset, p.size});
  return spans;
}

// Where the average of the weights starts; empty: none is kept.
inline std::vector<float> first_average(const Model& model, const StepSettings& s, const std::vector<float>& average) {
  const Params& params = model.params();
  if (s.ema == 0) return {};
  if (average.empty()) return {params.data(), params.data() + params.n_floats()};
  CAFX_CHECK(average.size() == static_cast<std::size_t>(params.n_floats()), average.size(), params.n_floats());
  return average;
}

// The places of a step, where the context computes.
struct StepPlaces {
  const float *input, *target;
  const FrameRef *refs, *refs_of_target;  // in input and in target
  const float* knobs = nullptr;           // controls, n_knobs of each; null: there are none
  std::size_t n_knobs = 0;
  StepPlaces from(int i) const {
    return {
        input,  target, refs + i, refs_of_target + i, knobs ? knobs + static_cast<std::size_t>(i) * n_knobs : nullptr,
        n_knobs};
  }
};

// Block k of the first n of a step's places.
inline Batch block_of(const StepPlaces& p, const StepSettings& s, int n, int k, const DropoutDraw* draw = nullptr) {
  return {p.input, p.target, p.refs, n, s.block_size(k), s.block_first(k), s.warm_up, p.knobs, draw, p.refs_of_target};
}
// The places as a whole, for Model::begin.
inline Batch whole_of(const StepPlaces& p, const StepSettings& s, int n, const DropoutDraw* draw = nullptr) {
  return {p.input, p.target, p.refs, n, s.length, 0, s.warm_up, p.knobs, draw, p.refs_of_target};
}

// The gradient g of block k of the n places, in settings.accumulate parts: a part's gradient goes to `part`, and to g
// weighted by its places. with_losses(i, from, to): the model has the losses of part i, places [from, to).
// draw: of the update, for its first place; null: no dropout.
template <class WithLosses>
void gradient_of_block(const Context& context, Model& model, const StepPlaces& places, const StepSettings& s, float* g,
                       float* part, int n, int k, WithLosses with_losses, const DropoutDraw* draw = nullptr) {
  const auto of = [&](float* to_gradient, int i, int from, int to) {
    const StepPlaces own = places.from(from);
    DropoutDraw of_part = draw ? *draw : DropoutDraw();
    of_part.place += from;
    const DropoutDraw* d = draw ? &of_part : nullptr;
    if (k == 0) model.begin(context, whole_of(own, s, to - from, d), s.loss);
    model.gradient(context, to_gradient, block_of(own, s, to - from, k, d), s.loss);
    with_losses(i, from, to);
  };
  if (s.accumulate == 1) return of(g, 0, 0, n);
  const long n_floats = model.params().n_floats();
  fill_zero(context, g, sizeof(float) * static_cast<std::size_t>(n_floats));
  over_parts(n, s.accumulate, [&](int i, int from, int to) {
    of(part, i, from, to);
    add_scaled(context, g, static_cast<float>(to - from) / static_cast<float>(n), part, n_floats);
  });
}

}  // namespace cafx
