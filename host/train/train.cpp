#include "host/train/train.h"

#include <nlohmann/json.hpp>

#include "host/train/checkpoint.h"
#include "host/train/checkpoint_files.h"
#include "host/train/results.h"
#include "host/train/run_folder.h"
#include "host/train/student_keys.h"
#include "host/train/targets.h"
#include "host/train/trainer.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "models/play/weights_file.h"

namespace cafx {

RunConfig read_run_config(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) {
    throw Error("{}: is not a folder; give the folder of a run, as 'cafx train' named it", folder.string());
  }
  const auto path = folder / "config.toml";
  ConfigSource source;
  source.toml = modern_toml(RunFolder::read(path), path.string());
  source.where = path.string();
  return make_config(source);
}

TrainOutcome train(const RunConfig& config, Dataset& data, const Split& split, const TrainOptions& options) {
  check(config, "config");
  RunFolder folder(options.folder);
  if (std::filesystem::exists(folder.file(kCheckpointFile))) {
    throw Error("{}: holds a run already; go on with it by 'cafx resume {}', or choose another folder with --out",
                options.folder.string(), options.folder.string());
  }
  RunConfig resolved = config;
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
  const std::string data_hash = content_hash(data), hash = run_hash(config, data_hash, init, teacher);
  folder.write("config.toml",
               fmt::format("# cafx {}   run {}   data {}\n{}", kVersion, hash, data_hash, to_toml(describe(resolved))));
  folder.write("split.json", split_json(data, split));
  folder.write("data.json", data_json(data).dump(2) + "\n");
  Trainer trainer(config, data, split, options, folder);
  trainer.start(hash);
  return trainer.run();
}

TrainOutcome resume(const RunConfig& config, Dataset& data, const Split& split, const TrainOptions& options) {
  RunFolder folder(options.folder);
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
        "go on "
        "with it: start it anew, as 'cafx distill TEACHER --out NEW_FOLDER'",
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
  const std::string hash = run_hash(config, content_hash(data), init, teacher);
  if (hash != head.run_hash) {
    throw Error(
        "{}: config.toml, the teacher or the audio under '{}' has changed since this run began (run {} is now {}); put "
        "it back, or start a new run",
        options.folder.string(), config.data.path, head.run_hash, hash);
  }
  Trainer trainer(config, data, split, options, folder);
  trainer.restore();
  return trainer.run();
}

TrainOutcome resume(const TrainOptions& options) {
  const RunConfig config = read_run_config(options.folder);
  Dataset data = load_dataset(data_of(config), config.model->sample_rate);
  return resume(config, data, split_dataset(data, config.data), options);
}

}  // namespace cafx
