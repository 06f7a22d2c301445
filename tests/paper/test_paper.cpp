// The parts of `cafx reproduce`: baseline, a device's traits, claims, figures.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "experiments/paper/cache.h"
#include "experiments/paper/claims.h"
#include "experiments/paper/figures.h"
#include "experiments/paper/page.h"
#include "experiments/paper/tables.h"
#include "host/draw/figure.h"
#include "host/eval/baseline.h"
#include "host/eval/device_traits.h"
#include "host/metrics/error.h"
#include "kernels/base/error.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

Experiment experiment(const char* effect, double own, double baseline, double dry) {
  Experiment x;
  x.instrument = "guitar";
  x.effect = effect;
  x.preset = "default";
  x.split = "note";
  StudyRun r;
  r.own.mean.esr = own;
  r.own.mean.attack_db = 0.5;
  r.baseline.esr = baseline;
  r.dry.esr = dry;
  r.dry.attack_db = 4.0;
  x.runs.push_back(r);
  return x;
}

TEST(Claims, NumbersDecide) {
  const auto verdict = [](const std::vector<Experiment>& all, const char* text) {
    for (const Claim& c : judge(all)) {
      if (c.text == text) return c.verdict;
    }
    ADD_FAILURE() << text;
    return Verdict::kNotTested;
  };
  const char* distortion = "The network models distortion.";
  EXPECT_EQ(verdict({experiment("Distortion 1", 0.01, 0.05, 0.9)}, distortion), Verdict::kShown);
  EXPECT_EQ(verdict({experiment("Distortion 1", 0.06, 0.05, 0.9)}, distortion), Verdict::kNotShown);
  EXPECT_EQ(verdict({experiment("Distortion 1", 1.2, 0.05, 0.9)}, distortion), Verdict::kContradicted);
  EXPECT_EQ(verdict({experiment("EQ 1", 0.01, 0.05, 0.9)}, distortion), Verdict::kNotTested);
  EXPECT_EQ(verdict({experiment("Distortion 1", std::nan(""), 0.05, 0.9)}, distortion), Verdict::kContradicted);
  EXPECT_EQ(verdict({experiment("EQ 1", 0.01, 0.05, 0.9)}, "Attack is captured."), Verdict::kShown);
  EXPECT_EQ(verdict({experiment("EQ 1", 0.01, 0.05, 0.9)}, "Models generalise between guitar and bass."),
            Verdict::kNotTested);
  ASSERT_NE(published("FxChain 2"), nullptr);
  EXPECT_EQ(published("Tremolo 1"), nullptr);
}

// A short run that fails says nothing, one that succeeds does.
TEST(Claims, AreNotJudgedByModelsThatHeardLittle) {
  std::vector<Experiment> all = {experiment("Distortion 1", 0.06, 0.05, 0.9),
                                 experiment("Distortion 2", 0.02, 0.05, 0.9)};
  all[0].runs[0].frames = all[1].runs[0].frames = kEnoughFrames - 1.0;
  const Claim little = judge(all)[0];
  EXPECT_EQ(little.verdict, Verdict::kNotJudged);
  EXPECT_EQ(little.evidence, "shown for 1 of 2, 1 not judged");
  EXPECT_EQ(little.models[1].verdict, Verdict::kNotJudged);
  all[0].runs[0].own.mean.esr = 1.2;
  EXPECT_EQ(judge(all)[0].verdict, Verdict::kNotJudged);  // worse than dry, after a moment
  all[0].runs[0].frames = kEnoughFrames;
  EXPECT_EQ(judge(all)[0].verdict, Verdict::kNotShown);
  all[0].runs[0].own.mean.esr = 0.03;
  EXPECT_EQ(judge(all)[0].verdict, Verdict::kShown);
  all[0].runs[0].own.mean.esr = 0.06;
  all[0].runs.push_back(all[0].runs[0]);
  all[0].runs[1].frames = 10.0;  // one of its seeds
  EXPECT_EQ(judge(all)[0].verdict, Verdict::kNotJudged);
}

TEST(Evidence, CountsSupervisedFramesAlone) {
  const std::string csv =
      "stage,epoch,steps,learning_rate\npretrain,1,10,0.1\npretrain,2,20,0.1\ntrain,1,26,0.1\nrefine,1,32,0.1\n";
  EXPECT_EQ(frames_heard(csv, 16), 12.0 * 16.0);
  EXPECT_EQ(frames_heard("stage,epoch,steps\ntrain,1,7,x\n", 2), 14.0);
  EXPECT_EQ(frames_heard("", 16), 0.0);
}

// By a table of Student's t: 4.303 and 12.706 at 97.5 %.
TEST(Evidence, IntervalIsStudents) {
  Experiment x = experiment("EQ 1", 0.01, 0.05, 0.9);
  x.runs.push_back(x.runs[0]);
  x.runs[1].own.mean.esr = 0.03;
  EXPECT_NEAR(x.interval(&Metrics::esr), 0.127062, 1e-5);
  EXPECT_NE(judge({x})[2].models[0].numbers.find("(2 seeds, 95 %: 0 to 0.1471)"), std::string::npos);
}

TEST(Evidence, NoiseOfTheDeviceBoundsTheError) {
  Dataset first, second;
  for (const char* name : {"a", "b", "c"}) {
    Pair p;
    p.name = name;
    p.wet = Recording{1.0f, -1.0f, 1.0f, -1.0f};
    first.pairs.push_back(p);
    p.wet = Recording{1.1f, -1.1f, 0.9f, -0.9f};
    if (*name != 'c') second.pairs.push_back(p);
  }
  EXPECT_NEAR(esr_of_noise(first, {0, 1, 2}, second), 0.5 * 0.01, 1e-6);
  EXPECT_TRUE(std::isnan(esr_of_noise(first, {2}, second)));
}

TEST(Claims, ListsEveryModelBestFirst) {
  std::vector<Experiment> all = {
      experiment("Distortion 1", 0.06, 0.05, 0.9), experiment("Distortion 2", 0.02, 0.05, 0.9),
      experiment("Distortion 3", std::nan(""), 0.05, 0.9), experiment("EQ 1", 0.001, 0.05, 0.9)};
  Claim c = judge(all)[0];
  EXPECT_EQ(c.verdict, Verdict::kNotShown);
  EXPECT_EQ(c.evidence, "shown for 1 of 3, 1 against");
  ASSERT_EQ(c.models.size(), 3u);
  EXPECT_EQ(c.models[0].model, "Distortion 2, guitar");
  EXPECT_EQ(c.models[0].verdict, Verdict::kShown);
  EXPECT_EQ(c.models[1].verdict, Verdict::kNotShown);
  EXPECT_EQ(c.models[2].verdict, Verdict::kContradicted);
  all[1].preset = "paper";
  EXPECT_EQ(judge(all)[0].evidence, "shown for 1 of 3, 1 against (preset default 0 of 2, paper 1 of 1)");
  PageInput page;
  page.title = "a title";
  page.experiments = &all;
  page.claims = {c};
  const std::string md = tables_markdown(page), html = page_html(page);
  // The cell has best and worst alone, all stand below.
  const std::string cell = md.substr(md.find("| The network models distortion."), 400);
  const std::string line = cell.substr(0, cell.find('\n'));
  EXPECT_NE(line.find("shown for 1 of 3, 1 against. Best: Distortion 2, guitar"), std::string::npos) << line;
  EXPECT_EQ(line.find("Distortion 1"), std::string::npos) << line;
  EXPECT_NE(md.find("| Distortion 1, guitar | default | not shown | ESR 0.0600"), std::string::npos);
  EXPECT_NE(html.find("<summary>all 3 models</summary>"), std::string::npos);
}

TEST(ResultPages, SayWhereTheyAreAndWhatIsMissing) {
  std::vector<Experiment> all = {experiment("Overdrive 1", 0.02, 0.05, 0.9),
                                 experiment("Distortion 2", 0.02, 0.05, 0.9)};
  PageInput page;
  page.experiments = &all;
  page.figures = {{"filters", "Learned Conv1D filters", "", {}}};
  const auto pages = result_pages(page);
  ASSERT_EQ(pages.size(), 7u);
  ASSERT_EQ(pages[0].places.size(), 1u);
  EXPECT_EQ(pages[0].places[0].link, "#figure-filters");
  EXPECT_TRUE(pages[2].places.empty());  // distortion, but of a guitar
  ASSERT_EQ(pages[3].places.size(), 1u);
  EXPECT_EQ(pages[3].places[0].link, "#default-guitar-overdrive-1");
  page.apart = true;
  EXPECT_EQ(result_pages(page)[3].places[0].link, "pages/default-guitar-overdrive-1.html");
  EXPECT_NE(
      tables_markdown(page).find("Distortion, bass: input, target, output | amplitude over time; frequency over time; "
                                 "sound | not in this run |"),
      std::string::npos);
  EXPECT_NE(page_html(page).find("id=\"figure-filters\""), std::string::npos);
}

TEST(MeasureCache, ReturnsWhatItStored) {
  const TemporaryFolder folder;
  const MeasureCache cache(folder.path() / "measured");
  Measured m;
  m.evaluation.hop = 64;
  m.evaluation.part = "test";
  m.evaluation.mean.esr = 0.1;
  m.evaluation.mean.attack_db = std::nan("");
  NoteResult r;
  r.note = "G61-40100";
  r.dry_file = "a.wav";
  r.seconds = 2.5;
  r.model.mr_stft = HUGE_VAL;
  r.output = {0.25f, -1e-30f};
  m.evaluation.notes = {r};
  m.baseline.resize(1);
  m.baseline[0].decay_db = 1.0 / 3.0;
  m.baseline_output = {{1.0f}};
  m.sample_out = {0.1, 0.2};
  EXPECT_FALSE(cache.notes("a").has_value());
  cache.keep("a", m);
  const auto back = cache.notes("a");
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->evaluation.mean.esr, 0.1);
  EXPECT_TRUE(std::isnan(back->evaluation.mean.attack_db));
  ASSERT_EQ(back->evaluation.notes.size(), 1u);
  EXPECT_EQ(back->evaluation.notes[0].dry_file, "a.wav");
  EXPECT_EQ(back->evaluation.notes[0].output, r.output);
  EXPECT_EQ(back->evaluation.notes[0].model.mr_stft, HUGE_VAL);
  EXPECT_EQ(back->baseline[0].decay_db, 1.0 / 3.0);
  EXPECT_EQ(back->baseline_output, m.baseline_output);
  EXPECT_EQ(back->sample_out, m.sample_out);

  DeviceTraits t;
  t.harmonics = {{-6.0, {1.0, 0.5}, 0.5}};
  t.response_db = {{1.0, 2.0}, {3.0}};
  cache.keep("b", t);
  ASSERT_TRUE(cache.traits("b").has_value());
  EXPECT_EQ(cache.traits("b")->harmonics[0].amplitude, t.harmonics[0].amplitude);
  EXPECT_EQ(cache.traits("b")->response_db, t.response_db);

  // Of another kind, cut off, or none at all: measured again.
  EXPECT_FALSE(cache.notes("b").has_value());
  const auto file = folder.path() / "measured" / "a.cbor";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 9);
  EXPECT_FALSE(cache.notes("a").has_value());
  EXPECT_FALSE(MeasureCache("").notes("a").has_value());
}

Task task(const char* preset, std::vector<std::pair<const char*, Json>> changes) {
  Task t;
  RunConfig c = run_preset(preset);
  t.config = to_json(describe(c));
  for (const auto& [key, value] : changes) t.config[key] = value;
  return t;
}

TEST(Study, AVariantIsWhatDiffersFromMostRuns) {
  // All trained with 4 epochs, which is no variant; 2 of 3 with relu; one seed and one instrument apart.
  const std::vector<Task> tasks = {
      task("default", {{"train.epochs", 4}, {"train.seed", 2}}),
      task("default", {{"train.epochs", 4}, {"data.instrument", "bass"}}),
      task("default", {{"train.epochs", 4}, {"model.activation", "tanh"}, {"model.saaf.l2", 0.0}}),
      task("paper", {{"train.epochs", 4}})};
  const auto v = variants(tasks);
  ASSERT_EQ(v.size(), 4u);
  EXPECT_EQ(v[0], "");
  EXPECT_EQ(v[1], "");
  EXPECT_NE(v[2].find("activation tanh"), std::string::npos) << v[2];
  EXPECT_NE(v[2].find("saaf.l2 0"), std::string::npos) << v[2];
  EXPECT_EQ(v[3], "");
  // Of as many runs each, the preset's own value is the usual one.
  const auto two = variants({task("default", {{"train.pretrain_epochs", 0}}), task("default", {})});
  EXPECT_EQ(two[0], "pretrain_epochs 0");
  EXPECT_EQ(two[1], "");
}

TEST(Tables, AreThereWhereRunsFillThem) {
  Experiment guitar = experiment("FxChain 1", 0.01, 0.05, 0.9), bass = guitar, tanh = guitar;
  bass.instrument = "bass";
  tanh.variant = "activation tanh";
  tanh.runs[0].own.mean.esr = 0.1;
  EXPECT_TRUE(comparison_tables({guitar}).empty());
  guitar.runs[0].unheard["piano"].model.esr = 0.25;
  const auto tables = comparison_tables({guitar, bass, tanh});
  ASSERT_EQ(tables.size(), 2u);
  EXPECT_EQ(tables[0].id, "unheard");
  ASSERT_EQ(tables[0].rows.size(), 1u);
  EXPECT_EQ(tables[0].rows[0][2], "0.250 / 0 / 0");
  EXPECT_EQ(tables[1].id, "ablation-default");
  ASSERT_EQ(tables[1].rows.size(), 2u);
  EXPECT_EQ(tables[1].rows[1][2], "-10.0");
  EXPECT_NE(to_markdown(tables[1]).find("| \u2003activation tanh | 0.100"), std::string::npos);
  // A second seed of the usual, which the variant does not have, is not held against it.
  guitar.runs.push_back(guitar.runs[0]);
  guitar.runs[1].config.train.seed = 2;
  guitar.runs[1].own.mean.esr = 1.0;
  EXPECT_EQ(comparison_tables({guitar, bass, tanh})[1].rows[1][2], "-10.0");
  guitar.runs.pop_back();
  // The main tables and the claims leave variants out.
  EXPECT_EQ(main_experiments({guitar, tanh}).size(), 1u);
}

TEST(Tables, GoalsStandBesideWhatWasReached) {
  Experiment x = experiment("Distortion 1", 0.0029, 0.05, 0.9), y = experiment("FxChain 1", 0.0051, 0.05, 0.9);
  x.runs[0].frames = y.runs[0].frames = 2.4e6;
  x.runs[0].best = 0.0001;
  const auto tables = comparison_tables({x, y});
  ASSERT_EQ(tables[0].id, "goals");
  ASSERT_EQ(tables[0].rows.size(), 2u);
  ASSERT_EQ(tables[0].rows[0].size(), tables[0].head.size());
  EXPECT_EQ(tables[0].rows[0][5], "yes");
  EXPECT_EQ(tables[0].rows[0][7], "0.00010");
  EXPECT_EQ(tables[0].rows[1][5], "no");
  EXPECT_EQ(tables[0].rows[1][10], "2400");
}

TEST(Tables, PresetsStandSideBySide) {
  Experiment one = experiment("EQ 1", 0.04, 0.05, 0.9), paper = experiment("EQ 1", 0.02, 0.05, 0.9),
             alone = experiment("EQ 2", 0.01, 0.05, 0.9), varied = one;
  paper.preset = "paper";
  varied.variant = "activation tanh";
  const auto tables = comparison_tables({one, paper, alone, varied});
  ASSERT_EQ(tables[0].id, "presets");
  ASSERT_EQ(tables[0].rows.size(), 1u);
  const auto& row = tables[0].rows[0];
  ASSERT_EQ(row.size(), tables[0].head.size());
  EXPECT_EQ(tables[0].head[1], "ESR: default");
  EXPECT_EQ(row[1], "0.0400");
  EXPECT_EQ(tables[0].head[2], "ESR: paper");
  EXPECT_EQ(row[2], "0.0200");
  EXPECT_EQ(row[row.size() - 3], "paper");
  EXPECT_EQ(row.back(), "0.900");
}

TEST(Figures, ErrorAgainstNoteIsInTheOrderOfTheError) {
  Experiment x = experiment("Overdrive 1", 0.02, 0.05, 0.9), y = experiment("EQ 2", 0.02, 0.05, 0.9), bass = x;
  for (const auto& [name, esr] :
       {std::pair("G61-40100", 0.3), std::pair("G63-41101", 0.1), std::pair("G71-50300", 0.2)}) {
    NoteResult r;
    r.note = name;
    r.model.esr = esr;
    x.runs[0].own.notes.push_back(r);
  }
  y.runs[0].own.notes = x.runs[0].own.notes;
  bass.instrument = "bass";
  const auto figures = note_error_figures({x, y, bass});
  ASSERT_EQ(figures.size(), 2u);
  EXPECT_EQ(figures[0].id, "notes-default-guitar");
  EXPECT_TRUE(figures[1].panels.empty());  // no notes
  ASSERT_EQ(figures[0].panels.size(), 2u);
  EXPECT_EQ(figures[0].panels[0].axes.title, "Overdrive");
  const Series& s = figures[0].panels[0].series.at(0);
  EXPECT_EQ(s.label, "Overdrive 1");
  EXPECT_EQ(s.x, (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(s.y, (std::vector<double>{0.1, 0.2, 0.3}));
  EXPECT_EQ(s.names, (std::vector<std::string>{"G63-41101", "G71-50300", "G61-40100"}));
  const TemporaryFolder folder;
  write_figures({figures[0]}, folder.path());
  std::ifstream in(folder.path() / "notes-default-guitar.tsv");
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_NE(text.str().find("# Overdrive: Overdrive 1\n# test note, by its error\tESR\tname\n1\t0.1\tG63-41101\n"),
            std::string::npos)
      << text.str();
}

}  // namespace
}  // namespace cafx
