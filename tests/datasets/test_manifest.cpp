// Tables of files: a CSV manifest and the JSON of NeuralAmpModeler's trainer; what is wrong with them, by row.
#include <set>

#include "tests/datasets/recordings.h"

namespace cafx {
namespace {

struct Tables : Recordings {
  Tables() {
    config = DataConfig();
    for (std::size_t i = 0; i < 6; ++i) {
      write(folder / fmt::format("in/{}.wav", i), {notes().dry[i]}, kRate);
      write(folder / fmt::format("out/{}.wav", i), {notes().wet[i]}, kRate);
    }
  }
  Dataset read(const std::string& reader, const std::string& text) {
    config.reader = reader;
    config.path = (folder / "table").string();
    std::ofstream(config.path, std::ios::binary) << text;
    return inspect_dataset(config, kRate);
  }
  std::string error(const std::string& reader, const std::string& text) {
    try {
      read(reader, text);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  static std::vector<std::string> names(const Dataset& data, const std::vector<int>& part) {
    std::vector<std::string> all;
    for (const int i : part) all.push_back(data.pairs[static_cast<std::size_t>(i)].name);
    return all;
  }
};

TEST_F(Tables, AManifestGivesPairsPartsAndKnobs) {
  const Dataset data = read("manifest",
                            "\xEF\xBB\xBF"
                            "dry;wet;split;\"knob:Gain\";knob:bright\r\n"
                            "in/0.wav;out/0.wav;train;5;off\r\n"
                            "\r\n"
                            "in/1.wav;\"out/1.wav\";training;5;off\r\n"
                            "in/2.wav;out/2.wav;val;5;off\r\n"
                            "in/3.wav;out/3.wav;test;5;off\r\n");
  EXPECT_FALSE(refused(data)) << all(data);
  ASSERT_EQ(data.pairs.size(), 4u);
  const Split split = split_dataset(data, config);
  EXPECT_EQ(names(data, split.train), (std::vector<std::string>{"train/in/0", "train/in/1"}));
  EXPECT_EQ(names(data, split.validation), std::vector<std::string>{"validation/in/2"});
  EXPECT_EQ(names(data, split.test), std::vector<std::string>{"test/in/3"});
  ASSERT_EQ(data.pairs[0].knobs.size(), 2u);
  EXPECT_EQ(data.pairs[0].knobs[0].name, "Gain");
  EXPECT_EQ(data.pairs[0].knobs[0].number, 5.0);
  EXPECT_EQ(data.pairs[0].knobs[1].show(), "off");
}

TEST_F(Tables, AMissingPartIsDrawnFromTraining) {
  const Dataset data = read("manifest",
                            "dry,wet,split\nin/0.wav,out/0.wav,train\nin/1.wav,out/1.wav,train\n"
                            "in/2.wav,out/2.wav,train\nin/3.wav,out/3.wav,test\n");
  const Split split = split_dataset(data, config);
  EXPECT_EQ(split.train.size(), 2u);
  EXPECT_EQ(split.validation.size(), 1u);
  EXPECT_EQ(names(data, split.test), std::vector<std::string>{"test/in/3"});
}

TEST_F(Tables, APartThatIsMissingIsCutFromOneRecordingOfTraining) {
  const Signal dry = cut(notes().long_dry, 0.0, 9.0), wet = cut(notes().long_wet, 0.0, 9.0);
  write(folder / "in.wav", {dry});
  write(folder / "out.wav", {wet});
  const Dataset data =
      read("manifest", "dry,wet,start,stop,split\nin.wav,out.wav,0,-2,train\nin.wav,out.wav,-2,,test\n");
  const Split split = split_dataset(data, config);
  double train = 0.0;
  for (const int i : split.train) train += static_cast<double>(data.pairs[static_cast<std::size_t>(i)].dry.size());
  EXPECT_GT(train, 4.0 * kRate) << all(data);
  ASSERT_FALSE(split.validation.empty()) << all(data);
  for (const std::string& name : names(data, split.validation)) EXPECT_EQ(name.rfind("train/in@", 0), 0u) << name;
  for (const std::string& name : names(data, split.test)) EXPECT_EQ(name.rfind("test/in@", 0), 0u) << name;
  EXPECT_TRUE(of(data, "leak").empty()) << all(data);
  EXPECT_NE(all(data).find("1 for training, 0 for validation, 1 for the test; validation is drawn from training"),
            std::string::npos)
      << all(data);
  // All parts given: the rows stay as they are.
  const Dataset whole = read("manifest",
                             "dry,wet,start,stop,split\nin.wav,out.wav,0,-3,train\nin.wav,out.wav,-3,-1.5,val\n"
                             "in.wav,out.wav,-1.5,,test\n");
  EXPECT_EQ(whole.pairs.size(), 3u) << all(whole);
  EXPECT_EQ(all(whole).find("drawn from training"), std::string::npos) << all(whole);
}

TEST_F(Tables, APartThatCannotBeDrawnIsSaid) {
  const Dataset two = read("manifest", "dry,wet,split\nin/0.wav,out/0.wav,train\nin/1.wav,out/1.wav,test\n");
  EXPECT_TRUE(split_dataset(two, config).validation.empty());
  EXPECT_NE(all(two).find("training has too few notes for validation to be drawn from it"), std::string::npos)
      << all(two);
  config.validation = 0.0;
  const Dataset none = read("manifest", "dry,wet,split\nin/0.wav,out/0.wav,train\nin/1.wav,out/1.wav,test\n");
  EXPECT_NE(all(none).find("data.validation is 0, so none is drawn"), std::string::npos) << all(none);
}

TEST_F(Tables, RowsOfTwoPartsThatOverlapAreALeak) {
  write(folder / "in.wav", {cut(notes().long_dry, 0.0, 9.0)});
  write(folder / "out.wav", {cut(notes().long_wet, 0.0, 9.0)});
  config.validation = 0.0;
  const auto rows = [&](const std::string& train, const std::string& test) {
    return read("manifest", fmt::format("dry,wet,start,stop,split\nin.wav,out.wav,{},train\nin.wav,out.wav,{},test\n",
                                        train, test));
  };
  const Dataset apart = rows("0,6", "6,");
  EXPECT_TRUE(of(apart, "leak").empty()) << all(apart);
  const Dataset data = rows("0,6", "-4.5,");
  ASSERT_EQ(of(data, "leak").size(), 1u) << all(data);
  EXPECT_EQ(of(data, "leak")[0].severity, Severity::kRefuse);
  EXPECT_NE(of(data, "leak")[0].text.find("1.5 of the 4.5 s that the test part has of it are in training too"),
            std::string::npos)
      << all(data);
  EXPECT_NEAR(of(data, "leak")[0].seconds, 4.5, 0.01);
  // Pieces that are equal to the sample are told as one stretch too; so is a recording that both parts have whole.
  config.segment_seconds = 1.0;
  const Dataset equal = rows("0,6", "5,");
  ASSERT_EQ(of(equal, "leak").size(), 1u) << all(equal);
  EXPECT_NE(of(equal, "leak")[0].text.find("1.0 of the 4.0 s"), std::string::npos) << all(equal);
  const Dataset twice = rows(",", ",9");
  ASSERT_EQ(of(twice, "leak").size(), 1u) << all(twice);
  EXPECT_NE(of(twice, "leak")[0].text.find("9.0 of the 9.0 s"), std::string::npos) << all(twice);
}

// Parts of a table that are positions of a knob, with the same notes in all: judged where training never was.
TEST_F(Tables, PartsMayBePositionsOfKnobs) {
  std::string text = "dry,wet,split,knob:gain\n";
  for (const char* row : {"0,train", "2,val", "5,train", "7,test", "10,train"}) {
    const std::string gain = std::string(row).substr(0, std::string(row).find(',')),
                      part = std::string(row).substr(gain.size() + 1);
    for (int i = 0; i < 2; ++i) {
      write(folder / fmt::format("out/{}-{}.wav", i, gain),
            {times(0.05 + 0.05 * std::stod(gain), notes().wet[static_cast<std::size_t>(i)])}, kRate);
      text += fmt::format("in/{}.wav,out/{}-{}.wav,{},{}\n", i, i, gain, part, gain);
    }
  }
  config.knobs = {"gain: 0..10"};
  const Dataset by_note = read("manifest", text);
  ASSERT_TRUE(refused(by_note, "leak")) << all(by_note);
  EXPECT_NE(of(by_note, "leak")[0].cure.find("data.split=knobs"), std::string::npos) << all(by_note);
  config.split = "knobs";
  for (config.seed = 0; config.seed < 4; ++config.seed) {
    const Dataset data = read("manifest", text);
    EXPECT_FALSE(refused(data)) << all(data);
    const Split split = split_dataset(data, config);
    const auto gains = [&](const std::vector<int>& part) {
      std::set<double> all;
      for (const int i : part) all.insert(data.pairs[static_cast<std::size_t>(i)].knobs[0].number);
      return all;
    };
    EXPECT_EQ(gains(split.train), (std::set<double>{0, 5, 10}));
    EXPECT_EQ(gains(split.validation), std::set<double>{2});
    EXPECT_EQ(gains(split.test), std::set<double>{7});
  }
  // Where a position is in two parts, positions are drawn, and that is said.
  const Dataset mixed = read("manifest", text + "in/2.wav,out/2.wav,test,5\n");
  EXPECT_NE(all(mixed).find("does not keep, since positions lie in several of them"), std::string::npos) << all(mixed);
}

TEST_F(Tables, TablesFromWindowsAndSpreadsheets) {
  const Dataset data = read("manifest", "dry,wet,knob:gain,,\nin\\0.wav,out\\0.wav,+5 dB,,\nin/1.wav,out/1.wav,5,,\n");
  EXPECT_EQ(data.pairs.size(), 2u) << all(data);
  EXPECT_EQ(data.pairs[0].knobs[0].number, 5.0);
  EXPECT_NE(error("manifest", "dry,wet,\nin/0.wav,out/0.wav,x\n").find("column '' is not known"), std::string::npos);
  const Dataset nam = read("nam-json", R"({"common": {"x_path": "in\\0.wav", "y_path": "out\\0.wav"},
    "train": {"stop_seconds": -0.5}, "validation": {"start_seconds": -0.5}})");
  EXPECT_FALSE(nam.pairs.empty()) << all(nam);
}

TEST_F(Tables, SettingsAreChosenByColumn) {
  const std::string text =
      "dry,wet,device,knob:gain\nin/0.wav,out/0.wav,Muff,1\nin/1.wav,out/1.wav,Muff,2\nin/2.wav,out/2.wav,Rat,1\n";
  EXPECT_TRUE(refused(read("manifest", text), "settings"));
  config.select = {"device=Muff", "gain=2"};
  const Dataset one = read("manifest", text);
  EXPECT_FALSE(refused(one, "settings")) << all(one);
  ASSERT_EQ(one.pairs.size(), 1u);
  EXPECT_EQ(one.pairs[0].name, "in/1");
}

TEST_F(Tables, AsASpreadsheetWritesIt) {
  const std::string head = "sep=;\r\n#gear: a;b\r\ndry;wet;start;Knob: gain;Notes\r\n";
  const Dataset data = read("manifest", head +
                                            "in/0.wav;out/0.wav;0,1;2,5;old strings\r\n"
                                            "# in/9.wav;out/9.wav;;1;\r\n"
                                            "in/1.wav;out/1.wav;;2,5 dB;\r\n"
                                            "in/2.wav;out/2.wav;;2.5dB;\r\n"
                                            "in/3.wav;out/3.wav;;2.5;\r\n");
  ASSERT_EQ(data.pairs.size(), 4u) << all(data);
  for (const Pair& p : data.pairs) {
    EXPECT_EQ(p.knobs.at(0).name, "gain");
    EXPECT_EQ(p.knobs[0].number, 2.5) << p.name;
    EXPECT_EQ(p.setting, "gain=2.5") << p.name;
  }
  EXPECT_TRUE(of(data, "settings").empty()) << all(data);
  EXPECT_NEAR(static_cast<double>(notes().dry[0].size() - data.pairs[0].dry.size()), 0.1 * kRate, 1.0);
  EXPECT_NE(all(data).find("4 pairs; not read: the column 'Notes', 2 lines that begin with #"), std::string::npos)
      << all(data);
  EXPECT_NE(error("manifest", head + "in/9.wav;out/9.wav;;1;\n").find("row 4: the dry file"), std::string::npos)
      << "rows are the file's";
  const std::string units =
      error("manifest", head + "in/0.wav;out/0.wav;;2 dB;\nin/1.wav;out/1.wav;;3;\n" + "in/2.wav;out/2.wav;;2 Hz;\n");
  EXPECT_NE(units.find("row 6: knob:gain = '2 Hz' has another unit than other rows, 'db'"), std::string::npos) << units;
  const Dataset commas = read("manifest", "dry,wet,knob:gain\nin/0.wav,out/0.wav,\"2,5\"\n");
  EXPECT_EQ(commas.pairs.at(0).knobs.at(0).show(), "2,5") << "between commas a comma is no point";
  const Dataset file = read("manifest", "\"sep=;\"\ndry;wet\nin/0.wav;out/0.wav\n");
  EXPECT_EQ(file.pairs.size(), 1u);
}

TEST_F(Tables, WhatIsSaidOfSettingsCanBeTyped) {
  const std::string text = "dry,wet,device,knob:gain\nin/0.wav,out/0.wav,\"Boss DS-1, mod=A\",1\n";
  const Dataset data = read("manifest", text + "in/1.wav,out/1.wav,Rat,4\n");
  ASSERT_EQ(of(data, "settings").size(), 2u) << all(data);
  const std::string device = of(data, "settings")[0].cure, gain = of(data, "settings")[1].cure;
  EXPECT_NE(device.find("--set 'data.select=[\"device=Boss DS-1, mod=A\"]'"), std::string::npos) << device;
  EXPECT_NE(device.find("call its column 'knob:device' and"), std::string::npos) << device;
  EXPECT_NE(device.find("--set 'data.knobs=[\"device: Boss DS-1, mod=A|Rat\"]'"), std::string::npos) << device;
  EXPECT_NE(gain.find("as --set data.select=gain=1, or let a model learn it as a knob: --set 'data.knobs=gain: 1..4'"),
            std::string::npos)
      << gain;
  config.select = {"gain=1"};
  const Dataset chosen = read("manifest", text + "in/1.wav,out/1.wav,Rat,1\n");
  EXPECT_NE(of(chosen, "settings").at(0).cure.find("'data.select=[\"gain=1\",\"device=Boss DS-1, mod=A\"]'"),
            std::string::npos)
      << all(chosen);
}

TEST_F(Tables, AWetFileBesideAChainIsRefused) {
  config.chain = "overdrive 20 20";
  EXPECT_NE(error("manifest", "dry,wet\nin/0.wav,out/0.wav\n").find("row 2: names a wet file, and data.chain"),
            std::string::npos);
  EXPECT_EQ(read("manifest", "dry,wet\nin/0.wav,\nin/1.wav,\n").pairs.size(), 2u);
  EXPECT_EQ(read("manifest", "dry\nin/0.wav\nin/1.wav\n").pairs.size(), 2u);
}

TEST_F(Tables, WhatIsWrongIsToldByRow) {
  const std::string head = "dry,wet,split,start,stop,knob:gain\n", good = "in/0.wav,out/0.wav,train,,,1\n";
  for (const auto& [text, said] : std::vector<std::pair<std::string, std::string>>{
           {"", "is empty"},
           {head, "none with files"},
           {"dry,split\nin/0.wav,train\n", "row 1: there is no column 'wet'"},
           {"dry,wet,splt\n" + good, "row 1: column 'splt' is not known; did you mean 'split'"},
           {"dry,wet,Dry\n" + good, "row 1: column 'Dry' stands there twice"},
           {head + good + "in/9.wav,out/1.wav,train,,,1\n", "row 3: the dry file 'in/9.wav' does not exist"},
           {head + good + "in/1.wav,out,train,,,1\n", "row 3: the wet file 'out' does not exist"},
           {head + good + ",out/1.wav,train,,,1\n", "row 3: dry is empty"},
           {head + good + "in/1.wav,out/1.wav,train,,,five\n", "row 3: knob:gain = 'five' is no number"},
           {head + good + "in/1.wav,out/1.wav,train,,,\n", "row 3: knob:gain is empty"},
           {head + good + "in/1.wav,out/1.wav,train,1s,,1\n", "row 3: start = '1s' is no number"},
           {head + good + "in/1.wav,out/1.wav,train,nan,,1\n", "row 3: start = 'nan' is no number"},
           {head + good + "in/1.wav,out/1.wav,other,,,1\n", "row 3: split = 'other'; expected train"},
           {head + good + "in/1.wav,out/1.wav,train,1\n", "row 3: has 4 cells, and the first row names 6"},
           {head + good + "\n" + good, "row 4: the pair of 'in/0.wav' stands there already, in row 2"},
           {head + good + "\"in/1.wav,out/1.wav,train,,,1\n", "row 3: a quote is opened and never closed"},
           {"dry,wet,split,name\nin/0.wav,out/0.wav,train,a\nin/1.wav,out/1.wav,test,a\n",
            "row 3: 'a' is in the part 'test', and in 'train' by row 2"},
           {"dry,wet,input\n" + good, "row 1: column 'dry' stands there twice"},
           {"dry,wet,loudness\n" + good, "'loudness' is not known; known are dry, wet"},
           {"\xFF\xFE" + std::string("d\0r\0y\0", 6), "is UTF-16"},
           {head + "in/0.wav,out/0.wav,train,9,,1\n",
            "row 2: start = 9 s, stop = 0 s and delay = 0 samples leave nothing"},
           {head + "in/0.wav,out/0.wav,train,-9,,1\n", "row 2: start = -9 s is before the beginning"}}) {
    const std::string e = error("manifest", text);
    EXPECT_NE(e.find(said), std::string::npos) << text << "\n" << e;
  }
  fs::create_directory(folder / "folder");
  config.path = (folder / "folder").string();
  EXPECT_THROW(inspect_dataset(config, kRate), Error);
}

TEST_F(Tables, BytesOfAnyKindAreRefusedOrRead) {
  const std::string good = "dry,wet,split,knob:gain\nin/0.wav,out/0.wav,train,1\n\"in/1.wav\",out/1.wav,test,2\n";
  std::uint32_t seed = 7;
  int read = 0, refused = 0;
  for (int k = 0; k < 1000; ++k) {
    std::string text = good;
    for (int n = 0; n <= k % 3; ++n) {
      seed = seed * 1664525u + 1013904223u;
      const char any = static_cast<char>(seed >> 24), of_a_table = good[(seed >> 20) % good.size()];
      text[(seed >> 8) % text.size()] = k % 2 == 0 ? any : of_a_table;
    }
    std::ofstream(folder / "table", std::ios::binary) << text;
    config.reader = "manifest";
    config.path = (folder / "table").string();
    try {
      EXPECT_FALSE(find_reader("manifest").find(config).pairs.empty());
      ++read;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("table"), std::string::npos) << e.what();
      ++refused;
    }
  }
  EXPECT_GE(read, 10);
  EXPECT_GE(refused, 10);
}

TEST_F(Tables, NamJsonTakesExcerptsDelayAndParts) {
  const Signal &x = notes().long_dry, &y = notes().long_wet;
  config.segment_seconds = 1.0;
  write(folder / "input.wav", {x});
  write(folder / "output.wav", {times(0.5, late(y, 96))});
  const Dataset data = read("nam-json",
                            R"({"common": {"x_path": "input.wav", "y_path": "output.wav", "delay": 96, "y_scale": 2.0},
                                "train": {"start_seconds": null, "stop_seconds": -3.0, "ny": 8192},
                                "validation": {"start_seconds": -3.0, "stop_seconds": null, "ny": null}})");
  EXPECT_FALSE(refused(data)) << all(data);
  fs::copy_file(config.path, folder / "data.json");
  const auto known = recognise(folder.path());
  ASSERT_EQ(known.size(), 1u);
  EXPECT_EQ(known[0].reader, "nam-json") << "a folder with its audio and its JSON";
  const Split split = split_dataset(data, config);
  double train = 0.0, validation = 0.0;
  for (const int i : split.train) train += static_cast<double>(data.pairs[static_cast<std::size_t>(i)].dry.size());
  for (const int i : split.validation) {
    const Pair& p = data.pairs[static_cast<std::size_t>(i)];
    validation += static_cast<double>(p.dry.size());
    EXPECT_EQ(p.name.rfind("validation/input", 0), 0u) << p.name;
  }
  const double seconds = static_cast<double>(x.size()) / kFileRate;
  EXPECT_EQ(split.test.size(), 1u) << "drawn from training";
  EXPECT_NEAR(validation / kRate, 3.0, 0.02);
  EXPECT_LT(train / kRate, seconds - 3.0);
  // In place: the delay is taken out, and the doctor finds none beside.
  EXPECT_TRUE(done(data, "latency").empty()) << all(data);
  const Signal wet = resample(cut(y, seconds - 3.0, seconds), kFileRate, kRate);
  Signal own;
  for (const int i : split.validation) {
    const Pair& p = data.pairs[static_cast<std::size_t>(i)];
    own.insert(own.end(), p.wet.begin(), p.wet.end());
  }
  EXPECT_GT(correlation(own, wet), 0.99);
  EXPECT_NEAR(static_cast<double>(*std::max_element(own.begin(), own.end())),
              static_cast<double>(*std::max_element(wet.begin(), wet.end())), 0.02);
}

TEST_F(Tables, NamJsonWithPositionsOfKnobs) {
  const std::string text = R"({"type": "parametric", "train": {}, "validation": {"start": -8000, "stop": null},
      "common": {"x_path": "in/0.wav", "parameters": {"Drive": {"minimum_value": 0.0}},
        "data": [{"y_path": "out/0.wav", "parameters": {"Drive": 0.25}},
                 {"y_path": "out/1.wav", "params": {"Drive": 1}}]}})";
  const Dataset data = read("nam-json", text);
  const auto read_of = [](const Dataset& d) {
    std::set<std::pair<std::string, std::string>> found;
    for (const Pair& p : d.pairs) found.emplace(p.part, p.wet_path.filename().string());
    return found.size();
  };
  EXPECT_EQ(read_of(data), 4u);
  ASSERT_EQ(knob_ranges(data).size(), 1u);
  EXPECT_EQ(knob_ranges(data)[0].text(), "Drive: 0.25 to 1, 2 positions");
  EXPECT_TRUE(refused(data, "settings"));
  config.select = {"Drive=0.25"};
  EXPECT_EQ(read_of(read("nam-json", text)), 2u);
}

TEST_F(Tables, WhatIsWrongWithJsonIsToldByPlace) {
  for (const auto& [text, said] : std::vector<std::pair<std::string, std::string>>{
           {"{", "is no JSON"},
           {"[1, 2]", "expected an object with \"train\""},
           {R"({"train": 3})", "train: expected an object"},
           {R"({"train": {}})", "train: has no x_path"},
           {R"({"train": {"x_path": "in/9.wav", "y_path": "out/0.wav"}})", "x_path 'in/9.wav' does not exist"},
           {R"({"train": [{"x_path": "in/0.wav", "y_path": 4}]})", "train[0]: has no y_path"},
           {R"({"train": {"x_path": "in/0.wav", "y_path": "out/0.wav", "dealy": 3}})", "did you mean 'delay'"},
           {R"({"train": {"x_path": "in/0.wav", "y_path": "out/0.wav", "delay": "3"}})", "delay = \"3\" is no number"},
           {R"({"train": {"x_path": "in/0.wav", "y_path": "out/0.wav", "stop": 5, "start_seconds": 1}})",
            "in samples and in seconds"},
           {R"({"train": {"x_path": "in/0.wav", "data": [{"y_path": "out/0.wav", "params": {"a": [1]}}]}})",
            "params: a = [1] is no number"},
           {R"({"train": {"x_path": "in/0.wav", "y_path": "out/0.wav", "start": 1000000}})", "leave nothing"},
           {R"({"common": [], "train": {}})", "common: expected an object"}}) {
    const std::string e = error("nam-json", text);
    EXPECT_NE(e.find(said), std::string::npos) << text << "\n" << e;
  }
}

TEST_F(Tables, AStopBehindTheEndTakesWhatIsThere) {
  const double seconds = static_cast<double>(notes().dry[0].size()) / kRate;
  const std::string rows =
      fmt::format("dry,wet,start,stop\nin/0.wav,out/0.wav,0,{:.4f}\nin/1.wav,out/1.wav,0.5,\nin/2.wav,out/2.wav,9,\n",
                  seconds + 0.001);
  const Dataset data = read("manifest", rows);
  ASSERT_EQ(data.pairs.size(), 2u) << all(data);
  EXPECT_EQ(data.pairs[0].dry.size(), notes().dry[0].size());
  ASSERT_EQ(of(data, "excerpt").size(), 1u) << all(data);
  EXPECT_NE(of(data, "excerpt")[0].text.find("ends 0.001 s before stop"), std::string::npos) << all(data);
  EXPECT_NE(of(data, "excerpt")[0].cause.find("row 2"), std::string::npos) << all(data);
  ASSERT_EQ(data.unreadable.size(), 1u);
  EXPECT_NE(data.unreadable[0].find("row 4: start = 9 s"), std::string::npos) << data.unreadable[0];
}

TEST_F(Tables, TablesAsOtherToolsWriteThem) {
  const Dataset data = read("manifest", "input;target\rin/0.wav;out/0.wav\rin/1.wav;out/1.wav\r");
  ASSERT_EQ(data.pairs.size(), 2u) << all(data);
  EXPECT_EQ(data.pairs[1].wet_path.filename(), "1.wav");
  EXPECT_NE(
      error("manifest", "dry,wet\rin/0.wav,out/0.wav\rin/9.wav,out/1.wav\r").find("row 3: the dry file 'in/9.wav'"),
      std::string::npos);
}

TEST_F(Tables, AFolderWithItsTable) {
  fs::create_directory(folder / "set");
  std::ofstream(folder / "set/manifest.csv") << "dry,wet\n../in/0.wav,../out/0.wav\n../in/1.wav,../out/1.wav\n";
  ASSERT_EQ(recognise(folder / "set").size(), 1u) << "its recordings lie elsewhere";
  write(folder / "set/unlisted.wav", {notes().dry[3]}, kRate);
  ASSERT_EQ(recognise(folder / "set").size(), 1u);
  EXPECT_EQ(recognise(folder / "set")[0].pairs, 2u) << "rows, whatever else lies there";
  config.reader = "manifest";
  config.path = (folder / "set").string();
  EXPECT_EQ(inspect_dataset(config, kRate).pairs.size(), 2u);
  fs::remove(folder / "set/manifest.csv");
  fs::remove(folder / "set/unlisted.wav");
  std::ofstream(folder / "set/data.json") << R"({"train": {"x_path": "../in/0.wav", "y_path": "../out/0.wav"},
             "validation": {"x_path": "../in/1.wav", "y_path": "../out/1.wav"}})";
  ASSERT_EQ(recognise(folder / "set").size(), 1u);
  EXPECT_EQ(recognise(folder / "set")[0].reader, "nam-json");
  config.reader = "nam-json";
  EXPECT_GE(inspect_dataset(config, kRate).pairs.size(), 2u);
}

TEST_F(Tables, WhatIsWrittenKeepsKnobsAndParts) {
  const Dataset data =
      read("manifest",
           "dry,wet,split,name,\"knob:a, b\"\n"
           "in/0.wav,out/0.wav,train,n0,1\nin/0.wav,out/1.wav,train,n0,2\nin/2.wav,out/2.wav,test,n2,1\n"
           "in/3.wav,out/3.wav,,n3,1\n");
  write_pairs(data, (folder / "written").string());
  const auto found = recognise(folder / "written");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].reader, "manifest");
  config.path = found[0].path;
  const Dataset again = inspect_dataset(config, kRate);
  ASSERT_EQ(again.pairs.size(), 4u) << all(again);
  for (std::size_t i = 0; i < 4; ++i) {
    const Pair& a = data.pairs[i];
    const auto found_again = std::find_if(again.pairs.begin(), again.pairs.end(), [&](const Pair& p) {
      return p.name == a.name && p.knobs.at(0).number == a.knobs.at(0).number;
    });
    ASSERT_NE(found_again, again.pairs.end()) << a.name;
    const Pair& b = *found_again;
    EXPECT_EQ(a.part, b.part);
    ASSERT_EQ(b.knobs.size(), 1u);
    EXPECT_EQ(b.knobs[0].name, "a, b");
    EXPECT_EQ(a.dry, b.dry);
    EXPECT_EQ(a.wet, b.wet);
  }
  fs::remove_all(folder / "written/dry");
  fs::remove_all(folder / "written/wet");
  EXPECT_THROW(write_pairs(data, (folder / "written").string()), Error) << "a table that is there";
}

}  // namespace
}  // namespace cafx
