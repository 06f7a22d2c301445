#include "host/train/train.h"

#include "host/train/open_run.h"
#include "host/train/run_folder.h"
#include "host/train/student_keys.h"
#include "kernels/base/error.h"

namespace cafx {

RunConfig read_run_config(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) {
    throw Error("{}: is not a folder; give the folder of a run, as 'cafx train' named it", folder.string());
  }
  const auto path = folder / "config.toml";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
      if (!std::filesystem::exists(entry.path() / "config.toml", ignored)) continue;
      throw Error("{}: is no run itself, it holds runs; name one of them, such as {}", folder.string(),
                  entry.path().string());
    }
  }
  ConfigSource source;
  source.toml = modern_toml(RunFolder::read(path), path.string());
  source.where = path.string();
  return make_config(source);
}

TrainOutcome train(const RunConfig& config, Dataset& data, const Split& split, const TrainOptions& options) {
  Company company(options.threads);
  return begin_run(config, data, DataFacts(data, split), split, options, company)->trainer->run();
}

TrainOutcome resume(const RunConfig& config, Dataset& data, const Split& split, const TrainOptions& options) {
  Company company(options.threads);
  return reopen_run(config, data, DataFacts(data, split), split, options, company)->trainer->run();
}

TrainOutcome resume(const TrainOptions& options) {
  const RunConfig config = read_run_config(options.folder);
  Dataset data = load_dataset(data_of(config), config.model->sample_rate);
  return resume(config, data, split_dataset(data, config.data), options);
}

}  // namespace cafx
