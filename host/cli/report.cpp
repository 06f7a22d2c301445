#include "host/report/report.h"

#include "host/cli/train_command.h"
#include "host/report/seeds.h"
#include "host/train/run_folder.h"
#include "models/play/weights_file.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& file) { return fs::exists(file) ? RunFolder::read(file) : std::string(); }

std::string title_of(const fs::path& folder) { return fs::absolute(folder).lexically_normal().filename().string(); }

void write_page(const fs::path& folder, const std::string& wanted, const std::string& html) {
  const std::string out = wanted.empty() ? (folder / "report.html").string() : wanted;
  write_text(out, html);
  if (out != "-") write_text("-", out + "\n");
}

// The page about the runs of `cafx train --seeds`, by what that has measured.
int report_seeds(const fs::path& folder, const std::string& out) {
  SeedsInput input;
  input.title = title_of(folder);
  input.result_json = text_of(folder / "result.json");
  if (input.result_json.empty()) {
    throw Error("{}: its seeds have not all been trained; go on with 'cafx resume {}'", folder.string(),
                folder.string());
  }
  input.links = out.empty();
  for (const std::string& seed : seeds_in(folder)) {
    input.metrics_csv.push_back(text_of(folder / seed / "metrics.csv"));
    if (input.metrics_csv.size() > 1) continue;
    input.config_toml = text_of(folder / seed / "config.toml");
    input.data_json = text_of(folder / seed / "data.json");
    input.command = (folder / seed / "config.toml").string();
  }
  input.command =
      fmt::format("cafx train --config {} --seeds {} --out NEW_FOLDER", input.command, input.metrics_csv.size());
  write_page(folder, out, seeds_html(input));
  return 0;
}

}  // namespace

void add_report(CLI::App& app, Run& run) {
  struct Arguments {
    std::string folder, out, part = "test";
    int hop = 0;
    DeviceOptions device;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand(
      "report", "one HTML page about a run: figures to look at, notes to hear; or about a training from several seeds");
  c->add_option("run", args->folder, "folder of the run, or of what train --seeds made")->required();
  c->add_option("-o,--out", args->out, "file to write; report.html in the run's folder by default")
      ->option_text("FILE");
  CLI::Option* part =
      c->add_option("--part", args->part, "notes that are shown: test, validation or train; test by default")
          ->option_text("PART");
  CLI::Option* hops = c->add_option("--hop", args->hop, "samples between frames; the model's by default")
                          ->check(CLI::Range(1, kLargestHop));
  args->device.add_to(*c);
  c->footer(
      "Examples:  cafx report runs/ds1\n           cafx report runs/ds1-seeds       the table and the curves of its "
      "seeds");
  c->callback([args, part, hops, &run] {
    const bool asks = part->count() + hops->count() > 0;
    run = [args, asks] {
      const fs::path folder = args->folder;
      refuse_output(args->out);
      refuse_foreign(args->out.empty() ? (folder / "report.html").string() : args->out);
      if (fs::exists(folder / "sweep.toml")) {
        throw Error("{}: is a sweep, of whose runs 'cafx sweep report {}' makes a page", folder.string(),
                    folder.string());
      }
      if (fs::exists(folder / kSeedsFile)) {
        if (asks) {
          throw Error(
              "{}: holds several seeds, whose page has no notes to hear; give --part and --hop with one of them, "
              "as 'cafx report {}'",
              folder.string(), (folder / seeds_in(folder).front()).string());
        }
        return report_seeds(folder, args->out);
      }
      const ModelFile file = load_model(folder);
      Recordings r = load_recordings(folder, {}, file.model->geometry().sample_rate);
      warn_of_training_notes(r, folder, args->part);
      const OwnedContext own(args->device);
      const int hop = args->hop > 0 ? args->hop : file.model->geometry().hop;
      Evaluation e = evaluate(*file.model, own.context, r.data, part_of(r.split, args->part), args->part, hop);
      e.warnings = r.warnings;
      ReportInput input;
      input.title = title_of(folder);
      input.command = fmt::format("cafx train --config {}/config.toml --out NEW_FOLDER", args->folder);
      input.config_toml = text_of(folder / "config.toml");
      input.metrics_csv = text_of(folder / "metrics.csv");
      input.result_json = text_of(folder / "result.json");
      input.data_json = text_of(folder / "data.json");
      input.model = file.model.get();
      input.evaluation = &e;
      write_page(folder, args->out, report_html(input));
      return 0;
    };
  });
}

}  // namespace cafx
