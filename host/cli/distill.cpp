// `cafx distill`: a short form of `cafx train` for a small model whose targets a teacher makes, or recordings.
#include "host/cli/common.h"
#include "host/train/run_folder.h"
#include "host/train/student_keys.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr const char* kPreset = "lstm";

struct DistillArguments {
  std::string teacher;
  std::vector<std::string> recordings;
  int rate = 0;
  TrainArguments train;
};

// --preset, --config, --set, --rate, teacher and recordings: later ones win; the teacher's run says which recordings
// there are and how they are split, where nothing else does.
RunConfig resolve(const DistillArguments& args) {
  if (!args.teacher.empty() && !std::filesystem::exists(args.teacher)) {
    throw Error("{}: no such file or folder; a teacher is a run of 'cafx train', or a weights file", args.teacher);
  }
  const ConfigOptions& given = args.train.config;
  ConfigSource source;
  source.preset = given.preset;
  source.where = given.file;
  if (!given.file.empty()) source.toml = modern_toml(RunFolder::read(given.file), given.file);
  for (const std::string& setting : given.settings) {
    const auto [key, value] = split_setting(setting);
    source.settings.push_back(modern_key(key) + "=" + value);
  }
  if (names_no_model(source)) source.preset = kPreset;
  if (!args.teacher.empty() && std::filesystem::is_directory(args.teacher)) {
    source.data = read_run_config(args.teacher).data;
  }
  RunConfig config = make_config(source);
  if (!args.teacher.empty()) config.teacher.model = args.teacher;
  if (!args.recordings.empty()) {
    set_recordings(config.data, args.recordings[0], args.recordings.size() > 1 ? args.recordings[1] : "",
                   source.settings);
    Fields fields = describe(config);
    for (const std::string& setting : source.settings) {
      const auto [key, value] = split_setting(setting);
      if (key.rfind("data.", 0) == 0) set_field(fields, key, value, "--set");
    }
  }
  if (args.rate > 0) config.model->sample_rate = args.rate;
  const DataConfig& d = config.data;
  if (!d.path.empty() || !d.dry.empty()) return config;
  if (config.teacher.model.empty()) {
    throw Error(
        "nothing to learn from: give a trained run, as 'cafx distill runs/ds1', or recordings, as 'cafx distill "
        "--data DRY WET'");
  }
  throw Error("{}: is a weights file, so the dry notes are not known; give them with --data DRY WET",
              config.teacher.model);
}

}  // namespace

void add_distill(CLI::App& app, Run& run) {
  auto args = std::make_shared<DistillArguments>();
  TrainArguments& train = args->train;
  CLI::App* c = app.add_subcommand(
      "distill", "train a small model, such as an LSTM or a WaveNet, on what a trained model makes of the dry notes");
  c->add_option("teacher", args->teacher, "folder of a run of 'cafx train', or a weights file; it makes the targets");
  c->add_option("--data", args->recordings,
                "recordings, as of 'cafx train': DRY WET, or an IDMT folder; without a teacher they are the targets")
      ->expected(1, 2)
      ->option_text("DRY [WET]");
  c->add_option("--preset", train.config.preset,
                "the small model, lstm by default; lstm and wavenet, also with -lite, -feather or -nano, become a .nam")
      ->option_text("NAME");
  c->add_option("--rate", args->rate, "rate it works at, as model.sample_rate; NAM hosts expect 48000")
      ->check(CLI::Range(1000, 384000))
      ->option_text("HZ");
  c->add_option("--config", train.config.file, "TOML file with [model], [teacher], [data], [train]")
      ->option_text("FILE");
  c->add_option("--set", train.config.settings, "one setting, such as train.epochs=500; may be repeated")
      ->allow_extra_args(false)
      ->option_text("KEY=VALUE");
  c->add_option("--out", train.out, "folder of the run; runs/PRESET-HASH by default")->option_text("FOLDER");
  train.device.add_to(*c);
  c->add_option("--gpus", train.gpus, "GPUs that share every batch: a number, all, or a list such as 0,2")
      ->option_text("N|all|LIST");
  c->add_flag("--json", train.json, "one JSON object with the result on standard output");
  c->add_flag("--quiet", train.quiet, "no progress");
  RunConfig defaults = run_preset(kPreset);
  c->footer(
      "Examples:  cafx distill runs/ds1 --preset wavenet --out runs/ds1-student\n"
      "           cafx distill runs/ds1 --rate 48000 --out runs/ds1-48k\n"
      "           cafx distill --data dry.wav wet.wav --out runs/pedal-student\n"
      "           cafx export runs/ds1-student -o ds1.nam\n\n"
      "It is 'cafx train' with these defaults and --set teacher.model=TEACHER. Settings (of the preset '" +
      defaults.preset + "'):\n" + help_text(describe(defaults)));
  c->callback([args, &run] { run = [args] { return train_run(resolve(*args), args->train); }; });
}

}  // namespace cafx
