// tests/nam/cases.h -- students with random weights, and a signal, that are played by NeuralAmpModelerCore and by cafx.
#pragma once

#include <string>
#include <vector>

#include "host/export/nam_file.h"
#include "kernels/base/rng.h"
#include "models/registry.h"
#include "models/wavenet/wavenet.h"

namespace cafx::nam_test {

struct Case {
  std::string name;
  AnyConfig config;
};

inline std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* type : {"lstm", "wavenet"}) {
    for (const std::string& name : model_type(type).presets()) all.push_back({name, model_type(type).preset(name)});
  }
  WavenetConfig odd;  // gates, three arrays, two taps
  odd.channels = {5, 3, 2};
  odd.layers = {2, 3, 1};
  odd.dilations = {1, 7, 3, 1, 40, 300};
  odd.taps = 2;
  odd.gated = true;
  odd.head_scale = 0.3;
  all.push_back({"wavenet-odd", odd});
  for (Case& c : all) c.config->sample_rate = 16000;
  return all;
}

// Weights larger than a training's first ones, so that the activations bend.
inline ModelFile student_of(const Case& c) {
  ModelFile file;
  file.model = make_model(*c.config);
  file.model->initialize(5);
  for (long i = 0; i < file.model->n_floats(); ++i) file.model->data()[i] *= 1.7f;
  for (const ParamSpec& p : file.model->params()) {
    for (long i = 0; i < p.size && p.init == Init::kZero; ++i) {
      file.model->data()[p.offset + i] =
          0.1f * static_cast<float>(Rng{6, 1}.uniform(static_cast<std::uint64_t>(p.offset + i)));
    }
  }
  return file;
}

// Noise that comes and goes, silence at the start.
inline std::vector<float> signal() {
  std::vector<float> x(6000);
  const Rng rng{7, 0};
  for (std::size_t i = 100; i < x.size(); ++i) {
    x[i] = static_cast<float>((i / 1000 % 2 ? 0.02 : 0.5) * (2.0 * rng.uniform(i) - 1.0));
  }
  return x;
}

}  // namespace cafx::nam_test
