#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "host/cli/common.h"
#include "host/cli/progress.h"
#include "host/cli/train_command.h"
#include "host/train/gpu_team.h"
#include "host/train/memory_plan.h"
#include "host/train/quality.h"
#include "host/train/results.h"
#include "host/train/run_folder.h"
#include "host/train/targets.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/device/memory.h"
#include "models/play/weights_file.h"
#include "models/registry.h"

namespace cafx {

namespace {

// --batch N, or auto: the largest that fits the GPU; on a CPU the preset's, since a larger one is not faster there.
void set_batch(RunConfig& config, const TrainArguments& args, const Dataset& data, const Split& split) {
  if (args.batch.empty()) return;
  Fields fields = describe(config);
  for (const std::string& s : args.config.settings) {
    if (s.rfind("train.batch=", 0) != 0) continue;
    throw Error("--batch {}: is short for train.batch, which --set sets as well; leave one of them out", args.batch);
  }
  if (args.batch != "auto") return set_field(fields, "train.batch", args.batch, "--batch");
  const std::vector<int> gpus =
      choose_gpus(args.device.device, args.gpus.empty() ? config.train.gpus : args.gpus, !args.gpus.empty());
  const auto n_gpus = static_cast<int>(std::max<std::size_t>(1, gpus.size()));
  const RunSize size = size_of_run(config, data, split);
  int most = 0;
  for (int i = 0; i < n_gpus; ++i) {  // the GPU with the least memory decides
    DeviceOptions device = args.device;
    if (!gpus.empty()) device.device = fmt::format("cuda:{}", gpus[static_cast<std::size_t>(i)]);
    const OwnedContext own(device);
    if (own.context.device == Device::kCpu) return;
    const int here = largest_batch(own.context, config, place_samples(config), size, n_gpus);
    most = i == 0 ? here : std::min(most, here);
  }
  if (most == 0) throw Error("--batch auto: not even one frame fits into the GPU's free memory; use --device cpu");
  config.train.batch = most * n_gpus;
}

bool is_in(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string sizes_of_types_without(const std::string& preset) {
  std::string text;
  for (const ModelType& type : model_types()) {
    if (is_in(type.presets(), preset)) continue;
    text += fmt::format("\nSizes of the type {} (of its preset '{}'):\n", type.name, type.presets().front());
    text += help_text(prefixed("model", type.preset(type.presets().front())->fields()));
  }
  return text;
}

}  // namespace

TrainOptions options_of(const TrainArguments& args, const std::filesystem::path& folder, TrainObserver& observer) {
  TrainOptions options;
  options.folder = folder;
  options.threads = args.device.threads;
  options.isa = args.device.isa;
  options.device = args.device.device;
  options.gpus = args.gpus;
  options.stop = stop_when_asked();
  options.observer = &observer;
  options.checkpoint_seconds = checkpoint_seconds();
  if (!args.chosen.preset.empty()) options.chosen = args.chosen.json().dump();
  return options;
}

std::optional<Evaluation> evaluate_test(const std::filesystem::path& folder, const RunConfig& config,
                                        const Dataset& data, const Split& split, const TrainArguments& args) {
  if (config.train.epochs == 0 || split.test.empty()) return {};
  const ModelFile file = load_model(folder);
  DeviceOptions device = args.device;
  const std::vector<int> gpus =
      choose_gpus(device.device, args.gpus.empty() ? config.train.gpus : args.gpus, !args.gpus.empty());
  if (!gpus.empty()) device.device = fmt::format("cuda:{}", gpus[0]);
  device.precision.clear();  // weights are fp32, and so are files made from them
  const OwnedContext own(device);
  const Evaluation e = evaluate(*file.model, own.context, data, split.test, "test", file.model->geometry().hop);
  write_text((folder / "eval.json").string(), to_json(e));
  return e;
}

namespace {

// After training: the test notes, where there are any, and the closing words.
int finish(const TrainOutcome& outcome, const RunConfig& config, const Dataset& data, const Split& split,
           const TrainArguments& args) {
  const std::string folder = outcome.folder.string();
  if (!outcome.finished) {
    std::fprintf(stderr, "cafx: stopped and saved; go on with: cafx resume %s\n", folder.c_str());
    return kExitStopped;
  }
  auto result = nlohmann::ordered_json::parse(RunFolder::read(outcome.folder / "result.json"));
  const std::optional<Evaluation> test = evaluate_test(outcome.folder, config, data, split, args);
  if (args.json) {
    if (test) result["test"] = nlohmann::ordered_json::parse(to_json(*test));
    result["folder"] = folder;
    result["seconds"] = outcome.seconds;
    write_table("-", result.dump() + "\n");
    return 0;
  }
  const std::string reason = cannot_judge(outcome.folder, "test");
  if (test && reason.empty()) write_text("-", to_text(*test));
  if (!reason.empty()) write_text("-", fmt::format("no result on the test part: it {}\n", reason));
  if (result.contains("quality")) {
    const char* what = config.teacher.model.empty() ? "the error of whole notes" : "what was lost on the way";
    write_text("-", fmt::format("{} epochs in {}; {}:\n{}", outcome.epochs, time_text(outcome.seconds), what,
                                quality_text(result["quality"].dump())));
  }
  write_text("-", fmt::format("\nthe model: {}/best.safetensors\n", folder));
  return 0;
}

int resume_command(const TrainArguments& args) {
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::path(args.out) / kSeedsFile, ignored)) return resume_seeds(args);
  const RunConfig config = read_run_config(args.out);
  TrainDisplay display(args.quiet);
  Dataset data = load_dataset(data_of(config), config.model->sample_rate);
  const Split split = split_dataset(data, config.data);
  TrainOptions options = options_of(args, args.out, display);
  options.precision = args.device.precision;
  return finish(resume(config, data, split, options), config, data, split, args);
}

void add_common(CLI::App& app, TrainArguments& args) {
  args.device.add_to(app);
  app.add_option("--gpus", args.gpus, "GPUs that share every batch: a number, all, or a list such as 0,2")
      ->option_text("N|all|LIST");
  app.add_flag("--json", args.json, "one JSON object with the result on standard output");
  app.add_flag("--quiet", args.quiet, "no progress");
}

}  // namespace

int train_run(RunConfig config, const TrainArguments& args) {
  if (!args.gpus.empty()) config.train.gpus = args.gpus;
  Fields fields = describe(config);
  if (!args.device.precision.empty()) set_field(fields, "train.precision", args.device.precision, "--precision");
  make_paths_absolute(fields);  // the folder may be resumed from anywhere
  choose_knobs(config);
  check_teacher(config);
  choose_rate(config);
  check(config, args.config.file.empty() ? "config" : args.config.file);
  // What does not fit is refused at once.
  check_device(args.device.device);
  if (!args.device.isa.empty()) parse_isa(args.device.isa);
  choose_gpus(args.device.device, config.train.gpus, !args.gpus.empty());
  Dataset data = load_dataset(data_of(config), config.model->sample_rate);
  const Split split = split_dataset(data, config.data);
  set_batch(config, args, data, split);
  const std::string band = args.chosen.preset.empty() ? args.config.band_text(config) : args.chosen.text();
  std::string folder = args.out;
  if (folder.empty()) {
    const std::string init = config.train.init_from.empty() ? "" : weights_identity(config.train.init_from),
                      teacher = config.teacher.model.empty() ? "" : weights_identity(weights_of_teacher(config));
    folder = fmt::format("runs/{}-{}", config.preset, run_hash(config, content_hash(data), init, teacher));
  }
  if (args.seeds > 1) {
    TrainArguments of_all = args;
    of_all.out = args.out.empty() ? folder + "-seeds" : folder;
    if (!band.empty() && !args.quiet) std::fprintf(stderr, "%s\n", band.c_str());
    return train_seeds(config, data, split, of_all);
  }
  TrainDisplay display(args.quiet);
  if (!band.empty()) display.message(band);
  tell([&](const std::string& line) { display.message(line); }, data, split);
  const TrainOptions options = options_of(args, folder, display);
  return finish(train(config, data, split, options), config, data, split, args);
}

namespace {

// With the settings of the preset that stands beside --help, where there is one of that name.
std::string train_footer(const std::string& preset) {
  RunConfig defaults = run_preset(is_in(model_presets(), preset) ? preset : "default");
  return "Examples:  cafx train dry.wav wet.wav --out runs/pedal\n"
         "           cafx train datasets/notes --set data.effect=Distortion --set data.setting=2 \\\n"
         "               --set data.test_notes=G61-55400,G71-55400 --out runs/ds1\n"
         "           cafx train DATASET --set data.select=device=Muff    a data set in a layout that cafx knows\n"
         "           cafx train --config FILE --device cuda --gpus 4     every batch on four GPUs\n"
         "           cafx train dry.wav wet.wav --precision tf32\n"
         "           cafx train dry.wav wet.wav --seeds 8                eight models, and how far they lie apart\n"
         "           cafx train dry.wav wet.wav --preset lstm            a small model that plays without latency\n"
         "           cafx train dry.wav wet.wav --preset auto            the preset that fits what is heard, and "
         "why\n\n"
         "Settings (of the preset '" +
         defaults.preset + "'):\n" + help_text(describe(defaults)) + sizes_of_types_without(defaults.preset);
}

}  // namespace

void add_train(CLI::App& app, Run& run) {
  auto args = std::make_shared<TrainArguments>();
  CLI::App* c = app.add_subcommand("train", "pretrain and fine-tune a model in a new run folder");
  args->config.add_recordings_to(*c);
  args->config.add_to(*c);
  args->config.add_auto_to(*c);
  add_common(*c, *args);
  c->add_option("--batch", args->batch,
                "frames or segments a step, as train.batch; auto: the most that the GPU's memory holds")
      ->option_text("N|auto");
  args->device.add_precision_to(
      *c, "of the products' operands, as train.precision; a CPU without such units emulates it, slowly");
  c->add_option("--seeds", args->seeds,
                "train it from so many seeds side by side, from train.seed on; ends with mean and 95 % interval")
      ->check(CLI::Range(1, 1000))
      ->option_text("N");
  c->add_option("--out", args->out, "folder of the run; runs/PRESET-HASH by default")->option_text("FOLDER");
  c->footer("");  // in place of the program's own, which would stand behind what is made when help is asked for
  c->footer([args] { return train_footer(args->config.preset); });
  c->callback([args, &run] { run = [args] { return train_run(args->config.resolve(&args->chosen), *args); }; });
}

void add_resume(CLI::App& app, Run& run) {
  auto args = std::make_shared<TrainArguments>();
  CLI::App* c = app.add_subcommand("resume", "go on with a run that was stopped, to the same bits");
  c->add_option("run", args->out, "folder of the run")->required();
  args->device.add_precision_to(*c, "must be the run's own, which is what is taken without it");
  add_common(*c, *args);
  c->footer("Examples:  cafx resume runs/ds1\n           cafx resume runs/ds1 --device cuda --gpus 2");
  c->callback([args, &run] { run = [args] { return resume_command(*args); }; });
}

}  // namespace cafx
