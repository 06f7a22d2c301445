// Recordings as people bring them: one fault each, made here, found, named and mended or refused.
#include "tests/datasets/recordings.h"

namespace cafx {
namespace {

TEST_F(Recordings, ASoundPairIsLeftAlone) {
  const Dataset data = look(notes().long_dry, notes().long_wet);
  EXPECT_TRUE(data.repairs.empty()) << all(data);
  EXPECT_FALSE(refused(data)) << all(data);
  for (const char* code : {"latency", "drift", "steps", "dc", "channels", "mismatch", "length", "gain", "wander",
                           "leak", "judge", "scale", "header"}) {
    EXPECT_TRUE(of(data, code).empty()) << code << "\n" << all(data);
  }
  EXPECT_EQ(of(data, "bandwidth").size(), 1u);
}

TEST_F(Recordings, OneEmptyChannelOfTwo) {
  const Signal &d = notes().long_dry, &w = notes().long_wet, silence(d.size(), 0.0f);
  const Dataset sound = look(d, w);
  for (const Signal& other : {silence, noise(d.size(), 1e-4)}) {
    for (const bool wet : {false, true}) {
      for (const bool right : {false, true}) {
        const Signal& x = wet ? w : d;
        const std::vector<Signal> two = right ? Channels{other, x} : Channels{x, other};
        const Dataset data = look(wet ? Channels{d} : two, wet ? two : Channels{w});
        ASSERT_EQ(of(data, "channels").size(), 1u) << all(data);
        EXPECT_NE(of(data, "channels")[0].text.find(right ? "right is used" : "left is used"), std::string::npos);
        ASSERT_EQ(done(data, "channel").size(), 1u);
        EXPECT_EQ(done(data, "channel")[0].amount, right ? 2 : 1);
        EXPECT_GT(correlation(whole(data, wet), whole(sound, wet)), 0.9999);
        EXPECT_NEAR(whole(data, wet)[20000], whole(sound, wet)[20000], 1e-5) << "no level is lost";
      }
    }
  }
  const Dataset twice = look({d, d}, Channels{w});
  EXPECT_TRUE(of(twice, "channels").empty()) << all(twice);
}

TEST_F(Recordings, ChannelsWhoseMeanWouldCancelOrComb) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const auto expect_left = [&](const Signal& right, const char* word) {
    const Dataset data = look({d}, {w, right});
    ASSERT_EQ(of(data, "channels").size(), 1u) << word << "\n" << all(data);
    EXPECT_EQ(of(data, "channels")[0].severity, Severity::kWarning);
    EXPECT_NE(of(data, "channels")[0].text.find(word), std::string::npos) << of(data, "channels")[0].text;
    EXPECT_NE(of(data, "channels")[0].cure.find("data.wet_channel"), std::string::npos);
    EXPECT_EQ(done(data, "channel").size(), 1u);
  };
  expect_left(times(-0.95, w), "inverse");
  expect_left(late(w, 300), "ms apart");
  expect_left(late(w, -17), "ms apart");
  config.wet_channel = "mean";
  EXPECT_TRUE(of(look({d}, {w, times(-0.95, w)}), "channels").empty()) << "it was asked for";
  config.wet_channel = "right";
  EXPECT_NEAR(whole(look({d}, {w, times(0.5, w)}), true)[20000], 0.5f * whole(look({d}, {w, w}), true)[20000], 1e-5);
  config.wet_channel = "3";
  EXPECT_THROW(load_dataset(config, kRate), Error);
}

TEST_F(Recordings, OneFileHoldsBothSides) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  write(folder / "both.wav", {d, w});
  config.dry = (folder / "both.wav").string();
  config.wet.clear();
  try {
    load_dataset(config, kRate);
    FAIL() << "which is which was not said";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("data.dry_channel=left"), std::string::npos) << e.what();
  }
  config.dry_channel = "left";
  config.wet_channel = "right";
  const Dataset data = load_dataset(config, kRate);
  write(folder / "d.wav", {d});
  write(folder / "w.wav", {w});
  config.dry = (folder / "d.wav").string();
  config.wet = (folder / "w.wav").string();
  config.dry_channel = config.wet_channel = "auto";
  EXPECT_EQ(whole(data, true), whole(load_dataset(config, kRate), true));
}

TEST_F(Recordings, LatencyBeyondAQuarterSecond) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  for (const long k : {13001L, 20000L, -30000L, 120000L}) {
    const Dataset data = look(d, late(w, k));
    ASSERT_EQ(done(data, "latency").size(), 1u) << k << "\n" << all(data);
    EXPECT_NEAR(done(data, "latency")[0].amount, static_cast<double>(k) / 3.0, 1.5) << all(data);
    EXPECT_FALSE(refused(data)) << all(data);
  }
  config.repair = {"dc"};
  const Dataset kept = look(d, late(w, 13001));
  EXPECT_TRUE(done(kept, "latency").empty());
  ASSERT_EQ(of(kept, "latency").size(), 1u);
  EXPECT_EQ(of(kept, "latency")[0].severity, Severity::kWarning);
}

TEST_F(Recordings, ClockDriftIsToldFromLatencyAndTakenOut) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  for (const double ppm : {40.0, -150.0, 500.0}) {
    const Dataset data = look(d, late(resample(w, 1.0, 1.0 + 1e-6 * ppm), 900));
    ASSERT_EQ(done(data, "drift").size(), 1u) << ppm << "\n" << all(data);
    EXPECT_NEAR(done(data, "drift")[0].amount, ppm, 6.0);
    EXPECT_FALSE(refused(data)) << all(data);
    const Lag left = find_lag(whole(data, false), whole(data, true), kRate);
    EXPECT_LE(std::abs(left.lag), 1.5) << ppm;
    EXPECT_LE(std::abs(left.ppm), 6.0) << ppm;
  }
  config.drift = "off";
  EXPECT_TRUE(refused(look(d, resample(w, 1.0, 1.0001)), "drift"));
  config.drift = "100";
  const Dataset stated = look(d, resample(w, 1.0, 1.0001));
  EXPECT_TRUE(of(stated, "drift").empty()) << all(stated);
}

TEST_F(Recordings, LostAndInsertedSamplesAreFoundAtTheirPlace) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const std::size_t at = 7 * kFileRate;
  for (const long n : {-300L, 2048L}) {
    Signal y = w;
    const auto place = y.begin() + static_cast<long>(at);
    if (n < 0)
      y.erase(place, place - n);
    else
      y.insert(place, static_cast<std::size_t>(n), 0.0f);
    const Dataset data = look(d, y);
    ASSERT_EQ(done(data, "steps").size(), 1u) << n << "\n" << all(data);
    EXPECT_NEAR(done(data, "steps")[0].amount, static_cast<double>(n) / 3.0, 1.5);
    EXPECT_NEAR(done(data, "steps")[0].seconds, 7.0, 0.1);
    EXPECT_FALSE(refused(data)) << all(data);
    const Lag left = find_lag(whole(data, false), whole(data, true), kRate);
    EXPECT_LE(std::abs(left.lag), 1.5) << n;
    EXPECT_TRUE(left.steps.empty()) << "what remains is in time on both sides of the place";
  }
  config.repair = {"latency"};
  Signal y = w;
  y.erase(y.begin() + static_cast<long>(at), y.begin() + static_cast<long>(at) + 300);
  EXPECT_TRUE(refused(look(d, y), "steps"));
}

TEST_F(Recordings, FewSamplesAndTheBeginningOfARecording) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const auto without = [&](double at, long n) {
    Signal y = w;
    y.erase(y.begin() + static_cast<long>(at * kFileRate), y.begin() + static_cast<long>(at * kFileRate) + n);
    return y;
  };
  const Dataset few = look(d, without(4.0, 30));  // 10 samples at 16 kHz
  ASSERT_EQ(done(few, "steps").size(), 1u) << all(few);
  EXPECT_NEAR(done(few, "steps")[0].amount, -10.0, 2.0);
  for (const double at : {1.0, 1.2}) {  // too near to the beginning for a part of its own
    const Dataset edge = look(d, without(at, 600));
    ASSERT_EQ(of(edge, "steps").size(), 1u) << at << all(edge);
    const Lag left = find_lag(whole(edge, false), whole(edge, true), kRate);
    EXPECT_LE(std::abs(left.lag), 1.5) << at;
    EXPECT_TRUE(left.edges.empty() && left.steps.empty()) << at;
  }
}

TEST_F(Recordings, ALoopIsNotTakenAsLateByATurn) {
  const Signal d = cut(notes().long_dry, 0, 1.7003), w = cut(notes().long_wet, 0, 1.7003);
  const Dataset loop = look(joined({d, d, d, d, d, d, d, d}), joined({w, w, w, w, w, w, w, w}));
  EXPECT_TRUE(loop.repairs.empty()) << all(loop);
}

TEST_F(Recordings, AnOffsetOfDryHidesNoLag) {
  const Dataset data = look(plus(notes().long_dry, 0.05), notes().long_wet);
  EXPECT_TRUE(done(data, "latency").empty()) << all(data);
  EXPECT_EQ(done(data, "dc").size(), 1u) << all(data);
}

TEST_F(Recordings, NotesCutByHandHaveLatenciesOfTheirOwn) {
  const Notes& n = notes();
  std::vector<int> by;
  std::uint32_t seed = 7;
  for (std::size_t i = 0; i < n.dry.size(); ++i) {
    seed = seed * 1664525u + 1013904223u;
    by.push_back(static_cast<int>(seed >> 16) % 300);
    const std::string name = fmt::format("n{:02d}.wav", i);
    write(folder / "d" / name, {n.dry[i]}, kRate);
    write(folder / "w" / name, {late(n.wet[i], by.back())}, kRate);
  }
  config.reader = "folders";
  config.dry = (folder / "d").string();
  config.wet = (folder / "w").string();
  const Dataset data = inspect_dataset(config, kRate);
  const auto repairs = done(data, "latency");
  ASSERT_GE(repairs.size(), 10u) << all(data);
  double first = 0.0;
  for (const Repair& r : repairs) {
    const int i = std::stoi(fs::path(r.file).stem().string().substr(1));
    const double off = r.amount - by[static_cast<std::size_t>(i)];
    if (&r == &repairs.front()) first = off;
    EXPECT_LE(std::abs(off - first), 1.6) << r.file;
    EXPECT_LE(std::abs(off), 3.0) << r.file;
  }
  // One note among many that is late.
  write(folder / "w" / "n03.wav", {late(n.wet[3], 0)}, kRate);
  for (std::size_t i = 0; i < n.dry.size(); ++i) {
    write(folder / "w" / fmt::format("n{:02d}.wav", i), {late(n.wet[i], i == 3 ? 777 : 0)}, kRate);
  }
  const Dataset one = inspect_dataset(config, kRate);
  ASSERT_EQ(done(one, "latency").size(), 1u) << all(one);
  EXPECT_NEAR(done(one, "latency")[0].amount, 777.0, 2.0);
}

TEST_F(Recordings, LongSilenceAnywhere) {
  const Signal &d = notes().long_dry, &w = notes().long_wet, silence(12 * kFileRate, 0.0f);
  const Dataset start = look(joined({silence, silence, d}), late(joined({silence, silence, w}), 240));
  EXPECT_FALSE(refused(start)) << all(start);
  ASSERT_EQ(done(start, "latency").size(), 1u) << all(start);
  EXPECT_NEAR(done(start, "latency")[0].amount, 80.0, 1.5);
  // Silent pieces are no notes of a split.
  const Signal half_d = cut(d, 0, 6), half_w = cut(w, 0, 6), rest_d = cut(d, 6, 12), rest_w = cut(w, 6, 12);
  config.segment_seconds = 1.0;
  const Dataset middle = look(joined({half_d, silence, rest_d}), joined({half_w, silence, rest_w}));
  EXPECT_FALSE(refused(middle)) << all(middle);
  EXPECT_FALSE(of(middle, "silence").empty());
  for (config.seed = 1; config.seed < 20; ++config.seed) {
    const Split split = split_dataset(middle, config);
    for (const auto* part : {&split.validation, &split.test}) {
      ASSERT_FALSE(part->empty());
      for (const int i : *part) EXPECT_TRUE(can_judge(middle, i)) << middle.pairs[static_cast<std::size_t>(i)].name;
    }
  }
  EXPECT_NE(split_json(middle, split_dataset(middle, config)).find("too_quiet_or_short_to_judge"), std::string::npos);
}

TEST_F(Recordings, AStubIsNoNoteOfASplit) {
  const Dataset data = look(cut(notes().long_dry, 0, 10.02), cut(notes().long_wet, 0, 10.02));
  for (config.seed = 1; config.seed < 10; ++config.seed) {
    const Split split = split_dataset(data, config);
    for (const auto* part : {&split.validation, &split.test}) {
      for (const int i : *part) EXPECT_GT(data.pairs[static_cast<std::size_t>(i)].dry.size(), 4000u);
    }
  }
}

TEST_F(Recordings, SixSecondsAreCutSoThatAPartJudges) {
  const Dataset data = look(cut(notes().long_dry, 0, 6), cut(notes().long_wet, 0, 6));
  const Split split = split_dataset(data, config);
  EXPECT_FALSE(split.validation.empty());
  EXPECT_FALSE(split.test.empty());
  EXPECT_EQ(judge_split(data, split).validation, "");
  EXPECT_FALSE(of(data, "split").empty()) << all(data);
  config.validation = config.test = 0.0;
  const Dataset none = inspect_dataset(config, kRate);
  EXPECT_NE(judge_split(none, split_dataset(none, config)).validation, "");
  EXPECT_FALSE(of(none, "judge").empty()) << "what cannot judge says so";
}

TEST_F(Recordings, ALengthIsNoEvidenceOfARate) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  for (const double share : {0.75, 0.5, 0.9188, 0.6667}) {  // ratios of common rates
    const Dataset stopped = look(d, cut(w, 0, share * 12.0));
    EXPECT_TRUE(of(stopped, "rate").empty()) << share << all(stopped);
    EXPECT_FALSE(refused(stopped)) << share << all(stopped);
    EXPECT_EQ(of(stopped, "length").size(), 1u);
  }
  const Dataset tail = look(d, joined({w, Signal(kFileRate, 0.0f)}));
  EXPECT_FALSE(refused(tail)) << all(tail);
  // A header that is wrong is still found, by what it sounds like, where lengths are equal too.
  const Signal at_44100 = resample(w, kFileRate, 44100);
  for (const double seconds : {12.0, 11.0}) {
    const Dataset fast = look(cut(d, 0, seconds), cut(at_44100, 0, 11.0));
    EXPECT_TRUE(refused(fast, "rate")) << all(fast);
    for (const Finding& f : of(fast, "rate")) EXPECT_NE(f.text.find("44100"), std::string::npos) << f.text;
  }
}

TEST_F(Recordings, DcIsTakenOutAndTheEffectsOwnOffsetStays) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const Dataset sound = look(d, times(0.85, w));
  const Dataset data = look(d, plus(times(0.85, w), 0.12));
  ASSERT_EQ(done(data, "dc").size(), 1u) << all(data);
  EXPECT_NEAR(done(data, "dc")[0].amount, 0.12, 0.002);
  double mean = 0.0;
  for (const float v : whole(data, true)) mean += static_cast<double>(v);
  EXPECT_LT(std::abs(mean / static_cast<double>(whole(data, true).size())), 0.002);
  EXPECT_EQ(done(look(plus(d, -0.02), w), "dc").size(), 1u) << "the dry side too";

  Signal wanders = times(0.85, w);
  for (std::size_t i = 0; i < wanders.size(); ++i) {
    wanders[i] += static_cast<float>(0.05 * std::sin(2.0 * M_PI * static_cast<double>(i) / (9.0 * kFileRate)));
  }
  const Dataset drifting = look(d, wanders);
  ASSERT_EQ(done(drifting, "dc").size(), 1u) << all(drifting);
  EXPECT_GT(correlation(whole(drifting, true), whole(sound, true)), 0.995);

  config.repair = {"latency"};
  const Dataset kept = look(d, plus(w, 0.05));
  EXPECT_TRUE(done(kept, "dc").empty());
  EXPECT_EQ(of(kept, "dc").size(), 1u);
  // Overdrive bends asymmetrically: its offset follows the level.
  DataConfig overdrive;
  overdrive.path = CAFX_NOTES_DIR;
  overdrive.effect = "Overdrive";
  EXPECT_TRUE(inspect_dataset(overdrive, kRate).repairs.empty());
}

TEST_F(Recordings, LevelsOutOfRange) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const Dataset sound = look(d, w);
  for (const double scale : {32768.0, 8388608.0}) {
    write(config.dry, {times(scale, d)}, kFileRate, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
    write(config.wet, {times(scale, w)}, kFileRate, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
    const Dataset data = inspect_dataset(config, kRate);
    EXPECT_EQ(done(data, "scale").size(), 2u) << all(data);
    EXPECT_NEAR(whole(data, true)[30000], whole(sound, true)[30000], 1e-4);
  }
  write(config.dry, {d});
  write(config.wet, {times(32768.0, plus(times(0.8, w), 0.05))}, kFileRate, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
  const Dataset offset = inspect_dataset(config, kRate);
  ASSERT_EQ(done(offset, "dc").size(), 1u) << all(offset);
  EXPECT_NEAR(done(offset, "dc")[0].amount, 0.05, 0.002) << "of full scale";
  EXPECT_NEAR(whole(offset, true)[30000], 0.8f * whole(sound, true)[30000], 2e-3);
  const Dataset quiet = look(times(2e-3, d), times(2e-3, w));
  ASSERT_EQ(of(quiet, "gain").size(), 2u) << all(quiet);
  EXPECT_NE(of(quiet, "gain")[0].cure.find("data.dry_gain_db="), std::string::npos);
  const Split split = split_dataset(quiet, config);
  ASSERT_EQ(check_loudness(quiet, split, -40.0).size(), 1u) << "what training leaves out is refused here already";
  EXPECT_TRUE(check_loudness(quiet, split, -120.0).empty());
  write(config.dry, {times(1.0 / 256, d)}, kFileRate, SF_FORMAT_WAV | SF_FORMAT_PCM_32);
  const Dataset justified = inspect_dataset(config, kRate);
  ASSERT_FALSE(of(justified, "gain").empty());
  EXPECT_NE(of(justified, "gain")[0].cure.find("48.165"), std::string::npos) << all(justified);
  write(config.dry, {d}, kFileRate, SF_FORMAT_WAV | SF_FORMAT_PCM_U8);
  EXPECT_EQ(of(inspect_dataset(config, kRate), "bits").size(), 1u);
}

TEST_F(Recordings, ABypassedDeviceIsNoEffect) {
  const Signal& d = notes().long_dry;
  const Dataset data = look(d, late(times(0.5, d), 150));
  EXPECT_TRUE(refused(data, "identical")) << all(data);
  EXPECT_TRUE(of(look(d, notes().long_wet), "identical").empty());
  // Late by parts of a sample of the model's rate.
  for (const long by : {334L, -1001L}) {
    EXPECT_TRUE(refused(look(d, late(times(0.7, d), by)), "identical")) << by << "\n" << all(look(d, late(d, by)));
  }
  // Through a converter, with its noise.
  Signal looped = times(0.5, d);
  const Signal hiss = noise(d.size(), 2e-4);
  for (std::size_t i = 0; i < looped.size(); ++i) looped[i] += hiss[i];
  const Dataset through = look(d, looped);
  ASSERT_EQ(of(through, "identical").size(), 1u) << all(through);
  EXPECT_EQ(of(through, "identical")[0].severity, Severity::kWarning);
}

TEST_F(Recordings, WideStereo) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  // Each side through an all-pass of its own: the mean has combs, no single delay.
  const auto all_pass = [](const Signal& x, std::size_t delay, float g) {
    Signal y(x.size(), 0.0f);
    for (std::size_t i = 0; i < x.size(); ++i) {
      y[i] = -g * x[i] + (i >= delay ? x[i - delay] + g * y[i - delay] : 0.0f);
    }
    return y;
  };
  const Signal side = all_pass(w, 401, 0.7f);
  Signal left = w, right = w;
  for (std::size_t i = 0; i < w.size(); ++i) {
    left[i] += 0.4f * side[i];
    right[i] -= 0.4f * side[i];
  }
  for (const auto& [a, b] : {std::pair(left, right), std::pair(w, all_pass(w, 37, 0.6f))}) {
    const Dataset data = look({d}, {a, b});
    ASSERT_EQ(of(data, "channels").size(), 1u) << all(data);
    EXPECT_EQ(of(data, "channels")[0].severity, Severity::kWarning);
    EXPECT_NE(of(data, "channels")[0].cure.find("data.wet_channel"), std::string::npos);
    ASSERT_EQ(done(data, "channel").size(), 1u);
    EXPECT_EQ(done(data, "channel")[0].amount, 1);
  }
}

TEST_F(Recordings, ALagThatWandersIsSaid) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const auto wandering = [&](double samples, double seconds) {  // about the middle, as a sine
    Signal y(w.size(), 0.0f);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double at =
          static_cast<double>(i) + samples * std::sin(2.0 * M_PI * static_cast<double>(i) / (seconds * kFileRate));
      const auto k = static_cast<long>(std::floor(at));
      if (k < 1 || k + 2 >= static_cast<long>(w.size())) continue;
      const auto part = static_cast<float>(at - static_cast<double>(k));
      y[i] = (1.0f - part) * w[static_cast<std::size_t>(k)] + part * w[static_cast<std::size_t>(k) + 1];
    }
    return y;
  };
  const Dataset tape = look(d, wandering(24.0, 7.0));  // 8 samples at 16 kHz
  EXPECT_FALSE(of(tape, "wander").empty()) << all(tape);
  EXPECT_TRUE(done(tape, "drift").empty()) << "no clock runs so";
  const Dataset wireless = look(d, wandering(150.0, 5.0));
  EXPECT_TRUE(refused(wireless)) << all(wireless);
  EXPECT_TRUE(of(look(d, w), "wander").empty());
}

TEST_F(Recordings, SidesThatWereSwapped) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const Dataset swapped = look(w, d);
  ASSERT_EQ(of(swapped, "swapped").size(), 1u) << all(swapped);
  EXPECT_EQ(of(swapped, "swapped")[0].severity, Severity::kWarning);
  EXPECT_TRUE(of(look(d, w), "swapped").empty());
  const Dataset early = look(w, late(d, -300));
  ASSERT_EQ(of(early, "latency").size(), 1u) << all(early);
  EXPECT_NE(of(early, "latency")[0].cause.find("swapped"), std::string::npos);
  for (const char* effect : {"Distortion", "Overdrive", "EQ"}) {
    for (const char* instrument : {"guitar", "bass"}) {
      DataConfig shipped;
      shipped.path = CAFX_NOTES_DIR;
      shipped.effect = effect;
      shipped.instrument = instrument;
      EXPECT_TRUE(of(inspect_dataset(shipped, kRate), "swapped").empty()) << instrument << " " << effect;
    }
  }
}

TEST_F(Recordings, AValidationPartThatIsInTrainingToo) {
  // A riff of two seconds at 48 kHz, played eight times to the sample.
  const Signal d = cut(notes().long_dry, 0, 1.7003), w = cut(notes().long_wet, 0, 1.7003);
  config.segment_seconds = 2.0;
  const Dataset loop = look(joined({d, d, d, d, d, d, d, d}), joined({w, w, w, w, w, w, w, w}));
  const Split split = split_dataset(loop, config);
  EXPECT_NE(judge_split(loop, split).validation.find("in the training part too"), std::string::npos) << all(loop);
  EXPECT_FALSE(of(loop, "judge").empty());
  // A riff of four seconds in pieces of five: neither begins where the other does.
  config.segment_seconds = 5.0;
  const Signal e = cut(notes().long_dry, 2, 6), v = cut(notes().long_wet, 2, 6);
  const Dataset longer = look(joined({e, e, e, e, e, e}), joined({v, v, v, v, v, v}));
  const Judgement both = judge_split(longer, split_dataset(longer, config));
  EXPECT_NE(both.validation.find("in the training part too"), std::string::npos) << all(longer);
  EXPECT_NE(both.test.find("in the training part too"), std::string::npos) << all(longer);
  // The same note under another name, at another level.
  const Notes& n = notes();
  for (std::size_t i = 0; i < 6; ++i) {
    write(folder / "d" / fmt::format("{}.wav", i), {n.dry[i]}, kRate);
    write(folder / "w" / fmt::format("{}.wav", i), {n.wet[i]}, kRate);
  }
  write(folder / "d" / "quiet.wav", {times(0.5, n.dry[2])}, kRate);
  write(folder / "w" / "quiet.wav", {times(0.6, n.wet[2])}, kRate);
  config.reader = "folders";
  config.dry = (folder / "d").string();
  config.wet = (folder / "w").string();
  config.validation_notes = {"quiet"};
  config.test_notes = {"5"};
  const Dataset levels = inspect_dataset(config, kRate);
  const Judgement judged = judge_split(levels, split_dataset(levels, config));
  EXPECT_NE(judged.validation, "");
  EXPECT_EQ(judged.test, "");
}

TEST_F(Recordings, WhatWasDoneIsOnRecord) {
  const Signal &d = notes().long_dry, &w = notes().long_wet;
  const Dataset data = look({d}, {late(plus(w, 0.05), 600), Signal(w.size(), 0.0f)});
  const auto json = data_json(data);
  std::vector<std::string> what;
  for (const auto& r : json["repairs"]) what.push_back(r["what"]);
  EXPECT_EQ(what, (std::vector<std::string>{"channel", "dc", "latency"})) << json.dump(2);
  EXPECT_EQ(json["bandwidth_hz"], 8000);
  EXPECT_LT(json["wet_energy_above_db"].get<double>(), 0.0);
  std::string lines;
  for (const auto& line : data_lines(data)) lines += line + "\n";
  for (const char* word : {"latency of 200 samples", "0.05", "channel 1", "8.0 kHz", "--rate 48000"}) {
    EXPECT_NE(lines.find(word), std::string::npos) << word << "\n" << lines;
  }
  write_pairs(data, (folder / "repaired").string());
  const auto files = find_audio_files(folder / "repaired" / "wet");
  ASSERT_EQ(files.size(), data.pairs.size());
  EXPECT_EQ(read_audio(files[0], 0).samples, data.pairs[0].wet);
  EXPECT_THROW(write_pairs(data, (folder / "repaired").string()), Error);
}

TEST(DataConfig, NewKeysAtTheirDefaultsDecideNoHash) {
  DataConfig config, fresh;
  const std::string text = hashed_text(describe(config), describe(fresh));
  for (const char* key : {"repair", "drift", "channel", "pattern"})
    EXPECT_EQ(text.find(key), std::string::npos) << text;
  config.repair = {"dc"};
  EXPECT_NE(hashed_text(describe(config), describe(fresh)), text);
  config.repair = {"everything"};
  EXPECT_THROW(check(config, "here"), Error);
}

}  // namespace
}  // namespace cafx
