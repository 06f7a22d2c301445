// The functions of cuBLAS and cuDNN that cafx calls, as jumps to where the libraries were loaded: the linker finds
// every name here, and no call site differs from one of a linked library. A call before load_libraries() throws.
#include <dlfcn.h>

#include "kernels/base/error.h"
#include "kernels/device/libraries.h"

#ifndef __x86_64__
#error "CAFX_LIBRARIES_AT_RUN_TIME is written for x86_64"
#endif

namespace {

enum Library { kCublasLt, kCublas, kCudnn, kNoLibrary };
constexpr const char* kNames[] = {"libcublasLt.so." CAFX_CUDA_MAJOR, "libcublas.so." CAFX_CUDA_MAJOR, "libcudnn.so.9"};

[[noreturn]] void called_too_early() { throw cafx::Error("cuBLAS or cuDNN was called before it was loaded"); }

}  // namespace

#define CAFX_LIBRARY_FUNCTIONS(F)                          \
  F(kCublasLt, cublasLtCreate)                             \
  F(kCublasLt, cublasLtDestroy)                            \
  F(kCublasLt, cublasLtGetVersion)                         \
  F(kCublasLt, cublasLtMatmul)                             \
  F(kCublasLt, cublasLtMatmulAlgoGetHeuristic)             \
  F(kCublasLt, cublasLtMatmulDescCreate)                   \
  F(kCublasLt, cublasLtMatmulDescDestroy)                  \
  F(kCublasLt, cublasLtMatmulDescSetAttribute)             \
  F(kCublasLt, cublasLtMatmulPreferenceCreate)             \
  F(kCublasLt, cublasLtMatmulPreferenceDestroy)            \
  F(kCublasLt, cublasLtMatmulPreferenceSetAttribute)       \
  F(kCublasLt, cublasLtMatrixLayoutCreate)                 \
  F(kCublasLt, cublasLtMatrixLayoutDestroy)                \
  F(kCublas, cublasCreate_v2)                              \
  F(kCublas, cublasDestroy_v2)                             \
  F(kCublas, cublasGemmEx)                                 \
  F(kCublas, cublasGemmStridedBatchedEx)                   \
  F(kCublas, cublasGetStatusString)                        \
  F(kCublas, cublasSetMathMode)                            \
  F(kCublas, cublasSetStream_v2)                           \
  F(kCublas, cublasSetWorkspace_v2)                        \
  F(kCudnn, cudnnConvolutionBackwardData)                  \
  F(kCudnn, cudnnConvolutionBackwardFilter)                \
  F(kCudnn, cudnnConvolutionBiasActivationForward)         \
  F(kCudnn, cudnnConvolutionForward)                       \
  F(kCudnn, cudnnCreate)                                   \
  F(kCudnn, cudnnCreateActivationDescriptor)               \
  F(kCudnn, cudnnCreateConvolutionDescriptor)              \
  F(kCudnn, cudnnCreateFilterDescriptor)                   \
  F(kCudnn, cudnnCreateTensorDescriptor)                   \
  F(kCudnn, cudnnDestroy)                                  \
  F(kCudnn, cudnnDestroyActivationDescriptor)              \
  F(kCudnn, cudnnDestroyConvolutionDescriptor)             \
  F(kCudnn, cudnnDestroyFilterDescriptor)                  \
  F(kCudnn, cudnnDestroyTensorDescriptor)                  \
  F(kCudnn, cudnnGetConvolutionBackwardDataAlgorithm_v7)   \
  F(kCudnn, cudnnGetConvolutionBackwardFilterAlgorithm_v7) \
  F(kCudnn, cudnnGetConvolutionForwardAlgorithm_v7)        \
  F(kCudnn, cudnnGetErrorString)                           \
  F(kCudnn, cudnnGetStream)                                \
  F(kCudnn, cudnnGetVersion)                               \
  F(kCudnn, cudnnSetActivationDescriptor)                  \
  F(kCudnn, cudnnSetConvolution2dDescriptor)               \
  F(kCudnn, cudnnSetConvolutionMathType)                   \
  F(kCudnn, cudnnSetFilter4dDescriptor)                    \
  F(kCudnn, cudnnSetStream)                                \
  F(kCudnn, cudnnSetTensor4dDescriptor)

#define CAFX_JUMP(library, name)                                                                                 \
  extern "C" {                                                                                                   \
  __attribute__((visibility("hidden"), used)) void* cafx_at_##name = reinterpret_cast<void*>(&called_too_early); \
  }                                                                                                              \
  __asm__(".pushsection .text\n.globl " #name "\n.hidden " #name "\n.type " #name ", @function\n" #name          \
          ":\n\tjmp *cafx_at_" #name "(%rip)\n.size " #name ", .-" #name "\n.popsection\n");
CAFX_LIBRARY_FUNCTIONS(CAFX_JUMP)

namespace cafx {

namespace {

struct Entry {
  Library library;
  const char* name;
  void** at;
};
#define CAFX_ENTRY(library, name) {library, #name, &cafx_at_##name},
const Entry kEntries[] = {CAFX_LIBRARY_FUNCTIONS(CAFX_ENTRY)};

std::string load() {
  void* libraries[kNoLibrary];
  for (int i = 0; i < kNoLibrary; ++i) {
    libraries[i] = dlopen(kNames[i], RTLD_NOW | RTLD_LOCAL);
    if (!libraries[i]) {
      return fmt::format(
          "{} cannot be loaded ({}); install it, for a wheel by: pip install nvidia-cudnn-cu{} {}, or name its folder "
          "in "
          "LD_LIBRARY_PATH",
          i == kCudnn ? "cuDNN 9" : "cuBLAS " CAFX_CUDA_MAJOR, dlerror(), CAFX_CUDA_MAJOR,
          std::string(CAFX_CUDA_MAJOR) == "12" ? "nvidia-cublas-cu12" : "'nvidia-cublas<" CAFX_CUDA_NEXT_MAJOR "'");
    }
  }
  for (const Entry& entry : kEntries) {
    void* found = dlsym(libraries[entry.library], entry.name);
    if (!found)
      return fmt::format("{} has no {}: it is of another version than cafx knows; update it", kNames[entry.library],
                         entry.name);
    *entry.at = found;
  }
  return "";
}

}  // namespace

const std::string& load_libraries() {
  static const std::string why_not = load();
  return why_not;
}

}  // namespace cafx
