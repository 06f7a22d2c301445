#include "datasets/find/turned.h"

#include <algorithm>
#include <cmath>

#include "datasets/find/statistics.h"

namespace cafx {

std::vector<double> likeness_to_all(std::vector<std::vector<float>> x) {
  const auto normalise = [](std::vector<float>& v) {
    double sum = 0.0;
    for (const float a : v) sum += static_cast<double>(a) * static_cast<double>(a);
    for (float& a : v) a = sum > 0.0 ? static_cast<float>(static_cast<double>(a) / std::sqrt(sum)) : 0.0f;
  };
  const auto product = [](std::span<const float> a, std::span<const float> b) {
    double sum = 0.0;
    for (std::size_t k = 0; k < a.size(); ++k) sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
    return sum;
  };
  for (auto& v : x) normalise(v);
  std::vector<float> common = x.front();
  std::vector<double> like(x.size());
  for (int round = 0; round < 32; ++round) {
    std::vector<float> next(common.size(), 0.0f);
    for (std::size_t i = 0; i < x.size(); ++i) {
      like[i] = product(x[i], common);
      for (std::size_t k = 0; k < next.size(); ++k) next[k] += static_cast<float>(like[i]) * x[i][k];
    }
    normalise(next);
    common = std::move(next);
  }
  const auto negative = std::count_if(like.begin(), like.end(), [](double v) { return v < 0.0; });
  for (double& v : like) v = 2 * negative > static_cast<long>(like.size()) ? -v : v;
  return like;
}

namespace {

constexpr long kTurnedReach = 48;   // samples of a response, to either side of the peak
constexpr double kTurnPrice = 2.0;  // likeness that a stretch of the other sign must be worth, to either of its ends
constexpr std::size_t kLeastOfSign = 5;  // windows of a stretch: 3 s
constexpr std::size_t kMostSigns = 4;    // stretches: what turns more often is a device
constexpr double kPureSign = 0.8;        // of a stretch's likeness has its sign
constexpr double kLikeAll = 0.4;         // the mean of a stretch's likeness
constexpr double kAbruptTurn = 0.4;      // of a stretch's likeness, where it begins and ends
constexpr double kSharedTurned = 0.15;   // of what both signs hold, they hold at the same frequencies, turned over
constexpr double kOfShared = 0.3;        // of what they hold at the same frequencies is turned over
constexpr double kBeyondShift = 1.3;     // so much better than any shift explains them

std::vector<std::vector<float>> around_peak(const std::vector<std::vector<float>>& r, std::size_t peak) {
  std::vector<std::vector<float>> responses;
  for (const std::vector<float>& one : r) {
    const long n = static_cast<long>(one.size()), at = static_cast<long>(peak);
    responses.emplace_back(one.begin() + std::max(0L, at - kTurnedReach),
                           one.begin() + std::min(n, at + kTurnedReach + 1));
  }
  return responses;
}

// The signs by which the likeness is explained best, each turn at a price.
std::vector<int> signs_of(const std::vector<double>& like) {
  double plus = 0.0, minus = 0.0;
  std::vector<std::pair<bool, bool>> turned(like.size());  // to come to plus, to minus
  for (std::size_t i = 0; i < like.size(); ++i) {
    turned[i] = {i > 0 && minus - kTurnPrice > plus, i > 0 && plus - kTurnPrice > minus};
    const double next_plus = (turned[i].first ? minus - kTurnPrice : plus) + like[i];
    minus = (turned[i].second ? plus - kTurnPrice : minus) - like[i];
    plus = next_plus;
  }
  std::vector<int> sign(like.size());
  bool is_plus = plus >= minus;
  for (std::size_t i = like.size(); i-- > 0;) {
    sign[i] = is_plus ? 1 : -1;
    if (is_plus ? turned[i].first : turned[i].second) is_plus = !is_plus;
  }
  return sign;
}

// A stretch that is surely of its sign, up to its very ends: those within the recording lie between windows, one of
// which may hold both signs.
bool is_of_sign(const std::vector<double>& like, int sign, std::size_t from, std::size_t to) {
  if (to - from < kLeastOfSign) return false;
  double own = 0.0, all = 0.0;
  std::vector<double> sizes;
  for (std::size_t i = from; i < to; ++i) {
    own += sign * like[i];
    all += std::abs(like[i]);
    sizes.push_back(sign * like[i]);
  }
  if (own < kPureSign * all || own < kLikeAll * static_cast<double>(to - from)) return false;
  const double least = kAbruptTurn * median(sizes);
  const auto of_two = [&](std::size_t i) { return 0.5 * sign * (like[i] + like[i + 1]); };
  return (from == 0 || of_two(from + 1) >= least) && (to == like.size() || of_two(to - 3) >= least);
}

// Whether what the windows of either sign hold at the same frequencies is turned over, and no shift explains it: of a
// narrow band half a period later is turned over as well.
bool is_turned(const std::vector<Take>& takes, const std::vector<int>& sign) {
  Bins sum[2];
  for (std::size_t i = 0; i < takes.size(); ++i) {
    Bins& s = sum[sign[i] < 0];
    s.resize(takes[i].cross.size());
    for (std::size_t k = 0; k < s.size(); ++k) s[k] += takes[i].cross[k];
  }
  Bins product(sum[0].size());
  double shared = 0.0, most = 0.0, plus = 0.0, minus = 0.0;
  for (std::size_t k = 0; k < product.size(); ++k) {
    product[k] = conjugate_times(sum[0][k], sum[1][k]);
    shared += static_cast<double>(product[k].real());
    most += static_cast<double>(magnitude(product[k]));
    plus += static_cast<double>(std::norm(sum[0][k]));
    minus += static_cast<double>(std::norm(sum[1][k]));
  }
  if (-shared < kSharedTurned * std::sqrt(plus * minus) || -shared < kOfShared * most) return false;
  const std::vector<float> g = inverse(product);
  double other = 0.0;
  for (long s = -kTurnedReach; s <= kTurnedReach; ++s) {
    const std::size_t k = s < 0 ? g.size() - static_cast<std::size_t>(-s) : static_cast<std::size_t>(s);
    other = std::max(other, static_cast<double>(g[k]));
  }
  return -static_cast<double>(g[0]) >= kBeyondShift * other;
}

}  // namespace

std::vector<std::size_t> find_turns(const std::vector<Take>& takes, const std::vector<std::vector<float>>& r,
                                    std::size_t peak) {
  if (r.size() < 2 * kLeastOfSign) return {};
  const std::vector<double> like = likeness_to_all(around_peak(r, peak));
  const std::vector<int> sign = signs_of(like);
  std::vector<std::size_t> turns;
  for (std::size_t from = 0; from < sign.size();) {
    std::size_t to = from;
    while (to < sign.size() && sign[to] == sign[from]) ++to;
    if (!is_of_sign(like, sign[from], from, to)) return {};
    if (from > 0) turns.push_back(from);
    from = to;
  }
  if (turns.empty() || turns.size() >= kMostSigns || !is_turned(takes, sign)) return {};
  return turns;
}

}  // namespace cafx
