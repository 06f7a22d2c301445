#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <set>

#include "datasets/dataset.h"
#include "host/cli/common.h"
#include "host/train/targets.h"

namespace cafx {

void add_data(CLI::App& app, Run& run) {
  struct Arguments {
    ConfigOptions config;
    bool json = false;
    std::string write;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* data = app.add_subcommand("data", "look at recordings before training on them");
  data->footer("Example:  cafx data check dry.wav wet.wav");
  data->require_subcommand(1);
  CLI::App* c = data->add_subcommand("check", "what is wrong with the recordings, where, why, and what to do");
  args->config.add_recordings_to(*c);
  args->config.add_to(*c);
  args->config.add_auto_to(*c);
  c->add_flag("--json", args->json, "as JSON");
  c->add_option("--write", args->write, "write the repaired pairs as audio, to FOLDER/dry and FOLDER/wet")
      ->option_text("FOLDER");
  c->footer(
      "Examples:  cafx data check datasets/notes --set data.setting=2\n"
      "           cafx data check dry.wav wet.wav --write repaired\n"
      "           cafx data check dry.wav wet.wav --preset auto    which preset fits what is heard, and why\n"
      "           cafx data check DATASET             says which layout it is, and which settings it holds");
  c->callback([args, &run] {
    run = [args] {
      AutoPreset chosen;
      RunConfig config = args->config.resolve(&chosen);
      choose_rate(config);
      Dataset found = inspect_dataset(config.data, config.model->sample_rate);
      const auto quiet = check_loudness(found, split_dataset(found, config.data), config.train.silence_db);
      found.findings.insert(found.findings.end(), quiet.begin(), quiet.end());
      bool refused = false;
      std::set<std::string> allowed;  // what would stop training if data.allow did not name it
      for (const Finding& f : found.findings) {
        if (stops_training(f, config.data)) {
          refused = true;
        } else if (f.severity == Severity::kRefuse) {
          allowed.insert(f.code);
        }
      }
      if (!args->write.empty()) write_pairs(found, args->write);
      if (args->json) {
        auto json = nlohmann::ordered_json::parse(findings_json(found));
        if (!chosen.preset.empty()) json[kAutoPreset] = chosen.json();
        write_table("-", json.dump(2) + "\n");
      } else {
        double seconds = 0.0;
        for (const Pair& p : found.pairs) seconds += static_cast<double>(p.dry.size()) / found.sample_rate;
        const auto counted = [](std::size_t n, const char* what) {
          return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
        };
        std::string text = counted(found.pairs.size(), found.n_cut > 0 ? "piece" : "pair");
        if (found.n_cut > 0) text += " of " + counted(found.n_cut, "pair");
        text += fmt::format(", {:.1f} s at {} Hz\n", seconds, found.sample_rate);
        for (const auto& line : found.unpaired) text += "unpaired: " + line + "\n";
        for (const auto& line : found.unreadable) text += "unreadable: " + line + "\n";
        text += format_findings(found.findings);
        text += format_plan(found.repairs);
        text += refused ? "training would refuse this" : "training would accept this";
        if (!allowed.empty()) text += fmt::format("; data.allow lets pass: {}", fmt::join(allowed, ", "));
        text += '\n';
        if (!chosen.preset.empty()) text += chosen.text() + '\n';
        write_text("-", text);
      }
      return refused ? kExitError : 0;
    };
  });
}

}  // namespace cafx
