#include "experiments/paper/description.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "host/version.h"

namespace cafx {

namespace {

// A list of distinct texts in order of appearance.
class Names {
 public:
  void add(const std::string& name) {
    if (!name.empty() && std::find(all_.begin(), all_.end(), name) == all_.end()) all_.push_back(name);
  }
  std::string text() const { return fmt::format("{}", fmt::join(all_, ", ")); }

 private:
  std::vector<std::string> all_;
};

std::string lead_of(const std::vector<Experiment>& experiments, bool quick, const std::string& recordings) {
  std::size_t n_runs = 0;
  for (const Experiment& x : experiments) n_runs += x.runs.size();
  return fmt::format(
      "{} from \u201cModeling Nonlinear Audio Effects with End-to-end Deep Neural Networks\u201d (Mart\u00ednez "
      "Ram\u00edrez and Reiss, ICASSP 2019), trained and measured by cafx {}. {}",
      experiments.size() == 1 ? "One experiment" : fmt::format("{} experiments", experiments.size()), kVersion,
      quick ? "Short trainings on twelve notes that ship with cafx, through circuit models: it shows that all "
              "works and how it sounds, and is no replacement for the paper's data and training."
            : fmt::format("{} training runs on the recordings of {}.", n_runs, recordings));
}

// The options of this report that differ from the defaults.
std::string options_text(const ReproduceArguments& args) {
  std::string how = args.size.empty() ? "" : " --size " + args.size;
  for (const std::string& file : args.sweeps) how += " --sweep " + file;
  const ReproduceArguments usual;
  if (args.size != "quick" && args.size != "evening" && args.sweeps.empty()) {
    if (args.parts != usual.parts) how += fmt::format(" --parts {}", fmt::join(args.parts, ","));
    if (args.presets != usual.presets) how += fmt::format(" --presets {}", fmt::join(args.presets, ","));
  }
  for (const std::string& setting : args.settings) how += " --set " + setting;
  if (!args.data.empty()) how += " --data " + args.data;
  if (!args.takes.empty()) how += " --takes " + args.takes;
  if (!args.out.empty()) how += " --out " + args.out;
  return how;
}

// What the whole paper would cost at the speed of these runs, by preset and device.
std::string cost_text(const std::vector<Experiment>& experiments) {
  std::map<std::string, std::pair<double, int>> speeds;
  for (const Experiment& x : experiments) {
    for (const StudyRun& r : x.runs) {
      if (!x.variant.empty() || r.frames_per_second <= 0.0) continue;
      auto& [sum, n] = speeds[x.preset + " on " + r.device];
      sum += r.frames_per_second;
      ++n;
    }
  }
  constexpr double kEpoch = 624 * 0.9 * 2.0 * 16000.0 / 64.0;  // frames: IDMT's notes, 90 % in training, 2 s, hop 64
  std::string cost;
  for (const auto& [what, speed] : speeds) {
    const double per_second = speed.first / speed.second;
    cost += fmt::format(
        "{}{}: {:.0f} frames a second and run, so {:.0f} s for an epoch of the paper's 624 notes at hop 64 and {:.0f} "
        "h for 100 epochs of 22 models and 3 seeds, one after the other",
        cost.empty() ? "" : "; ", what, per_second, kEpoch / per_second, 100.0 * 66.0 * kEpoch / per_second / 3600.0);
  }
  return cost;
}

// Run folders, as many as fit about 600 characters.
std::string folders_text(const std::vector<Experiment>& experiments) {
  std::string folders;
  for (const Experiment& x : experiments) {
    for (const StudyRun& r : x.runs) {
      if (folders.size() < 600) folders += (folders.empty() ? "" : ", ") + r.folder;
    }
  }
  return folders;
}

}  // namespace

PageInput describe_study(const std::vector<Experiment>& experiments, const ReproduceArguments& args,
                         const MeasuredWith& with) {
  PageInput page;
  page.title = args.size == "quick" ? "CAFx, a quick look" : "CAFx, the experiments of the paper";
  page.lead = lead_of(experiments, args.size == "quick", with.recordings);
  const std::string first = with.store + "/" + experiments[0].runs[0].folder;
  page.commands = {"cafx reproduce paper" + options_text(args), fmt::format("cafx eval {} --hop {}", first, args.hop),
                   "cafx report " + first};
  Names seeds, trained_on;
  double least = HUGE_VAL, most = 0.0;
  for (const Experiment& x : experiments) {
    for (const StudyRun& r : x.runs) {
      least = std::min(least, r.frames);
      most = std::max(most, r.frames);
      trained_on.add(r.device);
      seeds.add(std::to_string(r.config.train.seed));
    }
  }
  const Context& c = with.context;
  page.facts = {
      {"cafx", kVersion},
      {"trained on", trained_on.text()},
      {"measured on", fmt::format("{}, instruction set {}, {} threads", c.device == Device::kCpu ? "CPU" : "GPU",
                                  to_string(c.isa), c.pool->n_threads())},
      {"cost", cost_text(experiments)},
      {"heard",
       fmt::format("{:.0f} to {:.0f} thousand frames a model in supervised training", least / 1e3, most / 1e3)},
      {"recordings", with.recordings},
      {"seeds", seeds.text()},
      {"runs", folders_text(experiments) + " (preset and hash of config and recordings)"},
      {"rendering", fmt::format("hop {} of measured and played notes", args.hop)}};
  page.experiments = &experiments;
  page.claims = judge(experiments);
  page.hop = args.hop;
  return page;
}

}  // namespace cafx
