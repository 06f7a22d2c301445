#include <nlohmann/json.hpp>

#include "host/cli/common.h"
#include "host/export/model_file.h"

namespace cafx {

namespace {

std::string table_text(const std::vector<LayerRow>& rows) {
  std::string text =
      fmt::format("{:<18} {:<14} {:>10} {:>14}  {}\n", "layer", "output", "parameters", "multiply-adds", "");
  long parameters = 0, multiply_adds = 0;
  for (const LayerRow& r : rows) {
    text += fmt::format("{:<18} {:<14} {:>10} {:>14}  {}\n", r.name, r.output, r.parameters, r.multiply_adds, r.detail);
    parameters += r.parameters;
    multiply_adds += r.multiply_adds;
  }
  return text + fmt::format("{:<18} {:<14} {:>10} {:>14}  a frame, forward\n", "total", "", parameters, multiply_adds);
}

}  // namespace

void add_info(CLI::App& app, Run& run) {
  struct Arguments {
    std::string model;
    bool pretrain = false, json = false;
    ConfigOptions config;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("info", "the layers of a model: shapes, parameters, multiply-adds");
  c->add_option("model", args->model, "folder of a run, or a weights file; without it, of a config");
  args->config.add_to(*c);
  c->add_flag("--pretrain", args->pretrain, "the form that is pretrained");
  c->add_flag("--json", args->json, "as JSON");
  c->footer("Examples:  cafx info --preset journal\n           cafx info runs/ds1");
  c->callback([args, &run] {
    run = [args] {
      CafxConfig config;
      CafxForm form = args->pretrain ? CafxForm::kPretrain : CafxForm::kSupervised;
      std::map<std::string, std::string> metadata;
      if (args->model.empty()) {
        const RunConfig resolved = args->config.resolve();
        check(resolved.model, "model");
        config = resolved.model;
      } else {
        ModelFile file = load_model(args->model);
        config = file.model->config();
        form = file.model->form();
        metadata = std::move(file.metadata);
      }
      const auto rows = cafx_layers(config, form);
      if (args->json) {
        nlohmann::ordered_json json;
        json["config"] = to_json(describe(config));
        long parameters = 0, multiply_adds = 0;
        for (const LayerRow& r : rows) {
          json["layers"].push_back({{"name", r.name},
                                    {"output", r.output},
                                    {"detail", r.detail},
                                    {"parameters", r.parameters},
                                    {"multiply_adds", r.multiply_adds}});
          parameters += r.parameters;
          multiply_adds += r.multiply_adds;
        }
        json["parameters"] = parameters;
        json["multiply_adds"] = multiply_adds;
        if (!metadata.empty()) json["metadata"] = metadata;
        write_text("-", json.dump(2) + "\n");
        return 0;
      }
      std::string text = table_text(rows);
      text +=
          fmt::format("\nframe {} samples ({:.1f} ms), hop {}, {} Hz, latency of a stream {} samples\n", config.frame,
                      1e3 * config.frame / config.sample_rate, config.hop, config.sample_rate, config.frame);
      for (const char* key : {"version", "seed", "run_hash", "validation_mae", "total_steps", "licence"}) {
        if (metadata.count(key)) text += fmt::format("{}: {}\n", key, metadata[key]);
      }
      write_text("-", text);
      return 0;
    };
  });
}

}  // namespace cafx
