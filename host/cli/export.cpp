#include <filesystem>

#include "host/cli/common.h"
#include "host/export/model_file.h"
#include "host/export/onnx_file.h"
#include "kernels/base/error.h"

namespace cafx {

void add_export(CLI::App& app, Run& run) {
  struct Arguments {
    std::string model, out, licence, format;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("export", "write a model's weights, with its whole config, as safetensors or ONNX");
  c->add_option("model", args->model, "folder of a run, or a weights file")->required();
  c->add_option("-o,--out", args->out, "file to write")->required()->option_text("FILE");
  c->add_option("--format", args->format, "safetensors or onnx; by default what the file's ending says")
      ->check(CLI::IsMember({"safetensors", "onnx"}))
      ->option_text("NAME");
  c->add_option("--licence", args->licence, "noted in the file")->option_text("TEXT");
  c->footer(
      "Examples:  cafx export runs/ds1 -o ds1.safetensors\n           cafx export runs/ds1 --format onnx -o ds1.onnx");
  c->callback([args, &run] {
    run = [args] {
      ModelFile file = load_model(args->model);
      if (file.model->form() != CafxForm::kSupervised) {
        throw Error(
            "{}: is a pretrained front end, which renders no effect; export a model after its supervised training",
            args->model);
      }
      if (!args->licence.empty()) file.metadata["licence"] = args->licence;
      const bool by_ending = std::filesystem::path(args->out).extension() == ".onnx";
      if (args->format == "onnx" || (args->format.empty() && by_ending)) {
        save_onnx(args->out, *file.model, file.metadata);
        write_text("-", fmt::format("{}: {} parameters, ONNX opset {}, frames of {} samples at {} Hz\n", args->out,
                                    file.model->n_parameters(), kOnnxOpset, file.model->config().frame,
                                    file.model->config().sample_rate));
        return 0;
      }
      save_model(args->out, *file.model, file.metadata);
      write_text("-", fmt::format("{}: {} parameters\n", args->out, file.model->n_parameters()));
      return 0;
    };
  });
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
      const ModelFile file = import_model(args->weights, args->config.resolve().model);
      save_model(args->out, *file.model, file.metadata);
      write_text("-", fmt::format("{}: {} parameters\n", args->out, file.model->n_parameters()));
      return 0;
    };
  });
}

}  // namespace cafx
