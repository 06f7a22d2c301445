// tests/cuda/training_task.h -- a small task for a model of any type, and a training of it on one device or several.
#pragma once

#include <cmath>
#include <memory>

#include "host/train/stepper.h"
#include "models/cafx/cafx.h"
#include "tests/models/tiny.h"
#include "tests/ops/op_test.h"

namespace cafx::op_test {

// Larger than that of tests/models/tiny.h: what fifty steps learn shows.
inline CafxConfig small_cafx() {
  CafxConfig config;
  config.frame = 256;
  config.hop = 128;
  config.filters = 16;
  config.taps = 32;
  config.local_taps = 48;
  config.latent = 12;
  config.dnn = {16, 16};
  return config;
}

struct Task {
  AnyConfig config;
  std::vector<float> audio;  // dry samples, then as many targets
  std::vector<FrameRef> refs;
  std::vector<std::uint32_t> order;
  std::map<std::int64_t, std::vector<float>> controls;  // of the knobs of each note
  StepSettings settings;
  std::uint64_t moved = 0;  // not 0: every first weight is moved by some units in its last place, at random by this

  // Frames lie in one note, some over its ends. Segments of streams lie within notes, with a warm-up before them; of
  // all but WaveNet they are trained in blocks, the last of which is shorter.
  explicit Task(std::size_t n_places, const ModelConfig& model = small_cafx()) : config(model) {
    const int n = 20000, note = 4000;
    const Rng rng{5, 6};
    for (int i = 0; i < n; ++i) {
      audio.push_back(static_cast<float>(0.2 * rng.normal(static_cast<std::uint64_t>(i))));
    }
    for (int i = 0; i < n; ++i) audio.push_back(std::tanh(3.0f * audio[static_cast<std::size_t>(i)]));
    const Geometry g = model.geometry();
    settings.batch = 8;
    settings.length = g.frame > 0 ? g.frame : 77;
    settings.clip_norm = 1.0;
    if (g.frame == 0) {
      settings.warm_up = std::max(20, g.warm_up);
      settings.block = model.type() == std::string("wavenet") ? 0 : 28;
    }
    for (std::size_t i = 0; i < n_places; ++i) {
      if (g.frame > 0) {
        refs.push_back({static_cast<std::int64_t>(i * 977 % (n + 200)) - 100, 0, n});
      } else {
        const std::int64_t begin = static_cast<std::int64_t>(i % (n / note)) * note;
        refs.push_back({begin + static_cast<std::int64_t>(i * 977) % (note - settings.length), begin, begin + note});
      }
      order.push_back(static_cast<std::uint32_t>((i * 7 + 3) % n_places));
    }
    for (const FrameRef& r : refs) {
      const Vec knobs = random(g.knobs, static_cast<std::uint64_t>(r.begin));
      if (g.knobs > 0) controls[r.begin] = {knobs.begin(), knobs.end()};
    }
    settings.adam.weight_decay = 0.01f;
    settings.ema = 20;
  }
  std::size_t steps() const { return (refs.size() + 7) / 8; }
  std::vector<float> rates(float rate) const {
    return std::vector<float>(steps() * static_cast<std::size_t>(settings.updates()), rate);
  }
  std::unique_ptr<Model> model(const std::string& form = kSupervised) const {
    auto model = make_model(*config, form);
    model->initialize(1);
    const Rng rng{moved, 9};
    for (long i = 0; moved > 0 && i < model->n_floats(); ++i) {
      model->data()[i] *= static_cast<float>(1.0 + 5e-7 * (2.0 * rng.uniform(static_cast<std::uint64_t>(i)) - 1.0));
    }
    return model;
  }
  // The pretrained form learns to give back the dry samples.
  Signals signals(const std::string& form = kSupervised) const {
    return {audio.data(), audio.size(), form == kPretrain ? 0 : static_cast<std::int64_t>(audio.size() / 2), controls};
  }
};

struct Result {
  std::vector<float> weights, m, v, average;
  std::vector<std::vector<float>> replicas;  // the weights as every device holds them
  std::vector<StepRecord> records;
};

// `epochs` passes over the places; `portion` steps enqueued at a time. `make`(model, places, zeros) gives the stepper.
template <class Make>
Result train_with(const Context& context, const Task& s, const std::string& form, int epochs, long portion,
                  const Make& make) {
  const auto model = s.model(form);
  const auto n = static_cast<std::size_t>(model->n_floats());
  Places places(context, s.signals(form), s.refs);
  const std::vector<float> zeros(n, 0.0f);
  const std::unique_ptr<Stepper> stepper = make(*model, places, zeros);
  Result r;
  const auto steps = static_cast<long>(s.steps());
  const auto keep = [&](const std::vector<StepRecord>& more) {
    r.records.insert(r.records.end(), more.begin(), more.end());
  };
  for (int epoch = 0; epoch < epochs; ++epoch) {
    stepper->begin_epoch(s.order, s.rates(1e-3f), epoch * steps * s.settings.updates(), 0);
    for (long i = 0; i < steps; i += portion) {
      stepper->enqueue(std::min(portion, steps - i));
      keep(stepper->collect(i + portion >= steps));
    }
  }
  stepper->fetch(r.m, r.v);
  r.average = stepper->average();
  r.weights.assign(model->data(), model->data() + n);
  r.replicas = stepper->replicas();
  return r;
}

inline Result train(const Context& context, const Task& s, const std::string& form, int epochs, long portion) {
  return train_with(context, s, form, epochs, portion, [&](Model& model, Places& places, const auto& zeros) {
    return make_stepper(context, model, places, s.settings, zeros, zeros);
  });
}

inline Result train(GpuTeam& team, const Task& s, const std::string& form, int epochs, long portion) {
  make_current(team.context(0));
  return train_with(team.context(0), s, form, epochs, portion, [&](Model& model, Places& places, const auto& zeros) {
    return make_stepper(team, model, places, s.settings, zeros, zeros);
  });
}

}  // namespace cafx::op_test
