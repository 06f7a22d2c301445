// Stubs for builds without CUDA; members_cuda.cu has the implementation.
#include "kernels/device/members.h"

#include "kernels/base/error.h"

#ifndef CAFX_HAS_CUDA

namespace cafx {

struct MemberMemory::State {};
MemberSize measure_member(const Context&, const std::function<void()>&) { return {}; }
void allocate_apart(const Context&, const std::function<void()>& work) { work(); }
MemberMemory::MemberMemory(const Context&, int, MemberSize) { check_failed("built with CUDA", __FILE__, __LINE__, ""); }
MemberMemory::~MemberMemory() = default;
void MemberMemory::allocate_in(int, const std::function<void()>&) {}
bool MemberMemory::is_free(int) const { return true; }
std::uint64_t MemberMemory::layout(int) const { return 0; }
void MemberMemory::for_members(int, int, const std::function<void()>&) {}

}  // namespace cafx

#endif
