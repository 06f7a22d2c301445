// host/paper/study.h -- a finished sweep of the paper's experiments, measured: every model on its test notes, on the other
// instrument, beside its baselines.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/eval/eval.h"
#include "host/paper/measure.h"
#include "host/sweep/task.h"
#include "models/cafx/cafx.h"

namespace cafx {

// One trained model.
struct StudyRun {
  std::string folder;       // in the store
  std::string pretraining;  // folder; empty without
  RunConfig config;
  Evaluation own;    // on the test notes; the signals only where they are shown
  Metrics baseline;  // of the baseline on the same notes, mean (baseline.h)
  Metrics dry;       // of the dry signal, mean
  std::optional<Metrics> cross, cross_dry,
      cross_baseline;    // on the other instrument's test notes; baseline fitted here
  double seconds = 0.0;  // of its training
  std::string metrics_csv;
};

// The seeds of one model.
struct Experiment {
  std::string instrument, effect;  // "guitar", "Distortion 2"
  std::string preset;
  std::string variant;         // settings that differ from the preset's, without seed and data; empty: none
  std::vector<StudyRun> runs;  // one for each seed
  // Of the first seed, which is the one that is shown and measured as a device:
  std::vector<std::vector<float>> baseline_output;  // for each shown note
  DeviceTraits traits;
  std::vector<double> target_in, target_out;  // samples of the test notes, dry and wet: what its curve stands beside
  std::vector<double> model_out,
      baseline_curve;  // model's output for target_in; baseline's f at even steps of target_in

  std::string title() const;                // "Distortion 2, guitar"
  std::string id() const;                   // for files: "default-guitar-distortion-2"
  Metrics mean(Metrics StudyRun::*) const;  // over seeds
  Metrics own_mean() const;
  Metrics own_spread() const;  // over seeds where there are several, else over notes
};

struct StudyOptions {
  int hop = 64;           // of the rendering that is measured: the paper's
  int traits_hop = 0;     // of the tones; 0: half a frame
  std::size_t shown = 1;  // notes with sound
  std::function<void(double, const std::string&)> progress;
};

// Tasks that are done. `models` keeps the first seed's model of each experiment, in their order.
std::vector<Experiment> study(const std::vector<Task>&, const Store&, const Context&, const StudyOptions&,
                              std::vector<std::unique_ptr<CafxModel>>& models);

std::string effect_name(const DataConfig&);  // "Distortion 2", "FxChain 1"

}  // namespace cafx
