#include <fmt/ranges.h>

#include <set>

#include "datasets/check.h"
#include "host/cli/common.h"

namespace cafx {

namespace {
constexpr int kAnyRate = 16000;  // Hz, where the config leaves the rate to the recordings
}

void add_data(CLI::App& app, Run& run) {
  struct Arguments {
    ConfigOptions config;
    bool json = false;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* data = app.add_subcommand("data", "look at recordings before training on them");
  data->require_subcommand(1);
  CLI::App* c = data->add_subcommand("check", "what is wrong with the recordings, where, why, and what to do");
  args->config.add_recordings_to(*c);
  args->config.add_to(*c);
  c->add_flag("--json", args->json, "as JSON");
  c->footer(
      "Examples:  cafx data check datasets/notes --set data.setting=2\n"
      "           cafx data check dry.wav wet.wav");
  c->callback([args, &run] {
    run = [args] {
      const RunConfig config = args->config.resolve();
      const int rate = config.model->sample_rate > 0 ? config.model->sample_rate : kAnyRate;
      const Dataset found = inspect_dataset(config.data, rate);
      bool refused = false;
      std::set<std::string> allowed;  // what would stop training if data.allow did not name it
      for (const Finding& f : found.findings) {
        if (stops_training(f, config.data)) {
          refused = true;
        } else if (f.severity == Severity::kRefuse) {
          allowed.insert(f.code);
        }
      }
      if (args->json) {
        write_text("-", findings_json(found) + "\n");
      } else {
        double seconds = 0.0;
        for (const Pair& p : found.pairs) seconds += static_cast<double>(p.dry.size()) / rate;
        std::string text = fmt::format("{} pairs, {:.1f} s at {} Hz\n", found.pairs.size(), seconds, rate);
        for (const auto& line : found.unpaired) text += "unpaired: " + line + "\n";
        for (const auto& line : found.unreadable) text += "unreadable: " + line + "\n";
        text += format_findings(found.findings);
        text += refused ? "training would refuse this" : "training would accept this";
        if (!allowed.empty()) text += fmt::format("; data.allow lets pass: {}", fmt::join(allowed, ", "));
        text += '\n';
        write_text("-", text);
      }
      return refused ? kExitError : 0;
    };
  });
}

}  // namespace cafx
