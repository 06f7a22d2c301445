// Short lags: the phase of filters, devices that delay by a few samples, and latencies that are taken out.
#include "datasets/effects.h"
#include "datasets/find/onset.h"
#include "tests/datasets/recordings.h"

namespace cafx {
namespace {

struct Onset : Recordings {
  static std::vector<Signal> dry(const char* instrument) {
    DataConfig shipped;
    shipped.path = CAFX_NOTES_DIR;
    shipped.instrument = instrument;
    std::vector<Signal> notes;
    for (const Pair& p : load_dataset(shipped, kRate).pairs) notes.push_back(p.dry.copy());
    return notes;
  }
  // Notes in folders, or the first five of them end to end, through SoX's effects and late by n samples.
  Dataset brought(const std::vector<Signal>& notes, const std::string& chain, long n, bool as_one) {
    Signal one;
    for (std::size_t i = 0; i < notes.size() && (!as_one || i < 5); ++i) {
      if (as_one) {
        one.insert(one.end(), notes[i].begin(), notes[i].end());
        continue;
      }
      const std::string name = fmt::format("n{:02d}.wav", i);
      write(folder / "d" / name, {notes[i]}, kRate);
      write(folder / "w" / name, {late(apply_chain(chain, notes[i], kRate), n)}, kRate);
    }
    if (as_one) {
      write(config.dry = (folder / "dry.wav").string(), {one}, kRate);
      write(config.wet = (folder / "wet.wav").string(), {late(apply_chain(chain, one, kRate), n)}, kRate);
      config.reader = "files";
    } else {
      config.dry = (folder / "d").string();
      config.wet = (folder / "w").string();
      config.reader = "folders";
    }
    return inspect_dataset(config, kRate);
  }
};

TEST_F(Onset, APhaseOfAFilterIsNoLatency) {
  for (const char* instrument : {"guitar", "bass"}) {
    const auto notes = dry(instrument);
    for (const char* chain : {"highpass 400", "highpass 1500", "lowpass 800", "lowpass 300"}) {
      for (const bool as_one : {false, true}) {
        const Dataset data = brought(notes, chain, 0, as_one);
        EXPECT_TRUE(done(data, "latency").empty()) << instrument << " " << chain << " " << as_one << "\n" << all(data);
        EXPECT_FALSE(refused(data)) << all(data);
      }
    }
  }
}

TEST_F(Onset, AShortDelayIsLeftAndTold) {
  const auto notes = dry("guitar");
  for (const bool as_one : {false, true}) {
    const Dataset data = brought(notes, "overdrive 20 10", 4, as_one);
    EXPECT_TRUE(done(data, "latency").empty()) << all(data);
    ASSERT_EQ(of(data, "latency").size(), 1u) << all(data);
    EXPECT_EQ(of(data, "latency")[0].severity, Severity::kInfo);
    EXPECT_NE(of(data, "latency")[0].text.find("4 samples (0.25 ms) late"), std::string::npos) << all(data);
  }
}

// 64 samples at 48 kHz, as of an interface, are 21 here.
TEST_F(Onset, ALatencyOfAnInterfaceIsTakenOut) {
  for (const char* instrument : {"guitar", "bass"}) {
    const auto notes = dry(instrument);
    for (const bool as_one : {false, true}) {
      for (const long n : {10L, 21L, 30L, -8L, -21L}) {
        const Dataset data = brought(notes, "overdrive 20 10", n, as_one);
        ASSERT_EQ(done(data, "latency").size(), 1u) << instrument << " " << n << " " << as_one << "\n" << all(data);
        EXPECT_NEAR(done(data, "latency")[0].amount, static_cast<double>(n), 2.0) << all(data);
      }
    }
  }
}

// A note of its own lag beside others that keep a short one: it keeps that too.
TEST_F(Onset, AnOwnLagIsCountedFromTheOthers) {
  const auto notes = dry("guitar");
  brought(notes, "overdrive 20 10", 4, false);
  write(folder / "w" / "n03.wav", {late(apply_chain("overdrive 20 10", notes[3], kRate), 204)}, kRate);
  const Dataset data = inspect_dataset(config, kRate);
  ASSERT_EQ(done(data, "latency").size(), 1u) << all(data);
  EXPECT_NEAR(done(data, "latency")[0].amount, 200.0, 1.0) << all(data);
}

}  // namespace
}  // namespace cafx
