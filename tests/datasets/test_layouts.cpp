// Data sets as researchers have them on disk: names with placeholders, and each layout on a small tree made here.
#include <set>

#include "datasets/readers/naming.h"
#include "datasets/repair/sync.h"
#include "tests/datasets/recordings.h"

namespace cafx {
namespace {

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(NamePattern, TellsWhatStandsInAName) {
  const NamePattern p("{device}/gain{knob:gain}/{split}-{note}", "p");
  const auto parts = p.match("somewhere/else/Muff/GAIN-1.5/valid-a_b-c.wav");
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->names.at("device"), "Muff");
  EXPECT_EQ(parts->names.at("note"), "a_b-c");
  EXPECT_EQ(parts->split, "valid");
  ASSERT_EQ(parts->knobs.size(), 1u);
  EXPECT_EQ(parts->knobs[0].number, -1.5);
  EXPECT_FALSE(p.match("gain1/train-a.wav")) << "a folder is missing";
  EXPECT_FALSE(p.match("Muff/gain1/a.wav"));
  EXPECT_FALSE(NamePattern("a{note}.wav", "p").match("ab.flac"));
  EXPECT_TRUE(NamePattern("a{note}.wav", "p").match("ab.WAV"));
  EXPECT_TRUE(NamePattern("a{note}", "p").match("ab.flac"));
}

TEST(NamePattern, KnobsAreNumbersWhereTheyCanBeElseWords) {
  const auto knob = [](const std::string& pattern, const std::string& name) {
    return NamePattern(pattern, "p").match(name)->knobs;
  };
  EXPECT_EQ(knob("{knob:gain}-{note}", "10-5.wav")[0].number, 10.0);
  EXPECT_EQ(knob("{knob:gain/100}_{note}", "025_a.wav")[0].number, 0.25);
  EXPECT_EQ(knob("{note}_{knob:mode}", "a_bright.wav")[0].text, "bright");
  EXPECT_FALSE(knob("{note}_{knob:mode}", "a_bright.wav")[0].is_number());
  const auto list = knob("{knobs/100}.{note}", "C030_R100_MNormal..bass.wav");
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].name + list[0].show(), "C0.3");
  EXPECT_EQ(list[1].name + list[1].show(), "R1");
  EXPECT_EQ(list[2].name + list[2].show(), "MNormal");
  EXPECT_EQ(NamePattern("{knobs}.{note}", "p").match("C030..bass.wav")->names.at("note"), "bass");
}

TEST(NamePattern, WhatIsNoneIsRefused) {
  for (const auto& [text, reason] :
       std::vector<std::pair<std::string, std::string>>{{"", "is empty"},
                                                        {"{note", "no } behind"},
                                                        {"note}", "no { before"},
                                                        {"{no te}", "a name of letters"},
                                                        {"{note}{take}", "side by side"},
                                                        {"{note}-{note}", "twice"},
                                                        {"{knob:}", "expected a name"},
                                                        {"{knob:a/0}", "above 0"},
                                                        {"{note/3}", "only knobs"},
                                                        {"{side:a}", "a word for each side"},
                                                        {"{what:a}", "expected {knob:NAME}"},
                                                        {"{knobs}-{knobs}", "once"},
                                                        {"/{note}", "begins or ends"}}) {
    const std::string said = error_of([&, &text = text] { NamePattern(text, "data.pattern"); });
    EXPECT_NE(said.find(reason), std::string::npos) << text << ": " << said;
  }
  const NamePattern many("{a}a{b}a{c}a{d}a{e}a{f}a{g}a{h}b", "data.pattern");
  const std::string said = error_of([&] { many.match(std::string(200, 'a')); });
  EXPECT_NE(said.find("too many readings"), std::string::npos) << said;
  EXPECT_NE(error_of([] { Naming("{note}", "wet", "", "dry"); }).find("tells no dry files"), std::string::npos);
  EXPECT_NE(error_of([] { Naming("{note}", "wet", "{take}", "dry"); }).find("{take} is not in wet"), std::string::npos);
}

struct Trees : Recordings {
  void put(const std::string& name, const Signal& x, int rate = kRate) { write(folder / name, {x}, rate); }
  // The note, as dry and wet.
  void note(std::size_t i, const std::string& dry, const std::string& wet, double gain = 1.0) {
    put(dry, notes().dry[i]);
    put(wet, times(gain, notes().wet[i]));
  }
  Dataset look(const std::string& reader) {
    config = DataConfig();
    config.reader = reader;
    config.path = folder.path().string();
    return inspect_dataset(config, kRate);
  }
  void take_pattern(const std::string& pattern, const std::string& dry_pattern) {
    config = DataConfig();
    config.reader = "pattern";
    config.path = folder.path().string();
    config.pattern = pattern;
    config.dry_pattern = dry_pattern;
  }
  std::string only_reader() const {
    const auto found = recognise(folder.path());
    return found.size() == 1 ? found[0].reader : fmt::format("{} readings", found.size());
  }
};

std::vector<std::string> names_of(const Dataset& data, const std::vector<int>& part) {
  std::vector<std::string> names;
  for (const int i : part) names.push_back(data.pairs[static_cast<std::size_t>(i)].name);
  return names;
}

TEST_F(Trees, APatternPairsCarriesKnobsAndDoesNotMixSettings) {
  for (std::size_t i = 0; i < 4; ++i) {
    for (const char* gain : {"2", "10"}) {
      note(i, fmt::format("dry/n{}.wav", i), fmt::format("Muff/gain{}/n{}.wav", gain, i));
    }
  }
  put("dry/lonely.wav", notes().dry[5]);
  put("readme/x.wav", notes().dry[5]);
  take_pattern("{device}/gain{knob:gain}/{note}", "dry/{note}");
  const Dataset mixed = inspect_dataset(config, kRate);
  EXPECT_EQ(mixed.pairs.size(), 8u);
  ASSERT_TRUE(refused(mixed, "settings")) << all(mixed);
  EXPECT_NE(of(mixed, "settings")[0].text.find("gain has 2 values: 10 (4 pairs), 2 (4 pairs)"), std::string::npos)
      << all(mixed);
  EXPECT_EQ(mixed.unpaired.size(), 2u);
  ASSERT_EQ(knob_ranges(mixed).size(), 1u);
  EXPECT_EQ(knob_ranges(mixed)[0].lo, 2.0);
  EXPECT_EQ(knob_ranges(mixed)[0].hi, 10.0);
  config.select = {"gain=10.0"};
  const Dataset data = inspect_dataset(config, kRate);
  EXPECT_FALSE(refused(data)) << all(data);
  ASSERT_EQ(data.pairs.size(), 4u);
  EXPECT_EQ(data.pairs[0].name, "n0");
  EXPECT_EQ(data.pairs[0].knobs.at(0).number, 10.0);
  EXPECT_EQ(data.pairs[0].wet_path, folder / "Muff/gain10/n0.wav");
  EXPECT_EQ(nlohmann::json::parse(split_json(data, split_dataset(data, config)))["train"][0]["knobs"]["gain"], 10.0);
  EXPECT_EQ(data_json(data)["knobs"][0]["max"], 10.0);
  config.select = {"gian=10"};
  EXPECT_NE(error_of([&] { inspect_dataset(config, kRate); }).find("did you mean 'gain'"), std::string::npos);
  config.select = {"gain=7"};
  EXPECT_NE(error_of([&] { inspect_dataset(config, kRate); }).find("there are: 10, 2"), std::string::npos);
  config.select = {"gain"};
  EXPECT_NE(error_of([&] { inspect_dataset(config, kRate); }).find("expected NAME=VALUE"), std::string::npos);
  config.select.clear();
  config.pattern = "{device}/nothing/{note}";
  EXPECT_NE(error_of([&] { inspect_dataset(config, kRate); }).find("holds no pair"), std::string::npos);
}

TEST_F(Trees, KnobsThatAModelLearnsAreNoMixture) {
  for (std::size_t i = 0; i < 3; ++i) {
    put(fmt::format("dry/n{}.wav", i), notes().dry[i]);
    for (const int gain : {0, 2, 5, 8, 10}) {
      put(fmt::format("Muff/{}-{}/n{}.wav", gain, gain > 5 ? "on" : "off", i),
          times(0.1 + 0.08 * gain, notes().wet[i]));
    }
  }
  take_pattern("{device}/{knob:gain}-{knob:bright}/{note}", "dry/{note}");
  config.knobs = {"gain: 0..10"};
  const Dataset mixed = inspect_dataset(config, kRate);
  ASSERT_EQ(of(mixed, "settings").size(), 1u) << all(mixed);
  EXPECT_NE(of(mixed, "settings")[0].text.find("bright has 2 values"), std::string::npos);
  EXPECT_NE(of(mixed, "settings")[0].cure.find("--set 'data.knobs=[\"gain: 0..10\",\"bright: off|on\"]'"),
            std::string::npos)
      << all(mixed);
  config.knobs = {"gain: 0..10", "bright: off|on"};
  const Dataset data = load_dataset(config, kRate);
  ASSERT_EQ(data.pairs.size(), 15u);
  for (const Pair& p : data.pairs) {
    ASSERT_EQ(p.controls.size(), 2u);
    EXPECT_EQ(p.controls[0], static_cast<float>(2.0 * p.knobs[0].number / 10.0 - 1.0));
    EXPECT_EQ(p.controls[1], p.knobs[1].text == "on" ? 1.0f : -1.0f);
  }
  // By note every position of it is on one side; by knobs every note of a position.
  for (const char* by : {"note", "knobs"}) {
    config.split = by;
    const Dataset of_split = load_dataset(config, kRate);
    const Split split = split_dataset(of_split, config);
    EXPECT_EQ(split.validation.size(), by[0] == 'n' ? 5u : 3u) << by;
    std::set<std::string> trained;
    const auto unit = [&](int i) {
      const Pair& p = of_split.pairs[static_cast<std::size_t>(i)];
      return by[0] == 'n' ? p.name : p.knobs[0].show();
    };
    for (const int i : split.train) trained.insert(unit(i));
    const bool by_note = by[0] == 'n';
    EXPECT_TRUE(by_note || (trained.count("0") && trained.count("10"))) << "the knob's ends";
    for (const int i : split.validation) EXPECT_FALSE(trained.count(unit(i))) << unit(i);
    for (const int i : split.test) EXPECT_FALSE(trained.count(unit(i))) << unit(i);
    EXPECT_TRUE(judge_split(of_split, split).validation.empty()) << judge_split(of_split, split).validation;
  }
  for (const auto& [knobs, said] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"gain: 0..9", "bright: off|on"}, "gain = 10 is out of its range, 0 to 9"},
           {{"gain: 0..10", "bright: no|on"}, "bright = off is out of its range, no or on"},
           {{"tone: 0..10"}, "finds no position of the knob tone there; it finds gain, bright"},
           {{"gain 0..10"}, "data.knobs: \"gain 0..10\": has no name before a colon"},
           {{}, "name them by data.knobs"}}) {
    config.knobs = knobs;
    const std::string e = error_of([&] { inspect_dataset(config, kRate); });
    EXPECT_NE(e.find(said), std::string::npos) << said << ": " << e;
  }
}

// Names as people give them: positions with their unit are numbers, so a knob has a range and not steps alone.
TEST_F(Trees, PositionsWithUnitsAreNumbers) {
  const std::vector<std::string> gains = {"-10dB", "-7,5dB", "-5dB", "-2,5dB", "+0 dB"};
  for (std::size_t i = 0; i < 3; ++i) {
    put(fmt::format("dry/n{}.wav", i), notes().dry[i]);
    for (std::size_t k = 0; k < gains.size(); ++k)
      put(fmt::format("{}/n{}.wav", gains[k], i), times(0.1 + 0.1 * static_cast<double>(k), notes().wet[i]));
  }
  take_pattern("{knob:gain}/{note}", "dry/{note}");
  const Dataset mixed = inspect_dataset(config, kRate);
  ASSERT_EQ(of(mixed, "settings").size(), 1u) << all(mixed);
  EXPECT_NE(of(mixed, "settings")[0].cure.find("--set 'data.knobs=gain: -10..0 dB'"), std::string::npos) << all(mixed);
  ASSERT_EQ(knob_ranges(mixed).size(), 1u);
  EXPECT_EQ(knob_ranges(mixed)[0].text(), "gain: -10 to 0 dB, 5 positions");
  config.knobs = {"gain: -10..0 dB"};
  config.split = "knobs";
  for (config.seed = 0; config.seed < 8; ++config.seed) {
    const Dataset data = load_dataset(config, kRate);
    const Split split = split_dataset(data, config);
    EXPECT_FALSE(split.validation.empty() || split.test.empty());
    for (const auto* part : {&split.validation, &split.test}) {
      for (const int i : *part) EXPECT_LT(std::abs(data.pairs[static_cast<std::size_t>(i)].controls[0]), 0.9f);
    }
    EXPECT_TRUE(of(data, "positions").empty()) << all(data);
  }
}

TEST_F(Trees, EverySettingIsToldTheDeviceFirst) {
  for (const char* device : {"Amp", "Muff"}) {
    for (const char* knobs : {"A010_B010_C010_D010", "A090_B090_C090_D090"})
      note(0, "dry/n.wav", fmt::format("{}/{}/n.wav", device, knobs));
  }
  take_pattern("{device}/{knobs/100}/{note}", "dry/{note}");
  const Dataset data = inspect_dataset(config, kRate);
  const auto found = of(data, "settings");
  ASSERT_EQ(found.size(), 5u) << all(data);
  EXPECT_EQ(found[0].text.rfind("device has 2 values", 0), 0u) << all(data);
  const std::string text = format_findings(found);
  EXPECT_NE(text.find("D has 2 values"), std::string::npos) << text;
  EXPECT_EQ(text.find("files alike"), std::string::npos) << text;
}

TEST_F(Trees, FoldersBesideADryOneAreReadByAPattern) {
  const auto said = [&](const std::vector<std::string>& folders) {
    fs::remove_all(folder.path());
    for (const std::string& name : folders) put(name + "/n.wav", notes().dry[0]);
    config = DataConfig();
    config.path = folder.path().string();
    return error_of([&] { inspect_dataset(config, kRate); });
  };
  const std::string dry = " --set 'data.dry_pattern=Dry/{note}'";
  for (const auto& [folders, pattern] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"Dry", "gain 0", "gain 2,5", "gain 10"}, "gain {knob:gain}/{note}"},
           {{"Dry", "gain-0", "gain-5"}, "gain-{knob:gain}/{note}"},
           {{"Dry", "-5dB", "0dB", "5dB"}, "{knob:gain}db/{note}"},
           {{"Dry", "Muff", "Rat2"}, "{device}/{note}"}}) {
    const std::string e = said(folders);
    const std::string command =
        fmt::format("cafx train {} --set 'data.pattern={}'{}", folder.path().string(), pattern, dry);
    EXPECT_NE(e.find(command), std::string::npos) << command << ": " << e;
    config.reader = "pattern";
    config.pattern = pattern;
    config.dry_pattern = "Dry/{note}";
    config.allow = {"settings", "identical", "positions", "leak"};
    EXPECT_EQ(inspect_dataset(config, kRate).pairs.size(), folders.size() - 1) << "as it is told";
  }
  EXPECT_EQ(said({"Muff", "Rat", "Amp"}).find("cafx train"), std::string::npos) << "none is called dry";
}

TEST_F(Trees, PyNeuralFx) {
  for (const char* part : {"train", "valid", "test"}) {
    for (const int d : {0, 50, 100}) {
      put(fmt::format("{}/x/x_d{}_t0.wav", part, d), notes().dry[static_cast<std::size_t>(d / 50)]);
      put(fmt::format("{}/y/y_d{}_t0.wav", part, d), notes().wet[static_cast<std::size_t>(d / 50)]);
    }
  }
  EXPECT_EQ(only_reader(), "pyneuralfx");
  const Dataset data = look("pyneuralfx");
  ASSERT_FALSE(data.pairs.empty()) << all(data);
  for (const Pair& p : data.pairs) {
    const std::string dry = p.dry_path.stem().string(), wet = p.wet_path.stem().string();
    EXPECT_EQ(dry.substr(2), wet.substr(2)) << "each position has a dry file of its own";
    ASSERT_EQ(p.knobs.size(), 2u);
    EXPECT_EQ(fmt::format("d{}_t{}", p.knobs[0].show(), p.knobs[1].show()), wet.substr(2));
  }
  EXPECT_NE(error_of([] { Naming("{note}", "wet", "{knob:a}-{note}", "dry"); }).find("{knob:a} is not in wet"),
            std::string::npos);
}

// Notes at these positions, "gain-bright", as a table of their folder has them.
struct Positions : Trees {
  void notes_at(const std::vector<std::string>& positions) {
    take_pattern("at/{knob:gain}-{knob:bright}/{note}", "dry/{note}");
    config.knobs = {"gain: 0..10 dB", "bright: off|on"};
    for (std::size_t i = 0; i < 4; ++i) {
      put(fmt::format("dry/n{}.wav", i), notes().dry[i]);
      for (std::size_t k = 0; k < positions.size(); ++k) {
        put(fmt::format("at/{}/n{}.wav", positions[k], i), times(0.2 + 0.1 * static_cast<double>(k), notes().wet[i]));
      }
    }
  }
  // Severity, knob, text and cause of each finding.
  std::string told() const {
    std::string text;
    for (const Finding& f : of(inspect_dataset(config, kRate), "positions"))
      text += fmt::format("{} {}: {} | {} | {}\n", to_string(f.severity), f.file, f.text, f.cause, f.cure);
    return text;
  }
  bool says(const std::string& text) const { return told().find(text) != std::string::npos; }
};

TEST_F(Positions, OfTrainingAreAllThatAModelIsAskedFor) {
  notes_at({"0-off", "10-on", "5-off"});
  EXPECT_EQ(told(), "");
  config.knobs[0] = "gain: -5..15 dB";
  EXPECT_EQ(told(), "") << "half of what was recorded beyond each end";
  config.knobs[0] = "gain: -5.1..10 dB";
  EXPECT_TRUE(
      says("warning the knob gain: has the range -5.1 to 10 dB, and training has recordings from 0 dB to 10 dB"))
      << told();
  EXPECT_TRUE(says("as 'gain: 0..10 dB'")) << told();
  config.knobs[0] = "gain: 0..1000 dB";
  EXPECT_TRUE(says("warning the knob gain: has the range 0 to 1000 dB")) << told();
  config.knobs = {"gain: 0..10", "bright: off|on|half"};
  EXPECT_TRUE(says("warning the knob bright: has no recording in training at half")) << told();
}

TEST_F(Positions, OfWhichTrainingHasOneAloneAreRefused) {
  notes_at({"2-off", "5-off", "8-off"});
  EXPECT_TRUE(says("refused the knob bright: stands at off in every recording of training")) << told();
  EXPECT_TRUE(says("it was recorded at no other position")) << told();
  EXPECT_FALSE(says("the knob gain")) << told();
  EXPECT_THROW(load_dataset(config, kRate), Error);
  config.allow = {"positions"};
  EXPECT_NO_THROW(load_dataset(config, kRate));
  config.split = "knobs";
  EXPECT_TRUE(says("3 positions were recorded (2 dB, 5 dB, 8 dB), and data.split = \"knobs\" keeps")) << told();
  EXPECT_TRUE(says("record four positions and more")) << told();
  config.split = "note";
  config.select = {"gain=8"};
  EXPECT_TRUE(says("refused the knob gain: stands at 8 dB")) << told();
  EXPECT_TRUE(says("data.select chose gain = 8 dB")) << told();
}

TEST_F(Positions, AtTheEndsAreKeptForTrainingWhereFourAreThere) {
  notes_at({"2-off", "4-on", "6-off", "8-on"});
  config.knobs = {"gain: 2..8", "bright: off|on"};
  config.split = "knobs";
  EXPECT_EQ(told(), "");
  config.test = 0.5;
  EXPECT_TRUE(says("positions were recorded") || says("was recorded from 2 to 8, and training has")) << told();
  EXPECT_TRUE(says("data.split = \"knobs\"")) << told();
}

TEST_F(Trees, OneDryFileForEveryPositionOfAKnob) {
  put("input.wav", notes().dry[0]);
  put("drive 0.5.wav", notes().wet[0]);
  put("drive 1.wav", times(0.5, notes().wet[0]));
  take_pattern("drive {knob:drive}", "input");
  const Dataset data = inspect_dataset(config, kRate);
  ASSERT_EQ(data.pairs.size(), 2u);
  EXPECT_EQ(data.pairs[0].dry_path, data.pairs[1].dry_path);
  EXPECT_EQ(data.pairs[0].name, data.pairs[1].name) << "one note stays on one side of a split";
  EXPECT_EQ(data.pairs[0].knobs[0].number, 0.5);
  // A longer one is cut, so that parts of it are left to validate and test by.
  Signal dry, wet;
  for (int i = 0; i < 8; ++i) {
    dry.insert(dry.end(), notes().dry[0].begin(), notes().dry[0].end());
    wet.insert(wet.end(), notes().wet[0].begin(), notes().wet[0].end());
  }
  ASSERT_GT(dry.size(), 6u * kRate);
  put("input.wav", dry);
  put("drive 0.5.wav", wet);
  put("drive 1.wav", times(0.5, wet));
  config.knobs = {"drive: 0..1"};
  const Dataset pieces = inspect_dataset(config, kRate);
  const Split split = split_dataset(pieces, config);
  EXPECT_FALSE(split.validation.empty() || split.test.empty()) << pieces.pairs.size();
}

TEST_F(Trees, Egdb) {
  for (std::size_t i = 0; i < 4; ++i) {
    const std::string name = fmt::format("/{}.wav", i + 1);
    note(i, "audio_DI" + name, "audio_Mesa" + name);
    put("audio_Plexi" + name, times(0.3, notes().wet[i]));
  }
  EXPECT_EQ(only_reader(), "egdb");
  const Dataset mixed = look("egdb");
  ASSERT_TRUE(refused(mixed, "settings"));
  EXPECT_EQ(of(mixed, "settings")[0].cure, "choose one, as --set data.select=device=Mesa")
      << "a device is no knob here";
  config.select = {"device=mesa"};
  const Dataset data = inspect_dataset(config, kRate);
  EXPECT_FALSE(refused(data)) << all(data);
  ASSERT_EQ(data.pairs.size(), 4u);
  EXPECT_EQ(data.pairs[2].name, "3");
  EXPECT_EQ(data.pairs[2].wet_path, folder / "audio_Mesa/3.wav");
  ASSERT_EQ(of(data, "layout").size(), 1u);
  EXPECT_NE(of(data, "layout")[0].text.find("is read as egdb"), std::string::npos);
}

TEST_F(Trees, Egfxset) {
  for (std::size_t i = 0; i < 3; ++i) {
    for (const char* pickup : {"Bridge", "Neck"}) {
      const std::size_t k = i + (pickup[0] == 'N' ? 3 : 0);
      const std::string name = fmt::format("/{}/{}-{}.wav", pickup, i + 1, i);
      note(k, "Clean" + name, "RAT" + name);
    }
  }
  std::ofstream(folder / "egfxset_metadata.csv") << "track_id,average_pitch\n";
  EXPECT_EQ(only_reader(), "egfxset");
  const Dataset data = look("egfxset");
  EXPECT_FALSE(refused(data)) << all(data);
  ASSERT_EQ(data.pairs.size(), 6u);
  EXPECT_EQ(data.pairs[0].name, "Bridge/1/0");
  EXPECT_EQ(data.pairs[0].dry_path, folder / "Clean/Bridge/1-0.wav");
  EXPECT_EQ(data.pairs[5].name, "Neck/3/2");
  EXPECT_EQ(data.pairs[5].wet_path, folder / "RAT/Neck/3-2.wav");
}

TEST_F(Trees, CoreaudiomlKeepsItsParts) {
  std::size_t i = 0;
  for (const char* part : {"train", "val", "test"}) {
    note(i, fmt::format("{}/ht1-input.wav", part), fmt::format("{}/ht1-target.wav", part));
    ++i;
  }
  EXPECT_EQ(only_reader(), "coreaudioml");
  const Dataset data = look("coreaudioml");
  EXPECT_FALSE(refused(data)) << all(data);
  const Split split = split_dataset(data, config);
  EXPECT_EQ(names_of(data, split.train), std::vector<std::string>{"train/ht1@0.000"});
  EXPECT_EQ(names_of(data, split.validation), std::vector<std::string>{"val/ht1@0.000"});
  EXPECT_EQ(names_of(data, split.test), std::vector<std::string>{"test/ht1@0.000"});
  EXPECT_NE(of(data, "split").at(0).text.find("1 for training, 1 for validation, 1 for the test"), std::string::npos);
  // Lists in the config go before the data set's own parts.
  config.test_notes = {"train/ht1"};
  EXPECT_EQ(names_of(data, split_dataset(data, config).test), std::vector<std::string>{"train/ht1@0.000"});
  config.test_notes.clear();
  config.given_split = false;
  config.seed = 3;
  const Split drawn = split_dataset(data, config);
  EXPECT_EQ(drawn.train.size() + drawn.validation.size() + drawn.test.size(), 3u);
  note(4, "train/muff-input.wav", "train/muff-target.wav");
  EXPECT_TRUE(refused(look("coreaudioml"), "settings"));
}

TEST_F(Trees, SignaltrainHasTwoKnobsAndAWarningOfItsFirstVersion) {
  std::size_t i = 0;
  for (const char* part : {"Train", "Train", "Train", "Val", "Test"}) {
    ++i;
    note(i, fmt::format("{}/input_{}_.wav", part, 130 + i),
         fmt::format("{}/target_{}_LA2A_3c__1__{}.wav", part, 130 + i, i < 3 ? 45 : 100));
  }
  std::ofstream(folder / "effect_info.ini") << "[effect]\n";
  EXPECT_EQ(only_reader(), "signaltrain");
  const Dataset data = look("signaltrain");
  EXPECT_TRUE(refused(data, "settings")) << "two positions of a knob";
  EXPECT_EQ(of(data, "version").size(), 1u);
  const auto knobs = knob_ranges(data);
  ASSERT_EQ(knobs.size(), 2u);
  EXPECT_EQ(knobs[0].text(), "switch: 1 to 1, 1 position");
  EXPECT_EQ(knobs[1].text(), "peak_reduction: 45 to 100, 2 positions");
  const Split split = split_dataset(data, config);
  EXPECT_EQ(names_of(data, split.validation), std::vector<std::string>{"Val/134@0.000"});
  EXPECT_EQ(names_of(data, split.test), std::vector<std::string>{"Test/135@0.000"});
  config.select = {"peak_reduction=45"};
  const Dataset one = inspect_dataset(config, kRate);
  EXPECT_FALSE(refused(one, "settings")) << all(one);
  for (const Pair& p : one.pairs) EXPECT_EQ(p.knobs.at(1).number, 45.0) << p.name;
  const fs::path renamed = folder / "SignalTrain_LA2A_Dataset_1.1";
  fs::create_directory(renamed);
  for (const char* part : {"Train", "Val", "Test"}) fs::rename(folder / part, renamed / part);
  config.select.clear();
  config.path = renamed.string();
  EXPECT_TRUE(of(inspect_dataset(config, kRate), "version").empty());
}

// Music between two impulses in front and one behind, as ToneTwist has it.
Signal with_impulses(const Signal& music, double level) {
  Signal before(2 * kFileRate, 0.0f), after(kFileRate, 0.0f);
  for (const double at : {0.5, 1.5}) before[static_cast<std::size_t>(at * kFileRate)] = static_cast<float>(level);
  after[kFileRate / 2] = static_cast<float>(level);
  return joined({before, music, after});
}

TEST_F(Trees, TonetwistWithoutItsImpulses) {
  const auto put_pair = [&](const std::string& part, const std::string& note, const std::string& wet, double from,
                            double to) {
    put("DRY-with-markers/" + part + "/" + note + ".input.wav", with_impulses(cut(notes().long_dry, from, to), 0.9),
        kFileRate);
    put("Ampeg-OptoComp/" + part + "/C030_R050_MNormal/" + wet + ".target.wav",
        late(with_impulses(cut(notes().long_wet, from, to), 0.4), 60), kFileRate);
  };
  put_pair("trainval", "guitar", "C030_R050_M000..guitar", 0.0, 7.0);
  put_pair("test", "bass", "C030_R050_M000.bass", 7.0, 11.0);
  EXPECT_EQ(only_reader(), "tonetwist");
  const Dataset data = look("tonetwist");
  EXPECT_FALSE(refused(data)) << all(data);
  EXPECT_EQ(of(data, "sync").size(), 2u) << all(data);
  EXPECT_NE(of(data, "sync")[0].text.find("2 sync impulses before and 1 after"), std::string::npos) << all(data);
  const Split split = split_dataset(data, config);
  for (const std::string& name : names_of(data, split.test)) EXPECT_EQ(name.rfind("test/bass", 0), 0u) << name;
  EXPECT_FALSE(split.test.empty());
  EXPECT_FALSE(split.validation.empty()) << "drawn from training";
  for (const std::string& name : names_of(data, split.train)) EXPECT_EQ(name.rfind("trainval/guitar", 0), 0u) << name;
  ASSERT_EQ(data.pairs[0].knobs.size(), 3u);
  EXPECT_EQ(data.pairs[0].knobs[1].name + data.pairs[0].knobs[1].show(), "R0.5");
  // What is left is the music, the silence between it and the impulses, and no impulse; wet lies on dry.
  const Signal dry = whole(data, false), wet = whole(data, true);
  EXPECT_NEAR(static_cast<double>(dry.size()) / kRate, 11.0 + 2 * (0.44 + 0.44), 0.05);
  const Signal expected = resample(cut(notes().long_wet, 7.0, 11.0), kFileRate, kRate);
  Signal bass;
  for (const int i : split.test) {
    const Pair& piece = data.pairs[static_cast<std::size_t>(i)];
    bass.insert(bass.end(), piece.wet.begin(), piece.wet.end());
  }
  const auto start = static_cast<long>(0.44 * kRate);
  double best = 0.0;
  for (long lag = -40; lag <= 40; ++lag) {
    best = std::max(best, correlation({bass.begin() + start + lag, bass.end()}, expected));
  }
  EXPECT_GT(best, 0.99);
  const double loudest = static_cast<double>(*std::max_element(dry.begin(), dry.end()));
  EXPECT_NEAR(loudest, static_cast<double>(*std::max_element(notes().long_dry.begin(), notes().long_dry.end())), 0.05);
}

TEST(SyncImpulses, AreSingleAndStandAlone) {
  Signal x(3 * kRate, 0.0f);
  const Signal burst = noise(kRate, 0.3);
  std::copy(burst.begin(), burst.end(), x.begin() + kRate);
  EXPECT_EQ(find_sync_impulses(x, kRate).before, 0);
  x[kRate / 2] = 0.8f;
  const SyncImpulses one = find_sync_impulses(x, kRate);
  EXPECT_EQ(one.before, 1);
  EXPECT_EQ(one.after, 0);
  EXPECT_GT(one.begin, static_cast<std::size_t>(kRate / 2));
  EXPECT_LE(one.begin, static_cast<std::size_t>(kRate));
  EXPECT_EQ(one.end, x.size());
  x[2 * kRate + 100] = 0.8f;  // within 50 ms of the music: part of it
  EXPECT_EQ(find_sync_impulses(x, kRate).after, 0);
  EXPECT_EQ(find_sync_impulses(Signal(1000, 0.0f), kRate).before, 0);
  EXPECT_EQ(find_sync_impulses({}, kRate).end, 0u);
}

TEST_F(Trees, WhatAFolderIsAndWhatItCouldBe) {
  EXPECT_EQ(only_reader(), "0 readings");
  note(0, "audio_DI/1.wav", "audio_Mesa/1.wav");
  EXPECT_EQ(only_reader(), "egdb");
  note(1, "train/x-input.wav", "train/x-target.wav");
  note(2, "test/x-input.wav", "test/x-target.wav");
  const auto found = recognise(folder.path());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].reader, "coreaudioml");
  EXPECT_EQ(found[0].pairs, 2u);
  EXPECT_EQ(found[1].reader, "egdb");
  fs::create_directory(folder / "two");
  note(0, "two/dry/1.wav", "two/wet/1.wav");
  const auto two = recognise(folder / "two");
  ASSERT_EQ(two.size(), 1u);
  EXPECT_EQ(two[0].reader, "folders");
  EXPECT_EQ(two[0].wet, (folder / "two/wet").string());
  EXPECT_EQ(recognise(CAFX_NOTES_DIR).at(0).reader, "idmt");
}

// What is said of a folder with these folders in it, of equal names, behind "dry first".
struct TwoFolders : Recordings {
  std::string advice(const std::vector<std::string>& files) {
    const fs::path top = folder / "top";
    fs::remove_all(top);
    for (const std::string& file : files) {
      fs::create_directories((top / file).parent_path());
      std::ofstream((top / file).string()) << "x";
    }
    config = DataConfig();
    config.path = top.string();
    try {
      inspect_dataset(config, kRate);
    } catch (const Error& e) {
      std::string text = e.what();
      const std::string from = "dry first", to = ", or name the files";
      const std::size_t begin = text.find(from), end = text.find(to);
      if (begin == std::string::npos || end == std::string::npos) return "nothing";
      text = text.substr(begin + from.size(), end - begin - from.size());
      for (std::size_t at = 0; (at = text.find(top.string() + "/")) != std::string::npos;)
        text.erase(at, top.string().size() + 1);
      return text;
    }
    return "no error";
  }
};

TEST_F(TwoFolders, AreSaidInTheOrderThatTheirNamesTell) {
  for (const auto& [dry, wet] : std::vector<std::pair<std::string, std::string>>{{"Clean", "Boosted"},
                                                                                 {"raw", "fx"},
                                                                                 {"x", "target"},
                                                                                 {"DI", "Amp"},
                                                                                 {"my_dry", "Muff"},
                                                                                 {"Muff", "A_wet"}}) {
    EXPECT_EQ(advice({dry + "/1.wav", wet + "/1.wav"}), ", as 'cafx train " + dry + " " + wet + "'");
  }
  EXPECT_EQ(advice({"b/take_in.wav", "a/take_out.wav"}), ", as 'cafx train b a'") << "files tell";
  EXPECT_EQ(advice({"DRY-with-markers/trainval/guitar.input.wav", "Boss/trainval/guitar.target.wav"}),
            ", as 'cafx train DRY-with-markers/trainval Boss/trainval'");
  EXPECT_EQ(advice({"DRY-with-markers/trainval/g.input.wav", "Boss/trainval/g.target.wav",
                    "DRY-with-markers/test/g.input.wav", "Boss/test/g.target.wav"}),
            ", as 'cafx train DRY-with-markers Boss'");
  EXPECT_EQ(advice({"raw/1.wav", "Big Muff/1.wav"}), ", as 'cafx train raw 'Big Muff''") << "for a shell";
}

TEST_F(TwoFolders, WhereNothingTellsBothOrdersAreSaid) {
  EXPECT_EQ(advice({"one/1.wav", "two/1.wav"}),
            ": 'cafx train one two' where 'one' is dry, 'cafx train two one' where 'two' is");
  EXPECT_EQ(advice({"clean amp/1.wav", "two/1.wav"}).substr(0, 1), ":") << "both words tell nothing";
  EXPECT_EQ(advice({"a/1.wav", "b/1.wav", "c/1.wav"}), "nothing");
  EXPECT_EQ(advice({"a/1.wav", "1.wav", "b/c/1.wav"}), "nothing");
}

TEST_F(Trees, FoldersAreDryAndWetInAnyLetters) {
  note(0, "Dry/1.wav", "WET/1.wav");
  const auto found = recognise(folder.path());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].reader, "folders");
  EXPECT_EQ(found[0].dry, (folder / "Dry").string());
  note(0, "dry/1.wav", "A/1.wav");
  EXPECT_EQ(recognise(folder.path()).at(0).dry, (folder / "dry").string()) << "the name itself goes before";
}

}  // namespace
}  // namespace cafx
