// kernels/device/members.h -- models side by side on a GPU: what their context enqueues is done for each of them.
//
//   While a MemberMemory lives, its context allocates in it, in the part of the first member; those of the others have
//   the same layout. Ops, fills and copies get the first member's pointers and go over all members, in one launch of a
//   kernel, which finds its member's memory by its place in the grid (kernels/device/cuda.h). What was allocated before,
//   as recordings are, all members share.
//
//   A copy from other memory gives every member the same, and one to other memory takes from the first; `only` narrows
//   all of this to one member.
//
// Bits     a member has those that it has alone.
// Errors   CheckError where more is allocated than was asked for.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"

namespace cafx {

// Bytes that the context's GPU has given out so far, freed or not: of two values, what a member needs in between.
std::size_t bytes_given_out(const Context&);

class MemberMemory {
 public:
  // `bytes` for each of n members; contents undefined.
  MemberMemory(const Context&, int n, std::size_t bytes);
  ~MemberMemory();
  MemberMemory(const MemberMemory&) = delete;
  MemberMemory& operator=(const MemberMemory&) = delete;

  void only(int member);
  void all();

 private:
  Context context_;
  int n_ = 0;
};

}  // namespace cafx
