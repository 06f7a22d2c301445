// host/cli/train_command.h -- what `cafx train` of one run and of several seeds share.
#pragma once

#include <filesystem>
#include <optional>

#include "host/cli/common.h"
#include "host/eval/eval.h"
#include "host/train/train.h"

namespace cafx {

TrainOptions options_of(const TrainArguments&, const std::filesystem::path& folder, TrainObserver&);

// The test notes, where there are any, played by the model that came out; eval.json in its folder.
std::optional<Evaluation> evaluate_test(const std::filesystem::path& folder, const RunConfig&, const Dataset&,
                                        const Split&, const TrainArguments&);

// The run of each seed from train.seed on is a folder of its own in args.out; kSeedsFile there lists them.
int train_seeds(const RunConfig&, Dataset&, const Split&, const TrainArguments&);
// The names of those folders. Error where the file does not list them.
std::vector<std::string> seeds_in(const std::filesystem::path& folder);
// Goes on with those of a folder that train_seeds made.
int resume_seeds(const TrainArguments&);

}  // namespace cafx
