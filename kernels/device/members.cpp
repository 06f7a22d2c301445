// Stubs for builds without CUDA; members_cuda.cu has the implementation.
#include "kernels/device/members.h"

#include "kernels/base/error.h"

#ifndef CAFX_HAS_CUDA

namespace cafx {

std::size_t bytes_given_out(const Context&) { return 0; }
MemberMemory::MemberMemory(const Context&, int, std::size_t) {
  check_failed("built with CUDA", __FILE__, __LINE__, "");
}
MemberMemory::~MemberMemory() = default;
void MemberMemory::only(int) {}
void MemberMemory::all() {}

}  // namespace cafx

#endif
