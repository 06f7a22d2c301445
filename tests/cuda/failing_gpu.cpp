// tests/cuda/failing_gpu.cpp -- a library to be loaded before CUDA's (LD_PRELOAD): calls fail when they are told to.
//
//   CAFX_FAIL=CALL:N:CODE   the N-th call of CALL, counted from 1, and all after it return CODE
//   CAFX_CUDNN_DATA=WHAT    the algorithms that cuDNN offers for backward data: `random` are not deterministic, a
//                           number of MiB is the workspace that each needs, and that is then really written
//   CAFX_FAIL_DRIVER=V      the driver's version, as cudaDriverGetVersion gives it; 0: none is installed
#include <cuda_runtime.h>
#include <cudnn.h>
#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

// The code to return; 0: the call may go on.
int fails(const char* call) {
  static std::atomic<long> calls{0};
  const char* text = std::getenv("CAFX_FAIL");
  const std::size_t n = std::strlen(call);
  if (!text || std::strncmp(text, call, n) != 0 || text[n] != ':') return 0;
  char* end = nullptr;
  const long at = std::strtol(text + n + 1, &end, 10);
  return ++calls >= at ? std::atoi(end + 1) : 0;
}

}  // namespace

#define WRAP(type, name, parameters, arguments)                                             \
  extern "C" type name parameters {                                                         \
    if (const int code = fails(#name)) return static_cast<type>(code);                      \
    static const auto real = reinterpret_cast<type(*) parameters>(dlsym(RTLD_NEXT, #name)); \
    return real arguments;                                                                  \
  }

WRAP(cudaError_t, cudaGetDeviceCount, (int* n), (n))
WRAP(cudaError_t, cudaMalloc, (void** p, std::size_t bytes), (p, bytes))
WRAP(cudaError_t, cudaGraphLaunch, (cudaGraphExec_t graph, cudaStream_t stream), (graph, stream))
WRAP(cudaError_t, cudaEventSynchronize, (cudaEvent_t event), (event))
WRAP(cudnnStatus_t, cudnnCreate, (cudnnHandle_t * handle), (handle))
WRAP(cudnnStatus_t, cudnnConvolutionForward,
     (cudnnHandle_t h, const void* alpha, cudnnTensorDescriptor_t xd, const void* x, cudnnFilterDescriptor_t wd,
      const void* w, cudnnConvolutionDescriptor_t cd, cudnnConvolutionFwdAlgo_t algorithm, void* space,
      std::size_t bytes, const void* beta, cudnnTensorDescriptor_t yd, void* y),
     (h, alpha, xd, x, wd, w, cd, algorithm, space, bytes, beta, yd, y))

extern "C" cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t h, cudnnFilterDescriptor_t wd,
                                                                     cudnnTensorDescriptor_t dyd,
                                                                     cudnnConvolutionDescriptor_t cd,
                                                                     cudnnTensorDescriptor_t dxd, int most, int* n,
                                                                     cudnnConvolutionBwdDataAlgoPerf_t* perf) {
  if (const int code = fails("cudnnGetConvolutionBackwardDataAlgorithm_v7")) return static_cast<cudnnStatus_t>(code);
  static const auto real = reinterpret_cast<decltype(&cudnnGetConvolutionBackwardDataAlgorithm_v7)>(
      dlsym(RTLD_NEXT, "cudnnGetConvolutionBackwardDataAlgorithm_v7"));
  const cudnnStatus_t status = real(h, wd, dyd, cd, dxd, most, n, perf);
  const char* text = std::getenv("CAFX_CUDNN_DATA");
  for (int i = 0; text && status == CUDNN_STATUS_SUCCESS && i < *n; ++i) {
    perf[i].determinism = CUDNN_DETERMINISTIC;
    if (std::strcmp(text, "random") == 0) {
      perf[i].determinism = CUDNN_NON_DETERMINISTIC;
    } else {
      perf[i].memory = static_cast<std::size_t>(std::atol(text)) << 20;
    }
  }
  return status;
}

extern "C" cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void* alpha, cudnnFilterDescriptor_t wd,
                                                      const void* w, cudnnTensorDescriptor_t dyd, const void* dy,
                                                      cudnnConvolutionDescriptor_t cd,
                                                      cudnnConvolutionBwdDataAlgo_t algorithm, void* space,
                                                      std::size_t bytes, const void* beta, cudnnTensorDescriptor_t dxd,
                                                      void* dx) {
  static const auto real =
      reinterpret_cast<decltype(&cudnnConvolutionBackwardData)>(dlsym(RTLD_NEXT, "cudnnConvolutionBackwardData"));
  cudaStream_t stream = nullptr;
  if (std::getenv("CAFX_CUDNN_DATA") && cudnnGetStream(h, &stream) == CUDNN_STATUS_SUCCESS) {
    cudaMemsetAsync(space, 0xff, bytes, stream);
  }
  return real(h, alpha, wd, w, dyd, dy, cd, algorithm, space, bytes, beta, dxd, dx);
}

extern "C" cudaError_t cudaDriverGetVersion(int* version) {
  if (const char* text = std::getenv("CAFX_FAIL_DRIVER")) {
    *version = std::atoi(text);
    return cudaSuccess;
  }
  static const auto real = reinterpret_cast<cudaError_t (*)(int*)>(dlsym(RTLD_NEXT, "cudaDriverGetVersion"));
  return real(version);
}
