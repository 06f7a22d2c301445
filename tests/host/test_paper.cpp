// The parts of `cafx reproduce`: baseline, a device's traits, claims, figures.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "host/metrics/error.h"
#include "host/paper/baseline.h"
#include "host/paper/cache.h"
#include "host/paper/claims.h"
#include "host/paper/figure.h"
#include "host/paper/measure.h"
#include "host/paper/page.h"
#include "host/paper/paper_figures.h"
#include "host/paper/tables.h"
#include "kernels/base/error.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

// A decaying tone with some noise: enough to tell taps apart.
std::vector<float> note(double hz, unsigned seed, std::size_t n = 2500) {
  std::vector<float> x(n);
  unsigned state = seed;
  for (std::size_t i = 0; i < n; ++i) {
    state = state * 1664525u + 1013904223u;
    const double t = static_cast<double>(i) / 16000.0, noise = static_cast<double>(state >> 8) / (1 << 24) - 0.5;
    x[i] = static_cast<float>(std::exp(-2.0 * t) * (0.4 * std::sin(2.0 * M_PI * hz * t) + 0.15 * noise));
  }
  return x;
}

// y[t] = x[t] + 0.6 x[t-1] - 0.3 x[t-4] + 0.2 x[t+2]
std::vector<float> filtered(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  const auto at = [&](long i) {
    return i >= 0 && i < static_cast<long>(x.size()) ? x[static_cast<std::size_t>(i)] : 0.0f;
  };
  for (long t = 0; t < static_cast<long>(x.size()); ++t)
    y[static_cast<std::size_t>(t)] = at(t) + 0.6f * at(t - 1) - 0.3f * at(t - 4) + 0.2f * at(t + 2);
  return y;
}

std::vector<float> shaped(std::vector<float> x) {
  for (float& v : x) v = 0.7f * std::tanh(4.0f * v);
  return x;
}

double esr_of_fit(std::vector<float> (*device)(const std::vector<float>&)) {
  const auto a = note(110, 1), b = note(196, 2), c = note(147, 3);
  const auto wet_a = device(a), wet_b = device(b), wet_c = device(c);
  const Baseline fit({{&a, &wet_a}, {&b, &wet_b}});
  return error_metrics(wet_c.data(), fit(c).data(), c.size()).esr;
}

TEST(Baseline, LearnsWhatItIs) {
  EXPECT_LT(esr_of_fit([](const std::vector<float>& x) { return filtered(x); }), 1e-8);
  EXPECT_LT(esr_of_fit([](const std::vector<float>& x) { return shaped(x); }), 1e-4);
  EXPECT_LT(esr_of_fit([](const std::vector<float>& x) { return shaped(filtered(x)); }), 1e-3);
  EXPECT_LT(esr_of_fit([](const std::vector<float>& x) { return filtered(shaped(x)); }), 1e-3);
}

TEST(Baseline, ADelayLongerThanItsTapsIsBeyondIt) {
  EXPECT_GT(esr_of_fit([](const std::vector<float>& x) {
              std::vector<float> y(x.size(), 0.0f);
              for (std::size_t i = 400; i < x.size(); ++i) y[i] = x[i - 400];
              return y;
            }),
            0.1);
}

// A tone that decays, alone or with noise.
std::vector<float> tone(double hz, double peak, double noise, unsigned seed) {
  auto x = note(hz, seed);
  const auto tone_only = [&](std::size_t i) {
    const double t = static_cast<double>(i) / 16000.0;
    return std::exp(-2.0 * t) * 0.4 * std::sin(2.0 * M_PI * hz * t);
  };
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(peak / 0.4 * (tone_only(i) + noise * (x[i] - tone_only(i))));
  return x;
}

double esr_of_other(const std::vector<std::vector<float>>& fitted_to, const std::vector<float>& other,
                    std::vector<float> (*device)(const std::vector<float>&)) {
  std::vector<std::vector<float>> wet;
  for (const auto& x : fitted_to) wet.push_back(device(x));
  std::vector<Baseline::Note> notes;
  for (std::size_t i = 0; i < wet.size(); ++i) notes.push_back({&fitted_to[i], &wet[i]});
  const auto target = device(other);
  return error_metrics(target.data(), Baseline(notes)(other).data(), target.size()).esr;
}

// What the notes do not tell must not become anything at all: frequencies that they all but lack, levels above theirs.
TEST(Baseline, OutsideOfItsNotesItIsNotWild) {
  const auto device = [](const std::vector<float>& x) {
    auto y = filtered(shaped(x));
    double slow = 0.0;  // a pole, which its taps do not hold
    for (float& v : y) v = static_cast<float>(slow = 0.985 * slow + 0.1 * v);
    return y;
  };
  std::vector<std::vector<float>> narrow, quiet;
  for (unsigned i = 0; i < 6; ++i) narrow.push_back(tone(80.0 + 20.0 * i, 0.4, 1e-3, i + 1));
  for (unsigned i = 0; i < 6; ++i) quiet.push_back(tone(80.0 + 20.0 * i, 0.1, 1.0, i + 1));
  EXPECT_LT(esr_of_other(narrow, tone(130, 0.4, 1.0, 9), device), 1.0);
  EXPECT_LT(esr_of_other(quiet, tone(130, 0.4, 1.0, 9), [](const std::vector<float>& x) { return shaped(x); }), 1.0);
}

// Two devices in one: a loud note's error must not drown a quiet one's.
TEST(Baseline, AQuietNoteCountsAsALoudOne) {
  const auto device = [](const std::vector<float>& x) {
    const bool loud = *std::max_element(x.begin(), x.end()) > 0.1f;
    auto y = x;
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = loud ? (i >= 400 ? x[i - 400] : 0.0f) : 0.5f * x[i];
    return y;
  };
  std::vector<std::vector<float>> notes;
  for (unsigned i = 0; i < 6; ++i) notes.push_back(tone(80.0 + 20.0 * i, i % 2 ? 0.4 : 0.01, 1.0, i + 1));
  EXPECT_LT(esr_of_other(notes, tone(130, 0.01, 1.0, 9), device), 0.04);
}

TEST(Baseline, SilenceIsTheIdentity) {
  const std::vector<float> silence(4000, 0.0f), x = note(100, 4);
  const std::vector<Baseline::Note> only = {{&silence, &silence}};
  const Baseline fit(only);
  const auto y = fit(x);
  EXPECT_LT(error_metrics(x.data(), y.data(), x.size()).esr, 1e-9);
  EXPECT_THROW(Baseline(std::vector<Baseline::Note>()), CheckError);
}

DeviceTraits traits_of(SignalFunction f) { return measure_device(f, nullptr, 16000, {-40.0, -20.0, -6.0}); }

TEST(DeviceTraits, AGainIsFlatAndClean) {
  const auto t = traits_of([](const std::vector<float>& x, void*) {
    auto y = x;
    for (float& v : y) v *= 0.5f;
    return y;
  });
  for (const auto& line : t.response_db) {
    for (const double v : line) EXPECT_NEAR(v, -6.0206, 1e-3);
  }
  for (const double v : t.aliasing_db) EXPECT_LT(v, -100.0);
  for (const Harmonics& h : t.harmonics) EXPECT_LT(h.thd, 1e-4);
  ASSERT_GE(t.hz.size(), 20u);
}

TEST(DeviceTraits, ACubeHasItsThirdHarmonic) {
  // sin^3 = 3/4 sin - 1/4 sin 3: y = x + x^3 at amplitude A has harmonics A + 3/4 A^3 and A^3 / 4.
  const auto t = traits_of([](const std::vector<float>& x, void*) {
    auto y = x;
    for (float& v : y) v += v * v * v;
    return y;
  });
  const Harmonics& h = t.harmonics.back();
  const double a = std::pow(10.0, h.level_db / 20.0);
  EXPECT_NEAR(h.amplitude[0], a + 0.75 * a * a * a, 1e-5);
  EXPECT_NEAR(h.amplitude[2], 0.25 * a * a * a, 1e-5);
  EXPECT_NEAR(h.amplitude[1], 0.0, 1e-5);
  EXPECT_NEAR(h.thd, 0.25 * a * a * a / (a + 0.75 * a * a * a), 1e-4);
  // 3 f folds back above 8/3 kHz and lands between the harmonics, below it there is nothing.
  for (std::size_t i = 0; i < t.hz.size(); ++i) {
    if (t.hz[i] < 2600.0) {
      EXPECT_LT(t.aliasing_db[i], -90.0) << t.hz[i];
    } else if (t.hz[i] > 2700.0 && t.hz[i] < 5200.0) {
      EXPECT_GT(t.aliasing_db[i], -40.0) << t.hz[i];
    }
  }
}

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

TEST(Claims, EveryModelIsToldBestFirst) {
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

TEST(MeasureCache, GivesBackWhatItWasGiven) {
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
