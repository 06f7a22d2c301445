#include "host/train/cohort.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "host/train/checkpoint_files.h"
#include "host/train/open_run.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

// A member's run; null once it has left.
using Runs = std::vector<std::unique_ptr<OpenRun>>;

bool decides_kinship(const std::string& key) {
  static const std::vector<std::string> kKeys = {
      "train.batch", "train.accumulate", "train.precision", "train.segment_seconds",
      "train.block", "train.burn_in",    "train.gpus",      "teacher.model"};
  return key.rfind("model.", 0) == 0 || std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end();
}

// Calls work(i); what it throws becomes the member's error, in its log too, and the member leaves.
template <class Work>
void guarded(std::size_t i, Runs& runs, std::vector<MemberOutcome>& outcomes, Work work) {
  try {
    work(i);
  } catch (const Error& e) {
    outcomes[i].error = e.what();
    if (!runs[i]) return;
    outcomes[i].trained = runs[i]->trainer->outcome();
    runs[i]->folder.log(e.what());
    runs[i].reset();
  }
}

bool holds_run(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / kCheckpointFile, ignored) ||
         std::filesystem::exists(folder / kPreviousCheckpointFile, ignored);
}

}  // namespace

std::string why_apart(const RunConfig& a, const RunConfig& b) {
  RunConfig first = a, second = b;
  const nlohmann::json of_first = to_json(describe(first)), of_second = to_json(describe(second));
  if (of_first["model.type"] != of_second["model.type"]) {
    return fmt::format("one is of type {}, the other {}", first.model->type(), second.model->type());
  }
  for (const auto& [key, value] : of_first.items()) {
    if (!decides_kinship(key) || of_second.at(key) == value) continue;
    return fmt::format("{} is {} in one and {} in the other", key, value.dump(), of_second.at(key).dump());
  }
  return "";
}

std::vector<MemberOutcome> train_cohort(std::vector<Member> members, double turn_seconds) {
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
  Company company(members[0].options.threads);
  Runs runs(members.size());
  std::vector<MemberOutcome> outcomes(members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    guarded(i, runs, outcomes, [&](std::size_t) {
      const Member& m = members[i];
      const auto open = holds_run(m.options.folder) ? reopen_run : begin_run;
      runs[i] = open(m.config, *m.data, facts.at(m.data), *m.split, m.options, company);
      runs[i]->trainer->begin();
    });
  }
  const auto under_way = [&] {
    return std::any_of(runs.begin(), runs.end(), [](const auto& r) { return r != nullptr; });
  };
  while (under_way()) {
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (!runs[i]) continue;
      guarded(i, runs, outcomes, [&](std::size_t) {
        Trainer& trainer = *runs[i]->trainer;
        if (trainer.turn(trainer.on_gpu() ? 0.0 : turn_seconds)) return;
        outcomes[i].trained = trainer.outcome();
        runs[i].reset();
      });
    }
  }
  return outcomes;
}

}  // namespace cafx
