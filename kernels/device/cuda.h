// kernels/device/cuda.h -- shared by the CUDA twins (*_cuda.cu only): the open device, checked calls, launches.
//
//   Every call is checked, every launch is followed by cudaGetLastError. A failed call throws Error with what failed
//   and what to do; the context must not be used after that.
#pragma once

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cudnn.h>

#if CUDART_VERSION < 12000 || CUDNN_MAJOR != 9
#error "cafx needs CUDA 12 or newer and cuDNN 9"
#endif

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/device/context.h"

namespace cafx {

// How cuDNN runs one convolution of one shape; `ours`: it has no deterministic algorithm.
struct ConvPlan {
  bool ours = true;
  int algorithm = 0;
  std::size_t workspace = 0;
  std::string name;
  std::string passed_over;  // algorithms that cannot be used, and why
};

struct CudaDevice {
  std::string name;
  int index = 0, n_sm = 0, major = 0, minor = 0;
  std::size_t shared_max = 0;  // bytes that a block may ask for
  std::size_t memory = 0;      // bytes, free or not
  cudaStream_t stream = nullptr;
  // For what runs aside, and whether something does; the events at which it began and ended.
  cudaStream_t side = nullptr;
  cudaEvent_t forked = nullptr, joined = nullptr;
  bool apart = false;
  cublasHandle_t blas = nullptr;
  cublasLtHandle_t lt = nullptr;
  cudnnHandle_t dnn = nullptr;
  void* workspace = nullptr;  // for the libraries; calls of one stream share it
  std::size_t workspace_bytes = 0;
  void* conv_workspace = nullptr;  // for cuDNN: `workspace`, or the last and largest reservation
  std::size_t conv_workspace_bytes = 0;
  std::vector<void*> larger_workspaces;        // graphs hold their addresses
  std::map<std::string, ConvPlan> conv_plans;  // by kind and shape
  std::map<std::string, std::shared_ptr<void>> conv_descriptors;

  CudaDevice() = default;
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;
  ~CudaDevice();
};

[[noreturn]] void cuda_failed(cudaError_t code, const char* call, const char* file, int line);
[[noreturn]] void cublas_failed(cublasStatus_t code, const char* call, const char* file, int line);
[[noreturn]] void cudnn_failed(cudnnStatus_t code, const char* call, const char* file, int line);

#define CAFX_CUDA_CHECK(call)                                                        \
  do {                                                                               \
    const cudaError_t cafx_code = (call);                                            \
    if (cafx_code != cudaSuccess) cuda_failed(cafx_code, #call, __FILE__, __LINE__); \
  } while (0)
#define CAFX_CUBLAS_CHECK(call)                                                                  \
  do {                                                                                           \
    const cublasStatus_t cafx_code = (call);                                                     \
    if (cafx_code != CUBLAS_STATUS_SUCCESS) cublas_failed(cafx_code, #call, __FILE__, __LINE__); \
  } while (0)
#define CAFX_CUDNN_CHECK(call)                                                                 \
  do {                                                                                         \
    const cudnnStatus_t cafx_code = (call);                                                    \
    if (cafx_code != CUDNN_STATUS_SUCCESS) cudnn_failed(cafx_code, #call, __FILE__, __LINE__); \
  } while (0)

inline cudaStream_t stream_of(const Context& context) { return context.cuda->stream; }

// launch(context, kernel, grid, block, shared bytes, arguments...)
template <class... Parameters, class... Arguments>
void launch(const Context& context, void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared,
            Arguments... arguments) {
  if (shared > 32 * 1024) {  // above 48 KiB with what the kernel itself declares
    CAFX_CUDA_CHECK(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
  }
  kernel<<<grid, block, shared, stream_of(context)>>>(static_cast<Parameters>(arguments)...);
  CAFX_CUDA_CHECK(cudaGetLastError());
}

inline constexpr int kThreads = 256;
// Blocks for n items, kThreads each.
inline unsigned blocks_for(long n, int threads = kThreads) {
  return static_cast<unsigned>((n + threads - 1) / threads);
}

constexpr long ceil_div(long a, long b) { return (a + b - 1) / b; }

}  // namespace cafx
