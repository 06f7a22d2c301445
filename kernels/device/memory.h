// kernels/device/memory.h -- a device's memory, for code that names no device.
//
//   On the CPU these are plain memory and plain copies. On a GPU everything runs in the context's stream: `copy` from
//   or to the host waits until it is done, `fill_zero` and copies within the device do not.
//
// Errors   Error where a GPU cannot allocate that much; it names the free bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device/context.h"

namespace cafx {

void* allocate(const Context&, std::size_t bytes);  // aligned to 256 bytes; contents undefined
void release(const Context&, void*) noexcept;
void copy(const Context&, void* to, const void* from, std::size_t bytes);  // any direction
void fill_zero(const Context&, void*, std::size_t bytes);
void synchronize(const Context&);
std::vector<float> stored_values(const Context&, const Stored*, std::size_t n);  // as floats, on the host
std::size_t free_memory(const Context&);  // bytes; on the CPU what the system says is available

// n values of T on a context's device.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(const Context& context, std::size_t n)
      : context_(context), data_(static_cast<T*>(allocate(context, n * sizeof(T)))), n_(n) {}
  DeviceArray(const Context& context, const std::vector<T>& values) : DeviceArray(context, values.size()) {
    upload(values.data(), values.size());
  }
  DeviceArray(DeviceArray&& other) noexcept { swap(other); }
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceArray() {
    if (data_) release(context_, data_);
  }

  void upload(const T* from, std::size_t n, std::size_t at = 0) { copy(context_, data_ + at, from, n * sizeof(T)); }
  void download(T* to, std::size_t n, std::size_t at = 0) const { copy(context_, to, data_ + at, n * sizeof(T)); }
  void fill_zero() { cafx::fill_zero(context_, data_, n_ * sizeof(T)); }
  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return n_; }

 private:
  void swap(DeviceArray& other) {
    std::swap(context_, other.context_);
    std::swap(data_, other.data_);
    std::swap(n_, other.n_);
  }
  Context context_;
  T* data_ = nullptr;
  std::size_t n_ = 0;
};

struct DeviceInfo {
  bool usable = false;
  std::string reason;  // why not
  std::string name;
  int index = 0, major = 0, minor = 0, n_sm = 0;
  std::size_t memory = 0, free = 0;  // bytes
};
struct CudaInfo {
  bool built = false;                           // this binary has the CUDA backend
  std::string reason;                           // why no GPU can be used; empty where one can
  std::string architectures;                    // that this binary holds code for
  int toolkit = 0, runtime = 0, driver = 0;     // as 1000 major + 10 minor; driver: newest CUDA that it runs
  long cudnn = 0, cudnn_built = 0, cublas = 0;  // in the libraries' own numbering; 0: absent
  std::vector<DeviceInfo> devices;
};
CudaInfo cuda_info();

// Opens GPU `index` and makes `context` use it; the context keeps it open. Error says what is missing and what to do.
// Convolutions go to cuDNN where the environment says CAFX_CONVOLUTIONS=cudnn.
void use_cuda(Context& context, int index = 0);

// GPUs that the driver shows; 0 without one, without a driver, or in a build without CUDA.
int gpu_count();

// Makes the context's GPU current for this thread: every thread that uses a context calls this first.
void make_current(const Context&);

// Of the context's GPU, with its architecture: "cuda 9.0 (NVIDIA H100)".
std::string device_name(const Context&);

// The convolutions that ran on the context's GPU so far, each by cuDNN or, where cuDNN has no deterministic algorithm,
// by a kernel of cafx.
struct ConvolutionPlan {
  std::string name;
  bool ours;
  int algorithm;            // cuDNN's number
  std::size_t workspace;    // bytes
  std::string passed_over;  // cuDNN's algorithms that were refused, and why
};
std::vector<ConvolutionPlan> convolution_plans(const Context&);

// "cpu", "cuda", "cuda:1" or "auto", which is the GPU where one can be used.
void use_device(Context& context, const std::string& name);
// Its Error for another name, and for a GPU where the build knows none; no GPU is asked.
void check_device(const std::string& name);

// What `work` enqueues follows all that was enqueued before. Where the context allows it (Context::aside), it runs
// beside what comes next, until join: till then its results are not there, and what it reads must stay. Only for
// kernels of cafx's own; libraries stay on the context's stream.
void enqueue_aside(const Context&, const std::function<void()>& work);
template <class F>
void aside(const Context& context, F work) {
  if (context.aside) return enqueue_aside(context, work);
  work();
}
void join(const Context&);

// "fp32", "tf32", "bf16" or "fp16", after use_device; Error where the device cannot compute in it.
void use_precision(Context& context, const std::string& name);
// The context's precision, and its limits: emulated on a CPU, libraries in fp32 on a virtual GPU.
std::string precision_text(const Context&);

}  // namespace cafx
