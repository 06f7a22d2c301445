// Configs of every type: presets, files and settings together; and hashes of runs, which must stay what they are.
#include <algorithm>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "host/train/config.h"
#include "host/train/student_keys.h"
#include "kernels/base/error.h"
#include "models/registry.h"

namespace cafx {
namespace {

std::string refusal(const ConfigSource& source) {
  try {
    const RunConfig c = make_config(source);
    check(c, "here");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// Of runs that lie in stores: a change here orphans all of them. A field whose help or choices change keeps its former
// comment in Field::hashed; a new field is marked late.
TEST(RunHash, IsThatOfFormerVersions) {
  EXPECT_EQ(run_hash(run_preset("default"), "0123"), "11ad8d4b365e");
  EXPECT_EQ(run_hash(run_preset("paper"), "0123"), "5b87d1e65db4");
  RunConfig c = run_preset("journal");
  c.data.path = "/anywhere";
  c.train.optimizer = "lamb";
  c.train.init_from = "/somewhere";
  EXPECT_EQ(run_hash(c, "0123", "abc/pretrained"), "4f639f7bb998");
}

TEST(RunHash, CoversWhatDecidesTheResult) {
  const RunConfig base = run_preset("default");
  const std::string hash = run_hash(base, "x");
  RunConfig same = base;
  same.data.path = "/elsewhere";
  same.train.gpus = "2";
  same.log.events = "off";
  EXPECT_EQ(run_hash(same, "x"), hash);
  for (const char* setting : {"train.loss.mae=2", "train.stop_on=esr", "train.segment_seconds=1", "train.block=7",
                              "train.burn_in=3", "train.ema=9", "teacher.hop=3", "train.lr=1", "model.filters=8"}) {
    RunConfig other = base;
    Fields fields = describe(other);
    const auto [key, value] = split_setting(setting);
    set_field(fields, key, value, "test");
    EXPECT_NE(run_hash(other, "x"), hash) << setting;
  }
  EXPECT_NE(run_hash(base, "y"), hash);
  EXPECT_NE(run_hash(base, "x", "", "teacher"), hash);
  std::vector<std::string> all;
  for (const std::string& preset : model_presets()) all.push_back(run_hash(run_preset(preset), "x"));
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::unique(all.begin(), all.end()), all.end()) << "two presets have one hash";
}

TEST(RunConfigs, OfEveryPresetAreWrittenAndReadBack) {
  for (const std::string& preset : model_presets()) {
    RunConfig c = run_preset(preset);
    c.train.seed = 17;
    ConfigSource source;
    source.toml = to_toml(describe(c));
    source.where = "c.toml";
    RunConfig back = make_config(source);
    EXPECT_EQ(to_json(describe(back)), to_json(describe(c))) << preset;
    EXPECT_EQ(std::string(back.model->type()), c.model->type());
    RunConfig again = config_of_json(to_json(describe(c)), "task");
    EXPECT_EQ(to_json(describe(again)), to_json(describe(c))) << preset;
  }
}

TEST(RunConfigs, LaterSourcesWinAndTypesFollow) {
  ConfigSource source;
  source.toml = "[model]\ntype = \"lstm\"\nhidden = 5\n[train]\nepochs = 7\n";
  source.where = "c.toml";
  source.settings = {"train.epochs=9"};
  RunConfig c = make_config(source);
  EXPECT_EQ(c.preset, "lstm");
  EXPECT_EQ(to_json(c.model->fields())["hidden"], 5);
  EXPECT_EQ(c.train.epochs, 9);
  EXPECT_EQ(c.train.stop_on, "esr");
  source.settings = {"preset=lstm-nano"};
  EXPECT_EQ(make_config(source).preset, "lstm-nano");
  ConfigSource by_type;
  by_type.settings = {"model.type=wavenet"};
  EXPECT_EQ(make_config(by_type).preset, "wavenet");
  EXPECT_EQ(make_config(ConfigSource()).preset, "default");
}

TEST(RunConfigs, RefusalsSayWhatToDo) {
  ConfigSource source;
  source.preset = "paper";
  source.toml = "[model]\ntype = \"lstm\"\n";
  source.where = "c.toml";
  EXPECT_NE(refusal(source).find("model.type = \"lstm\", but preset \"paper\" is of type cafx"), std::string::npos)
      << refusal(source);
  ConfigSource unknown;
  unknown.preset = "lstn";
  EXPECT_NE(refusal(unknown).find("did you mean 'lstm'"), std::string::npos) << refusal(unknown);
  ConfigSource other;
  other.preset = "lstm";
  other.settings = {"model.filters=3", "model.sample_rate=8000"};
  EXPECT_NE(refusal(other).find("model.filters"), std::string::npos);
  ConfigSource pretrain;
  pretrain.preset = "lstm";
  pretrain.settings = {"train.pretrain_epochs=3", "model.sample_rate=8000"};
  EXPECT_NE(refusal(pretrain).find("no form to pretrain"), std::string::npos) << refusal(pretrain);
  ConfigSource spectral;
  spectral.preset = "lstm";
  spectral.settings = {"train.loss.mr_stft=1", "train.block=256", "model.sample_rate=8000"};
  EXPECT_NE(refusal(spectral).find("blocks of over 256 samples"), std::string::npos) << refusal(spectral);
  spectral.settings[1] = "train.block=257";
  EXPECT_EQ(refusal(spectral), "");
  ConfigSource nothing;
  nothing.settings = {"train.loss.mae=0"};
  EXPECT_NE(refusal(nothing).find("all 0"), std::string::npos) << refusal(nothing);
}

TEST(RunConfigs, SettingsOfStudentsKeepTheirFormerNames) {
  EXPECT_EQ(modern_key("student.lstm.hidden"), "model.hidden");
  EXPECT_EQ(modern_key("student.wavenet.taps"), "model.taps");
  EXPECT_EQ(modern_key("student.sample_rate"), "model.sample_rate");
  EXPECT_EQ(modern_key("student.kind"), "model.type");
  EXPECT_EQ(modern_key("train.esr"), "train.loss.esr");
  EXPECT_EQ(modern_key("train.epochs"), "train.epochs");
  ConfigSource source;
  source.where = "c.toml";
  source.toml = modern_toml(
      "preset = \"lstm-nano\"\n[student]\nkind = \"lstm\"\nsample_rate = 16000\nlstm.hidden = 6\n"
      "wavenet.taps = 3\n[train]\nesr = 0.5\nmae = 0.0\n[data]\nsetting = 2\n",
      "c.toml");
  RunConfig c = make_config(source);
  EXPECT_EQ(to_json(c.model->fields())["hidden"], 6);
  EXPECT_EQ(c.model->sample_rate, 16000);
  EXPECT_EQ(c.train.loss.esr, 0.5);
  EXPECT_EQ(c.data.setting, 2);
}

}  // namespace
}  // namespace cafx
