// kernels/exchange/exchange.h -- the gradient of a batch whose frames are spread over several GPUs of one machine.
//
//   g = sum_r n_r / n g_r      n_r frames of rank r, n of all; g_r the mean gradient over its own, anything finite where n_r = 0
//   loss = sum_r loss_r
//
//   Every rank owns one slice of the gradient. It gets that slice from all others (ncclSend, ncclRecv), adds them in the
//   order of the ranks, in double, rounded once, and all ranks get the finished slices (ncclAllGather). NCCL only moves
//   bytes here: its own sums follow the shape of its rings, which is not the order of the ranks. Each rank sends and
//   receives 2 (R-1)/R of the gradient a step, as much as the best all-reduce.
//
// Bits     the same on every rank; they depend on the gradients and the number of ranks, on no timing and no topology.
//          The sum adds one rounding to the gradients, whatever the number of ranks.
// Errors   Error where NCCL is not in this build, is not found, is too old, or fails; abort() frees the ranks that wait.
// NCCL     is loaded when the first Exchange is made: a run on one GPU needs none.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device/context.h"

namespace cafx {

inline constexpr int kMostGpus = 16;

// What the ranks find each other by.
struct ExchangeId {
  char bytes[128];
};
ExchangeId new_exchange_id();
std::string exchange_name();  // "NCCL 2.28.3"; Error says why GPUs cannot be connected here

// Floats that a gradient of n floats is laid out with, so that it divides into one slice for each rank.
long exchange_padded(long n, int ranks);
std::size_t exchange_scratch(long n, int ranks);  // bytes
std::size_t exchange_bytes(long n, int ranks);    // that each rank sends in a step, and receives

// The end of one rank. Made by all ranks at the same time, each in a thread of its own whose current GPU is its own.
class Exchange {
 public:
  Exchange(const Context&, const ExchangeId&, int rank, int ranks);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  int rank() const;
  int ranks() const;

  // Enqueues both sums; a CUDA graph can hold them. gradient has exchange_padded(n) floats, those behind n are written;
  // frames[r] = n_r. `first`: waits after each part, which the first call must do: what is loaded and connected then may
  // wait for the device, and must not while another rank waits for this one.
  void sum(const Context&, float* gradient, double* loss, const std::vector<int>& frames, long n, void* scratch,
           bool first = false);

  std::string failure() const;  // what failed behind our back; empty while all is well
  void abort() noexcept;        // ends what waits for other ranks; from any thread; nothing may be enqueued after it

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cafx
