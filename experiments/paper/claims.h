// experiments/paper/claims.h -- the paper's claims, each with a numeric rule.
#pragma once

#include <string>
#include <vector>

#include "experiments/paper/study.h"

namespace cafx {

enum class Verdict { kShown, kNotShown, kContradicted, kNotJudged, kNotTested };
const char* to_string(Verdict);

// The verdict of one model on a claim.
struct Judged {
  std::string model, preset;  // "Distortion 1, guitar"; "default", with what varies
  Verdict verdict = Verdict::kNotTested;
  double key = 0.0;     // the number that the rule tests; less is better
  std::string numbers;  // it, beside the numbers of the rule
};

// Shown: by every model that the rule applies to. Contradicted: some model contradicts it and none shows it. Not
// judged: all that do not show it heard under kEnoughFrames. Else not shown.
struct Claim {
  std::string text;  // as the paper or the talk says it
  std::string rule;  // what decides
  Verdict verdict = Verdict::kNotTested;
  std::string evidence;        // "shown for 5 of 6, 1 against (preset default 3 of 3, paper 2 of 3)"
  std::vector<Judged> models;  // best first
};
// Judges by the main experiments, without variants.
std::vector<Claim> judge(const std::vector<Experiment>&);

// MAE and ESR, output against target, of the clips on the authors' own page, as a range; measured from 24 kbit/s
// copies.
struct Published {
  const char *effect, *mae, *esr;
  double goal;  // mean ESR on test notes that this project aims at
};
const Published* published(const std::string& effect);  // "Distortion 2"; null where there is none

}  // namespace cafx
