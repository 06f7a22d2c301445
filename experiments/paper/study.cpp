#include "experiments/paper/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "experiments/paper/cache.h"
#include "host/eval/baseline.h"
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

constexpr std::size_t kFitNotes = 24;  // that the baseline is fitted to: evenly taken from the training notes

struct Loaded {
  Dataset data;
  Split split;
  std::unique_ptr<Baseline> baseline;
};

class Shelf {
 public:
  // Null where there is no such data.
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
        notes.push_back({&p.dry, &p.wet});
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

// The run's split on disk against the one that is about to be measured: a note that was trained on is no test.
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

// At most `most` samples of the note's sounding second, evenly taken.
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

// Measures models, or takes what is known of them from the cache.
class Surveyor {
 public:
  Surveyor(const Store& store, const Context& context, const StudyOptions& options)
      : context_(context), options_(options), catalogue_(store.root()), cache_(options.cache) {}

  // Of `model` on the test notes of `notes`, or on all where `part` is "all"; the baseline is fitted to the training notes
  // of `own`. Nothing where there are no such notes.
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
    const Loaded *data = shelf_.get(notes, rate), *fitted = shelf_.get(own, rate);
    if (!data || !fitted) return std::nullopt;
    if (!run.empty()) check_split_of_run(run, data->data, data->split);
    std::vector<int> which = data->split.test;
    if (part == "all") {
      which.resize(data->data.pairs.size());
      std::iota(which.begin(), which.end(), 0);
    }
    Measured m;
    m.evaluation = evaluate(model, context_, data->data, which, part, hop);
    const Baseline& baseline = shelf_.baseline(*fitted);
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
      // Where the files lie is no part of the result.
      r.dry_file = fs::path(r.dry_file).filename().string();
      r.wet_file = fs::path(r.wet_file).filename().string();
      add_samples(m, r, 400 / all.size() + 1);
      if (i >= options_.shown) r.input = r.target = r.output = {};
    }
    cache_.keep(key, m);
    return m;
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
  Shelf shelf_;
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

std::vector<std::string> variants(const std::vector<Task>& tasks) {
  static const std::set<std::string> apart = {"preset",      "train.seed",   "train.init_from", "train.gpus",
                                              "data.path",   "data.dry",     "data.wet",        "data.instrument",
                                              "data.effect", "data.setting", "data.chain",      "data.split"};
  const auto counts = [](const std::string& key) { return !apart.count(key) && key.rfind("log.", 0) != 0; };
  // Of a run that starts from a shared pretraining, the pretraining's epochs.
  const auto value_of = [&](const Task& t, const std::string& key) {
    if (key == "train.pretrain_epochs" && t.parent >= 0)
      return tasks[static_cast<std::size_t>(t.parent)].config.at(key);
    return t.config.at(key);
  };
  std::map<std::string, std::map<std::string, Json>> usual;  // by preset, by key
  std::map<std::string, std::map<std::string, std::map<std::string, int>>> seen;
  for (const Task& t : tasks) {
    if (t.kind != TaskKind::kTrain) continue;
    for (const auto& [key, value] : t.config.items()) {
      if (counts(key)) ++seen[t.config.at("preset")][key][value_of(t, key).dump()];
    }
  }
  for (const auto& [preset, keys] : seen) {
    RunConfig defaults = run_preset(preset);
    const Json own = to_json(describe(defaults));
    for (const auto& [key, values] : keys) {
      int most = 0;
      for (const auto& [value, n] : values) {
        // Of equally many, the preset's own.
        const bool is_own = own.contains(key) && own[key].dump() == value;
        if (n > most || (n == most && is_own)) {
          most = n;
          usual[preset][key] = Json::parse(value);
        }
      }
    }
  }
  std::vector<std::string> all;
  for (const Task& t : tasks) {
    std::string text;
    if (t.kind == TaskKind::kTrain) {
      for (const auto& [key, common] : usual[t.config.at("preset")]) {
        if (!t.config.contains(key) || value_of(t, key) == common) continue;
        const std::size_t dot = key.find('.');  // "model.saaf.l2": "saaf.l2"
        text += (text.empty() ? "" : ", ") + key.substr(dot + 1) + " " + value_text(value_of(t, key));
      }
    }
    all.push_back(text);
  }
  return all;
}

std::vector<Experiment> study(const std::vector<Task>& tasks, const Store& store, const Context& context,
                              const StudyOptions& options, std::vector<std::unique_ptr<CafxModel>>& models) {
  std::vector<Experiment> all;
  Surveyor surveyor(store, context, options);
  std::vector<std::string> unheard;
  if (!options.unheard.empty() && fs::is_directory(options.unheard)) {
    for (const auto& entry : fs::directory_iterator(options.unheard)) {
      if (entry.is_directory()) unheard.push_back(entry.path().filename().string());
    }
    std::sort(unheard.begin(), unheard.end());
  }
  const std::vector<std::string> variant = variants(tasks);
  std::vector<std::size_t> open;
  std::set<std::string> folders;  // sweeps may share runs
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const Task& t = tasks[i];
    if (t.kind == TaskKind::kTrain && store.outcome(t).state == State::kDone && folders.insert(t.folder).second)
      open.push_back(i);
  }
  for (std::size_t done = 0; done < open.size(); ++done) {
    const Task& t = tasks[open[done]];
    StudyRun run;
    run.config = config_of_json(t.config, t.folder);
    DataConfig d = run.config.data;
    if (!options.data.empty() && d.reader == "idmt") d.path = options.data.string();
    Experiment key;
    key.instrument = d.instrument == "all" ? "guitar and bass" : d.instrument;
    key.effect = effect_name(d);
    key.preset = run.config.preset;
    key.split = d.split;
    key.variant = variant[open[done]];
    if (options.progress) {
      options.progress(static_cast<double>(done) / static_cast<double>(open.size()), "measuring " + key.title());
    }
    auto at = std::find_if(all.begin(), all.end(), [&](const Experiment& x) { return x.id() == key.id(); });
    const bool first = at == all.end();
    if (first) at = all.insert(all.end(), key);
    Experiment& x = *at;

    auto loaded = special<CafxModel>(load_model(store.run(t)), t.folder);
    CafxModel& model = *loaded;
    run.folder = t.folder;
    if (t.parent >= 0) run.pretraining = tasks[static_cast<std::size_t>(t.parent)].folder;
    auto own = surveyor.measure(model, d, d, "test", store.run(t));
    if (!own) throw Error("{}: its recordings under '{}' cannot be read any more", t.folder, d.path);
    const OnNotes whole = on_notes(*own);
    run.own = std::move(own->evaluation);
    run.dry = whole.dry;
    run.baseline = whole.baseline;

    DataConfig other = d;
    other.instrument = d.instrument == "guitar" ? "bass" : "guitar";
    if (d.instrument == "guitar" || d.instrument == "bass") {
      if (const auto m = surveyor.measure(model, d, other, "test", {})) run.cross = on_notes(*m);
    } else if (d.instrument == "all") {
      own->evaluation.notes = run.own.notes;
      for (const auto& [name, letter] : {std::pair("bass", 'B'), std::pair("guitar", 'G')}) {
        const OnNotes part = on_notes(*own, [&](const NoteResult& r) { return r.note[0] == letter; });
        if (part.n > 0) run.parts[name] = part;
      }
    }
    for (const std::string& instrument : unheard) {
      if (d.chain.rfind("fxchain", 0) != 0) break;
      DataConfig notes;
      notes.reader = "folders";
      notes.dry = (options.unheard / instrument).string();
      notes.chain = d.chain;
      notes.align = false;  // a chain has no latency, and few notes could feign one
      if (const auto m = surveyor.measure(model, d, notes, "all", {})) run.unheard[instrument] = on_notes(*m);
    }
    const Json usage = Store::read_json(store.run(t) / "usage.json");
    if (usage.is_object()) run.seconds = usage.value("training_seconds", 0.0);
    if (run.seconds > 0.0)
      run.frames_per_second = usage.value("trained_steps", 0.0) * run.config.train.batch / run.seconds;
    const Json result = Store::read_json(store.run(t) / "result.json");
    if (result.is_object()) run.device = result.value("isa", "");
    if (usage.is_object() && usage.value("device", "") == "cpu") run.device = "CPU (" + run.device + ")";
    run.metrics_csv = RunFolder::read(store.run(t) / "metrics.csv");

    if (first) {
      x.target_in = own->sample_in;
      x.target_out = own->sample_target;
      x.model_out = own->sample_out;
      x.baseline_output = own->baseline_output;
      double reach = x.target_in.empty() ? 1.0 : 0.0;
      for (const double v : x.target_in) reach = std::max(reach, std::abs(v));
      const double loudest = std::floor(20.0 * std::log10(std::max(1e-4, reach)));
      x.traits = surveyor.traits(model, {loudest - 24.0, loudest - 12.0, loudest});
    } else {
      for (NoteResult& r : run.own.notes) r.input = r.target = r.output = {};
    }
    x.runs.push_back(std::move(run));
    if (first) models.push_back(std::move(loaded));
  }
  return all;
}

}  // namespace cafx
