// Figures on disk: data, gnuplot script, pictures.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "host/draw/compact_svg.h"
#include "host/draw/figure.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

TEST(Figures, DataScriptAndPicturesLieBesideEachOther) {
  const TemporaryFolder folder;
  Figure f{"a-figure", "It's a figure", "", {}};
  Panel p;
  p.axes.title = "panel";
  p.axes.x_label = "x's";
  p.series = {{"one", "", {1, 2, 3}, {1, std::nan(""), 9}},
              {"two", "dots b", {1, std::nan(""), 2}, {4, std::nan(""), 5}}};
  f.panels = {p, p};
  const std::string missing = write_figures({f}, folder.path());
  std::ifstream in(folder.path() / "a-figure.tsv");
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_NE(text.str().find("1\t1\n\n3\t9\n"), std::string::npos) << text.str();
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "a-figure.gp"));
  if (missing.find("not installed") != std::string::npos) GTEST_SKIP() << missing;
  EXPECT_EQ(missing, "");
  for (const char* kind : {"svg", "pdf"})
    EXPECT_GT(std::filesystem::file_size(folder.path() / (std::string("a-figure.") + kind)), 1000u);
}

// As gnuplot writes it: nested groups that carry the style, marks as references, hundredths of a pixel.
constexpr const char* kPlot = R"svg(<?xml version="1.0" encoding="utf-8" standalone="no"?>
<svg width="100" height="50" viewBox="0 0 100 50" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">
<title>Gnuplot</title><desc>Produced by GNUPLOT</desc>
<g id="gnuplot_canvas"><rect x="0" y="0" width="100" height="50" fill="#ffffff"/>
<defs><circle id='gpDot' r='0.5'/><circle id='gpPt5' cx='0' cy='0' r='1'/><use xlink:href='#gpPt5' id='gpPt6' fill='currentColor'/></defs>
<g fill="none" color="#FFFFFF" stroke="currentColor" stroke-width="1.00"></g>
<g fill="none" color="black" stroke="currentColor" stroke-width="1.00">
 <path stroke='rgb(226, 223, 216)' class="gridline" d='M10.04,20.00 L90.00,20.00 '/>
 <path stroke='rgb(226, 223, 216)' class="gridline" d='M10.04,30.00 L90.00,30.00 '/>
 <path stroke='rgb(226, 223, 216)' class="gridline" d='M10.04,40.00 L90.00,40.00 L91.26,41.31 Z'/>
 <g transform="translate(8.12,20.55)" stroke="none" fill="rgb(64,72,80)" font-size="12.00" text-anchor="end">
  <text><tspan font-family="sans-serif">-0.5 &amp; x</tspan></text></g>
</g>
<use xlink:href='#gpPt6' transform='translate(20.02,10.00) scale(1.12)' color='rgb(1,2,3)'/>
<use xlink:href='#gpPt6' transform='translate(25.00,12.50) scale(1.12)' color='rgb(1,2,3)'/>
</g></svg>)svg";

TEST(CompactSvg, DrawsTheSameInFewerBytes) {
  const std::string text = compact_svg(kPlot);
  EXPECT_LT(text.size(), std::string(kPlot).size() / 2);
  const auto has = [&](const char* part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(has("d=\"M10 20h80\"")) << text;
  EXPECT_TRUE(has("d=\"M10 40h80l1.3 1.3z\"")) << text;
  EXPECT_TRUE(has("{fill:none;stroke:#e2dfd8}")) << text;                // one class for the three grid lines
  EXPECT_TRUE(has("x=\"8.1\" y=\"20.6\">-0.5 &amp; x</text>")) << text;  // in place of a group that moves it
  EXPECT_TRUE(has("stroke=\"#010203\" stroke-width=\"2.24\" stroke-linecap=\"round\" d=\"M20 10h0m5 2.5h0\"")) << text;
  for (const char* gone : {"<g", "<defs", "<desc", "gpDot", "tspan", "rgb("}) EXPECT_FALSE(has(gone)) << gone << text;
}

TEST(CompactSvg, LeavesAloneWhatItCannotRead) {
  for (const char* text : {"", "no svg", "<svg><g></svg>", "<svg a=b/>", "<svg><path d='M0,0'", "<html></html>"})
    EXPECT_EQ(compact_svg(text), text);
  // Arcs and relative commands keep their text.
  const std::string arc = "<svg><path d=\"M1,2 A3,3 0 0 1 4,5\"/></svg>";
  EXPECT_NE(compact_svg(arc).find("M1,2 A3,3 0 0 1 4,5"), std::string::npos);
}

}  // namespace
}  // namespace cafx
