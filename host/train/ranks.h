// host/train/ranks.h -- when members of a cohort on a GPU close ranks after one has left.
//
//   Members have seats in a row. A step of theirs is one launch for each run of neighbours of one layout: a gap makes
//   two launches of one. The last members can move into the gaps, for the time that it takes to build them anew.
//   A step's time is taken as  launches a + members b,  fitted to the steps as they were timed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace cafx {

class StepTimes {
 public:
  // So many steps, and in all of them together so many launches and members, took this long.
  void add(long steps, long launches, long members, double seconds);
  // What a launch less saves; 0 until steps of unlike launches have been timed.
  double of_launch() const;

 private:
  double launches2_ = 0.0, members2_ = 0.0, both_ = 0.0, launches_time_ = 0.0, members_time_ = 0.0;  // sums of products
};

// The launches of a step; of each seat the layout, 0: nobody sits there.
int launches_of(const std::vector<std::uint64_t>& seats);

// The free seat that makes the fewest launches, the first of such; their number: none is free.
std::size_t best_seat(const std::vector<bool>& taken);

// The move of one member, of those that close ranks.
struct Closing {
  int moves = 0;                // until ranks are closed; 0: this member stays where it is
  int launches = 0, after = 0;  // of a step, before and after all of them
  double saves_seconds = 0.0;   // this move's share, over the rest of the member's stage
  double costs_seconds = 0.0;
};
// Of the member at seat `who`.
Closing closing_of(std::vector<std::uint64_t> seats, std::size_t who);

using WorthClosing = std::function<bool(const Closing&)>;
inline bool saves_time(const Closing& c) { return c.saves_seconds > c.costs_seconds; }

}  // namespace cafx
