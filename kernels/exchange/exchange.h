// kernels/exchange/exchange.h -- the gradient of a batch whose frames are spread over several GPUs of one machine.
//
//   g = sum_r n_r / n g_r      n_r frames of rank r, n of all ranks; g_r its mean gradient, any finite one if n_r = 0
//   loss = sum_r loss_r
//
//   Every rank owns one slice of the gradient. It gets that slice from all others (ncclSend, ncclRecv), adds them in
//   the order of the ranks, in double, rounded once, and all ranks get the finished slices (ncclAllGather). NCCL only
//   moves bytes here: its own sums follow the shape of its rings, which is not the order of the ranks. Each rank sends
//   and receives 2 (R-1)/R of the gradient a step, as much as the best all-reduce.
//
// Bits     the same on every rank; they depend on the gradients and the number of ranks, on no timing and no topology.
//          The sum adds one rounding to the gradients, whatever the number of ranks.
// Errors   Error where NCCL is not in this build, is not found, is too old, or fails; abort() frees waiting ranks.
// NCCL     is loaded when the first Exchange is made: a run on one GPU needs none.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device/context.h"

namespace cafx {

inline constexpr int kMostGpus = 16;

// Identifies one group of ranks; all ranks of it construct their Exchange with the same id.
struct ExchangeId {
  char bytes[128];
};
ExchangeId new_exchange_id();
std::string exchange_name();  // "NCCL 2.28.3"; Error says why GPUs cannot be connected here

// n rounded up so that the gradient divides into one slice for each rank.
long exchange_padded(long n, int ranks);
std::size_t exchange_scratch(long n, int ranks);  // bytes
std::size_t exchange_bytes(long n, int ranks);    // that each rank sends, and receives, in a step

// One rank's endpoint. All ranks must construct theirs concurrently, each in a thread whose current GPU is the rank's.
class Exchange {
 public:
  Exchange(const Context&, const ExchangeId&, int rank, int ranks);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  int rank() const;
  int ranks() const;

  // Enqueues both sums; a CUDA graph can hold them. gradient has exchange_padded(n) floats; the rest is scratch;
  // frames[r] = n_r. `first`: waits after each part. The first call must: loading and connecting may wait for the
  // device, which would deadlock while another rank waits for this one.
  void sum(const Context&, float* gradient, double* loss, const std::vector<int>& frames, long n, void* scratch,
           bool first = false);

  std::string failure() const;  // an error of a concurrent operation; empty: none
  void abort() noexcept;        // unblocks this rank; callable from any thread; nothing may be enqueued after it

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cafx
