// Chains of SoX effects in process, against the sox program, sample by sample.
#include "datasets/effects.h"

#include <gtest/gtest.h>
#include <sndfile.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <thread>

#include "kernels/base/error.h"
#include "tests/temporary_folder.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

constexpr int kRate = 16000;

// Two decaying partials, with passages loud enough to clip after a boost, and samples beyond full scale.
Recording note() {
  Recording x(12000);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double t = static_cast<double>(i) / kRate;
    x[i] = static_cast<float>(1.05 * std::exp(-2.0 * t) * (0.7 * std::sin(690.0 * t) + 0.4 * std::sin(4711.0 * t)));
  }
  return x;
}

void write_float(const fs::path& path, const Recording& x, int rate) {
  SF_INFO info{};
  info.samplerate = rate;
  info.channels = 1;
  info.format = SF_FORMAT_WAV | SF_FORMAT_FLOAT;
  SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
  ASSERT_NE(file, nullptr) << sf_strerror(nullptr);
  EXPECT_EQ(sf_writef_float(file, x.data(), static_cast<sf_count_t>(x.size())), static_cast<sf_count_t>(x.size()));
  sf_close(file);
}

Recording read_float(const fs::path& path) {
  SF_INFO info{};
  SNDFILE* file = sf_open(path.c_str(), SFM_READ, &info);
  if (!file) return {};
  Recording x(static_cast<std::size_t>(info.frames));
  sf_readf_float(file, x.data(), info.frames);
  sf_close(file);
  return x;
}

struct Case {
  const char* name;
  const char* chain;    // for us
  const char* effects;  // for the program
  int told_rate;
};

class Effects : public testing::TestWithParam<Case> {};

// What apply_chain throws; empty where it throws none.
std::string error_of(const std::string& chain) {
  try {
    apply_chain(chain, note(), kRate);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_P(Effects, EqualsTheSoxProgram) {
  if (std::system("sox --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "the sox program is not installed";
  const Case& c = GetParam();
  const Recording x = note();
  const TemporaryFolder folder;
  write_float(folder / "in.wav", x, c.told_rate);
  const std::string command = "sox -D -V1 '" + (folder / "in.wav").string() + "' -b 32 -e float '" +
                              (folder / "out.wav").string() + "' " + c.effects;
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  Recording expected = read_float(folder / "out.wav");
  ASSERT_FALSE(expected.empty());
  expected.resize(x.size(), 0.0f);
  const Recording y = apply_chain(c.chain, x, kRate);
  ASSERT_EQ(y.size(), x.size());
  double worst = 0.0, changed = 0.0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double error = std::abs(static_cast<double>(y[i]) - static_cast<double>(expected[i]));
    ASSERT_FALSE(!(error < 1e-6)) << "sample " << i << ": " << y[i] << ", sox " << expected[i];
    worst = std::max(worst, error);
    changed = std::max(changed, std::abs(static_cast<double>(y[i]) - static_cast<double>(x[i])));
  }
  EXPECT_GT(changed, 0.05) << "the chain does nothing to this signal, so the comparison shows nothing";
  RecordProperty("worst", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(
    Chains, Effects,
    testing::Values(
        Case{"fxchain1", "fxchain1", "bass 20 500 0.7 treble -20 500 0.7 overdrive 30 0", 44100},
        Case{"fxchain2", "fxchain2", "bass 20 500 0.7 overdrive 30 0 treble -20 500 0.7", 44100},
        Case{"fxchain3", "fxchain3", "overdrive 30 0 bass 20 500 0.7 treble -20 500 0.7", 44100},
        Case{"true_rate", "overdrive 20 20 equalizer 800 1q 9", "overdrive 20 20 equalizer 800 1q 9", kRate},
        Case{"needs_length", "fade t 0.1 0 0.2 gain -n -1", "fade t 0.1 0 0.2 gain -n -1", kRate},
        Case{"moves_time", "trim 0.1 reverse echo 0.8 0.9 50 0.4", "trim 0.1 reverse echo 0.8 0.9 50 0.4", kRate}),
    [](const auto& info) { return std::string(info.param.name); });

// 20 dB up and 20 dB down is the signal itself only where nothing clips in between.
TEST(EffectsClipping, EveryEffectClips) {
  Recording x(4000);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.5f * std::sin(0.05f * static_cast<float>(i));
  const auto y = apply_chain("vol 20dB vol -20dB", x, kRate);
  const float top = *std::max_element(y.begin(), y.end());
  EXPECT_NEAR(top, 0.1f, 1e-5f);
  const Recording beyond(100, 3.0f);
  EXPECT_NEAR(apply_chain("vol 0.5", beyond, kRate)[50], 0.5f, 1e-6f);
}

TEST(EffectsErrors, NameTheChainAndTheReason) {
  const auto expect = [](const std::string& chain, const std::string& reason) {
    const std::string text = error_of(chain);
    EXPECT_NE(text.find("\"" + chain + "\""), std::string::npos) << chain << " -> " << text;
    EXPECT_NE(text.find(reason), std::string::npos) << chain << " -> " << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << "one line: " << text;
  };
  expect("oberdrive 30 0", "no effect 'oberdrive'");
  expect("", "names no effect");
  expect("overdrive loud", "overdrive");
  expect("bass", "bass");
  expect("overdrive 30 0 treble 5 99999", "treble");
  expect("rate 8000", "rate");
  expect("overdrive 30 0 channels 2", "channels");
  expect("remix 1 1", "remix");
  expect("speed 1.5", "rate");
  expect("input x.wav", "own use");
  expect("reverb 30", "channels");  // of mono it makes stereo
  // It works again after a failure.
  EXPECT_EQ(error_of("overdrive 30 0"), "");
}

// Output stops at the length of the input, also where an effect goes on for ever; shorter output is padded.
TEST(EffectsLength, IsThatOfTheInput) {
  const auto x = note();
  EXPECT_EQ(apply_chain("repeat -", x, kRate).size(), x.size());
  const auto cut = apply_chain("trim 0 0.25", x, kRate);
  ASSERT_EQ(cut.size(), x.size());
  EXPECT_NEAR(cut[3999], x[3999], 1e-6f);
  for (std::size_t i = 4000; i < cut.size(); ++i) ASSERT_EQ(cut[i], 0.0f) << i;
  EXPECT_TRUE(apply_chain("overdrive 30 0", {}, kRate).empty());
  auto broken = x;
  broken[77] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(apply_chain("overdrive 30 0", broken, kRate), Error);
}

TEST(EffectsThreads, GiveTheSameResult) {
  const auto x = note();
  const std::vector<std::string> chains = {"fxchain1", "fxchain2", "overdrive 20 20 reverb 30 50 100 0"};
  std::vector<Recording> expected;
  for (const auto& chain : chains) expected.push_back(apply_chain(chain, x, kRate));
  ASSERT_NE(expected[0], expected[1]);
  constexpr std::size_t kThreads = 6;
  std::vector<std::vector<Recording>> got(kThreads);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < chains.size(); ++i) {
        got[t].push_back(apply_chain(chains[(i + t) % chains.size()], x, kRate));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (std::size_t t = 0; t < kThreads; ++t) {
    for (std::size_t i = 0; i < chains.size(); ++i) {
      EXPECT_EQ(got[t][i], expected[(i + t) % chains.size()])
          << "thread " << t << ", chain " << chains[(i + t) % chains.size()];
    }
  }
}

TEST(FindChain, KnowsThePapersNames) {
  EXPECT_EQ(find_chain("fxchain1").effects, "bass 20 500 0.7 treble -20 500 0.7 overdrive 30 0");
  EXPECT_EQ(find_chain("fxchain3").told_rate, 44100);
  EXPECT_EQ(find_chain("gain 3").effects, "gain 3");
  EXPECT_EQ(find_chain("gain 3").told_rate, 0);
}

}  // namespace cafx
