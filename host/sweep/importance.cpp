#include "host/sweep/importance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <set>

#include "kernels/base/error.h"
#include "kernels/base/rng.h"

namespace cafx {

namespace {

constexpr int kTrees = 64, kMinLeaf = 2;
constexpr std::size_t kMostLevels = 16, kLeastRuns = 8, kMostRuns = 2000;

struct Leaf {
  std::vector<double> lo, hi;
  double value;
};

class Tree {
 public:
  Tree(const std::vector<std::vector<double>>& x, const std::vector<double>& y, Rng rng) : x_(x), y_(y), rng_(rng) {
    std::vector<int> rows(y.size());
    for (int& r : rows) r = static_cast<int>(rng_.bits64(counter_++) % y.size());
    grow(rows, std::vector<double>(x.size(), 0.0), std::vector<double>(x.size(), 1.0));
  }

  // Variances over the unit cube: of the whole tree, and of each setting's marginal.
  double variance() const {
    double mean = 0.0, square = 0.0;
    for (const Leaf& l : leaves_) {
      const double v = volume(l, x_.size());
      mean += v * l.value;
      square += v * l.value * l.value;
    }
    return square - mean * mean;
  }
  double variance_of(std::size_t setting) const {
    std::set<double> cuts{0.0, 1.0};
    for (const Leaf& l : leaves_) cuts.insert({l.lo[setting], l.hi[setting]});
    double mean = 0.0, square = 0.0;
    for (auto right = std::next(cuts.begin()); right != cuts.end(); ++right) {
      const double left = *std::prev(right), middle = 0.5 * (left + *right);
      double value = 0.0;
      for (const Leaf& l : leaves_) {
        if (l.lo[setting] < middle && middle < l.hi[setting]) value += volume(l, setting) * l.value;
      }
      mean += (*right - left) * value;
      square += (*right - left) * value * value;
    }
    return square - mean * mean;
  }

 private:
  // Volume of the box along all settings but one.
  double volume(const Leaf& l, std::size_t without) const {
    double v = 1.0;
    for (std::size_t i = 0; i < x_.size(); ++i) v *= i == without ? 1.0 : l.hi[i] - l.lo[i];
    return v;
  }

  void grow(std::vector<int>& rows, std::vector<double> lo, std::vector<double> hi) {
    double sum = 0.0, square = 0.0;
    for (const int r : rows) {
      sum += y(r);
      square += y(r) * y(r);
    }
    const auto n = static_cast<double>(rows.size());
    double best_gain = 1e-12 * square;
    std::size_t best_setting = 0;
    double best_cut = -1.0;
    if (rows.size() >= 2 * kMinLeaf) {
      // Five of six settings at each split, so that trees differ.
      std::vector<std::size_t> settings(x_.size());
      std::iota(settings.begin(), settings.end(), 0);
      for (std::size_t i = settings.size(); i > 1; --i)
        std::swap(settings[i - 1], settings[rng_.bits64(counter_++) % i]);
      settings.resize((5 * settings.size() + 5) / 6);
      for (const std::size_t s : settings) {
        std::sort(rows.begin(), rows.end(),
                  [&](int a, int b) { return std::pair(x(s, a), a) < std::pair(x(s, b), b); });
        double left = 0.0;
        for (std::size_t i = 1; i < rows.size(); ++i) {
          left += y(rows[i - 1]);
          if (i < kMinLeaf || rows.size() - i < kMinLeaf || x(s, rows[i - 1]) == x(s, rows[i])) continue;
          const auto k = static_cast<double>(i);
          const double gain = left * left / k + (sum - left) * (sum - left) / (n - k) - sum * sum / n;
          if (gain > best_gain) {
            best_gain = gain;
            best_setting = s;
            best_cut = 0.5 * (x(s, rows[i - 1]) + x(s, rows[i]));
          }
        }
      }
    }
    if (best_cut < 0.0) {
      leaves_.push_back({std::move(lo), std::move(hi), sum / n});
      return;
    }
    std::vector<int> below, above;
    for (const int r : rows) (x(best_setting, r) < best_cut ? below : above).push_back(r);
    std::vector<double> middle_hi = hi, middle_lo = lo;
    middle_hi[best_setting] = middle_lo[best_setting] = best_cut;
    grow(below, std::move(lo), std::move(middle_hi));
    grow(above, std::move(middle_lo), std::move(hi));
  }

  double x(std::size_t setting, int row) const { return x_[setting][static_cast<std::size_t>(row)]; }
  double y(int row) const { return y_[static_cast<std::size_t>(row)]; }

  const std::vector<std::vector<double>>& x_;
  const std::vector<double>& y_;
  Rng rng_;
  std::uint64_t counter_ = 0;
  std::vector<Leaf> leaves_;
};

}  // namespace

std::vector<Parameter> parameters_of(const std::vector<const Row*>& rows) {
  std::vector<Row> copies;
  copies.reserve(rows.size());
  for (const Row* r : rows) copies.push_back(*r);
  std::vector<Parameter> all;
  for (const std::string& name : setting_names(copies)) {
    std::set<std::string> words;
    std::set<double> numbers;
    for (const Row* r : rows) {
      words.insert(setting_text(*r->task, name));
      for (const auto& [key, value] : r->task->point) {
        if (key == name && value.is_number()) numbers.insert(value.get<double>());
      }
    }
    if (words.size() < 2) continue;
    Parameter p;
    p.name = name;
    const bool absent = words.count("") > 0, numeric = numbers.size() + absent == words.size();
    if (numeric && words.size() > kMostLevels) {
      const double least = *numbers.begin(), most = *numbers.rbegin();
      const bool log = least > 0.0 && most / least >= 30.0;
      const double floor = absent ? 0.2 : 0.0;
      const auto place = [&](double v) {
        const double u = log ? std::log(v / least) / std::log(most / least) : (v - least) / (most - least);
        return floor + (1.0 - floor) * u;
      };
      for (const Row* r : rows) {
        double at = 0.0;
        for (const auto& [key, value] : r->task->point) {
          if (key == name) at = place(value.get<double>());
        }
        p.at.push_back(at);
      }
      for (const double u : {0.0, 0.25, 0.5, 0.75, 1.0}) {
        const double v = log ? least * std::pow(most / least, u) : least + u * (most - least);
        p.ticks.emplace_back(floor + (1.0 - floor) * u, fmt::format("{:.3g}", v));
      }
      if (absent) p.ticks.emplace_back(0.0, "-");
    } else {
      std::vector<std::string> levels;
      if (numeric) {
        if (absent) levels.push_back("");
        for (const double v : numbers) {
          for (const std::string& w : words) {
            if (!w.empty() && std::strtod(w.c_str(), nullptr) == v) levels.push_back(w);
          }
        }
      } else {
        levels.assign(words.begin(), words.end());
      }
      const auto n = static_cast<double>(levels.size());
      for (std::size_t i = 0; i < levels.size(); ++i)
        p.ticks.emplace_back((static_cast<double>(i) + 0.5) / n, levels[i].empty() ? "-" : levels[i]);
      for (const Row* r : rows) {
        const auto found = std::find(levels.begin(), levels.end(), setting_text(*r->task, name));
        p.at.push_back((static_cast<double>(found - levels.begin()) + 0.5) / n);
      }
    }
    all.push_back(std::move(p));
  }
  return all;
}

std::vector<double> importance(const std::vector<std::vector<double>>& x, const std::vector<double>& y,
                               std::uint64_t seed) {
  for (const auto& column : x) CAFX_CHECK(column.size() == y.size(), column.size(), y.size());
  if (x.empty() || y.size() < kLeastRuns ||
      *std::min_element(y.begin(), y.end()) == *std::max_element(y.begin(), y.end()))
    return {};
  if (y.size() > kMostRuns) {  // a sample of the runs: cost grows with the square of their number
    std::vector<std::vector<double>> some(x.size());
    std::vector<double> some_y;
    const auto order = permutation(static_cast<std::uint32_t>(y.size()), Rng{seed, 0});
    for (std::size_t i = 0; i < kMostRuns; ++i) {
      for (std::size_t s = 0; s < x.size(); ++s) some[s].push_back(x[s][order[i]]);
      some_y.push_back(y[order[i]]);
    }
    return importance(some, some_y, seed);
  }
  std::vector<double> share(x.size(), 0.0);
  int counted = 0;
  for (int t = 0; t < kTrees; ++t) {
    const Tree tree(x, y, Rng{seed, static_cast<std::uint64_t>(t) + 1});
    const double all = tree.variance();
    if (!(all > 0.0)) continue;
    ++counted;
    for (std::size_t s = 0; s < x.size(); ++s) share[s] += tree.variance_of(s) / all;
  }
  if (counted == 0) return {};
  for (double& s : share) s = std::clamp(s / counted, 0.0, 1.0);
  return share;
}

}  // namespace cafx
