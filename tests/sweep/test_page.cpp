// The page about a sweep: importance on functions whose shares are known, and the page itself in a browser.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "host/sweep/importance.h"
#include "host/sweep/page.h"
#include "kernels/base/rng.h"
#include "tests/in_browser.h"

namespace cafx {
namespace {

namespace fs = std::filesystem;

std::vector<std::vector<double>> random_settings(int n_settings, int n_runs) {
  std::vector<std::vector<double>> x(static_cast<std::size_t>(n_settings));
  for (int s = 0; s < n_settings; ++s) {
    for (int r = 0; r < n_runs; ++r)
      x[static_cast<std::size_t>(s)].push_back(
          Rng{5, static_cast<std::uint64_t>(s)}.uniform(static_cast<std::uint64_t>(r)));
  }
  return x;
}

// y = 4 a + b: variances 16 to 1, nothing of c.
TEST(Importance, SumGivesTheShareOfEachTerm) {
  const auto x = random_settings(3, 300);
  std::vector<double> y;
  for (std::size_t r = 0; r < 300; ++r) y.push_back(4.0 * x[0][r] + x[1][r]);
  const auto share = importance(x, y);
  ASSERT_EQ(share.size(), 3u);
  EXPECT_NEAR(share[0], 16.0 / 17.0, 0.05);
  EXPECT_NEAR(share[1], 1.0 / 17.0, 0.03);
  EXPECT_LT(share[2], 0.01);
}

// Equal to 1 where exactly one of the two is in its upper half: neither explains anything alone.
TEST(Importance, PureInteractionBelongsToNoSetting) {
  const auto x = random_settings(2, 600);
  std::vector<double> y;
  for (std::size_t r = 0; r < 600; ++r) y.push_back((x[0][r] < 0.5) == (x[1][r] < 0.5) ? 0.0 : 1.0);
  const auto share = importance(x, y);
  ASSERT_EQ(share.size(), 2u);
  EXPECT_LT(share[0] + share[1], 0.15);
}

TEST(Importance, NeedsEnoughRunsThatDiffer) {
  EXPECT_TRUE(importance(random_settings(2, 7), std::vector<double>{1, 2, 3, 4, 5, 6, 7}).empty());
  EXPECT_TRUE(importance(random_settings(2, 20), std::vector<double>(20, 1.0)).empty());
}

// A sweep that was not run: two seeds of each of 60 points, some failed, some stopped, one waiting.
struct Example {
  std::vector<Task> tasks;
  std::vector<Row> rows;
  std::vector<LearningCurve> curves;

  Example() {
    tasks.resize(121);
    tasks[0].kind = TaskKind::kPretrain;
    tasks[0].folder = "pretrain-0123456789ab";
    for (int i = 1; i < 121; ++i) {
      Task& t = tasks[static_cast<std::size_t>(i)];
      const int point = (i - 1) / 2;
      const double u = Rng{1, 1}.uniform(static_cast<std::uint64_t>(point));
      t.folder = fmt::format("default-{:012x}", i);
      t.parent = 0;
      t.point = {{"train.lr", std::pow(10.0, -4.0 + 2.0 * u)},
                 {"model.hidden", point % 3 == 0 ? "softplus" : "relu"},
                 {"model.filters", 16 << point % 3}};
      if (point % 2) t.point.emplace_back("train.warmup_steps", 100 * (point % 5));
      t.point.emplace_back("train.seed", 1 + (i - 1) % 2);
    }
    for (int i = 0; i < 121; ++i) {
      Row r;
      r.task = &tasks[static_cast<std::size_t>(i)];
      r.state = i == 7 || i == 30 ? State::kFailed
                : i % 11 == 5     ? State::kPruned
                : i == 120        ? State::kQueued
                                  : State::kDone;
      r.seconds = 10.0 + i;
      if (r.state == State::kFailed) r.outcome.reason = "the loss became nan at step 12 </script><b>";
      if (i > 0 && r.state == State::kDone) {
        const double u = Rng{1, 1}.uniform(static_cast<std::uint64_t>((i - 1) / 2));
        const double v = 0.002 * std::exp(6.0 * (u - 0.6) * (u - 0.6)) * (i % 3 ? 1.0 : 1.2) * (1.0 + 0.01 * (i % 2));
        r.outcome.metrics = {{"validation_mae", v}, {"test.esr", 0.4 * v + 1e-5 * (i % 7)}, {"steps", 1000 + i}};
        LearningCurve c;
        c.row = static_cast<std::size_t>(i);
        for (int e = 1; e <= 40; ++e) {
          c.epoch.push_back(e);
          c.validation.push_back(v * (1.0 + 20.0 / e / e));
        }
        if (i < 60) curves.push_back(c);
      }
      rows.push_back(r);
    }
  }

  std::string page() const {
    return sweep_html({"rates & <shapes>", "validation_mae", "name = \"rates\"\n", "..", &rows, curves});
  }
};

TEST(SweepPage, HoldsEveryRunAndEscapesWhatItIsGiven) {
  const Example e;
  const std::string html = e.page();
  for (std::size_t i = 1; i < e.rows.size(); ++i)
    EXPECT_NE(html.find(fmt::format("data-row=\"{}\"", i)), std::string::npos) << i;
  EXPECT_EQ(html.find("<shapes>"), std::string::npos);
  EXPECT_EQ(html.find("</script><b>"), std::string::npos);
  EXPECT_NE(html.find("became nan at step 12"), std::string::npos);
  EXPECT_EQ(html.find("http"), html.find("http://www.w3.org/2000/svg"));  // a name, the only one: nothing is loaded
}

TEST(SweepPage, OfNothingAndOfOneRunIsAPage) {
  const std::vector<Row> none;
  EXPECT_NE(sweep_html({"a", "validation_mae", "", "", &none, {}}).find("No run has a result yet"), std::string::npos);
  const Example e;
  const std::vector<Row> one{e.rows[0], e.rows[1]};
  EXPECT_NE(sweep_html({"a", "validation_mae", "", "", &one, {}}).find("data-row=\"1\""), std::string::npos);
}

TEST(SweepPage, SortsAndDrawsInABrowserWithoutAnError) {
  if (!has_browser()) GTEST_SKIP() << "chromium is not installed";
  const Example e;
  std::string folder = (fs::temp_directory_path() / "cafx-page-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const fs::path page = fs::path(folder) / "report.html";
  std::ofstream(page) << e.page();
  const auto order = [](const std::string& dom) {
    std::vector<std::size_t> rows;
    const std::string mark = "data-row=\"";
    for (std::size_t at = dom.find(mark); at != std::string::npos; at = dom.find(mark, at + 1))
      rows.push_back(std::stoul(dom.substr(at + mark.size(), 10)));
    return rows;
  };
  for (const bool down : {false, true}) {
    const std::string dom = in_browser(page, down ? "#sort=-test.esr" : "#sort=test.esr");
    ASSERT_NE(dom.find("data-ready=\"yes\""), std::string::npos) << dom.substr(0, 2000);
    EXPECT_EQ(dom.find("data-error"), std::string::npos);
    const auto rows = order(dom);
    ASSERT_EQ(rows.size(), 120u);
    double before = down ? 1e9 : -1e9;
    std::size_t n = 0;
    for (const std::size_t r : rows) {
      if (e.rows[r].state != State::kDone) continue;
      const double v = e.rows[r].outcome.metrics["test.esr"];
      EXPECT_TRUE(down ? v <= before : v >= before) << r;
      before = v;
      ++n;
    }
    for (std::size_t i = n; i < rows.size(); ++i)
      EXPECT_NE(e.rows[rows[i]].state, State::kDone);  // without a value: last
    std::size_t lines = 0;
    for (std::size_t at = dom.find("<path d=\"M"); at != std::string::npos; at = dom.find("<path d=\"M", at + 1))
      ++lines;
    EXPECT_EQ(lines, n);  // a line of the parallel coordinates for each finished run
  }
  if (const char* keep = std::getenv("CAFX_KEEP_PAGE")) fs::copy_file(page, keep, fs::copy_options::overwrite_existing);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace cafx
