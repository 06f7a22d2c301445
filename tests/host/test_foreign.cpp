#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "host/export/nam_loudness.h"
#include "models/play/foreign.h"

namespace cafx {
namespace {

Tensor of_bits(const std::string& dtype, const std::vector<std::uint16_t>& bits) {
  Tensor t{dtype, {static_cast<std::int64_t>(bits.size())}, std::vector<unsigned char>(bits.size() * 2)};
  std::memcpy(t.bytes.data(), bits.data(), t.bytes.size());
  return t;
}
std::vector<float> floats(const Safetensors& file, const std::string& name) {
  const Tensor& t = file.tensors.at(name);
  EXPECT_EQ(t.dtype, "F32");
  std::vector<float> x(t.bytes.size() / 4);
  std::memcpy(x.data(), t.bytes.data(), t.bytes.size());
  return x;
}

TEST(Foreign, HalfPrecisionAndDoublesBecomeFloats) {
  Safetensors file;
  file.tensors["half"] = of_bits("F16", {0x3c00, 0xc000, 0x7bff, 0x0001, 0x83ff, 0x0400, 0x8000, 0x7c00, 0x3555});
  file.tensors["brain"] = of_bits("BF16", {0x3f80, 0xc0a0, 0x0080, 0x7f80});
  const double d[] = {0.1, -1e300, 2.5};
  file.tensors["double"] = {"F64", {3}, std::vector<unsigned char>(sizeof d)};
  std::memcpy(file.tensors["double"].bytes.data(), d, sizeof d);
  const float f[] = {0.25f};
  file.tensors["float"] = Safetensors::from_floats(f, {1});
  std::vector<std::string> notes;
  convert_to_float32(file, notes);
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(floats(file, "half"),
            (std::vector<float>{1.0f, -2.0f, 65504.0f, 0x1p-24f, -1023 * 0x1p-24f, 0x1p-14f, -0.0f, inf, 0x1.554p-2f}));
  EXPECT_TRUE(std::signbit(floats(file, "half")[6]));
  EXPECT_EQ(floats(file, "brain"), (std::vector<float>{1.0f, -5.0f, 0x1p-126f, inf}));
  EXPECT_EQ(floats(file, "double"), (std::vector<float>{0.1f, -inf, 2.5f}));
  EXPECT_EQ(floats(file, "float"), std::vector<float>{0.25f});
  ASSERT_EQ(notes.size(), 3u);
  EXPECT_EQ(notes[0], "1 tensors of BF16 were converted to F32");
}

TEST(Foreign, PrefixesOfWrappersAreTakenOffWhereThatMakesTheNamesRight) {
  const std::vector<std::string> expected{"conv.weight", "dense.weight"};
  for (const char* prefix : {"model.", "module.", "module._orig_mod.", "net.effect."}) {
    Safetensors file;
    for (const auto& name : expected) file.tensors[prefix + name] = {};
    file.tensors["other"] = {};
    std::vector<std::string> notes;
    take_off_prefix(file, expected, notes);
    ASSERT_EQ(notes.size(), 1u);
    EXPECT_NE(notes[0].find(std::string("'") + prefix + "'"), std::string::npos) << notes[0];
    EXPECT_TRUE(file.tensors.count("conv.weight") && file.tensors.count("dense.weight") && file.tensors.count("other"));
  }
  Safetensors some;
  some.tensors["model.conv.weight"] = some.tensors["dense.weight"] = {};
  std::vector<std::string> notes;
  take_off_prefix(some, expected, notes);
  EXPECT_TRUE(notes.empty());
  EXPECT_TRUE(some.tensors.count("model.conv.weight"));
}

TEST(Foreign, AbsolutePathsLeaveMetadata) {
  const auto clean =
      without_paths({{"a", "/home/someone/notes"},
                     {"b", "C:\\Users\\someone\\x.wav"},
                     {"c", R"({"data.path":"/home/someone/notes/","data.dry":["/a/b.wav",1],"n":{"p":"~/x"}})"},
                     {"d", "ratio 1/2 and / more"},
                     {"e", R"({"data.path":"notes","lr":0.001})"}});
  EXPECT_EQ(clean.at("a"), "notes");
  EXPECT_EQ(clean.at("b"), "x.wav");
  EXPECT_EQ(clean.at("c"), R"({"data.path":"notes","data.dry":["b.wav",1],"n":{"p":"x"}})");
  EXPECT_EQ(clean.at("d"), "ratio 1/2 and / more");
  EXPECT_EQ(clean.at("e"), R"({"data.path":"notes","lr":0.001})");
}

// The definition's own numbers: of the identity, the level of its input; of what answers all levels alike, gain 1.
TEST(NamLoudness, IsThatOfItsDefinition) {
  ASSERT_EQ(nam_loudness_input().size(), 48000u);
  const NamLoudness same = nam_loudness([](const std::vector<float>& x) { return x; });
  EXPECT_NEAR(same.loudness_db, 20.0 * std::log10(0.1784837687870774), 1e-6);
  EXPECT_NEAR(same.gain, 0.0, 1e-6);
  const NamLoudness half = nam_loudness([](std::vector<float> x) {
    for (float& v : x) v *= 0.5f;
    return x;
  });
  EXPECT_NEAR(half.loudness_db, same.loudness_db - 6.0206, 1e-4);
  const NamLoudness square = nam_loudness([](std::vector<float> x) {
    for (float& v : x) v = v > 0.0f ? 0.5f : -0.5f;
    return x;
  });
  EXPECT_NEAR(square.loudness_db, -6.0206, 1e-4);
  EXPECT_EQ(square.gain, 1.0);
  const NamLoudness silent = nam_loudness([](const std::vector<float>& x) { return std::vector<float>(x.size()); });
  EXPECT_TRUE(std::isinf(silent.loudness_db));
  EXPECT_EQ(silent.gain, 0.0);
}

}  // namespace
}  // namespace cafx
