// host/eval/eval.h -- a model measured on notes outside its training: whole waveforms, overlap-added.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "datasets/dataset.h"
#include "host/metrics/metrics.h"
#include "kernels/device/context.h"
#include "models/model.h"

namespace cafx {

struct NoteResult {
  std::string note, dry_file, wet_file;
  std::vector<std::pair<std::string, std::string>> knobs;  // of a model that has some: name, and where it stood
  double seconds = 0.0;
  Metrics model, dry;                        // of the model's output, and of the unprocessed dry signal (the baseline)
  std::vector<float> input, target, output;  // at the model's rate
};

struct Evaluation {
  int hop = 0;       // of the rendering, in samples; 0: not by frames
  std::string part;  // "test", "validation", "train", "all"
  std::vector<NoteResult> notes;
  Metrics mean, spread;               // over notes; spread: standard deviation, 0 for one note
  std::vector<std::string> warnings;  // sentences: why these notes may not be what they are taken for
};

// `play` returns as many samples as it is given, at `sample_rate`.
using Play = std::function<std::vector<float>(std::span<const float>)>;
Evaluation evaluate(const Play& play, int sample_rate, const Context&, const Dataset&, const std::vector<int>& which,
                    const std::string& part, int hop);
Evaluation evaluate(Model&, const Context&, const Dataset&, const std::vector<int>& which, const std::string& part,
                    int hop);

std::string title_of(const NoteResult&);  // the note, and where the knobs of a model stood
std::string to_text(const Evaluation&);
std::string to_csv(const Evaluation&);
std::string to_json(const Evaluation&);  // without the signals

}  // namespace cafx
