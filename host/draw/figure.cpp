#include "host/draw/figure.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "host/draw/compact_svg.h"
#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) { write_file_atomically(path, text.data(), text.size()); }

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c == '\n' ? ' ' : c);
  return out + "'";
}

std::string tsv(const Figure& f) {
  std::string text = fmt::format("# {}\n", f.title);
  bool first = true;
  for (const Panel& p : f.panels) {
    if (p.map.rows > 0) {
      text +=
          fmt::format("{}# {}\n# {}\t{}\tvalue\n", first ? "" : "\n\n", p.axes.title, p.axes.x_label, p.axes.y_label);
      first = false;
      const auto at = [](const Range& r, int i, int n) { return r.lo + (r.hi - r.lo) * (i + 0.5) / n; };
      for (int row = 0; row < p.map.rows; ++row) {
        if (row > 0) text += "\n";
        for (int column = 0; column < p.map.columns; ++column) {
          text += fmt::format("{:.6g}\t{:.6g}\t{:.4g}\n", at(p.axes.x, column, p.map.columns),
                              at(p.axes.y, row, p.map.rows),
                              p.map.values[static_cast<std::size_t>(row * p.map.columns + column)]);
        }
      }
    }
    for (const Series& s : p.series) {
      const bool named = !s.names.empty();
      text += fmt::format("{}# {}: {}\n# {}\t{}{}\n", first ? "" : "\n\n", p.axes.title, s.label, p.axes.x_label,
                          p.axes.y_label, named ? "\tname" : "");
      first = false;
      bool gap = true;
      for (std::size_t i = 0; i < s.x.size(); ++i) {
        const bool shown = std::isfinite(s.x[i]) && std::isfinite(s.y[i]);
        if (shown)
          text += fmt::format("{:.9g}\t{:.9g}{}{}\n", s.x[i], s.y[i], named ? "\t" : "", named ? s.names.at(i) : "");
        if (!shown && !gap) text += "\n";  // one empty line breaks the line
        gap = !shown;
      }
      if (s.x.empty()) text += "nan\tnan\n";
    }
  }
  return text;
}

std::string style_of(const Series& s) {
  static const char* const colours[] = {"#1f6feb", "#d1495b", "#23865f", "#7a5cc9"};
  const bool dash = s.css.find("dash") != std::string::npos, thin = s.css.find("thin") != std::string::npos;
  // The colour's letter is the last word: "b", "dots c".
  const std::string word = s.css.substr(s.css.find_last_of(' ') + 1);
  const char letter = word.size() == 1 ? word[0] : 'a';
  const char* colour = dash ? "#707780" : colours[letter >= 'b' && letter <= 'd' ? letter - 'a' : 0];
  if (s.css.rfind("dots", 0) == 0)
    return fmt::format("with points pt 7 ps {} lc rgb '{}'", s.css.find("big") != std::string::npos ? "0.6" : "0.25",
                       colour);
  if (s.filled) return fmt::format("with filledcurves closed lc rgb '{}'", colour);
  return fmt::format("with lines lw {} dt {} lc rgb '{}'", thin ? "0.7" : "1.6", dash ? 2 : 1, colour);
}

std::string heat_palette() {
  std::string text;
  const auto colours = heat_colours();
  for (std::size_t i = 0; i < colours.size(); ++i) text += fmt::format("{}{} '{}'", i ? ", " : "", i, colours[i]);
  return text;
}

std::string range(const char* axis, const Range& r) {
  return r.lo < r.hi ? fmt::format("set {}range [{:g}:{:g}]\n", axis, r.lo, r.hi)
                     : fmt::format("set {}range [*:*]\n", axis);
}

std::string script(const Figure& f) {
  const auto n = f.panels.size();
  const std::size_t columns = n > 6 ? 4 : n > 1 ? 2 : 1, rows = (n + columns - 1) / columns;
  const double width = n > 6         ? 2.4 * static_cast<double>(columns)
                       : columns > 1 ? 9.0
                                     : 6.0,
               height = (n > 6 ? 1.6 : 3.4) * static_cast<double>(rows);
  std::string text = fmt::format(
      "# gnuplot {0}.gp: makes {0}.svg and {0}.pdf from {0}.tsv\n"
      "do for [kind = 0:1] {{\n"
      "if (kind == 0) {{ set terminal svg size {1:.0f},{2:.0f} font 'sans-serif,12' background '#ffffff' }} else {{ "
      "set terminal pdfcairo size "
      "{3:.1f}in,{4:.1f}in font 'Helvetica,9' }}\n"
      "set output kind == 0 ? '{0}.svg' : '{0}.pdf'\n"
      "set border 3 lc rgb '#707780'; set tics nomirror out textcolor rgb '#404850'; set grid lc rgb '#e2dfd8' lt 1\n"
      "set key top left reverse Left samplen 1.5 noenhanced\nset multiplot layout {5},{6} title {7} noenhanced\n",
      f.id, 96.0 * width, 96.0 * height, width, height, rows, columns, quoted(f.title));
  std::size_t index = 0;
  for (const Panel& p : f.panels) {
    text += fmt::format("set title {} noenhanced\nset xlabel {} noenhanced\nset ylabel {} noenhanced\n",
                        quoted(n > 1 ? p.axes.title : ""), quoted(p.axes.x_label), quoted(p.axes.y_label));
    text += p.axes.log_x ? "set logscale x\n" : "unset logscale x\n";
    text += p.axes.log_y ? "set logscale y\n" : "unset logscale y\n";
    text += range("x", p.axes.x) + range("y", p.axes.y);
    if (p.map.rows > 0) {
      double most = 0.0;
      for (const double v : p.map.values) most = std::max(most, std::isfinite(v) ? std::abs(v) : 0.0);
      text += fmt::format(
          "unset key\nset cbrange [0:1]; unset colorbox\nset palette defined ({})\nplot '{}.tsv' index {} using "
          "1:2:({}) with image\n",
          heat_palette(), f.id, index++,
          p.map.plain ? std::string("$3") : fmt::format("sqrt(abs($3)/{:g})", std::max(1e-30, most)));
      continue;
    }
    text += p.series.size() > 6 || n > 6 ? "unset key\n" : "set key top left reverse Left samplen 1.5 noenhanced\n";
    text += "plot ";
    for (std::size_t i = 0; i < p.series.size(); ++i)
      text += fmt::format("{}'{}.tsv' index {} using 1:2 {} title {}", i ? ", \\\n  " : "", f.id, index++,
                          style_of(p.series[i]), quoted(p.series[i].label));
    text += "\n";
  }
  return text + "unset multiplot\nunset output\n}\n";
}

}  // namespace

std::vector<double> HeatMap::shades() const {
  double most = 0.0;
  for (const double v : values) most = std::max(most, std::isfinite(v) ? std::abs(v) : 0.0);
  std::vector<double> out;
  for (const double v : values) out.push_back(plain ? v : most > 0.0 ? std::sqrt(std::abs(v) / most) : 0.0);
  return out;
}

std::string write_figures(const std::vector<Figure>& figures, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error("{}: cannot be made: {}", folder.string(), error.message());
  const bool gnuplot = std::system("command -v gnuplot >/dev/null 2>&1") == 0;
  std::string failed;
  for (const Figure& f : figures) {
    if (f.panels.empty()) continue;
    write(folder / (f.id + ".tsv"), tsv(f));
    write(folder / (f.id + ".gp"), script(f));
    if (!gnuplot) continue;
    std::string cd;
    for (const char c : folder.string()) cd += c == '\'' ? std::string("'\\''") : std::string(1, c);
    const int rc = std::system(fmt::format("cd '{}' && gnuplot '{}.gp' >gnuplot.log 2>&1", cd, f.id).c_str());
    if (rc == 0) write(folder / (f.id + ".svg"), compact_svg(read(folder / (f.id + ".svg"))));
    if (rc != 0 && failed.empty())
      failed = fmt::format("gnuplot could not draw {}.gp; {}/gnuplot.log says why", f.id, folder.string());
  }
  if (!gnuplot)
    return "gnuplot is not installed, so the figures are left as TSV and .gp (apt-get install gnuplot-nox draws them "
           "as SVG and PDF)";
  if (failed.empty()) fs::remove(folder / "gnuplot.log", error);
  return failed;
}

}  // namespace cafx
