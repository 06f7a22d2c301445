// Pairs that differ from the others of their set, lags that are hard to find, and drop-outs at onsets.
#include "datasets/effects.h"
#include "tests/datasets/recordings.h"

#include <set>

namespace cafx {
namespace {

// Folders of notes, one file a note; of wet what `make` makes of it.
template <class Make>
void write_notes(const fs::path& folder, DataConfig& config, const std::vector<Signal>& dry, Make&& make) {
  for (std::size_t i = 0; i < dry.size(); ++i) {
    const std::string name = fmt::format("n{:02d}.wav", i);
    write(folder / "d" / name, {dry[i]}, kRate);
    write(folder / "w" / name, {make(i)}, kRate);
  }
  config.reader = "folders";
  config.dry = (folder / "d").string();
  config.wet = (folder / "w").string();
}

TEST_F(Recordings, SomePairsTurnedOverAgainstTheOthers) {
  const Notes& n = notes();
  const auto turned = [&](const std::set<std::size_t>& which) {
    write_notes(folder.path(), config, n.dry,
                [&](std::size_t i) { return which.contains(i) ? times(-1, n.wet[i]) : n.wet[i]; });
    const Dataset data = inspect_dataset(config, kRate);
    std::set<std::string> names;
    for (const Finding& f : of(data, "polarity")) {
      EXPECT_EQ(f.severity, Severity::kRefuse) << all(data);
      names.insert(fs::path(f.file).stem().string());
    }
    return names;
  };
  EXPECT_EQ(turned({4}), std::set<std::string>({"n04"}));
  EXPECT_EQ(turned({0, 3, 7, 8, 9}), std::set<std::string>({"n00", "n03", "n07", "n08", "n09"}));
  EXPECT_EQ(turned({}), std::set<std::string>());
  // Recordings that are looked at in windows.
  for (const int k : {0, 1, 2}) {
    const double from = 2.0 * k, to = from + 7.0;
    write(folder / "long" / "d" / fmt::format("{}.wav", k), {cut(n.long_dry, from, to)});
    write(folder / "long" / "w" / fmt::format("{}.wav", k), {times(k == 1 ? -1 : 1, cut(n.long_wet, from, to))});
  }
  config.dry = (folder / "long" / "d").string();
  config.wet = (folder / "long" / "w").string();
  const Dataset data = inspect_dataset(config, kRate);
  ASSERT_EQ(of(data, "polarity").size(), 1u) << all(data);
  EXPECT_EQ(fs::path(of(data, "polarity")[0].file).stem(), "1");
}

// Each is held against the others of its set, which match their dry files much better.
TEST_F(Recordings, ANoteThatIsNotOfItsDryFileAmongOthers) {
  const std::vector<Signal>& dry = notes().dry;
  std::vector<Signal> wet;
  for (const Signal& x : dry) wet.push_back(apply_chain("overdrive 15 10", x, kRate));
  DataConfig bass;
  bass.path = CAFX_NOTES_DIR;
  bass.instrument = "bass";
  Signal foreign = load_dataset(bass, kRate).pairs[3].wet.copy(), reversed(wet[7].rbegin(), wet[7].rend());
  foreign.resize(wet[2].size());
  write_notes(folder.path(), config, dry, [&](std::size_t i) { return i == 2 ? foreign : i == 7 ? reversed : wet[i]; });
  const Dataset data = inspect_dataset(config, kRate);
  std::set<std::string> names;
  for (const Finding& f : of(data, "mismatch")) {
    EXPECT_EQ(f.severity, Severity::kRefuse) << f.text;
    EXPECT_EQ(f.text.find("looks like"), std::string::npos) << f.text;
    names.insert(fs::path(f.file).stem().string());
  }
  EXPECT_EQ(names, (std::set<std::string>{"n02", "n07"})) << all(data);
  EXPECT_TRUE(of(data, "rate").empty()) << all(data);
  EXPECT_TRUE(done(data, "latency").empty()) << all(data);
  // Two of one set that were exchanged are each other's.
  write_notes(folder.path(), config, dry, [&](std::size_t i) { return wet[i == 2 ? 7 : i == 7 ? 2 : i]; });
  const Dataset exchanged = inspect_dataset(config, kRate);
  ASSERT_EQ(of(exchanged, "mismatch").size(), 2u) << all(exchanged);
  for (const Finding& f : of(exchanged, "mismatch")) EXPECT_NE(f.text.find("looks like"), std::string::npos) << f.text;
  for (const char* chain : {"overdrive 15 10", "overdrive 50 20", "lowpass 500", "highpass 600",
                            "compand 0.01,0.3 -60,-60,-30,-20,0,-12 3"}) {
    write_notes(folder.path(), config, dry, [&](std::size_t i) { return apply_chain(chain, dry[i], kRate); });
    const Dataset sound = inspect_dataset(config, kRate);
    EXPECT_TRUE(of(sound, "mismatch").empty()) << chain << "\n" << all(sound);
  }
}

TEST_F(Recordings, ANoteThatWasGivenAnotherGain) {
  const std::vector<Signal>& dry = notes().dry;
  const auto with = [&](const char* chain, std::size_t which, double gain) {
    write_notes(folder.path(), config, dry,
                [&](std::size_t i) { return times(i == which ? gain : 0.5, apply_chain(chain, dry[i], kRate)); });
    std::set<std::string> names;
    const Dataset data = inspect_dataset(config, kRate);
    for (const Finding& f : of(data, "gain")) {
      EXPECT_EQ(f.severity, Severity::kWarning);
      if (f.text.find("than other notes") != std::string::npos) names.insert(fs::path(f.file).stem().string());
    }
    return names;
  };
  for (const char* chain : {"overdrive 10 0", "equalizer 800 1q 8 treble -6", "highpass 300"}) {
    EXPECT_EQ(with(chain, 5, 0.1), std::set<std::string>({"n05"})) << chain;
    EXPECT_EQ(with(chain, 5, 0.5), std::set<std::string>()) << chain;
  }
  for (const char* chain : {"overdrive 50 20", "compand 0.01,0.3 -60,-60,-30,-20,0,-12 3", "lowpass 400",
                            "compand .005,.05 -90,-90,-45,-45,-40,-20,0,0", "tremolo 5 60", "echo 0.8 0.8 300 0.4"})
    EXPECT_EQ(with(chain, 5, 0.5), std::set<std::string>()) << chain;
}

TEST_F(Recordings, AnOffsetThatOneNoteHas) {
  const Notes& n = notes();
  const auto with = [&](double dc) {
    write_notes(folder.path(), config, n.dry,
                [&](std::size_t i) { return i == 5 ? plus(times(0.8, n.wet[i]), dc) : n.wet[i]; });
    return inspect_dataset(config, kRate);
  };
  for (const double dc : {0.1, -0.03}) {
    const Dataset data = with(dc);
    ASSERT_EQ(done(data, "dc").size(), 1u) << all(data);
    EXPECT_EQ(fs::path(done(data, "dc")[0].file).stem(), "n05");
    EXPECT_NEAR(done(data, "dc")[0].amount, dc, 0.004);
  }
  EXPECT_TRUE(done(with(0.0), "dc").empty()) << all(with(0.0));
}

TEST_F(Recordings, AnotherFolderOrAnotherOrder) {
  const Notes& n = notes();
  DataConfig bass;
  bass.path = CAFX_NOTES_DIR;
  bass.instrument = "bass";
  std::vector<Signal> low;
  for (const Pair& p : load_dataset(bass, kRate).pairs) low.push_back(p.dry.copy());
  write_notes(folder.path(), config, low, [&](std::size_t i) { return n.wet[i]; });
  const Dataset other = inspect_dataset(config, kRate);
  EXPECT_TRUE(refused(other, "mismatch")) << all(other);
  EXPECT_TRUE(of(other, "latency").empty()) << all(other);
  // One recording, of which wet has the notes in another order: half of them lie 12 s early.
  Signal dry, wet;
  for (std::size_t i = 0; i < 12; ++i) {
    const Signal& y = n.wet[std::vector<std::size_t>{3, 7, 1, 9, 0, 11, 5, 2, 10, 4, 8, 6}[i]];
    dry.insert(dry.end(), n.dry[i].begin(), n.dry[i].end());
    wet.insert(wet.end(), y.begin(), y.end());
  }
  config.reader = "files";
  config.dry = (folder / "dry.wav").string();
  config.wet = (folder / "wet.wav").string();
  const Dataset order = look(resample(dry, kRate, kFileRate), resample(wet, kRate, kFileRate));
  EXPECT_TRUE(refused(order, "mismatch")) << all(order);
}

TEST_F(Recordings, NotesCutByHandOfWhichNoLagIsSure) {
  DataConfig bass;
  bass.path = CAFX_NOTES_DIR;
  bass.instrument = "bass";
  bass.effect = "EQ";
  const Dataset shipped = load_dataset(bass, kRate);
  std::vector<Signal> dry;
  for (const Pair& p : shipped.pairs) dry.push_back(p.dry.copy());
  std::uint32_t seed = 3;
  write_notes(folder.path(), config, dry, [&](std::size_t i) {
    seed = seed * 1664525u + 1013904223u;
    return late(shipped.pairs[i].wet.copy(), static_cast<long>(seed >> 16) % 400);
  });
  const Dataset data = inspect_dataset(config, kRate);
  EXPECT_TRUE(refused(data, "latency")) << all(data);
}

TEST_F(Recordings, WetThatBeginsFarLater) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const Dataset data = look(d, joined({Signal(10 * kFileRate, 0.0f), w}));
  ASSERT_EQ(done(data, "latency").size(), 1u) << all(data);
  EXPECT_NEAR(done(data, "latency")[0].amount, 10.0 * kRate, 2.0);
  EXPECT_FALSE(refused(data)) << all(data);
  // Nor is the last third of dry there: notes that lie in time agree at wrong beats.
  Signal dry, wet;
  for (std::size_t i = 0; i < 12; ++i) {
    dry.insert(dry.end(), notes().dry[i].begin(), notes().dry[i].end());
    wet.insert(wet.end(), notes().wet[i].begin(), notes().wet[i].end());
  }
  const Dataset cut_off = look(resample(dry, kRate, kFileRate), resample(late(wet, 136000), kRate, kFileRate));
  ASSERT_EQ(done(cut_off, "latency").size(), 1u) << all(cut_off);
  EXPECT_NEAR(done(cut_off, "latency")[0].amount, 136000.0, 2.0);
}

TEST_F(Recordings, ADropoutAtTheOnsetOfANote) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  Signal gap = w;
  for (const double at : {4.48, 6.9}) {  // a note begins at 4.5 s
    const auto from = gap.begin() + static_cast<long>(at * kFileRate);
    std::fill(from, from + kFileRate * 8 / 100, 0.0f);
  }
  const Dataset data = look(d, gap);
  ASSERT_EQ(of(data, "dropouts").size(), 1u) << all(data);
  EXPECT_NE(of(data, "dropouts")[0].text.find("2 places"), std::string::npos) << all(data);
  EXPECT_NEAR(of(data, "dropouts")[0].seconds, 4.5, 0.03);
  // A gate that opens late at every note is a device.
  Signal gated = w;
  for (int k = 0; k < 6; ++k) {
    const auto from = gated.begin() + static_cast<long>((2.0 * k + 0.4) * kFileRate);
    std::fill(from, from + kFileRate * 13 / 100, 0.0f);
  }
  EXPECT_TRUE(of(look(d, gated), "dropouts").empty()) << all(look(d, gated));
}

TEST_F(Recordings, WhatSoundsInDryAlwaysIsNoDropoutOfWet) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  EXPECT_TRUE(of(look(plus(times(0.85, d), 0.1), w), "dropouts").empty());
  Signal hum = d;
  for (std::size_t i = 0; i < hum.size(); ++i)
    hum[i] += static_cast<float>(0.03 * std::sin(2.0 * M_PI * 50.0 * static_cast<double>(i) / kFileRate));
  EXPECT_TRUE(of(look(hum, w), "dropouts").empty());
  // Of dry itself.
  Signal gap = d;
  std::fill(gap.begin() + static_cast<long>(2.7 * kFileRate), gap.begin() + static_cast<long>(2.75 * kFileRate), 0.0f);
  const Dataset data = look(gap, w);
  ASSERT_EQ(of(data, "dropouts").size(), 1u) << all(data);
  EXPECT_NE(of(data, "dropouts")[0].file.find("dry.wav"), std::string::npos);
  EXPECT_NEAR(of(data, "dropouts")[0].seconds, 2.7, 0.01);
}

TEST_F(Recordings, FilesOfAnotherRateThanTheModel) {
  for (std::size_t i = 0; i < 4; ++i) {
    const auto name = fmt::format("{}.wav", i);
    write(folder / "d" / name, {notes().dry[i]}, kRate);
    write(folder / "w" / name, {i == 2 ? resample(notes().wet[i], kRate, kFileRate) : notes().wet[i]},
          i == 2 ? kFileRate : kRate);
  }
  config.reader = "folders";
  config.dry = (folder / "d").string();
  config.wet = (folder / "w").string();
  const Dataset one = inspect_dataset(config, kRate);
  ASSERT_EQ(of(one, "bandwidth").size(), 1u) << all(one);
  EXPECT_NE(of(one, "bandwidth")[0].text.find("1 of 8 files has 48000 Hz"), std::string::npos) << all(one);
  EXPECT_EQ(fs::path(of(one, "bandwidth")[0].file).filename(), "2.wav");
  const Dataset higher = inspect_dataset(config, kFileRate);
  ASSERT_EQ(of(higher, "bandwidth").size(), 1u) << all(higher);
  EXPECT_EQ(of(higher, "bandwidth")[0].severity, Severity::kWarning);
  EXPECT_NE(of(higher, "bandwidth")[0].text.find("7 of 8 files have 16000 Hz, the model 48000 Hz: above 8.0 kHz"),
            std::string::npos)
      << all(higher);
}

}  // namespace
}  // namespace cafx
