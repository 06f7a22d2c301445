#include "host/train/open_run.h"

#include <nlohmann/json.hpp>

#include "host/train/checkpoint.h"
#include "host/train/checkpoint_files.h"
#include "host/train/results.h"
#include "host/train/targets.h"
#include "host/train/training_log.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "models/play/weights_file.h"

namespace cafx {

DataFacts::DataFacts(const Dataset& data, const Split& of_run)
    : hash(content_hash(data)), split(split_json(data, of_run)) {
  auto about = data_json(data);
  about["training_peak"] = training_peak(data, of_run);
  record = about.dump(2) + "\n";
}

namespace {

std::string with_choice(const std::string& record, const std::string& chosen) {
  auto json = nlohmann::ordered_json::parse(record);
  json[kAutoPreset] = nlohmann::ordered_json::parse(chosen);
  return json.dump(2) + "\n";
}

// What a run has before its first checkpoint.
constexpr const char* kConfigFile = "config.toml";
constexpr const char* kSplitFile = "split.json";
constexpr const char* kDataFile = "data.json";

void begin(OpenRun& run, Dataset& data, const DataFacts& facts, const Split& split, const TrainOptions& options,
           Company& company) {
  const RunConfig& config = run.config;
  const RunFolder& folder = run.folder;
  std::string init, teacher;
  if (!config.train.init_from.empty()) {
    init = weights_identity(config.train.init_from);
    folder.write(kInitFile, RunFolder::read(config.train.init_from));
  }
  if (!config.teacher.model.empty()) {
    check_teacher(config);
    teacher = weights_identity(weights_of_teacher(config));
    folder.write(kTeacherFile, RunFolder::read(weights_of_teacher(config)));
  }
  const std::string hash = run_hash(config, facts.hash, init, teacher);
  RunConfig resolved = config;
  folder.write(kConfigFile, fmt::format("# cafx {}   run {}   data {}\n{}", kVersion, hash, facts.hash,
                                        to_toml(describe(resolved))));
  folder.write(kSplitFile, facts.split);
  folder.write(kDataFile, options.chosen.empty() ? facts.record : with_choice(facts.record, options.chosen));
  run.trainer = std::make_unique<Trainer>(run.config, data, split, options, run.folder, company);
  run.trainer->start(hash);
}

// A folder of results is no place for another run, which would write over them.
void refuse_results(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / kSeedsFile)) {
    throw Error("{}: holds the runs of several seeds; choose another folder with --out", folder.string());
  }
  if (std::filesystem::exists(folder / kResultFile)) {
    throw Error(
        "{}: holds a finished run, whose checkpoint is gone: its model plays and exports, and nothing can go on with "
        "it; choose another folder with --out",
        folder.string());
  }
}

}  // namespace

std::unique_ptr<OpenRun> begin_run(const RunConfig& config, Dataset& data, const DataFacts& facts, const Split& split,
                                   const TrainOptions& options, Company& company) {
  check(config, "config");
  const bool was_there = std::filesystem::exists(options.folder);
  auto run = std::unique_ptr<OpenRun>(new OpenRun{RunFolder(options.folder), config, nullptr});
  const auto has = [&](const char* name) { return std::filesystem::exists(run->folder.file(name)); };
  if (has(kCheckpointFile) || has(kPreviousCheckpointFile)) {
    throw Error("{}: holds a run already; go on with it by 'cafx resume {}', or choose another folder with --out",
                options.folder.string(), options.folder.string());
  }
  refuse_results(options.folder);
  std::vector<std::filesystem::path> own;
  for (const char* name : {kInitFile, kTeacherFile, kConfigFile, kSplitFile, kDataFile, kLogFile, kEventFile}) {
    if (!has(name)) own.push_back(run->folder.file(name));
  }
  try {
    begin(*run, data, facts, split, options, company);
  } catch (...) {  // a training that is refused leaves nothing
    std::error_code ignored;
    run->trainer.reset();
    for (const auto& file : own) std::filesystem::remove(file, ignored);
    run.reset();
    if (!was_there) std::filesystem::remove(options.folder, ignored);  // where it is empty
    throw;
  }
  return run;
}

namespace {

// A clause on why a run's hash is another than when it began; its config.toml begins with the hash of the audio then.
std::string what_changed(const RunFolder& folder, const RunConfig& config, const DataFacts& facts) {
  const std::string text = RunFolder::read(folder.file(kConfigFile)), head = text.substr(0, text.find('\n'));
  const std::size_t at = head.find("   data ");
  const bool same_audio = at != std::string::npos && head.substr(at + 8) == facts.hash;
  if (same_audio) {
    const bool copies = !config.train.init_from.empty() || !config.teacher.model.empty();
    return std::string("config.toml has changed") + (copies ? ", or the folder's copy of other weights," : "");
  }
  const DataConfig& d = config.data;
  const std::string where = d.path.empty() ? fmt::format("'{}' and '{}'", d.dry, d.wet) : fmt::format("'{}'", d.path);
  return fmt::format("the audio of {}, or how [data] in config.toml reads it, has changed", where);
}

}  // namespace

std::unique_ptr<OpenRun> reopen_run(const RunConfig& config, Dataset& data, const DataFacts& facts, const Split& split,
                                    const TrainOptions& options, Company& company) {
  auto run = std::unique_ptr<OpenRun>(new OpenRun{RunFolder(options.folder), config, nullptr});
  const RunFolder& folder = run->folder;
  Checkpoint head;
  read_last_whole_checkpoint(
      folder.path(), [&](const std::filesystem::path& path) { head = read_checkpoint_head(path); },
      [&](const std::string& line) {
        folder.log(line);
        if (options.observer) options.observer->message(line);
      });
  if (head.metrics.rfind("stage,", 0) != 0) {
    throw Error(
        "{}: is the run of a student that an earlier cafx began; this one plays, measures and exports it, but cannot "
        "go on with it: start it anew, as 'cafx distill TEACHER --out NEW_FOLDER'",
        options.folder.string());
  }
  const std::string& precision = options.precision.empty() ? config.train.precision : options.precision;
  if (precision != head.precision) {
    throw Error(
        "{}: this run began with train.precision = {} and cannot go on with {}; resume it as it began, or start a new "
        "run",
        options.folder.string(), head.precision, precision);
  }
  const std::string init = config.train.init_from.empty() ? "" : weights_identity(folder.file(kInitFile));
  const std::string teacher = config.teacher.model.empty() ? "" : weights_identity(folder.file(kTeacherFile));
  const std::string hash = run_hash(config, facts.hash, init, teacher);
  if (hash != head.run_hash) {
    throw Error("{}: {} since this run began (run {} is now {}); put it back, or start a new run",
                options.folder.string(), what_changed(run->folder, config, facts), head.run_hash, hash);
  }
  run->trainer = std::make_unique<Trainer>(run->config, data, split, options, run->folder, company);
  run->trainer->restore();
  return run;
}

}  // namespace cafx
