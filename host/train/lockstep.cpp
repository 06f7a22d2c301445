#include "host/train/lockstep.h"

#include <algorithm>

#include "host/train/cuda_stepper.h"

namespace cafx {

bool Lockstep::seat(const std::function<CudaStepper*()>& work) {
  for (std::size_t k = 0; k < seats_.size(); ++k) {
    const int member = static_cast<int>(k);
    if (seats_[k].stepper || !memory_.is_free(member)) continue;
    memory_.allocate_in(member, [&] {
      seats_[k].stepper = work();
      seats_[k].stepper->join(this);
    });
    seats_[k].layout = memory_.layout(member);
    CAFX_CHECK(!memory_.is_free(member), member);
    graphs_.clear();
    return true;
  }
  return false;
}

void Lockstep::leave(const CudaStepper& stepper) {
  synchronize(context_);
  graphs_.clear();
  for (Seat& seat : seats_) {
    if (seat.stepper == &stepper) seat = {};
  }
}

bool Lockstep::idle() const {
  for (std::size_t k = 0; k < seats_.size(); ++k) {
    if (seats_[k].stepper || !memory_.is_free(static_cast<int>(k))) return false;
  }
  return true;
}

void Lockstep::launch() {
  long n = 0;
  for (const Seat& seat : seats_) {
    if (!seat.stepper) continue;
    const long asked = seat.stepper->asked();
    if (asked == 0) return;
    n = n == 0 ? asked : std::min(n, asked);
  }
  step(n);
}

void Lockstep::launch_all(const CudaStepper& stepper) {
  while (stepper.asked() > 0) {
    long n = stepper.asked();
    for (const Seat& seat : seats_) {
      if (seat.stepper && seat.stepper->asked() > 0) n = std::min(n, seat.stepper->asked());
    }
    step(n);
  }
}

void Lockstep::step(long n) {
  std::vector<CudaStepper*> going;
  for (const Seat& seat : seats_) {
    if (seat.stepper && seat.stepper->asked() > 0) going.push_back(seat.stepper);
  }
  for (CudaStepper* s : going) s->prepare(n);
  for (long i = 0; i < n; ++i) {
    step_once();
    for (CudaStepper* s : going) s->stepped();
  }
  for (CudaStepper* s : going) s->read_back(n);
}

void Lockstep::step_once() {
  for (std::size_t first = 0; first < seats_.size();) {
    CudaStepper* const stepper = seats_[first].stepper;
    if (!stepper || !stepper->under_step()) {
      ++first;
      continue;
    }
    const int B = stepper->next_batch();
    std::size_t end = first + 1;
    while (end < seats_.size() && seats_[end].stepper && seats_[end].stepper->under_step() &&
           seats_[end].stepper->next_batch() == B && seats_[end].layout == seats_[first].layout) {
      ++end;
    }
    const std::tuple key(first, end - first, B);
    auto graph = graphs_.find(key);
    if (graph == graphs_.end()) {
      memory_.for_members(static_cast<int>(first), static_cast<int>(end - first),
                          [&] { graph = graphs_.try_emplace(key, context_, [&] { stepper->enqueue_step(B); }).first; });
    }
    graph->second.launch();
    for (std::size_t k = first; k < end; ++k) seats_[k].stepper->with(end - first);
    first = end;
  }
}

}  // namespace cafx
