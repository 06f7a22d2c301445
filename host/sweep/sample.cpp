// Points from axes: grid, random, Sobol.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <set>

#include "host/sweep/spec.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"

namespace cafx {

namespace {

// Primitive polynomials and initial direction numbers (S. Joe and F. Kuo 2008, new-joe-kuo-6), dimensions 2 to 16:
// degree, coefficients, m.
struct Direction {
  int degree;
  std::uint32_t a;
  std::array<std::uint32_t, 6> m;
};
constexpr Direction kDirections[] = {{1, 0, {1}},
                                     {2, 1, {1, 3}},
                                     {3, 1, {1, 3, 1}},
                                     {3, 2, {1, 1, 1}},
                                     {4, 1, {1, 1, 3, 3}},
                                     {4, 4, {1, 3, 5, 13}},
                                     {5, 2, {1, 1, 5, 5, 17}},
                                     {5, 4, {1, 1, 5, 5, 5}},
                                     {5, 7, {1, 1, 7, 11, 19}},
                                     {5, 11, {1, 1, 5, 1, 1}},
                                     {5, 13, {1, 1, 1, 3, 11}},
                                     {5, 14, {1, 3, 5, 5, 31}},
                                     {6, 1, {1, 3, 3, 9, 7, 49}},
                                     {6, 13, {1, 1, 1, 15, 21, 21}},
                                     {6, 16, {1, 3, 1, 13, 27, 49}}};
static_assert(kMostSobol == 1 + static_cast<int>(std::size(kDirections)));

std::uint32_t sobol_bits(std::uint32_t i, int dimension) {
  std::array<std::uint32_t, 32> v{};
  if (dimension == 0) {
    for (unsigned k = 0; k < 32; ++k) v[k] = 1u << (31 - k);
  } else {
    const Direction& d = kDirections[dimension - 1];
    const auto s = static_cast<unsigned>(d.degree);
    for (unsigned k = 0; k < 32; ++k) {
      if (k < s) {
        v[k] = d.m[k] << (31 - k);
        continue;
      }
      v[k] = v[k - s] ^ (v[k - s] >> s);
      for (unsigned j = 1; j < s; ++j) v[k] ^= ((d.a >> (s - 1 - j)) & 1u) * v[k - j];
    }
  }
  const std::uint32_t gray = i ^ (i >> 1);
  std::uint32_t x = 0;
  for (unsigned k = 0; k < 32; ++k) {
    if ((gray >> k) & 1u) x ^= v[k];
  }
  return x;
}

bool same(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return a.get<double>() == b.get<double>();
  return a == b;
}

// Whether the axis is active, given the settings so far and the base.
bool active(const Axis& axis, const Point& point, const Json& base) {
  return std::all_of(axis.when.begin(), axis.when.end(), [&](const Setting& s) {
    for (const Setting& set : point) {
      if (set.first == s.first) return same(set.second, s.second);
    }
    return same(base.at(s.first), s.second);
  });
}

void put(Point& point, const Axis& axis, const std::vector<Json>& values) {
  for (std::size_t k = 0; k < axis.keys.size(); ++k) point.emplace_back(axis.keys[k], values[k]);
}

Json values_of(const RunConfig& base) {
  RunConfig copy = base;
  return to_json(describe(copy));
}

// An axis that others name in `when` comes before them.
std::vector<const Axis*> ordered(std::vector<const Axis*> axes) {
  std::vector<const Axis*> result;
  while (!axes.empty()) {
    const auto next = std::find_if(axes.begin(), axes.end(), [&](const Axis* a) {
      return std::none_of(a->when.begin(), a->when.end(), [&](const Setting& s) {
        return std::any_of(axes.begin(), axes.end(), [&](const Axis* b) {
          return b != a && std::find(b->keys.begin(), b->keys.end(), s.first) != b->keys.end();
        });
      });
    });
    if (next == axes.end()) throw Error("{}: its `when` and another's ask for each other", axes[0]->where);
    result.push_back(*next);
    axes.erase(next);
  }
  return result;
}

}  // namespace

std::vector<double> sobol_point(std::uint32_t i, int dimensions, std::uint64_t seed) {
  if (dimensions > kMostSobol) {
    throw Error("sweep.sampling = \"sobol\" takes at most {} axes that are not crossed, found {}; use \"random\"",
                kMostSobol, dimensions);
  }
  std::vector<double> u;
  for (int d = 0; d < dimensions; ++d) {
    // A digital shift keeps the sequence's balance and moves it off the origin.
    const std::uint32_t shift = Rng{seed, 0x50B01}.bits(static_cast<std::uint64_t>(d))[0];
    u.push_back(static_cast<double>(sobol_bits(i, d) ^ shift) * 0x1p-32);
  }
  return u;
}

Point point_at(const std::vector<const Axis*>& axes, const std::vector<double>& u, const RunConfig& base) {
  const Json flat_base = values_of(base);
  Point point;
  const auto order = ordered(axes);
  for (const Axis* axis : order) {
    const auto i = static_cast<std::size_t>(std::find(axes.begin(), axes.end(), axis) - axes.begin());
    if (active(*axis, point, flat_base)) put(point, *axis, axis->at(u[i]));
  }
  return point;
}

std::vector<Point> cross(const std::vector<const Axis*>& axes, const RunConfig& base) {
  const Json flat_base = values_of(base);
  std::vector<Point> points{Point()};
  for (const Axis* axis : ordered(axes)) {
    std::vector<Point> next;
    for (const Point& p : points) {
      if (!active(*axis, p, flat_base)) {
        next.push_back(p);
        continue;
      }
      for (const auto& values : axis->values) {
        next.push_back(p);
        put(next.back(), *axis, values);
        if (next.size() > 1000000) throw Error("the axes make over a million runs; use sweep.sampling = \"sobol\"");
      }
    }
    points = std::move(next);
  }
  return points;
}

std::vector<Point> sample_points(const Spec& spec) {
  std::vector<const Axis*> crossed, sampled;
  for (const Axis& axis : spec.axes) {
    const bool grid = spec.sweep.sampling == "grid";
    if (!grid && axis.crossed && axis.continuous()) {
      throw Error("{}: an axis that is crossed needs values; add points = N, or cross = false", axis.where);
    }
    (grid || axis.crossed ? crossed : sampled).push_back(&axis);
  }
  std::vector<Point> points = cross(crossed, spec.base);
  const auto budget = static_cast<std::uint32_t>(spec.sweep.budget);
  if (spec.sweep.sampling == "grid") {
    if (budget > 0 && points.size() > budget) points.resize(budget);
    return points;
  }
  if (spec.sweep.sampling == "tpe") return {};
  const auto n = static_cast<int>(sampled.size());
  std::vector<Point> all;
  std::set<std::string> seen;
  // Discrete axes repeat values: draw until the budget is met or no new point appears.
  for (std::uint32_t i = 0, found = 0; found < budget && i < 50 * budget + 100; ++i) {
    std::vector<double> u;
    if (spec.sweep.sampling == "sobol") {
      u = sobol_point(i, n, static_cast<std::uint64_t>(spec.sweep.seed));
    } else {
      const Rng rng{static_cast<std::uint64_t>(spec.sweep.seed), 0x5EED};
      for (int d = 0; d < n; ++d) u.push_back(rng.uniform(std::uint64_t{i} * 4096 + static_cast<std::uint64_t>(d)));
    }
    const Point chosen = point_at(sampled, u, spec.base);
    if (!seen.insert(label(chosen)).second) continue;
    ++found;
    for (const Point& p : points) {
      all.push_back(p);
      all.back().insert(all.back().end(), chosen.begin(), chosen.end());
    }
  }
  return all;
}

RunConfig with_settings(const RunConfig& base, const Point& point, const std::string& where) {
  RunConfig config = base;
  Fields fields = describe(config);
  Json settings = Json::object();
  for (const auto& [key, value] : point) settings[key] = value;
  set_fields(fields, settings, where);
  return config;
}

std::string value_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  return value.dump();
}

std::string label(const Point& point) {
  std::string text;
  for (const auto& [key, value] : point) text += (text.empty() ? "" : " ") + key + "=" + value_text(value);
  return text.empty() ? "base" : text;
}

}  // namespace cafx
