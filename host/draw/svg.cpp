#include "host/draw/svg.h"

#include <fmt/format.h>
#include <kiss_fftr.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>

#include "host/draw/wav.h"

namespace cafx {

namespace {

constexpr int kFft = 512, kHop = 128;
constexpr std::size_t kMaxColumns = 640;  // most columns of a spectrogram: more than a page resolves
constexpr double kPlot = 1000.0;          // width and height of the stretched inner picture, in its own units

bool shown(double v, bool log) { return std::isfinite(v) && (!log || v > 0.0); }

// Round numbers between lo and hi, about `most` of them; on a log axis powers of ten, with 2 and 5 where there are few.
std::vector<double> ticks(double lo, double hi, bool log, int most) {
  std::vector<double> t;
  if (log) {
    const int first = static_cast<int>(std::floor(std::log10(lo))), last = static_cast<int>(std::ceil(std::log10(hi)));
    const int stride = std::max(1, (last - first) / 8);
    for (int e = first; e <= last; e += stride) {
      for (const double m : {1.0, 2.0, 5.0}) {
        const double v = m * std::pow(10.0, e);
        if (v >= lo && v <= hi && (m == 1.0 || hi / lo < 100.0)) t.push_back(v);
      }
    }
    return t;
  }
  const double raw = (hi - lo) / std::max(2, most), base = std::pow(10.0, std::floor(std::log10(raw)));
  const double step = base * (raw / base > 5 ? 10 : raw / base > 2 ? 5 : raw / base > 1 ? 2 : 1);
  const double first = std::ceil(lo / step - 1e-9);
  for (int i = 0; i < 40 && (first + i) * step <= hi + 1e-9 * step; ++i) t.push_back((first + i) * step + 0.0);
  return t;
}

struct FreeFft {
  void operator()(kiss_fftr_state* p) const { kiss_fftr_free(p); }
};

// A PNG of 8-bit palette indices, without compression.
std::string png(int width, int height, const std::string& pixels, const std::string& palette) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t n = 0; n < 256; ++n) {
      std::uint32_t c = n;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
      t[n] = c;
    }
    return t;
  }();
  const auto big = [](std::uint32_t v) {
    std::string s;
    for (int i = 3; i >= 0; --i) s += static_cast<char>(v >> (8 * i) & 255);
    return s;
  };
  const auto chunk = [&](const std::string& type, const std::string& data) {
    std::uint32_t crc = 0xFFFFFFFFu;
    for (const char c : type + data) crc = table[(crc ^ static_cast<unsigned char>(c)) & 255] ^ crc >> 8;
    return big(static_cast<std::uint32_t>(data.size())) + type + data + big(~crc);
  };
  std::string raw;
  for (int y = 0; y < height; ++y)
    raw += '\0' + pixels.substr(static_cast<std::size_t>(y) * width, static_cast<std::size_t>(width));
  std::string z = "\x78\x01";
  for (std::size_t at = 0; at < raw.size(); at += 65535) {
    const std::size_t n = std::min<std::size_t>(65535, raw.size() - at);
    z += static_cast<char>(at + n == raw.size());
    for (const std::size_t v : {n, ~n}) {
      z += static_cast<char>(v & 255);
      z += static_cast<char>(v >> 8 & 255);
    }
    z += raw.substr(at, n);
  }
  std::uint32_t a = 1, b = 0;
  for (const char c : raw) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  z += big(b << 16 | a);
  const std::string head = big(static_cast<std::uint32_t>(width)) + big(static_cast<std::uint32_t>(height)) +
                           std::string("\x08\x03\0\0\0", 5);
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", head) + chunk("PLTE", palette) + chunk("IDAT", z) + chunk("IEND", "");
}

// Dark blue over red to pale yellow: lightness rises all the way.
constexpr double kColours[][3] = {{8, 10, 35},   {66, 20, 100},  {150, 38, 103},
                                  {222, 80, 60}, {252, 165, 45}, {252, 250, 190}};

std::string palette() {
  std::string p;
  for (int i = 0; i < 256; ++i) {
    const double at = i / 255.0 * 5.0;
    const int k = std::min(4, static_cast<int>(at));
    for (int c = 0; c < 3; ++c)
      p += static_cast<char>(std::lround(kColours[k][c] + (at - k) * (kColours[k + 1][c] - kColours[k][c])));
  }
  return p;
}

// The given range, else the range of the data; an empty range is widened around its value.
Range range_of(const std::vector<Series>& series, const Axes& axes, bool vertical) {
  const Range& asked = vertical ? axes.y : axes.x;
  if (asked.lo < asked.hi) return asked;
  const bool log = vertical ? axes.log_y : axes.log_x;
  Range r{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const Series& s : series) {
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (!shown(s.x[i], axes.log_x) || !shown(s.y[i], axes.log_y)) continue;
      r.lo = std::min(r.lo, vertical ? s.y[i] : s.x[i]);
      r.hi = std::max(r.hi, vertical ? s.y[i] : s.x[i]);
    }
  }
  if (!(r.lo <= r.hi)) return {};
  if (log) {
    if (r.hi < 1.5 * r.lo) r = {r.lo / 1.25, r.hi * 1.25};
    return {r.lo / 1.08, r.hi * 1.08};
  }
  // Narrower than the resolution of doubles: the ticks would not advance.
  if (r.hi - r.lo <= 1e-9 * std::max(std::abs(r.lo), std::abs(r.hi))) {
    const double around = r.lo == 0.0 ? 1.0 : 0.5 * std::abs(r.lo);
    return {r.lo - around, r.hi + around};
  }
  return r;
}

}  // namespace

std::string escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string legend(const std::vector<Series>& series) {
  std::string html = "<p class=\"legend\">";
  for (const Series& s : series) html += fmt::format("<span class=\"key {}\">{}</span>", s.css, escape(s.label));
  return html + "</p>";
}

std::string chart(const std::vector<Series>& series, const Axes& axes) {
  const Range x = range_of(series, axes, false), y = range_of(series, axes, true);
  if (!(x.lo < x.hi && y.lo < y.hi)) return "<p class=\"quiet\">Nothing to draw.</p>";
  const auto at_x = [&](double v) {
    return axes.log_x ? std::log(v / x.lo) / std::log(x.hi / x.lo) : (v - x.lo) / (x.hi - x.lo);
  };
  const auto at_y = [&](double v) {
    return axes.log_y ? 1.0 - std::log(v / y.lo) / std::log(y.hi / y.lo) : 1.0 - (v - y.lo) / (y.hi - y.lo);
  };
  const auto percent = [](double part) { return 100.0 * std::clamp(part, 0.0, 1.0); };
  std::string svg =
      fmt::format("<div class=\"plot{}\"><svg class=\"chart\" height=\"{}\" role=\"img\" aria-label=\"{}\">",
                  axes.x_label.empty() ? " bare" : "", axes.height, escape(axes.title));
  std::string labels, inner;
  for (const double t : ticks(y.lo, y.hi, axes.log_y, std::max(6, axes.height / 40))) {
    const double p = percent(at_y(t));
    svg += fmt::format("<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{0:.2f}%\" y2=\"{0:.2f}%\"/>", p);
    labels += fmt::format("<text x=\"-6\" y=\"{:.2f}%\" dy=\"4\" text-anchor=\"end\">{:g}</text>", p, t);
  }
  for (const double t : ticks(x.lo, x.hi, axes.log_x, 6)) {
    const double p = percent(at_x(t));
    svg += fmt::format("<line class=\"tick\" x1=\"{0:.2f}%\" x2=\"{0:.2f}%\" y1=\"{1}\" y2=\"{2}\"/>", p, axes.height,
                       axes.height + 4);
    if (!axes.x_label.empty())
      labels += fmt::format("<text x=\"{:.2f}%\" y=\"{}\" text-anchor=\"middle\">{:g}</text>", p, axes.height + 17, t);
  }
  for (const Mark& m : axes.marks) {
    if (!(m.x >= x.lo && m.x <= x.hi)) continue;
    const double p = percent(at_x(m.x));
    labels += fmt::format("<line class=\"mark\" x1=\"{0:.2f}%\" x2=\"{0:.2f}%\" y1=\"0\" y2=\"100%\"/>", p);
    if (!m.label.empty())
      labels += fmt::format("<text class=\"halo\" x=\"{:.2f}%\" dx=\"5\" y=\"12\">{}</text>", p, escape(m.label));
  }
  if (!axes.picture.empty()) {
    inner += fmt::format("<image href=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\"/>", axes.picture,
                         kPlot, kPlot);
  }
  for (const Series& s : series) {
    std::string points, lines;
    const auto close = [&] {
      if (points.empty()) return;
      const bool alone = points.find(' ') == std::string::npos;  // drawn by its round caps alone
      if (alone) points += " " + points;
      lines += fmt::format("<{} class=\"{} {}\" points=\"{}\"/>", s.filled ? "polygon" : "polyline",
                           s.filled ? "area"
                           : alone  ? "line dot"
                                    : "line",
                           s.css, points);
      points.clear();
    };
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (!shown(s.x[i], axes.log_x) || !shown(s.y[i], axes.log_y)) {
        close();
        continue;
      }
      points += fmt::format("{}{:.1f},{:.1f}", points.empty() ? "" : " ", kPlot * at_x(s.x[i]), kPlot * at_y(s.y[i]));
    }
    close();
    inner += fmt::format("<g><title>{}</title>{}</g>", escape(s.label), lines);
  }
  svg += fmt::format(
      "<svg width=\"100%\" height=\"100%\" viewBox=\"0 0 {0} {0}\" preserveAspectRatio=\"none\">{1}</svg>"
      "<line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"100%\" y2=\"100%\"/>{2}",
      kPlot, inner, labels);
  svg +=
      fmt::format("<text class=\"name\" transform=\"translate(-46 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
                  axes.height / 2, escape(axes.y_label));
  if (!axes.x_label.empty())
    svg += fmt::format("<text class=\"name\" x=\"50%\" y=\"{}\" text-anchor=\"middle\">{}</text>", axes.height + 35,
                       escape(axes.x_label));
  return svg + "</svg></div>";
}

Series envelope(const std::vector<float>& x, int sample_rate, const std::string& css, int n_columns) {
  Series s;
  s.css = css;
  s.filled = true;
  const std::size_t n = std::min(x.size(), static_cast<std::size_t>(n_columns));
  std::vector<double> low;
  for (std::size_t i = 0; i < n; ++i) {
    float lo = 0.0f, hi = 0.0f;
    for (std::size_t j = x.size() * i / n; j < x.size() * (i + 1) / n; ++j) {
      if (!std::isfinite(x[j])) continue;
      lo = std::min(lo, x[j]);
      hi = std::max(hi, x[j]);
    }
    s.x.push_back((static_cast<double>(i) + 0.5) / static_cast<double>(n) * static_cast<double>(x.size()) /
                  sample_rate);
    s.y.push_back(hi);
    low.push_back(lo);
  }
  for (std::size_t i = n; i-- > 0;) {
    s.x.push_back(s.x[i]);
    s.y.push_back(low[i]);
  }
  return s;
}

std::string sparkline(const std::vector<double>& y, const std::string& title) {
  std::string points;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double v = std::isfinite(y[i]) ? std::clamp(y[i], -1.0, 1.0) : 0.0;
    points += fmt::format("{:.1f},{:.1f} ", 100.0 * (static_cast<double>(i) + 0.5) / static_cast<double>(y.size()),
                          50.0 - 46.0 * v);
  }
  return fmt::format(
      "<svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{0}\"><title>{0}</title>"
      "<line class=\"grid\" x1=\"0\" x2=\"100\" y1=\"50\" y2=\"50\"/><polyline class=\"line\" points=\"{1}\"/></svg>",
      escape(title), points);
}

double Spectrum::loudest() const {
  float most = 0.0f;
  for (const auto& column : columns) most = std::max(most, *std::max_element(column.begin(), column.end()));
  return most;
}

Spectrum spectrum(const std::vector<float>& x) {
  Spectrum s;
  s.bins = kFft / 2 + 1;
  s.hop = std::max(kHop, static_cast<int>(x.size() / kMaxColumns));
  const std::unique_ptr<kiss_fftr_state, FreeFft> fft(kiss_fftr_alloc(kFft, 0, nullptr, nullptr));
  std::vector<float> frame(kFft);
  std::vector<kiss_fft_cpx> bins(static_cast<std::size_t>(s.bins));
  for (std::size_t at = 0; at < x.size(); at += static_cast<std::size_t>(s.hop)) {
    for (std::size_t i = 0; i < kFft; ++i) {
      const double w = 0.5 - 0.5 * std::cos(2.0 * 3.141592653589793 * static_cast<double>(i) / kFft);
      const std::size_t j = at + i;  // half a frame late, so that the frame's centre is at `at`
      const float v = j >= kFft / 2 && j - kFft / 2 < x.size() ? x[j - kFft / 2] : 0.0f;
      frame[i] = std::isfinite(v) ? static_cast<float>(w * v) : 0.0f;
    }
    kiss_fftr(fft.get(), frame.data(), bins.data());
    std::vector<float> column;
    for (const kiss_fft_cpx& b : bins) column.push_back(std::hypot(b.r, b.i));
    s.columns.push_back(std::move(column));
  }
  return s;
}

std::vector<std::string> heat_colours() {
  std::vector<std::string> all;
  for (const auto& c : kColours)
    all.push_back(
        fmt::format("#{:02x}{:02x}{:02x}", static_cast<int>(c[0]), static_cast<int>(c[1]), static_cast<int>(c[2])));
  return all;
}

std::string heat_picture(int width, int height, const std::vector<double>& values) {
  std::string pixels;
  for (const double v : values)
    pixels += static_cast<char>(std::lround(255.0 * (std::isfinite(v) ? std::clamp(v, 0.0, 1.0) : 0.0)));
  return "data:image/png;base64," + base64(png(width, height, pixels, palette()));
}

std::string spectrogram(const Spectrum& s, int sample_rate, double reference, const std::string& title) {
  if (s.columns.empty()) return "<p class=\"quiet\">Nothing to draw.</p>";
  const int width = static_cast<int>(s.columns.size());
  std::vector<double> values;
  for (int bin = s.bins - 1; bin >= 0; --bin) {
    for (const auto& column : s.columns) {
      const double part = reference > 0.0 ? column[static_cast<std::size_t>(bin)] / reference : 0.0;
      const double db = 20.0 * std::log10(std::max(1e-12, part));
      values.push_back(1.0 + db / kSpectrumRange);
    }
  }
  Axes axes;
  axes.title = title;
  axes.x_label = "time, s";
  axes.y_label = "kHz";
  axes.height = 220;
  const double column = static_cast<double>(s.hop) / sample_rate, khz = 1e-3 * sample_rate / kFft;
  axes.x = {-0.5 * column, (width - 0.5) * column};
  axes.y = {-0.5 * khz, (s.bins - 0.5) * khz};
  axes.picture = heat_picture(width, s.bins, values);
  return chart({}, axes);
}

std::string colour_bar() {
  std::string stops;
  for (const auto& c : kColours) stops += fmt::format(",rgb({:g},{:g},{:g})", c[0], c[1], c[2]);
  return fmt::format(
      "<p class=\"legend\"><span class=\"bar\" style=\"background:linear-gradient(90deg{})\"></span>"
      "{:g} dB to 0 dB, the loudest of the target</p>",
      stops, -kSpectrumRange);
}

}  // namespace cafx
