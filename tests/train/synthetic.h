// tests/train/synthetic.h -- a data set that needs no files, and a run of the smallest model of every type on it.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "host/train/config.h"
#include "kernels/base/rng.h"
#include "models/registry.h"
#include "tests/models/tiny.h"

namespace cafx::train_test {

inline constexpr int kRate = 8000;  // Hz, that of tests/models/tiny.h

// Notes of noise under a decay, and what a soft clipper with a little memory makes of them: `sign` turns the effect
// over.
inline Dataset notes(int n_notes, int samples, float sign = 1.0f) {
  Dataset data;
  for (int i = 0; i < n_notes; ++i) {
    Pair p;
    p.name = fmt::format("note{}", i);
    p.group = fmt::format("G{}", i % 2);
    p.dry_file.rate = p.wet_file.rate = kRate;
    const Rng rng{11, static_cast<std::uint64_t>(i)};
    float before = 0.0f;
    Recording dry, wet;
    for (int t = 0; t < samples + 10 * i; ++t) {
      const auto noise = static_cast<float>(rng.normal(static_cast<std::uint64_t>(t)));
      dry.push_back(0.3f * noise * std::exp(-2.0f * static_cast<float>(t) / static_cast<float>(samples)));
      before = std::tanh(3.0f * dry.back()) + 0.3f * before;
      wet.push_back(sign * 0.5f * before);
    }
    p.dry = std::move(dry);
    p.wet = std::move(wet);
    data.pairs.push_back(std::move(p));
  }
  return data;
}

// The last note validates, the one before tests.
inline Split split_of(const Dataset& data) {
  Split split;
  const int n = static_cast<int>(data.pairs.size());
  for (int i = 0; i < n - 2; ++i) split.train.push_back(i);
  split.test = {n - 2};
  split.validation = {n - 1};
  return split;
}

inline RunConfig tiny_run(const ModelType& type) {
  RunConfig c = run_preset(type.presets().front());
  c.model = AnyConfig(tiny::config(type.name));
  c.train.batch = 4;
  c.train.hop = 0;
  c.train.epochs = 3;
  c.train.refine_epochs = 1;
  c.train.pretrain_epochs = type.forms.size() > 1 ? 1 : 0;
  c.train.patience = 100;
  c.train.warmup_steps = 0;
  c.train.segment_seconds = 0.05;
  if (c.train.block > 0) c.train.block = 154;  // of the unit 7 of tiny FiLM too
  c.train.burn_in = std::min(c.train.burn_in, 64);
  c.train.lr = 3e-3;
  c.train.pretrain_lr = 3e-3;
  return c;
}

}  // namespace cafx::train_test
