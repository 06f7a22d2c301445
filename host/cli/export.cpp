#include <filesystem>

#include "host/cli/common.h"
#include "host/export/format.h"
#include "host/train/quality.h"
#include "kernels/base/error.h"
#include "models/cafx/cafx.h"

namespace cafx {

namespace {

struct ExportArguments {
  std::string model, out, licence, format, name;
};

int export_model(const ExportArguments& args) {
  ModelFile file = load_model(args.model);
  const Model& model = *file.model;
  if (model.form() != kSupervised) {
    throw Error("{}: is a pretrained front end, which renders no effect; export a model after its supervised training",
                args.model);
  }
  if (!args.licence.empty()) file.metadata["licence"] = args.licence;
  const Format& format = args.format.empty() ? format_of_path(args.out) : format_of_name(args.format);
  const std::string reason = format.why_not(model);
  if (!reason.empty()) throw Error("{}: {}", args.model, reason);
  const auto given = std::filesystem::absolute(args.model).lexically_normal();
  const std::string stem = (given.has_filename() ? given : given.parent_path()).stem().string();
  format.write(args.out, file, args.name.empty() ? stem : args.name);
  std::string text = fmt::format("{}: {}, {} parameters, {} Hz\n", args.out, model.config().type(),
                                 model.params().n_parameters(), model.geometry().sample_rate);
  const auto quality = file.metadata.find("quality");
  if (quality != file.metadata.end()) text += quality_text(quality->second);
  write_text("-", text);
  const std::string remark = format.remark(model);
  if (!remark.empty()) std::fprintf(stderr, "cafx: %s: %s\n", args.out.c_str(), remark.c_str());
  return 0;
}

}  // namespace

void add_export(CLI::App& app, Run& run) {
  auto args = std::make_shared<ExportArguments>();
  CLI::App* c = app.add_subcommand(
      "export", "write a model's weights, with its whole config, as safetensors, ONNX or .nam: what the model can be");
  c->add_option("model", args->model, "folder of a run, or a weights file")->required();
  c->add_option("-o,--out", args->out, "file to write")->required()->option_text("FILE");
  c->add_option("--format", args->format, "safetensors, onnx or nam; by default what the file's ending says")
      ->check(CLI::IsMember(format_names()))
      ->option_text("NAME");
  c->add_option("--licence", args->licence, "noted in the file")->option_text("TEXT");
  c->add_option("--name", args->name, "nam: the model's name; that of its run by default")->option_text("TEXT");
  c->footer(
      "Examples:  cafx export runs/ds1 -o ds1.safetensors\n           cafx export runs/ds1 --format onnx -o ds1.onnx\n"
      "           cafx export runs/ds1-student --format nam -o ds1.nam");
  c->callback([args, &run] { run = [args] { return export_model(*args); }; });
}

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
      "The config says what tensors cannot: --preset, --config and --set as of 'cafx train'; only [model] matters.\n"
      "Example:  cafx import weights.safetensors --preset paper --set model.unpool=hold -o model.safetensors");
  c->callback([args, &run] {
    run = [args] {
      const ModelFile file = import_model(args->weights, *args->config.resolve().model);
      save_model(args->out, *file.model, file.metadata);
      write_text("-", fmt::format("{}: {} parameters\n", args->out, file.model->params().n_parameters()));
      return 0;
    };
  });
}

}  // namespace cafx
