#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "experiments/paper/figures.h"
#include "experiments/paper/page.h"
#include "experiments/paper/specs.h"
#include "host/cli/common.h"
#include "host/cli/progress.h"
#include "host/cli/sweep.h"
#include "host/sweep/plan.h"
#include "host/train/run_folder.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/device/memory.h"
#include "models/play/weights_file.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kOnOnePage = 12;  // experiments, with their sounds: 8 MB

struct Arguments {
  std::string data, out, device, isa;
  std::vector<std::string> sweeps, settings;
  std::vector<std::string> presets = {"paper", "default"},
                           parts = {"models", "form", "pretraining", "regularisers", "levels", "split", "both"};
  int hop = 64, threads = 0, slots = 0, shown = 1, notes = 624;
  bool quick = false, plan = false, train_only = false, report_only = false, quiet = false;
};

std::string toml_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// A value as TOML has it: numbers, lists and true as they are, all else as a string.
std::string toml_value(const std::string& text) {
  const bool bare = text == "true" || text == "false" || (!text.empty() && (text[0] == '[' || text[0] == '"'));
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return bare || (!text.empty() && *end == '\0') ? text : toml_text(text);
}

// The spec with a setting of its base replaced; `key` is "data.path", `value` is TOML.
std::string with_value(const std::string& spec, const std::string& key, const std::string& value) {
  const std::size_t dot = key.find('.');
  const std::string table = "[" + key.substr(0, dot) + "]", name = key.substr(dot + 1), line = name + " = " + value;
  std::istringstream in(spec);
  std::string out, text;
  bool inside = false, done = false;
  while (std::getline(in, text)) {
    const bool opens = !text.empty() && text[0] == '[';
    if (opens) inside = text.rfind(table, 0) == 0;
    if (inside && (text.rfind(name + " =", 0) == 0 || text.rfind(name + "=", 0) == 0)) continue;
    if (opens && !inside && !done && text.rfind("[axes]", 0) == 0) {
      out += table + "\n" + line + "\n\n";
      done = true;
    }
    out += text + "\n";
    if (opens && inside && !done) {
      out += line + "\n";
      done = true;
    }
  }
  if (!done) out += "\n" + table + "\n" + line + "\n";
  return out;
}

// The spec with its recordings replaced by others, and with the settings of --set.
std::string with_data(std::string spec, const fs::path& folder, const std::vector<std::string>& settings) {
  if (spec.find("\npath = ") == std::string::npos)
    throw Error("the sweep file has no line 'path = ...' under [data], so other recordings cannot be put in");
  spec = with_value(spec, "data.path", toml_text(folder.string()));
  for (const std::string& s : settings) {
    const std::size_t equals = s.find('='), dot = s.find('.');
    if (equals == std::string::npos || dot == std::string::npos || dot > equals)
      throw Error("--set {}: expected TABLE.KEY=VALUE, such as train.epochs=4", s);
    spec = with_value(spec, s.substr(0, equals), toml_value(s.substr(equals + 1)));
  }
  return spec;
}

// Where the binary was built, and where it is called from.
fs::path source_file(const std::string& name, const std::string& cure) {
  for (const fs::path& root : {fs::path("."), fs::path(kSourceFolder)}) {
    if (fs::exists(root / name)) return fs::absolute(root / name).lexically_normal();
  }
  throw Error("{} is not here; call cafx in its source folder, or {}", name, cure);
}

std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// Makes OUT/notes of Debian packages; what is there already is kept.
fs::path make_notes(const Arguments& args, const fs::path& out) {
  const fs::path script = source_file("datasets/generate/make_notes.py", "give --data FOLDER");
  const fs::path folder = fs::absolute(out / "notes").lexically_normal();
  const int jobs = args.threads > 0 ? args.threads : available_threads();
  const int rc = std::system(fmt::format("{} {} --notes {} --jobs {} >&2", shell_quoted(script.string()),
                                         shell_quoted(folder.string()), args.notes, jobs)
                                 .c_str());
  if (rc != 0)
    throw Error("{}: the notes were not made; its lines above say why, and calling it again goes on", script.string());
  return folder;
}

fs::path data_folder(const Arguments& args, const fs::path& out) {
  if (args.data == "notes") return make_notes(args, out);
  if (args.data.empty()) return source_file("datasets/notes", "give --data FOLDER");
  if (!fs::is_directory(args.data))
    throw Error(
        "--data {}: is no folder; give the folder of IDMT-SMT-Audio-Effects, or the word notes to have a set made",
        args.data);
  return fs::absolute(args.data).lexically_normal();
}

// What is trained: a sweep file as text, and what it is called in messages.
struct Part {
  std::string text, origin, name;
};

// The sweep file with another preset and a name that says so.
std::string with_preset(std::string spec, const std::string& preset) {
  for (const auto& [from, to] : {std::pair(std::string("preset = \"paper\""), "preset = \"" + preset + "\""),
                                 std::pair(std::string("name = \"paper\""), "name = \"" + preset + "\"")}) {
    const std::size_t at = spec.find(from);
    CAFX_CHECK(at != std::string::npos, from);
    spec.replace(at, from.size(), to);
  }
  return spec;
}

std::vector<Part> parts_of(const Arguments& args) {
  std::vector<Part> parts;
  for (const std::string& file : args.sweeps) parts.push_back({RunFolder::read(file), file, ""});
  if (!parts.empty()) return parts;
  if (args.quick) return {{kPaperQuick, "experiments/paper/quick.toml", ""}};
  if (args.data.empty()) {
    throw Error(
        "choose how much: --quick (minutes on a CPU, with the notes that ship), --data FOLDER (all of "
        "IDMT-SMT-Audio-Effects), --data "
        "notes (a set made of Debian packages), or --sweep FILE");
  }
  for (const std::string& wanted : args.parts) {
    const auto* found = std::find_if(std::begin(kPaperParts), std::end(kPaperParts),
                                     [&](const PaperPart& p) { return wanted == p.name; });
    if (found == std::end(kPaperParts)) {
      std::string names;
      for (const PaperPart& p : kPaperParts) names += (names.empty() ? "" : ", ") + std::string(p.name);
      throw Error("--parts {}: there is no such part; there are {}", wanted, names);
    }
    if (wanted != "models") {
      parts.push_back({found->text, found->file, ""});
      continue;
    }
    for (const std::string& preset : args.presets) parts.push_back({with_preset(found->text, preset), found->file, ""});
  }
  return parts;
}

int reproduce(const Arguments& args) {
  std::vector<Part> parts = parts_of(args);
  for (Part& p : parts) p.name = parse_spec(p.text, p.origin).name;
  const bool one = parts.size() == 1 && (args.quick || !args.sweeps.empty());
  const fs::path out = !args.out.empty() ? fs::path(args.out) : fs::path("runs") / (one ? parts[0].name : "paper");
  std::error_code error;
  fs::create_directories(out, error);
  if (error) throw Error("{}: cannot be made: {}; choose another --out", out.string(), error.message());
  const fs::path data = data_folder(args, out);

  SweepCommand command;
  command.store = (out / "runs").string();
  command.device = args.device;
  command.isa = args.isa;
  command.threads = args.threads;
  command.slots = args.slots;
  command.quiet = args.quiet;
  for (Part& p : parts) {
    p.text = with_data(p.text, data, args.settings);
    command.file = (out / (p.name + ".toml")).string();
    write_text(command.file, p.text);
    if (args.plan || (!args.quiet && !args.report_only)) {
      if (const int rc = sweep_plan(command); rc != 0) return rc;
    }
  }
  if (args.plan) return 0;
  for (const Part& p : parts) {
    command.file = (out / (p.name + ".toml")).string();
    if (args.report_only) continue;
    if (const int rc = sweep_run(command); rc == kExitStopped) {
      std::fprintf(stderr, "cafx: the same command goes on where this was left\n");
      return rc;
    }
  }
  if (args.train_only) {
    write_text("-", command.store + "\n");
    return 0;
  }

  DeviceOptions device;
  device.threads = args.threads;
  device.isa = args.isa;
  if (!args.device.empty()) device.device = args.device;
  const OwnedContext own(device);
  const Store store(command.store);
  std::vector<Task> tasks;
  ProgressLine line(args.quiet);
  for (const Part& p : parts) {
    if (args.report_only && !fs::exists(store.sweep(p.name) / "tasks.jsonl")) {
      line.line(fmt::format("cafx: {} is not trained in {}; the report goes without it", p.origin, command.store));
      continue;
    }
    const int before = static_cast<int>(tasks.size());
    for (Task t : read_tasks(store.sweep(p.name) / "tasks.jsonl")) {
      if (t.parent >= 0) t.parent += before;
      tasks.push_back(std::move(t));
    }
  }
  StudyOptions options;
  options.data = data;
  options.unheard = data / "Unheard";
  options.cache = out / "measured";
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
    pretrained =
        special<CafxModel>(load_model(store.root() / first.pretraining / "pretrained.safetensors"), first.pretraining);
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
  std::string how = args.quick ? " --quick" : "";
  for (const std::string& file : args.sweeps) how += " --sweep " + file;
  const Arguments usual;
  if (!args.quick && args.sweeps.empty()) {
    if (args.parts != usual.parts) how += fmt::format(" --parts {}", fmt::join(args.parts, ","));
    if (args.presets != usual.presets) how += fmt::format(" --presets {}", fmt::join(args.presets, ","));
  }
  for (const std::string& setting : args.settings) how += " --set " + setting;
  page.commands = {fmt::format("cafx reproduce paper{}{}{}", how, args.data.empty() ? "" : " --data " + args.data,
                               args.out.empty() ? "" : " --out " + args.out),
                   fmt::format("cafx eval {}/{} --hop {}", command.store, first.folder, args.hop),
                   fmt::format("cafx report {}/{}", command.store, first.folder)};
  std::string seeds, hashes, trained_on;
  for (const Experiment& x : experiments) {
    for (const StudyRun& r : x.runs) {
      if (!r.device.empty() && (", " + trained_on + ",").find(", " + r.device + ",") == std::string::npos)
        trained_on += (trained_on.empty() ? "" : ", ") + r.device;
      const std::string seed = std::to_string(r.config.train.seed);
      if ((", " + seeds + ",").find(", " + seed + ",") == std::string::npos)
        seeds += (seeds.empty() ? "" : ", ") + seed;
      if (hashes.size() < 600) hashes += (hashes.empty() ? "" : ", ") + r.folder;
    }
  }
  // What the whole would cost at the speed of these runs, by preset and device.
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
        "h "
        "for 100 epochs of 22 models and 3 seeds, one after the other",
        cost.empty() ? "" : "; ", what, per_second, kEpoch / per_second, 100.0 * 66.0 * kEpoch / per_second / 3600.0);
  }
  page.facts = {{"cafx", kVersion},
                {"trained on", trained_on},
                {"measured on",
                 fmt::format("{}, instruction set {}, {} threads", own.context.device == Device::kCpu ? "CPU" : "GPU",
                             to_string(own.context.isa), own.context.pool->n_threads())},
                {"cost", cost},
                {"recordings", data.filename().string()},
                {"seeds", seeds},
                {"runs", hashes + " (preset and hash of config and recordings)"},
                {"rendering", fmt::format("hop {} of measured and played notes", args.hop)}};
  // As it was trained, where it is trained already: other settings of this call change nothing then.
  for (const Part& p : parts) {
    const fs::path trained = store.sweep(p.name) / "sweep.toml";
    page.spec +=
        (page.spec.empty() ? "" : "\n") + (args.report_only && fs::exists(trained) ? RunFolder::read(trained) : p.text);
  }
  page.experiments = &experiments;
  page.claims = judge(experiments);
  page.hop = args.hop;
  std::vector<Figure> all;
  for (const Experiment& x : experiments) {
    page.figures_of[x.id()] = device_figures(x);
    for (const Figure& f : page.figures_of[x.id()]) all.push_back(f);
    for (Figure& f : note_figures(x)) all.push_back(std::move(f));
  }
  page.figures = learned_figures(experiments, models, pretrained.get(), first.own.notes[0].input, own.context);
  for (const Figure& f : page.figures) all.push_back(f);
  line.show(1.0, "drawing figures");
  const std::string missing = write_figures(all, out / "figures");
  page.apart = experiments.size() > kOnOnePage;
  if (page.apart) fs::create_directories(out / "pages");
  for (const Experiment& x : experiments) {
    if (page.apart) write_text((out / "pages" / (x.id() + ".html")).string(), experiment_html(page, x));
  }
  write_text((out / "report.html").string(), page_html(page));
  write_text((out / "report.md").string(), tables_markdown(page));
  if (!missing.empty()) line.warning("cafx: " + missing);
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
  c->add_option(
       "--data", args->data,
       "folder of IDMT-SMT-Audio-Effects or one in its layout; the word notes: a set is made of Debian packages")
      ->option_text("FOLDER");
  c->add_option("--notes", args->notes, "with --data notes: how many of each instrument")
      ->check(CLI::Range(3, 624))
      ->capture_default_str();
  c->add_option("--parts", args->parts, "of the whole: what of it")->delimiter(',')->capture_default_str();
  c->add_option("--presets", args->presets, "of the whole: the 22 models are trained with each")
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
  CLI::Option* train_only =
      c->add_flag("--train-only", args->train_only, "train and stop: OUT can be measured and drawn on another machine");
  c->add_flag("--report-only", args->report_only, "train nothing: measure and draw what is trained, here or elsewhere")
      ->excludes(train_only);
  c->add_flag("--quiet", args->quiet, "no plan, no progress");
  c->footer(
      "Example:  cafx reproduce paper --quick\n          cafx reproduce paper --data IDMT-SMT-Audio-Effects "
      "--plan\nKilled anywhere, the same command goes on where it was left.");
  top->footer("Example:  cafx reproduce paper --quick");
  c->callback([args, &run] { run = [args] { return reproduce(*args); }; });
}

}  // namespace cafx
