#include "host/train/lockstep.h"

#include <algorithm>

#include "host/train/cuda_stepper.h"

namespace cafx {

namespace {

constexpr std::size_t kTimed = 4;  // portions of steps that are timed at once

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

bool Lockstep::seat(const std::function<CudaStepper*()>& work) {
  std::vector<bool> taken;
  for (std::size_t k = 0; k < seats_.size(); ++k) {
    taken.push_back(seats_[k].stepper || !memory_.is_free(static_cast<int>(k)));
  }
  const std::size_t k = best_seat(taken);
  if (k == seats_.size()) return false;
  const int member = static_cast<int>(k);
  const Clock::time_point began = Clock::now();
  memory_.allocate_in(member, [&] {
    seats_[k].stepper = work();
    seats_[k].stepper->join(this);
  });
  seats_[k].layout = memory_.layout(member);
  CAFX_CHECK(!memory_.is_free(member), member);
  drop_graphs_of(k);
  seating_ = seconds_since(began);
  return true;
}

void Lockstep::leave(const CudaStepper& stepper) {
  synchronize(context_);
  for (std::size_t k = 0; k < seats_.size(); ++k) {
    if (seats_[k].stepper != &stepper) continue;
    seats_[k] = {};
    drop_graphs_of(k);
  }
}

void Lockstep::drop_graphs_of(std::size_t seat) {
  std::erase_if(graphs_, [seat](const auto& entry) {
    const auto& [first, n, batch] = entry.first;
    return seat >= first && seat < first + n;
  });
}

bool Lockstep::idle() const {
  for (std::size_t k = 0; k < seats_.size(); ++k) {
    if (seats_[k].stepper || !memory_.is_free(static_cast<int>(k))) return false;
  }
  return true;
}

Closing Lockstep::closing_of(const CudaStepper& stepper, long steps_left) {
  read_watches();
  std::vector<std::uint64_t> layouts;
  std::size_t who = 0;
  for (std::size_t k = 0; k < seats_.size(); ++k) {
    if (seats_[k].stepper == &stepper) who = k;
    layouts.push_back(seats_[k].stepper ? seats_[k].layout : 0);
  }
  Closing c = cafx::closing_of(layouts, who);
  if (c.moves == 0) return c;
  c.saves_seconds = times_.of_launch() * (c.launches - c.after) / c.moves * static_cast<double>(steps_left);
  c.costs_seconds = seating_ + rehearsing_ + 2.0 * recording_;  // of a whole batch and of an epoch's last
  return c;
}

void Lockstep::read_watches() {
  while (!timed_.empty() && timed_.front().watch->ready()) {
    const Timed& t = timed_.front();
    times_.add(t.steps, t.launches, t.members, t.watch->seconds());
    timed_.pop_front();
  }
}

void Lockstep::launch() {
  long n = 0;
  for (const Seat& seat : seats_) {
    if (!seat.stepper || seat.stepper->resting()) continue;
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
  const Clock::time_point began = Clock::now();
  bool rehearsed = false;
  for (CudaStepper* s : going) rehearsed = s->prepare(n) || rehearsed;
  if (rehearsed) rehearsing_ = seconds_since(began) / static_cast<double>(going.size());
  read_watches();
  Timed timed;
  if (n > 0 && !going.empty() && timed_.size() < kTimed) timed.watch = std::make_unique<GpuWatch>(context_);
  for (long i = 0; i < n; ++i) {
    step_once(timed);
    for (CudaStepper* s : going) s->stepped();
  }
  if (timed.watch) {
    timed.watch->stop();
    timed.steps = n;
    timed_.push_back(std::move(timed));
  }
  for (CudaStepper* s : going) s->read_back(n);
}

void Lockstep::step_once(Timed& timed) {
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
      const Clock::time_point began = Clock::now();
      memory_.for_members(static_cast<int>(first), static_cast<int>(end - first),
                          [&] { graph = graphs_.try_emplace(key, context_, [&] { stepper->enqueue_step(B); }).first; });
      recording_ = seconds_since(began);
      timed.watch.reset();  // it would time the recording
    }
    graph->second.launch();
    ++timed.launches;
    timed.members += static_cast<long>(end - first);
    for (std::size_t k = first; k < end; ++k) seats_[k].stepper->with(end - first);
    first = end;
  }
}

}  // namespace cafx
