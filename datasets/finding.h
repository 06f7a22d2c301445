// datasets/finding.h -- what the doctor says: where, what, why, and what to do.
#pragma once

#include <string>
#include <vector>

#include "datasets/config.h"
#include "kernels/base/printable.h"

namespace cafx {

enum class Severity { kInfo, kWarning, kRefuse };

// Text says what, cause why, cure what to do; each is one line.
struct Finding {
  Severity severity = Severity::kInfo;
  std::string code;       // "latency", "polarity", "clipping", ...: what data.allow names
  std::string file;       // or note
  double seconds = -1.0;  // where in the file; negative: all of it
  std::string text, cause, cure;
};

// Whether training stops at it: of severity kRefuse, and its code not in config.allow.
bool stops_training(const Finding&, const DataConfig&);

// Refusals first; at most three of one kind and severity, the last of them saying how many more there are.
std::vector<Finding> shorten(const std::vector<Finding>&);
std::string to_string(Severity);
std::string format_findings(const std::vector<Finding>&);  // text for people, a few lines each

}  // namespace cafx
