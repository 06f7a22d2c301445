// Figures on disk: data, gnuplot script, pictures.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

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

}  // namespace
}  // namespace cafx
