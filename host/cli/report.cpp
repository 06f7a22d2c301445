#include "host/report/report.h"

#include "host/cli/common.h"
#include "host/train/run_folder.h"
#include "models/play/weights_file.h"

namespace cafx {

void add_report(CLI::App& app, Run& run) {
  struct Arguments {
    std::string folder, out, part = "test";
    int hop = 0;
    DeviceOptions device;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("report", "one HTML page about a run: figures to look at, notes to hear");
  c->add_option("run", args->folder, "folder of the run")->required();
  c->add_option("-o,--out", args->out, "file to write; report.html in the run's folder by default")
      ->option_text("FILE");
  c->add_option("--part", args->part, "notes that are shown: test, validation or train; test by default")
      ->option_text("PART");
  c->add_option("--hop", args->hop, "samples between frames; the model's by default")->check(CLI::PositiveNumber);
  args->device.add_to(*c);
  c->footer("Example:  cafx report runs/ds1");
  c->callback([args, &run] {
    run = [args] {
      const std::filesystem::path folder = args->folder;
      const ModelFile file = load_model(folder);
      const RunData r = load_run_data(folder, {});
      const OwnedContext own(args->device);
      const int hop = args->hop > 0 ? args->hop : file.model->geometry().hop;
      const Evaluation e = evaluate(*file.model, own.context, r.data, part_of(r.split, args->part), args->part, hop);
      const auto optional = [&](const char* name) {
        return std::filesystem::exists(folder / name) ? RunFolder::read(folder / name) : std::string();
      };
      ReportInput input;
      input.title = std::filesystem::absolute(folder).lexically_normal().filename().string();
      input.command = fmt::format("cafx train --config {}/config.toml --out NEW_FOLDER", args->folder);
      input.config_toml = optional("config.toml");
      input.metrics_csv = optional("metrics.csv");
      input.result_json = optional("result.json");
      input.data_json = optional("data.json");
      input.model = file.model.get();
      input.evaluation = &e;
      const std::string out = args->out.empty() ? (folder / "report.html").string() : args->out;
      write_text(out, report_html(input));
      if (out != "-") write_text("-", out + "\n");
      return 0;
    };
  });
}

}  // namespace cafx
