#include "tests/ops/managed.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "kernels/device/memory.h"
#ifdef CAFX_HAS_CUDA
#include <cuda_runtime.h>
#endif

namespace cafx::op_test {

bool on_cuda() {
  static const bool on = [] {
    const char* device = std::getenv("CAFX_TEST_DEVICE");
    return device && std::strcmp(device, "cuda") == 0;
  }();
  return on;
}

#ifdef CAFX_HAS_CUDA
void* managed_allocate(std::size_t bytes) {
  void* p = nullptr;
  if (cudaMallocManaged(&p, bytes ? bytes : 1) != cudaSuccess) throw std::bad_alloc();
  return p;
}
void managed_free(void* p) { cudaFree(p); }
#else
void* managed_allocate(std::size_t) { throw std::bad_alloc(); }
void managed_free(void*) {}
#endif

namespace {

// On request for a GPU where there is none every test is skipped, with the reason.
class NeedsGpu : public testing::Environment {
  void SetUp() override {
    if (!on_cuda()) return;
    const CudaInfo info = cuda_info();
    if (!info.reason.empty()) GTEST_SKIP() << info.reason;
  }
};
const auto* const kNeedsGpu = testing::AddGlobalTestEnvironment(new NeedsGpu);

}  // namespace
}  // namespace cafx::op_test
