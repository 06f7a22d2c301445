// Knobs in words: what is one, where it stands, and what a model reads of that.
#include <gtest/gtest.h>

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
  EXPECT_EQ(controls_at(knobs, knobs_at_start(knobs))[0], 0.0f);
  EXPECT_EQ(value_of(parse_knobs({"switch: 0|1"}, "x")[0], "1.0", "x"), 1.0) << "a position that is a number";
  EXPECT_THROW(knob_values(parse_knobs({"a: 0..1"}, "x"), {"a=0", "A=1"}, "x"), Error) << "set twice";
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
  const std::vector<std::string> knobs{"gain: 0..10 dB", "mode: a|b"};
  for (const auto& [setting, said] :
       std::vector<std::pair<std::string, std::string>>{{"gain=11", "gain = 11 is out of its range, 0 to 10 dB"},
                                                        {"gain=3,5", "gain = 3,5 is no number; write it with a point"},
                                                        {"gain=nan", "out of its range"},
                                                        {"gain=loud", "out of its range"},
                                                        {"gain=5 Hz", "out of its range"},
                                                        {"mode=c", "mode = c is out of its range, a or b"},
                                                        {"gian=5", "did you mean 'gain'"},
                                                        {"gain", "expected NAME=VALUE"}}) {
    EXPECT_NE(error_of(knobs, {setting}).find(said), std::string::npos) << error_of(knobs, {setting});
  }
  EXPECT_NE(error_of({}, {"gain=5"}).find("the model has no knobs"), std::string::npos);
}

}  // namespace
}  // namespace cafx
