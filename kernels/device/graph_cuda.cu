#include <cuda_profiler_api.h>

#include <cstdlib>
#include <string>

#include "kernels/device/cuda.h"
#include "kernels/device/graph.h"

namespace cafx {

namespace {

bool reached(cudaEvent_t event) {
  const cudaError_t code = cudaEventQuery(event);
  if (code == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  CAFX_CUDA_CHECK(code);
  return true;
}

}  // namespace

bool can_launch_early(const Context& context, const void* kernel) {
  static const bool off = [] {
    const char* text = std::getenv("CAFX_EARLY_LAUNCH");
    int driver = 0;
    CAFX_CUDA_CHECK(cudaDriverGetVersion(&driver));
    // Graphs have such edges since CUDA 12.3.
    return driver < 12030 || CUDART_VERSION < 12030 || (text && std::string(text) == "off");
  }();
  if (off || context.cuda->major < 9 || !context.cuda->after_early) return false;
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaGraphNode_t* before = nullptr;
  std::size_t n_before = 0;
#if CUDART_VERSION >= 13000
  CAFX_CUDA_CHECK(cudaStreamGetCaptureInfo(stream_of(context), &status, nullptr, nullptr, &before, nullptr, &n_before));
#else
  CAFX_CUDA_CHECK(cudaStreamGetCaptureInfo_v2(stream_of(context), &status, nullptr, nullptr, &before, &n_before));
#endif
  if (status != cudaStreamCaptureStatusActive || n_before > 1) return false;
  if (n_before == 1) {  // a virtual GPU names none
    cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
    CAFX_CUDA_CHECK(cudaGraphNodeGetType(before[0], &type));
    if (type != cudaGraphNodeTypeKernel) return false;
  }
  cudaFuncAttributes code{};
  CAFX_CUDA_CHECK(cudaFuncGetAttributes(&code, kernel));
  return code.ptxVersion >= 90;
}

struct Graph::State {
  Context context;
  cudaGraphExec_t graph = nullptr;
};

Graph::Graph(const Context& context, const std::function<void()>& work) : state_(std::make_unique<State>()) {
  CAFX_CHECK(context.device == Device::kCuda);
  state_->context = context;
  const cudaStream_t stream = stream_of(context);
  context.cuda->after_early = false;
  CAFX_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  CAFX_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  const cudaError_t code = cudaGraphInstantiate(&state_->graph, graph, 0);
  cudaGraphDestroy(graph);
  CAFX_CUDA_CHECK(code);
  CAFX_CUDA_CHECK(cudaGraphUpload(state_->graph, stream));
}
Graph::~Graph() {
  if (state_->graph) cudaGraphExecDestroy(state_->graph);
}
void Graph::launch() { CAFX_CUDA_CHECK(cudaGraphLaunch(state_->graph, stream_of(state_->context))); }

struct Readback::State {
  void* data = nullptr;  // pinned: else the copy would wait
  cudaEvent_t done = nullptr;
};

Readback::Readback(const Context& context, const void* from, std::size_t bytes) : state_(std::make_unique<State>()) {
  CAFX_CHECK(context.device == Device::kCuda);
  CAFX_CUDA_CHECK(cudaMallocHost(&state_->data, bytes));
  CAFX_CUDA_CHECK(cudaEventCreateWithFlags(&state_->done, cudaEventDisableTiming));
  CAFX_CUDA_CHECK(cudaMemcpyAsync(state_->data, from, bytes, cudaMemcpyDeviceToHost, stream_of(context)));
  CAFX_CUDA_CHECK(cudaEventRecord(state_->done, stream_of(context)));
}
Readback::~Readback() {
  if (state_->done) {
    cudaEventSynchronize(state_->done);
    cudaEventDestroy(state_->done);
  }
  if (state_->data) cudaFreeHost(state_->data);
}
const void* Readback::data() {
  CAFX_CUDA_CHECK(cudaEventSynchronize(state_->done));
  return state_->data;
}
bool Readback::ready() { return reached(state_->done); }

struct GpuWatch::State {
  Context context;
  cudaEvent_t from = nullptr, to = nullptr;
};

GpuWatch::GpuWatch(const Context& context) : state_(std::make_unique<State>()) {
  CAFX_CHECK(context.device == Device::kCuda);
  state_->context = context;
  CAFX_CUDA_CHECK(cudaEventCreate(&state_->from));
  CAFX_CUDA_CHECK(cudaEventCreate(&state_->to));
  CAFX_CUDA_CHECK(cudaEventRecord(state_->from, stream_of(context)));
}
GpuWatch::~GpuWatch() {
  if (state_->from) cudaEventDestroy(state_->from);
  if (state_->to) cudaEventDestroy(state_->to);
}
void GpuWatch::stop() { CAFX_CUDA_CHECK(cudaEventRecord(state_->to, stream_of(state_->context))); }
bool GpuWatch::ready() { return reached(state_->to); }
double GpuWatch::seconds() {
  float ms = 0.0f;
  CAFX_CUDA_CHECK(cudaEventSynchronize(state_->to));
  CAFX_CUDA_CHECK(cudaEventElapsedTime(&ms, state_->from, state_->to));
  return 1e-3 * static_cast<double>(ms);
}

void profile_begin(const Context& context) {
  CAFX_CUDA_CHECK(cudaStreamSynchronize(stream_of(context)));
  CAFX_CUDA_CHECK(cudaProfilerStart());
}
void profile_end(const Context& context) {
  CAFX_CUDA_CHECK(cudaStreamSynchronize(stream_of(context)));
  CAFX_CUDA_CHECK(cudaProfilerStop());
}

}  // namespace cafx
