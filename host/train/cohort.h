// host/train/cohort.h -- a cohort: runs of one architecture that train side by side in one process.
//
//   Members share threads, the device, and recordings where they learn from the same ones. Each has its own folder,
//   complete in itself: it can be resumed alone, or in another cohort.
//
//   On a CPU members take turns of a fraction of a second. On a GPU those whose steps are alike take them in one graph
//   (lockstep.h); the others take turns.
//
//   may differ      seed, weights to start from, learning rate and schedule, betas, decay, loss, epochs, recordings
//   must be equal   architecture, frame or segment, batch, precision, device, teacher
//
// Bits     those of the run alone. A member that fails or ends leaves; the others do not notice. On a CPU it costs them
//          nothing from then on; on a GPU they close ranks where that saves more time than it takes (ranks.h).
#pragma once

#include <exception>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "host/train/ranks.h"
#include "host/train/train.h"

namespace cafx {

struct MemberOutcome {
  TrainOutcome trained;
  std::string error;          // why it failed; empty: it did not
  std::exception_ptr thrown;  // the same, as it was thrown
};

struct Member {
  RunConfig config;
  Dataset* data;  // as `train` takes it; members of one data set give the same one; equal audio is held once
  const Split* split;
  TrainOptions options;  // threads of the first member count for all
  // Called once, when the member has finished, failed or was stopped; the others go on afterwards.
  std::function<void(const MemberOutcome&)> left = nullptr;
};

// In words why two runs cannot be in one cohort; empty: they can.
std::string why_apart(const RunConfig&, const RunConfig&);
std::string why_apart(const nlohmann::json&, const nlohmann::json&);  // of configs as kinship() takes them
// Runs can be in one cohort where this is the same; of a config as to_json(describe(config)) gives it.
std::string kinship(const nlohmann::json& config);

// Runs can take their steps in one graph of a GPU where this is the same.
std::string kind_of_steps(const RunConfig&);

// Begins each run, or goes on with it where its folder holds one. Error where two members cannot be in one cohort; what
// goes wrong in a member afterwards is in its outcome and in its log.
// `turn_seconds`: how long a member trains on a CPU before the next one does; long beside filling its caches.
// `worth`: whether those that remain on a GPU should close ranks (ranks.h).
// A single member trains as by `train` and `resume`.
std::vector<MemberOutcome> train_cohort(std::vector<Member>, double turn_seconds = 0.25,
                                        WorthClosing worth = saves_time);

}  // namespace cafx
