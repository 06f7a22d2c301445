// Knobs in words: what is one, where it stands, and what a model reads of that.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/knobs.h"

namespace cafx {
namespace {

std::string error_of(const std::vector<std::string>& texts, const std::vector<std::string>& settings = {}) {
  try {
    const std::vector<Knob> knobs = parse_knobs(texts, "data.knobs");
    knob_values(knobs, settings, "--knob");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Knobs, AreReadFromWords) {
  const auto knobs = parse_knobs({"gain: -2.5..10 dB", "bright:off|on", "Channel : clean|crunch | lead"}, "x");
  ASSERT_EQ(knobs.size(), 3u);
  EXPECT_EQ(knobs[0].name, "gain");
  EXPECT_EQ(knobs[0].lo, -2.5);
  EXPECT_EQ(knobs[0].range(), "-2.5 to 10 dB");
  EXPECT_EQ(knobs[1].range(), "off or on");
  EXPECT_EQ(knobs[2].positions, (std::vector<std::string>{"clean", "crunch", "lead"}));
  EXPECT_EQ(count_controls(knobs), 1 + 1 + 3);
  EXPECT_EQ(knob_values(knobs, {"GAIN=5 dB", "channel=Lead"}, "--knob"), (std::vector<double>{5.0, 0.0, 2.0}));
  EXPECT_EQ(knob_setting(knobs, "channel=Lead", "--knob"), (std::pair<std::size_t, double>{2, 2.0}));
  EXPECT_EQ(controls_at(knobs, {10.0, 0.0, 1.0}), (std::vector<float>{1.0f, -1.0f, 0.0f, 1.0f, 0.0f}));
  EXPECT_EQ(controls_at(knobs, {99.0, 1.0, 0.0}), (std::vector<float>{1.0f, 1.0f, 1.0f, 0.0f, 0.0f}));
  EXPECT_EQ(controls_at(knobs, {0.0, 0.4, 1.6}), (std::vector<float>{-0.6f, -1.0f, 0.0f, 0.0f, 1.0f})) << "a switch";
  EXPECT_EQ(controls_at(knobs, knobs_at_start(knobs))[0], 0.0f);
  EXPECT_EQ(value_of(parse_knobs({"switch: 0|1"}, "x")[0], "1.0", "x"), 1.0) << "a position that is a number";
  EXPECT_THROW(knob_values(parse_knobs({"a: 0..1"}, "x"), {"a=0", "A=1"}, "x"), Error) << "set twice";
}

TEST(Knobs, UnitsOfAValueAreTurnedIntoTheKnobs) {
  const auto value = [](const std::string& knob, const std::string& text) {
    return value_of(parse_knobs({knob}, "x")[0], text, "x");
  };
  EXPECT_EQ(value("cut: 0.1..20 kHz", "500Hz"), 0.5);
  EXPECT_EQ(value("cut: 0.1..20 kHz", "20000 HZ"), 20.0);
  EXPECT_EQ(value("cut: 20..20000 Hz", "1.5 khz"), 1500.0);
  EXPECT_EQ(value("time: 1..2000 ms", "0.5 s"), 500.0);
  EXPECT_EQ(value("time: 0..2 s", "250ms"), 0.25);
  EXPECT_EQ(value("gain: -10..10 dB", "+5db"), 5.0);
  EXPECT_EQ(value("mode: +1|-1", "-1"), 1.0);
}

// 1.1f lies above 1.1, and 0.7f below 0.7.
TEST(Knobs, TheEndsOfARangeMayComeRoundedToFloat) {
  const Knob knob = parse_knobs({"drive: 0.7..1.1"}, "x")[0];
  ASSERT_GT(static_cast<double>(1.1f), 1.1);
  ASSERT_LT(static_cast<double>(0.7f), 0.7);
  EXPECT_TRUE(knob.holds(static_cast<double>(1.1f)) && knob.holds(static_cast<double>(0.7f)));
  EXPECT_FALSE(knob.holds(1.1000001) || knob.holds(0.6999999) || knob.holds(std::nan("")));
  EXPECT_EQ(value_of(knob, "1.100000023841858", "x"), 1.1);
  EXPECT_EQ(value_of(knob, "0.699999988079071", "x"), 0.7);
  EXPECT_THROW(value_of(knob, "1.1000001", "x"), Error);
}

TEST(Knobs, WhatIsNoneOrOutOfRangeIsRefused) {
  for (const auto& [text, said] :
       std::vector<std::pair<std::string, std::string>>{{"gain", "has no name before a colon"},
                                                        {": 0..1", "has no name"},
                                                        {"gain: 5", "neither a range nor positions"},
                                                        {"gain: 0..", "the range has no end"},
                                                        {"gain: 5..5", "the range is empty"},
                                                        {"gain: 9..1 dB", "the range is empty, from 9 to 1"},
                                                        {"gain: 0..inf", "no end"},
                                                        {"a=b: 0..1", "the name has a ="},
                                                        {"mode: a|", "a position has no name"},
                                                        {"mode: a|A", "stands there twice"}}) {
    EXPECT_NE(error_of({text}).find(said), std::string::npos) << text << ": " << error_of({text});
  }
  EXPECT_NE(error_of({"a: 0..1", "A: 0..2"}).find("stands there twice"), std::string::npos);
  const std::vector<std::string> knobs{"gain: 0..10 dB", "mode: a|b", "tone: 0..1", "cut: 0.1..20 kHz",
                                       "wide mode: wide|narrow"};
  for (const auto& [setting, said] : std::vector<std::pair<std::string, std::string>>{
           {"gain=11", "gain = 11 is out of its range, 0 to 10 dB"},
           {"gain=3,5", "gain = 3,5 is no number; write it with a point"},
           {"gain=nan", "gain = nan is no number; its range is 0 to 10 dB"},
           {"gain=loud", "gain = loud is no number"},
           {"gain=", "gain has no value; its range is 0 to 10 dB"},
           {"gain=3_5", "gain = 3_5 is no number"},
           {"gain=+-5", "gain = +-5 is no number"},
           {"gain=5 Hz", "has the unit Hz, and the knob has dB; its range"},
           {"gain=11 db", "gain = 11 db is out of its range"},
           {"tone=5%", "has the unit %, and the knob has none"},
           {"cut=30000 Hz", "out of its range, 0.1 to 20 kHz"},
           {"cut=1 s", "has the unit s, and the knob has kHz"},
           {"wide mode=wied", "did you mean 'wide'?"},
           {"mode=c", "mode = c is out of its range, a or b"},
           {"gian=5", "did you mean 'gain'"},
           {"gain", "expected NAME=VALUE"}}) {
    EXPECT_NE(error_of(knobs, {setting}).find(said), std::string::npos) << error_of(knobs, {setting});
  }
  EXPECT_NE(error_of({}, {"gain=5"}).find("the model has no knobs"), std::string::npos);
}

}  // namespace
}  // namespace cafx
