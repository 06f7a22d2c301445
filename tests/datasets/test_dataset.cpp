#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <numbers>
#include <set>
#include <tuple>

#include "datasets/audio_file.h"
#include "datasets/dataset.h"
#include "datasets/effects.h"
#include "datasets/idmt.h"
#include "datasets/shift.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

namespace fs = std::filesystem;

DataConfig notes(const std::string& effect = "Distortion", int setting = 2, const std::string& instrument = "guitar") {
  DataConfig c;
  c.path = CAFX_NOTES_DIR;
  c.effect = effect;
  c.setting = setting;
  c.instrument = instrument;
  return c;
}

Recording sine(std::size_t n, double hz, double rate) {
  Recording x(n);
  for (std::size_t i = 0; i < n; ++i)
    x[i] = static_cast<float>(0.5 * std::sin(6.283185307179586 * hz * static_cast<double>(i) / rate));
  return x;
}

const Pair* pair_named(const Dataset& data, const std::string& name) {
  const auto found = std::find_if(data.pairs.begin(), data.pairs.end(), [&](const Pair& p) { return p.name == name; });
  return found == data.pairs.end() ? nullptr : &*found;
}

// Two copies of every training note, and none in the other parts.
void expect_twice_as_many_copies(const Split& split, const Split& before) {
  EXPECT_EQ(split.train.size(), 3 * before.train.size());
  EXPECT_EQ(split.validation.size(), before.validation.size());
  EXPECT_EQ(split.test.size(), before.test.size());
}

template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Idmt, NamesOfEveryKind) {
  const auto n = parse_idmt_name("G61-40100-4412-38065");
  ASSERT_TRUE(n);
  EXPECT_EQ(n->note, "G61-40100");
  EXPECT_EQ(n->instrument, 'G');
  EXPECT_EQ(n->midi_note, 40);
  EXPECT_EQ(n->effect, 41);
  EXPECT_EQ(n->setting, 2);
  EXPECT_EQ(n->group, "G6");
  EXPECT_EQ(parse_idmt_name("p64-43310-2421-00001")->note, "P64-43310");
  for (const char* bad : {"", "G61", "G61-40100-4412", "X61-40100-4412-38065", "G6a-40100-4412-38065",
                          "G61-4010-44123-38065", "G61_40100_4412_38065", "G61-40100-4412-"}) {
    EXPECT_FALSE(parse_idmt_name(bad)) << bad;
  }
  EXPECT_EQ(idmt_effect_code("distortion"), 41);
  EXPECT_THROW(idmt_effect_code("wobble"), Error);
}

TEST(Dataset, ShippedNotesArePairedByTheirFirstNineCharacters) {
  std::size_t n_files = 0;
  for (const char* instrument : {"guitar", "bass"}) {
    for (const auto& [effect, setting] : {std::pair("Distortion", 2), std::pair("Overdrive", 1), std::pair("EQ", 2)}) {
      const Dataset data = load_dataset(notes(effect, setting, instrument), 16000);
      ASSERT_EQ(data.pairs.size(), 12u);
      EXPECT_TRUE(data.unpaired.empty());
      n_files += data.pairs.size();
      for (const Pair& p : data.pairs) {
        EXPECT_EQ(p.dry.size(), p.wet.size());
        EXPECT_EQ(p.dry_path.filename().string().substr(0, 9), p.wet_path.filename().string().substr(0, 9));
        EXPECT_EQ(p.dry_path.filename().string().substr(10, 4), "1111");
      }
    }
  }
  EXPECT_EQ(n_files, 72u);
}

TEST(Dataset, AnyCaseAnyDepthUnpairedAndUnreadableAreListed) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "deep/er/SAMPLES");
  const auto x = sine(8000, 200, 44100);
  write_audio(folder / "deep/er/SAMPLES/g61-40100-1111-00001.wav", x, 44100, SampleFormat::kPcm16);
  fs::rename(folder / "deep/er/SAMPLES/g61-40100-1111-00001.wav", folder / "deep/er/SAMPLES/g61-40100-1111-00001.WAV");
  write_audio(folder / "G61-40100-4412-00009.flac", x, 44100, SampleFormat::kPcm24);
  write_audio(folder / "G61-41100-4412-00010.wav", x, 44100, SampleFormat::kPcm16);  // no dry note
  write_audio(folder / "G61-42100-1111-00011.wav", x, 44100, SampleFormat::kPcm16);  // no wet one
  write_audio(folder / "G61-43100-1111-00012.wav", x, 44100, SampleFormat::kPcm16);
  std::ofstream(folder / "G61-43100-4412-00013.wav") << "text";
  DataConfig c = notes();
  c.path = folder.path().string();
  const Dataset data = inspect_dataset(c, 16000);
  ASSERT_EQ(data.pairs.size(), 1u);
  EXPECT_EQ(data.pairs[0].name, "G61-40100");
  EXPECT_EQ(data.pairs[0].dry.size(), 2902u);  // 8000 at 44.1 kHz, at 16 kHz
  EXPECT_EQ(data.unpaired.size(), 2u);
  ASSERT_EQ(data.unreadable.size(), 1u);
  EXPECT_NE(data.unreadable[0].find("G61-43100-4412-00013.wav"), std::string::npos);
}

// A WAV of 24 bits and one channel, whose header states `promised` bytes of samples; no byte is added to make it even.
void write_wav24(const fs::path& path, std::size_t n_samples, std::uint32_t promised) {
  std::string head = "RIFF....WAVEfmt ";
  const auto put = [&](std::uint32_t x, int bytes) {
    for (int i = 0; i < bytes; ++i) head += static_cast<char>(x >> (8 * i));
  };
  put(16, 4);
  put(1, 2);
  put(1, 2);
  put(16000, 4);
  put(48000, 4);
  put(3, 2);
  put(24, 2);
  head += "data";
  put(promised, 4);
  std::ofstream(path, std::ios::binary) << head << std::string(3 * n_samples, 'a');
}

TEST(AudioFile, WhatIsCutOffIsRefusedAndWhatOnlyLooksSoIsRead) {
  const TemporaryFolder folder;
  const fs::path path = folder / "x.wav";
  for (const std::size_t n : {1000u, 1001u}) {  // 3,003 bytes: odd
    write_wav24(path, n, static_cast<std::uint32_t>(3 * n));
    EXPECT_EQ(read_audio(path, 0).samples.size(), n);
    write_wav24(path, n, static_cast<std::uint32_t>(3 * n + 3000));
    EXPECT_NE(refusal([&] { read_audio(path, 0); }).find("cut off"), std::string::npos);
  }
  // Written to a pipe by ffmpeg and by SoX.
  for (const std::uint32_t unknown : {0xffffffffu, 0x7ffff000u}) {
    write_wav24(path, 1000, unknown);
    EXPECT_EQ(read_audio(path, 0).samples.size(), 1000u) << unknown;
  }
}

TEST(Dataset, FoldersPairByNameAndFilesAreCutIntoPieces) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "dry");
  fs::create_directories(folder / "wet");
  const auto x = sine(16000, 300, 16000);
  for (const char* name : {"a", "b", "c"}) {
    write_audio(folder / "dry" / (std::string(name) + ".wav"), x, 16000, SampleFormat::kFloat);
    if (name[0] != 'c') write_audio(folder / "wet" / (std::string(name) + ".flac"), x, 16000, SampleFormat::kPcm24);
  }
  DataConfig c;
  c.reader = "folders";
  c.dry = (folder / "dry").string();
  c.wet = (folder / "wet").string();
  const Dataset pairs = inspect_dataset(c, 16000);
  EXPECT_EQ(pairs.pairs.size(), 2u);
  EXPECT_EQ(pairs.unpaired.size(), 1u);

  const auto pieces_of_noise = [] {
    Recording y(16000 * 11 / 2);
    std::uint32_t s = 1;
    for (float& v : y) v = static_cast<float>(static_cast<std::int32_t>(s = s * 1664525u + 1013904223u)) * 1e-10f;
    return y;
  }();
  write_audio(folder / "long.wav", pieces_of_noise, 16000, SampleFormat::kFloat);
  DataConfig f;
  f.reader = "files";
  f.dry = f.wet = (folder / "long.wav").string();
  EXPECT_NE(refusal([&] { load_dataset(f, 16000); }).find("its dry file"), std::string::npos);
  f.allow = {"identical"};
  f.segment_seconds = 1.0;
  const Dataset pieces = load_dataset(f, 16000);
  ASSERT_EQ(pieces.pairs.size(), 6u);  // five whole seconds and a half
  EXPECT_EQ(pieces.pairs[5].dry.size(), 8000u);
  EXPECT_EQ(pieces.pairs[3].name, "long@3.000");
  const Split split = split_dataset(pieces, f);
  EXPECT_EQ(split.train.size() + split.validation.size() + split.test.size(), 6u);
  EXPECT_EQ(split.test.size(), 1u);
}

// Of a short recording most is trained on, whatever its length.
TEST(Dataset, ShortRecordingsAreCutIntoEightPieces) {
  const TemporaryFolder folder;
  const auto put = [&](const std::string& name, double seconds, double gain) {
    std::vector<float> y(static_cast<std::size_t>(seconds * 16000));
    const Rng rng{4, 2};
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<float>(std::tanh(gain * 0.1 * rng.normal(i)));
    write_audio(folder / name, y, 16000, SampleFormat::kFloat);
  };
  for (const double seconds : {4.0, 12.0, 15.0, 39.0, 60.0}) {
    put("dry.wav", seconds, 1.0), put("wet.wav", seconds, 3.0);
    DataConfig c;
    c.reader = "files";
    c.dry = (folder / "dry.wav").string(), c.wet = (folder / "wet.wav").string();
    const Dataset data = load_dataset(c, 16000);
    EXPECT_GE(data.pairs.size(), 8u) << seconds;
    double trained = 0.0;
    for (const int i : split_dataset(data, c).train) {
      trained += static_cast<double>(data.pairs[static_cast<std::size_t>(i)].dry.size()) / 16000;
    }
    EXPECT_GE(trained, 0.7 * seconds) << seconds;
  }
  // Three takes in folders as well; a list names the pieces of one.
  for (const char* take : {"Take 1", "Take 2", "Take 10"}) {
    for (const auto& [side, gain] : {std::pair("dry", 1.0), std::pair("wet", 3.0)}) {
      fs::create_directories(folder / side);
      put(fmt::format("{}/{}.wav", side, take), 15.0, gain);
    }
  }
  DataConfig c;
  c.reader = "folders";
  c.dry = (folder / "dry").string(), c.wet = (folder / "wet").string();
  c.allow = {"leak"};  // all three are the same noise
  const Dataset data = load_dataset(c, 16000);
  EXPECT_EQ(data.pairs.size(), 9u);
  c.test_notes = {"Take 1"};
  EXPECT_EQ(split_dataset(data, c).test.size(), 3u);
}

TEST(Dataset, EveryFormatGivesTheSameSamplesAndChannelsAreAveraged) {
  const TemporaryFolder folder;
  const auto x = sine(4000, 440, 16000);
  for (const auto& [name, format, tolerance] :
       {std::tuple("a.wav", SampleFormat::kPcm16, 3.1e-5f), std::tuple("b.wav", SampleFormat::kPcm24, 1e-6f),
        std::tuple("c.wav", SampleFormat::kFloat, 0.0f), std::tuple("d.flac", SampleFormat::kPcm16, 3.1e-5f)}) {
    write_audio(folder / name, x, 16000, format);
    const Audio y = read_audio(folder / name, 0);
    ASSERT_EQ(y.samples.size(), x.size());
    EXPECT_EQ(y.sample_rate, 16000);
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_TRUE(std::abs(y.samples[i] - x[i]) <= tolerance) << name << " " << i;
  }
  // Two channels by hand: 16-bit, left 1000, right -3000 and so on; the mean is what is read.
  std::ofstream wav(folder / "two.wav", std::ios::binary);
  const auto put = [&](std::uint32_t v, int n) {
    for (int i = 0; i < n; ++i) wav.put(static_cast<char>(v >> (8 * i) & 255));
  };
  wav << "RIFF";
  put(36 + 400, 4);
  wav << "WAVEfmt ";
  put(16, 4), put(1, 2), put(2, 2), put(16000, 4), put(64000, 4), put(4, 2), put(16, 2);
  wav << "data";
  put(400, 4);
  for (int i = 0; i < 100; ++i) put(1000, 2), put(static_cast<std::uint16_t>(-3000), 2);
  wav.close();
  const Audio mean = read_audio(folder / "two.wav", 0);
  ASSERT_EQ(mean.samples.size(), 100u);
  EXPECT_EQ(mean.file_channels, 2);
  for (const float v : mean.samples) ASSERT_EQ(v, -1000.0f / 32768.0f);
}

TEST(Dataset, ResamplingKeepsTimeAndTone) {
  const auto x = sine(44100, 1000, 44100);
  const auto y = resample(x, 44100, 16000);
  ASSERT_EQ(y.size(), 16000u);
  const auto expected = sine(16000, 1000, 16000);
  for (std::size_t i = 400; i < 15600; ++i) ASSERT_TRUE(std::abs(y[i] - expected[i]) <= 1e-4f) << i;
}

TEST(Dataset, SplitsAreSeededWholeAndFollowTheLists) {
  DataConfig c = notes();
  c.test_notes = {"G61-55400", "G71-55400"};
  const Dataset data = load_dataset(c, 16000);
  const Split split = split_dataset(data, c);
  ASSERT_EQ(split.test.size(), 2u);
  for (const int i : split.test) EXPECT_EQ(data.pairs[static_cast<std::size_t>(i)].name.substr(4), "55400");
  EXPECT_EQ(split.validation.size(), 1u);
  EXPECT_EQ(split.train.size(), 9u);
  std::set<int> all;
  for (const auto* part : {&split.train, &split.validation, &split.test}) all.insert(part->begin(), part->end());
  EXPECT_EQ(all.size(), 12u);
  EXPECT_EQ(split_json(data, split), split_json(data, split_dataset(data, c)));
  bool other = false;
  for (c.seed = 2; c.seed < 10 && !other; ++c.seed) other = split_dataset(data, c).validation != split.validation;
  EXPECT_TRUE(other);

  DataConfig by = notes();
  by.split = "instrument";
  const Split groups = split_dataset(data, by);
  std::set<std::string> train, test;
  for (const int i : groups.train) train.insert(data.pairs[static_cast<std::size_t>(i)].group);
  for (const int i : groups.test) test.insert(data.pairs[static_cast<std::size_t>(i)].group);
  for (const auto& g : test) EXPECT_FALSE(train.count(g)) << g;
  DataConfig wrong = notes();
  wrong.test_notes = {"G99"};
  EXPECT_NE(refusal([&] { split_dataset(data, wrong); }).find("G99"), std::string::npos);
  wrong.test_notes = {"G61-55400"};
  for (const char* validation : {"G61-55400", "G61"}) {
    wrong.validation_notes = {validation};
    const std::string e = refusal([&] { split_dataset(data, wrong); });
    for (const char* said : {"'G61-55400'", "data.validation_notes", "data.test_notes"})
      EXPECT_NE(e.find(said), std::string::npos) << e;
  }
  wrong.validation_notes = {"G61-45200"};
  EXPECT_EQ(split_dataset(data, wrong).validation.size(), 1u);
  wrong.split = "instrument";
  const std::string together = refusal([&] { split_dataset(data, wrong); });
  EXPECT_NE(together.find("'G61-45200'"), std::string::npos) << together;
  EXPECT_NE(together.find("data.split = \"instrument\""), std::string::npos) << together;
}

TEST(Dataset, AllSettingsOfANoteStayTogether) {
  DataConfig c = notes("Distortion", 0);
  Dataset data = load_dataset(c, 16000);
  const std::size_t n = data.pairs.size();
  for (std::size_t i = 0; i < n; ++i) data.pairs.push_back(data.pairs[i]);  // as a second setting would
  const Split split = split_dataset(data, c);
  std::set<std::string> train;
  for (const int i : split.train) train.insert(data.pairs[static_cast<std::size_t>(i)].name);
  for (const int i : split.test) EXPECT_FALSE(train.count(data.pairs[static_cast<std::size_t>(i)].name));
}

TEST(Dataset, LevelCopiesAreForTrainingAndMadeByTheChain) {
  DataConfig config = notes();
  config.chain = "overdrive 20 0";
  config.dry_gain_db = 3.0;
  const Dataset plain = load_dataset(config, 16000);
  config.level_copies = 2;
  const Dataset data = load_dataset(config, 16000);
  ASSERT_EQ(data.pairs.size(), 3 * plain.pairs.size());
  const Split split = split_dataset(data, config);
  expect_twice_as_many_copies(split, split_dataset(plain, config));
  std::set<double> gains;
  double bent = 0.0;
  for (const int i : split.train) {
    const Pair& p = data.pairs[static_cast<std::size_t>(i)];
    if (!p.copy) continue;
    const Pair* original = pair_named(plain, p.name);
    ASSERT_TRUE(original) << p.name;
    const auto at = static_cast<std::size_t>(std::max_element(p.dry.begin(), p.dry.end()) - p.dry.begin());
    const double gain = p.dry[at] / original->dry[at], db = 20.0 * std::log10(gain);
    gains.insert(db);
    EXPECT_LE(std::abs(db), config.level_range_db + 1e-4);
    // Another level is another sound: what the chain makes of the scaled note, not the wet note scaled.
    Recording heard = p.dry.copy();
    for (float& v : heard) v /= std::pow(10.0f, 3.0f / 20.0f);
    const auto wet = apply_chain(config.chain, heard, 16000);
    double worst = 0.0, scaled = 0.0;
    for (std::size_t k = 0; k < p.wet.size(); ++k) {
      worst = std::max(worst, static_cast<double>(std::abs(p.wet[k] - wet[k])));
      scaled = std::max(scaled, std::abs(p.wet[k] - gain * original->wet[k]));
    }
    EXPECT_LT(worst, 1e-5) << p.name;
    bent = std::max(bent, scaled);
  }
  EXPECT_GT(gains.size(), 10u);
  EXPECT_GT(bent, 1e-2);
  for (const auto* part : {&split.validation, &split.test}) {
    for (const int i : *part) EXPECT_FALSE(data.pairs[static_cast<std::size_t>(i)].copy);
  }
  config.chain.clear();
  EXPECT_NE(refusal([&] { load_dataset(config, 16000); }).find("only data.chain can make it anew"), std::string::npos);
}

// Two sines, up to 0.9 of half the rate, against themselves at the later time.
TEST(Dataset, AShiftIsTheSignalBetweenItsSamples) {
  const auto at = [](double t) { return 0.5 * std::sin(0.11 * t + 0.3) + 0.3 * std::sin(0.9 * std::numbers::pi * t); };
  Recording x;
  for (int t = 0; t < 400; ++t) x.push_back(static_cast<float>(at(t)));
  for (const double by : {-1.0, 1.0 / 3.0, 0.5, 0.9}) {
    const Recording y = shifted(x, by);
    ASSERT_EQ(y.size(), x.size());
    for (int t = 40; t < 360; ++t) ASSERT_NEAR(y[static_cast<std::size_t>(t)], at(t - by), 2e-4) << by << " " << t;
  }
  EXPECT_EQ(shifted(x, 0.0), x);
  EXPECT_EQ(shifted(Recording{0.25f}, 0.0), Recording{0.25f});
  EXPECT_TRUE(shifted({}, 0.5).empty());
}

TEST(Dataset, ShiftCopiesAreForTrainingAndShiftBothSides) {
  DataConfig config = notes();
  const Dataset plain = load_dataset(config, 16000);
  config.shift_copies = 2;
  const Dataset data = load_dataset(config, 16000);
  const Split split = split_dataset(data, config);
  expect_twice_as_many_copies(split, split_dataset(plain, config));
  int n_copies = 0;
  for (const int i : split.train) {
    const Pair& p = data.pairs[static_cast<std::size_t>(i)];
    if (!p.copy) continue;
    const Pair* original = pair_named(plain, p.name);
    ASSERT_TRUE(original) << p.name;
    const double by = p.dry == shifted(original->dry, 1.0 / 3.0) ? 1.0 / 3.0 : 2.0 / 3.0;
    EXPECT_TRUE(p.dry == shifted(original->dry, by)) << p.name;
    EXPECT_TRUE(p.wet == shifted(original->wet, by)) << p.name;
    ++n_copies;
  }
  EXPECT_EQ(n_copies, static_cast<int>(2 * split.train.size() / 3));
}

TEST(Shelf, DataSetsOfSeveralEffectsHoldTheirDryNotesOnce) {
  DataConfig overdrive = notes(), chain = notes(), louder = notes();
  overdrive.effect = "Overdrive";
  overdrive.setting = 1;
  chain.chain = "overdrive 20 0";
  louder.dry_gain_db = 6.0;
  Shelf shelf;
  const Dataset a = load_dataset(notes(), 16000, &shelf), b = load_dataset(overdrive, 16000, &shelf),
                c = load_dataset(chain, 16000, &shelf), d = load_dataset(louder, 16000, &shelf),
                again = load_dataset(notes(), 16000, &shelf);
  ASSERT_EQ(a.pairs.size(), c.pairs.size());
  std::map<std::string, const float*> dry;
  for (const Pair& p : a.pairs) dry[p.dry_path.string()] = p.dry.data();
  int n = 0;
  for (const Dataset* data : {&a, &b, &c, &again}) {
    for (const Pair& p : data->pairs) {
      const auto known = dry.find(p.dry_path.string());
      if (known == dry.end()) continue;
      EXPECT_EQ(p.dry.data(), known->second) << p.dry_path;
      ++n;
    }
  }
  EXPECT_GE(n, 3 * static_cast<int>(a.pairs.size()));
  for (std::size_t i = 0; i < a.pairs.size(); ++i) {
    EXPECT_EQ(a.pairs[i].wet.data(), again.pairs[i].wet.data());
    EXPECT_NE(a.pairs[i].wet.data(), c.pairs[i].wet.data());
    EXPECT_NE(a.pairs[i].dry.data(), d.pairs[i].dry.data());  // another signal
  }
  // Whatever is shared, each is what it is alone.
  EXPECT_EQ(content_hash(a), content_hash(load_dataset(notes(), 16000)));
  EXPECT_EQ(content_hash(b), content_hash(load_dataset(overdrive, 16000)));
  EXPECT_EQ(content_hash(c), content_hash(load_dataset(chain, 16000)));
  EXPECT_EQ(content_hash(d), content_hash(load_dataset(louder, 16000)));
  EXPECT_EQ(findings_json(b), findings_json(load_dataset(overdrive, 16000)));
}

TEST(Shelf, ReadsOnceAndPassesErrorsOn) {
  Shelf shelf;
  int read = 0;
  const auto fail = [&]() -> Shelf::Side {
    ++read;
    throw Error("not there");
  };
  const auto work = [&] {
    ++read;
    return Shelf::Side{Recording{1.0f, 2.0f}, {}, {}};
  };
  EXPECT_THROW(shelf.side("a", fail), Error);
  const Shelf::Side first = shelf.side("a", work), second = shelf.side("a", fail);
  EXPECT_EQ(read, 2);
  EXPECT_EQ(first.samples.data(), second.samples.data());
  EXPECT_EQ(second.samples.size(), 2u);
}

TEST(Dataset, HashIsOfContent) {
  DataConfig c = notes();
  Dataset a = load_dataset(c, 16000);
  const std::string hash = content_hash(a);
  EXPECT_EQ(hash, content_hash(load_dataset(c, 16000)));
  a.pairs[3].wet.edit()[1000] += 1e-6f;
  EXPECT_NE(hash, content_hash(a));
}

TEST(Dataset, ErrorsSayWhatIsThere) {
  DataConfig c = notes("Chorus", 1);
  EXPECT_NE(refusal([&] { load_dataset(c, 16000); }).find("Distortion setting 2"), std::string::npos);
  c.path = "no/such/folder";
  EXPECT_NE(refusal([&] { load_dataset(c, 16000); }).find("no/such/folder"), std::string::npos);
  c.path = "";
  EXPECT_NE(refusal([&] { load_dataset(c, 16000); }).find("cafx train DRY WET"), std::string::npos);
}

}  // namespace
}  // namespace cafx
