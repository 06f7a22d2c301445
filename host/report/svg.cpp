#include "host/report/svg.h"

#include <fmt/format.h>
#include <kiss_fftr.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>

#include "host/report/wav.h"

namespace cafx {

namespace {

constexpr int kFft = 512, kHop = 128;
constexpr double kRange = 80.0;  // dB shown

bool shown(double y, bool log_y) { return std::isfinite(y) && (!log_y || y > 0.0); }

// Round numbers between lo and hi; on a log axis powers of ten, with 2 and 5 where there are few.
std::vector<double> ticks(double lo, double hi, bool log) {
  std::vector<double> t;
  if (log) {
    for (int e = static_cast<int>(std::floor(std::log10(lo))); e <= static_cast<int>(std::ceil(std::log10(hi))); ++e) {
      for (const double m : {1.0, 2.0, 5.0}) {
        const double v = m * std::pow(10.0, e);
        if (v >= lo * 0.999 && v <= hi * 1.001 && (m == 1.0 || hi / lo < 50.0)) t.push_back(v);
      }
    }
    return t;
  }
  const double raw = (hi - lo) / 5.0, base = std::pow(10.0, std::floor(std::log10(raw)));
  const double step = base * (raw / base > 5 ? 10 : raw / base > 2 ? 5 : raw / base > 1 ? 2 : 1);
  for (double v = std::ceil(lo / step) * step; v <= hi + 1e-9 * step; v += step)
    t.push_back(std::abs(v) < 1e-12 * step ? 0.0 : v);
  return t;
}

struct FreeFft {
  void operator()(kiss_fftr_state* p) const { kiss_fftr_free(p); }
};

// Columns of kFft / 2 magnitudes.
std::vector<std::vector<float>> stft(const std::vector<float>& x) {
  const std::unique_ptr<kiss_fftr_state, FreeFft> fft(kiss_fftr_alloc(kFft, 0, nullptr, nullptr));
  std::vector<std::vector<float>> columns;
  std::vector<float> frame(kFft);
  std::vector<kiss_fft_cpx> bins(kFft / 2 + 1);
  for (std::size_t at = 0; at + kFft <= x.size(); at += kHop) {
    for (int i = 0; i < kFft; ++i) {
      const double w = 0.5 - 0.5 * std::cos(2.0 * 3.141592653589793 * i / kFft);
      const float v = x[at + static_cast<std::size_t>(i)];
      frame[static_cast<std::size_t>(i)] = std::isfinite(v) ? static_cast<float>(w * v) : 0.0f;
    }
    kiss_fftr(fft.get(), frame.data(), bins.data());
    std::vector<float> column(kFft / 2);
    for (std::size_t k = 0; k < column.size(); ++k) column[k] = std::hypot(bins[k].r, bins[k].i);
    columns.push_back(std::move(column));
  }
  return columns;
}

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

// Dark blue over red to pale yellow, even in lightness.
std::string palette() {
  static constexpr double stops[][3] = {{8, 10, 35},   {66, 20, 100},  {150, 38, 103},
                                        {222, 80, 60}, {252, 165, 45}, {252, 250, 190}};
  std::string p;
  for (int i = 0; i < 256; ++i) {
    const double at = i / 255.0 * 5.0;
    const int k = std::min(4, static_cast<int>(at));
    for (int c = 0; c < 3; ++c)
      p += static_cast<char>(std::lround(stops[k][c] + (at - k) * (stops[k + 1][c] - stops[k][c])));
  }
  return p;
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
      default:
        out += c;
    }
  }
  return out;
}

std::string line_chart(const std::vector<Series>& series, const Axes& axes) {
  double x0 = 1e300, x1 = -1e300, y0 = 1e300, y1 = -1e300;
  for (const Series& s : series) {
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (!shown(s.y[i], axes.log_y) || !std::isfinite(s.x[i])) continue;
      x0 = std::min(x0, s.x[i]);
      x1 = std::max(x1, s.x[i]);
      y0 = std::min(y0, s.y[i]);
      y1 = std::max(y1, s.y[i]);
    }
  }
  if (x0 > x1) return "<p class=\"quiet\">nothing to draw</p>";
  if (x0 == x1) x1 = x0 + 1.0;
  if (y0 == y1) {
    y1 = axes.log_y ? y0 * 2.0 : y0 + 1.0;
  }
  const double left = 58, right = 12, top = 10, bottom = 38, w = axes.width, h = axes.height;
  const auto px = [&](double x) { return left + (x - x0) / (x1 - x0) * (w - left - right); };
  const auto py = [&](double y) {
    const double f = axes.log_y ? std::log(y / y0) / std::log(y1 / y0) : (y - y0) / (y1 - y0);
    return h - bottom - f * (h - top - bottom);
  };
  std::string svg = fmt::format("<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\">", axes.width, axes.height);
  for (const double t : ticks(y0, y1, axes.log_y)) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:g}</text>",
        left, w - right, py(t), py(t), left - 6, py(t) + 4, t);
  }
  for (const double t : ticks(x0, x1, false)) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:g}</text>", px(t), h - bottom + 16, t);
  }
  for (const double m : axes.marks) {
    if (m > x0 && m < x1) {
      svg += fmt::format("<line class=\"mark\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>", px(m),
                         top, h - bottom);
    }
  }
  for (const Series& s : series) {
    std::string points;
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (shown(s.y[i], axes.log_y)) points += fmt::format("{:.1f},{:.1f} ", px(s.x[i]), py(s.y[i]));
    }
    svg += fmt::format("<polyline class=\"line {}\" points=\"{}\"><title>{}</title></polyline>", s.css, points,
                       escape(s.label));
  }
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>", (left + w - right) / 2, h - 4,
                     escape(axes.x_label));
  svg += fmt::format("<text transform=\"translate(13 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text></svg>",
                     (top + h - bottom) / 2, escape(axes.y_label));
  std::string legend;
  for (const Series& s : series) {
    if (!s.label.empty() && series.size() > 1 && series.size() < 8)
      legend += fmt::format("<span class=\"key {}\">{}</span>", s.css, escape(s.label));
  }
  return svg + (legend.empty() ? "" : "<p class=\"legend\">" + legend + "</p>");
}

std::string waveform(const std::vector<float>& x, double full_scale, const std::string& css, int width, int height) {
  std::string upper, lower;
  const double mid = height / 2.0, scale = full_scale > 0.0 ? (mid - 1.0) / full_scale : 0.0;
  for (int i = 0; i < width; ++i) {
    const std::size_t a = x.size() * static_cast<std::size_t>(i) / static_cast<std::size_t>(width);
    const std::size_t b = std::max(a + 1, x.size() * static_cast<std::size_t>(i + 1) / static_cast<std::size_t>(width));
    float lo = 0.0f, hi = 0.0f;
    for (std::size_t j = a; j < b && j < x.size(); ++j) {
      if (!std::isfinite(x[j])) continue;
      lo = std::min(lo, x[j]);
      hi = std::max(hi, x[j]);
    }
    upper += fmt::format("{},{:.1f} ", i, mid - std::clamp(hi * scale, 0.0, mid));
    lower = fmt::format("{},{:.1f} ", i, mid + std::clamp(-lo * scale, 0.0, mid)) + lower;
  }
  return fmt::format(
      "<svg class=\"wave\" viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\" role=\"img\"><polygon class=\"{}\" "
      "points=\"{}{}\"/></svg>",
      width, height, css, upper, lower);
}

double loudest_bin(const std::vector<float>& x) {
  float most = 0.0f;
  for (const auto& column : stft(x)) most = std::max(most, *std::max_element(column.begin(), column.end()));
  return most;
}

std::string spectrogram(const std::vector<float>& x, int sample_rate, double reference, const std::string& alt) {
  const auto columns = stft(x);
  if (columns.empty() || !(reference > 0.0)) return "<p class=\"quiet\">nothing to draw</p>";
  const int width = static_cast<int>(columns.size()), height = kFft / 2;
  std::string pixels;
  for (int y = 0; y < height; ++y) {
    for (const auto& column : columns) {
      const double db =
          20.0 * std::log10(std::max(1e-12, column[static_cast<std::size_t>(height - 1 - y)] / reference));
      pixels += static_cast<char>(std::lround(255.0 * std::clamp(1.0 + db / kRange, 0.0, 1.0)));
    }
  }
  return fmt::format(
      "<img class=\"spectrogram\" alt=\"{}\" title=\"0 to {} Hz, {} dB\" src=\"data:image/png;base64,{}\">",
      escape(alt), sample_rate / 2, static_cast<int>(kRange), base64(png(width, height, pixels, palette())));
}

}  // namespace cafx
