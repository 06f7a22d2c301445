#include <cstdio>
#include <filesystem>
#include <optional>
#include <utility>

#include "host/cli/common.h"
#include "host/export/format.h"
#include "host/export/nam_file.h"
#include "host/train/quality.h"
#include "host/train/results.h"
#include "kernels/base/error.h"
#include "kernels/base/printable.h"
#include "models/play/foreign.h"

namespace cafx {

namespace {

// What was measured of a model, where it is not that of the file that is written.
void drop_measured(std::map<std::string, std::string>& metadata) {
  std::erase_if(metadata,
                [](const auto& entry) { return entry.first == "quality" || entry.first.starts_with("validation_"); });
}

struct ExportArguments {
  std::string model, out, licence, format, name;
  std::vector<std::string> knobs;
  std::optional<double> input_dbu, output_dbu;
};

int export_model(const ExportArguments& args) {
  const auto path = std::filesystem::path(args.out).lexically_normal();
  const std::string out =
      (path.has_filename() ? path : path.parent_path()).string();  // a folder's name may end in a slash
  const Format& format = args.format.empty() ? format_of_path(out) : format_of_name(args.format);
  if (out == "-") throw Error("-: a model is not written to standard output; name a file");
  refuse_output(out);
  refuse_foreign(out);
  if (!args.name.empty() && !format.named) {
    throw Error("{}: --name is for nam and lv2, which hosts list by it; {} has none", args.out, format.name);
  }
  ModelFile file = load_model(args.model);
  const Model& model = *file.model;
  if (model.form() != kSupervised) {
    throw Error("{}: is a pretrained front end, which renders no effect; export a model after its supervised training",
                args.model);
  }
  if (!args.licence.empty()) file.metadata["licence"] = args.licence;
  if (args.input_dbu) file.metadata[kNamInputLevel] = fmt::format("{}", *args.input_dbu);
  if (args.output_dbu) file.metadata[kNamOutputLevel] = fmt::format("{}", *args.output_dbu);
  file.metadata = without_paths(std::move(file.metadata));  // where files lay on this machine is nobody's business
  if (!args.knobs.empty()) {
    if (!format.at_position) {
      throw Error("{}: --knob is for onnx and nam, which hold a model at one position; {} has the knobs themselves",
                  args.out, format.name);
    }
    turn_knobs(*file.model, args.knobs);
    file.metadata["knobs"] = position_text(model, args.knobs);
  }
  const std::string reason = format.why_not(model);
  if (!reason.empty()) throw Error("{}: {}", args.model, reason);
  const auto measured = file.metadata.find("quality");
  const std::string quality = measured == file.metadata.end() ? "" : quality_text(measured->second);
  const bool fixed = !args.knobs.empty();
  if (fixed) drop_measured(file.metadata);  // it is of all positions together
  const auto given = std::filesystem::absolute(args.model).lexically_normal();
  const std::string stem = (given.has_filename() ? given : given.parent_path()).stem().string();
  format.write(out, file, args.name.empty() ? stem : args.name);
  std::string text = fmt::format("{}: {}, {}{} parameters, {} Hz\n", args.out, model.config().type(),
                                 fixed ? "of a model with knobs and " : "", model.params().n_parameters(),
                                 model.geometry().sample_rate);
  if (fixed) text += fmt::format("at {} for good\n", position_text(model, args.knobs));
  if (fixed && !quality.empty()) text += "over all positions of the knobs, so not in the file:\n";
  text += quality;
  write_text("-", text);
  const auto gain = file.metadata.find(kDryGain);
  if (gain != file.metadata.end()) {
    std::fprintf(stderr,
                 "cafx: %s: was trained on dry recordings with data.dry_gain_db = %s; its input needs the same gain\n",
                 printable(args.out).c_str(), printable(gain->second).c_str());
  }
  const std::string remark = format.remark(model);
  if (!remark.empty()) std::fprintf(stderr, "cafx: %s: %s\n", args.out.c_str(), remark.c_str());
  return 0;
}

}  // namespace

void add_export(CLI::App& app, Run& run) {
  auto args = std::make_shared<ExportArguments>();
  CLI::App* c = app.add_subcommand(
      "export", "write a model's weights, with its whole config, as safetensors, ONNX, .nam or an LV2 plugin");
  c->add_option("model", args->model, "folder of a run, or a weights file")->required();
  c->add_option("-o,--out", args->out, "file to write")->required()->option_text("FILE");
  c->add_option("--knob", args->knobs, "onnx, nam: where a knob of the model stands for good; may be repeated")
      ->allow_extra_args(false)
      ->option_text("NAME=VALUE");
  c->add_option("--format", args->format,
                "safetensors, onnx, nam or lv2; by default what the file's ending says, safetensors where it has none")
      ->check(CLI::IsMember(format_names()))
      ->option_text("NAME");
  c->add_option("--licence", args->licence, "noted in the file")->option_text("TEXT");
  c->add_option("--name", args->name, "nam, lv2: the model's name; that of its run by default")->option_text("TEXT");
  c->add_option("--input-dbu", args->input_dbu,
                "nam: the level in dBu at the device's input that 0 dB of full scale stood for when it was recorded")
      ->check(number_between(-100.0, 100.0))
      ->option_text("DBU");
  c->add_option("--output-dbu", args->output_dbu, "nam: the same of the device's output")
      ->check(number_between(-100.0, 100.0))
      ->option_text("DBU");
  c->footer(
      "Examples:  cafx export runs/ds1 -o ds1.safetensors\n           cafx export runs/ds1 --format onnx -o ds1.onnx\n"
      "           cafx export runs/ds1-student --format nam -o ds1.nam\n           cafx export runs/ds1 -o "
      "~/.lv2/ds1.lv2");
  c->callback([args, &run] { run = [args] { return export_model(*args); }; });
}

namespace {

// That of a file that cafx wrote, with --set on top; without one, or with --preset or --config, that of the options.
// `changed`: whether it is another one than that in the file.
std::unique_ptr<ModelConfig> config_of_import(const std::string& weights, const ConfigOptions& options, bool& changed) {
  std::unique_ptr<ModelConfig> config = config_in_file(weights);
  if (config && (!options.preset.empty() || !options.file.empty())) {
    std::fprintf(stderr, "cafx: %s: the config in it is not used, as --preset or --config was given\n",
                 printable(weights).c_str());
    config.reset();
    changed = true;
  }
  if (!config) {
    config = options.resolve().model->clone();
    if (config->sample_rate == 0) {
      throw Error(
          "{}: does not say at which rate its model works, and preset {} works at that of the recordings; say "
          "it, as --set model.sample_rate=48000",
          weights, options.preset);
    }
    return config;
  }
  Fields fields = prefixed("model", config->fields());
  for (const std::string& setting : options.settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos)
      throw Error("--set {}: expected KEY=VALUE, such as --set model.unpool=hold", setting);
    const std::string before = to_toml(fields);
    set_field(fields, setting.substr(0, equals), setting.substr(equals + 1), "--set");
    if (to_toml(fields) == before) continue;
    changed = true;
    std::fprintf(stderr, "cafx: warning: %s: --set %s changes the config that these weights were trained with\n",
                 printable(weights).c_str(), printable(setting).c_str());
  }
  return config;
}

}  // namespace

void add_import(CLI::App& app, Run& run) {
  struct Arguments {
    std::string weights, out;
    ConfigOptions config;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* c =
      app.add_subcommand("import", "make a model of weights trained elsewhere (safetensors, names as of export)");
  c->add_option("weights", args->weights, "safetensors file with the tensors that 'cafx export' names")->required();
  c->add_option("-o,--out", args->out, "file to write")->required()->option_text("FILE");
  args->config.add_to(*c);
  c->footer(
      "The config says what tensors cannot: --preset or --config with --set, as of 'cafx train', of which only "
      "[model]\n"
      "matters; without them that in the file, where 'cafx export' wrote it. Tensors may be F32, F16, BF16 or F64.\n"
      "Example:  cafx import weights.safetensors --preset paper --set model.unpool=hold -o model.safetensors");
  c->callback([args, &run] {
    run = [args] {
      const Format& format = format_of_path(args->out);
      if (&format != &formats().front()) {
        throw Error("{}: import writes safetensors; make a file of format {} of that, by 'cafx export'", args->out,
                    format.name);
      }
      refuse_output(args->out);
      refuse_foreign(args->out);
      std::vector<std::string> notes;
      bool changed = false;
      const auto config = config_of_import(args->weights, args->config, changed);
      ModelFile file = import_model(args->weights, *config, notes);
      for (const std::string& note : notes) {
        std::fprintf(stderr, "cafx: %s\n", printable_line(args->weights + ": " + note).c_str());
      }
      if (changed) {  // another model than the one that was trained and measured
        drop_measured(file.metadata);
        file.metadata.erase("run_hash"), file.metadata.erase("identity");
      }
      save_model(args->out, *file.model, file.metadata);
      write_text("-", fmt::format("{}: {} parameters\n", args->out, file.model->params().n_parameters()));
      return 0;
    };
  });
}

}  // namespace cafx
