#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"
#include "kernels/base/seal.h"
#include "models/cafx/cafx.h"
#include "models/play/weights_file.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

namespace fs = std::filesystem;

CafxConfig small() {
  CafxConfig c;
  c.frame = 64;
  c.hop = 32;
  c.filters = 6;
  c.taps = 8;
  c.local_taps = 10;
  c.pool = 4;
  c.latent = 5;
  c.dnn = {6, 5, 6};
  return c;
}

class ModelFileTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = folder_ / "model.safetensors";
    CafxModel model(small());
    model.initialize(9);
    save_model(path_, model, {{"licence", "CC0"}});
  }
  std::string refusal(const fs::path& path) {
    try {
      load_model(path);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  TemporaryFolder folder_;
  fs::path path_;
};

TEST_F(ModelFileTest, RoundTripKeepsEveryBit) {
  CafxModel model(small());
  model.initialize(9);
  const ModelFile file = load_model(path_);
  EXPECT_EQ(file.metadata.at("licence"), "CC0");
  ASSERT_EQ(file.model->n_floats(), model.n_floats());
  for (long i = 0; i < model.n_floats(); ++i) ASSERT_EQ(file.model->data()[i], model.data()[i]) << i;
  save_model(folder_ / "again.safetensors", *file.model, {{"licence", "CC0"}});
  std::ifstream a(path_, std::ios::binary), b(folder_ / "again.safetensors", std::ios::binary);
  const std::string bytes_a{std::istreambuf_iterator<char>(a), {}}, bytes_b{std::istreambuf_iterator<char>(b), {}};
  EXPECT_EQ(bytes_a, bytes_b);
}

TEST_F(ModelFileTest, EveryCutIsRefused) {
  std::ifstream in(path_, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  for (const std::size_t n : {std::size_t{0}, std::size_t{7}, std::size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    const auto cut = folder_ / "cut.safetensors";
    std::ofstream(cut, std::ios::binary) << bytes.substr(0, n);
    EXPECT_NE(refusal(cut).find("cut.safetensors"), std::string::npos) << n;
  }
}

TEST_F(ModelFileTest, ABitThatTurnedIsNoticed) {
  std::ifstream in(path_, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const auto turned = folder_ / "turned.safetensors";
  const std::size_t config = bytes.find("sample_rate");
  for (const std::size_t at : {bytes.size() - 4, bytes.size() / 2, config + 1}) {
    std::string other = bytes;
    other[at] = static_cast<char>(other[at] ^ 1);
    std::ofstream(turned, std::ios::binary) << other;
    EXPECT_NE(refusal(turned).find("turned.safetensors: is damaged: its content does not have the checksum"),
              std::string::npos)
        << at << " " << refusal(turned);
  }
  // Without a checksum it is as any other program's.
  Safetensors file = read_safetensors(path_);
  ASSERT_EQ(file.metadata.count("checksum"), 1u);
  EXPECT_EQ(load_model(path_).metadata.count("checksum"), 0u);
  unseal(file);
  write_safetensors(turned, file);
  EXPECT_EQ(refusal(turned), "");
}

TEST_F(ModelFileTest, ForeignFilesAreRefusedByName) {
  Safetensors file = read_safetensors(path_);
  unseal(file);
  const auto changed = folder_ / "changed.safetensors";
  const auto with = [&](auto change) {
    Safetensors copy = file;
    change(copy);
    write_safetensors(changed, copy);
    return refusal(changed);
  };
  EXPECT_NE(with([](Safetensors& f) { f.metadata["format"] = "pt"; }).find("not a model of cafx"), std::string::npos);
  EXPECT_NE(with([](Safetensors& f) { f.metadata["format_version"] = "2"; }).find("newer"), std::string::npos);
  EXPECT_NE(with([](Safetensors& f) { f.tensors.erase("dense.bias"); }).find("dense.bias"), std::string::npos);
  EXPECT_NE(with([](Safetensors& f) { f.tensors["spare"] = f.tensors["dense.bias"]; }).find("spare"),
            std::string::npos);
  EXPECT_NE(with([](Safetensors& f) { f.tensors["dense.bias"].shape = {1, 16}; }).find("shape"), std::string::npos);
  const std::string nan = with([](Safetensors& f) {
    reinterpret_cast<float*>(f.tensors["saaf.w"].bytes.data())[3] = std::numeric_limits<float>::quiet_NaN();
  });
  EXPECT_NE(nan.find("saaf.w"), std::string::npos);
  EXPECT_NE(nan.find("index 3"), std::string::npos);
  const std::string frame = with([](Safetensors& f) {
    std::string& config = f.metadata["config"];
    config.replace(config.find("\"frame\":64"), 10, "\"frame\":62");
  });
  EXPECT_NE(frame.find("pool"), std::string::npos);
}

// Gigabytes by its config, kilobytes by its tensors: refused before memory is taken.
TEST_F(ModelFileTest, WhatAConfigDescribesIsHeldAgainstTheFile) {
  Safetensors file = read_safetensors(path_);
  unseal(file);
  std::string& config = file.metadata["config"];
  config.replace(config.find("\"frame\":64"), 10, "\"frame\":1048576");
  config.replace(config.find("\"pool\":4"), 8, "\"pool\":1");
  write_safetensors(folder_ / "huge.safetensors", file);
  EXPECT_NE(refusal(folder_ / "huge.safetensors").find("parameters and more, its tensors hold"), std::string::npos)
      << refusal(folder_ / "huge.safetensors");
}

TEST_F(ModelFileTest, TheBestWeightsOfAnotherRunAreRefusedInAFolder) {
  const CafxModel model(small());
  const auto with = [&](const std::string& head, const std::map<std::string, std::string>& about) {
    const auto run = folder_ / "run";
    fs::create_directories(run);
    std::ofstream(run / "config.toml") << head << "\n[model]\n";
    save_model(run / "best.safetensors", model, about);
    return refusal(run);
  };
  EXPECT_EQ(with("# cafx 0.1.0   run abc   data def", {{"run_hash", "abc"}}), "");
  EXPECT_NE(with("# cafx 0.1.0   run abc   data def", {{"run_hash", "abd"}}).find("is of another run (abd)"),
            std::string::npos);
  EXPECT_NE(with("# cafx 0.1.0   run abc   data def", {}).find("is of another run"), std::string::npos);
  EXPECT_EQ(with("# written by hand", {{"run_hash", "abd"}}), "");
}

TEST_F(ModelFileTest, PretrainedWeightsGoByName) {
  CafxModel pretrained(small(), CafxForm::kPretrain);
  pretrained.initialize(77);
  save_model(folder_ / "pretrained.safetensors", pretrained, {});
  CafxModel model(small());
  model.initialize(9);
  load_tensors_by_name(folder_ / "pretrained.safetensors", model);
  for (const ParamSpec& p : model.params()) {
    for (const ParamSpec& q : pretrained.params()) {
      if (p.name != q.name) continue;
      for (long i = 0; i < p.size; ++i)
        ASSERT_EQ(model.data()[p.offset + i], pretrained.data()[q.offset + i]) << p.name;
    }
  }
}

}  // namespace
}  // namespace cafx
