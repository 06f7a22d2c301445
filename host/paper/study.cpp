#include "host/paper/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "host/export/model_file.h"
#include "host/paper/baseline.h"
#include "host/render/render.h"
#include "host/train/run_folder.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFitNotes = 8;  // that the baseline is fitted to: evenly taken from the training notes

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

Metrics baseline_on(const Baseline& baseline, const Evaluation& e, int rate) {
  std::vector<Metrics> all;
  for (const NoteResult& r : e.notes) all.push_back(Measure(r.target, rate)(baseline(r.input)));
  return mean_of(all);
}

Metrics dry_of(const Evaluation& e) {
  std::vector<Metrics> all;
  for (const NoteResult& r : e.notes) all.push_back(r.dry);
  return mean_of(all);
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

// Settings that differ from the preset's, without seed and data; empty: the preset as it is.
std::string variant_of(const Task& t, const std::string& preset) {
  RunConfig defaults = run_preset(preset);
  const Json usual = to_json(describe(defaults));
  std::string text;
  for (const auto& [key, value] : t.point) {
    if (key == "preset" || key == "train.seed" || key.rfind("data.", 0) == 0) continue;
    if (usual.contains(key) && usual[key] == value) continue;
    const std::size_t dot = key.find('.');  // "model.saaf.l2": "saaf.l2"
    text += (text.empty() ? "" : ", ") + key.substr(dot == std::string::npos ? 0 : dot + 1) + " " + value_text(value);
  }
  return text;
}

// At most `most` samples of the note's sounding second, evenly taken.
void add_samples(Experiment& x, const NoteResult& r, std::size_t most) {
  double peak = 0.0;
  std::size_t start = 0;
  for (const float v : r.input) peak = std::max(peak, static_cast<double>(std::abs(v)));
  while (start < r.input.size() && std::abs(r.input[start]) < 0.3 * peak) ++start;
  const std::size_t end = std::min(r.input.size(), start + r.input.size() / 8);
  const std::size_t step = std::max<std::size_t>(1, (end - start) / most);
  for (std::size_t i = start; i < end; i += step) {
    x.target_in.push_back(r.input[i]);
    x.target_out.push_back(r.target[i]);
    x.model_out.push_back(r.output[i]);
  }
}

}  // namespace

std::string effect_name(const DataConfig& d) {
  if (d.chain.rfind("fxchain", 0) == 0) return "FxChain " + d.chain.substr(7);
  if (!d.chain.empty()) return d.chain;
  return d.setting > 0 ? fmt::format("{} {}", d.effect, d.setting) : d.effect;
}

std::string Experiment::title() const { return effect + ", " + instrument; }
std::string Experiment::id() const {
  const std::string whole = slug(preset + " " + instrument + " " + effect + " " + variant);
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

std::vector<Experiment> study(const std::vector<Task>& tasks, const Store& store, const Context& context,
                              const StudyOptions& options, std::vector<std::unique_ptr<CafxModel>>& models) {
  std::vector<Experiment> all;
  Shelf shelf;
  std::size_t n = 0, done = 0;
  for (const Task& t : tasks) n += t.kind == TaskKind::kTrain && store.outcome(t).state == State::kDone;
  for (const Task& t : tasks) {
    if (t.kind != TaskKind::kTrain || store.outcome(t).state != State::kDone) continue;
    StudyRun run;
    Fields fields = describe(run.config);
    set_fields(fields, t.config, t.folder);
    const DataConfig& d = run.config.data;
    if (options.progress) {
      options.progress(static_cast<double>(done) / static_cast<double>(n),
                       fmt::format("measuring {}, {}", effect_name(d), d.instrument));
    }
    ++done;
    Experiment key;
    key.instrument = d.split == "instrument" ? d.instrument + ", split by instrument" : d.instrument;
    key.effect = effect_name(d);
    key.preset = run.config.preset;
    key.variant = variant_of(t, run.config.preset);
    auto at = std::find_if(all.begin(), all.end(), [&](const Experiment& x) { return x.id() == key.id(); });
    const bool first = at == all.end();
    if (first) at = all.insert(all.end(), key);
    Experiment& x = *at;

    const ModelFile file = load_model(store.run(t));
    CafxModel& model = *file.model;
    const int rate = model.geometry().sample_rate;
    const Loaded* loaded = shelf.get(d, rate);
    if (!loaded) throw Error("{}: its recordings under '{}' cannot be read any more", t.folder, d.path);
    run.folder = t.folder;
    if (t.parent >= 0) run.pretraining = tasks[static_cast<std::size_t>(t.parent)].folder;
    const int hop = std::min(options.hop, model.geometry().frame / 2);
    run.own = evaluate(model, context, loaded->data, loaded->split.test, "test", hop);
    run.dry = dry_of(run.own);
    const Baseline& baseline = shelf.baseline(*loaded);
    run.baseline = baseline_on(baseline, run.own, rate);

    DataConfig other = d;
    other.instrument = d.instrument == "guitar" ? "bass" : "guitar";
    if (d.instrument == "guitar" || d.instrument == "bass") {
      if (const Loaded* l = shelf.get(other, rate)) {
        const Evaluation e = evaluate(model, context, l->data, l->split.test, "test", hop);
        run.cross = e.mean;
        run.cross_dry = dry_of(e);
        run.cross_baseline = baseline_on(baseline, e, rate);
      }
    }
    const Json usage = Store::read_json(store.run(t) / "usage.json");
    if (usage.is_object()) run.seconds = usage.value("training_seconds", 0.0);
    run.metrics_csv = RunFolder::read(store.run(t) / "metrics.csv");

    if (first) {
      for (const NoteResult& r : run.own.notes) add_samples(x, r, 400 / run.own.notes.size() + 1);
      const double reach =
          x.target_in.empty()
              ? 1.0
              : std::abs(*std::max_element(x.target_in.begin(), x.target_in.end(),
                                           [](double a, double b) { return std::abs(a) < std::abs(b); }));
      const double loudest = std::floor(20.0 * std::log10(std::max(1e-4, reach)));
      x.traits =
          measure_device(model, context, options.traits_hop > 0 ? options.traits_hop : model.geometry().frame / 2,
                         {loudest - 24.0, loudest - 12.0, loudest});
      for (std::size_t i = 0; i < run.own.notes.size() && i < options.shown; ++i)
        x.baseline_output.push_back(baseline(run.own.notes[i].input));
    }
    for (std::size_t i = 0; i < run.own.notes.size(); ++i) {
      if (first && i < options.shown) continue;
      for (auto* signal : {&run.own.notes[i].input, &run.own.notes[i].target, &run.own.notes[i].output}) {
        signal->clear();
        signal->shrink_to_fit();
      }
    }
    x.runs.push_back(std::move(run));
    if (first) models.push_back(std::move(const_cast<ModelFile&>(file).model));
  }
  return all;
}

}  // namespace cafx
