#include "kernels/device/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/base/error.h"
#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_CUDA(void*, allocate, (const Context&, std::size_t bytes));
CAFX_CUDA(void, release, (const Context&, void* p));
CAFX_CUDA(void, copy, (const Context&, void* to, const void* from, std::size_t bytes));
CAFX_CUDA(void, fill_zero, (const Context&, void* p, std::size_t bytes));
CAFX_CUDA(void, synchronize, (const Context&));
CAFX_CUDA(void, aside, (const Context&, const std::function<void()>& work));
CAFX_CUDA(void, join, (const Context&));
CAFX_CUDA(std::size_t, free_memory, (const Context&));
CAFX_CUDA(std::string, name, (const Context&));
CAFX_CUDA(std::vector<ConvolutionPlan>, convolution_plans, (const Context&));
CAFX_CUDA(CudaInfo, info, ());
CAFX_CUDA(std::shared_ptr<CudaDevice>, open, (int index));
CAFX_CUDA(std::string, why_not, (int index));
CAFX_CUDA(int, gpu_count, ());
CAFX_CUDA(void, make_current, (const Context&));
CAFX_CUDA(void, allow_precision, (const Context&, Precision));

void* allocate(const Context& context, std::size_t bytes) {
  CAFX_CUDA_CALL(context, allocate, bytes);
  // A step touches tens of megabytes: pages of 2 MB where the system has them.
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  const std::size_t unit = bytes >= 2 * kHuge ? kHuge : 256;
  bytes = (bytes + unit - 1) / unit * unit + (unit == 256 ? 256 : 0);
  void* p = std::aligned_alloc(unit, bytes);
  if (!p) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (unit == kHuge) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return p;
}

void release(const Context& context, void* p) noexcept {
#ifdef CAFX_HAS_CUDA
  if (context.device == Device::kCuda) return cuda::release(context, p);
#endif
  (void)context;
  std::free(p);
}

void copy(const Context& context, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  CAFX_CUDA_CALL(context, copy, to, from, bytes);
  std::memcpy(to, from, bytes);
}

void fill_zero(const Context& context, void* p, std::size_t bytes) {
  if (bytes == 0) return;
  CAFX_CUDA_CALL(context, fill_zero, p, bytes);
  std::memset(p, 0, bytes);
}

void synchronize([[maybe_unused]] const Context& context) {
#ifdef CAFX_HAS_CUDA
  if (context.device == Device::kCuda) cuda::synchronize(context);
#endif
}

void enqueue_aside(const Context& context, const std::function<void()>& work) {
  CAFX_CUDA_CALL(context, aside, work);
  CAFX_CHECK(false);  // a CPU has nothing beside
}

void join([[maybe_unused]] const Context& context) {
#ifdef CAFX_HAS_CUDA
  if (context.device == Device::kCuda) cuda::join(context);
#endif
}

std::vector<float> stored_values(const Context& context, const Stored* from, std::size_t n) {
  std::vector<float> values(n);
  if (stored_bytes(context) == sizeof(float)) {
    copy(context, values.data(), from, sizeof(float) * n);
    return values;
  }
  std::vector<std::uint16_t> bits(n);
  copy(context, bits.data(), from, sizeof(std::uint16_t) * n);
  const bool fp16 = context.precision == Precision::kFp16;
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits[i]) << 16;
    if (fp16) {
      values[i] = value_of_fp16(bits[i]);
    } else {
      std::memcpy(&values[i], &wide, sizeof wide);
    }
  }
  return values;
}

std::size_t free_memory([[maybe_unused]] const Context& context) {
#ifdef CAFX_HAS_CUDA
  if (context.device == Device::kCuda) return cuda::free_memory(context);
#endif
  return static_cast<std::size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

CudaInfo cuda_info() {
#ifdef CAFX_HAS_CUDA
  return cuda::info();
#else
  CudaInfo info;
  info.reason = "this binary was built without the CUDA backend (CAFX_CUDA=OFF, or no nvcc was found)";
  return info;
#endif
}

void use_cuda(Context& context, [[maybe_unused]] int index) {
#ifdef CAFX_HAS_CUDA
  context.cuda = cuda::open(index);
  context.device = Device::kCuda;
#else
  (void)context;
  throw Error("{}; use --device cpu", cuda_info().reason);
#endif
}

int gpu_count() {
#ifdef CAFX_HAS_CUDA
  return cuda::gpu_count();
#else
  return 0;
#endif
}

void make_current([[maybe_unused]] const Context& context) {
#ifdef CAFX_HAS_CUDA
  if (context.device == Device::kCuda) cuda::make_current(context);
#endif
}

std::string device_name([[maybe_unused]] const Context& context) {
#ifdef CAFX_HAS_CUDA
  if (context.device == Device::kCuda) return cuda::name(context);
#endif
  return "cpu";
}

std::vector<ConvolutionPlan> convolution_plans([[maybe_unused]] const Context& context) {
#ifdef CAFX_HAS_CUDA
  if (context.device == Device::kCuda) return cuda::convolution_plans(context);
#endif
  return {};
}

// The N of "cuda:N"; "cuda" is the first.
static int gpu_named(const std::string& name) {
  if (name == "cuda") return 0;
  if (name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.find_first_not_of("0123456789", 5) == std::string::npos &&
      name.size() < 9) {
    return std::stoi(name.substr(5));
  }
  throw Error("--device {}: expected cpu, cuda, cuda:N or auto", name);
}

void use_device(Context& context, const std::string& name) {
  if (name == "cpu") return;
  if (name == "auto") {
#ifdef CAFX_HAS_CUDA
    if (cuda::why_not(0).empty()) use_cuda(context, 0);
#endif
    return;
  }
  use_cuda(context, gpu_named(name));
}

void check_device(const std::string& name) {
  if (name == "cpu" || name == "auto") return;
  [[maybe_unused]] const int gpu = gpu_named(name);
#ifndef CAFX_HAS_CUDA
  Context none;
  use_cuda(none, gpu);
#endif
}

void use_precision(Context& context, const std::string& name) {
  context.precision = parse_precision(name);
#ifdef CAFX_HAS_CUDA
  if (context.device == Device::kCuda) cuda::allow_precision(context, context.precision);
#endif
}

std::string precision_text(const Context& context) {
  const std::string name = to_string(context.precision);
  if (context.precision == Precision::kFp32) return name;
  if (context.device == Device::kCpu) return name + (bf16_units(context) ? "" : " (emulated)");
  // The name of the virtual GPU.
  const bool is_virtual = device_name(context).find("CPU emulation") != std::string::npos;
  return name + (is_virtual ? " (in cafx's own kernels; the libraries of this virtual GPU compute in fp32)" : "");
}

}  // namespace cafx
