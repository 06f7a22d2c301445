#include "host/train/results.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "host/export/model_file.h"
#include "host/version.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

using About = std::map<std::string, std::string>;

// What the weights come from.
About lineage(const RunFolder& folder, RunConfig config, const Checkpoint& checkpoint) {
  About about{{"run_hash", checkpoint.run_hash},
              {"seed", std::to_string(config.train.seed)},
              {"train_config", to_json(describe_result(config)).dump()},
              {"total_steps", std::to_string(checkpoint.counters.total_steps)}};
  if (!config.train.init_from.empty()) about["init"] = weights_identity(folder.file(kInitFile));
  return about;
}

void write_weights(const std::filesystem::path& path, const CafxConfig& config, CafxForm form,
                   const std::vector<float>& weights, const About& about) {
  CafxModel model(config, form);
  std::copy(weights.begin(), weights.end(), model.data());
  save_model(path, model, about);
}

}  // namespace

void write_best(const RunFolder& folder, const RunConfig& config, const Checkpoint& checkpoint) {
  About about = lineage(folder, config, checkpoint);
  about["validation_mae"] = fmt::format("{}", checkpoint.counters.best);
  if (checkpoint.counters.finished) about["identity"] = checkpoint.run_hash + "/best";
  write_weights(folder.file("best.safetensors"), config.model, CafxForm::kSupervised, checkpoint.best, about);
}

void write_pretrained(const RunFolder& folder, const RunConfig& config, const Checkpoint& checkpoint) {
  About about = lineage(folder, config, checkpoint);
  about["training_mae"] = fmt::format("{}", checkpoint.counters.best);
  about["identity"] = checkpoint.run_hash + "/pretrained";
  write_weights(folder.file("pretrained.safetensors"), config.model, CafxForm::kPretrain, checkpoint.best, about);
}

void write_result(const RunFolder& folder, const RunConfig& config, const Checkpoint& checkpoint,
                  const CafxModel& model, double saaf_input_peak) {
  const Counters& c = checkpoint.counters;
  const nlohmann::json result = {{"status", "finished"},
                                 {"run_hash", checkpoint.run_hash},
                                 {"validation_mae", c.best},
                                 {"training_mae", c.last_training},
                                 {"steps", c.total_steps},
                                 {"parameters", model.n_parameters()},
                                 {"saaf_lipschitz", model.lipschitz()},
                                 {"saaf_input_peak", saaf_input_peak},
                                 {"seed", config.train.seed},
                                 {"precision", config.train.precision},
                                 {"isa", checkpoint.isa},
                                 {"version", kVersion}};
  folder.write("result.json", result.dump(2) + "\n");
}

}  // namespace cafx
