#include "host/eval/eval.h"

#include "host/cli/common.h"
#include "kernels/base/error.h"
#include "models/play/weights_file.h"
#include "models/registry.h"

namespace cafx {

namespace {

struct EvalArguments {
  std::string model, data_run, part = "test", json, csv;
  int hop = 0;
  std::vector<std::string> settings;
  DeviceOptions device;
};

// `source`: the run whose recordings and split are used.
Evaluation evaluate_model(const EvalArguments& args, const std::string& source) {
  const ModelFile file = load_model(args.model);
  refuse_hop(*file.model, args.model, args.hop > 0);
  Recordings r = load_recordings(source, args.settings, file.model->geometry().sample_rate);
  const bool is_run = std::filesystem::is_directory(args.model);
  warn_of_training_notes(r, is_run ? args.model : source, args.part);
  const OwnedContext own(args.device);
  check_precision(file.model->config(), own.context.precision, "--precision");
  Evaluation e = evaluate(*file.model, own.context, r.data, part_of(r.split, args.part), args.part,
                          args.hop > 0 ? args.hop : file.model->geometry().hop);
  e.warnings = r.warnings;
  return e;
}

}  // namespace

void add_eval(CLI::App& app, Run& run) {
  auto args = std::make_shared<EvalArguments>();
  CLI::App* c = app.add_subcommand(
      "eval",
      "measure a model on whole notes: waveform, spectrum, modulation, attack and decay; per note, mean and spread");
  c->add_option("model", args->model, "folder of a run, or a weights file")->required();
  c->add_option("--data", args->data_run, "run whose data and split are used, where the model is a file")
      ->option_text("RUN");
  c->add_option("--part", args->part, "test, validation or train; test by default")->option_text("PART");
  c->add_option("--hop", args->hop, "samples between frames; the model's by default")
      ->check(CLI::Range(1, kLargestHop));
  c->add_option("--set", args->settings, "another setting of the data, such as data.instrument=bass")
      ->allow_extra_args(false)
      ->option_text("KEY=VALUE");
  c->add_option("--json", args->json, "write the results as JSON; - for standard output")->option_text("FILE");
  c->add_option("--csv", args->csv, "write the results as CSV; - for standard output")->option_text("FILE");
  args->device.add_to(*c);
  args->device.add_precision_to(*c, "of the products' operands; fp32 by default, whatever the model was trained in");
  c->footer("Example:  cafx eval runs/ds1 --hop 64 --csv ds1.csv");
  c->callback([args, &run] {
    run = [args] {
      const std::string source = args->data_run.empty() ? args->model : args->data_run;
      if (!std::filesystem::exists(source)) throw Error("{}: no such file or folder", source);
      if (!std::filesystem::is_directory(source)) {
        load_model(source);  // says what is wrong with a file that is none
        throw Error("{}: is a weights file, so the notes are not known; name a run with --data RUN", source);
      }
      if (!args->json.empty() && args->json == args->csv) {
        throw Error("--json and --csv both go to {}; give two files, or one of them", args->json);
      }
      refuse_output(args->json);
      refuse_output(args->csv);
      const Evaluation e = evaluate_model(*args, source);
      // Files first: what happens to standard output does not touch them.
      if (!args->json.empty() && args->json != "-") write_text(args->json, to_json(e));
      if (!args->csv.empty() && args->csv != "-") write_text(args->csv, to_csv(e));
      if (args->json != "-" && args->csv != "-") write_text("-", to_text(e));
      if (args->json == "-") write_table("-", to_json(e));
      if (args->csv == "-") write_table("-", to_csv(e));
      return 0;
    };
  });
}

}  // namespace cafx
