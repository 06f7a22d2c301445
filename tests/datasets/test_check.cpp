// The doctor: silent about the shipped notes, and finds every defect that is planted in them.
#include "datasets/find/find.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "datasets/audio_file.h"
#include "datasets/dataset.h"
#include "datasets/plan.h"
#include "datasets/repair/repair.h"
#include "kernels/base/error.h"
#include "tests/temporary_folder.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

constexpr int kRate = 16000;

struct Kind {
  const char *instrument, *effect;
};
void PrintTo(const Kind& k, std::ostream* out) { *out << k.instrument << ' ' << k.effect; }

DataConfig config_of(const Kind& kind) {
  DataConfig config;
  config.path = CAFX_NOTES_DIR;
  config.instrument = kind.instrument;
  config.effect = kind.effect;
  return config;
}

// The shipped pairs as they are; copies may be broken at will.
std::vector<Pair> shipped(const Kind& kind) {
  static std::map<std::string, std::vector<Pair>> read;
  auto& pairs = read[std::string(kind.instrument) + kind.effect];
  if (pairs.empty()) {
    DataConfig config = config_of(kind);
    config.align = false;
    pairs = inspect_dataset(config, kRate).pairs;
  }
  return pairs;
}

std::vector<Finding> of_code(const std::vector<Finding>& findings, const std::string& code) {
  std::vector<Finding> some;
  for (const Finding& f : findings) {
    if (f.code == code) some.push_back(f);
  }
  return some;
}

int n_refused(const std::vector<Finding>& findings) {
  return static_cast<int>(std::count_if(findings.begin(), findings.end(),
                                        [](const Finding& f) { return f.severity == Severity::kRefuse; }));
}

void expect_well_formed(const std::vector<Finding>& findings) {
  for (const Finding& f : findings) {
    EXPECT_FALSE(f.code.empty());
    for (const std::string& text : {f.file, f.text, f.cause, f.cure}) {
      EXPECT_FALSE(text.empty()) << f.code;
      EXPECT_EQ(text.find('\n'), std::string::npos) << f.code;
    }
  }
}

void shift_late(SharedRecording& shared, int n) {
  Recording& x = shared.edit();
  const std::size_t size = x.size();
  if (n > 0)
    x.insert(x.begin(), static_cast<std::size_t>(n), 0.0f);
  else
    x.erase(x.begin(), x.begin() - n);
  x.resize(size, 0.0f);
}

// Found, planned and repaired, as a data set is loaded.
std::vector<Finding> check_pairs(std::vector<Pair>& pairs, const DataConfig& config, int rate) {
  const Seen seen = examine(pairs, config, rate);
  const RepairPlan plan = make_plan(pairs, seen, config, rate);
  repair(pairs, plan, rate);
  std::vector<Finding> all = seen.findings;
  all.insert(all.end(), plan.findings.begin(), plan.findings.end());
  return all;
}
std::vector<Finding> check_pair(const Pair& p, int rate) { return examine({p}, DataConfig(), rate).findings; }

class EveryKind : public testing::TestWithParam<Kind> {};

}  // namespace

INSTANTIATE_TEST_SUITE_P(Shipped, EveryKind,
                         testing::Values(Kind{"guitar", "EQ"}, Kind{"guitar", "Distortion"},
                                         Kind{"guitar", "Overdrive"}, Kind{"bass", "EQ"}, Kind{"bass", "Distortion"},
                                         Kind{"bass", "Overdrive"}),
                         [](const auto& info) { return std::string(info.param.instrument) + info.param.effect; });

TEST_P(EveryKind, GoodNotesAreLeftAlone) {
  const auto before = shipped(GetParam());
  ASSERT_EQ(before.size(), 12u);
  const Dataset data = inspect_dataset(config_of(GetParam()), kRate);
  EXPECT_EQ(n_refused(data.findings), 0) << format_findings(data.findings);
  for (const char* code : {"latency", "mismatch", "rate", "length", "leak", "gain"}) {
    EXPECT_TRUE(of_code(data.findings, code).empty()) << code << "\n" << format_findings(data.findings);
  }
  ASSERT_EQ(data.pairs.size(), before.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(data.pairs[i].dry, before[i].dry) << before[i].name;
    EXPECT_EQ(data.pairs[i].wet, before[i].wet) << before[i].name;
  }
  EXPECT_NO_THROW(load_dataset(config_of(GetParam()), kRate));
}

// The latency that the notes have by themselves, at most two samples, adds to the planted one.
TEST_P(EveryKind, LatencyIsFoundAndTakenOut) {
  for (const int lag : {37, -120}) {
    auto pairs = shipped(GetParam());
    const auto original = pairs;
    for (Pair& p : pairs) shift_late(p.wet, lag);
    const auto shifted = pairs;

    DataConfig config = config_of(GetParam());
    config.align = false;
    auto found = of_code(check_pairs(pairs, config, kRate), "latency");
    ASSERT_EQ(found.size(), 1u) << lag;
    EXPECT_EQ(found[0].severity, Severity::kWarning);
    for (std::size_t i = 0; i < pairs.size(); ++i) ASSERT_EQ(pairs[i].wet, shifted[i].wet);

    config.align = true;
    found = of_code(check_pairs(pairs, config, kRate), "latency");
    ASSERT_EQ(found.size(), 1u) << lag;
    EXPECT_EQ(found[0].severity, Severity::kInfo);
    EXPECT_NE(found[0].text.find(lag > 0 ? "late" : "early"), std::string::npos) << found[0].text;
    EXPECT_NE(found[0].text.find("pairs agree"), std::string::npos) << found[0].text;
    const auto cut = static_cast<int>(original[0].dry.size() - pairs[0].dry.size());
    EXPECT_LE(std::abs(cut - std::abs(lag)), 2) << found[0].text;
    for (const Pair& p : pairs) EXPECT_EQ(p.dry.size(), p.wet.size());
    // Where dry was cut, wet keeps its beginning, and the other way round.
    if (lag > 0)
      EXPECT_TRUE(std::equal(pairs[0].dry.begin(), pairs[0].dry.end(), original[0].dry.begin()));
    else
      EXPECT_TRUE(std::equal(pairs[0].wet.begin(), pairs[0].wet.end(), shifted[0].wet.begin()));

    pairs = original;
    for (Pair& p : pairs) shift_late(p.wet, lag);
    EXPECT_EQ(n_refused(check_pairs(pairs, config, kRate)), 0) << "a delay alone is no reason to refuse";
  }
}

// A device may invert by itself, so what is asked is that turning the audio over turns the finding over.
TEST_P(EveryKind, InversionIsFoundAndNeverMended) {
  const DataConfig config = config_of(GetParam());
  auto pairs = shipped(GetParam());
  const bool by_itself = !of_code(check_pairs(pairs, config, kRate), "polarity").empty();
  for (Pair& p : pairs) {
    for (float& v : p.wet.edit()) v = -v;
  }
  const auto inverted = pairs;
  const auto found = check_pairs(pairs, config, kRate);
  EXPECT_EQ(n_refused(found), 0);
  const auto polarity = of_code(found, "polarity");
  for (const Finding& f : polarity) EXPECT_EQ(f.severity, Severity::kWarning);
  if (std::string(GetParam().effect) == "EQ") {
    EXPECT_FALSE(by_itself);
    EXPECT_EQ(polarity.size(), 1u);
  }
  EXPECT_FALSE(by_itself && !polarity.empty());
  for (std::size_t i = 0; i < pairs.size(); ++i) EXPECT_EQ(pairs[i].wet, inverted[i].wet);
}

TEST_P(EveryKind, WhatAChainMadeIsNeverMixedUp) {
  auto pairs = shipped(GetParam());
  std::vector<SharedRecording> wet;
  for (const Pair& p : pairs) wet.push_back(p.wet);
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i].wet = wet[(i + 5) % wet.size()];
  auto config = config_of(GetParam());
  auto same = pairs;
  EXPECT_FALSE(of_code(check_pairs(same, config, kRate), "mismatch").empty());
  config.chain = "gain 1";
  EXPECT_TRUE(of_code(check_pairs(pairs, config, kRate), "mismatch").empty());
}

TEST_P(EveryKind, NotesMixedUpAreRefused) {
  auto pairs = shipped(GetParam());
  const auto pitch = [&](std::size_t i) { return pairs[i].name.substr(4, 2); };
  std::size_t other = 1;
  while (pitch(other) == pitch(0)) ++other;
  std::swap(pairs[0].wet, pairs[other].wet);
  std::swap(pairs[0].wet_path, pairs[other].wet_path);
  const auto findings = check_pairs(pairs, config_of(GetParam()), kRate);
  const auto found = of_code(findings, "mismatch");
  expect_well_formed(found);
  ASSERT_EQ(found.size(), 2u) << format_findings(findings);
  for (const Finding& f : found) EXPECT_EQ(f.severity, Severity::kRefuse);
  EXPECT_EQ(found[0].file, pairs[0].wet_path.string());
  EXPECT_EQ(found[1].file, pairs[other].wet_path.string());
}

// A file clipped at its own rate, which resampling hides; quiet and loud.
TEST_P(EveryKind, ClippedDryIsFound) {
  const TemporaryFolder folder;
  Pair p = shipped(GetParam())[3];
  const float peak = std::abs(
      *std::max_element(p.dry.begin(), p.dry.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }));
  for (const int rate : {16000, 44100, 48000}) {
    for (const float level : {0.4f * peak, 1.0f}) {
      Recording x = resample(p.dry, kRate, rate);
      const float gain = level / (0.4f * peak);
      std::size_t first = x.size();
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (gain * std::abs(x[i]) > level) first = std::min(first, i);
        x[i] = std::clamp(gain * x[i], -level, level);
      }
      p.dry_path = folder / "clipped.wav";
      write_audio(p.dry_path, x, rate, SampleFormat::kPcm16);
      const Audio clipped = read_audio(p.dry_path, kRate);
      p.dry_file.clipping = clipped.clipping;
      const auto found = check_pair(p, kRate);
      const auto dry = std::find_if(found.begin(), found.end(), [&](const Finding& f) {
        return f.code == "clipping" && f.file == p.dry_path.string();
      });
      ASSERT_NE(dry, found.end()) << rate << " " << level;
      EXPECT_EQ(dry->severity, Severity::kWarning);
      EXPECT_NEAR(dry->seconds, static_cast<double>(first) / rate, 0.02);
    }
  }
  for (const Pair& clean : shipped(GetParam())) {
    for (const Finding& f : of_code(check_pair(clean, kRate), "clipping")) {
      EXPECT_EQ(f.severity, Severity::kInfo) << "the shipped dry notes are not clipped";
    }
  }
}

// The top of a slow, quiet wave rounded to 16 bits is flat too, and nothing is wrong with it.
TEST(Check, RoundedTopsAreNotClipped) {
  Recording x(44100);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = 0.02 * std::sin(6.283185307179586 * 41.0 * static_cast<double>(i) / 44100.0);
    x[i] = static_cast<float>(std::round(v * 32768.0) / 32768.0);
  }
  EXPECT_EQ(find_clipping(x, 44100).n_runs, 0u);
  for (float& v : x) v = std::clamp(v, -0.01f, 0.01f);
  EXPECT_GE(find_clipping(x, 44100).n_runs, 41u);  // most of two in each of 41 periods
}

namespace {
const Kind kGuitar{"guitar", "Distortion"};

void expect_one(const Pair& p, const std::string& code, Severity severity, const fs::path& file) {
  const auto findings = check_pair(p, kRate);
  const auto found = of_code(findings, code);
  expect_well_formed(findings);
  ASSERT_EQ(found.size(), 1u) << code << "\n" << format_findings(findings);
  EXPECT_EQ(found[0].severity, severity);
  EXPECT_EQ(found[0].file, file.string());
}
}  // namespace

TEST(Check, SilentFile) {
  Pair p = shipped(kGuitar)[0];
  p.wet = Recording(p.wet.size(), 0.0f);
  expect_one(p, "silence", Severity::kRefuse, p.wet_path);
  // A whole set with it is still examined.
  auto pairs = shipped(kGuitar);
  pairs[4].wet = Recording(pairs[4].wet.size(), 0.0f);
  const auto found = check_pairs(pairs, config_of(kGuitar), kRate);
  EXPECT_EQ(n_refused(found), 1);
  for (Pair& q : pairs) q.wet = Recording(q.wet.size(), 0.0f);
  EXPECT_EQ(n_refused(check_pairs(pairs, config_of(kGuitar), kRate)), 12);
}

TEST(Check, WetThatIsItsDryFile) {
  Pair p = shipped(kGuitar)[0];
  EXPECT_TRUE(of_code(check_pair(p, kRate), "identical").empty());
  p.wet = p.dry;
  expect_one(p, "identical", Severity::kRefuse, p.wet_path);
  Pair clean = p;  // a device may do nothing at one position
  clean.knobs = {{"gain", "0", 0.0}};
  expect_one(clean, "identical", Severity::kWarning, clean.wet_path);
}

TEST(Check, ManyFindingsOfAKindAreCountedNotListed) {
  auto pairs = shipped(kGuitar);
  for (Pair& p : pairs) p.wet_file.rate = 44100;
  const auto found = of_code(check_pairs(pairs, config_of(kGuitar), kRate), "rate");
  ASSERT_EQ(found.size(), 12u);
  const auto some = shorten(found);
  ASSERT_EQ(some.size(), 3u);
  EXPECT_NE(some[2].text.find("9 more"), std::string::npos) << some[2].text;
  EXPECT_EQ(shorten({found[0], found[1], found[2]})[2].text, found[2].text);
}

TEST(Check, LowLevel) {
  Pair p = shipped(kGuitar)[0];
  ASSERT_EQ(p.dry_file.bits, 16);
  EXPECT_TRUE(of_code(check_pair(p, kRate), "gain").empty());
  for (float& v : p.dry.edit()) v = std::round(v * 1e-3f * 32768.0f) / 32768.0f;
  expect_one(p, "gain", Severity::kWarning, p.dry_path);
}

TEST(Check, NotANumber) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Pair p = shipped(kGuitar)[0];
    p.wet.edit()[8000] = bad;
    expect_one(p, "not_finite", Severity::kRefuse, p.wet_path);
    EXPECT_NEAR(of_code(check_pair(p, kRate), "not_finite")[0].seconds, 0.5, 1e-9);
  }
  auto pairs = shipped(kGuitar);
  pairs[2].dry.edit()[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(n_refused(check_pairs(pairs, config_of(kGuitar), kRate)), 1);
}

TEST(Check, Lengths) {
  // Stopped early, both of one take: cut to the shorter. Of different takes: refused.
  Pair p = shipped(kGuitar)[0];
  p.wet.resize(p.wet.size() * 7 / 10);
  expect_one(p, "length", Severity::kWarning, p.wet_path);
  p = shipped(kGuitar)[0];
  Recording& chirp = p.wet.edit();
  for (std::size_t i = 0; i < chirp.size(); ++i) {
    chirp[i] = 0.1f * static_cast<float>(std::sin(0.05 * static_cast<double>(i) + 1e-6 * static_cast<double>(i * i)));
  }
  p.wet.resize(p.wet.size() * 7 / 10);
  expect_one(p, "length", Severity::kRefuse, p.wet_path);
  p = shipped(kGuitar)[0];
  p.wet.resize(p.wet.size() - 400);
  expect_one(p, "length", Severity::kWarning, p.wet_path);
  p = shipped(kGuitar)[0];
  p.wet = {};
  EXPECT_GE(n_refused(check_pair(p, kRate)), 1);
}

TEST(Check, RatesDiffer) {
  Pair p = shipped(kGuitar)[0];
  p.dry_file.rate = 44100;
  p.wet_file.rate = 48000;
  expect_one(p, "rate", Severity::kWarning, p.wet_path);
}

// Files of 16 kHz audio, some of which say 22.05 kHz in the header.
TEST(Check, WrongRateInAHeader) {
  for (const bool wet : {true, false}) {
    const TemporaryFolder folder;
    fs::create_directories(folder.path() / "dry");
    fs::create_directories(folder.path() / "wet");
    const auto pairs = shipped(kGuitar);
    for (std::size_t i = 0; i < 4; ++i) {
      const bool wrong = i == 2;
      const std::string name = pairs[i].name + ".wav";
      write_audio(folder.path() / "dry" / name, pairs[i].dry, wrong && !wet ? 22050 : kRate, SampleFormat::kPcm16);
      write_audio(folder.path() / "wet" / name, pairs[i].wet, wrong && wet ? 22050 : kRate, SampleFormat::kPcm16);
    }
    DataConfig config;
    config.reader = "folders";
    config.dry = (folder.path() / "dry").string();
    config.wet = (folder.path() / "wet").string();
    const Dataset data = inspect_dataset(config, kRate);
    bool named = false;
    for (const Finding& f : of_code(data.findings, "rate")) {
      if (f.severity != Severity::kRefuse) continue;
      named = true;
      const auto& bad = pairs[2].name;
      EXPECT_NE(f.file.find(bad), std::string::npos) << f.file;
      EXPECT_NE(f.file.find(wet ? "/wet/" : "/dry/"), std::string::npos) << f.file;
      EXPECT_NE(f.text.find("22050"), std::string::npos) << f.text;
    }
    EXPECT_TRUE(named) << format_findings(data.findings);
    EXPECT_THROW(load_dataset(config, kRate), Error);
  }
}

TEST(Check, TheSameAudioInTrainingAndTest) {
  Dataset data;
  data.pairs = shipped(kGuitar);
  Split split;
  for (int i = 0; i < 12; ++i) (i < 8 ? split.train : i < 10 ? split.validation : split.test).push_back(i);
  EXPECT_TRUE(check_split(data, split, DataConfig()).empty());
  data.pairs[11].dry = data.pairs[3].dry;
  auto found = check_split(data, split, DataConfig());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].code, "leak");
  EXPECT_EQ(found[0].severity, Severity::kRefuse);
  EXPECT_EQ(found[0].file, data.pairs[11].dry_path.string());
  EXPECT_NE(found[0].text.find(data.pairs[3].name), std::string::npos) << found[0].text;
  expect_well_formed(found);

  data.pairs = shipped(kGuitar);
  data.pairs[8].name = data.pairs[0].name;
  EXPECT_EQ(check_split(data, split, DataConfig()).size(), 1u) << "the same note under two settings";
}

// What a recording's last piece may be: a few periods, which fit into any sound of their pitch.
TEST(Check, AStubOfTrainingIsNoRepeat) {
  Dataset data;
  data.sample_rate = kRate;
  data.pairs = shipped(kGuitar);
  Split split;
  for (int i = 0; i < 12; ++i) (i < 8 ? split.train : i < 10 ? split.validation : split.test).push_back(i);
  const auto with_part_of_a_test_note = [&](double seconds) {
    const SharedRecording& from = data.pairs[11].dry;
    Pair part = data.pairs[0];
    part.name = "part";
    part.dry = Recording(from.begin() + kRate / 4, from.begin() + kRate / 4 + static_cast<long>(seconds * kRate));
    part.wet = part.dry;
    data.pairs.resize(12);
    data.pairs.push_back(part);
    split.train.resize(8);
    split.train.push_back(12);
    return check_split(data, split, DataConfig());
  };
  EXPECT_TRUE(with_part_of_a_test_note(0.07).empty()) << format_findings(with_part_of_a_test_note(0.07));
  const auto found = with_part_of_a_test_note(1.0);
  ASSERT_EQ(found.size(), 1u) << "half of the note is one";
  EXPECT_EQ(found[0].code, "leak");
}

TEST(Check, OnePairAlone) {
  for (const Kind& kind : {Kind{"guitar", "EQ"}, Kind{"guitar", "Distortion"}}) {
    std::vector<Pair> one = {shipped(kind)[5]};
    const auto found = check_pairs(one, config_of(kind), kRate);
    EXPECT_EQ(n_refused(found), 0) << format_findings(found);
  }
  const Pair p = shipped({"guitar", "EQ"})[5];
  auto late = p.wet;
  shift_late(late, 200);
  const auto lag_of = [&](const SharedRecording& wet) {
    Pair q = p;
    q.wet = wet;
    return examine({q}, config_of({"guitar", "EQ"}), kRate).lags.pairs[0].lag;
  };
  const Lag before = lag_of(p.wet), after = lag_of(late);
  EXPECT_NEAR(after.lag - before.lag, 200, 1);
  EXPECT_GT(after.confidence, 0.0);
  EXPECT_LE(after.confidence, 1.0);
}

// One bass note resembles itself moved by a period: a doubtful latency may be told, never taken out.
TEST_P(EveryKind, OnePairAloneIsNeverMovedWrongly) {
  int n_found = 0;
  for (const Pair& p : shipped(GetParam())) {
    for (const int lag : {0, 200}) {
      std::vector<Pair> one = {p};
      shift_late(one[0].wet, lag);
      const auto found = check_pairs(one, config_of(GetParam()), kRate);
      const auto cut = static_cast<int>(p.dry.size() - one[0].dry.size());
      EXPECT_TRUE(cut == 0 || std::abs(cut - lag) <= 2) << p.name << ", " << lag << "\n" << format_findings(found);
      if (cut != 0) ++n_found;
    }
  }
  if (std::string(GetParam().instrument) == "guitar") {
    EXPECT_GE(n_found, 10);
  }
}

TEST(Check, NothingToCheck) {
  std::vector<Pair> none;
  EXPECT_TRUE(check_pairs(none, DataConfig{}, kRate).empty());
}

TEST(Check, TextAndJson) {
  Dataset data;
  data.pairs = shipped(kGuitar);
  data.pairs[0].wet = Recording(data.pairs[0].wet.size(), 0.0f);
  data.findings = check_pairs(data.pairs, config_of(kGuitar), kRate);
  const std::string text = format_findings(data.findings);
  EXPECT_NE(text.find("refused [silence] " + data.pairs[0].wet_path.string()), std::string::npos) << text;
  EXPECT_NE(text.find("cause: "), std::string::npos);
  EXPECT_NE(text.find("cure: "), std::string::npos);
  const auto json = nlohmann::json::parse(findings_json(data));
  EXPECT_EQ(json["pairs"], 12);
  ASSERT_EQ(json["findings"].size(), data.findings.size());
  EXPECT_EQ(json["findings"][0]["code"], data.findings[0].code);
  EXPECT_FALSE(json["findings"][0]["cure"].get<std::string>().empty());
}

}  // namespace cafx
