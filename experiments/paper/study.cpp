#include "experiments/paper/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "datasets/idmt.h"
#include "experiments/paper/cache.h"
#include "host/eval/baseline.h"
#include "host/metrics/interval.h"
#include "host/render/render.h"
#include "host/sweep/plan.h"
#include "host/train/run_folder.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "models/play/weights_file.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFitNotes = 24;  // for the fit of the baseline, evenly spread over the training notes

struct Loaded {
  Dataset data;
  Split split;
  std::unique_ptr<Baseline> baseline;
};

class Recordings {
 public:
  // Null if the recordings cannot be read.
  const Loaded* get(const DataConfig& config, int rate) {
    DataConfig copy = config;
    const std::string key = to_toml(describe(copy)) + std::to_string(rate);
    auto found = known_.find(key);
    if (found == known_.end()) {
      std::unique_ptr<Loaded> l;
      try {
        l = std::make_unique<Loaded>();
        l->data = load_dataset(config, rate);
        l->split = split_dataset(l->data, config);
      } catch (const Error&) {
        l.reset();
      }
      found = known_.emplace(key, std::move(l)).first;
    }
    return found->second.get();
  }

  const Baseline& baseline(const Loaded& loaded) {
    Loaded& l = const_cast<Loaded&>(loaded);
    if (!l.baseline) {
      std::vector<Baseline::Note> notes;
      const auto& train = l.split.train;
      const std::size_t n = std::min(kFitNotes, train.size());
      for (std::size_t i = 0; i < n; ++i) {
        const Pair& p = l.data.pairs[static_cast<std::size_t>(train[i * train.size() / n])];
        notes.push_back({p.dry, p.wet});
      }
      l.baseline = std::make_unique<Baseline>(notes);
    }
    return *l.baseline;
  }

 private:
  std::map<std::string, std::unique_ptr<Loaded>> known_;
};

Metrics mean_of(const std::vector<Metrics>& all) {
  Metrics m;
  for (const MetricName& name : kMetricNames) {
    double sum = 0.0;
    for (const Metrics& one : all) sum += one.*name.value;
    m.*name.value = sum / static_cast<double>(all.size());
  }
  return m;
}

Metrics deviation_of(const std::vector<Metrics>& all) {
  const Metrics mean = mean_of(all);
  Metrics m;
  for (const MetricName& name : kMetricNames) {
    double sum = 0.0;
    for (const Metrics& one : all) sum += (one.*name.value - mean.*name.value) * (one.*name.value - mean.*name.value);
    m.*name.value = all.size() > 1 ? std::sqrt(sum / static_cast<double>(all.size() - 1)) : 0.0;
  }
  return m;
}

// The test notes must be those of the run's split.json: a note of the training set is no test.
void check_split_of_run(const fs::path& run, const Dataset& data, const Split& split) {
  const Json json = Store::read_json(run / "split.json");
  if (!json.is_object() || !json.contains("test")) return;
  std::set<std::string> then, now;
  for (const Json& n : json["test"]) then.insert(n.value("note", ""));
  for (const int i : split.test) now.insert(data.pairs[static_cast<std::size_t>(i)].name);
  if (then != now) {
    throw Error(
        "{}: was trained with other recordings: {} notes were kept for its test, beginning with {}, here it would be "
        "{} "
        "beginning with {}; give the same recordings as --data",
        run.string(), then.size(), then.empty() ? "none" : *then.begin(), now.size(),
        now.empty() ? "none" : *now.begin());
  }
}

OnNotes on_notes(const Measured& m, const std::function<bool(const NoteResult&)>& which) {
  std::vector<Metrics> model, baseline, dry;
  for (std::size_t i = 0; i < m.evaluation.notes.size(); ++i) {
    const NoteResult& r = m.evaluation.notes[i];
    if (!which(r)) continue;
    model.push_back(r.model);
    baseline.push_back(m.baseline[i]);
    dry.push_back(r.dry);
  }
  OnNotes on;
  on.n = static_cast<int>(model.size());
  if (on.n > 0) on = {mean_of(model), mean_of(baseline), mean_of(dry), on.n};
  return on;
}
OnNotes on_notes(const Measured& m) {
  return on_notes(m, [](const NoteResult&) { return true; });
}

std::string slug(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u))
      out += static_cast<char>(std::tolower(u));
    else if (!out.empty() && out.back() != '-')
      out += '-';
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out;
}

// At most `most` samples, evenly spread over the loud eighth of the note.
void add_samples(Measured& m, const NoteResult& r, std::size_t most) {
  double peak = 0.0;
  std::size_t start = 0;
  for (const float v : r.input) peak = std::max(peak, static_cast<double>(std::abs(v)));
  while (start < r.input.size() && std::abs(r.input[start]) < 0.3 * peak) ++start;
  const std::size_t end = std::min(r.input.size(), start + r.input.size() / 8);
  const std::size_t step = std::max<std::size_t>(1, (end - start) / most);
  for (std::size_t i = start; i < end; i += step) {
    m.sample_in.push_back(r.input[i]);
    m.sample_target.push_back(r.target[i]);
    m.sample_out.push_back(r.output[i]);
  }
}

// Measures models, or returns cached measurements.
class StudyMeasurer {
 public:
  StudyMeasurer(const Store& store, const Context& context, const StudyOptions& options)
      : context_(context), options_(options), catalogue_(store.root()), cache_(options.cache) {}

  // Of `model` on the test notes of `notes`, or on all where `part` is "all"; the baseline is fitted to the training
  // notes of `own`. Nothing if there are no such notes.
  std::optional<Measured> measure(CafxModel& model, const DataConfig& own, const DataConfig& notes,
                                  const std::string& part, const fs::path& run) {
    const int rate = model.geometry().sample_rate, hop = std::min(options_.hop, model.geometry().frame / 2);
    std::string key;
    try {
      key = key_of(model, {own, notes}, part + std::to_string(hop) + "/" + std::to_string(options_.shown));
    } catch (const Error&) {
      if (!run.empty()) throw;
      return std::nullopt;
    }
    if (auto known = cache_.notes(key)) return known;
    const Loaded *data = recordings_.get(notes, rate), *fitted = recordings_.get(own, rate);
    if (!data || !fitted) return std::nullopt;
    if (!run.empty()) check_split_of_run(run, data->data, data->split);
    std::vector<int> which = data->split.test;
    if (part == "all") {
      which.resize(data->data.pairs.size());
      std::iota(which.begin(), which.end(), 0);
    }
    Measured m;
    m.evaluation = evaluate(model, context_, data->data, which, part, hop);
    const Baseline& baseline = recordings_.baseline(*fitted);
    auto& all = m.evaluation.notes;
    m.baseline.resize(all.size());
    m.baseline_output.resize(std::min(all.size(), options_.shown));
    context_.pool->run(static_cast<int>(all.size()), [&](int task, int) {
      const auto i = static_cast<std::size_t>(task);
      auto output = baseline(all[i].input);
      m.baseline[i] = Measure(all[i].target, rate)(output);
      if (i < m.baseline_output.size()) m.baseline_output[i] = std::move(output);
    });
    for (std::size_t i = 0; i < all.size(); ++i) {
      NoteResult& r = all[i];
      // The location of the files is not part of the result.
      r.dry_file = fs::path(r.dry_file).filename().string();
      r.wet_file = fs::path(r.wet_file).filename().string();
      add_samples(m, r, 400 / all.size() + 1);
      if (i >= options_.shown) r.input = r.target = r.output = {};
    }
    cache_.keep(key, m);
    return m;
  }

  // Of the device against itself on the run's test notes (evidence.h); NaN without second takes.
  double noise(const DataConfig& config, int rate) {
    if (options_.takes.empty()) return std::nan("");
    DataConfig again = config;
    again.path = options_.takes.string();
    const Loaded *first = recordings_.get(config, rate), *second = recordings_.get(again, rate);
    if (!first || !second) return std::nan("");
    return esr_of_noise(first->data, first->split.test, second->data);
  }

  DeviceTraits traits(CafxModel& model, const std::vector<double>& levels_db) {
    const int hop = options_.traits_hop > 0 ? options_.traits_hop : model.geometry().frame / 2;
    std::string levels;
    for (const double l : levels_db) levels += fmt::format(" {}", l);
    const std::string key = key_of(model, {}, "traits" + std::to_string(hop) + levels);
    if (auto known = cache_.traits(key)) return *known;
    const DeviceTraits t = measure_device(model, context_, hop, levels_db);
    cache_.keep(key, t);
    return t;
  }

 private:
  std::string key_of(const CafxModel& model, const std::vector<DataConfig>& data, const std::string& what) {
    Hasher hasher;
    hasher.add(fmt::format("{} {} {}", kMeasured, kVersion, what));
    CafxConfig config = model.config();
    hasher.add(to_toml(describe(config)));
    hasher.add(model.data(), sizeof(float) * static_cast<std::size_t>(model.n_floats()));
    for (DataConfig d : data) {
      hasher.add(catalogue_.facts(d, config.sample_rate).hash);
      d.path.clear();
      d.dry.clear();
      d.wet.clear();
      hasher.add(to_toml(describe(d)));
    }
    return hasher.hex();
  }

  const Context& context_;
  const StudyOptions& options_;
  DataCatalogue catalogue_;
  MeasureCache cache_;
  Recordings recordings_;
};

}  // namespace

std::string effect_name(const DataConfig& d) {
  if (d.chain.rfind("fxchain", 0) == 0) return "FxChain " + d.chain.substr(7);
  if (!d.chain.empty()) return d.chain;
  return d.setting > 0 ? fmt::format("{} {}", d.effect, d.setting) : d.effect;
}

std::string Experiment::title() const {
  return effect + ", " + instrument + (split == "instrument" ? ", split by instrument" : "");
}
std::string Experiment::id() const {
  const std::string whole = slug(preset + " " + instrument + " " + effect + " " +
                                 (split == "instrument" ? "split-by-instrument " : "") + variant);
  constexpr std::size_t kMost = 100;  // file systems take 255, endings and kinds included
  if (whole.size() <= kMost) return whole;
  Hasher hasher;
  hasher.add(whole);
  return whole.substr(0, kMost - 9) + "-" + hasher.hex().substr(0, 8);
}

Metrics Experiment::mean(Metrics StudyRun::*which) const {
  std::vector<Metrics> all;
  for (const StudyRun& r : runs) all.push_back(r.*which);
  return mean_of(all);
}

Metrics Experiment::own_mean() const {
  std::vector<Metrics> all;
  for (const StudyRun& r : runs) all.push_back(r.own.mean);
  return mean_of(all);
}

Metrics Experiment::own_spread() const {
  if (runs.size() == 1) return runs[0].own.spread;
  std::vector<Metrics> all;
  for (const StudyRun& r : runs) all.push_back(r.own.mean);
  return deviation_of(all);
}

double Experiment::interval(double Metrics::*value) const {
  std::vector<double> all;
  for (const StudyRun& r : runs) all.push_back(r.own.mean.*value);
  return all.size() < 2 ? std::nan("") : interval_of(all).half_width;
}

bool Experiment::learned() const {
  return std::all_of(runs.begin(), runs.end(),
                     [](const StudyRun& r) { return r.frames <= 0.0 || r.frames >= kEnoughFrames; });
}

std::vector<const Experiment*> pointers(const std::vector<Experiment>& all) {
  std::vector<const Experiment*> found;
  for (const Experiment& x : all) found.push_back(&x);
  return found;
}

std::vector<const Experiment*> main_experiments(const std::vector<Experiment>& all) {
  std::vector<const Experiment*> found;
  for (const Experiment& x : all) {
    if (x.variant.empty()) found.push_back(&x);
  }
  return found.empty() ? pointers(all) : found;
}

double mean_over(const Experiment& x, const std::function<const OnNotes*(const StudyRun&)>& which,
                 double Metrics::*value, Metrics OnNotes::*whose) {
  double sum = 0.0;
  int n = 0;
  for (const StudyRun& r : x.runs) {
    const OnNotes* on = which(r);
    if (!on) continue;
    sum += (on->*whose).*value;
    ++n;
  }
  return n > 0 ? sum / n : std::nan("");
}

namespace {

constexpr const char* kInstruments[] = {"bass", "guitar"};  // of IDMT's monophonic notes

// Of a note, by the name of its dry file; empty where that is not a name of IDMT.
std::string instrument_of(const NoteResult& r) {
  const auto name = parse_idmt_name(fs::path(r.dry_file).stem().string());
  return !name ? "" : name->instrument == 'B' ? "bass" : name->instrument == 'G' ? "guitar" : "";
}

// The other one of kInstruments; empty where `instrument` is neither.
std::string other_instrument(const std::string& instrument) {
  if (instrument == kInstruments[0]) return kInstruments[1];
  return instrument == kInstruments[1] ? kInstruments[0] : "";
}

std::vector<std::string> subfolders(const fs::path& folder) {
  std::vector<std::string> names;
  if (folder.empty() || !fs::is_directory(folder)) return names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Indices of the training tasks that are done, each run once: sweeps may share runs.
std::vector<std::size_t> finished_trainings(const std::vector<Task>& tasks, const Store& store) {
  std::vector<std::size_t> found;
  std::set<std::string> folders;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const Task& t = tasks[i];
    if (t.kind == TaskKind::kTrain && store.outcome(t).state == State::kDone && folders.insert(t.folder).second)
      found.push_back(i);
  }
  return found;
}

// Reads cost, device and metrics of the training from the run's folder.
void read_training(StudyRun& run, const fs::path& folder) {
  const Json usage = Store::read_json(folder / "usage.json"), result = Store::read_json(folder / "result.json");
  if (usage.is_object()) run.seconds = usage.value("training_seconds", 0.0);
  if (run.seconds > 0.0)
    run.frames_per_second = usage.value("trained_steps", 0.0) * run.config.train.batch / run.seconds;
  if (result.is_object()) run.device = result.value("isa", "");
  if (usage.is_object() && usage.value("device", "") == "cpu") run.device = "CPU (" + run.device + ")";
  run.metrics_csv = RunFolder::read(folder / "metrics.csv");
  run.frames = frames_heard(run.metrics_csv, run.config.train.batch);
}

// Measures `run` on the notes of the other instrument, or by instrument where it was trained on both.
void measure_instruments(StudyRun& run, const Measured& own, StudyMeasurer& measurer, CafxModel& model,
                         const DataConfig& d) {
  DataConfig other = d;
  other.instrument = other_instrument(d.instrument);
  if (!other.instrument.empty()) {
    if (const auto m = measurer.measure(model, d, other, "test", {})) run.cross = on_notes(*m);
  } else if (d.instrument == "all") {
    for (const char* instrument : kInstruments) {
      const OnNotes part = on_notes(own, [&](const NoteResult& r) { return instrument_of(r) == instrument; });
      if (part.n > 0) run.parts[instrument] = part;
    }
  }
}

void measure_unheard(StudyRun& run, const fs::path& folder, StudyMeasurer& measurer, CafxModel& model,
                     const DataConfig& d) {
  if (d.chain.rfind("fxchain", 0) != 0) return;
  for (const std::string& instrument : subfolders(folder)) {
    DataConfig notes;
    notes.reader = "folders";
    notes.dry = (folder / instrument).string();
    notes.chain = d.chain;
    notes.align = false;  // a chain has no latency; an estimate from few notes could be wrong
    if (const auto m = measurer.measure(model, d, notes, "all", {})) run.unheard[instrument] = on_notes(*m);
  }
}

// The first seed's model as a device, beside samples of its test notes.
void describe_device(Experiment& x, const Measured& own, StudyMeasurer& measurer, CafxModel& model) {
  x.target_in = own.sample_in;
  x.target_out = own.sample_target;
  x.model_out = own.sample_out;
  x.baseline_output = own.baseline_output;
  double reach = x.target_in.empty() ? 1.0 : 0.0;
  for (const double v : x.target_in) reach = std::max(reach, std::abs(v));
  const double loudest = std::floor(20.0 * std::log10(std::max(1e-4, reach)));
  x.traits = measurer.traits(model, {loudest - 24.0, loudest - 12.0, loudest});
}

}  // namespace

std::vector<Experiment> study(const std::vector<Task>& tasks, const Store& store, const Context& context,
                              const StudyOptions& options, std::vector<std::unique_ptr<CafxModel>>& models) {
  std::vector<Experiment> all;
  StudyMeasurer measurer(store, context, options);
  const std::vector<std::string> variant = variants(tasks);
  const std::vector<std::size_t> finished = finished_trainings(tasks, store);
  for (std::size_t done = 0; done < finished.size(); ++done) {
    const Task& t = tasks[finished[done]];
    StudyRun run;
    run.config = config_of_json(t.config, t.folder);
    DataConfig d = run.config.data;
    if (!options.data.empty() && d.reader == "idmt") d.path = options.data.string();
    Experiment key;
    key.instrument = d.instrument == "all" ? "guitar and bass" : d.instrument;
    key.effect = effect_name(d);
    key.preset = run.config.preset;
    key.split = d.split;
    key.variant = variant[finished[done]];
    if (options.progress) {
      options.progress(static_cast<double>(done) / static_cast<double>(finished.size()), "measuring " + key.title());
    }
    auto at = std::find_if(all.begin(), all.end(), [&](const Experiment& x) { return x.id() == key.id(); });
    const bool first = at == all.end();
    if (first) at = all.insert(all.end(), key);

    auto loaded = special<CafxModel>(load_model(store.run(t)), t.folder);
    CafxModel& model = *loaded;
    run.folder = t.folder;
    if (t.parent >= 0) run.pretraining = tasks[static_cast<std::size_t>(t.parent)].folder;
    const auto own = measurer.measure(model, d, d, "test", store.run(t));
    if (!own) throw Error("{}: its recordings under '{}' cannot be read any more", t.folder, d.path);
    const OnNotes whole = on_notes(*own);
    run.own = own->evaluation;
    run.dry = whole.dry;
    run.baseline = whole.baseline;
    measure_instruments(run, *own, measurer, model, d);
    measure_unheard(run, options.unheard, measurer, model, d);
    if (d.reader == "idmt" && d.chain.empty()) run.best = measurer.noise(d, run.config.model->sample_rate);
    read_training(run, store.run(t));
    if (first) {
      describe_device(*at, *own, measurer, model);
      models.push_back(std::move(loaded));
    } else {
      for (NoteResult& r : run.own.notes) r.input = r.target = r.output = {};
    }
    at->runs.push_back(std::move(run));
  }
  return all;
}

}  // namespace cafx
