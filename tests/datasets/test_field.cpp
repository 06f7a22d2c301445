// Situations of datasets/FIELD.md that no other test holds: each test names its row.
#include "datasets/effects.h"
#include "tests/datasets/recordings.h"

namespace cafx {
namespace {

struct Field : Recordings {
  Signal d = notes().long_dry, w = notes().long_wet;

  static Signal through(const std::vector<float>& taps, const Signal& x) {
    Signal y(x.size(), 0.0f);
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t k = 0; k < taps.size() && k <= i; ++k) y[i] += taps[k] * x[i - k];
    }
    return y;
  }
  static Signal sum(Signal a, const Signal& b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
    return a;
  }
  void expect_latency(const Dataset& data, double samples, double tolerance = 2.0) {
    ASSERT_EQ(done(data, "latency").size(), 1u) << all(data);
    EXPECT_NEAR(done(data, "latency")[0].amount, samples, tolerance);
    EXPECT_FALSE(refused(data)) << all(data);
  }
  void expect_accepted_as_it_is(const Dataset& data) {
    EXPECT_TRUE(data.repairs.empty()) << all(data);
    EXPECT_FALSE(refused(data)) << all(data);
  }
};

TEST_F(Field, StrongDistortionHidesNoLatency) {  // NAM #320
  Signal fuzz = w;
  for (float& v : fuzz) v = std::tanh(80.0f * v);
  expect_latency(look(d, late(fuzz, 2400)), 800.0);
}

TEST_F(Field, NoiseBehindTheDeviceHidesNoLatency) {  // NAM #264, #299, #377, #457
  expect_latency(look(d, late(sum(w, noise(w.size(), 0.01)), 1500)), 500.0);
}

TEST_F(Field, AGateIsPartOfTheDevice) {  // NAM #236
  Signal gated = w;
  const std::size_t n = kFileRate / 50;
  for (std::size_t at = 0; at + n <= gated.size(); at += n) {
    float peak = 0.0f;
    for (std::size_t i = at; i < at + n; ++i) peak = std::max(peak, std::abs(gated[i]));
    if (peak < 0.1f) std::fill_n(gated.begin() + static_cast<long>(at), n, 0.0f);
  }
  expect_accepted_as_it_is(look(d, gated));
  expect_latency(look(d, late(gated, 900)), 300.0);
}

TEST_F(Field, NoSilenceIsAskedOfTheStart) {  // NAM #268, #603
  expect_accepted_as_it_is(look(cut(d, 0.2, 11.9), cut(w, 0.2, 11.9)));
}

TEST_F(Field, EchoesAreTheDevices) {  // NAM #370
  const Signal echo = apply_chain("echo 0.8 0.8 300 0.4", w, kFileRate);
  expect_accepted_as_it_is(look(d, echo));
}

TEST_F(Field, ASampleMoreIsNoFinding) {  // NAM #666
  Signal longer = w;
  longer.push_back(0.0f);
  const Dataset data = look(d, longer);
  expect_accepted_as_it_is(data);
  EXPECT_TRUE(of(data, "length").empty()) << all(data);
}

TEST_F(Field, AFilterWithGroupDelayIsTakenAsLate) {  // NAM #491
  std::vector<float> taps(193, 0.0f);
  for (int k = 0; k < 193; ++k)
    taps[static_cast<std::size_t>(k)] = static_cast<float>(std::exp(-std::abs(k - 96) / 6.0) / 12.0);
  expect_latency(look(d, through(taps, w)), 32.0);
}

TEST_F(Field, AFreezeToStereoWithATail) {  // NAM-plugin #173
  const Signal tail(3 * kFileRate / 2, 0.0f), longer = joined({w, tail});
  const Dataset data = look({d}, {longer, times(0.999, longer)});
  expect_accepted_as_it_is(data);
  EXPECT_EQ(of(data, "length").size(), 1u) << all(data);
}

TEST_F(Field, OneStereoFileWithEqualSides) {  // GuitarML/SmartAmpPro #18
  write(config.dry, {d, d});
  config.wet = config.dry;
  const Dataset as_given = inspect_dataset(config, kRate);
  ASSERT_TRUE(refused(as_given, "identical")) << all(as_given);
  EXPECT_NE(of(as_given, "identical")[0].cure.find("data.wet_channel=right"), std::string::npos) << all(as_given);
  config.dry_channel = "left";
  config.wet_channel = "right";
  EXPECT_TRUE(refused(inspect_dataset(config, kRate), "identical"));
}

TEST_F(Field, SilenceOnBothChannels) {  // GuitarML/SmartAmpPro #14
  const Signal silence(d.size(), 0.0f);
  EXPECT_TRUE(refused(look({d}, {silence, silence}), "silence"));
}

TEST_F(Field, ACabinetDoesNotDelay) {  // GuitarML/PedalNetRT #25
  std::vector<float> cabinet(600);
  const Signal rough = noise(cabinet.size(), 0.15, 5);
  for (std::size_t k = 0; k < cabinet.size(); ++k) cabinet[k] = rough[k] * std::exp(-static_cast<float>(k) / 60.0f);
  cabinet[0] = 1.0f;
  const Dataset data = look(d, through(cabinet, w));
  EXPECT_FALSE(refused(data)) << all(data);
  for (const Repair& r : data.repairs) EXPECT_LE(std::abs(r.amount), 4.0) << r.text;
  expect_latency(look(d, late(through(cabinet, w), 3000)), 1000.0, 4.0);
}

TEST_F(Field, SoundCardsThatDisagreeByOneInAThousand) {  // owntone/owntone-server #600
  const Dataset data = look(d, resample(w, 1.0, 1.001));
  ASSERT_EQ(done(data, "drift").size(), 1u) << all(data);
  EXPECT_NEAR(done(data, "drift")[0].amount, 1000.0, 20.0);
}

TEST_F(Field, ADriftIsStatedWithDecimals) {  // audacity/audacity #3962
  config.drift = "62.5";
  const Dataset data = look(d, resample(w, 1.0, 1.0 + 62.5e-6));
  EXPECT_TRUE(of(data, "drift").empty()) << all(data);
  EXPECT_LE(std::abs(find_lag(whole(data, false), whole(data, true), kRate).ppm), 6.0);
}

TEST_F(Field, ADriftThatTurnsIsNoLine) {  // chimechallenge/chime6-synchronisation #7
  const std::size_t half = w.size() / 2;
  const Signal first = resample(Signal(w.begin(), w.begin() + static_cast<long>(half)), 1.0, 1.0 + 400e-6);
  const Signal second = resample(Signal(w.begin() + static_cast<long>(half), w.end()), 1.0, 1.0 - 400e-6);
  Signal turned = joined({first, second});
  turned.resize(w.size());
  const Dataset data = look(d, turned);
  const bool said = refused(data) || !of(data, "wander").empty();
  EXPECT_TRUE(said) << all(data);
}

TEST_F(Field, StepsAtSeveralPlaces) {  // protyposis/AudioAlign #12, benfmiller/audalign #54
  Signal y = w;
  y.erase(y.begin() + 8 * kFileRate, y.begin() + 8 * kFileRate + 480);
  y.erase(y.begin() + 4 * kFileRate, y.begin() + 4 * kFileRate + 384);
  const Dataset data = look(d, y);
  const auto steps = done(data, "steps");
  ASSERT_EQ(steps.size(), 2u) << all(data);
  EXPECT_NEAR(steps[0].amount, -128.0, 2.0);
  EXPECT_NEAR(steps[1].amount, -160.0, 2.0);
  // Both places lie where a note begins behind the quiet tail of another: within a quarter second, and nothing is left.
  EXPECT_NEAR(steps[0].seconds, 4.0, 0.25);
  EXPECT_NEAR(steps[1].seconds, 8.0, 0.25);
  const Lag left = find_lag(whole(data, false), whole(data, true), kRate);
  EXPECT_LE(std::abs(left.lag), 1.5) << all(data);
  EXPECT_TRUE(left.steps.empty() && left.edges.empty()) << all(data);
}

TEST_F(Field, TwoMicrophonesInOneRoom) {  // benfmiller/audalign #33
  std::vector<float> room(4000, 0.0f);
  const Signal rough = noise(room.size(), 0.1, 9);
  for (std::size_t k = 200; k < room.size(); k += 37) room[k] = rough[k] * std::exp(-static_cast<float>(k) / 900.0f);
  room[0] = 1.0f;
  expect_latency(look(d, late(through(room, d), 6000)), 2000.0);
}

TEST_F(Field, PointersOfGitLfsAreNoAudio) {  // CheyneyComputerScience/CREMA-D #3, microsoft/DNS-Challenge #23
  for (std::size_t i = 0; i < 4; ++i) {
    write(folder / "d" / fmt::format("{}.wav", i), {notes().dry[i]}, kRate);
    write(folder / "w" / fmt::format("{}.wav", i), {notes().wet[i]}, kRate);
  }
  std::ofstream(folder / "w" / "3.wav") << "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 64044\n";
  write(folder / "d" / "._0.wav", {notes().dry[0]},
        kRate);  // OpenNeuroOrg/openneuro #2520, benhackbarth/audioguide #10
  config.reader = "folders";
  config.dry = (folder / "d").string();
  config.wet = (folder / "w").string();
  const Dataset data = inspect_dataset(config, kRate);
  EXPECT_EQ(data.pairs.size(), 3u);
  ASSERT_EQ(data.unreadable.size(), 1u);
  EXPECT_NE(data.unreadable[0].find("Git-LFS"), std::string::npos) << data.unreadable[0];
}

TEST_F(Field, FilesNormalisedOneByOne) {  // futel/asteriskserver #257, TrunkRecorder #589
  config.reader = "folders";
  config.dry = (folder / "d").string();
  config.wet = (folder / "w").string();
  for (const bool normalised : {false, true}) {
    for (std::size_t i = 0; i < notes().dry.size(); ++i) {
      float peak = 0.0f;
      for (const float v : notes().wet[i]) peak = std::max(peak, std::abs(v));
      write(folder / "d" / fmt::format("{}.wav", i), {notes().dry[i]}, kRate);
      write(folder / "w" / fmt::format("{}.wav", i),
            {times(normalised ? 0.98 / static_cast<double>(peak) : 0.9, notes().wet[i])}, kRate);
    }
    const Dataset data = inspect_dataset(config, kRate);
    EXPECT_EQ(of(data, "normalised").size(), normalised ? 1u : 0u) << all(data);
  }
}

TEST_F(Field, StemsOfSlightlyDifferentLength) {  // moises-ai/moises-db #8, enunu_training_kit #12
  const Dataset data = look(joined({d, Signal(24055, 0.0f)}), w);
  expect_accepted_as_it_is(data);
  ASSERT_EQ(of(data, "length").size(), 1u) << all(data);
  EXPECT_EQ(of(data, "length")[0].severity, Severity::kWarning);
}

TEST_F(Field, UnderrunsOfClocksThatDiffer) {  // alfredh/baresip #886, TomDrinkwater at Wouter1/EMU-driver #55
  Signal y = resample(w, 1.0, 1.0 + 120e-6);
  y.erase(y.begin() + 6 * kFileRate, y.begin() + 6 * kFileRate + 512);
  const Dataset data = look(d, y);
  const bool mended = done(data, "drift").size() == 1 && done(data, "steps").size() == 1;
  EXPECT_TRUE(mended || refused(data)) << all(data);
  if (mended) {
    EXPECT_NEAR(done(data, "drift")[0].amount, 120.0, 10.0);
    EXPECT_NEAR(done(data, "steps")[0].amount, -512.0 / 3.0, 3.0);
  }
}

TEST_F(Field, DropoutsWithoutAStep) {  // kmatheussen/jack_capture #26
  Signal y = w;
  for (const double at : {3.1, 5.1}) {
    const auto from = y.begin() + static_cast<long>(at * kFileRate);
    std::fill(from, from + kFileRate / 20, 0.0f);
  }
  const Dataset data = look(d, y);
  ASSERT_EQ(of(data, "dropouts").size(), 1u) << all(data);
  EXPECT_NEAR(of(data, "dropouts")[0].seconds, 3.1, 0.01);
  EXPECT_NE(of(data, "dropouts")[0].text.find("2 places"), std::string::npos) << all(data);
  EXPECT_TRUE(of(look(d, w), "dropouts").empty());
}

TEST_F(Field, ANormalisedOutputIsNoOtherSound) {  // NAM #99
  float peak = 0.0f;
  for (const float v : w) peak = std::max(peak, std::abs(v));
  expect_accepted_as_it_is(look(d, times(0.999 / static_cast<double>(peak), w)));
}

// By hand: chunks as other programs write them.
std::string chunk(const std::string& name, const std::string& data) {
  std::string size;
  for (int i = 0; i < 4; ++i) size += static_cast<char>(data.size() >> (8 * i));
  return name + size + data + std::string(data.size() % 2, '\0');
}
Audio read_chunks(const fs::path& path, const std::string& chunks) {
  std::ofstream(path, std::ios::binary) << chunk("RIFF", "WAVE" + chunks);
  return read_audio(path, 0);
}

TEST_F(Field,
       WavesWithOddFormatChunks) {  // ruuda/hound #14, jstrait/wavefile #37, olcSoundWaveEngine #23, libsndfile #167
  std::string samples;
  for (int i = 0; i < 3000; ++i) samples += static_cast<char>(i * 7);  // 1000 of 24 bits
  const auto words = [](std::initializer_list<std::uint16_t> list) {
    std::string s;
    for (const std::uint16_t v : list) s += std::string{static_cast<char>(v), static_cast<char>(v >> 8)};
    return s;
  };
  // PCM, one channel, 48 kHz, 24 bits; then what a program adds to it.
  const std::string pcm = words({1, 1, 48000, 0, 0x3280, 2, 3, 24});
  const std::string extensible = words({0xfffe, 1, 48000, 0, 0x3280, 2, 3, 24});
  const std::string guid = words({24, 4, 0, 1, 0, 0, 0x10, 0x80, 0xaa00, 0x3800, 0x719b});
  const std::string plain = chunk("fmt ", pcm), data = chunk("data", samples);
  const Audio reference = read_chunks(folder / "a.wav", plain + data);
  ASSERT_EQ(reference.samples.size(), 1000u);
  const std::pair<const char*, std::string> odd[] = {
      {"40 bytes of PCM", chunk("fmt ", pcm + words({0}) + std::string(22, '\0')) + data},
      {"JUNK before fmt", chunk("JUNK", std::string(28, '\0')) + plain + data},
      {"ID3 behind", plain + data + chunk("id3 ", std::string(101, 'x'))},
      {"bext and LIST",
       chunk("bext", std::string(602, '\0')) + plain + chunk("LIST", "INFOISFT" + words({4, 0}) + "abcd") + data},
      {"extensible", chunk("fmt ", extensible + words({22}) + guid) + data},
  };
  for (const auto& [what, chunks] : odd) {
    const Audio audio = read_chunks(folder / "b.wav", chunks);
    EXPECT_EQ(audio.samples, reference.samples) << what;
    EXPECT_TRUE(audio.notes.empty()) << what << ": " << audio.notes.front();
  }
}

}  // namespace
}  // namespace cafx
