#include "host/train/cohort.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "host/train/checkpoint_files.h"
#include "host/train/open_run.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

// A member's run; null once it has left.
using Runs = std::vector<std::unique_ptr<OpenRun>>;

constexpr std::chrono::milliseconds kWait{20};  // where all members wait for a word from outside

bool decides_kinship(const std::string& key) {
  static const std::vector<std::string> kKeys = {
      "train.batch", "train.accumulate", "train.precision", "train.segment_seconds",
      "train.block", "train.burn_in",    "train.gpus",      "teacher.model"};
  return key.rfind("model.", 0) == 0 || std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end();
}

// A member's last line, unless the folder is another process's by now.
void log_last(const Member& member, const OpenRun& run, const std::string& line) {
  try {
    if (member.options.before_write) member.options.before_write();
    run.folder.log(line);
  } catch (const Error&) {
  }
}

// Calls work(); false, or an Error, and the member leaves.
template <class Work>
void guarded(Company& company, const Member& member, std::unique_ptr<OpenRun>& run, MemberOutcome& outcome, Work work) {
  try {
    if (work()) return;
    outcome.trained = run->trainer->outcome();
  } catch (const Error& e) {
    outcome.error = e.what();
    outcome.thrown = std::current_exception();
    if (run) {
      outcome.trained = run->trainer->outcome();
      log_last(member, *run, e.what());
    }
  }
  run.reset();
  company.gone(kind_of_steps(member.config));
  if (member.left) member.left(outcome);
}

bool holds_run(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / kCheckpointFile, ignored) ||
         std::filesystem::exists(folder / kPreviousCheckpointFile, ignored);
}

}  // namespace

std::string kinship(const nlohmann::json& config) {
  std::string text;
  for (const auto& [key, value] : config.items()) {
    if (decides_kinship(key)) text += key + value.dump() + "\n";
  }
  return text;
}

std::string kind_of_steps(const RunConfig& config) {
  RunConfig all = config;
  return fmt::format("{}{} {} {}", kinship(to_json(describe(all))), all.train.ema > 0, all.train.optimizer,
                     loss_structure(all.train.loss));
}

std::string why_apart(const nlohmann::json& a, const nlohmann::json& b) {
  const auto of = [](const nlohmann::json& config, const std::string& key) {
    return config.contains(key) ? config[key] : nlohmann::json();
  };
  if (of(a, "model.type") != of(b, "model.type")) {
    return fmt::format("one is of type {}, the other {}", a.value("model.type", ""), b.value("model.type", ""));
  }
  for (const auto& [key, value] : a.items()) {
    if (!decides_kinship(key) || of(b, key) == value) continue;
    return fmt::format("{} is {} in one and {} in the other", key, value.dump(), of(b, key).dump());
  }
  return "";
}

std::string why_apart(const RunConfig& a, const RunConfig& b) {
  RunConfig first = a, second = b;
  return why_apart(to_json(describe(first)), to_json(describe(second)));
}

std::vector<MemberOutcome> train_cohort(std::vector<Member> members, double turn_seconds, WorthClosing worth) {
  CAFX_CHECK(!members.empty(), members.size(), 1);
  for (const Member& m : members) {
    const std::string why = why_apart(members[0].config, m.config);
    if (why.empty()) continue;
    throw Error("{} and {} cannot train side by side: {}; train them one after the other",
                members[0].options.folder.string(), m.options.folder.string(), why);
  }
  std::map<const Dataset*, DataFacts> facts;  // before audio is taken out
  for (const Member& m : members) {
    if (!facts.count(m.data)) facts.emplace(m.data, DataFacts(*m.data, *m.split));
  }
  Company company(members[0].options.threads, std::move(worth));
  for (const Member& m : members) company.expect(kind_of_steps(m.config));
  Runs runs(members.size());
  std::vector<MemberOutcome> outcomes(members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Member& m = members[i];
    guarded(company, m, runs[i], outcomes[i], [&] {
      const auto open = holds_run(m.options.folder) ? reopen_run : begin_run;
      runs[i] = open(m.config, *m.data, facts.at(m.data), *m.split, m.options, company);
      runs[i]->trainer->begin();
      return true;
    });
  }
  const auto under_way = [&] {
    return std::any_of(runs.begin(), runs.end(), [](const auto& r) { return r != nullptr; });
  };
  const double turn = members.size() > 1 ? turn_seconds : std::numeric_limits<double>::infinity();
  while (under_way()) {
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (!runs[i] || !runs[i]->trainer->on_gpu()) continue;
      guarded(company, members[i], runs[i], outcomes[i], [&] {
        runs[i]->trainer->ask();
        return true;
      });
    }
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (!runs[i]) continue;
      guarded(company, members[i], runs[i], outcomes[i], [&] {
        Trainer& trainer = *runs[i]->trainer;
        return trainer.turn(trainer.on_gpu() && members.size() > 1 ? 0.0 : turn);
      });
    }
    if (std::all_of(runs.begin(), runs.end(), [](const auto& r) { return !r || r->trainer->waiting(); })) {
      std::this_thread::sleep_for(kWait);
    }
  }
  return outcomes;
}

}  // namespace cafx
