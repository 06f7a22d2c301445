// kernels/device/graph.h -- a step of work as one CUDA graph, and results that are read back without waiting.
//
//   GPU only (CheckError elsewhere).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "kernels/device/context.h"

namespace cafx {

// Everything that `work` enqueues, recorded once; launch() enqueues all of it by one call. `work` must not allocate,
// wait or copy from or to the host, and must have run once outside a graph, so that libraries have their plans.
class Graph {
 public:
  Graph(const Context&, const std::function<void()>& work);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void launch();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A copy to the host in flight: data() waits for it, not for anything enqueued later; ready(): data() would not wait.
class Readback {
 public:
  Readback(const Context&, const void* from, std::size_t bytes);
  ~Readback();
  Readback(const Readback&) = delete;
  Readback& operator=(const Readback&) = delete;
  const void* data();
  bool ready();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The time between two places of what is enqueued: from where this is made to where it is stopped.
class GpuWatch {
 public:
  explicit GpuWatch(const Context&);
  ~GpuWatch();
  GpuWatch(const GpuWatch&) = delete;
  GpuWatch& operator=(const GpuWatch&) = delete;
  void stop();
  bool ready();      // seconds() would not wait
  double seconds();  // behind stop()

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Marks the range that a profiler records if it is started so (ncu --profile-from-start off, nsys -c cudaProfilerApi).
void profile_begin(const Context&);
void profile_end(const Context&);

}  // namespace cafx
