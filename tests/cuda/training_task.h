// tests/cuda/training_task.h -- a small task, and a training of it on one device or several.
#pragma once

#include <cmath>
#include <memory>

#include "host/train/stepper.h"
#include "models/cafx/cafx.h"
#include "tests/ops/op_test.h"

namespace cafx::op_test {

struct Task {
  CafxConfig config;
  std::vector<float> audio;  // dry samples, then as many targets
  std::vector<FrameRef> refs;
  std::vector<std::uint32_t> order;
  StepSettings settings;

  explicit Task(std::size_t n_frames) {
    config.frame = 256;
    config.hop = 128;
    config.filters = 16;
    config.taps = 32;
    config.local_taps = 48;
    config.latent = 12;
    config.dnn = {16, 16};
    const int n = 20000;
    const Rng rng{5, 6};
    for (int i = 0; i < n; ++i) {
      audio.push_back(static_cast<float>(0.2 * rng.normal(static_cast<std::uint64_t>(i))));
    }
    for (int i = 0; i < n; ++i) audio.push_back(std::tanh(3.0f * audio[static_cast<std::size_t>(i)]));
    settings.batch = 8;
    settings.length = config.frame;
    settings.clip_norm = 1.0;
    for (std::size_t i = 0; i < n_frames; ++i) {  // some over the ends of the audio
      const auto start = static_cast<std::int64_t>(i * 977 % (n + 200)) - 100;
      refs.push_back({start, 0, n});
      order.push_back(static_cast<std::uint32_t>((i * 7 + 3) % n_frames));
    }
    settings.adam.weight_decay = 0.01f;
    settings.ema = 20;
  }
  std::size_t steps() const { return (refs.size() + 7) / 8; }
  // The pretrained form learns to give back the dry samples.
  Signals signals(bool pretrain = false) const {
    return {audio.data(), audio.size(), pretrain ? 0 : static_cast<std::int64_t>(audio.size() / 2)};
  }
};

struct Result {
  std::vector<float> weights, m, v, average;
  std::vector<std::vector<float>> replicas;  // the weights as every device holds them
  std::vector<StepRecord> records;
};

// `epochs` passes over the frames; `portion` steps enqueued at a time. `make`(model, places, zeros) gives the stepper.
template <class Make>
Result train_with(const Context& context, const Task& s, CafxForm form, int epochs, long portion, double lipschitz,
                  const Make& make) {
  CafxConfig config = s.config;
  config.saaf_lipschitz = lipschitz;
  CafxModel model(config, form);
  model.params().initialize(1);
  const auto n = static_cast<std::size_t>(model.params().n_floats());
  Places places(context, s.signals(form == CafxForm::kPretrain), s.refs);
  const std::vector<float> zeros(n, 0.0f);
  const std::unique_ptr<Stepper> stepper = make(model, places, zeros);
  Result r;
  const auto steps = static_cast<long>(s.steps());
  const auto keep = [&](const std::vector<StepRecord>& more) {
    r.records.insert(r.records.end(), more.begin(), more.end());
  };
  for (int epoch = 0; epoch < epochs; ++epoch) {
    stepper->begin_epoch(s.order, std::vector<float>(static_cast<std::size_t>(steps), 1e-3f), epoch * steps, 0);
    for (long i = 0; i < steps; i += portion) {
      stepper->enqueue(std::min(portion, steps - i));
      keep(stepper->collect(i + portion >= steps));
    }
  }
  stepper->fetch(r.m, r.v);
  r.average = stepper->average();
  r.weights.assign(model.params().data(), model.params().data() + n);
  r.replicas = stepper->replicas();
  return r;
}

inline Result train(const Context& context, const Task& s, CafxForm form, int epochs, long portion,
                    double lipschitz = 0.0) {
  return train_with(context, s, form, epochs, portion, lipschitz, [&](Model& model, Places& places, const auto& zeros) {
    return make_stepper(context, model, places, s.settings, zeros, zeros);
  });
}

inline Result train(GpuTeam& team, const Task& s, CafxForm form, int epochs, long portion) {
  make_current(team.context(0));
  return train_with(team.context(0), s, form, epochs, portion, 0.0,
                    [&](Model& model, Places& places, const auto& zeros) {
                      return make_stepper(team, model, places, s.settings, zeros, zeros);
                    });
}

}  // namespace cafx::op_test
