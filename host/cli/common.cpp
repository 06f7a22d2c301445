#include "host/cli/common.h"

#include <fmt/ranges.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "datasets/audio_file.h"
#include "datasets/dataset.h"
#include "datasets/readers/reader.h"
#include "host/cli/train_command.h"
#include "host/train/results.h"
#include "host/train/run_folder.h"
#include "host/train/targets.h"
#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "kernels/base/printable.h"
#include "kernels/base/safetensors.h"
#include "kernels/device/memory.h"
#include "kernels/exchange/exchange.h"
#include "models/registry.h"

namespace cafx {

std::atomic<bool> stop_requested{false};

// CAFX_PARENT=PID: whoever started this waits for it, and where that process dies without a word nobody will.
static void end_with_parent() {
  const char* given = std::getenv("CAFX_PARENT");
  if (given == nullptr) return;
  const std::string parent = given;
  unsetenv("CAFX_PARENT");  // of this process only, not of those that it starts
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (std::to_string(getppid()) != parent) stop_requested = true;  // it has died already
}

std::atomic<bool>* stop_when_asked() {
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  const auto on_signal = [](int) {
    for (const int s : kSignals) std::signal(s, SIG_DFL);
    stop_requested = true;
  };
  for (const int s : kSignals) {
    // Under nohup SIGHUP stays ignored: the work goes on without its terminal. A shell ignores SIGINT for what it
    // starts in the background, which kill -INT shall reach all the same.
    if (std::signal(s, on_signal) == SIG_IGN && s == SIGHUP) std::signal(s, SIG_IGN);
  }
  end_with_parent();
  return &stop_requested;
}

CLI::Validator number_between(double lo, double hi) {
  const CLI::Range range(lo, hi);
  CLI::Validator v = range;
  v.operation([range](std::string& text) {
    const bool no_number = std::isnan(std::strtod(text.c_str(), nullptr));
    return no_number ? fmt::format("Value {} is no number", text) : range(text);
  });
  return v;
}

void ConfigOptions::add_to(CLI::App& app) {
  app.add_option("--preset", preset,
                 fmt::format("what model and training start from: {}", fmt::join(model_presets(), ", ")))
      ->option_text("NAME");
  app.add_option("--config", file, "TOML file with [model], [teacher], [data], [train]")->option_text("FILE");
  app.add_option("--set", settings, "one setting, such as model.filters=64 or data.setting=2; may be repeated")
      ->allow_extra_args(false)  // what follows may be the recordings
      ->option_text("KEY=VALUE");
}

void ConfigOptions::add_auto_to(CLI::App& app) {
  CLI::Option* option = app.get_option("--preset");
  option->description(option->get_description() + "; auto: the one that fits what is heard in the recordings");
  app.add_option("--latency", latency, "of --preset auto: none, for models that play sample by sample, or any")
      ->check(CLI::IsMember({"any", "none"}))
      ->option_text("any|none");
}

void ConfigOptions::add_recordings_to(CLI::App& app) {
  app.add_option("dry", dry,
                 "the folder of a data set, a CSV manifest, NAM's JSON; or the dry file, or a folder of dry files");
  app.add_option("wet", wet, "the wet file, or a folder of wet files with the same names");
  app.add_option(
         "--rate", rate,
         "samples a second that the model works at, short for model.sample_rate; 44100 and 48000 take the preset "
         "full where no other is asked for")
      ->check(CLI::Range(1000, 384000))
      ->option_text("HZ");
}

namespace {

bool has_setting(const std::vector<std::string>& settings, const std::string& key) {
  return std::any_of(settings.begin(), settings.end(),
                     [&](const std::string& s) { return s.rfind(key + "=", 0) == 0; });
}

// Of a list the last one would count alone, and who gives it twice means both.
void refuse_second(const std::vector<std::string>& settings, const std::string& key) {
  std::string all;
  int n = 0;
  for (const std::string& s : settings) {
    if (s.rfind(key + "=", 0) != 0) continue;
    all += fmt::format("{}\"{}\"", n++ > 0 ? ", " : "", s.substr(key.size() + 1));
  }
  if (n > 1) throw Error("--set {}: is given {} times; one has them all: --set '{}=[{}]'", key, n, key, all);
}

// One path: by what its names look like; a folder that nothing is known of counts as IDMT, whose reader says what it
// is.
void set_by_layout(DataConfig& data, const std::string& path, const std::vector<std::string>& settings) {
  const bool pattern = has_setting(settings, "data.pattern");
  if (has_setting(settings, "data.reader") || pattern) {
    if (pattern) data.reader = "pattern";
    data.path = path;
    return;
  }
  const std::vector<Recognised> found = recognise(path);
  if (found.size() > 1) {
    std::vector<std::string> readings;
    for (const Recognised& r : found) readings.push_back(fmt::format("{} ({} pairs)", r.reader, r.pairs));
    throw Error("{}: can be read in more than one way, as {}; choose one, as --set data.reader={}", path,
                fmt::join(readings, " or as "), found.front().reader);
  }
  data.reader = found.empty() ? "idmt" : found.front().reader;
  data.path = found.empty() ? path : found.front().path;
  if (!found.empty()) {
    data.dry = found.front().dry;
    data.wet = found.front().wet;
  }
}

}  // namespace

void set_recordings(DataConfig& data, const std::string& dry, const std::string& wet,
                    const std::vector<std::string>& settings) {
  if (dry.empty()) return;
  for (const std::string& path : {dry, wet}) {
    if (!path.empty() && !std::filesystem::exists(path)) throw Error("{}: no such file or folder", path);
  }
  const bool is_folder = std::filesystem::is_directory(dry);
  if (wet.empty() && (is_folder || !recognise(dry).empty())) return set_by_layout(data, dry, settings);
  if (!wet.empty() && std::filesystem::is_directory(wet) != is_folder) {
    throw Error("{} and {}: one is a file, the other a folder; give dry and wet as two files or as two folders", dry,
                wet);
  }
  data.reader = is_folder ? "folders" : "files";
  data.dry = dry;
  if (!wet.empty()) data.wet = wet;
}

namespace {

// Sets what the settings name of the data; `alone`: another setting is an error.
void set_data_fields(Fields fields, const std::vector<std::string>& settings, bool alone = true) {
  for (const std::string& setting : settings) {
    const auto [key, value] = split_setting(setting);
    if (key.rfind("data.", 0) == 0) {
      set_field(fields, key, value, "--set");
    } else if (alone) {
      throw Error("--set {}: expected a setting of the data, such as --set data.setting=2", setting);
    }
  }
}

constexpr int kFullBand = 44100;  // Hz; recordings of that rate or more are worth a model that hears all of them
constexpr int kFullBand48 = 48000;

// The lowest of the files' rates, as their heads say: what all of them have. 0 where one cannot be read, which reading
// the recordings will say.
int lowest_rate(const std::vector<std::filesystem::path>& files) {
  try {
    int lowest = 0;
    for (const auto& file : files) {
      const int rate = AudioReader(file).sample_rate();
      lowest = lowest == 0 ? rate : std::min(lowest, rate);
    }
    return lowest;
  } catch (const std::exception&) {
    return 0;
  }
}

// Of what the command line and the settings name, as their reader finds it; 0 for IDMT, which the presets are for.
int rate_of_recordings(const std::string& dry, const std::string& wet, const std::vector<std::string>& settings) {
  try {
    DataConfig data;
    set_recordings(data, dry, wet, settings);
    set_data_fields(prefixed("data", describe(data)), settings, false);
    if (data.reader == "idmt") return 0;
    std::set<std::filesystem::path> files;
    for (const auto& pair : find_reader(data.reader).find(data).pairs) {
      files.insert(pair.dry);
      if (!pair.wet.empty()) files.insert(pair.wet);
    }
    return lowest_rate({files.begin(), files.end()});
  } catch (const std::exception&) {
    return 0;
  }
}

// What names a model, and the sizes in which the presets of the two bands differ.
std::set<std::string> decided_by_band() {
  std::set<std::string> keys{"preset", "model.type", "teacher.model"};
  RunConfig usual = run_preset("default"), full = run_preset("full-48k");
  const nlohmann::json sizes = to_json(usual.model->fields()), others = to_json(full.model->fields());
  for (const auto& [key, value] : sizes.items()) {
    if (others.at(key) != value) keys.insert("model." + key);
  }
  return keys;
}

}  // namespace

std::string ConfigOptions::preset_of_band() const {
  const bool named = !dry.empty() || has_setting(settings, "data.dry") || has_setting(settings, "data.path");
  if (!named || !file.empty() || (!preset.empty() && preset != "full")) return preset;
  const std::set<std::string> decided = decided_by_band();
  for (const std::string& setting : settings) {
    if (decided.count(setting.substr(0, setting.find('=')))) return preset;
  }
  if (rate > 0) return rate == kFullBand ? "full" : rate == kFullBand48 ? "full-48k" : preset;
  const int theirs = rate_of_recordings(dry, wet, settings);
  if (theirs < kFullBand) return preset;
  return theirs % kFullBand == 0 ? "full" : "full-48k";
}

std::string ConfigOptions::band_text(const RunConfig& config) const {
  if (rate > 0 || config.preset == preset || preset_of_band() != config.preset) return "";
  return fmt::format(
      "recordings of {} Hz or more: preset {}, a model of {} Hz; --preset default makes one of {} Hz, in less time",
      kFullBand, config.preset, config.model->sample_rate, run_preset("default").model->sample_rate);
}

std::string ConfigOptions::preset_of_recordings(const DataConfig& settled, AutoPreset& chosen) const {
  DataConfig data = settled;
  set_recordings(data, dry, wet, settings);
  set_data_fields(prefixed("data", describe(data)), settings, false);
  if (!data.knobs.empty()) {
    throw Error(
        "preset \"auto\" hears a device at one position of its knobs, and data.knobs has several; name a preset that "
        "learns knobs, such as lstm or s4-l");
  }
  const Dataset heard = load_dataset(data, kHearingRate);
  chosen = choose_preset(heard, split_dataset(heard, data), data, latency);
  return chosen.preset;
}

RunConfig ConfigOptions::resolve(AutoPreset* chosen) const {
  refuse_second(settings, "data.knobs");
  ConfigSource source;
  source.preset = preset_of_band();
  if (!file.empty()) source.toml = RunFolder::read(file);
  source.where = file;
  if (rate > 0 && has_setting(settings, "model.sample_rate")) {
    throw Error("--rate {}: is short for model.sample_rate, which --set sets as well; leave one of them out", rate);
  }
  if (rate > 0) source.settings.push_back(fmt::format("model.sample_rate={}", rate));
  source.settings.insert(source.settings.end(), settings.begin(), settings.end());
  if (chosen) {
    source.decide = [this, chosen](const DataConfig& data) { return preset_of_recordings(data, *chosen); };
  }
  RunConfig config = make_config(source);
  if (chosen && chosen->preset.empty() && latency != "any") {
    throw Error("--latency {} is for --preset auto; the preset {} has the latency that it has", latency, config.preset);
  }
  if (dry.empty()) return config;
  set_recordings(config.data, dry, wet, settings);
  set_data_fields(describe(config), settings, false);  // settings win over the recordings of the command line
  return config;
}

void DeviceOptions::add_to(CLI::App& app) {
  app.add_option("--threads", threads, "threads to use; 0: all that this process may use")->check(CLI::Range(0, 1024));
  app.add_option("--isa", isa, "portable, avx2 or avx512; the best that is there by default")->option_text("NAME");
  app.add_option("--device", device, "cpu, cuda, cuda:N, or auto: the GPU where one can be used")
      ->option_text("NAME")
      ->capture_default_str();
}

void DeviceOptions::add_precision_to(CLI::App& app, const std::string& help) {
  app.add_option("--precision", precision, help)->option_text("fp32|tf32|bf16|fp16");
}

void refuse_hop(const Model& model, const std::string& name, bool asked) {
  if (!asked || model.geometry().frame > 0) return;
  throw Error("{}: is a model of type {}, which plays sample by sample: --hop is for models of frames", name,
              model.config().type());
}

void turn_knobs(Model& model, const std::vector<std::string>& settings) {
  const std::vector<Knob> knobs = parse_knobs(model.config().knobs, "model.knobs");
  model.turn_to(controls_at(knobs, knob_values(knobs, settings, "--knob")));
}

std::string position_text(const Model& model, const std::vector<std::string>& settings) {
  const std::vector<Knob> knobs = parse_knobs(model.config().knobs, "model.knobs");
  const std::vector<double> values = knob_values(knobs, settings, "--knob");
  std::vector<std::string> all;
  for (std::size_t i = 0; i < knobs.size(); ++i) {
    all.push_back(fmt::format("{} = {}", knobs[i].name, knobs[i].show(values[i])));
  }
  return fmt::format("{}", fmt::join(all, ", "));
}

OwnedContext::OwnedContext(const DeviceOptions& options) {
  pool = std::make_unique<ThreadPool>(options.threads > 0 ? options.threads : available_threads());
  context.isa = options.isa.empty() ? best_isa() : parse_isa(options.isa);
  context.pool = pool.get();
  use_device(context, options.device);
  if (!options.precision.empty()) use_precision(context, options.precision);
}

double checkpoint_seconds() {
  const char* text = std::getenv("CAFX_CHECKPOINT_SECONDS");
  return text ? std::strtod(text, nullptr) : TrainOptions().checkpoint_seconds;
}

std::string text_of(const DeviceInfo& d) {
  const auto gib = [](std::size_t bytes) { return static_cast<double>(bytes) / (1 << 30); };
  return fmt::format("GPU {}: {}, architecture {}.{}, {} multiprocessors, {:.1f} GiB of memory, {:.1f} GiB free; {}.\n",
                     d.index, d.name, d.major, d.minor, d.n_sm, gib(d.memory), gib(d.free),
                     d.usable ? "it can be used" : "it cannot be used: " + d.reason);
}

nlohmann::ordered_json json_of(const DeviceInfo& d) {
  return {
      {"index", d.index},          {"name", d.name},           {"architecture", fmt::format("{}.{}", d.major, d.minor)},
      {"multiprocessors", d.n_sm}, {"memory_bytes", d.memory}, {"free_bytes", d.free},
      {"usable", d.usable},        {"reason", d.reason}};
}

std::string text_of_exchange(int n_gpus) {
  if (n_gpus < 2) return "";
  try {
    return fmt::format("Several GPUs can share a batch, through {}: --gpus all.\n", exchange_name());
  } catch (const Error& e) {
    return fmt::format("Several GPUs cannot share a batch: {}.\n", e.what());
  }
}

void write_screen(const std::string& text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    const int code = errno;
    throw WriteError(fmt::format("standard output cannot be written: {}; free some space, or write elsewhere",
                                 code ? std::strerror(code) : "an earlier write failed"),
                     code);
  }
}

namespace {

void refuse_recording(const std::filesystem::path& file) {
  std::error_code ignored;
  if (is_audio_ending(lower_case(file.extension().string())) && std::filesystem::exists(file, ignored)) {
    throw Error("{}: is a recording, and this is no audio; give another name", file.string());
  }
}

}  // namespace

void refuse_output(const std::string& path) {
  if (path == "-") return;
  refuse_recording(path);
  static const std::set<std::string> kOfRuns = {"best.safetensors",
                                                "pretrained.safetensors",
                                                "checkpoint.safetensors",
                                                kInitFile,
                                                kTeacherFile,
                                                "config.toml",
                                                "split.json",
                                                "data.json",
                                                "metrics.csv",
                                                "result.json",
                                                "outcome.json",
                                                "task.json",
                                                "log.txt",
                                                kSeedsFile,
                                                "sweep.toml"};
  const std::filesystem::path file = path, folder = file.parent_path();
  const auto holds = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::exists(folder / name, ignored);
  };
  const bool of_run = (holds("config.toml") && holds("split.json")) || holds(kSeedsFile) || holds("sweep.toml");
  if (of_run && kOfRuns.count(file.filename().string()) > 0) {
    throw Error("{}: is a file that a run needs; give another name", path);
  }
}

void refuse_foreign(const std::string& path) {
  std::error_code ignored;
  if (path == "-" || !std::filesystem::is_regular_file(path, ignored)) return;
  // Every format names the program that wrote the file, before the weights.
  std::string head(1 << 20, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(in.gcount()));
  if (head.empty() || head.find("cafx") != std::string::npos) return;
  throw Error("{}: exists and is no file that cafx wrote; choose another name, or remove it first", path);
}

void write_text(const std::string& path, const std::string& text) {
  if (path == "-") {
    write_screen(printable(text));
  } else {
    refuse_recording(path);
    write_file_atomically(path, text.data(), text.size());
  }
}

void write_table(const std::string& path, const std::string& text) {
  if (path == "-" && isatty(STDOUT_FILENO) != 1) {
    write_screen(text);
  } else {
    write_text(path, text);
  }
}

namespace {

void warn(Recordings& r, const std::string& sentence) {
  std::fprintf(stderr, "cafx: warning: %s\n", printable(sentence).c_str());
  r.warnings.push_back(sentence);
}

// Numbers of a run are of the audio that it was trained on: where that has changed since, they are of something else.
// At another rate than the run's the samples are others, and nothing can be said.
void warn_of_changed_data(Recordings& r, const std::filesystem::path& run) {
  const std::string text = RunFolder::read(run / "config.toml"), head = text.substr(0, text.find('\n'));
  const std::size_t at = head.find("   data ");
  if (at == std::string::npos) return;
  const std::string then = head.substr(at + 8), now = content_hash(r.data);
  if (then == now) return;
  warn(r, fmt::format("the recordings have changed since {} was trained on them (data {:.12}, now {:.12})",
                      run.string(), then, now));
}

constexpr std::pair<const char*, std::vector<int> Split::*> kPartsOfSplit[] = {
    {"train", &Split::train}, {"validation", &Split::validation}, {"test", &Split::test}};

// False, and nothing is done, where the run does not say its parts.
bool take_parts_of(Recordings& r, const std::filesystem::path& run) {
  const std::filesystem::path file = run / "split.json";
  const std::string text = std::filesystem::exists(file) ? RunFolder::read(file) : "";
  std::map<std::string, std::vector<int> Split::*> part_of_name;
  for (const auto& [name_of_part, part] : kPartsOfSplit) {
    for (const std::string& name : listed_in(text, name_of_part)) part_of_name[name] = part;
  }
  if (part_of_name.empty()) {
    warn(r, fmt::format("{} {}, so the parts are drawn anew: notes that the model was trained on may be among them",
                        file.string(), std::filesystem::exists(file) ? "cannot be read" : "is missing"));
    return false;
  }
  Split split;
  std::set<std::string> found;
  long others = 0;
  for (std::size_t i = 0; i < r.data.pairs.size(); ++i) {
    const auto at = part_of_name.find(listed_as(r.data.pairs[i]));
    if (at == part_of_name.end()) {
      ++others;
      continue;
    }
    (split.*at->second).push_back(static_cast<int>(i));
    found.insert(at->first);
  }
  if (found.empty()) {
    warn(r, fmt::format("none of the notes in {} is there, so the parts are drawn anew", file.string()));
    return false;
  }
  if (const auto gone = part_of_name.size() - found.size(); gone > 0) {
    warn(r, fmt::format("{} of the {} notes in {} {} gone", gone, part_of_name.size(), file.string(),
                        gone == 1 ? "is" : "are"));
  }
  if (others > 0) {
    warn(r, fmt::format("{} of the recordings {} not there when {} was trained, and in none of its parts", others,
                        others == 1 ? "was" : "were", run.string()));
  }
  r.split = split;
  return true;
}

}  // namespace

void warn_of_training_notes(Recordings& r, const std::filesystem::path& run, const std::string& part) {
  if (!std::filesystem::exists(run / "split.json")) return;
  const std::string text = RunFolder::read(run / "split.json");
  const std::vector<int>& which = part_of(r.split, part);
  for (const auto& [other, what] : {std::pair{"train", "that {} was trained on"},
                                    std::pair{"validation", "by which the weights of {} were chosen"}}) {
    if (part == "train" || part == other) continue;
    const std::set<std::string> listed = listed_in(text, other);
    long n = 0;
    for (const int i : which) n += listed.count(listed_as(r.data.pairs[static_cast<std::size_t>(i)])) > 0;
    if (n == 0) continue;
    warn(r, fmt::format("{} of the {} notes of the {} part are among those {}", n, which.size(), part,
                        fmt::format(fmt::runtime(what), run.string())));
  }
}

Recordings load_recordings(const std::filesystem::path& run, const std::vector<std::string>& settings,
                           int sample_rate) {
  const RunConfig of_run = read_run_config(run);
  DataConfig config = data_of(of_run);
  set_data_fields(prefixed("data", describe(config)), settings);
  Recordings r;
  r.data = load_dataset(config, sample_rate);
  const bool own = settings.empty(), own_rate = sample_rate == of_run.model->sample_rate;
  if (own && own_rate) warn_of_changed_data(r, run);
  if (!own || !take_parts_of(r, run)) r.split = split_dataset(r.data, config);
  return r;
}

const std::vector<int>& part_of(const Split& split, const std::string& part) {
  for (const auto& [name, of_split] : kPartsOfSplit) {
    if (part == name) return split.*of_split;
  }
  throw Error("--part {}: expected test, validation or train", part);
}

void tell(const std::function<void(const std::string&)>& say, const Dataset& data, const Split& split) {
  for (const std::string& line : warning_lines(data)) say(line);
  for (const std::string& line : data_lines(data)) say(line);
  say(fmt::format("{} notes for training, {} for validation, {} for the test", split.train.size(),
                  split.validation.size(), split.test.size()));
}

}  // namespace cafx
