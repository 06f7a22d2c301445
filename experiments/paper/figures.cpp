#include "experiments/paper/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "datasets/idmt.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

const char* const kLetters[] = {"", "b", "c", "d"};

// Points that no line joins.
Series scatter(const std::string& label, const std::string& css, const std::vector<double>& x,
               const std::vector<double>& y) {
  Series s{label, css, {}, {}};
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (const double v : {x[i], std::nan("")}) s.x.push_back(v);
    for (const double v : {y[i], std::nan("")}) s.y.push_back(v);
  }
  return s;
}

const float* tensor(const CafxModel& m, const std::string& name) {
  for (const ParamSpec& p : m.params()) {
    if (p.name == name) return m.data() + p.offset;
  }
  return nullptr;
}

std::vector<double> numbers(std::size_t n, double from, double step) {
  std::vector<double> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = from + step * static_cast<double>(i);
  return v;
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

Panel waveshaping(const Experiment& x) {
  Panel shape;
  shape.axes.title = "waveshaping";
  shape.axes.x_label = "input amplitude";
  shape.axes.y_label = "output amplitude";
  shape.axes.height = 280;
  shape.series = {scatter("target", "dots", x.target_in, x.target_out),
                  scatter("model", "dots b", x.target_in, x.model_out),
                  {"model, one period of 220 Hz", "c", x.traits.curve_in, x.traits.curve_out}};
  return shape;
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
  std::vector<std::vector<double>> x1, z, again;  // again: x1 put together from z at the places of the maxima
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
        // Of samples that share a column the one with the largest magnitude.
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
               channel % 4 ? std::string("thin ") + kLetters[channel % 4] : "thin",
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
    std::istringstream in(all[i].runs[0].metrics_csv);
    std::string line;
    std::getline(in, line);
    const auto cells = [](const std::string& text) {
      std::vector<std::string> c;
      std::istringstream s(text);
      for (std::string one; std::getline(s, one, ',');) c.push_back(one);
      return c;
    };
    const auto header = cells(line);
    const auto column = [&](const char* name) {
      return static_cast<std::size_t>(std::find(header.begin(), header.end(), name) - header.begin());
    };
    const std::size_t stage = column("stage"), training = column("training_mae"), validation = column("validation_mae");
    Panel p;
    p.axes.title = all[i].title() + ", " + all[i].preset;
    p.axes.x_label = "epoch";
    p.axes.y_label = "MAE";
    p.axes.log_y = true;
    p.series = {{"training", "", {}, {}}, {"validation", "b", {}, {}}};
    double epoch = 0.0;
    while (std::getline(in, line)) {
      const auto c = cells(line);
      if (c.size() <= validation || c[stage] == "pretrain") continue;
      epoch += 1.0;
      for (const auto& [s, at] : {std::pair(0u, training), std::pair(1u, validation)}) {
        p.series[s].x.push_back(epoch);
        p.series[s].y.push_back(c[at].empty() ? std::nan("") : std::strtod(c[at].c_str(), nullptr));
      }
    }
    if (epoch > 0.0) f.panels.push_back(p);
  }
  return f;
}

// The kinds of effects, in the order of their colours.
const char* const kKinds[] = {"Distortion", "Overdrive", "EQ", "FxChain"};

// Models of one preset and instrument, which share their test notes: what stands in one picture.
struct Shelf {
  std::string preset, instrument;
  std::vector<const Experiment*> experiments;
};

std::vector<Shelf> shelves(const std::vector<Experiment>& all) {
  std::vector<Shelf> found;
  for (const Experiment* x : main_experiments(all)) {
    const std::string instrument = x->instrument + (x->split == "instrument" ? ", split by instrument" : "");
    auto at = std::find_if(found.begin(), found.end(),
                           [&](const Shelf& s) { return s.preset == x->preset && s.instrument == instrument; });
    if (at == found.end()) at = found.insert(found.end(), {x->preset, instrument, {}});
    at->experiments.push_back(x);
  }
  return found;
}

std::string named_after(const std::string& what, const Shelf& s) {
  std::string id = what + "-" + s.preset + "-" + s.instrument;
  std::replace(id.begin(), id.end(), ' ', '-');
  std::erase(id, ',');
  return id;
}

Figure by_pitch(const std::vector<Experiment>& all) {
  Figure f{"pitch", "Error against pitch", "ESR of each test note against its pitch; first seed of each model.", {}};
  for (const Shelf& shelf : shelves(all)) {
    if (f.panels.size() == 6) break;
    Panel p;
    p.axes.title = shelf.instrument + ", preset " + shelf.preset;
    p.axes.x_label = "MIDI note";
    p.axes.y_label = "ESR";
    p.axes.log_y = true;
    for (std::size_t kind = 0; kind < std::size(kKinds); ++kind) {
      std::vector<double> note, esr;
      for (const Experiment* x : shelf.experiments) {
        if (x->effect.rfind(kKinds[kind], 0) != 0) continue;
        for (const NoteResult& r : x->runs[0].own.notes) {
          const auto name = parse_idmt_name(std::filesystem::path(r.dry_file).stem().string());
          if (!name) continue;
          note.push_back(name->midi_note);
          esr.push_back(r.model.esr);
        }
      }
      if (!note.empty())
        p.series.push_back(scatter(kKinds[kind], std::string("dots big ") + kLetters[kind], note, esr));
    }
    if (!p.series.empty()) f.panels.push_back(p);
  }
  return f;
}

}  // namespace

std::vector<Figure> device_figures(const Experiment& x) {
  const DeviceTraits& t = x.traits;
  std::vector<Figure> all;
  const auto figure = [&](const std::string& kind, const std::string& title, const std::string& caption,
                          const Panel& p) {
    all.push_back({kind + "-" + x.id(), title + ", " + x.title(), caption, {p}});
  };
  figure("waveshaping", "Waveshaping",
         "Wet against dry samples of the loud second of the test notes, and the model's answer to a sine as loud as "
         "they are. Filters and memory spread the points.",
         waveshaping(x));

  Panel harmonics;
  harmonics.axes.title = "harmonics of 220 Hz against level";
  harmonics.axes.x_label = "level of the tone, dB of full scale";
  harmonics.axes.y_label = "amplitude, dB of full scale";
  harmonics.axes.height = 280;
  for (std::size_t k = 0; k < 4; ++k) {
    Series s{k == 0 ? "fundamental" : fmt::format("harmonic {}", k + 1), kLetters[k], {}, {}};
    for (const Harmonics& h : t.harmonics) {
      s.x.push_back(h.level_db);
      s.y.push_back(std::max(-140.0, 20.0 * std::log10(std::max(1e-9, h.amplitude[k]))));
    }
    harmonics.series.push_back(s);
  }
  figure("harmonics", "Harmonic response", "First four harmonics of a tone of 220 Hz against its level.", harmonics);

  Panel thd;
  thd.axes.title = "THD against level";
  thd.axes.x_label = "level of the tone, dB of full scale";
  thd.axes.y_label = "THD, %";
  thd.axes.log_y = true;
  thd.axes.height = 280;
  Series line{"THD", "b", {}, {}};
  for (const Harmonics& h : t.harmonics) {
    line.x.push_back(h.level_db);
    line.y.push_back(std::max(1e-3, 100.0 * h.thd));
  }
  thd.series = {line};
  figure("thd", "THD against level",
         fmt::format(
             "Root of the energy of harmonics 2 to 10 of a tone of 220 Hz over its fundamental; {:.1f} % at {:.0f} dB.",
             100.0 * t.harmonics.back().thd, t.harmonics.back().level_db),
         thd);

  Panel response;
  response.axes.title = "frequency response at three levels";
  response.axes.x_label = "Hz";
  response.axes.y_label = "gain of the fundamental, dB";
  response.axes.log_x = true;
  response.axes.height = 280;
  for (std::size_t i = 0; i < t.levels_db.size(); ++i)
    response.series.push_back({fmt::format("at {:.0f} dB", t.levels_db[i]), kLetters[i % 4], t.hz, t.response_db[i]});
  figure("response", "Frequency response",
         "Gain of the fundamental of single tones; lines that differ tell the nonlinearity.", response);

  Panel aliasing;
  aliasing.axes.title = "aliasing";
  aliasing.axes.x_label = "Hz";
  aliasing.axes.y_label = "energy off the harmonics, dB";
  aliasing.axes.log_x = true;
  aliasing.axes.height = 280;
  aliasing.series = {{fmt::format("at {:.0f} dB", t.levels_db.back()), "d", t.hz, t.aliasing_db}};
  figure("aliasing", "Aliasing",
         "Of a stepped sweep of sines: energy at no multiple of the tone over all energy. Aliases and what the frames "
         "add.",
         aliasing);
  return all;
}

std::vector<Figure> note_figures(const Experiment& x) {
  std::vector<Figure> all;
  const NoteResult& r = x.runs[0].own.notes[0];
  if (r.target.empty()) return all;
  const int rate = x.runs[0].config.model->sample_rate;
  std::vector<float> difference(r.target.size());
  for (std::size_t k = 0; k < difference.size(); ++k) difference[k] = r.output[k] - r.target[k];
  struct Signal {
    const char *name, *css;
    const std::vector<float>* y;
  };
  const Signal signals[] = {{"input", "dash", &r.input},
                            {"target", "", &r.target},
                            {"output", "b", &r.output},
                            {"difference", "c", &difference}};
  Figure waves{"waveform-" + x.id(),
               "Waveforms, " + x.title(),
               "Test note " + r.note + ": least and greatest sample of each column.",
               {}};
  for (const Signal& s : signals) {
    Panel p;
    p.axes.title = s.name;
    p.axes.x_label = "time, s";
    p.axes.y_label = "amplitude";
    p.axes.x = {0.0, static_cast<double>(s.y->size()) / rate};
    Series outline = envelope(*s.y, rate, s.css, 480);
    outline.label = s.name;
    p.series = {outline};
    waves.panels.push_back(p);
  }
  // And 20 ms where the target is loudest, sample by sample.
  const auto loudest = static_cast<std::size_t>(
      std::max_element(r.target.begin(), r.target.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }) -
      r.target.begin());
  const std::size_t n = std::min<std::size_t>(r.target.size(), static_cast<std::size_t>(rate) / 50);
  const std::size_t from = std::min(loudest > n / 2 ? loudest - n / 2 : 0, r.target.size() - n);
  Panel zoom;
  zoom.axes.title = "20 ms around the loudest sample";
  zoom.axes.x_label = "time, s";
  zoom.axes.y_label = "amplitude";
  for (const Signal& s : signals) {
    Series line{s.name, s.css, numbers(n, static_cast<double>(from) / rate, 1.0 / rate), {}};
    line.y.assign(s.y->begin() + static_cast<long>(from), s.y->begin() + static_cast<long>(from + n));
    zoom.series.push_back(line);
  }
  waves.panels.push_back(zoom);
  all.push_back(waves);

  Figure spectra{"spectrogram-" + x.id(),
                 "Spectrograms, " + x.title(),
                 fmt::format("Test note {}: {:.0f} dB below the loudest of the target; the input to its own loudest.",
                             r.note, kSpectrumRange),
                 {}};
  const double reference = spectrum(r.target).loudest();
  for (const Signal& s : {signals[0], signals[1], signals[2]}) {
    const Spectrum sp = spectrum(*s.y);
    const double own = s.y == &r.input ? sp.loudest() : reference;
    Panel p;
    p.axes.title = s.name;
    p.axes.x_label = "time, s";
    p.axes.y_label = "frequency, kHz";
    p.axes.x = {0.0, static_cast<double>(s.y->size()) / rate};
    p.axes.y = {0.0, 0.5e-3 * rate};
    p.map.plain = true;
    p.map.rows = sp.bins / 2;
    // Two bins and two columns to a point, the loudest of them: what a printed figure resolves.
    p.map.columns = static_cast<int>((sp.columns.size() + 1) / 2);
    for (int row = 0; row < p.map.rows; ++row) {
      for (std::size_t column = 0; column < sp.columns.size(); column += 2) {
        float most = 0.0f;
        for (std::size_t k = column; k < std::min(column + 2, sp.columns.size()); ++k) {
          for (int bin = 2 * row; bin < 2 * row + 2; ++bin)
            most = std::max(most, sp.columns[k][static_cast<std::size_t>(bin)]);
        }
        const double db = 20.0 * std::log10(std::max(1e-12, own > 0.0 ? most / own : 0.0));
        p.map.values.push_back(std::clamp(1.0 + db / kSpectrumRange, 0.0, 1.0));
      }
    }
    spectra.panels.push_back(p);
  }
  all.push_back(spectra);
  return all;
}

std::vector<Figure> note_error_figures(const std::vector<Experiment>& all) {
  std::vector<Figure> figures;
  for (const Shelf& shelf : shelves(all)) {
    Figure f{named_after("notes", shelf),
             "Error against note, " + shelf.instrument + ", preset " + shelf.preset,
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
      for (const Experiment* x : shelf.experiments) {
        if (x->effect.rfind(kind, 0) != 0) continue;
        std::vector<const NoteResult*> notes;
        for (const NoteResult& r : x->runs[0].own.notes) notes.push_back(&r);
        std::stable_sort(notes.begin(), notes.end(),
                         [](const NoteResult* a, const NoteResult* b) { return a->model.esr < b->model.esr; });
        Series s{x->effect + (x->variant.empty() ? "" : ", " + x->variant), kLetters[p.series.size() % 4], {}, {}};
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
