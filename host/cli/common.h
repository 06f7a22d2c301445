// host/cli/common.h -- what the commands share: their registration, the options that make a config, the context.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "host/eval/auto_preset.h"
#include "host/train/train.h"
#include "kernels/base/error.h"
#include "kernels/device/context.h"
#include "models/model.h"

namespace cafx {

// Set by SIGINT, SIGTERM and SIGHUP (a terminal that was closed) once a command has called stop_when_asked: training
// finishes its step, saves and returns.
// Without the call they end the process, as they do by default; a second one ends it at once.
extern std::atomic<bool> stop_requested;
std::atomic<bool>* stop_when_asked();

inline constexpr int kExitError = 2, kExitBug = 70, kExitStopped = 130;

// A command adds itself to the app; the function that it leaves in `run` is called once all is parsed.
using Run = std::function<int()>;
void add_train(CLI::App&, Run&);
void add_resume(CLI::App&, Run&);
void add_eval(CLI::App&, Run&);
void add_render(CLI::App&, Run&);
void add_export(CLI::App&, Run&);
void add_import(CLI::App&, Run&);
void add_info(CLI::App&, Run&);
void add_report(CLI::App&, Run&);
void add_data(CLI::App&, Run&);
void add_bench(CLI::App&, Run&);
void add_doctor(CLI::App&, Run&);
void add_sweep(CLI::App&, Run&);
void add_reproduce(CLI::App&, Run&);
void add_distill(CLI::App&, Run&);
void add_completion(CLI::App&, Run&);
void add_manual(CLI::App&, Run&);

// A number from lo to hi. CLI::Range lets "nan" pass, which is neither below nor above.
CLI::Validator number_between(double lo, double hi);

// What recordings given as paths mean: two files, two folders, or a data set, whose layout its names tell unless the
// settings do. Error where it can be read in more than one way.
void set_recordings(DataConfig&, const std::string& dry, const std::string& wet,
                    const std::vector<std::string>& settings);

// --preset, --config, --set: later ones win.
struct ConfigOptions {
  std::string preset, file, dry, wet, latency = "any";
  std::vector<std::string> settings;
  int rate = 0;  // Hz that the model works at; 0: as preset, settings and recordings say

  void add_to(CLI::App&);
  // Positional: a data set, or dry and wet as two files or two folders; short for data.reader and the paths that it
  // needs. And --rate.
  void add_recordings_to(CLI::App&);
  // --latency, and the preset `auto`, which needs recordings.
  void add_auto_to(CLI::App&);
  // Two recordings of 44.1 kHz or more, where neither preset nor sizes are asked for, get the preset of their band.
  // Where the preset is `auto`, `chosen` gets what the recordings tell; without it that is an error.
  RunConfig resolve(AutoPreset* chosen = nullptr) const;
  // A line that says so; empty where it did not happen.
  std::string band_text(const RunConfig&) const;

 private:
  std::string preset_of_band() const;  // `preset` where the recordings do not decide
  std::string preset_of_recordings(const DataConfig&, AutoPreset& chosen) const;
};

// --threads, --isa, --device; where a command offers it, --precision.
struct DeviceOptions {
  int threads = 0;
  std::string isa, device = "auto", precision;  // empty: fp32

  void add_to(CLI::App&);
  void add_precision_to(CLI::App&, const std::string& help);
};

// Error if a model that plays sample by sample is used with frames.
void refuse_hop(const Model&, const std::string& name, bool asked);

// Turns the model's knobs by settings as "gain=5"; the others stay at their start.
void turn_knobs(Model&, const std::vector<std::string>& settings);
// "gain = 5 dB, mode = soft": where all of them then stand.
std::string position_text(const Model&, const std::vector<std::string>& settings);

// A context with threads of its own.
struct OwnedContext {
  explicit OwnedContext(const DeviceOptions&);
  std::unique_ptr<ThreadPool> pool;
  Context context;
};

// CAFX_CHECKPOINT_SECONDS: time between checkpoints; 0 saves at every step, as the tests do.
double checkpoint_seconds();

// What `cafx train` does with its config and options; `cafx distill` is a short form of it.
struct TrainArguments {
  ConfigOptions config;
  DeviceOptions device;
  std::string out, batch, gpus;
  AutoPreset chosen;  // by --preset auto
  int seeds = 1;
  bool json = false, quiet = false;
};
int train_run(RunConfig, const TrainArguments&);

struct DeviceInfo;
std::string text_of(const DeviceInfo&);  // a line, ended
nlohmann::ordered_json json_of(const DeviceInfo&);
// Whether several GPUs can share a batch, and why not: a line; nothing where there is only one.
std::string text_of_exchange(int n_gpus);

inline constexpr int kLargestHop = 1 << 20;  // samples, of --hop

// Error where a file that a command is asked to write is a recording, or what a run needs to be played or resumed.
void refuse_output(const std::string& path);
// Error where a file is there already that no cafx wrote.
void refuse_foreign(const std::string& path);
// To a file, or to standard output for "-", made fit for a terminal. Error where it does not arrive.
void write_text(const std::string& path, const std::string& text);
// The same of a table for programs: as it is, but on a terminal.
void write_table(const std::string& path, const std::string& text);
void write_screen(const std::string& text);  // to standard output, with the terminal's commands in it

// The recordings of a run, at any rate, with what else its config says of them. Their parts are those of the run, by
// the names in its split.json; drawn anew where other recordings are asked for, or where that file is gone.
struct Recordings {
  Dataset data;
  Split split;
  std::vector<std::string> warnings;  // sentences, printed already: where the parts are not what they were
};
Recordings load_recordings(const std::filesystem::path& run, const std::vector<std::string>& settings, int sample_rate);
const std::vector<int>& part_of(const Split&, const std::string& part);
// A warning where a part that shall judge a model holds notes that the run was trained on, or that chose its weights.
void warn_of_training_notes(Recordings&, const std::filesystem::path& run, const std::string& part);
// Prints the recordings of a training before it begins: skipped files, findings, split.
void tell(const std::function<void(const std::string&)>& say, const Dataset&, const Split&);

}  // namespace cafx
