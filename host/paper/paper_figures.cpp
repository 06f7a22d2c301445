#include "host/paper/paper_figures.h"

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
  f.caption = fmt::format("{} of {} filters of {} taps ({:.1f} ms), each to its own scale; {}.", n, c.filters, c.taps,
                          1e3 * c.taps / c.sample_rate, whose);
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
  std::vector<std::vector<double>> x1, z;
  std::vector<double> energy;
  for (int i = 0; i < c.filters; ++i) {
    const auto at = static_cast<std::size_t>(i);
    x1.push_back(correlate(input, tensor(m, "conv1d.weight") + i * c.taps, c.taps, tensor(m, "conv1d.bias")[at]));
    std::vector<double> magnitude = x1.back();
    for (double& v : magnitude) v = std::abs(v);
    auto x2 = correlate(magnitude, tensor(m, "local_conv.weight") + i * c.local_taps, c.local_taps,
                        tensor(m, "local_conv.bias")[at]);
    z.emplace_back();
    for (std::size_t t = 0; t < frame; t += static_cast<std::size_t>(c.pool)) {
      double most = -1e30;
      for (std::size_t k = t; k < t + static_cast<std::size_t>(c.pool); ++k) most = std::max(most, x2[k]);
      z.back().push_back(std::log1p(std::exp(most)));  // softplus rises, so it may follow the maximum
    }
    energy.push_back(std::inner_product(x1.back().begin(), x1.back().end(), x1.back().begin(), 0.0));
  }
  std::vector<std::size_t> order(energy.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return energy[a] > energy[b]; });
  const auto ms = numbers(frame, 0.0, 1e3 / c.sample_rate);
  const auto panel = [&](const char* title, const char* unit) {
    Panel p;
    p.axes.title = title;
    p.axes.x_label = "time, ms";
    p.axes.y_label = unit;
    p.axes.height = 190;
    return p;
  };
  Panel in = panel("input and reconstruction", "amplitude"), first = panel("X1, four strongest channels", "amplitude"),
        latent = panel("Z of the same channels", "after softplus"),
        error = panel("reconstruction less input", "amplitude");
  in.series = {{"input", "", ms, input}, {"reconstruction", "b", ms, {y.begin(), y.end()}}};
  Series e{"difference", "c", ms, {}};
  for (std::size_t i = 0; i < frame; ++i) e.y.push_back(y[i] - x[i]);
  error.series = {e};
  for (std::size_t i = 0; i < std::min<std::size_t>(4, order.size()); ++i) {
    const std::string name = fmt::format("channel {}", order[i]);
    first.series.push_back({name, kLetters[i], ms, x1[order[i]]});
    latent.series.push_back(
        {name, kLetters[i], numbers(z[order[i]].size(), 0.0, 1e3 * c.pool / c.sample_rate), z[order[i]]});
  }
  f.panels = {in, first, latent, error};
  f.caption = fmt::format(
      "One frame of {} samples of a test note through the pretrained convolutional layers; {} of {} channels, by "
      "energy.",
      c.frame, std::min(4, c.filters), c.filters);
  return f;
}

Figure saaf_curves(const std::vector<Experiment>& all, const std::vector<std::unique_ptr<CafxModel>>& models) {
  Figure f{"saaf",
           "Learned SAAF curves",
           "Curve of every channel less the identity, on the SAAF's domain; a flat line leaves the signal as it is. "
           "Colours only tell neighbours apart.",
           {}};
  for (std::size_t i = 0; i < all.size() && f.panels.size() < 6; ++i) {
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

Figure pitch(const std::vector<Experiment>& all) {
  Figure f{"pitch", "Error against pitch", "ESR of each test note against its pitch; first seed of each model.", {}};
  Panel p;
  p.axes.title = "ESR against pitch";
  p.axes.x_label = "MIDI note";
  p.axes.y_label = "ESR";
  p.axes.log_y = true;
  for (const Experiment& x : all) {
    std::vector<double> note, esr;
    for (const NoteResult& r : x.runs[0].own.notes) {
      const auto name = parse_idmt_name(std::filesystem::path(r.dry_file).stem().string());
      if (!name) continue;
      note.push_back(name->midi_note);
      esr.push_back(r.model.esr);
    }
    if (!note.empty())
      p.series.push_back(scatter(
          x.title(),
          std::string("dots big") + (p.series.size() % 4 ? std::string(" ") + kLetters[p.series.size() % 4] : ""), note,
          esr));
  }
  if (!p.series.empty()) f.panels.push_back(p);
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
  Panel shape;
  shape.axes.title = "waveshaping";
  shape.axes.x_label = "sample of the dry signal";
  shape.axes.y_label = "sample of the wet signal";
  shape.axes.height = 280;
  shape.series = {scatter("target", "dots", x.target_in, x.target_out),
                  scatter("model", "dots b", x.target_in, x.model_out),
                  {"model, one period of 220 Hz", "c", t.curve_in, t.curve_out}};
  figure("waveshaping", "Waveshaping",
         "Wet against dry samples of the loud second of the test notes, and the model's answer to a sine as loud as "
         "they are. Filters and memory spread the points.",
         shape);

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
  Series thd{"THD, dB of the fundamental", "dash", {}, {}};
  for (const Harmonics& h : t.harmonics) {
    thd.x.push_back(h.level_db);
    thd.y.push_back(20.0 * std::log10(std::max(1e-7, h.thd)));
  }
  harmonics.series.push_back(thd);
  figure("harmonics", "Harmonic response",
         fmt::format("First four harmonics and total harmonic distortion (harmonics 2 to 10) of a tone of 220 Hz; THD "
                     "at {:.0f} dB: {:.1f} %.",
                     t.harmonics.back().level_db, 100.0 * t.harmonics.back().thd),
         harmonics);

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

std::vector<Figure> learned_figures(const std::vector<Experiment>& all,
                                    const std::vector<std::unique_ptr<CafxModel>>& models, CafxModel* pretrained,
                                    const std::vector<float>& note, const Context& context) {
  CAFX_CHECK(all.size() == models.size() && !all.empty(), all.size(), models.size());
  std::vector<Figure> figures;
  figures.push_back(pretrained ? filters(*pretrained, "pretrained, without supervision")
                               : filters(*models[0], all[0].title()));
  if (pretrained && !note.empty()) figures.push_back(unsupervised(*pretrained, note, context));
  figures.push_back(saaf_curves(all, models));
  figures.push_back(learning(all));
  figures.push_back(pitch(all));
  figures.erase(std::remove_if(figures.begin(), figures.end(), [](const Figure& f) { return f.panels.empty(); }),
                figures.end());
  return figures;
}

}  // namespace cafx
