#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "host/cli/common.h"
#include "host/distill/nam_file.h"
#include "host/distill/quality.h"
#include "host/export/foreign.h"
#include "host/export/model_file.h"
#include "host/export/onnx_file.h"
#include "kernels/base/error.h"
#include "kernels/base/printable.h"

namespace cafx {

namespace {

struct ExportArguments {
  std::string model, out, licence, format, name;
  std::optional<double> input_dbu, output_dbu;
};

// What of a file's metadata is handed on: not where files lay on this machine.
std::map<std::string, std::string> to_hand_on(const ExportArguments& args,
                                              std::map<std::string, std::string> metadata) {
  if (!args.licence.empty()) metadata["licence"] = args.licence;
  if (args.input_dbu) metadata[kNamInputLevel] = fmt::format("{}", *args.input_dbu);
  if (args.output_dbu) metadata[kNamOutputLevel] = fmt::format("{}", *args.output_dbu);
  return without_paths(std::move(metadata));
}

// --format, else what the file's ending says.
std::string format_of(const ExportArguments& args) {
  if (!args.format.empty()) return args.format;
  const std::string ending = std::filesystem::path(args.out).extension().string();
  return ending == ".onnx" ? "onnx" : ending == ".nam" ? "nam" : "safetensors";
}

int export_student(const ExportArguments& args) {
  StudentFile file = load_student(args.model);
  file.metadata = to_hand_on(args, std::move(file.metadata));
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
  c->add_option("--input-dbu", args->input_dbu,
                "nam: the level in dBu at the device's input that 0 dB of full scale stood for when it was recorded")
      ->check(CLI::Range(-100.0, 100.0))
      ->option_text("DBU");
  c->add_option("--output-dbu", args->output_dbu, "nam: the same of the device's output")
      ->check(CLI::Range(-100.0, 100.0))
      ->option_text("DBU");
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
      file.metadata = to_hand_on(*args, std::move(file.metadata));
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

namespace {

// That of the file, where cafx wrote it, with --set on top; without one, or with --preset or --config, that of the options.
CafxConfig config_of_import(const std::string& weights, const ConfigOptions& options, std::vector<std::string>& notes) {
  const std::string text = config_in_file(weights);
  if (text.empty()) return options.resolve().model;
  if (!options.preset.empty() || !options.file.empty()) {
    notes.emplace_back("the config in it is not used, as --preset or --config was given");
    return options.resolve().model;
  }
  CafxConfig config;
  Fields fields = describe(config);
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) throw Error("{}: the config in its metadata is damaged; give one by --config", weights);
  set_fields(fields, json, weights);
  Fields named = prefixed("model", describe(config));
  for (const std::string& setting : options.settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos)
      throw Error("--set {}: expected KEY=VALUE, such as --set model.unpool=hold", setting);
    set_field(named, setting.substr(0, equals), setting.substr(equals + 1), "--set");
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
      "The config says what tensors cannot: that in the file, where 'cafx export' wrote it; else --preset, --config "
      "and\n"
      "--set as of 'cafx train'; only [model] matters. Tensors may be F32, F16, BF16 or F64.\n"
      "Example:  cafx import weights.safetensors --preset paper --set model.unpool=hold -o model.safetensors");
  c->callback([args, &run] {
    run = [args] {
      std::vector<std::string> notes;
      if (is_student(args->weights)) {
        const StudentFile file = load_student(args->weights);
        save_student(args->out, *file.student, file.metadata);
        write_text("-", fmt::format("{}: {} parameters\n", args->out, file.student->n_parameters()));
        return 0;
      }
      const CafxConfig config = config_of_import(args->weights, args->config, notes);
      const ModelFile file = import_model(args->weights, config, notes);
      for (const std::string& note : notes) {
        std::fprintf(stderr, "cafx: %s\n", printable_line(args->weights + ": " + note).c_str());
      }
      save_model(args->out, *file.model, file.metadata);
      write_text("-", fmt::format("{}: {} parameters\n", args->out, file.model->n_parameters()));
      return 0;
    };
  });
}

}  // namespace cafx
