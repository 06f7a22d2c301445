#include "host/train/results.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "host/train/targets.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "models/play/weights_file.h"
#include "models/registry.h"

namespace cafx {

namespace {

using About = std::map<std::string, std::string>;

// What was found in the recordings, and done to them; an empty object where a run does not have it.
nlohmann::json read_data(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return nlohmann::json::object();
  auto data = nlohmann::json::parse(RunFolder::read(path), nullptr, false);
  return data.is_object() ? data : nlohmann::json::object();
}

// What the weights come from.
About lineage(const RunFolder& folder, RunConfig config, const Checkpoint& checkpoint) {
  About about{{"run_hash", checkpoint.run_hash},
              {"seed", std::to_string(config.train.seed)},
              {"train_config", to_json(describe_result(config)).dump()},
              {"total_steps", std::to_string(checkpoint.counters.total_steps)}};
  const auto data = read_data(folder.file("data.json"));
  if (data.contains("training_peak") && data["training_peak"].is_number()) {
    about["training_peak"] = fmt::format("{:.6g}", data["training_peak"].get<double>());
  }
  if (config.data.dry_gain_db != 0.0) about[kDryGain] = fmt::format("{}", config.data.dry_gain_db);
  if (!config.train.init_from.empty()) about["init"] = weights_identity(folder.file(kInitFile));
  if (!config.teacher.model.empty()) about["teacher"] = weights_identity(folder.file(kTeacherFile));
  return about;
}

void write_weights(const std::filesystem::path& path, const ModelConfig& config, const char* form,
                   const std::vector<float>& weights, const About& about) {
  const std::unique_ptr<Model> model = make_model(config, form);
  std::copy(weights.begin(), weights.end(), model->params().data());
  save_model(path, *model, about);
}

}  // namespace

int epochs_of(const Checkpoint& checkpoint) {
  const auto lines = std::count(checkpoint.metrics.begin(), checkpoint.metrics.end(), '\n');
  return static_cast<int>(std::max<std::ptrdiff_t>(0, lines - 1));
}

void write_best(const RunFolder& folder, const RunConfig& config, const Checkpoint& checkpoint,
                const std::optional<Quality>& quality) {
  About about = lineage(folder, config, checkpoint);
  about[validation_name(config.train)] = fmt::format("{}", checkpoint.counters.best);
  if (checkpoint.counters.finished) about["identity"] = checkpoint.run_hash + "/best";
  if (quality) about["quality"] = to_json(*quality);
  write_weights(folder.file("best.safetensors"), *config.model, kSupervised, checkpoint.best, about);
}

void write_pretrained(const RunFolder& folder, const RunConfig& config, const Checkpoint& checkpoint) {
  About about = lineage(folder, config, checkpoint);
  about[training_name(config.train)] = fmt::format("{}", checkpoint.counters.best);
  about["identity"] = checkpoint.run_hash + "/pretrained";
  write_weights(folder.file("pretrained.safetensors"), *config.model, kPretrain, checkpoint.best, about);
}

std::string cannot_judge(const std::filesystem::path& run, const std::string& part) {
  const auto data = read_data(run / "data.json");
  if (!data.contains("cannot_judge") || !data["cannot_judge"].is_object()) return "";
  const auto& reasons = data["cannot_judge"];
  return reasons.contains(part) && reasons[part].is_string() ? reasons[part].get<std::string>() : "";
}

void write_result(const RunFolder& folder, const RunConfig& config, const Checkpoint& checkpoint, const Model& model,
                  const std::vector<Fact>& facts, const std::optional<Quality>& quality) {
  const Counters& c = checkpoint.counters;
  nlohmann::json result = {{"status", "finished"},
                           {"run_hash", checkpoint.run_hash},
                           {"model", config.model->type()},
                           {"sample_rate", config.model->sample_rate},
                           {validation_name(config.train), c.best},
                           {training_name(config.train), c.last_training},
                           {"epochs", epochs_of(checkpoint)},
                           {"steps", c.total_steps},
                           {"parameters", model.params().n_parameters()},
                           {"seed", config.train.seed},
                           {"precision", config.train.precision},
                           {"isa", checkpoint.isa},
                           {"version", kVersion}};
  for (const auto& [name, number] : fact_numbers(facts)) result[name] = number;
  if (auto data = read_data(folder.file("data.json")); !data.empty()) {
    result["data"] = std::move(data);
    for (const char* key : {"cannot_judge", kAutoPreset}) {
      if (result["data"].contains(key)) result[key] = result["data"][key];
    }
  }
  if (quality) result["quality"] = nlohmann::json::parse(to_json(*quality));
  folder.write(kResultFile, result.dump(2) + "\n");
}

std::vector<std::pair<std::string, double>> fact_numbers(const std::vector<Fact>& facts) {
  std::vector<std::pair<std::string, double>> numbers;
  for (const Fact& f : facts) {
    if (f.kind != Fact::Kind::kNumber) continue;
    std::string name = f.name;
    std::replace(name.begin(), name.end(), '/', '_');
    numbers.emplace_back(std::move(name), f.number);
  }
  return numbers;
}

std::vector<std::string> fact_names(const ModelConfig& config) {
  Context context;
  context.isa = best_isa();
  const auto own = config.clone();
  own->sample_rate = std::max(1, own->sample_rate);  // 0 where the recordings decide
  const auto model = make_model(*own);
  const int T = std::max(1, own->geometry().frame);
  const std::vector<float> silence(static_cast<std::size_t>(T), 0.0f);
  const FrameRef ref{0, 0, T};
  const Batch batch{silence.data(), silence.data(), &ref, 1, T};
  std::vector<std::string> names;
  for (const auto& [name, number] : fact_numbers(model->facts(context, &batch))) names.push_back(name);
  return names;
}

}  // namespace cafx
