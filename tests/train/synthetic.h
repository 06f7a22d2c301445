// tests/train/synthetic.h -- a data set that needs no files, and a small config of every type of model.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "host/train/config.h"
#include "kernels/base/rng.h"
#include "models/registry.h"

namespace cafx::train_test {

inline constexpr int kRate = 8000;  // Hz

// Notes of noise under a decay, and what a soft clipper with a little memory makes of them: `sign` turns the effect
// over.
inline Dataset notes(int n_notes, int samples, float sign = 1.0f) {
  Dataset data;
  for (int i = 0; i < n_notes; ++i) {
    Pair p;
    p.name = "note" + std::to_string(i);
    p.group = "G" + std::to_string(i % 2);
    p.dry_rate = p.wet_rate = kRate;
    const Rng rng{11, static_cast<std::uint64_t>(i)};
    float before = 0.0f;
    for (int t = 0; t < samples + 10 * i; ++t) {
      const auto noise = static_cast<float>(rng.normal(static_cast<std::uint64_t>(t)));
      p.dry.push_back(0.3f * noise * std::exp(-2.0f * static_cast<float>(t) / static_cast<float>(samples)));
      before = std::tanh(3.0f * p.dry.back()) + 0.3f * before;
      p.wet.push_back(sign * 0.5f * before);
    }
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

// The smallest that a type offers: sizes are cut where the fields of these names are there.
inline RunConfig tiny(const ModelType& type) {
  RunConfig c = run_preset(type.presets().back());
  Fields fields = describe(c);
  const auto set = [&](const std::string& key, const std::string& value) {
    for (const Field& f : fields) {
      if (f.name == key) return set_field(fields, key, value, "tiny");
    }
  };
  for (const auto& [key, value] : {std::pair("model.frame", "128"),
                                   {"model.hop", "64"},
                                   {"model.pool", "16"},
                                   {"model.filters", "4"},
                                   {"model.taps", "16"},
                                   {"model.local_taps", "8"},
                                   {"model.latent", "4"},
                                   {"model.dnn", "[4, 4]"},
                                   {"model.hidden", "4"},
                                   {"model.channels", "[2, 2]"},
                                   {"model.layers", "2"},
                                   {"model.dilations", "[1, 2, 4, 8]"}}) {
    const std::string name = key;
    if (name == "model.layers" && std::string(type.name) == "wavenet") {
      set(key, "[2, 2]");
    } else if (name == "model.taps" && std::string(type.name) == "wavenet") {
      set(key, "3");
    } else {
      set(key, value);
    }
  }
  c.model->sample_rate = kRate;
  c.train.batch = 4;
  c.train.hop = 0;
  c.train.epochs = 3;
  c.train.refine_epochs = 1;
  c.train.pretrain_epochs = type.forms.size() > 1 ? 1 : 0;
  c.train.patience = 100;
  c.train.warmup_steps = 0;
  c.train.segment_seconds = 0.05;
  if (c.train.block > 0) c.train.block = 150;
  c.train.burn_in = std::min(c.train.burn_in, 64);
  c.train.lr = 3e-3;
  c.train.pretrain_lr = 3e-3;
  return c;
}

}  // namespace cafx::train_test
