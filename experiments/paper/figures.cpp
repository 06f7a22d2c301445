#include "experiments/paper/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <numeric>

#include "datasets/idmt.h"
#include "experiments/paper/figure_parts.h"
#include "host/report/learning.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

const float* tensor(const CafxModel& m, const std::string& name) {
  for (const ParamSpec& p : m.params()) {
    if (p.name == name) return m.data() + p.offset;
  }
  return nullptr;
}

// 'same' correlation with `taps` taps, (taps - 1) / 2 of them before the sample.
std::vector<double> correlate(const std::vector<double>& x, const float* w, int taps, double bias) {
  const auto n = static_cast<long>(x.size());
  std::vector<double> y(x.size(), bias);
  for (long t = 0; t < n; ++t) {
    for (int k = 0; k < taps; ++k) {
      const long s = t + k - (taps - 1) / 2;
      if (s >= 0 && s < n) y[static_cast<std::size_t>(t)] += w[k] * x[static_cast<std::size_t>(s)];
    }
  }
  return y;
}

Figure filters(const CafxModel& m, const std::string& whose) {
  Figure f{"filters", "Learned Conv1D filters", "", {}};
  const CafxConfig& c = m.config();
  const float* w = tensor(m, "conv1d.weight");
  const int n = std::min(c.filters, 32);
  for (int i = 0; w && i < n; ++i) {
    Panel p;
    p.axes.title = fmt::format("filter {}", i);
    p.axes.height = 60;
    Series s{p.axes.title, "", numbers(static_cast<std::size_t>(c.taps), 0, 1), {}};
    for (int k = 0; k < c.taps; ++k) s.y.push_back(w[static_cast<std::size_t>(i * c.taps + k)]);
    p.series = {s};
    f.panels.push_back(p);
  }
  f.caption = fmt::format("Amplitude over time, {} of {} filters of {} taps ({:.1f} ms), each to its own scale; {}.", n,
                          c.filters, c.taps, 1e3 * c.taps / c.sample_rate, whose);
  return f;
}

Figure unsupervised(CafxModel& m, const std::vector<float>& note, const Context& context) {
  Figure f{"unsupervised", "Unsupervised model: X1, Z and the reconstruction", "", {}};
  const CafxConfig& c = m.config();
  const auto loudest = static_cast<std::size_t>(
      std::max_element(note.begin(), note.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }) -
      note.begin());
  const std::size_t frame = static_cast<std::size_t>(c.frame), from = loudest > frame / 4 ? loudest - frame / 4 : 0;
  std::vector<float> x(frame, 0.0f), y(frame);
  for (std::size_t i = 0; i < frame && from + i < note.size(); ++i) x[i] = note[from + i];
  m.forward(context, y.data(), x.data(), 1);
  const std::vector<double> input(x.begin(), x.end());
  std::vector<std::vector<double>> x1, z, again;  // again: x1 unpooled from z at the positions of the maxima
  for (int i = 0; i < c.filters; ++i) {
    const auto at = static_cast<std::size_t>(i);
    x1.push_back(correlate(input, tensor(m, "conv1d.weight") + i * c.taps, c.taps, tensor(m, "conv1d.bias")[at]));
    std::vector<double> magnitude = x1.back();
    for (double& v : magnitude) v = std::abs(v);
    auto x2 = correlate(magnitude, tensor(m, "local_conv.weight") + i * c.local_taps, c.local_taps,
                        tensor(m, "local_conv.bias")[at]);
    z.emplace_back();
    again.emplace_back(frame, 0.0);
    for (std::size_t t = 0; t < frame; t += static_cast<std::size_t>(c.pool)) {
      const auto end = x2.begin() + static_cast<long>(t) + c.pool;
      const auto most = static_cast<std::size_t>(std::max_element(x2.begin() + static_cast<long>(t), end) - x2.begin());
      z.back().push_back(std::log1p(std::exp(x2[most])));  // softplus rises, so it may follow the maximum
      again.back()[most] = z.back().back() * x1.back()[most];
    }
  }
  const auto ms = numbers(frame, 0.0, 1e3 / c.sample_rate);
  const auto panel = [&](const char* title, const char* unit) {
    Panel p;
    p.axes.title = title;
    p.axes.x_label = "time, ms";
    p.axes.y_label = unit;
    p.axes.height = 190;
    return p;
  };
  Panel in = panel("input and reconstruction", "amplitude");
  Series e{"difference", "c", ms, {}};
  for (std::size_t i = 0; i < frame; ++i) e.y.push_back(y[i] - x[i]);
  in.series = {{"input", "", ms, input}, {"reconstruction", "b", ms, {y.begin(), y.end()}}, e};
  const auto map = [&](const char* title, const std::vector<std::vector<double>>& channels) {
    Panel p = panel(title, "channel");
    p.axes.x = {0.0, 1e3 * c.frame / c.sample_rate};
    p.axes.y = {-0.5, c.filters - 0.5};
    p.map.rows = c.filters;
    constexpr std::size_t kMostColumns = 256;
    const std::size_t n = channels[0].size(), columns = std::min(n, kMostColumns);
    p.map.columns = static_cast<int>(columns);
    for (const auto& v : channels) {
      for (std::size_t i = 0; i < columns; ++i) {
        // Of samples that share a column, the one with the largest magnitude.
        p.map.values.push_back(*std::max_element(v.begin() + static_cast<long>(i * n / columns),
                                                 v.begin() + static_cast<long>((i + 1) * n / columns),
                                                 [](double p0, double p1) { return std::abs(p0) < std::abs(p1); }));
      }
    }
    return p;
  };
  // A softplus is never near zero, so Z is drawn from its least to its greatest value.
  Panel pooled = map("Z", z);
  const auto [least, most] = std::minmax_element(pooled.map.values.begin(), pooled.map.values.end());
  const double lo = *least, span = std::max(1e-30, *most - *least);
  for (double& v : pooled.map.values) v = (v - lo) / span;
  pooled.map.plain = true;
  f.panels = {in, map("X1", x1), pooled, map("X1, reconstructed", again)};
  f.caption = fmt::format(
      "One frame of {} samples of a test note through the pretrained convolutional layers, {} channels in the order of "
      "the "
      "filters: X1 after Conv1D, Z after the pooling by {}, and X1 as unpooling puts it together from Z at the places "
      "of the "
      "maxima. Brightness: root of the magnitude, each to its own largest; of Z from its least to its greatest value.",
      c.frame, c.filters, c.pool);
  return f;
}

// Waveshaping of every distortion and overdrive of one instrument and preset, side by side.
std::vector<Figure> waveshaping_sheets(const std::vector<Experiment>& all) {
  std::vector<Figure> sheets;
  for (const Experiment* x : main_experiments(all)) {
    const bool shapes = x->effect.rfind("Distortion", 0) == 0 || x->effect.rfind("Overdrive", 0) == 0;
    if (!shapes || x->split != "note") continue;
    std::string id = "waveshaping-all-" + x->preset + "-" + x->instrument;
    std::replace(id.begin(), id.end(), ' ', '-');
    auto at = std::find_if(sheets.begin(), sheets.end(), [&](const Figure& f) { return f.id == id; });
    if (at == sheets.end()) {
      sheets.push_back({id,
                        "Waveshaping, " + x->instrument + ", preset " + x->preset,
                        "Output over input amplitude: samples of the test notes, target and model, and the model's "
                        "answer to a sine.",
                        {}});
      at = sheets.end() - 1;
    }
    Panel p = waveshaping(*x);
    p.axes.title = x->effect;
    p.axes.height = 220;
    if (at->panels.size() < 6) at->panels.push_back(p);
  }
  std::erase_if(sheets, [](const Figure& f) { return f.panels.size() < 2; });
  return sheets;
}

Figure saaf_curves(const std::vector<Experiment>& all, const std::vector<std::unique_ptr<CafxModel>>& models) {
  Figure f{"saaf",
           "Learned SAAF curves",
           "Curve of every channel less the identity, on the SAAF's domain; a flat line leaves the signal as it is. "
           "Colours only tell neighbours apart.",
           {}};
  for (std::size_t i = 0; i < all.size() && f.panels.size() < 6; ++i) {
    if (!all[i].variant.empty()) continue;
    const CafxConfig& c = models[i]->config();
    if (!c.saaf) continue;
    Panel p;
    p.axes.title = all[i].title() + ", " + all[i].preset;
    p.axes.x_label = "into the SAAF";
    p.axes.y_label = "out, less in";
    const int n = 121;
    std::vector<float> x(n), y(n);
    for (int k = 0; k < n; ++k)
      x[static_cast<std::size_t>(k)] = static_cast<float>(c.saaf_lo + (c.saaf_hi - c.saaf_lo) * k / (n - 1));
    for (int channel = 0; channel < c.filters; ++channel) {
      models[i]->curve(channel, y.data(), x.data(), n);
      Series s{fmt::format("channel {}", channel),
               channel % 4 ? std::string("thin ") + kLineClasses[channel % 4] : "thin",
               {x.begin(), x.end()},
               {}};
      for (std::size_t k = 0; k < x.size(); ++k) s.y.push_back(static_cast<double>(y[k]) - x[k]);
      p.series.push_back(s);
    }
    f.panels.push_back(p);
  }
  return f;
}

Figure learning(const std::vector<Experiment>& all) {
  Figure f{"learning",
           "Learning curves",
           "Mean absolute error of each supervised epoch, full scale = 1; first seed of each model.",
           {}};
  for (std::size_t i = 0; i < all.size() && f.panels.size() < 12; ++i) {
    if (!all[i].variant.empty()) continue;
    const SupervisedEpochs epochs = supervised_epochs(all[i].runs[0].metrics_csv);
    if (epochs.epoch.empty() || epochs.training_of != "mae" || epochs.validation_of != "mae") continue;
    Panel p;
    p.axes.title = all[i].title() + ", " + all[i].preset;
    p.axes.x_label = "epoch";
    p.axes.y_label = "MAE";
    p.axes.log_y = true;
    p.series = {{"training", "", epochs.epoch, epochs.training}, {"validation", "b", epochs.epoch, epochs.validation}};
    f.panels.push_back(p);
  }
  return f;
}

// The kinds of effects, in the order of their colours.
const char* const kKinds[] = {"Distortion", "Overdrive", "EQ", "FxChain"};

// Models of one preset and instrument, which share their test notes: one picture.
struct TestSet {
  std::string preset, instrument;
  std::vector<const Experiment*> experiments;
};

std::vector<TestSet> test_sets(const std::vector<Experiment>& all) {
  std::vector<TestSet> found;
  for (const Experiment* x : main_experiments(all)) {
    const std::string instrument = x->instrument + (x->split == "instrument" ? ", split by instrument" : "");
    auto at = std::find_if(found.begin(), found.end(),
                           [&](const TestSet& s) { return s.preset == x->preset && s.instrument == instrument; });
    if (at == found.end()) at = found.insert(found.end(), {x->preset, instrument, {}});
    at->experiments.push_back(x);
  }
  return found;
}

std::string named_after(const std::string& what, const TestSet& s) {
  std::string id = what + "-" + s.preset + "-" + s.instrument;
  std::replace(id.begin(), id.end(), ' ', '-');
  std::erase(id, ',');
  return id;
}

Figure by_pitch(const std::vector<Experiment>& all) {
  Figure f{"pitch", "Error against pitch", "ESR of each test note against its pitch; first seed of each model.", {}};
  for (const TestSet& set : test_sets(all)) {
    if (f.panels.size() == 6) break;
    Panel p;
    p.axes.title = set.instrument + ", preset " + set.preset;
    p.axes.x_label = "MIDI note";
    p.axes.y_label = "ESR";
    p.axes.log_y = true;
    for (std::size_t kind = 0; kind < std::size(kKinds); ++kind) {
      std::vector<double> note, esr;
      for (const Experiment* x : set.experiments) {
        if (x->effect.rfind(kKinds[kind], 0) != 0) continue;
        for (const NoteResult& r : x->runs[0].own.notes) {
          const auto name = parse_idmt_name(std::filesystem::path(r.dry_file).stem().string());
          if (!name) continue;
          note.push_back(name->midi_note);
          esr.push_back(r.model.esr);
        }
      }
      if (!note.empty())
        p.series.push_back(scatter(kKinds[kind], std::string("dots big ") + kLineClasses[kind], note, esr));
    }
    if (!p.series.empty()) f.panels.push_back(p);
  }
  return f;
}

}  // namespace

std::vector<Figure> note_error_figures(const std::vector<Experiment>& all) {
  std::vector<Figure> figures;
  for (const TestSet& set : test_sets(all)) {
    Figure f{named_after("notes", set),
             "Error against note, " + set.instrument + ", preset " + set.preset,
             "ESR of each test note, each model's own order from the easiest to the hardest; first seed. A line that "
             "rises at its right end alone has a mean that one note makes. Names of the notes: in the TSV.",
             {}};
    for (const char* kind : kKinds) {
      Panel p;
      p.axes.title = kind;
      p.axes.x_label = "test note, by its error";
      p.axes.y_label = "ESR";
      p.axes.log_y = true;
      p.axes.height = 220;
      for (const Experiment* x : set.experiments) {
        if (x->effect.rfind(kind, 0) != 0) continue;
        std::vector<const NoteResult*> notes;
        for (const NoteResult& r : x->runs[0].own.notes) notes.push_back(&r);
        std::stable_sort(notes.begin(), notes.end(),
                         [](const NoteResult* a, const NoteResult* b) { return a->model.esr < b->model.esr; });
        Series s{x->effect + (x->variant.empty() ? "" : ", " + x->variant), kLineClasses[p.series.size() % 4], {}, {}};
        for (const NoteResult* r : notes) {
          s.x.push_back(static_cast<double>(s.x.size() + 1));
          s.y.push_back(r->model.esr);
          s.names.push_back(r->note);
        }
        if (!s.x.empty()) p.series.push_back(s);
      }
      if (!p.series.empty()) f.panels.push_back(p);
    }
    figures.push_back(f);
  }
  return figures;
}

std::vector<Figure> learned_figures(const std::vector<Experiment>& all,
                                    const std::vector<std::unique_ptr<CafxModel>>& models, CafxModel* pretrained,
                                    const std::vector<float>& note, const Context& context) {
  CAFX_CHECK(all.size() == models.size() && !all.empty(), all.size(), models.size());
  std::vector<Figure> figures;
  figures.push_back(pretrained ? filters(*pretrained, "pretrained, without supervision")
                               : filters(*models[0], all[0].title()));
  if (pretrained && !note.empty()) figures.push_back(unsupervised(*pretrained, note, context));
  for (Figure& sheet : waveshaping_sheets(all)) figures.push_back(std::move(sheet));
  figures.push_back(saaf_curves(all, models));
  figures.push_back(learning(all));
  for (Figure& f : note_error_figures(all)) figures.push_back(std::move(f));
  figures.push_back(by_pitch(all));
  figures.erase(std::remove_if(figures.begin(), figures.end(), [](const Figure& f) { return f.panels.empty(); }),
                figures.end());
  return figures;
}

}  // namespace cafx
