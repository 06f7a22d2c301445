// Which files are a pair: names as people give them.
#include "tests/datasets/recordings.h"

namespace cafx {
namespace {

struct Names : Recordings {
  Names() {
    config.reader = "folders";
    config.dry = (folder / "dry").string();
    config.wet = (folder / "wet").string();
  }
  void pair(const std::string& dry, const std::string& wet, std::size_t i,
            int format = SF_FORMAT_WAV | SF_FORMAT_PCM_16) {
    write(folder / "dry" / dry, {notes().dry[i]}, kRate, format);
    write(folder / "wet" / wet, {notes().wet[i]}, kRate);
  }
};

TEST_F(Names, AnExactNameWinsAndAPrefixOfSeveralSaysSo) {
  for (int i = 1; i <= 12; ++i)
    pair(fmt::format("{}.wav", i), fmt::format("{}.wav", i), static_cast<std::size_t>(i - 1));
  config.test_notes = {"1", "2"};
  const Dataset data = inspect_dataset(config, kRate);
  const Split split = split_dataset(data, config);
  ASSERT_EQ(split.test.size(), 2u);
  EXPECT_EQ(data.pairs[static_cast<std::size_t>(split.test[0])].name, "1");
  fs::remove(folder / "dry" / "1.wav");
  const Dataset without = inspect_dataset(config, kRate);
  EXPECT_EQ(split_dataset(without, config).test.size(), 4u);  // 10, 11, 12 and 2
  ASSERT_FALSE(of(without, "split").empty());
  EXPECT_NE(of(without, "split")[0].text.find("3 names"), std::string::npos);
}

TEST_F(Names, EqualNamesOfDifferentFiles) {
  pair("a.wav", "a.wav", 0);
  pair("b.wav", "b.wav", 1);
  write(folder / "dry" / "a.flac", {notes().dry[0]}, kRate, SF_FORMAT_FLAC | SF_FORMAT_PCM_16);
  const Dataset same = inspect_dataset(config, kRate);
  ASSERT_EQ(of(same, "names").size(), 1u) << all(same);
  EXPECT_EQ(of(same, "names")[0].severity, Severity::kInfo);
  write(folder / "dry" / "a.flac", {notes().dry[4]}, kRate, SF_FORMAT_FLAC | SF_FORMAT_PCM_16);
  EXPECT_TRUE(refused(inspect_dataset(config, kRate), "names"));
  fs::remove(folder / "dry" / "a.flac");
  // Exact pairs are no question, whatever the case of letters.
  pair("A.wav", "A.wav", 5);
  const Dataset exact = inspect_dataset(config, kRate);
  EXPECT_EQ(exact.pairs.size(), 3u);
  EXPECT_TRUE(of(exact, "names").empty()) << all(exact);
  // Where neither is exact, it is.
  write(folder / "dry" / "Take.wav", {notes().dry[0]}, kRate);
  write(folder / "dry" / "take.wav", {notes().dry[4]}, kRate);
  write(folder / "wet" / "TAKE.wav", {notes().wet[0]}, kRate);
  EXPECT_TRUE(refused(inspect_dataset(config, kRate), "names"));
}

TEST_F(Names, SuffixesAndPatterns) {
  pair("take0_dry.wav", "take0_wet.wav", 0);
  pair("take1_dry.wav", "take1_wet.wav", 1);
  const Dataset data = inspect_dataset(config, kRate);
  EXPECT_EQ(data.pairs.size(), 2u) << all(data);
  EXPECT_FALSE(of(data, "names").empty());
  pair("x1 (in)q.wav", "x1 [out]q.wav", 2);
  EXPECT_EQ(inspect_dataset(config, kRate).pairs.size(), 2u);
  config.dry_pattern = "*(in)q";
  config.wet_pattern = "*[out]q";
  EXPECT_EQ(inspect_dataset(config, kRate).pairs.size(), 1u);
  // Both sides in one folder.
  config.dry_pattern = config.wet_pattern = "";
  for (int i = 0; i < 2; ++i) {
    write(folder / "one" / fmt::format("k{}-input.wav", i), {notes().dry[static_cast<std::size_t>(i)]}, kRate);
    write(folder / "one" / fmt::format("k{}-output.wav", i), {notes().wet[static_cast<std::size_t>(i)]}, kRate);
  }
  config.dry = config.wet = (folder / "one").string();
  EXPECT_EQ(inspect_dataset(config, kRate).pairs.size(), 2u);
  // The two folders the other way round.
  config.dry = (folder / "wet").string();
  config.wet = (folder / "dry").string();
  config.dry_pattern = "take*_wet";
  config.wet_pattern = "take*_dry";
  EXPECT_FALSE(of(inspect_dataset(config, kRate), "swapped").empty());
}

TEST_F(Names, EveryEndingThatCanBeRead) {
  pair("a.aifc", "a.wav", 0, SF_FORMAT_AIFF | SF_FORMAT_FLOAT);
  pair("b.mp3", "b.wav", 1, SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III);
  pair("c.opus", "c.wav", 2, SF_FORMAT_OGG | SF_FORMAT_OPUS);
  const Dataset data = inspect_dataset(config, kRate);
  EXPECT_EQ(data.pairs.size(), 3u) << all(data);
  EXPECT_EQ(of(data, "lossy").size(), 2u) << all(data);
}

TEST_F(Names, BytesThatAreNotUtf8) {
  pair("\xc4nderung.wav", "\xc4nderung.wav", 0);
  pair("b.wav", "b.wav", 1);
  pair("c.wav", "c.wav", 2);
  const Dataset data = load_dataset(config, kRate);
  EXPECT_EQ(data.pairs.size(), 3u);
  EXPECT_TRUE(nlohmann::json::accept(split_json(data, split_dataset(data, config))));
  EXPECT_NO_THROW(data_json(data).dump());
  config.dry = (folder / "\xc4").string();
  try {
    load_dataset(config, kRate);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("is not UTF-8"), std::string::npos) << e.what();
  }
}

TEST_F(Names, AFileCountsOnceHoweverManyLinksLeadToIt) {
  pair("a.wav", "a.wav", 0);
  fs::create_directory_symlink(folder / "dry", folder / "dry" / "again");
  fs::create_directory_symlink(folder / "dry" / "again", folder / "dry" / "and");
  fs::create_symlink(folder / "dry" / "a.wav", folder / "dry" / "0.wav");
  fs::create_hard_link(folder / "dry" / "a.wav", folder / "dry" / "z.wav");
  const auto files = find_audio_files(folder / "dry");
  ASSERT_EQ(files.size(), 1u);
  EXPECT_NE(files[0].filename(), "0.wav") << "a link does not stand before its file";
}

TEST_F(Names, ALinkToAFileThatIsNotThereIsTold) {
  pair("a.wav", "a.wav", 0);
  pair("b.wav", "b.wav", 1);
  EXPECT_TRUE(of(inspect_dataset(config, kRate), "links").empty());
  fs::remove(folder / "wet" / "b.wav");
  fs::create_symlink("/not/there.wav", folder / "wet" / "b.wav");
  const Dataset data = inspect_dataset(config, kRate);
  EXPECT_EQ(data.pairs.size(), 1u);
  ASSERT_EQ(of(data, "links").size(), 1u) << all(data);
  EXPECT_EQ(of(data, "links")[0].severity, Severity::kWarning);
  EXPECT_EQ(of(data, "links")[0].file, (folder / "wet" / "b.wav").string());
  EXPECT_NE(of(data, "links")[0].text.find("a link to '/not/there.wav'"), std::string::npos) << all(data);
  fs::remove(folder / "wet" / "a.wav");
  try {
    inspect_dataset(config, kRate);
    FAIL() << "no wet file is there";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("holds links alone whose files are not there, as "), std::string::npos)
        << e.what();
  }
}

TEST_F(Names, SettingsOfAnEffectAreNotMixed) {
  for (std::size_t i = 0; i < 3; ++i) {
    write(folder / "idmt" / "NoFX" / fmt::format("G61-4{}100-1111-{:05d}.wav", i, i), {notes().dry[i]}, kRate);
    for (int s = 1; s <= 2; ++s) {
      write(folder / "idmt" / "Distortion" / fmt::format("G61-4{}100-441{}-{:05d}.wav", i, s, 10 * s + int(i)),
            {times(s, notes().wet[i])}, kRate);
    }
  }
  DataConfig idmt;
  idmt.path = (folder / "idmt").string();
  const Dataset mixed = inspect_dataset(idmt, kRate);
  ASSERT_TRUE(refused(mixed, "settings")) << all(mixed);
  EXPECT_NE(of(mixed, "settings")[0].text.find("1 (3 notes), 2 (3 notes)"), std::string::npos);
  idmt.setting = 2;
  EXPECT_FALSE(refused(inspect_dataset(idmt, kRate), "settings"));
}

TEST_F(Names, WetRecordingsBesideAChainAreRefused) {
  pair("a.wav", "a.wav", 0);
  config.chain = "overdrive 20";
  for (const bool one : {false, true}) {
    if (one) {
      config.reader = "files";
      config.dry = (folder / "dry" / "a.wav").string();
      config.wet = (folder / "wet" / "a.wav").string();
    }
    try {
      inspect_dataset(config, kRate);
      FAIL() << "the wet recordings were ignored";
    } catch (const Error& e) {
      for (const std::string& said : {config.wet, std::string("overdrive 20"), std::string("leave one of them out")})
        EXPECT_NE(std::string(e.what()).find(said), std::string::npos) << e.what();
    }
  }
  config.wet.clear();
  EXPECT_NO_THROW(inspect_dataset(config, kRate));
}

}  // namespace
}  // namespace cafx
