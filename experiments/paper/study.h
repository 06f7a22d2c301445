// experiments/paper/study.h -- measures finished sweeps of the paper's experiments: every model on its test notes, on
// the other instrument, on instruments outside its training, beside its baselines.
//
//   The run folders may come from another machine, and the recordings may have moved; the test notes must be the same
//   (split.json of the run).
#pragma once

#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "experiments/paper/evidence.h"
#include "host/eval/device_traits.h"
#include "host/eval/eval.h"
#include "host/sweep/task.h"
#include "models/cafx/cafx.h"

namespace cafx {

// Means over a set of notes.
struct OnNotes {
  Metrics model, baseline, dry;  // baseline: fitted to the run's own training notes (baseline.h)
  int n = 0;
};

// One trained model.
struct StudyRun {
  std::string folder;       // in the store
  std::string pretraining;  // folder; empty without
  RunConfig config;
  Evaluation own;                          // on the test notes; with signals for the shown ones
  Metrics baseline;                        // of the baseline on the same notes, mean (baseline.h)
  Metrics dry;                             // of the dry signal, mean
  std::optional<OnNotes> cross;            // on the other instrument's test notes
  std::map<std::string, OnNotes> parts;    // of a model for all instruments: its test notes by instrument
  std::map<std::string, OnNotes> unheard;  // FxChain alone: "piano", ... of StudyOptions::unheard
  double best = std::nan("");              // ESR of the device against itself (evidence.h); NaN: no second takes
  double frames = 0.0;                     // heard in supervised training; 0: not recorded
  double seconds = 0.0;                    // of its training
  std::string device;                      // of its training
  double frames_per_second = 0.0;          // of its training, validation and checkpoints included; 0: not recorded
  std::string metrics_csv;
};

// The seeds of one model.
struct Experiment {
  std::string instrument, effect;  // "guitar", "Distortion 2"; "guitar and bass" for a model of both
  std::string preset;
  std::string split;           // "note", "instrument"
  std::string variant;         // settings that differ from those of most runs of the preset; empty: none
  std::vector<StudyRun> runs;  // one for each seed
  // Of the first seed, the one that is shown and measured as a device:
  std::vector<std::vector<float>> baseline_output;  // for each shown note
  DeviceTraits traits;
  std::vector<double> target_in, target_out;  // samples of the test notes, dry and wet, beside its curve
  std::vector<double> model_out,
      baseline_curve;  // model's output for target_in; baseline's f at even steps of target_in

  std::string title() const;                // "Distortion 2, guitar"
  std::string id() const;                   // for files: "default-guitar-distortion-2"
  Metrics mean(Metrics StudyRun::*) const;  // over seeds
  Metrics own_mean() const;
  Metrics own_spread() const;  // over seeds where there are several, else over notes
  // Half the width of the interval of 95 % for the mean of a metric over the seeds (Student's t); NaN with one seed.
  double interval(double Metrics::*value) const;
  bool learned() const;  // every run heard kEnoughFrames, as far as that was recorded
};

struct StudyOptions {
  int hop = 64;                   // of the rendering that is measured: the paper's
  int traits_hop = 0;             // of the tones; 0: half a frame
  std::size_t shown = 1;          // notes with sound
  std::filesystem::path data;     // current folder of the recordings; empty: the one of the plan
  std::filesystem::path unheard;  // folder with a folder of dry notes for each instrument never heard; empty: none
  std::filesystem::path takes;    // folder of second takes, in the layout of `data`; empty: none
  std::filesystem::path cache;    // of measurements made before (cache.h); empty: none
  std::function<void(double, const std::string&)> progress;
};

// Measures tasks that are done, each run once. `models` gets the first seed's model of each experiment, in their order.
std::vector<Experiment> study(const std::vector<Task>&, const Store&, const Context&, const StudyOptions&,
                              std::vector<std::unique_ptr<CafxModel>>& models);

// For each task, the settings that differ from most training runs of its preset, as text; without seeds, recordings and
// the settings in an experiment's name. Empty: none.
std::vector<std::string> variants(const std::vector<Task>&);
// The experiments that are not variants; all, if each is one.
std::vector<const Experiment*> main_experiments(const std::vector<Experiment>&);
std::vector<const Experiment*> pointers(const std::vector<Experiment>&);
// Mean over the runs of one metric on the notes that `which` returns (null: skipped); NaN if no run has them.
double mean_over(const Experiment&, const std::function<const OnNotes*(const StudyRun&)>& which, double Metrics::*value,
                 Metrics OnNotes::*whose);

std::string effect_name(const DataConfig&);  // "Distortion 2", "FxChain 1"

}  // namespace cafx
