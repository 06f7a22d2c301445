// host/train/config.h -- how a model is trained, and the whole config of a run.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "kernels/base/describe.h"
#include "models/config.h"
#include "models/loss.h"

namespace cafx {

// Where the targets come from: the recordings, or what a trained model makes of the dry notes.
struct TeacherConfig {
  std::string model;  // folder of a run, or a weights file; empty: the recordings teach
  int hop = 0;        // of its rendering; 0: an eighth of its frame
};
Fields describe(TeacherConfig&);

// Training goes through stages (host/train/schedule.h): `pretrain` where the model has that form, `train`, `refine`.
// Each ends after its epochs or when patience runs out.
struct TrainConfig {
  std::int64_t seed = 1;
  int batch = 32;
  int hop = 0;                                                      // samples between training frames; 0: the model's
  int validation_hop = 0;                                           // 0: the model's
  int pretrain_epochs = 2000, epochs = 2000, refine_epochs = 2000;  // a preset without that form pretrains none
  int patience = 25;
  double pretrain_lr = 1e-4, lr = 1e-4;
  double refine_factor = 0.25;
  std::string schedule = "constant";
  int warmup_steps = 0;
  double final_factor = 0.01;  // of the cosine
  int plateau_patience = 10;
  double plateau_factor = 0.5;
  std::string optimizer = "adam";
  int accumulate = 1;
  std::string lr_scaling = "none";
  int lr_batch = 32;
  double clip_norm = 0.0;
  double weight_decay = 0.0;
  int ema = 0;  // horizon of the weights' average, in updates; 0: none
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double silence_db = -200.0;
  std::string precision = "fp32";
  std::string init_from;
  std::string gpus;  // not in the run's hash: another number changes the rounding alone
  // Of a stream, which learns from segments instead of frames.
  double segment_seconds = 0.5;
  int block = 0;    // samples between two updates, and the reach of back-propagation; 0: the model's, or the segment
  int burn_in = 0;  // warm-up before a segment, in samples; at least the model's own
  LossConfig loss;
  std::string stop_on = "loss";
};
Fields describe(TrainConfig&);
// The factor that lr_scaling puts on the rates for this batch.
double rate_scale(const TrainConfig&);

// Output for people beside the result; it has no influence on a bit of the result.
struct LogConfig {
  std::string events = "all";
};
Fields describe(LogConfig&);

struct RunConfig {
  std::string preset = "default";  // that `model` and `train` started from; recorded
  std::string type = "cafx";       // of the model, as `model` says; describe brings it up to date
  AnyConfig model;
  TeacherConfig teacher;
  DataConfig data;
  TrainConfig train;
  LogConfig log;
};
Fields describe(RunConfig&);         // "preset", "model.type", "model.*", "teacher.*", "data.*", "train.*", "log.*"
Fields describe_result(RunConfig&);  // the same without "log.*": for hash and lineage

// Model, training and their defaults for a preset of any type (models/registry.h); the rest as it stands.
RunConfig run_preset(const std::string& name);
// Preset, file and settings together; later ones win. The preset is that of the settings, else `preset`, else the
// file's; where only a type is named, the type's own default. Where it is kAutoPreset, `decide` names it.
inline constexpr const char* kAutoPreset = "auto";
struct ConfigSource {
  std::string preset;                 // empty: none
  std::string toml, where;            // empty: none; where: its name, for errors
  std::vector<std::string> settings;  // KEY=VALUE
  std::vector<std::string> others;    // tables of the file that are not the config's
  std::optional<DataConfig> data;     // that the file and the settings change; empty: the defaults
  // A preset, by what is heard in these recordings; empty: kAutoPreset is an error.
  std::function<std::string(const DataConfig&)> decide = {};
};
RunConfig make_config(const ConfigSource&);
// From a flat JSON object, as a task of a sweep has it.
RunConfig config_of_json(const nlohmann::json& flat, const std::string& where);
// Error that names the key where values do not fit together.
void check(const RunConfig&, const std::string& where);
// What the data set of a run is read with. A run that only pretrains learns no effect: it may hear several settings.
DataConfig data_of(const RunConfig&);
// Of everything that decides the bits of the result: resolved config and data content. 12 hex digits.
// `init` is the identity of the weights in train.init_from (models/play/weights_file.h); their path decides nothing.
// `teacher` likewise of the weights in teacher.model.
std::string run_hash(RunConfig, const std::string& data_hash, const std::string& init = "",
                     const std::string& teacher = "");

// What metrics.csv, result.json and sweeps call the losses: "training_mae" and "validation_mae" where the loss is the
// mean absolute error, else "training_loss", and "validation_" with what train.stop_on names.
std::string training_name(const TrainConfig&);
std::string validation_name(const TrainConfig&);
// Whether whole notes are played after each epoch, to stop on a metric of theirs.
inline bool stops_on_notes(const TrainConfig& c) { return c.stop_on != "loss"; }

}  // namespace cafx
