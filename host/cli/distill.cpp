#include "host/distill/distill.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "host/cli/common.h"
#include "host/cli/progress.h"
#include "host/distill/student_file.h"
#include "host/export/model_file.h"
#include "host/train/run_folder.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr int kProbeRate = 16000;  // Hz, to look at the recordings before their own rate is known

struct Arguments {
  std::string teacher, preset, file, out;
  std::vector<std::string> recordings, settings;
  int rate = 0;
  bool json = false, quiet = false;
  DeviceOptions device;
};

class DistillDisplay : public DistillObserver {
 public:
  explicit DistillDisplay(bool quiet) : line_(quiet) {}
  void message(const std::string& text) override { line_.line(text); }
  void progress(const DistillProgress& p) override {
    std::string text = fmt::format("epoch {}/{}  {:.0f} times real time  loss {:.5f}", p.epoch, p.epochs,
                                   p.seconds_per_second, p.loss);
    if (std::isfinite(p.validation)) text += fmt::format("  val ESR {:.5f}", p.validation);
    if (std::isfinite(p.best)) text += fmt::format("  best {:.5f}", p.best);
    line_.show(p.fraction, text + "  left " + time_text(p.seconds_left));
  }

 private:
  ProgressLine line_;
};

// --preset, --config, --set, --rate, teacher and recordings: later ones win; the teacher's run says which recordings there
// are and how they are split, where nothing else does.
DistillConfig resolve(const Arguments& args) {
  std::string name = args.preset, text;
  if (!args.file.empty()) {
    text = RunFolder::read(args.file);
    DistillConfig probe;
    Fields fields = describe(probe);
    read_toml(fields, text, args.file);
    if (name.empty()) name = probe.preset;
  }
  if (!args.teacher.empty() && !std::filesystem::exists(args.teacher)) {
    throw Error("{}: no such file or folder; a teacher is a run of 'cafx train', or a weights file", args.teacher);
  }
  DistillConfig config = distill_preset(name.empty() ? DistillConfig().preset : name);
  const bool has_run = !args.teacher.empty() && std::filesystem::is_directory(args.teacher);
  if (has_run) config.data = read_run_config(args.teacher).data;
  Fields fields = describe(config);
  if (!args.file.empty()) read_toml(fields, text, args.file);
  if (!name.empty()) config.preset = name;
  if (!args.teacher.empty()) config.teacher.model = args.teacher;
  if (!args.recordings.empty()) {
    set_recordings(config.data, args.recordings[0], args.recordings.size() > 1 ? args.recordings[1] : "");
  }
  for (const std::string& setting : args.settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos) {
      throw Error("--set {}: expected KEY=VALUE, such as --set train.epochs=500", setting);
    }
    set_field(fields, setting.substr(0, equals), setting.substr(equals + 1), "--set");
  }
  if (args.rate > 0) config.student.sample_rate = args.rate;
  const DataConfig& d = config.data;
  if (config.teacher.model.empty() && d.path.empty() && d.dry.empty()) {
    throw Error(
        "nothing to learn from: give a trained run, as 'cafx distill runs/ds1', or recordings, as 'cafx distill "
        "--data DRY WET'");
  }
  if (!config.teacher.model.empty() && d.path.empty() && d.dry.empty()) {
    throw Error("{}: is a weights file, so the dry notes are not known; give them with --data DRY WET",
                config.teacher.model);
  }
  // The folder may be resumed from anywhere.
  for (std::string* path : {&config.data.path, &config.data.dry, &config.data.wet, &config.teacher.model}) {
    if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal().string();
  }
  return config;
}

// Where nobody asked for a rate: the teacher's, or that of the first dry file.
void resolve_rate(DistillConfig& config) {
  if (config.student.sample_rate > 0) return;
  if (!config.teacher.model.empty()) {
    config.student.sample_rate = load_model(config.teacher.model).model->geometry().sample_rate;
    return;
  }
  const Dataset found = inspect_dataset(config.data, kProbeRate);
  if (found.pairs.empty()) throw Error("no pair of dry and wet recordings was found; 'cafx data check' says why");
  config.student.sample_rate = found.pairs[0].dry_rate;
}

int report(const DistillOutcome& outcome, bool json) {
  const std::string folder = outcome.folder.string();
  if (!outcome.finished) {
    std::fprintf(stderr, "cafx: stopped and saved; go on with: cafx resume %s\n", folder.c_str());
    return kExitStopped;
  }
  if (json) {
    auto result = nlohmann::ordered_json::parse(RunFolder::read(outcome.folder / "result.json"));
    result["folder"] = folder;
    result["seconds"] = outcome.seconds;
    write_text("-", result.dump() + "\n");
    return 0;
  }
  write_text("-",
             fmt::format("{} epochs in {}; what was lost on the way:\n{}\nthe student: {}/best.safetensors; for NAM "
                         "hosts: cafx export {} -o {}.nam\n",
                         outcome.epochs, time_text(outcome.seconds), to_text(outcome.quality), folder, folder, folder));
  return 0;
}

DistillOptions options_of(const std::string& folder, const DeviceOptions& device, DistillObserver& observer) {
  DistillOptions options;
  options.folder = folder;
  options.threads = device.threads;
  options.isa = device.isa;
  options.stop = stop_when_asked();
  options.observer = &observer;
  options.checkpoint_seconds = checkpoint_seconds();
  return options;
}

int distill_command(Arguments args) {
  refuse_gpu(args.device, "students");
  DistillConfig config = resolve(args);
  check(config, args.file.empty() ? "config" : args.file);
  if (!config.teacher.model.empty() && load_model(config.teacher.model).model->form() != kSupervised) {
    throw Error(
        "{}: is a pretrained front end, which renders no effect; a teacher has gone through its supervised training",
        config.teacher.model);
  }
  resolve_rate(config);
  const Dataset data = load_dataset(config.data, config.student.sample_rate);
  const Split split = split_dataset(data, config.data);
  DistillDisplay display(args.quiet);
  tell([&](const std::string& line) { display.message(line); }, data, split);
  if (args.out.empty()) {
    const std::string teacher = config.teacher.model.empty() ? "" : weights_identity(weights_of_teacher(config));
    args.out = fmt::format("runs/{}-{}", config.preset, distill_hash(config, content_hash(data), teacher));
  }
  return report(distill(config, data, split, options_of(args.out, args.device, display)), args.json);
}

}  // namespace

int resume_student(const std::string& folder, const DeviceOptions& device, bool json, bool quiet) {
  DistillDisplay display(quiet);
  return report(resume_distill(options_of(folder, device, display)), json);
}

void add_distill(CLI::App& app, Run& run) {
  auto args = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand(
      "distill", "train a small student (LSTM or WaveNet, as NAM's) from a trained model or from recordings");
  c->add_option("teacher", args->teacher, "folder of a run of 'cafx train', or a weights file; it makes the targets");
  c->add_option("--data", args->recordings,
                "recordings, as of 'cafx train': DRY WET, or an IDMT folder; without a teacher they are the targets")
      ->expected(1, 2)
      ->option_text("DRY [WET]");
  c->add_option("--preset", args->preset, "the student: lstm or wavenet, or one of them with -lite, -feather, -nano")
      ->option_text("NAME");
  c->add_option("--rate", args->rate, "rate the student works at, as student.sample_rate; NAM hosts expect 48000")
      ->check(CLI::Range(1000, 384000))
      ->option_text("HZ");
  c->add_option("--config", args->file, "TOML file with [student], [teacher], [data], [train]")->option_text("FILE");
  c->add_option("--set", args->settings, "one setting, such as train.epochs=500; may be repeated")
      ->option_text("KEY=VALUE");
  c->add_option("--out", args->out, "folder of the run; runs/PRESET-HASH by default")->option_text("FOLDER");
  args->device.add_to(*c);
  c->add_flag("--json", args->json, "one JSON object with the result on standard output");
  c->add_flag("--quiet", args->quiet, "no progress");
  DistillConfig defaults = distill_preset(DistillConfig().preset);
  c->footer(
      "Examples:  cafx distill runs/ds1 --preset wavenet --out runs/ds1-student\n"
      "           cafx distill runs/ds1 --rate 48000 --out runs/ds1-48k\n"
      "           cafx distill --data dry.wav wet.wav --out runs/pedal-student\n"
      "           cafx export runs/ds1-student -o ds1.nam\n\n"
      "Settings (of the preset '" +
      defaults.preset + "'):\n" + help_text(describe(defaults)));
  c->callback([args, &run] { run = [args] { return distill_command(*args); }; });
}

}  // namespace cafx
