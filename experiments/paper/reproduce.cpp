#include "experiments/paper/reproduce.h"

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "experiments/paper/description.h"
#include "experiments/paper/figures.h"
#include "experiments/paper/page.h"
#include "experiments/reproduce.h"
#include "experiments/sweep_text.h"
#include "host/cli/common.h"
#include "host/cli/progress.h"
#include "host/cli/sweep.h"
#include "host/train/run_folder.h"
#include "kernels/base/error.h"
#include "kernels/device/memory.h"
#include "models/play/weights_file.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

constexpr int kPlanLines = 40;
constexpr std::size_t kOnOnePage = 12;  // most experiments whose sounds go on one page: 8 MB
constexpr int kNotes = 624;             // of each instrument, as the paper has them
constexpr int kEveningNotes = 208;

std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// Makes OUT/notes from Debian packages; existing files are kept.
fs::path make_notes(const ReproduceArguments& args, const fs::path& out) {
  const fs::path script = find_source("datasets/generate/make_notes.py", "give --data FOLDER");
  const fs::path folder = fs::absolute(out / "notes").lexically_normal();
  const int jobs = args.threads > 0 ? args.threads : available_threads();
  const int notes = args.notes > 0 ? args.notes : args.size == "evening" ? kEveningNotes : kNotes;
  if (args.plan) {
    if (fs::is_directory(folder)) return folder;
    throw Error(
        "{}: the notes are not made yet, and --plan makes nothing; make them, some minutes, by {} {} --notes {}",
        folder.string(), shell_quoted(script.string()), shell_quoted(folder.string()), notes);
  }
  const int rc = std::system(fmt::format("{} {} --notes {} --jobs {} >&2", shell_quoted(script.string()),
                                         shell_quoted(folder.string()), notes, jobs)
                                 .c_str());
  if (rc != 0)
    throw Error("{}: the notes were not made; its lines above say why, and calling it again goes on", script.string());
  return folder;
}

fs::path data_folder(const ReproduceArguments& args, const fs::path& out) {
  if (args.data == "notes" || (args.data.empty() && args.size == "evening")) return make_notes(args, out);
  if (args.notes > 0) throw Error("--notes {}: is for notes that are made, with --data notes", args.notes);
  if (args.data.empty()) return find_source("datasets/notes", "give --data FOLDER");
  if (!fs::is_directory(args.data))
    throw Error(
        "--data {}: is no folder; give the folder of IDMT-SMT-Audio-Effects, or the word notes to have a set made",
        args.data);
  return fs::absolute(args.data).lexically_normal();
}

Spec spec_of(const Part& part, const fs::path& out, const ReproduceArguments& args) {
  Spec spec = read_spec(out / (part.name + ".toml"));
  spec.sweep.store = (out / "runs").string();
  if (!args.device.empty()) spec.sweep.device = args.device;
  if (args.slots > 0) spec.sweep.slots = args.slots;
  if (args.threads > 0) spec.sweep.threads = args.threads;
  return spec;
}

// Runs every part that is not finished; kExitStopped where it was stopped, else 0. A failed run does not end the
// others.
int train(const std::vector<Part>& parts, const fs::path& out, const ReproduceArguments& args) {
  for (const Part& p : parts) {
    SweepOptions options;
    options.isa = args.isa;
    const SweepDisplay display{shell_word((out / (p.name + ".toml")).string()), false, args.quiet};
    if (run_sweep_shown(spec_of(p, out, args), options, display) != kExitStopped) continue;
    std::fprintf(stderr, "cafx: the same command goes on where this was left\n");
    return kExitStopped;
  }
  return 0;
}

// The tasks of all parts in one list; parts without a plan are left out and named.
std::vector<Task> tasks_of(const std::vector<Part>& parts, const Store& store, bool report_only, ProgressLine& line) {
  std::vector<Task> tasks;
  for (const Part& p : parts) {
    const fs::path planned = store.sweep(p.name) / "tasks.jsonl";
    if (report_only && !fs::exists(planned)) {
      line.line(
          fmt::format("cafx: {} is not trained in {}; the report goes without it", p.origin, store.root().string()));
      continue;
    }
    const int before = static_cast<int>(tasks.size());
    for (Task t : read_tasks(planned)) {
      if (t.parent >= 0) t.parent += before;
      tasks.push_back(std::move(t));
    }
  }
  return tasks;
}

// All sweep files one after the other: as they were trained, where they are trained already.
std::string specs_text(const std::vector<Part>& parts, const Store& store, bool report_only) {
  std::string text;
  for (const Part& p : parts) {
    const fs::path trained = store.sweep(p.name) / "sweep.toml";
    text += (text.empty() ? "" : "\n") + (report_only && fs::exists(trained) ? RunFolder::read(trained) : p.text);
  }
  return text;
}

void write_report(const PageInput& page, const std::vector<Figure>& figures, const fs::path& out, ProgressLine& line) {
  line.show(1.0, "drawing figures");
  const std::string missing = write_figures(figures, out / "figures");
  if (page.apart) fs::create_directories(out / "pages");
  for (const Experiment& x : *page.experiments) {
    if (page.apart) write_text((out / "pages" / (x.id() + ".html")).string(), experiment_html(page, x));
  }
  write_text((out / "report.html").string(), page_html(page));
  write_text((out / "report.md").string(), tables_markdown(page));
  if (!missing.empty()) line.warning("cafx: " + missing);
}

int report(const std::vector<Part>& parts, const fs::path& data, const fs::path& out, const ReproduceArguments& args) {
  DeviceOptions device;
  device.threads = args.threads;
  device.isa = args.isa;
  if (!args.device.empty()) device.device = args.device;
  const OwnedContext own(device);
  const Store store(out / "runs");
  ProgressLine line(args.quiet);
  const std::vector<Task> tasks = tasks_of(parts, store, args.report_only, line);
  StudyOptions options;
  options.data = data;
  options.unheard = data / "Unheard";
  options.takes = args.takes;
  options.cache = out / "measured";
  options.hop = args.hop;
  options.shown = static_cast<std::size_t>(args.shown);
  options.progress = [&](double fraction, const std::string& what) { line.show(fraction, what); };
  std::vector<std::unique_ptr<CafxModel>> models;
  const auto experiments = study(tasks, store, own.context, options, models);
  if (experiments.empty())
    throw Error("{}: no model is trained yet; run the same command without --report-only", out.string());

  PageInput page = describe_study(experiments, args, {data.filename().string(), store.root().string(), own.context});
  page.spec = specs_text(parts, store, args.report_only);
  page.apart = experiments.size() > kOnOnePage;
  std::vector<Figure> all;
  for (const Experiment& x : experiments) {
    page.figures_of[x.id()] = device_figures(x);
    for (const Figure& f : page.figures_of[x.id()]) all.push_back(f);
    for (Figure& f : note_figures(x)) all.push_back(std::move(f));
  }
  const StudyRun& first = experiments[0].runs[0];
  std::unique_ptr<CafxModel> pretrained;
  if (!first.pretraining.empty())
    pretrained =
        special<CafxModel>(load_model(store.root() / first.pretraining / "pretrained.safetensors"), first.pretraining);
  page.figures = learned_figures(experiments, models, pretrained.get(), first.own.notes[0].input, own.context);
  for (const Figure& f : page.figures) all.push_back(f);
  write_report(page, all, out, line);
  for (const Claim& c : page.claims) {
    if (!args.quiet) line.line(fmt::format("{:<13} {}", to_string(c.verdict), c.text));
  }
  write_text("-", fmt::format("{0}/report.html\n{0}/report.md\n{0}/figures\n", out.string()));
  return 0;
}

int reproduce(const ReproduceArguments& args) {
  std::vector<Part> parts = parts_of(args);
  const bool one = parts.size() == 1 && (args.size == "quick" || args.size == "evening" || !args.sweeps.empty());
  const fs::path out = !args.out.empty() ? fs::path(args.out) : fs::path("runs") / (one ? parts[0].name : "paper");
  std::error_code error;
  fs::create_directories(out, error);
  if (error) throw Error("{}: cannot be made: {}; choose another --out", out.string(), error.message());
  const fs::path data = data_folder(args, out);
  for (Part& p : parts) {
    p.text = with_data(p.text, data, args.settings);
    const fs::path file = out / (p.name + ".toml");
    if (!args.report_only || !fs::exists(file)) write_text(file.string(), p.text);
    if (!args.plan && (args.quiet || args.report_only)) continue;
    const Spec spec = spec_of(p, out, args);
    DataCatalogue catalogue(spec.sweep.store);
    SweepOptions options;
    options.isa = args.isa;
    write_text("-", plan_text(spec, plan_sweep(spec, catalogue, options), kPlanLines));
  }
  if (args.plan) return 0;
  if (!args.report_only) {
    if (const int rc = train(parts, out, args); rc != 0) return rc;
  }
  if (args.train_only) {
    write_text("-", (out / "runs").string() + "\n");
    return 0;
  }
  return report(parts, data, out, args);
}

}  // namespace

void add_reproduce_paper(CLI::App& top, Run& run) {
  auto args = std::make_shared<ReproduceArguments>();
  CLI::App* c = top.add_subcommand("paper", "CAFx, ICASSP 2019");
  CLI::Option* size =
      c->add_option("--size", args->size,
                    "quick: four models of the notes that ship, 24 epochs, minutes on a CPU; evening: 22 models "
                    "and eight more seeds, 2.4 million frames each, some hours on two cores; full: as published, "
                    "with --data, for a GPU")
          ->check(CLI::IsMember({"quick", "evening", "full"}));
  c->add_flag_callback(
       "--quick", [args] { args->size = "quick"; }, "short for --size quick")
      ->excludes(size);
  c->add_option(
       "--data", args->data,
       "folder of IDMT-SMT-Audio-Effects or one in its layout; the word notes: a set is made of Debian packages")
      ->option_text("FOLDER");
  c->add_option("--notes", args->notes,
                "of notes that are made: how many of each instrument; 208 for an evening, else 624")
      ->check(CLI::Range(3, kNotes));
  c->add_option("--takes", args->takes,
                "folder in the layout of --data with second takes of the wet notes: what the device itself differs by, "
                "the best figure that a model can have")
      ->option_text("FOLDER");
  CLI::Option* parts =
      c->add_option("--parts", args->parts, "of the whole: what of it")->delimiter(',')->capture_default_str();
  CLI::Option* presets = c->add_option("--presets", args->presets, "of the whole: the 22 models are trained with each")
                             ->delimiter(',')
                             ->capture_default_str();
  c->add_option("--sweep", args->sweeps,
                "sweep file of the experiments, such as experiments/paper/quick.toml; again for each of several, which "
                "are then told in one report")
      ->allow_extra_args(false)
      ->option_text("FILE");
  c->add_option("--set", args->settings,
                "a setting in place of the sweep files' own, such as train.epochs=4; axes stay as they are")
      ->allow_extra_args(false)
      ->option_text("KEY=VALUE");
  c->add_option("--out", args->out, "folder for runs, figures and report; runs/NAME by default")->option_text("FOLDER");
  c->add_option("--hop", args->hop, "samples between frames of the measured renderings")
      ->check(CLI::Range(1, kLargestHop))
      ->capture_default_str();
  c->add_option("--notes-shown", args->shown, "test notes to hear for each model")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  c->add_option("--device", args->device, "cpu, cuda:0,cuda:1, or auto")->option_text("NAMES");
  c->add_option("--isa", args->isa, "portable, avx2 or avx512")->option_text("NAME");
  c->add_option("--threads", args->threads, "threads of all runs together; 0: all")->check(CLI::Range(0, 1024));
  c->add_option("--slots", args->slots, "runs at a time on the CPU")->check(CLI::Range(0, 1024));
  c->add_flag("--plan", args->plan, "say what would run and how long it would take, and train nothing");
  CLI::Option* train_only =
      c->add_flag("--train-only", args->train_only, "train and stop: OUT can be measured and drawn on another machine");
  c->add_flag("--report-only", args->report_only, "train nothing: measure and draw what is trained, here or elsewhere")
      ->excludes(train_only);
  c->add_flag("--quiet", args->quiet, "no plan, no progress");
  c->footer(
      "Example:  cafx reproduce paper --size quick\n          cafx reproduce paper --size evening\n          cafx "
      "reproduce paper --data IDMT-SMT-Audio-Effects "
      "--plan\nKilled anywhere, the same command goes on where it was left.");
  c->callback([args, parts, presets, &run] {
    args->parts_given = parts->count() > 0;
    args->presets_given = presets->count() > 0;
    run = [args] { return reproduce(*args); };
  });
}

}  // namespace cafx
