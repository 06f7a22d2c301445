#include <filesystem>

#include "host/cli/common.h"
#include "host/distill/nam_file.h"
#include "host/distill/quality.h"
#include "host/export/model_file.h"
#include "host/export/onnx_file.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

struct ExportArguments {
  std::string model, out, licence, format, name;
};

// --format, else what the file's ending says.
std::string format_of(const ExportArguments& args) {
  if (!args.format.empty()) return args.format;
  const std::string ending = std::filesystem::path(args.out).extension().string();
  return ending == ".onnx" ? "onnx" : ending == ".nam" ? "nam" : "safetensors";
}

int export_student(const ExportArguments& args) {
  StudentFile file = load_student(args.model);
  if (!args.licence.empty()) file.metadata["licence"] = args.licence;
  const StudentConfig c = student_config(file.student->config());
  const std::string format = format_of(args);
  if (format == "onnx") {
    throw Error("{}: is a student ({}), which --format onnx does not write; nam and safetensors do", args.model,
                c.kind);
  }
  if (format == "nam") {
    const auto given = std::filesystem::absolute(args.model).lexically_normal();
    const std::string stem = (given.has_filename() ? given : given.parent_path()).stem().string();
    save_nam(args.out, file, args.name.empty() ? stem : args.name);
  } else {
    save_student(args.out, *file.student, file.metadata);
  }
  std::string text =
      fmt::format("{}: {}, {} parameters, {} Hz\n", args.out, c.kind, file.student->n_parameters(), c.sample_rate);
  const auto quality = file.metadata.find("quality");
  text += quality_text(quality == file.metadata.end() ? "" : quality->second);
  write_text("-", text);
  if (format == "nam" && c.sample_rate != kNamRate) {
    std::fprintf(
        stderr,
        "cafx: warning: this student works at %d Hz, and most NAM hosts run a model at their own rate, often %d "
        "Hz, where it would sound wrong unless they resample by the file's sample_rate; 'cafx distill --rate %d' "
        "makes one for %d Hz\n",
        c.sample_rate, kNamRate, kNamRate, kNamRate);
  }
  return 0;
}

}  // namespace

void add_export(CLI::App& app, Run& run) {
  auto args = std::make_shared<ExportArguments>();
  CLI::App* c = app.add_subcommand(
      "export", "write a model's weights, with its whole config, as safetensors or ONNX; a student's as .nam too");
  c->add_option("model", args->model, "folder of a run, or a weights file")->required();
  c->add_option("-o,--out", args->out, "file to write")->required()->option_text("FILE");
  c->add_option("--format", args->format, "safetensors, onnx or nam; by default what the file's ending says")
      ->check(CLI::IsMember({"safetensors", "onnx", "nam"}))
      ->option_text("NAME");
  c->add_option("--licence", args->licence, "noted in the file")->option_text("TEXT");
  c->add_option("--name", args->name, "nam: the model's name; that of its run by default")->option_text("TEXT");
  c->footer(
      "Examples:  cafx export runs/ds1 -o ds1.safetensors\n           cafx export runs/ds1 --format onnx -o ds1.onnx\n"
      "           cafx export runs/ds1-student --format nam -o ds1.nam");
  c->callback([args, &run] {
    run = [args] {
      if (is_student(args->model)) return export_student(*args);
      ModelFile file = load_model(args->model);
      if (file.model->form() != kSupervised) {
        throw Error(
            "{}: is a pretrained front end, which renders no effect; export a model after its supervised training",
            args->model);
      }
      if (!args->licence.empty()) file.metadata["licence"] = args->licence;
      const std::string format = format_of(*args);
      if (format == "nam") {
        throw Error(
            "{}: is a CAFx model, which the .nam format cannot express (frames, pooling, a filter of its own for each "
            "channel); make a student of it, whose loss of quality is measured: cafx distill {} --out STUDENT",
            args->model, args->model);
      }
      if (format == "onnx") {
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
