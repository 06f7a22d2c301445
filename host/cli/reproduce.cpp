#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "host/cli/common.h"
#include "host/cli/progress.h"
#include "host/cli/sweep.h"
#include "host/export/model_file.h"
#include "host/paper/page.h"
#include "host/paper/paper_figures.h"
#include "host/paper/specs.h"
#include "host/sweep/plan.h"
#include "host/train/run_folder.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/device/memory.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string data, out, sweep, device, isa;
  int hop = 64, threads = 0, slots = 0, shown = 1;
  bool quick = false, plan = false, report_only = false, quiet = false;
};

std::string toml_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// The spec with its recordings replaced by others.
std::string with_data(const std::string& spec, const fs::path& folder) {
  std::istringstream in(spec);
  std::string out, line;
  bool replaced = false;
  while (std::getline(in, line)) {
    if (!replaced && line.rfind("path = ", 0) == 0) {
      line = "path = " + toml_text(folder.string());
      replaced = true;
    }
    out += line + "\n";
  }
  if (!replaced)
    throw Error("the sweep file has no line 'path = ...' under [data], so other recordings cannot be put in");
  return out;
}

fs::path data_folder(const Arguments& args) {
  if (!args.data.empty()) {
    if (!fs::is_directory(args.data))
      throw Error("--data {}: is no folder; give the folder of IDMT-SMT-Audio-Effects", args.data);
    return fs::absolute(args.data).lexically_normal();
  }
  // Where the binary was built, and where it is called from.
  for (const fs::path& root : {fs::path("."), fs::path(CAFX_SOURCE_FOLDER)}) {
    if (fs::is_directory(root / "datasets/notes")) return fs::absolute(root / "datasets/notes").lexically_normal();
  }
  throw Error(
      "the notes that ship (datasets/notes) are not here; call cafx in its source folder, or give --data FOLDER");
}

int reproduce(const Arguments& args) {
  if (!args.quick && args.sweep.empty()) {
    throw Error(
        "choose how much: --quick (minutes on a CPU, with the notes that ship), or --sweep FILE with a sweep file of "
        "experiments/paper");
  }
  const std::string embedded = args.sweep.empty() ? kPaperQuick : RunFolder::read(args.sweep);
  const std::string origin = args.sweep.empty() ? "experiments/paper/quick.toml" : args.sweep;
  const fs::path data = data_folder(args);
  const std::string text = with_data(embedded, data);
  const std::string name = parse_spec(text, origin).name;
  const fs::path out = args.out.empty() ? fs::path("runs") / name : fs::path(args.out);
  std::error_code error;
  fs::create_directories(out, error);
  if (error) throw Error("{}: cannot be made: {}; choose another --out", out.string(), error.message());
  const fs::path file = out / (name + ".toml");
  write_text(file.string(), text);

  SweepCommand command;
  command.file = file.string();
  command.store = (out / "runs").string();
  command.device = args.device;
  command.isa = args.isa;
  command.threads = args.threads;
  command.slots = args.slots;
  command.quiet = args.quiet;
  if (!args.quiet || args.plan) {
    if (const int rc = sweep_plan(command); rc != 0 || args.plan) return rc;
  }
  if (!args.report_only) {
    if (const int rc = sweep_run(command); rc == kExitStopped) {
      std::fprintf(stderr, "cafx: the same command goes on where this was left\n");
      return rc;
    }
  }

  DeviceOptions device;
  device.threads = args.threads;
  device.isa = args.isa;
  if (!args.device.empty()) device.device = args.device;
  const OwnedContext own(device);
  const Store store(command.store);
  const auto tasks = read_tasks(store.sweep(name) / "tasks.jsonl");
  ProgressLine line(args.quiet);
  StudyOptions options;
  options.hop = args.hop;
  options.shown = static_cast<std::size_t>(args.shown);
  options.progress = [&](double fraction, const std::string& what) { line.show(fraction, what); };
  std::vector<std::unique_ptr<CafxModel>> models;
  const auto experiments = study(tasks, store, own.context, options, models);
  if (experiments.empty())
    throw Error("{}: no model is trained yet; run the same command without --report-only", out.string());

  std::unique_ptr<CafxModel> pretrained;
  const StudyRun& first = experiments[0].runs[0];
  if (!first.pretraining.empty())
    pretrained = load_model(store.root() / first.pretraining / "pretrained.safetensors").model;
  PageInput page;
  page.title = args.quick ? "CAFx, a quick look" : "CAFx, the experiments of the paper";
  std::size_t n_runs = 0;
  for (const Experiment& x : experiments) n_runs += x.runs.size();
  page.lead = fmt::format(
      "{} from \u201cModeling Nonlinear Audio Effects with End-to-end Deep Neural Networks\u201d (Mart\u00ednez "
      "Ram\u00edrez and Reiss, ICASSP 2019), trained and measured by cafx {}. {}",
      experiments.size() == 1 ? "One experiment" : fmt::format("{} experiments", experiments.size()), kVersion,
      args.quick ? "Short trainings on twelve notes that ship with cafx, through circuit models: it shows that all "
                   "works and how it sounds, and is no replacement for the paper's data and training."
                 : fmt::format("{} training runs on the recordings of {}.", n_runs, data.filename().string()));
  const std::string how = args.quick ? "--quick" : "--sweep " + args.sweep;
  page.commands = {fmt::format("cafx reproduce paper {}{}{}", how, args.data.empty() ? "" : " --data " + args.data,
                               args.out.empty() ? "" : " --out " + args.out),
                   fmt::format("cafx eval {}/{} --hop {}", command.store, first.folder, args.hop),
                   fmt::format("cafx report {}/{}", command.store, first.folder)};
  std::string seeds, hashes;
  for (const Experiment& x : experiments) {
    for (const StudyRun& r : x.runs) {
      const std::string seed = std::to_string(r.config.train.seed);
      if ((", " + seeds + ",").find(", " + seed + ",") == std::string::npos)
        seeds += (seeds.empty() ? "" : ", ") + seed;
      if (hashes.size() < 600) hashes += (hashes.empty() ? "" : ", ") + r.folder;
    }
  }
  page.facts = {
      {"cafx", kVersion},
      {"device", fmt::format("{}, instruction set {}, {} threads", own.context.device == Device::kCpu ? "CPU" : "GPU",
                             to_string(own.context.isa), own.context.pool->n_threads())},
      {"recordings", data.filename().string()},
      {"seeds", seeds},
      {"runs", hashes + " (preset and hash of config and recordings)"},
      {"rendering", fmt::format("hop {} of measured and played notes", args.hop)}};
  page.spec = text;
  page.experiments = &experiments;
  page.claims = judge(experiments);
  page.hop = args.hop;
  std::vector<Figure> all;
  for (const Experiment& x : experiments) {
    page.figures_of[x.id()] = device_figures(x);
    for (const Figure& f : page.figures_of[x.id()]) all.push_back(f);
  }
  page.figures = learned_figures(experiments, models, pretrained.get(), first.own.notes[0].input, own.context);
  for (const Figure& f : page.figures) all.push_back(f);
  line.show(1.0, "drawing figures");
  const std::string missing = write_figures(all, out / "figures");
  write_text((out / "report.html").string(), page_html(page));
  write_text((out / "report.md").string(), tables_markdown(page));
  if (!missing.empty()) line.line("cafx: " + missing);
  for (const Claim& c : page.claims) {
    if (!args.quiet) line.line(fmt::format("{:<13} {}", to_string(c.verdict), c.text));
  }
  write_text("-", fmt::format("{0}/report.html\n{0}/report.md\n{0}/figures\n", out.string()));
  return 0;
}

}  // namespace

void add_reproduce(CLI::App& app, Run& run) {
  auto args = std::make_shared<Arguments>();
  CLI::App* top = app.add_subcommand(
      "reproduce", "the paper's experiments: trained, measured, drawn, on a page to look at and hear");
  top->require_subcommand(1);
  CLI::App* c = top->add_subcommand("paper", "CAFx, ICASSP 2019");
  c->add_flag("--quick", args->quick, "four experiments in minutes on a CPU, with the notes that ship");
  c->add_option("--data", args->data,
                "folder of IDMT-SMT-Audio-Effects, or one in its layout; the notes that ship by default")
      ->option_text("FOLDER");
  c->add_option("--sweep", args->sweep, "sweep file of the experiments, such as experiments/paper/quick.toml")
      ->option_text("FILE");
  c->add_option("--out", args->out, "folder for runs, figures and report; runs/NAME by default")->option_text("FOLDER");
  c->add_option("--hop", args->hop, "samples between frames of the measured renderings")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  c->add_option("--notes-shown", args->shown, "test notes to hear for each model")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  c->add_option("--device", args->device, "cpu, cuda:0,cuda:1, or auto")->option_text("NAMES");
  c->add_option("--isa", args->isa, "portable, avx2 or avx512")->option_text("NAME");
  c->add_option("--threads", args->threads, "threads of all runs together; 0: all")->check(CLI::Range(0, 1024));
  c->add_option("--slots", args->slots, "runs at a time on the CPU")->check(CLI::Range(0, 1024));
  c->add_flag("--plan", args->plan, "say what would run and how long it would take, and do nothing");
  c->add_flag("--report-only", args->report_only, "train nothing: measure and draw what is trained");
  c->add_flag("--quiet", args->quiet, "no plan, no progress");
  c->footer("Example:  cafx reproduce paper --quick\nKilled anywhere, the same command goes on where it was left.");
  top->footer("Example:  cafx reproduce paper --quick");
  c->callback([args, &run] { run = [args] { return reproduce(*args); }; });
}

}  // namespace cafx
