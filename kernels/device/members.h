// kernels/device/members.h -- memory of models side by side on a GPU, and work that is enqueued for several of them.
//
//   Every member has a part of the memory. Members that allocate the same in the same order have the same layout, so
//   that one distance leads from any pointer of one to its twin of the next. Work for several members is enqueued with
//   the pointers of the first: a kernel finds its member's by its place in the grid (kernels/device/cuda.h), fills and
//   copies go over all. What was allocated elsewhere, as recordings are, members share.
//
// Bits     a member has those that it has alone.
// Errors   CheckError where a part is too small.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "kernels/device/context.h"

namespace cafx {

// What work of one member takes: bytes that it allocates, and most of what its kernels share as scratch.
struct MemberSize {
  std::size_t bytes = 0, scratch = 0;
};
MemberSize measure_member(const Context&, const std::function<void()>& work);

// What `work` allocates lies in no member's part, wherever this is called, and is not measured.
void allocate_apart(const Context&, const std::function<void()>& work);

class MemberMemory {
 public:
  // Room for n members; contents undefined. All that lies in it must go before this does.
  MemberMemory(const Context&, int n, MemberSize);
  ~MemberMemory();
  MemberMemory(const MemberMemory&) = delete;
  MemberMemory& operator=(const MemberMemory&) = delete;

  // What `work` allocates lies in the member's part; where all of it is released again, the part is free.
  void allocate_in(int member, const std::function<void()>& work);
  bool is_free(int member) const;
  // The same for two members that have allocated the same so far.
  std::uint64_t layout(int member) const;
  // What `work` enqueues is done for `count` members from `first` on, whose pointers it uses.
  void for_members(int first, int count, const std::function<void()>& work);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cafx
