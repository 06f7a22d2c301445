#include "datasets/finding.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace cafx {

bool stops_training(const Finding& f, const DataConfig& config) {
  return f.severity == Severity::kRefuse &&
         std::find(config.allow.begin(), config.allow.end(), f.code) == config.allow.end();
}

std::string to_string(Severity s) {
  return s == Severity::kInfo ? "note" : s == Severity::kWarning ? "warning" : "refused";
}

std::vector<Finding> shorten(const std::vector<Finding>& findings) {
  constexpr std::size_t kMost = 3;
  const auto is_alike = [](const Finding& f) {  // each of the others is of another knob, and names what to choose
    return f.code != "settings" && f.code != "knobs" && f.code != "positions";
  };
  std::map<std::pair<Severity, std::string>, std::vector<const Finding*>> kinds;
  for (const Finding& f : findings) kinds[{f.severity, f.code}].push_back(&f);
  std::vector<Finding> some;
  for (const Severity severity : {Severity::kRefuse, Severity::kWarning, Severity::kInfo}) {
    for (const Finding& f : findings) {
      const auto& alike = kinds[{f.severity, f.code}];
      const auto nth = static_cast<std::size_t>(std::find(alike.begin(), alike.end(), &f) - alike.begin());
      if (f.severity != severity || (is_alike(f) && nth >= kMost)) continue;
      some.push_back(f);
      if (is_alike(f) && nth + 1 == kMost && alike.size() > kMost) {
        some.back().text +=
            fmt::format(" (and {} more files alike; --json of 'cafx data check' lists all)", alike.size() - kMost);
      }
    }
  }
  return some;
}

std::string format_findings(const std::vector<Finding>& findings) {
  if (findings.empty()) return "nothing was found\n";
  std::string text;
  for (const Finding& f : shorten(findings)) {
    text += fmt::format("{} [{}] {}{}: {}\n    cause: {}\n    cure:  {}\n", to_string(f.severity), f.code, f.file,
                        f.seconds >= 0.0 ? fmt::format(" at {:.3f} s", f.seconds) : "", f.text, f.cause, f.cure);
  }
  return text;
}

}  // namespace cafx
