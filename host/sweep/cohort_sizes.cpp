#include "host/sweep/cohort_sizes.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "host/sweep/slurm_commands.h"
#include "host/train/cohort.h"
#include "host/train/config.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace fs = std::filesystem;

namespace {

constexpr const char* kSeconds = "5";  // of a measurement, beside the building of the models

std::string key_of(const Task& t, const std::string& kind) {
  Hasher hasher;
  hasher.add(kinship(t.config) + kind + "\n" + kVersion);
  return hasher.hex().substr(0, 12);
}

// None: it is not there, or no number of members.
std::optional<int> members_of(const Json& file, const std::string& key) {
  if (!file.contains(key) || !file[key].is_object()) return std::nullopt;
  const Json members = file[key].value("members", Json());
  return members.is_number_integer() && members > 0 ? std::optional<int>(members) : std::nullopt;
}

// Slurm writes "nvidia_h100_80gb_hbm3" where the driver says "NVIDIA H100 80GB HBM3".
std::string plain_name(const std::string& name) {
  std::string plain;
  for (const char c : name) {
    plain += std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::tolower(c)) : ' ';
  }
  return plain;
}

}  // namespace

CohortSizes::CohortSizes(fs::path file, Measure measure, std::function<void(const std::string&)> say)
    : file_(std::move(file)), measure_(std::move(measure)), say_(std::move(say)) {}

std::optional<int> CohortSizes::of(const Task& t, const std::string& device, const std::string& kind, bool idle) {
  const std::string key = key_of(t, kind);
  if (const auto known = known_.find(key); known != known_.end()) {
    return known->second > 0 ? std::optional(known->second) : std::nullopt;
  }
  Json file = Store::read_json(file_);
  if (!file.is_object()) file = Json::object();
  if (const auto members = members_of(file, key)) return known_[key] = *members;
  if (!measure_ || !idle) return std::nullopt;
  try {
    const CohortSize size = measure_(t.config, device);
    Json row = {{"members", size.members},
                {"type", t.config.value("model.type", "")},
                {"batch", t.config.value("train.batch", 0)},
                {"precision", t.config.value("train.precision", "")},
                {"device", kind},
                {"version", kVersion},
                {"measured", Json::array()}};
    std::vector<std::string> words;
    for (const auto& [n, rate] : size.measured) {
      row["measured"].push_back({n, rate});
      words.push_back(fmt::format("{:.0f} with {}", rate, n));
    }
    file[key] = row;
    const std::string text = file.dump(1) + "\n";
    write_file_atomically(file_, text.data(), text.size());
    if (say_) {
      say_(fmt::format("{}: places a second by models side by side: {}; up to {} share a process", kind,
                       fmt::join(words, ", "), size.members));
    }
    return known_[key] = size.members;
  } catch (const WriteError&) {
    throw;  // a full disk pauses the sweep
  } catch (const Error& e) {
    if (say_) say_(fmt::format("how many runs should share a process of {} was not measured: {}", kind, e.what()));
    known_[key] = 0;  // not to be tried again
    return std::nullopt;
  }
}

std::optional<int> measured_cohort_size(const fs::path& file, const Task& t, const std::string& gpu) {
  const Json all = Store::read_json(file);
  if (!all.is_object() || !t.config.is_object()) return std::nullopt;
  std::optional<int> least;
  for (const auto& [key, row] : all.items()) {
    const std::string kind =
        row.is_object() && row.contains("device") && row["device"].is_string() ? row["device"] : "";
    if (kind.empty() || key != key_of(t, kind) || plain_name(kind).find(plain_name(gpu)) == std::string::npos) continue;
    if (const auto members = members_of(all, key)) least = std::min(least.value_or(*members), *members);
  }
  return least;
}

CohortSize measure_cohort_size(const Json& config, const std::string& device) {
  RunConfig run = config_of_json(config, "the runs' config");
  const fs::path file = fs::temp_directory_path() / fmt::format("cafx-cohort-{}.toml", getpid());
  const std::string toml = to_toml(describe(run));
  write_file_atomically(file, toml.data(), toml.size());
  const Ran ran = run_program({"/proc/self/exe", "bench", "--cohort", "auto", "--json", "--seconds", kSeconds,
                               "--device", device, "--precision", run.train.precision, "--config", file.string()});
  std::error_code ignored;
  fs::remove(file, ignored);
  if (ran.code != 0) throw Error("cafx bench ended with code {}: {}", ran.code, one_line(ran.error));
  const Json json = Json::parse(ran.out, nullptr, false);
  if (!json.is_object() || !json.contains("chosen") || !json.contains("cohorts")) {
    throw Error("cafx bench said: {}", one_line(ran.out));
  }
  CohortSize size;
  size.members = json["chosen"];
  for (const Json& row : json["cohorts"]) {
    size.measured.emplace_back(row.at("members"),
                               row.value("frames_per_second", row.value("segments_per_second", 0.0)));
  }
  return size;
}

}  // namespace cafx
