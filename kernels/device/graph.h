// kernels/device/graph.h -- a step of work as one CUDA graph, and results that are read back without waiting.
//
//   GPU only (CheckError elsewhere).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "kernels/device/context.h"

namespace cafx {

// Everything that `work` enqueues, recorded once; launch() enqueues all of it by one call. `work` must not allocate, wait
// or copy from or to the host, and must have run once before outside a graph, so that libraries have made their plans.
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

// A copy to the host that is under way: data() waits for it and for nothing enqueued later; ready() says whether it would.
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

// What lies between them is what a profiler shows that waits for it (ncu --profile-from-start off, nsys -c cudaProfilerApi).
void profile_begin(const Context&);
void profile_end(const Context&);

}  // namespace cafx
