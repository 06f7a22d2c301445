#include <cstdlib>

#include "kernels/device/cuda.h"
#include "kernels/device/libraries.h"
#include "kernels/device/memory.h"

namespace cafx {

void cuda_failed(cudaError_t code, const char* call, const char* file, int line) {
  const std::string where = fmt::format("{} ({}:{}): {}", call, file, line, cudaGetErrorString(code));
  switch (code) {
    case cudaErrorMemoryAllocation:
      throw Error(
          "the GPU has too little free memory: {}; use a smaller --batch, or end what else runs on it and go on with "
          "'cafx resume', the last checkpoint is safe",
          where);
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      throw Error(
          "this binary holds no code for this GPU: {}; build it on this machine, or with -DCMAKE_CUDA_ARCHITECTURES "
          "naming its architecture ('cafx doctor' says which)",
          where);
    case cudaErrorInsufficientDriver:
      throw Error("the GPU's driver is too old for this binary: {}; update the driver, or use --device cpu", where);
    case cudaErrorNoDevice:
      throw Error("there is no GPU: {}; use --device cpu", where);
    case cudaErrorDevicesUnavailable:
      throw Error("the GPU is in use by another process: {}; wait, or choose another with --device cuda:N", where);
    default:
      throw Error("the GPU failed: {}; start again with 'cafx resume', the last checkpoint is safe", where);
  }
}
void cublas_failed(cublasStatus_t code, const char* call, const char* file, int line) {
  throw Error(
      "cuBLAS failed: {} ({}:{}): {}; go on with 'cafx resume', the last checkpoint is safe, or use --device cpu", call,
      file, line, cublasGetStatusString(code));
}
void cudnn_failed(cudnnStatus_t code, const char* call, const char* file, int line) {
  throw Error(
      "cuDNN failed: {} ({}:{}): {}; go on with 'cafx resume', the last checkpoint is safe, or use --device cpu", call,
      file, line, cudnnGetErrorString(code));
}

CudaDevice::~CudaDevice() {
  // Errors are ignored: this may run because of one, while the process ends.
  conv_descriptors.clear();
  for (void* larger : larger_workspaces) cudaFree(larger);
  if (workspace) cudaFree(workspace);
  if (dnn) cudnnDestroy(dnn);
  if (lt) cublasLtDestroy(lt);
  if (blas) cublasDestroy(blas);
  if (joined) cudaEventDestroy(joined);
  if (forked) cudaEventDestroy(forked);
  if (side) cudaStreamDestroy(side);
  if (stream) cudaStreamDestroy(stream);
}

namespace cuda {

namespace {

__global__ void probe_kernel(int* out) { *out = 1; }

// The number of GPUs that can be asked for; if none, the reason.
int count_gpus(std::string& reason) {
  int n = 0, driver = 0;
  const cudaError_t code = cudaGetDeviceCount(&n);
  if (code == cudaSuccess && n > 0) {
    reason = load_libraries();
    return reason.empty() ? n : 0;
  }
  cudaGetLastError();
  cudaDriverGetVersion(&driver);
  reason = code == cudaErrorInsufficientDriver && driver == 0 ? "no NVIDIA driver is installed"
           : code == cudaErrorInsufficientDriver
               ? fmt::format("the NVIDIA driver runs CUDA up to {}.{} and this binary needs {}.{}; update the driver",
                             driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10)
           : code != cudaSuccess && code != cudaErrorNoDevice ? cudaGetErrorString(code)
                                                              : "no NVIDIA GPU was found";
  return 0;
}

}  // namespace

int gpu_count() {
  std::string reason;
  return count_gpus(reason);
}

// Why GPU `index` cannot run this binary's kernels; empty where it can. No other GPU is opened.
std::string why_not(int index) {
  std::string reason;
  const int n = count_gpus(reason);
  if (n == 0) return reason;
  if (index >= n)
    return fmt::format("there {} here, numbered from 0", n == 1 ? "is 1 GPU" : fmt::format("are {} GPUs", n));
  if (cudaSetDevice(index) != cudaSuccess) return cudaGetErrorString(cudaGetLastError());
  cudaFuncAttributes attributes;
  const cudaError_t code = cudaFuncGetAttributes(&attributes, probe_kernel);
  cudaGetLastError();
  if (code == cudaSuccess) return "";
  return fmt::format("{}: this binary holds code for {} and not for this GPU; build it on this machine",
                     cudaGetErrorString(code), CAFX_CUDA_ARCHITECTURES);
}

namespace {

DeviceInfo describe_gpu(int index) {
  DeviceInfo d;
  d.index = index;
  cudaDeviceProp p{};
  if (cudaGetDeviceProperties(&p, index) == cudaSuccess) {
    d.name = p.name;
    d.major = p.major;
    d.minor = p.minor;
    d.n_sm = p.multiProcessorCount;
    d.memory = p.totalGlobalMem;
  }
  d.reason = why_not(index);
  d.usable = d.reason.empty();
  std::size_t total = 0;
  if (d.usable) cudaMemGetInfo(&d.free, &total);
  return d;
}

}  // namespace

CudaInfo info() {
  CudaInfo info;
  info.built = true;
  info.toolkit = CUDART_VERSION;
  info.architectures = CAFX_CUDA_ARCHITECTURES;
  info.cudnn_built = CUDNN_VERSION;
  cudaRuntimeGetVersion(&info.runtime);
  cudaDriverGetVersion(&info.driver);
  const int n = count_gpus(info.reason);
  if (n == 0) return info;
  info.cudnn = static_cast<long>(cudnnGetVersion());
  info.cublas = static_cast<long>(cublasLtGetVersion());
  int current = 0;
  cudaGetDevice(&current);
  bool any = false;
  for (int i = 0; i < n; ++i) {
    info.devices.push_back(describe_gpu(i));
    any = any || info.devices.back().usable;
  }
  cudaSetDevice(current);
  if (!any) info.reason = info.devices[0].reason;
  return info;
}

std::shared_ptr<CudaDevice> open(int index) {
  std::string none;
  const int n = count_gpus(none);
  if (n == 0) throw Error("CUDA cannot be used: {}; use --device cpu ('cafx doctor' tells more)", none);
  if (index >= n) {
    throw Error("--device cuda:{}: there {}, numbered from 0", index,
                n == 1 ? "is 1 GPU" : fmt::format("are {} GPUs", n));
  }
  const DeviceInfo d = describe_gpu(index);
  if (!d.usable) throw Error("GPU {} ({}) cannot be used: {}; or use --device cpu", index, d.name, d.reason);
  CAFX_CUDA_CHECK(cudaSetDevice(index));
  auto device = std::make_shared<CudaDevice>();
  device->index = index;
  device->name = d.name;
  device->n_sm = d.n_sm;
  device->major = d.major;
  device->minor = d.minor;
  device->memory = d.memory;
  int shared = 0;
  CAFX_CUDA_CHECK(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, index));
  device->shared_max = static_cast<std::size_t>(shared);
  CAFX_CUDA_CHECK(cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking));
  CAFX_CUDA_CHECK(cudaStreamCreateWithFlags(&device->side, cudaStreamNonBlocking));
  CAFX_CUDA_CHECK(cudaEventCreateWithFlags(&device->forked, cudaEventDisableTiming));
  CAFX_CUDA_CHECK(cudaEventCreateWithFlags(&device->joined, cudaEventDisableTiming));
  CAFX_CUBLAS_CHECK(cublasCreate(&device->blas));
  CAFX_CUBLAS_CHECK(cublasLtCreate(&device->lt));
  CAFX_CUDNN_CHECK(cudnnCreate(&device->dnn));
  CAFX_CUBLAS_CHECK(cublasSetStream(device->blas, device->stream));
  CAFX_CUDNN_CHECK(cudnnSetStream(device->dnn, device->stream));
  // With a workspace from the caller, cuBLAS gives equal bits and allocates nothing during the capture of a graph.
  device->workspace_bytes = std::size_t{64} << 20;
  CAFX_CUDA_CHECK(cudaMalloc(&device->workspace, device->workspace_bytes));
  device->conv_workspace = device->workspace;
  device->conv_workspace_bytes = device->workspace_bytes;
  CAFX_CUBLAS_CHECK(cublasSetWorkspace(device->blas, device->workspace, device->workspace_bytes));
  CAFX_CUBLAS_CHECK(cublasSetMathMode(device->blas, CUBLAS_DEFAULT_MATH));
  return device;
}

void make_current(const Context& context) { CAFX_CUDA_CHECK(cudaSetDevice(context.cuda->index)); }

std::string name(const Context& context) {
  const CudaDevice& d = *context.cuda;
  return fmt::format("cuda {}.{} ({})", d.major, d.minor, d.name);
}

void allow_precision(const Context& context, Precision p) {
  if (p == Precision::kFp32) return;
  const CudaDevice& d = *context.cuda;
  cudaFuncAttributes attributes{};
  CAFX_CUDA_CHECK(cudaFuncGetAttributes(&attributes, probe_kernel));
  if (d.major >= 8 && attributes.ptxVersion >= 80) return;
  throw Error("precision {}: {}; set fp32, or use --device cpu, which emulates it", to_string(p),
              d.major < 8 ? fmt::format("{} (architecture {}.{}) has no units for it, 8.0 and newer have", d.name,
                                        d.major, d.minor)
                          : fmt::format("this binary's code for {} was made for an older architecture", d.name));
}

std::vector<ConvolutionPlan> convolution_plans(const Context& context) {
  std::vector<ConvolutionPlan> plans;
  for (const auto& [name, plan] : context.cuda->conv_plans) {
    plans.push_back({name, plan.ours, plan.algorithm, plan.workspace, plan.passed_over});
  }
  return plans;
}

void* allocate(const Context& context, std::size_t bytes) {
  CudaDevice& gpu = *context.cuda;
  const std::size_t needed = (bytes + 511) / 256 * 256;  // a gap behind it
  gpu.bytes_given_out += needed;
  if (gpu.allocating) {
    MemberPart& part = *gpu.allocating;
    CAFX_CHECK(part.used + needed <= part.bytes, part.used, needed, part.bytes);
    void* p = part.memory + part.used;
    part.used += needed;
    part.layout = (part.layout ^ needed) * 0x100000001b3ull + 1;  // FNV
    ++part.live;
    return p;
  }
  void* p = nullptr;
  const cudaError_t code = cudaMalloc(&p, needed);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error(
        "the GPU has too little free memory: {:.1f} MiB are needed at once, {:.1f} of {:.1f} MiB are free; use a "
        "smaller --batch, or end what else runs on it",
        static_cast<double>(bytes) / 1048576.0, static_cast<double>(free) / 1048576.0,
        static_cast<double>(total) / 1048576.0);
  }
  CAFX_CUDA_CHECK(code);
  return p;
}

}  // namespace cuda

void* shared_scratch(const Context& context, std::size_t bytes) {
  CudaDevice& gpu = *context.cuda;
  gpu.most_scratch = std::max(gpu.most_scratch, bytes);
  const std::size_t there = gpu.first_member ? gpu.first_member->scratch_bytes : gpu.workspace_bytes;
  CAFX_CHECK(bytes <= there, bytes, there);
  return gpu.first_member ? gpu.first_member->scratch : gpu.workspace;
}

namespace cuda {

void release(const Context& context, void* p) {
  for (MemberBlock* block : context.cuda->member_blocks) {
    for (MemberPart& part : block->parts) {
      if (!part.holds(p)) continue;
      if (--part.live == 0) part.used = 0, part.layout = 0;
      return;
    }
  }
  cudaFree(p);
}

static bool of_members(const CudaDevice& gpu, const void* p) { return gpu.first_member && gpu.first_member->holds(p); }

void copy(const Context& context, void* to, const void* from, std::size_t bytes) {
  cudaPointerAttributes a{}, b{};
  CAFX_CUDA_CHECK(cudaPointerGetAttributes(&a, to));
  CAFX_CUDA_CHECK(cudaPointerGetAttributes(&b, from));
  CudaDevice& gpu = *context.cuda;
  gpu.after_early = false;
  if (of_members(gpu, to)) {  // a row for each; what is no member's is the same for all
    CAFX_CUDA_CHECK(cudaMemcpy2DAsync(to, gpu.member_stride, from, of_members(gpu, from) ? gpu.member_stride : 0, bytes,
                                      gpu.n_members, cudaMemcpyDefault, stream_of(context)));
  } else {
    CAFX_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(context)));
  }
  const auto on_device = [](const cudaPointerAttributes& p) {
    return p.type == cudaMemoryTypeDevice || p.type == cudaMemoryTypeManaged;
  };
  const bool within = on_device(a) && on_device(b);
  if (!within) CAFX_CUDA_CHECK(cudaStreamSynchronize(stream_of(context)));
}

void fill_zero(const Context& context, void* p, std::size_t bytes) {
  CudaDevice& gpu = *context.cuda;
  gpu.after_early = false;
  if (of_members(gpu, p)) {
    CAFX_CUDA_CHECK(cudaMemset2DAsync(p, gpu.member_stride, 0, bytes, gpu.n_members, stream_of(context)));
  } else {
    CAFX_CUDA_CHECK(cudaMemsetAsync(p, 0, bytes, stream_of(context)));
  }
}

void aside(const Context& context, const std::function<void()>& work) {
  CudaDevice& gpu = *context.cuda;
  CAFX_CUDA_CHECK(cudaEventRecord(gpu.forked, gpu.stream));
  CAFX_CUDA_CHECK(cudaStreamWaitEvent(gpu.side, gpu.forked));
  struct Swapped {  // launches find the stream in the device
    CudaDevice& gpu;
    const bool after_early;
    explicit Swapped(CudaDevice& d) : gpu(d), after_early(d.after_early) {
      std::swap(gpu.stream, gpu.side);
      gpu.after_early = false;  // it follows the fork, and what the branch did before
    }
    ~Swapped() {
      std::swap(gpu.stream, gpu.side);
      gpu.after_early = after_early;
    }
  };
  gpu.apart = true;
  const Swapped swapped(gpu);
  work();
}

void join(const Context& context) {
  CudaDevice& gpu = *context.cuda;
  if (!gpu.apart) return;
  gpu.apart = gpu.after_early = false;
  CAFX_CUDA_CHECK(cudaEventRecord(gpu.joined, gpu.side));
  CAFX_CUDA_CHECK(cudaStreamWaitEvent(gpu.stream, gpu.joined));
}

void synchronize(const Context& context) { CAFX_CUDA_CHECK(cudaStreamSynchronize(stream_of(context))); }

std::size_t free_memory(const Context&) {
  std::size_t free = 0, total = 0;
  CAFX_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return free;
}

}  // namespace cuda
}  // namespace cafx
