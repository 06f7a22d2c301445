#include <gtest/gtest.h>

#include <bit>
#include <nlohmann/json.hpp>

#include "kernels/base/describe.h"
#include "kernels/base/error.h"

namespace cafx {
namespace {

struct Config {
  int n = 3;
  std::int64_t big = 1;
  double rate = 0.1;
  bool on = false;
  std::string mode = "a", text = "x \"y\" # z\n";
  std::vector<int> list = {1, 2};
  std::vector<std::string> names = {"p", "q,r"};
};
Fields describe(Config& c) {
  return {field("n", c.n, 1, 100, "a count"),
          field("sub.big", c.big, 0, 9e15, "a large count"),
          field("sub.rate", c.rate, 0, 1, "a share"),
          field("on", c.on, "a switch"),
          choice("mode", c.mode, {"a", "b"}, "a choice"),
          field("text", c.text, "any text"),
          field("list", c.list, "numbers"),
          field("sub.names", c.names, "texts")};
}

std::string refusal(const std::string& toml) {
  Config c;
  Fields fields = describe(c);
  try {
    read_toml(fields, toml, "c.toml");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Describe, TomlRoundTripKeepsEveryValue) {
  Config c, d;
  c.n = 77;
  c.big = 8999999999999999;
  c.rate = 0.1 + 0.2;
  c.on = true;
  c.mode = "b";
  c.list = {-5, 0, 2147483647};
  c.names = {"", "a \"b\"", "\xc3\xa9"};
  Fields from = describe(c), to = describe(d);
  read_toml(to, to_toml(from), "t");
  EXPECT_EQ(to_json(to), to_json(from));
  EXPECT_EQ(d.rate, c.rate);
  Config e;
  Fields again = describe(e);
  set_fields(again, nlohmann::json::parse(to_json(from).dump()), "j");
  EXPECT_EQ(to_toml(again), to_toml(from));
}

TEST(Describe, SettingsFromTheCommandLine) {
  Config c;
  Fields fields = describe(c);
  set_field(fields, "n", "8", "--set");
  set_field(fields, "sub.rate", "1e-3", "--set");
  set_field(fields, "on", "true", "--set");
  set_field(fields, "mode", "b", "--set");
  set_field(fields, "list", "[4, 5]", "--set");
  set_field(fields, "sub.names", "u,v", "--set");
  EXPECT_EQ(c.n, 8);
  EXPECT_EQ(c.rate, 1e-3);
  EXPECT_TRUE(c.on);
  EXPECT_EQ(c.mode, "b");
  EXPECT_EQ(c.list, (std::vector<int>{4, 5}));
  EXPECT_EQ(c.names, (std::vector<std::string>{"u", "v"}));
  set_field(fields, "sub.names", "3", "--set");
  EXPECT_EQ(c.names, (std::vector<std::string>{"3"}));
  set_field(fields, "sub.names", "", "--set");
  EXPECT_TRUE(c.names.empty());
  set_field(fields, "list", "6,7", "--set");
  EXPECT_EQ(c.list, (std::vector<int>{6, 7}));
  for (const auto& [key, value] :
       {std::pair("n", "0"), std::pair("n", "8.5"), std::pair("n", "many"), std::pair("n", "1e400"),
        std::pair("sub.rate", "nan"), std::pair("sub.rate", "2"), std::pair("on", "1"), std::pair("mode", "c"),
        std::pair("list", "4"), std::pair("list", "[1.5]"), std::pair("n", "99999999999999999999"),
        std::pair("nn", "3")}) {
    EXPECT_THROW(set_field(fields, key, value, "--set"), Error) << key << "=" << value;
  }
  EXPECT_EQ(c.n, 8);  // a refused value changes nothing
}

TEST(Describe, TomlErrorsNameLineKeyAndCure) {
  EXPECT_NE(refusal("m = 3").find("did you mean 'n'"), std::string::npos);
  EXPECT_NE(refusal("on = true\nm = 3").find("c.toml:2"), std::string::npos);
  EXPECT_NE(refusal("[sub]\nrat = 0.5").find("sub.rate"), std::string::npos);
  EXPECT_NE(refusal("[sup]\nrate = 0.5").find("sup"), std::string::npos);
  EXPECT_NE(refusal("n = -3").find("whole number from 1 to 100"), std::string::npos);
  EXPECT_NE(refusal("n = \"3\"").find("whole number"), std::string::npos);
  EXPECT_NE(refusal("[sub]\nrate = nan").find("rate"), std::string::npos);
  EXPECT_NE(refusal("n = 1979-05-27").find("n"), std::string::npos);
  EXPECT_NE(refusal("n = [").find("not TOML"), std::string::npos);
  EXPECT_NE(refusal("n = 1\nn = 2"), "");
  EXPECT_EQ(refusal("n = 1\n[sub]\nrate = 1"), "");  // a whole number is a number
}

TEST(Describe, TablesValuesAndQuotedKeysAreNotMixedUp) {
  EXPECT_NE(refusal("[n]\n").find("n = {...}, expected whole number"), std::string::npos);
  EXPECT_NE(refusal("n = {}\n").find("expected whole number"), std::string::npos);
  EXPECT_NE(refusal("sub = 3\n").find("write [sub]"), std::string::npos);
  EXPECT_NE(refusal("\"sub.rate\" = 0.5\n").find("without quotes"), std::string::npos);
  EXPECT_NE(refusal("text = inf\n").find("text = inf, expected text"), std::string::npos);
  EXPECT_NE(refusal("list = [{ a = 1 }]\n").find("list of whole numbers"), std::string::npos);
  EXPECT_NE(refusal("list = [[1]]\n").find("list of whole numbers"), std::string::npos);
  EXPECT_NE(refusal("[sub.big]\nx = 1\n"), "");
}

TEST(Describe, TextIsUtf8WithoutNulAndSurvivesEveryOtherCharacter) {
  std::string all;
  for (int c = 1; c < 128; ++c) all += static_cast<char>(c);
  Config c, d;
  c.text = all + "\xc3\xa9\xf0\x9f\x8e\xb8";
  c.names = {all};
  Fields from = describe(c), to = describe(d);
  read_toml(to, to_toml(from), "t");
  EXPECT_EQ(d.text, c.text);
  EXPECT_EQ(d.names, c.names);
  EXPECT_THROW(set_field(to, "text", "\xff", "--set"), Error);
  EXPECT_THROW(set_field(to, "sub.names", "a,\xff", "--set"), Error);
  EXPECT_NE(refusal("text = \"a\\u0000b\"").find("without NUL"), std::string::npos);
}

TEST(Describe, DoublesSurviveTomlAndJsonToTheBit) {
  for (const double x : {0.1, 1.0 / 3.0, 5e-324, 2.2250738585072014e-308, 1.0 - 0x1p-53, 0.0, -0.0, 1e-7, 1.0}) {
    Config c, d, e;
    c.rate = x;
    Fields from = describe(c), toml = describe(d), json = describe(e);
    read_toml(toml, to_toml(from), "t");
    set_fields(json, nlohmann::json::parse(to_json(from).dump()), "j");
    EXPECT_EQ(std::bit_cast<std::uint64_t>(d.rate), std::bit_cast<std::uint64_t>(x)) << x;
    EXPECT_EQ(std::bit_cast<std::uint64_t>(e.rate), std::bit_cast<std::uint64_t>(x)) << x;
  }
}

TEST(Describe, DeepNestingAndLongTextEndInAnError) {  // not in an exhausted stack, nor in pages of message
  Config c;
  Fields fields = describe(c);
  const std::string deep = std::string(200000, '[') + std::string(200000, ']');
  EXPECT_THROW(set_field(fields, "list", deep, "--set"), Error);
  EXPECT_THROW(set_fields(fields, nlohmann::json::parse("{\"n\": " + deep + "}"), "j"), Error);
  EXPECT_NE(refusal("n = " + deep), "");
  std::string dots;
  for (int i = 0; i < 200000; ++i) dots += "a.";
  EXPECT_NE(refusal(dots + "a = 1"), "");
  EXPECT_NE(refusal("[" + dots + "a]"), "");
  const std::string far = refusal(std::string(900000, 'n') + " = 1");
  EXPECT_EQ(far.find("did you mean"), std::string::npos);
  EXPECT_LT(far.size(), 200u);
  EXPECT_EQ(refusal("\"a\\nb\\u001b\" = 1").find_first_of("\n\x1b"), std::string::npos);  // one line
}

TEST(Describe, JsonIsReadAsStrictlyAsToml) {
  for (const char* text :
       {R"({"m": 1})", R"({"n": 1.5})", R"({"n": -1})", R"({"n": null})", R"({"n": {}})", R"({"sub": {"rate": 1}})",
        R"({"sub.rate": "1"})", R"({"sub.big": 18446744073709551615})", R"({"list": [4294967296]})", "[]", "3"}) {
    Config c;
    Fields fields = describe(c);
    EXPECT_THROW(set_fields(fields, nlohmann::json::parse(text), "j"), Error) << text;
    EXPECT_EQ(c.n, 3);
    EXPECT_EQ(c.list, (std::vector<int>{1, 2}));
  }
}

TEST(Describe, NearestKnowsKeysWithoutTheirTable) {
  EXPECT_EQ(did_you_mean("filters", {"model.taps", "model.filters"}), "; did you mean 'model.filters'?");
  EXPECT_EQ(did_you_mean("model.filtres", {"model.taps", "model.filters"}), "; did you mean 'model.filters'?");
}

TEST(Describe, WhatIsFarFromAllNamesIsNoMisspelling) {
  const std::vector<std::string> known = {"dry", "wet", "start", "full"};
  EXPECT_EQ(did_you_mean("strat", known), "; did you mean 'start'?");
  EXPECT_EQ(did_you_mean("wt", known), "; did you mean 'wet'?");
  for (const char* far : {"input", "output", "target", "nosuch", "x"}) EXPECT_EQ(did_you_mean(far, known), "") << far;
  EXPECT_EQ(did_you_mean("nosuch", known, true), "; known are dry, wet, start, full");
  EXPECT_EQ(did_you_mean("wat", {"wet"}, true), "; did you mean 'wet'? Known are wet");
  EXPECT_EQ(did_you_mean("wat", {}), "");
}

}  // namespace
}  // namespace cafx
