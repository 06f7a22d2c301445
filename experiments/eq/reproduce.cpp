#include "experiments/reproduce.h"

#include <cstdio>

#include <fmt/format.h>

#include "experiments/eq/page.h"
#include "experiments/eq/spec.h"
#include "experiments/sweep_text.h"
#include "host/cli/progress.h"
#include "host/cli/sweep.h"
#include "models/play/weights_file.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

constexpr int kRate = 16000;  // of the dry files, in Hz

struct EqArguments {
  std::string out = "runs/eq", device, isa;
  std::vector<std::string> settings;
  int threads = 0, slots = 0;
  bool plan = false, quiet = false;
};

Spec eq_spec(const EqArguments& args) {
  const fs::path out = args.out;
  std::string text =
      with_value(kEqSweep, "data.dry", toml_text((fs::absolute(out) / "dry").lexically_normal().string()));
  for (const std::string& s : args.settings) {
    const std::size_t equals = s.find('=');
    if (equals == std::string::npos || s.find('.') >= equals)
      throw Error("--set {}: expected TABLE.KEY=VALUE, such as train.epochs=4", s);
    text = with_value(text, s.substr(0, equals), toml_value(s.substr(equals + 1)));
  }
  write_text((out / "eq.toml").string(), text);
  Spec spec = read_spec(out / "eq.toml");
  spec.sweep.store = (out / "runs").string();
  if (!args.device.empty()) spec.sweep.device = args.device;
  if (args.slots > 0) spec.sweep.slots = args.slots;
  if (args.threads > 0) spec.sweep.threads = args.threads;
  return spec;
}

int report(const Spec& spec, const EqArguments& args) {
  DeviceOptions device;
  device.threads = args.threads;
  device.isa = args.isa;
  if (!args.device.empty()) device.device = args.device;
  const OwnedContext own(device);
  const Store store(spec.sweep.store);
  const fs::path out = args.out;
  const auto filters = measure_filters(read_tasks(store.sweep(spec.name) / "tasks.jsonl"), store, own.context);
  if (filters.empty()) throw Error("{}: no run has finished; run the same command again", out.string());
  const ModelFile file = load_model(store.root() / filters[0].learned[0].folder);
  EqPage page;
  page.model = fmt::format("the preset {} with {} parameters at {} Hz", spec.base.preset, file.model->n_parameters(),
                           filters[0].sample_rate);
  page.commands = "cafx reproduce eq";
  for (const std::string& s : args.settings) page.commands += " --set " + s;
  page.commands += fmt::format("\ncafx report {}/{}\n", store.root().string(), filters[0].learned[0].folder);
  page.spec = spec.text;
  const std::string missing = write_figures(filter_figures(filters), out / "figures");
  write_text((out / "report.html").string(), eq_page_html(page, filters));
  write_text((out / "report.md").string(), eq_table_markdown(page, filters));
  ProgressLine line(args.quiet);
  if (!missing.empty()) line.warning("cafx: " + missing);
  write_text("-", fmt::format("{0}\n{1}/report.html\n{1}/report.md\n{1}/figures\n", eq_table_markdown(page, filters),
                              out.string()));
  return 0;
}

int reproduce(const EqArguments& args) {
  std::error_code error;
  fs::create_directories(args.out, error);
  if (error) throw Error("{}: cannot be made: {}; choose another --out", args.out, error.message());
  const Spec spec = eq_spec(args);
  write_dry_files(find_source("datasets/notes", "copy its folder datasets here"), fs::path(args.out) / "dry", kRate);
  SweepOptions options;
  options.isa = args.isa;
  if (args.plan) {
    DataCatalogue catalogue(spec.sweep.store);
    write_text("-", plan_text(spec, plan_sweep(spec, catalogue, options), 40));
    return 0;
  }
  const int rc =
      run_sweep_shown(spec, options, {shell_word((fs::path(args.out) / "eq.toml").string()), false, args.quiet});
  if (rc == kExitStopped) std::fprintf(stderr, "cafx: the same command goes on where this was left\n");
  return rc == kExitStopped ? rc : report(spec, args);
}

}  // namespace

void add_reproduce_eq(CLI::App& top, Run& run) {
  auto args = std::make_shared<EqArguments>();
  CLI::App* c = top.add_subcommand("eq", "filters of an equaliser, learned: magnitude, group delay and error of each");
  c->add_option("--out", args->out, "folder for audio, runs, figures and report")
      ->option_text("FOLDER")
      ->capture_default_str();
  c->add_option("--set", args->settings, "a setting in place of experiments/eq/eq.toml's own, such as train.epochs=4")
      ->allow_extra_args(false)
      ->option_text("KEY=VALUE");
  c->add_option("--device", args->device, "cpu, cuda:0,cuda:1, or auto")->option_text("NAMES");
  c->add_option("--isa", args->isa, "portable, avx2 or avx512")->option_text("NAME");
  c->add_option("--threads", args->threads, "threads of all runs together; 0: all")->check(CLI::Range(0, 1024));
  c->add_option("--slots", args->slots, "runs at a time on the CPU")->check(CLI::Range(0, 1024));
  c->add_flag("--plan", args->plan, "say what would run and how long it would take, and train nothing");
  c->add_flag("--quiet", args->quiet, "no progress, no table of runs");
  c->footer("Example:  cafx reproduce eq\nKilled anywhere, the same command goes on where it was left.");
  c->callback([args, &run] { run = [args] { return reproduce(*args); }; });
}

}  // namespace cafx
