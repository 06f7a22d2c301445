#include "host/cli/common.h"
#include "host/export/model_file.h"
#include "kernels/base/error.h"

namespace cafx {

void add_export(CLI::App& app, Run& run) {
  struct Arguments {
    std::string model, out, licence;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("export", "write a model's weights, with its whole config, as safetensors");
  c->add_option("model", args->model, "folder of a run, or a weights file")->required();
  c->add_option("-o,--out", args->out, "file to write")->required()->option_text("FILE");
  c->add_option("--licence", args->licence, "noted in the file")->option_text("TEXT");
  c->footer("Example:  cafx export runs/ds1 -o ds1.safetensors");
  c->callback([args, &run] {
    run = [args] {
      ModelFile file = load_model(args->model);
      if (file.model->form() != CafxForm::kSupervised) {
        throw Error(
            "{}: is a pretrained front end, which renders no effect; export a model after its supervised training",
            args->model);
      }
      if (!args->licence.empty()) file.metadata["licence"] = args->licence;
      save_model(args->out, *file.model, file.metadata);
      write_text("-", fmt::format("{}: {} parameters\n", args->out, file.model->n_parameters()));
      return 0;
    };
  });
}

}  // namespace cafx
