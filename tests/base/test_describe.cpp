#include <gtest/gtest.h>

#include <limits>
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

TEST(Describe, NearestKnowsKeysWithoutTheirTable) {
  EXPECT_EQ(nearest("filters", {"model.taps", "model.filters"}), "model.filters");
  EXPECT_EQ(nearest("model.filtres", {"model.taps", "model.filters"}), "model.filters");
}

}  // namespace
}  // namespace cafx
