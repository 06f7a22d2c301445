// host/train/open_run.h -- a run folder that this process works in, and its trainer: begun anew, or where it stopped.
#pragma once

#include <memory>
#include <string>

#include "host/train/company.h"
#include "host/train/run_folder.h"
#include "host/train/trainer.h"

namespace cafx {

struct OpenRun {
  RunFolder folder;
  RunConfig config;
  std::unique_ptr<Trainer> trainer;
};

// What is said of a data set, before a run of the company takes audio out of it.
struct DataFacts {
  DataFacts(const Dataset&, const Split&);
  std::string hash;           // content_hash
  std::string record, split;  // the texts of data.json and split.json
};

// `options` must outlive the run. Errors as of `train` and `resume` (host/train/train.h); where begin_run throws, it
// leaves no file of its own, and no folder that it made.
std::unique_ptr<OpenRun> begin_run(const RunConfig&, Dataset&, const DataFacts&, const Split&,
                                   const TrainOptions& options, Company&);
std::unique_ptr<OpenRun> reopen_run(const RunConfig&, Dataset&, const DataFacts&, const Split&,
                                    const TrainOptions& options, Company&);

}  // namespace cafx
