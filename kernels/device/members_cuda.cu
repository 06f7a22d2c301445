#include "kernels/device/cuda.h"
#include "kernels/device/members.h"
#include "kernels/device/memory.h"

namespace cafx {

std::size_t bytes_given_out(const Context& context) { return context.cuda->bytes_given_out; }

MemberMemory::MemberMemory(const Context& context, int n, std::size_t bytes) : context_(context), n_(n) {
  CudaDevice& gpu = *context.cuda;
  CAFX_CHECK(!gpu.member_memory && n > 0, n);
  const std::size_t stride = (bytes + 255) / 256 * 256;
  gpu.member_memory = static_cast<char*>(allocate(context, stride * static_cast<std::size_t>(n)));
  gpu.member_stride = stride;
  gpu.member_used = 0;
  all();
}

MemberMemory::~MemberMemory() {
  CudaDevice& gpu = *context_.cuda;
  char* memory = gpu.member_memory;
  only(0);
  gpu.member_memory = nullptr;
  gpu.member_stride = 0;
  gpu.member_workspace = nullptr;
  gpu.member_workspace_bytes = 0;
  cudaStreamSynchronize(gpu.stream);
  release(context_, memory);
}

void MemberMemory::only(int member) {
  context_.cuda->first_member = static_cast<unsigned>(member);
  context_.cuda->n_members = 1;
}

void MemberMemory::all() {
  context_.cuda->first_member = 0;
  context_.cuda->n_members = static_cast<unsigned>(n_);
}

}  // namespace cafx
