// host/train/lockstep.h -- steps of models that train side by side on one GPU, in one launch of a graph.
//
//   Each member is a stepper of its own, with its own weights, places and counters, whose memory lies in a
//   MemberMemory; recordings and what is as long as an epoch lie apart.
//   A step that several members are to take is one graph for neighbours with the same layout; who is ahead of the
//   others, or has a batch of another size, takes it in a graph of its own. A member that has left takes no part; those
//   behind it can close ranks (ranks.h).
//
// Bits     a member's steps are those that it takes alone.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "host/train/ranks.h"
#include "kernels/device/graph.h"
#include "kernels/device/members.h"

namespace cafx {

class CudaStepper;

class Lockstep {
 public:
  Lockstep(const Context& context, int n, MemberSize size) : context_(context), memory_(context, n, size), seats_(n) {}

  // Calls work(), which makes a stepper and all that its steps use, in the memory of a member that is free, and takes
  // the stepper in. False: none is free, and nothing is done.
  bool seat(const std::function<CudaStepper*()>& work);
  void leave(const CudaStepper&);
  // From where the graphs count the samples of all members' recordings: `own`, of whoever asks first.
  const float* samples(const float* own) { return samples_ = samples_ ? samples_ : own; }
  bool idle() const;  // nothing of a member is left
  // A good number of steps to ask for at a time, the same for all: who asks for less than the others falls behind.
  long portion() const { return portion_; }
  void set_portion(long steps) { portion_ = steps; }
  // Of a member that has `steps_left` steps before it: what it saves if it is built anew, and what that costs.
  Closing closing_of(const CudaStepper&, long steps_left);

  // The members' steps that were asked for: as many as all have asked for, but those that rest.
  void launch();
  // All of one member's; the others that have asked for steps take theirs along.
  void launch_all(const CudaStepper&);

 private:
  using Clock = std::chrono::steady_clock;
  struct Seat {
    CudaStepper* stepper = nullptr;
    std::uint64_t layout = 0;
  };
  // Steps under way, until they have been timed.
  struct Timed {
    std::unique_ptr<GpuWatch> watch;
    long steps = 0, launches = 0, members = 0;
  };
  // n steps of every member that has asked for some.
  void step(long n);
  void step_once(Timed&);
  void drop_graphs_of(std::size_t seat);
  void read_watches();

  Context context_;
  MemberMemory memory_;
  std::vector<Seat> seats_;
  const float* samples_ = nullptr;
  std::map<std::tuple<std::size_t, std::size_t, int>, Graph> graphs_;  // by first member, their number, and batch
  long portion_ = 1;
  StepTimes times_;
  std::deque<Timed> timed_;
  double seating_ = 0.0, rehearsing_ = 0.0, recording_ = 0.0;  // seconds that each took, the last time
};

}  // namespace cafx
