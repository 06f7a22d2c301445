// host/train/config.h -- how a model is trained, and the whole config of a run.
#pragma once

#include <cstdint>
#include <string>

#include "datasets/dataset.h"
#include "kernels/base/describe.h"
#include "models/cafx/config.h"

namespace cafx {

// Training goes through up to three stages: `pretrain` (unsupervised, convolutions), `train` (supervised, everything),
// `refine` (from the best of `train`, at a fraction of the rate). Each ends after its epochs or when patience runs out.
struct TrainConfig {
  std::int64_t seed = 1;
  int batch = 32;
  int hop = 0;             // samples between training frames; 0: the model's
  int validation_hop = 0;  // 0: the model's
  int pretrain_epochs = 2000, epochs = 2000, refine_epochs = 2000;
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
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double silence_db = -200.0;
  std::string precision = "fp32";
  std::string init_from;
  std::string gpus;  // not in the run's hash: another number changes the rounding alone
};
Fields describe(TrainConfig&);
// The factor that lr_scaling puts on the rates for this batch.
double rate_scale(const TrainConfig&);

// What is written beside the result, for the eye; nothing of it decides a bit of the result.
struct LogConfig {
  std::string events = "all";
};
Fields describe(LogConfig&);

struct RunConfig {
  std::string preset = "default";  // that `model` and `train` started from; recorded
  CafxConfig model;
  DataConfig data;
  TrainConfig train;
  LogConfig log;
};
Fields describe(RunConfig&);         // "preset", "model.*", "data.*", "train.*", "log.*"
Fields describe_result(RunConfig&);  // the same without "log.*": for hash and lineage

// Model, training and their defaults for a preset; data as it stands.
RunConfig run_preset(const std::string& name);
// Error that names the key where values do not fit together.
void check(const RunConfig&, const std::string& where);
// Of everything that decides the bits of the result: resolved config and data content. 12 hex digits.
// `init` is the identity of the weights in train.init_from (export/model_file.h); their path decides nothing.
std::string run_hash(RunConfig, const std::string& data_hash, const std::string& init = "");

}  // namespace cafx
