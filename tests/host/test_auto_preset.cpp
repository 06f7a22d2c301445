// What recordings tell of a device, and the preset that follows: made notes through devices made here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "host/eval/auto_preset.h"
#include "kernels/base/error.h"

namespace cafx {
namespace {

constexpr int kRate = 16000;
using Signal = std::vector<float>;

class Random {
 public:
  explicit Random(unsigned seed) : state_(seed) {}
  double operator()() {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<double>(state_ >> 8) / (1 << 24);
  }

 private:
  unsigned state_;
};

// A plucked note of two seconds: ten harmonics that die away, the higher ones sooner; silence first.
Signal note(unsigned seed) {
  Random random(seed * 7919 + 1);
  for (int i = 0; i < 20; ++i) random();
  const double hz = 80.0 * std::pow(2.0, 2.5 * random()), peak = 0.03 * std::pow(10.0, random()),
               decay = 1.0 + 2.0 * random();
  Signal x(2 * kRate);
  const std::size_t onset = kRate / 4;
  double phase[10];
  for (double& p : phase) p = 2.0 * M_PI * random();
  for (std::size_t i = onset; i < x.size(); ++i) {
    const double t = static_cast<double>(i - onset) / kRate;
    double sum = 1e-4 * (random() - 0.5);
    for (int k = 1; k <= 10 && k * hz < 7000.0; ++k)
      sum += std::exp(-decay * t * (1.0 + 0.3 * k)) / k *
             std::sin(2.0 * M_PI * k * hz * t * (1.0 + 2e-4 * k * k) + phase[k - 1]);
    x[i] = static_cast<float>(peak * sum);
  }
  return x;
}

Signal filter(const Signal& x) {
  Signal y(x.size());
  double low = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    low += 0.2 * (x[i] - low);
    y[i] = static_cast<float>(2.0 * low - 0.5 * x[i]);
  }
  return y;
}

Signal clipper(Signal x) {
  for (float& v : x) v = 0.1f * std::tanh(30.0f * v);
  return x;
}

Signal tremolo(Signal x) {
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] *= static_cast<float>(1.0 - 0.3 * (1.0 + std::sin(2.0 * M_PI * 6.0 * static_cast<double>(i) / kRate)));
  return x;
}

Signal compressor(Signal x) {
  double level = 0.0;
  for (float& v : x) {
    const double now = std::abs(v), seconds = now > level ? 0.01 : 0.15;
    level += (now - level) / (seconds * kRate);
    v *= static_cast<float>(std::pow(std::max(level, 0.004) / 0.004, -0.7));
  }
  return x;
}

// Each note begins somewhere in the movement, as where a take is cut into pieces.
Signal chorus(const Signal& x) {
  const double start = 1e3 * std::abs(x[kRate / 2]);
  Signal y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double back = kRate * (0.012 + 0.004 * std::sin(2.0 * M_PI * (start + 0.8 * static_cast<double>(i) / kRate))),
                 at = static_cast<double>(i) - back;
    const auto k = static_cast<std::size_t>(std::max(0.0, at));
    const double part = at > 0.0 ? at - static_cast<double>(k) : 0.0,
                 late = at > 0.0 ? (1.0 - part) * x[k] + part * x[k + 1] : 0.0;
    y[i] = static_cast<float>(0.6 * x[i] + 0.6 * late);
  }
  return y;
}

// A tenth of a second later, half as loud, and once more; of sustained notes, whose level this hardly moves.
Signal echo(const Signal& x) {
  Signal y = x;
  for (std::size_t i = kRate / 10; i < x.size(); ++i) y[i] += 0.5f * y[i - kRate / 10];
  return y;
}

Heard heard_through(const std::function<Signal(const Signal&)>& device, unsigned n = 12) {
  std::vector<Signal> dry, wet;
  for (unsigned i = 0; i < n; ++i) {
    dry.push_back(note(i));
    wet.push_back(device(dry.back()));
  }
  std::vector<HeardNote> notes;
  for (std::size_t i = 0; i < n; ++i) notes.push_back({dry[i], wet[i]});
  return hear(notes, kRate);
}

std::string preset_of(const std::function<Signal(const Signal&)>& device, DeviceKind kind, unsigned n = 12) {
  const AutoPreset choice = choose_preset(heard_through(device, n), Bandwidth(), "any");
  EXPECT_EQ(choice.kind, kind) << choice.text() << "\n" << choice.json().dump(1);
  EXPECT_EQ(choice.sure, kind != DeviceKind::kUnsure);
  return choice.preset;
}

TEST(AutoPreset, EachDeviceGetsItsFamily) {
  EXPECT_EQ(preset_of(filter, DeviceKind::kFilter), "default");
  const auto noisy = [](const Signal& x) {
    Random random(7);
    Signal y = filter(x);
    for (float& v : y) v += static_cast<float>(1e-3 * (random() - 0.5));
    return y;
  };
  EXPECT_EQ(preset_of(noisy, DeviceKind::kFilter), "default");
  EXPECT_EQ(preset_of(clipper, DeviceKind::kBends), "default");
  EXPECT_EQ(preset_of([](const Signal& x) { return filter(clipper(filter(x))); }, DeviceKind::kBends), "default");
  EXPECT_EQ(preset_of(tremolo, DeviceKind::kMovesByItself), "crafx-small");
  EXPECT_EQ(preset_of(compressor, DeviceKind::kFollowsLevel), "crafx-small");
  EXPECT_EQ(preset_of([](const Signal& x) { return filter(compressor(x)); }, DeviceKind::kFollowsLevel), "crafx-small");
  EXPECT_EQ(preset_of(chorus, DeviceKind::kChangesByItself), "default");
}

// By the error of a filter of half a second against that of one of 32 ms, which no other device brings down so far; in
// few notes, which a long filter follows too closely, either.
TEST(AutoPreset, AnEchoIsAFilterWithALongMemory) {
  for (const unsigned n : {8u, 12u}) {
    EXPECT_EQ(preset_of(echo, DeviceKind::kEchoes, n), "default");
    EXPECT_EQ(preset_of([](const Signal& x) { return filter(echo(x)); }, DeviceKind::kEchoes, n), "default");
    for (const auto& device : {clipper, tremolo, compressor}) {
      const Heard h = heard_through(device, n);
      EXPECT_GT(h.long_esr, 0.2 * h.linear_esr) << n;
    }
    const Heard h = heard_through(chorus, n);
    EXPECT_GT(h.long_esr, 0.2 * h.linear_esr) << n;
  }
  EXPECT_LT(heard_through(echo).long_esr, 0.01 * heard_through(echo).linear_esr);
  EXPECT_EQ(preset_of([](const Signal& x) { return clipper(echo(x)); }, DeviceKind::kBends), "default");
}

// What neither a fixed filter nor a gain that moves explains: a flanger, repeats of more than half a second.
TEST(AutoPreset, WhatNoGainExplainsIsNoBentWaveform) {
  std::string why;
  Heard flanger = heard_through(chorus);
  flanger.gain_share = 0.98;
  flanger.untold_db = 0.8;
  EXPECT_EQ(kind_of(flanger, why), DeviceKind::kUnsure) << why;
  EXPECT_NE(why.find("no bent waveform"), std::string::npos) << why;
  flanger.gain_share = 0.89;
  EXPECT_EQ(kind_of(flanger, why), DeviceKind::kBends) << why;
}

TEST(AutoPreset, SaysHowFastATremoloIs) { EXPECT_NEAR(heard_through(tremolo).untold_hz, 6.0, 0.3); }

// A gain that follows the level of 150 ms before: the moment tells little of it, the second before much.
TEST(AutoPreset, TheSecondBeforeTellsOfAGainThatRemembers) {
  const Heard h = heard_through([](const Signal& x) {
    Signal y(x.size());
    const std::size_t back = kRate * 15 / 100;
    double level = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      level += (std::abs(i < back ? 0.0f : x[i - back]) - level) / (0.02 * kRate);
      y[i] = static_cast<float>(x[i] / (1.0 + 100.0 * level));
    }
    return y;
  });
  EXPECT_LT(h.gain_share, 0.1);
  EXPECT_LT(h.unheard_db, 0.6 * h.untold_db) << h.untold_db;
}

TEST(AutoPreset, AGainDoesNotDependOnTheLevelOfTheRecording) {
  const Heard loud = heard_through(compressor), quiet = heard_through([](const Signal&x) {
                                                  Signal y = compressor(x);
                                                  for (float& v : y) v *= -0.01f;
                                                  return y;
                                                });
  EXPECT_NEAR(loud.gain_share, quiet.gain_share, 1e-3);
  EXPECT_NEAR(loud.untold_db, quiet.untold_db, 1e-3);
}

TEST(AutoPreset, TooLittleFallsBackAndSaysSo) {
  for (const unsigned n : {0u, 1u, 5u}) {
    const AutoPreset choice = choose_preset(heard_through(tremolo, n), Bandwidth(), "any");
    EXPECT_EQ(choice.kind, DeviceKind::kUnsure) << n;
    EXPECT_EQ(choice.preset, "default");
    EXPECT_NE(choice.text().find("Not sure"), std::string::npos) << choice.text();
    EXPECT_NE(choice.text().find(std::to_string(n) + " stretches"), std::string::npos) << choice.text();
  }
  EXPECT_EQ(preset_of([](const Signal& x) { return Signal(x.size()); }, DeviceKind::kUnsure), "default");
}

TEST(AutoPreset, BetweenTwoKindsFallsBackAndSaysSo) {
  Heard h = heard_through(tremolo);
  std::string why;
  h.gain_share = 0.23;
  h.untold_db = 0.3 * h.gain_db;
  EXPECT_EQ(kind_of(h, why), DeviceKind::kUnsure);
  h.gain_share = 0.1;
  h.untold_db = std::sqrt(0.5) * h.gain_db;
  EXPECT_EQ(kind_of(h, why), DeviceKind::kUnsure);
  EXPECT_NE(why.find("not clear"), std::string::npos) << why;
}

TEST(AutoPreset, BandwidthAndLatency) {
  const Heard bends = heard_through(clipper), follows = heard_through(compressor);
  const auto preset = [](const Heard& h, const Bandwidth& band, const char* latency = "any") {
    return choose_preset(h, band, latency).preset;
  };
  EXPECT_EQ(preset(bends, {44100, -20.0, false}), "full");
  EXPECT_EQ(preset(bends, {48000, -20.0, false}), "full-48k");
  EXPECT_EQ(preset(bends, {96000, -20.0, false}), "full-48k");
  EXPECT_EQ(preset(bends, {48000, -80.0, false}), "default") << "nothing above 8 kHz";
  EXPECT_EQ(preset(bends, {44100, -20.0, true}), "default") << "IDMT";
  EXPECT_EQ(preset(bends, {22050, -20.0, false}), "default");
  EXPECT_EQ(preset(follows, {48000, -40.0, false}), "crafx-small");
  EXPECT_NE(choose_preset(follows, {48000, -40.0, false}, "any").because.find("-40 dB"), std::string::npos);
  EXPECT_EQ(preset(follows, {48000, -20.0, false}), "full-48k") << "crafx-small would lose a hundredth of the energy";
  for (const Heard& h : {bends, follows, Heard()}) EXPECT_EQ(preset(h, {48000, -20.0, false}, "none"), "lstm");
}

// One recording of all notes tells what the notes tell.
TEST(Hear, ALongRecordingIsHeardInPieces) {
  Signal dry, wet;
  for (unsigned i = 0; i < 24; ++i) {
    const Signal x = note(i);
    dry.insert(dry.end(), x.begin(), x.end());
  }
  wet = tremolo(dry);
  const Heard h = hear({{dry, wet}}, kRate);
  std::string why;
  EXPECT_EQ(kind_of(h, why), DeviceKind::kMovesByItself) << why;
  EXPECT_EQ(h.stretches, 24);
}

TEST(Hear, RefusesNotesOfUnequalLengths) {
  const Signal a(100, 0.1f), b(99, 0.1f);
  EXPECT_THROW(hear({{a, b}}, kRate), CheckError);
}

}  // namespace
}  // namespace cafx
