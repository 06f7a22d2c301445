#include "host/train/ranks.h"

#include <algorithm>

namespace cafx {

namespace {

constexpr std::uint64_t kEmpty = 0;

}  // namespace

void StepTimes::add(long steps, long launches, long members, double seconds) {
  if (steps < 1) return;
  // Least squares; a sum over n steps varies n times as much as one of them.
  const auto l = static_cast<double>(launches), m = static_cast<double>(members), w = 1.0 / static_cast<double>(steps);
  launches2_ += w * l * l;
  members2_ += w * m * m;
  both_ += w * l * m;
  launches_time_ += w * l * seconds;
  members_time_ += w * m * seconds;
}

double StepTimes::of_launch() const {
  const double determinant = launches2_ * members2_ - both_ * both_;
  if (!(determinant > 1e-6 * launches2_ * members2_)) return 0.0;
  return std::max(0.0, (launches_time_ * members2_ - members_time_ * both_) / determinant);
}

int launches_of(const std::vector<std::uint64_t>& seats) {
  int n = 0;
  std::uint64_t before = kEmpty;
  for (const std::uint64_t layout : seats) {
    n += layout != kEmpty && layout != before ? 1 : 0;
    before = layout;
  }
  return n;
}

std::size_t best_seat(const std::vector<bool>& taken) {
  std::vector<std::uint64_t> seats(taken.begin(), taken.end());
  std::size_t best = seats.size();
  int fewest = 0;
  for (std::size_t k = 0; k < seats.size(); ++k) {
    if (seats[k] != kEmpty) continue;
    seats[k] = 1;
    const int launches = launches_of(seats);
    seats[k] = kEmpty;
    if (best < seats.size() && launches >= fewest) continue;
    best = k;
    fewest = launches;
  }
  return best;
}

Closing closing_of(std::vector<std::uint64_t> seats, std::size_t who) {
  const auto members = static_cast<std::size_t>(std::ssize(seats) - std::count(seats.begin(), seats.end(), kEmpty));
  Closing c;
  c.launches = c.after = launches_of(seats);
  if (who < members) return c;  // those behind the others' number move
  std::size_t gap = 0;
  for (std::size_t last = seats.size(); last-- > members;) {
    if (seats[last] == kEmpty) continue;
    while (seats[gap] != kEmpty) ++gap;
    std::swap(seats[gap], seats[last]);
    ++c.moves;
  }
  c.after = launches_of(seats);
  if (c.after >= c.launches) c.moves = 0;
  return c;
}

}  // namespace cafx
