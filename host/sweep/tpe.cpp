// The tree-structured Parzen estimator as a Proposer.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "host/sweep/plan.h"
#include "host/sweep/search.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

constexpr double kGood = 0.25;  // share of results that count as good
constexpr int kDrawn = 24;      // candidates drawn from the good ones

// A mixture of normals cut to [0, 1], one around each point, and a flat part as wide as one point.
struct Parzen {
  std::vector<double> centres;
  double width = 1.0;

  explicit Parzen(std::vector<double> points) : centres(std::move(points)) {
    // Scott's rule on the unit interval, never narrower than that many points, the flat part among them, lie apart: a
    // narrow peak over a few good points would be proposed again and again, and nothing beyond them.
    const auto n = static_cast<double>(centres.size());
    double mean = 0.0, square = 0.0;
    for (const double c : centres) mean += c / std::max(1.0, n);
    for (const double c : centres) square += (c - mean) * (c - mean) / std::max(1.0, n);
    width = std::clamp(1.06 * std::sqrt(square) * std::pow(std::max(1.0, n), -0.2),
                       1.0 / std::clamp(n + 1.0, 2.0, 100.0), 0.5);
  }

  double density(double x) const {
    double total = 1.0;
    for (const double c : centres) {
      const auto cdf = [&](double v) { return 0.5 * std::erfc(-(v - c) / (width * std::sqrt(2.0))); };
      const double inside = std::max(1e-12, cdf(1.0) - cdf(0.0));
      total += std::exp(-0.5 * (x - c) * (x - c) / (width * width)) / (width * 2.5066282746310002 * inside);
    }
    return total / (static_cast<double>(centres.size()) + 1.0);
  }

  double draw(const Rng& rng, std::uint64_t i) const {
    const auto pick = static_cast<std::size_t>(rng.uniform(3 * i) * static_cast<double>(centres.size() + 1));
    if (pick >= centres.size()) return rng.uniform(3 * i + 1);
    for (std::uint64_t k = 0; k < 50; ++k) {
      const double x = centres[pick] + width * Rng{rng.seed, rng.stream + 1 + k}.normal(3 * i + 2);
      if (x >= 0.0 && x < 1.0) return x;
    }
    return centres[pick];
  }
};

}  // namespace

std::vector<double> tpe_suggest(const std::vector<std::vector<double>>& points, const std::vector<double>& values,
                                int dimensions, std::uint64_t seed, int index) {
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  const auto n_good = static_cast<std::size_t>(std::ceil(kGood * static_cast<double>(points.size())));
  std::vector<double> best(static_cast<std::size_t>(dimensions));
  for (int d = 0; d < dimensions; ++d) {
    std::vector<double> good, bad;
    for (std::size_t k = 0; k < order.size(); ++k) {
      (k < n_good ? good : bad).push_back(points[order[k]][static_cast<std::size_t>(d)]);
    }
    const Parzen l(good), g(bad);
    const Rng rng{seed, 0x7E0000u + static_cast<std::uint64_t>(index) * 4096u + static_cast<std::uint64_t>(d) * 64u};
    double most = -1.0;
    for (std::uint64_t i = 0; i < kDrawn; ++i) {
      const double x = l.draw(rng, i), score = l.density(x) / g.density(x);
      if (score > most) {
        most = score;
        best[static_cast<std::size_t>(d)] = x;
      }
    }
  }
  return best;
}

namespace {

// Points of the axes that are not crossed, each with every value of the crossed ones; the objective is the mean over
// those. Proposals are kept in a file, so that a restart continues with them.
class Tpe : public Proposer {
 public:
  Tpe(const Spec& spec, Plan& plan, DataCatalogue& data, std::filesystem::path journal,
      std::function<void(std::vector<Task>&, std::size_t)> added)
      : spec_(spec), plan_(plan), data_(data), journal_(std::move(journal)), added_(std::move(added)) {
    std::vector<const Axis*> crossed;
    for (const Axis& axis : spec.axes) {
      if (!axis.crossed) axes_.push_back(&axis);
      if (axis.crossed) crossed.push_back(&axis);
    }
    crossed_ = cross(crossed, spec.base);
    for (const Axis* axis : axes_) {
      about_.push_back({axis->keys, axis->lo, axis->hi, axis->log, axis->values});
    }
    points_ = proposed_before();
    points_.resize(std::min(points_.size(), static_cast<std::size_t>(spec.sweep.budget)));
    for (const auto& u : points_) tasks_of_.push_back(add(u));
  }

  bool propose(std::vector<Task>& tasks, const std::vector<Trial>& trials, int free) override {
    std::map<int, double> value;
    for (const Trial& t : trials) {
      const bool over = t.state == State::kFailed || t.state == State::kBlocked || t.state == State::kPruned;
      if (t.state == State::kDone) value[t.task] = t.value;
      // A failed run counts as the worst; a run stopped early by its last value, where that is of the objective.
      const bool told = !t.rungs.empty() && spec_.sweep.objective == validation_name(spec_.base.train);
      if (over || t.state == State::kPaused) value[t.task] = told ? t.rungs.back().second : kWorst;
    }
    bool any = false;
    const auto each = static_cast<int>(crossed_.size());
    for (int room = free; room > 0 && !finished(); room -= each) {
      std::vector<std::vector<double>> known;
      std::vector<double> values;
      for (std::size_t i = 0; i < points_.size(); ++i) {
        double sum = 0.0;
        bool complete = true;
        for (const int t : tasks_of_[i]) {
          const auto found = value.find(t);
          complete = complete && found != value.end();
          if (complete) sum += std::isfinite(found->second) ? found->second : kWorst;
        }
        if (!complete) continue;
        known.push_back(points_[i]);
        values.push_back(sum);
      }
      const auto index = static_cast<int>(points_.size()), n = static_cast<int>(axes_.size());
      const auto seed = static_cast<std::uint64_t>(spec_.sweep.seed);
      std::vector<double> u;
      if (static_cast<int>(known.size()) < spec_.sweep.startup) {
        u = first_point(index, n, seed);
      } else {
        u = tpe_suggest(known, values, n, seed, index);
      }
      const std::size_t before = tasks.size();
      points_.push_back(u);
      const std::string text = Json{{"axes", about_}, {"points", points_}}.dump() + "\n";
      write_file_atomically(journal_, text.data(), text.size());
      tasks_of_.push_back(add(u));
      any = true;
      added_(tasks, before);
    }
    return any;
  }

  bool finished() const override { return points_.size() >= static_cast<std::size_t>(spec_.sweep.budget); }

 private:
  static constexpr double kWorst = 1e9;

  // Evenly spread, so that no part of an axis goes untried before the model of good points decides.
  static std::vector<double> first_point(int index, int n, std::uint64_t seed) {
    if (n <= kMostSobol) return sobol_point(static_cast<std::uint32_t>(index), n, seed);
    std::vector<double> u;
    for (int d = 0; d < n; ++d) u.push_back(Rng{seed, 0x5EED}.uniform(static_cast<std::uint64_t>(index * 4096 + d)));
    return u;
  }

  // Of these axes: on others the same coordinates are other settings, or there are too few of them.
  std::vector<std::vector<double>> proposed_before() const {
    const Json known = Store::read_json(journal_);
    std::vector<std::vector<double>> points;
    try {
      if (known.is_object() && known.at("axes") != about_) return {};
      points = (known.is_object() ? known.at("points") : known).get<std::vector<std::vector<double>>>();
    } catch (const Json::exception&) {
      return {};
    }
    const bool fit = std::all_of(points.begin(), points.end(), [&](const auto& u) { return u.size() == axes_.size(); });
    return fit ? points : std::vector<std::vector<double>>();
  }

  std::vector<int> add(const std::vector<double>& u) {
    std::vector<int> tasks;
    const Point chosen = point_at(axes_, u, spec_.base);
    for (const Point& p : crossed_) {
      Point all = p;
      all.insert(all.end(), chosen.begin(), chosen.end());
      tasks.push_back(plan_.add(spec_, data_, all));
    }
    return tasks;
  }

  const Spec& spec_;
  Plan& plan_;
  DataCatalogue& data_;
  std::filesystem::path journal_;
  std::function<void(std::vector<Task>&, std::size_t)> added_;
  std::vector<const Axis*> axes_;
  Json about_ = Json::array();  // the axes, as the journal has them
  std::vector<Point> crossed_;
  std::vector<std::vector<double>> points_;
  std::vector<std::vector<int>> tasks_of_;
};

}  // namespace

std::unique_ptr<Proposer> make_tpe(const Spec& spec, Plan& plan, DataCatalogue& data,
                                   const std::filesystem::path& journal,
                                   std::function<void(std::vector<Task>&, std::size_t)> added) {
  return std::make_unique<Tpe>(spec, plan, data, journal, std::move(added));
}

}  // namespace cafx
