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
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
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

// Models side by side in one launch: the memory of each has the same layout, `stride` bytes behind that of the one
// before, and grid.z counts them. A kernel takes Members as its first parameter and finds its member's memory by `of`,
// from the pointers of the first. What all members share, recordings for one, it uses as it is.
template <class Own>
struct MemberPointers {
#ifdef __CUDACC__
  // By arithmetic of pointers alone, from which the compiler knows that they stay in global memory.
  template <class T>
  __device__ __forceinline__ T* of(T* p) const {
    using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
    return reinterpret_cast<T*>(reinterpret_cast<Byte*>(p) + static_cast<const Own*>(this)->offset());
  }
  // The same in place, for several; enter_given: for those that may be null, and then stay it.
  template <class... T>
  __device__ __forceinline__ void enter(T*&... pointers) const {
    ((pointers = of(pointers)), ...);
  }
  template <class... T>
  __device__ __forceinline__ void enter_given(T*&... pointers) const {
    ((pointers = pointers ? of(pointers) : nullptr), ...);
  }
#endif
};
struct Members : MemberPointers<Members> {
  long stride = 0;
#ifdef __CUDACC__
  __device__ __forceinline__ long offset() const { return blockIdx.z * stride; }
#endif
};
// For kernels whose grids are more than one block deep for one model already.
struct DeepMembers : MemberPointers<DeepMembers> {
  long stride = 0;
  unsigned depth = 1;
#ifdef __CUDACC__
  __device__ __forceinline__ long offset() const { return blockIdx.z / depth * stride; }
  __device__ __forceinline__ unsigned block_z() const { return blockIdx.z % depth; }  // of a launch for one
#endif
};

struct MemberPart {
  char* memory;
  std::size_t bytes;
  char* scratch;
  std::size_t scratch_bytes;
  std::size_t used = 0, live = 0;  // bytes; allocations that are not released
  std::uint64_t layout = 0;        // of the sizes of all allocations in their order
  bool holds(const void* p) const { return p >= memory && p < memory + bytes; }
};
struct MemberBlock {
  char* memory = nullptr;
  std::size_t stride = 0;
  std::vector<MemberPart> parts;
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
  bool after_early = false;  // the stream's last work is a kernel of launch_early, and nothing else
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
  // Memory of members (device/members.h): where allocations go, if not to the driver, and for whom work is enqueued.
  std::vector<MemberBlock*> member_blocks;
  MemberPart* allocating = nullptr;
  const MemberPart* first_member = nullptr;
  unsigned n_members = 1;
  std::size_t member_stride = 0;
  std::size_t bytes_given_out = 0, most_scratch = 0;

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

inline Members members_of(const Context& context) {
  Members members;
  members.stride = static_cast<long>(context.cuda->member_stride);
  return members;
}

#ifdef __CUDACC__
// For kernels that are launched by launch_early. Before the wait a kernel reads only what no such kernel writes,
// weights above all, and writes nothing to global memory.
__device__ __forceinline__ void wait_for_kernel_before() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// From here on the next kernel may begin, as far as there is room for its blocks.
__device__ __forceinline__ void let_next_kernel_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
#endif

// Whether a kernel can be launched while the one before still runs: in a graph, behind a kernel of launch_early alone,
// where GPU and code are of 9.0 or newer, without which it would not wait. CAFX_EARLY_LAUNCH=off in the environment:
// never.
bool can_launch_early(const Context&, const void* kernel);

// launch(context, kernel, grid, block, shared bytes, arguments...): for every member that the context works on.
template <bool kEarly = false, class M, class... Parameters, class... Arguments>
void launch(const Context& context, void (*kernel)(M, Parameters...), dim3 grid, dim3 block, std::size_t shared,
            Arguments... arguments) {
  static_assert(std::is_same_v<M, Members> || std::is_same_v<M, DeepMembers>, "a kernel's first parameter");
  if (shared > 32 * 1024) {  // above 48 KiB with what the kernel itself declares
    CAFX_CUDA_CHECK(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
  }
  M members;
  members.stride = members_of(context).stride;
  if constexpr (std::is_same_v<M, DeepMembers>) {
    members.depth = grid.z;
  } else {
    CAFX_CHECK(grid.z == 1, grid.z);
  }
  grid.z *= context.cuda->n_members;
  const bool early_now = kEarly && can_launch_early(context, reinterpret_cast<const void*>(kernel));
  context.cuda->after_early = kEarly;
  if constexpr (kEarly) {
    if (early_now) {
      cudaLaunchAttribute early{};
      early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
      early.val.programmaticStreamSerializationAllowed = 1;
      cudaLaunchConfig_t config{grid, block, shared, stream_of(context), &early, 1};
      CAFX_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, members, static_cast<Parameters>(arguments)...));
      return;
    }
  }
  kernel<<<grid, block, shared, stream_of(context)>>>(members, static_cast<Parameters>(arguments)...);
  CAFX_CUDA_CHECK(cudaGetLastError());
}
// The same for a kernel that calls wait_for_kernel_before and let_next_kernel_begin: in a graph, while the kernel
// before it still runs, if that is another of them. What it does before the wait then takes no time of its own. None of
// them may write weights, packed or not: a kernel that packs them is launched by `launch`, and its successor waits for
// all of it.
template <class... Arguments>
void launch_early(const Context& context, Arguments... arguments) {
  launch<true>(context, arguments...);
}

// Scratch of cafx's own kernels that calls of one stream share; each member has its own.
void* shared_scratch(const Context&, std::size_t bytes);

// body(of) for every member that the context works on: of(p) is its pointer, for calls of libraries.
template <class Body>
void for_each_member(const Context& context, Body body) {
  CudaDevice& gpu = *context.cuda;
  gpu.after_early = false;
  for (unsigned k = 0; k < gpu.n_members; ++k) {
    body([&]<class T>(T* p) {
      return p ? reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(p) + k * gpu.member_stride) : nullptr;
    });
  }
}

inline constexpr int kThreads = 256;
// Blocks for n items, kThreads each.
inline unsigned blocks_for(long n, int threads = kThreads) {
  return static_cast<unsigned>((n + threads - 1) / threads);
}

constexpr long ceil_div(long a, long b) { return (a + b - 1) / b; }

}  // namespace cafx
