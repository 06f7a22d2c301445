#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "experiments/paper/figure_parts.h"
#include "experiments/paper/figures.h"

namespace cafx {

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
    Series s{k == 0 ? "fundamental" : fmt::format("harmonic {}", k + 1), kLineClasses[k], {}, {}};
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
    response.series.push_back(
        {fmt::format("at {:.0f} dB", t.levels_db[i]), kLineClasses[i % 4], t.hz, t.response_db[i]});
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
    // Each point is the loudest of two bins and two columns: the resolution of a printed figure.
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

}  // namespace cafx
