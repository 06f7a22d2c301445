#include "datasets/positions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "datasets/dataset.h"
#include "datasets/readers/name_pattern.h"

namespace cafx {

double value_in(const Knob& knob, const KnobValue& value, const std::string& where) {
  return value_of(knob, knob.is_switch() ? value.show() : decimal_point(value.show()), where);
}

namespace {

constexpr const char* kCode = "positions";
constexpr std::size_t kMostNamed = 8;

// Where a knob stands, over some of the pairs.
std::set<double> positions_of(const Dataset& data, const std::vector<int>& part, const Knob& knob) {
  std::set<double> positions;
  for (const int i : part) {
    const Pair& p = data.pairs[static_cast<std::size_t>(i)];
    for (const KnobValue& v : p.knobs) {
      if (v.name == knob.name) positions.insert(value_in(knob, v, file_of(p, true)));
    }
  }
  return positions;
}

std::string list_of(const Knob& knob, const std::set<double>& positions) {
  std::vector<std::string> names;
  for (const double v : positions) {
    if (names.size() < kMostNamed) names.push_back(knob.show(v));
  }
  return fmt::format("{}{}", fmt::join(names, ", "), positions.size() > kMostNamed ? ", ..." : "");
}

class Positions {
 public:
  Positions(const Dataset& data, const Split& split, const DataConfig& config, const Knob& knob)
      : config_(config), knob_(knob), heard_(positions_of(data, split.train, knob)), recorded_(heard_) {
    for (const auto* part : {&split.validation, &split.test}) recorded_.merge(positions_of(data, *part, knob));
  }

  void tell(std::vector<Finding>& found) const {
    if (heard_.empty()) return;
    if (heard_.size() == 1) {
      found.push_back(one_alone());
    } else if (knob_.is_switch()) {
      tell_switch(found);
    } else {
      tell_range(found);
    }
  }

 private:
  Finding finding(Severity severity, std::string text, std::string cause, std::string cure) const {
    return {severity,         kCode,          "the knob " + printable_line(knob_.name), -1.0, std::move(text),
            std::move(cause), std::move(cure)};
  }

  bool is_selected() const {
    return std::any_of(config_.select.begin(), config_.select.end(),
                       [&](const std::string& s) { return s.substr(0, s.find('=')) == knob_.name; });
  }

  Finding one_alone() const {
    const std::string text = fmt::format(
        "stands at {} in every recording of training: a model cannot learn what it does", knob_.show(*heard_.begin()));
    if (recorded_.size() == 1 && is_selected()) {
      return finding(Severity::kRefuse, text,
                     fmt::format("data.select chose {} = {}", knob_.name, list_of(knob_, heard_)),
                     "leave it out of data.select to learn it, or out of data.knobs to model this position");
    }
    if (recorded_.size() == 1) {
      return finding(Severity::kRefuse, text, "it was recorded at no other position",
                     "leave it out of data.knobs, or record it at other positions too");
    }
    const bool by_knobs = config_.split == "knobs";
    return finding(
        Severity::kRefuse, text,
        fmt::format("{} positions were recorded ({}), and {} the others for validation and test", recorded_.size(),
                    list_of(knob_, recorded_), by_knobs ? "data.split = \"knobs\" keeps" : "the split keeps"),
        by_knobs ? "record four positions and more, or set data.split=note, which has all of them in training"
                 : "record more at the others, or choose the parts by data.validation_notes and "
                   "data.test_notes");
  }

  void tell_switch(std::vector<Finding>& found) const {
    std::set<double> missing;
    for (std::size_t i = 0; i < knob_.positions.size(); ++i) {
      if (!heard_.count(static_cast<double>(i))) missing.insert(static_cast<double>(i));
    }
    if (missing.empty()) return;
    found.push_back(finding(
        Severity::kWarning,
        fmt::format("has no recording in training at {}: what a model plays there is a guess", list_of(knob_, missing)),
        fmt::format("training has it at {}", list_of(knob_, heard_)),
        "record it there, or leave the position out of data.knobs"));
  }

  void tell_range(std::vector<Finding>& found) const {
    const double lo = *heard_.begin(), hi = *heard_.rbegin(), beyond = std::max(lo - knob_.lo, knob_.hi - hi);
    const std::string heard = fmt::format("{} to {}", knob_.show(lo), knob_.show(hi));
    if (beyond > 0.5 * (hi - lo)) {
      found.push_back(finding(
          Severity::kWarning,
          fmt::format(
              "has the range {}, and training has recordings from {} alone: what a model plays beyond is a guess",
              knob_.range(), heard),
          "the range of data.knobs is wider than what was recorded",
          fmt::format("give the range that was recorded, as '{}: {}..{}{}{}', or record the rest", knob_.name, lo, hi,
                      knob_.unit.empty() ? "" : " ", knob_.unit)));
    }
    const double least = *recorded_.begin(), most = *recorded_.rbegin();
    if (least == lo && most == hi) return;
    found.push_back(finding(
        Severity::kWarning,
        fmt::format("was recorded from {} to {}, and training has {} alone: the rest judges a guess", knob_.show(least),
                    knob_.show(most), heard),
        config_.split == "knobs"
            ? fmt::format("data.split = \"knobs\" took an end of it, for want of positions between: {} were recorded",
                          recorded_.size())
            : std::string("its end is in validation or test alone"),
        config_.split == "knobs" ? "record more positions, lower data.validation and data.test, or set data.split=note"
                                 : "let training have the ends of the knob"));
  }

  const DataConfig& config_;
  const Knob& knob_;
  std::set<double> heard_, recorded_;
};

}  // namespace

std::vector<Finding> check_positions(const Dataset& data, const Split& split, const DataConfig& config) {
  std::vector<Finding> found;
  for (const Knob& knob : parse_knobs(config.knobs, "data.knobs")) Positions(data, split, config, knob).tell(found);
  return found;
}

}  // namespace cafx
