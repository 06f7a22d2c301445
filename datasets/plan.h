// datasets/plan.h -- what will be done to which pair, how sure that is, and by which rule. Made from what the doctor
// saw; data.repair, data.align and data.drift choose what may be done. datasets/repair/ does it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "datasets/find/find.h"

namespace cafx {

// One thing that is done, in words and in numbers.
struct Repair {
  std::string what;  // as in data.repair
  std::string file;  // or "all 12 pairs"
  double amount = 0.0;
  std::string unit;         // "samples", "ppm", "of full scale", "dB"
  double seconds = -1.0;    // where; negative: all of it
  double confidence = 1.0;  // 0 .. 1
  std::string rule;         // what that was measured by
  std::string text;         // one line
};

struct SidePlan {
  double gain = 1.0;
  double dc = 0.0;
  std::vector<float> baseline;  // every kBaselineSeconds; instead of dc
};

inline constexpr double kStepMargin = 0.1;  // seconds that belong to no part, on either side of a step, at least

struct PairPlan {
  SidePlan dry, wet;
  double latency = 0.0;     // samples at the start of dry, once the drift is out; 0: nothing is moved
  double ppm = 0.0;         // wet's clock runs slow by this
  std::vector<Step> steps;  // the pair is cut there; `margin` on either side is left out
};

struct RepairPlan {
  std::vector<PairPlan> pairs;
  std::vector<Repair> repairs;
  std::vector<Finding> findings;  // about what is done, and what is not and should be
};

RepairPlan make_plan(const std::vector<Pair>&, const Seen&, const DataConfig&, int sample_rate);

std::string format_plan(const std::vector<Repair>&);  // for people; empty where nothing is done
nlohmann::ordered_json plan_json(const std::vector<Repair>&);

}  // namespace cafx
