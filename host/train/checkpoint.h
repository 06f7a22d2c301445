// host/train/checkpoint.h -- all state that a resume to the same bits needs, in one safetensors file.
//
//   tensors   model/<name>, best/<name>, adam_m/<name>, adam_v/<name> of the stage's form, and average/<name> where an
//             average of the weights is kept
//   metadata  format, run hash, precision, instruction set, version, counters, text of metrics.csv, size of the event
//             file, checksum of all of it (kernels/base/seal.h)
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "models/params.h"

namespace cafx {

struct Counters {
  int stage = 0;               // Stage::Id: 0 pretrain, 1 train, 2 refine
  int epoch = 0;               // epochs finished in this stage
  long step_in_epoch = 0;      // steps done in the epoch under way
  long step = 0;               // updates of the weights in this stage
  long total_steps = 0;        // updates of all stages
  double loss_sum = 0.0;       // over the places of the epoch under way
  double gradient_norm = 0.0;  // of the last step
  double best = std::numeric_limits<double>::infinity();
  double last_training = std::numeric_limits<double>::quiet_NaN();
  int bad_epochs = 0;          // since the best
  double plateau_scale = 1.0;  // factor on the rate
  int plateau_bad = 0;
  bool finished = false;
};

struct Checkpoint {
  Counters counters;
  std::string run_hash, isa, version, metrics;
  std::uint64_t events = 0;              // bytes of the event file that belong to this state; 0: none
  std::string precision = "fp32";        // of the products so far
  std::vector<float> model, best, m, v;  // flat blocks of the stage's form
  std::vector<float> average;            // likewise; empty: none is kept
};

void write_checkpoint(const std::filesystem::path&, const Checkpoint&, const Params&);
// Only the counters and texts: which form the blocks have depends on the stage.
Checkpoint read_checkpoint_head(const std::filesystem::path&);
// All. Error where a tensor is missing or of another shape, or the file is damaged.
Checkpoint read_checkpoint(const std::filesystem::path&, const Params&);

}  // namespace cafx
