#include "kernels/device/cuda.h"
#include "kernels/device/members.h"
#include "kernels/device/memory.h"

namespace cafx {

namespace {

// A value for as long as this lives.
template <class T>
class Set {
 public:
  Set(T& place, T value) : place_(place), before_(place) { place = value; }
  ~Set() { place_ = before_; }
  Set(const Set&) = delete;
  Set& operator=(const Set&) = delete;

 private:
  T& place_;
  T before_;
};

std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

MemberSize measure_member(const Context& context, const std::function<void()>& work) {
  CudaDevice& gpu = *context.cuda;
  const std::size_t before = gpu.bytes_given_out;
  const Set most(gpu.most_scratch, std::size_t{0});
  work();
  return {gpu.bytes_given_out - before, gpu.most_scratch};
}

void allocate_apart(const Context& context, const std::function<void()>& work) {
  if (!context.cuda) return work();
  const Set part(context.cuda->allocating, static_cast<MemberPart*>(nullptr));
  const Set bytes(context.cuda->bytes_given_out, context.cuda->bytes_given_out);
  work();
}

struct MemberMemory::State {
  Context context;
  MemberBlock block;
};

MemberMemory::MemberMemory(const Context& context, int n, MemberSize size) : state_(std::make_unique<State>()) {
  CAFX_CHECK(context.device == Device::kCuda && n > 0, n);
  state_->context = context;
  MemberBlock& block = state_->block;
  const std::size_t bytes = rounded(size.bytes), scratch = rounded(size.scratch);
  block.stride = bytes + scratch;
  block.memory = static_cast<char*>(allocate(context, block.stride * static_cast<std::size_t>(n)));
  for (int k = 0; k < n; ++k) {
    char* const at = block.memory + static_cast<std::size_t>(k) * block.stride;
    block.parts.push_back({at, bytes, at + bytes, scratch});
  }
  context.cuda->member_blocks.push_back(&block);
}

MemberMemory::~MemberMemory() {
  CudaDevice& gpu = *state_->context.cuda;
  std::erase(gpu.member_blocks, &state_->block);
  cudaStreamSynchronize(gpu.stream);
  release(state_->context, state_->block.memory);
}

void MemberMemory::allocate_in(int member, const std::function<void()>& work) {
  const Set part(state_->context.cuda->allocating, &state_->block.parts[static_cast<std::size_t>(member)]);
  work();
}

bool MemberMemory::is_free(int member) const { return state_->block.parts[static_cast<std::size_t>(member)].live == 0; }

std::uint64_t MemberMemory::layout(int member) const {
  return state_->block.parts[static_cast<std::size_t>(member)].layout;
}

void MemberMemory::for_members(int first, int count, const std::function<void()>& work) {
  CudaDevice& gpu = *state_->context.cuda;
  const auto from = state_->block.parts.begin() + first;
  for (auto part = from; part != from + count; ++part) CAFX_CHECK(part->layout == from->layout, first, count);
  const Set stride(gpu.member_stride, state_->block.stride);
  const Set members(gpu.n_members, static_cast<unsigned>(count));
  const Set part(gpu.first_member, static_cast<const MemberPart*>(&*from));
  work();
}

}  // namespace cafx
