// Recordings of which a part is not what it should be: what the study in datasets/README.md and trials by hand showed.
#include "datasets/effects.h"
#include "tests/datasets/recordings.h"

namespace cafx {
namespace {

Signal without(Signal x, double at, long n) {
  const auto place = x.begin() + static_cast<long>(at * kFileRate);
  x.erase(place, place + n);
  return x;
}

TEST_F(Recordings, AHumThatDryHasNotIsSaid) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const auto hum = [](double hertz, Signal x) {
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] += static_cast<float>(0.02 * std::sin(2.0 * M_PI * hertz * static_cast<double>(i) / kFileRate));
    return x;
  };
  for (const double hertz : {50.0, 60.0}) {
    const Dataset data = look(d, hum(hertz, w));
    ASSERT_EQ(of(data, "hum").size(), 1u) << all(data);
    EXPECT_NE(of(data, "hum")[0].text.find(hertz < 55.0 ? "50 Hz" : "60 Hz"), std::string::npos);
    EXPECT_FALSE(refused(data)) << all(data);
  }
  EXPECT_TRUE(of(look(d, w), "hum").empty());
  EXPECT_TRUE(of(look(hum(50.0, d), hum(50.0, w)), "hum").empty()) << "the device passes it on";
}

TEST_F(Recordings, WetThatPlaysOnWhereDryIsMutedIsSaid) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  Signal muted = d, pause = w;
  std::fill(muted.begin() + 4 * kFileRate, muted.begin() + 7 * kFileRate, 0.0f);
  std::fill(pause.begin() + 4 * kFileRate, pause.begin() + 7 * kFileRate, 0.0f);
  const Dataset data = look(muted, w);
  ASSERT_EQ(of(data, "silence").size(), 1u) << all(data);
  EXPECT_NEAR(of(data, "silence")[0].seconds, 4.0, 0.2);
  EXPECT_NE(of(data, "silence")[0].text.find("wet plays on"), std::string::npos);
  for (const Finding& f : of(look(muted, pause), "silence"))
    EXPECT_EQ(f.text.find("wet plays on"), std::string::npos) << f.text;
}

TEST_F(Recordings, AnotherTakePastedInIsSaid) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const Dataset data = look(d, joined({cut(w, 0, 7), cut(w, 1.3, 6.3)}));
  const bool said = !of(data, "mismatch").empty() || !of(data, "wander").empty() || refused(data);
  EXPECT_TRUE(said) << all(data);
  EXPECT_TRUE(of(look(d, w), "mismatch").empty());
}

TEST_F(Recordings, AnotherSpeedIsNotCalledLostBlocks) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  for (const double ratio : {0.995, 1.01}) {
    const Dataset data = look(d, resample(w, 1.0, ratio));
    for (const Finding& f : of(data, "steps")) EXPECT_NE(f.cause.find("another speed"), std::string::npos) << f.cause;
    if (refused(data)) continue;
    ASSERT_EQ(done(data, "drift").size(), 1u) << all(data);
    EXPECT_NEAR(done(data, "drift")[0].amount, 1e6 * (ratio - 1.0), 15.0);
  }
}

TEST_F(Recordings, SeveralSmallLossesAreMendedOrRefused) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const Dataset data = look(d, without(without(without(w, 10.0, 90), 6.5, 60), 3.0, 120));
  if (!refused(data)) {
    const Lag left = find_lag(whole(data, false), whole(data, true), kRate);
    EXPECT_LE(std::abs(left.lag), 2.0) << all(data);
    EXPECT_TRUE(left.steps.empty()) << all(data);
  }
  EXPECT_FALSE(of(data, "steps").empty() && of(data, "wander").empty()) << all(data);
}

TEST_F(Recordings, ALossNearTheEndLeavesNothingBehind) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  for (const double at : {9.0, 10.2}) {
    const Dataset data = look(d, without(w, at, 420));
    if (refused(data)) continue;
    const Lag left = find_lag(whole(data, false), whole(data, true), kRate);
    EXPECT_TRUE(left.steps.empty() && left.edges.empty()) << at << "\n" << all(data);
    EXPECT_FALSE(of(data, "steps").empty()) << at << "\n" << all(data);
  }
}

// The parts beside a step near an end are too short to be moved: what lies off is left out, or told.
TEST_F(Recordings, WhatLiesOffBeforeAnEndIsLeftOut) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const double seconds = static_cast<double>(w.size()) / kFileRate;
  const auto seconds_of = [](const Dataset& data) { return static_cast<double>(whole(data, false).size()) / kRate; };
  const double sound = seconds_of(look(d, w));
  for (const double from_end : {0.7, 1.4, 2.2}) {
    for (const bool front : {true, false}) {
      for (const long n : {45L, 900L}) {
        const double at = front ? from_end : seconds - from_end;
        const Dataset data = look(d, without(w, at, n));
        ASSERT_FALSE(refused(data)) << at << " " << n << "\n" << all(data);
        ASSERT_FALSE(of(data, "steps").empty()) << at << " " << n << "\n" << all(data);
        const auto repaired = done(data, "steps");
        if (repaired.empty() || repaired[0].unit != "seconds") continue;  // told, not sure; or the part is moved
        EXPECT_LT(seconds_of(data), sound - from_end + 0.25) << at << " " << n << "\n" << all(data);
        EXPECT_GT(seconds_of(data), sound - from_end - 1.5) << at << " " << n << "\n" << all(data);
      }
    }
  }
  EXPECT_TRUE(of(look(d, w), "steps").empty());
}

// The phase of a filter is the same time at every rate.
TEST_F(Recordings, AFewSamplesAtAHighRateAreNoLatency) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  write(config.dry, {d});
  write(config.wet, {late(w, 3)});
  const Dataset data = inspect_dataset(config, kFileRate);
  EXPECT_TRUE(done(data, "latency").empty()) << all(data);
  write(config.wet, {late(w, 24)});
  const Dataset more = inspect_dataset(config, kFileRate);
  ASSERT_EQ(done(more, "latency").size(), 1u) << all(more);
  EXPECT_NEAR(done(more, "latency")[0].amount, 24.0, 3.0);
}

TEST_F(Recordings, WhatPlaysOnBehindTheEndOfTheOtherSideIsNoDropout) {
  Signal d = notes().long_dry;
  d.resize(4 * kFileRate);
  // Digital silence in dry, so that all that sounds there sounds above its floor, and gaps of wet behind its end.
  std::fill(d.begin() + kFileRate, d.begin() + 2 * kFileRate, 0.0f);
  Signal w = notes().long_wet;
  for (const double at : {5.0, 6.5, 8.7}) {
    const auto from = w.begin() + static_cast<long>(at * kFileRate);
    std::fill(from, from + kFileRate * 8 / 100, 0.0f);
  }
  for (const auto& [dry, wet] : {std::pair(d, w), std::pair(w, d)})
    EXPECT_TRUE(of(look(dry, wet), "dropouts").empty()) << all(look(dry, wet));
}

TEST_F(Recordings, WetThatIsTurnedOverPartWayIsRefused) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const auto turned = [&](double from, double to) {
    Signal x = w;
    for (auto i = static_cast<std::size_t>(from * kFileRate); i < static_cast<std::size_t>(to * kFileRate); ++i)
      x[i] *= -1;
    return x;
  };
  const double end = static_cast<double>(w.size()) / kFileRate;
  for (const auto& [from, to] : {std::pair(0.5 * end, end), std::pair(0.0, 0.4 * end), std::pair(4.1, 8.2)}) {
    const Dataset data = look(d, late(turned(from, to), 1200));
    ASSERT_EQ(of(data, "polarity").size(), 1u) << from << " " << to << "\n" << all(data);
    EXPECT_TRUE(refused(data, "polarity"));
    EXPECT_NEAR(of(data, "polarity")[0].seconds, from > 0.0 ? from : to, 0.5);
    ASSERT_EQ(done(data, "latency").size(), 1u) << all(data);
    EXPECT_NEAR(done(data, "latency")[0].amount, 400.0, 2.0);
  }
  // A device's phase is no edit.
  for (const char* chain : {"phaser 0.8 0.74 3 0.4 0.1 -s", "chorus 0.7 0.9 55 0.4 0.25 2 -t", "highpass 400",
                            "allpass 700 2", "overdrive 40 20", "flanger 0 4 0 71 0.1"}) {
    for (const Signal* x : {&w, &d})
      EXPECT_FALSE(refused(look(d, apply_chain(chain, *x, kFileRate)), "polarity")) << chain;
  }
}

}  // namespace
}  // namespace cafx
