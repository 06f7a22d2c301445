// Stubs for builds without CUDA; graph_cuda.cu has the implementation.
#include "kernels/device/graph.h"

#include "kernels/base/error.h"

#ifndef CAFX_HAS_CUDA

namespace cafx {

struct Graph::State {};
Graph::Graph(const Context&, const std::function<void()>&) { check_failed("built with CUDA", __FILE__, __LINE__, ""); }
Graph::~Graph() = default;
void Graph::launch() {}

struct Readback::State {};
Readback::Readback(const Context&, const void*, std::size_t) {
  check_failed("built with CUDA", __FILE__, __LINE__, "");
}
Readback::~Readback() = default;
const void* Readback::data() { return nullptr; }
bool Readback::ready() { return true; }

struct GpuWatch::State {};
GpuWatch::GpuWatch(const Context&) { check_failed("built with CUDA", __FILE__, __LINE__, ""); }
GpuWatch::~GpuWatch() = default;
void GpuWatch::stop() {}
bool GpuWatch::ready() { return true; }
double GpuWatch::seconds() { return 0.0; }

void profile_begin(const Context&) {}
void profile_end(const Context&) {}

}  // namespace cafx

#endif
