// `cafx train --seeds N`: the same training from several seeds, side by side, and what they have in common.
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "host/cli/progress.h"
#include "host/cli/train_command.h"
#include "host/metrics/interval.h"
#include "host/train/checkpoint_files.h"
#include "host/train/cohort.h"
#include "host/train/results.h"
#include "host/train/run_folder.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

// One line of progress for all members. What several of them say is printed once.
class SeedsDisplay {
 public:
  SeedsDisplay(bool quiet, std::size_t members) : line_(quiet), last_(members) {}

  void say(const std::string& text) {
    if (said_.insert(text).second) line_.line(text);
  }
  void progress(std::size_t member, const TrainProgress& p) {
    last_[member] = p;
    double fraction = 0.0, left = 0.0, rate = 0.0, best = std::numeric_limits<double>::infinity();
    for (const TrainProgress& q : last_) {
      fraction += q.fraction / static_cast<double>(last_.size());
      left = std::max(left, q.seconds_left);
      rate += q.frames_per_second;
      if (std::isfinite(q.best) && q.stage == p.stage) best = std::min(best, q.best);
    }
    std::string text = fmt::format("{} seeds  {} {}/{}  {:.0f} {}/s in sum", last_.size(), p.stage, p.epoch, p.epochs,
                                   rate, p.segments ? "segments" : "frames");
    if (std::isfinite(best)) text += fmt::format("  best {:.5f}", best);
    line_.show(fraction, text + "  left " + time_text(left));
  }
  void ended(std::size_t member) { last_[member].fraction = 1.0; }

 private:
  ProgressLine line_;
  std::vector<TrainProgress> last_;
  std::set<std::string> said_;
};

class MemberDisplay : public TrainObserver {
 public:
  MemberDisplay(SeedsDisplay& all, std::size_t member) : all_(all), member_(member) {}
  void message(const std::string& text) override { all_.say(text); }
  void progress(const TrainProgress& p) override { all_.progress(member_, p); }
  void epoch(const TrainProgress& p) override { all_.progress(member_, p); }

 private:
  SeedsDisplay& all_;
  std::size_t member_;
};

struct Seed {
  std::string folder;  // in the folder of all
  RunConfig config;
};

struct SeedResult {
  MemberOutcome outcome;
  std::optional<Evaluation> test;
};

// The columns: what stopped the training, then the metrics of the test notes where there are any.
struct Column {
  std::string key, heading;
  std::vector<double> values;  // of the seeds that finished
};

std::vector<Column> columns_of(const std::vector<Seed>& seeds, const std::vector<SeedResult>& results) {
  const std::string validation = validation_name(seeds[0].config.train);
  std::vector<Column> columns{{validation, "validat.", {}}};
  for (const MetricName& metric : kMetricNames)
    columns.push_back({std::string("test.") + metric.key, metric.heading, {}});
  for (const SeedResult& r : results) {
    if (!r.outcome.trained.finished) continue;
    columns[0].values.push_back(r.outcome.trained.validation);
    for (std::size_t k = 0; r.test && k < kMetricNames.size(); ++k) {
      columns[k + 1].values.push_back(r.test->mean.*kMetricNames[k].value);
    }
  }
  std::erase_if(columns, [](const Column& c) { return c.values.empty(); });
  return columns;
}

std::string table_of(const std::vector<Seed>& seeds, const std::vector<SeedResult>& results) {
  const std::vector<Column> columns = columns_of(seeds, results);
  std::string text = fmt::format("\n{:<16}", "seed");
  for (const Column& c : columns) text += fmt::format(" {:>9}", c.heading);
  text += "\n";
  std::size_t row = 0;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    text += fmt::format("{:<16}", seeds[i].config.train.seed);
    if (!results[i].outcome.error.empty()) {
      text += " failed: " + results[i].outcome.error;
    } else {
      for (const Column& c : columns) text += fmt::format(" {:9.5f}", c.values[row]);
      ++row;
    }
    text += "\n";
  }
  for (const bool mean : {true, false}) {
    text += fmt::format("{:<16}", mean ? "mean" : "95 % interval");
    for (const Column& c : columns) {
      const Interval interval = interval_of(c.values);
      const double value = mean ? interval.mean : interval.half_width;
      text += std::isfinite(value) ? fmt::format(" {}{:8.5f}", mean ? " " : "±", value) : fmt::format(" {:>9}", "-");
    }
    text += "\n";
  }
  return text;
}

OrderedJson json_of(const std::vector<Seed>& seeds, const std::vector<SeedResult>& results, const fs::path& folder) {
  OrderedJson json = {{"folder", folder.string()},
                      {"seeds", OrderedJson::array()},
                      {"mean", OrderedJson::object()},
                      {"interval", OrderedJson::object()}};
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    OrderedJson seed = {{"seed", seeds[i].config.train.seed}, {"folder", seeds[i].folder}};
    if (!results[i].outcome.error.empty()) {
      seed["error"] = results[i].outcome.error;
    } else {
      seed["result"] = OrderedJson::parse(RunFolder::read(folder / seeds[i].folder / "result.json"));
      if (results[i].test) seed["test"] = OrderedJson::parse(to_json(*results[i].test));
    }
    json["seeds"].push_back(seed);
  }
  for (const Column& c : columns_of(seeds, results)) {
    const Interval interval = interval_of(c.values);
    json["mean"][c.key] = interval.mean;
    json["interval"][c.key] = std::isfinite(interval.half_width) ? OrderedJson(interval.half_width) : OrderedJson();
  }
  return json;
}

int work_on(const fs::path& folder, const std::vector<Seed>& seeds, Dataset& data, const Split& split,
            const TrainArguments& args) {
  SeedsDisplay display(args.quiet, seeds.size());
  if (!args.quiet) tell([&](const std::string& line) { display.say(line); }, data, split);
  std::vector<std::unique_ptr<MemberDisplay>> observers;
  std::vector<Member> members;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    observers.push_back(std::make_unique<MemberDisplay>(display, i));
    members.push_back({seeds[i].config, &data, &split, options_of(args, folder / seeds[i].folder, *observers.back())});
  }
  const std::vector<MemberOutcome> outcomes = train_cohort(members);
  std::vector<SeedResult> results;
  bool stopped = false, failed = false;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    failed = failed || !outcomes[i].error.empty();
    stopped = stopped || (outcomes[i].error.empty() && !outcomes[i].trained.finished);
    results.push_back({outcomes[i], {}});
  }
  if (std::none_of(outcomes.begin(), outcomes.end(), [](const MemberOutcome& o) { return o.error.empty(); })) {
    std::set<std::string> reasons;
    for (const MemberOutcome& o : outcomes) reasons.insert(o.error);
    throw Error("none of the {} seeds in {} was trained: {}", seeds.size(), folder.string(), fmt::join(reasons, "; "));
  }
  if (stopped) {
    std::fprintf(stderr, "cafx: stopped and saved; go on with: cafx resume %s\n", folder.c_str());
    return kExitStopped;
  }
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    if (!outcomes[i].error.empty()) continue;
    results[i].test = evaluate_test(folder / seeds[i].folder, seeds[i].config, data, split, args);
  }
  const OrderedJson json = json_of(seeds, results, folder);
  write_text((folder / kResultFile).string(), json.dump(2) + "\n");
  if (args.json) {
    write_table("-", json.dump() + "\n");
  } else {
    const std::string reason = cannot_judge(folder / seeds[0].folder, "test");
    write_text("-", table_of(seeds, results));
    if (!reason.empty()) write_text("-", fmt::format("no result on the test part: it {}\n", reason));
    write_text("-", fmt::format("\nthe models: {}/seed-*/best.safetensors\n", folder.string()));
  }
  return failed ? kExitError : 0;
}

}  // namespace

namespace {

std::string text_of(const Seed& seed) {
  RunConfig c = seed.config;
  return to_toml(describe(c));
}

void make_folder(const fs::path& folder, const Seed& seed) {
  std::error_code ignored;
  fs::create_directories(folder / seed.folder, ignored);
  RunFolder(folder / seed.folder).write("config.toml", text_of(seed));
}

// A folder with this file of a run, which seeds would write over or mix with their own.
void refuse_run(const fs::path& folder, const char* file) {
  std::error_code ignored;
  if (!fs::exists(folder / file, ignored)) return;
  throw Error("{}: holds a run already ({}); choose another folder with --out", folder.string(), file);
}

// The seeds of a folder. One whose run was removed begins anew, with the settings of another.
std::vector<Seed> reopen_seeds(const fs::path& folder) {
  const std::vector<std::string> names = seeds_in(folder);
  const auto is_there = [&](const std::string& name) { return fs::exists(folder / name / "config.toml"); };
  const auto sibling = std::find_if(names.begin(), names.end(), is_there);
  if (sibling == names.end()) {
    throw Error("{}: none of its runs is left; train anew with 'cafx train ... --seeds {} --out', in another folder",
                folder.string(), names.size());
  }
  std::vector<Seed> seeds;
  for (const std::string& name : names) {
    seeds.push_back({name, read_run_config(folder / (is_there(name) ? name : *sibling))});
    if (is_there(name)) continue;
    std::int64_t seed = 0;
    const std::string prefix = "seed-";
    const char* const end = name.c_str() + name.size();
    const auto number = std::from_chars(std::min(name.c_str() + prefix.size(), end), end, seed);
    if (name.rfind(prefix, 0) != 0 || number.ec != std::errc() || number.ptr != end) {
      throw Error("{}: is missing, and its name says no seed; put a copy of it back", (folder / name).string());
    }
    seeds.back().config.train.seed = seed;
    make_folder(folder, seeds.back());
  }
  return seeds;
}

}  // namespace

int train_seeds(const RunConfig& config, Dataset& data, const Split& split, const TrainArguments& args) {
  const fs::path folder = args.out;
  std::error_code ignored;
  if (fs::exists(folder / kSeedsFile, ignored)) {
    throw Error("{}: holds runs already; go on with them by 'cafx resume {}', or choose another folder with --out",
                folder.string(), folder.string());
  }
  for (const char* name : {"config.toml", kResultFile, kCheckpointFile}) refuse_run(folder, name);
  std::vector<Seed> seeds;
  OrderedJson list = OrderedJson::array();
  for (int i = 0; i < args.seeds; ++i) {
    seeds.push_back({fmt::format("seed-{}", config.train.seed + i), config});
    seeds.back().config.train.seed = config.train.seed + i;
    list.push_back(seeds.back().folder);
    const fs::path run = folder / seeds.back().folder;
    for (const char* name : {kResultFile, kCheckpointFile}) refuse_run(run, name);
    // One of the same settings is what a kill before the first step leaves.
    if (fs::exists(run / "config.toml", ignored) && RunFolder::read(run / "config.toml") != text_of(seeds.back())) {
      refuse_run(run, "config.toml");
    }
  }
  fs::create_directories(folder, ignored);
  // The folders first, so that a kill at any moment leaves all that a resume needs.
  for (const Seed& seed : seeds) make_folder(folder, seed);
  RunFolder(folder).write(kSeedsFile, list.dump() + "\n");
  return work_on(folder, seeds, data, split, args);
}

std::vector<std::string> seeds_in(const fs::path& folder) {
  const OrderedJson list = OrderedJson::parse(RunFolder::read(folder / kSeedsFile), nullptr, false);
  std::vector<std::string> seeds;
  for (const OrderedJson& name : list.is_array() ? list : OrderedJson::array()) {
    if (name.is_string()) seeds.push_back(name);
  }
  if (!seeds.empty()) return seeds;
  throw Error("{}: does not list the folders of runs; resume them one by one, as 'cafx resume {}/seed-0'",
              (folder / kSeedsFile).string(), folder.string());
}

int resume_seeds(const TrainArguments& args) {
  const fs::path folder = args.out;
  const std::vector<Seed> seeds = reopen_seeds(folder);
  Dataset data = load_dataset(data_of(seeds[0].config), seeds[0].config.model->sample_rate);
  const Split split = split_dataset(data, seeds[0].config.data);
  return work_on(folder, seeds, data, split, args);
}

}  // namespace cafx
