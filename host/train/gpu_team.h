// host/train/gpu_team.h -- several GPUs that train one model: for each a context, a thread, and its end of the
// exchange.
//
//   CUDA's current GPU belongs to a thread, and ranks wait for each other inside NCCL: so each has a thread of its own,
//   in which all its calls are made.
//
// Errors   What one rank throws ends the others' waiting and is thrown by run(), with the GPU's number in front; the
//          team is of no use after that.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device/context.h"
#include "kernels/exchange/exchange.h"

namespace cafx {

// The GPUs that "N", "all" or "0,2" names; empty where one is enough and `device` says which. `asked`: by an option of
// this command, so that what does not fit is an Error; what a run's config says gives way to --device cpu or cuda:N.
std::vector<int> choose_gpus(const std::string& device, const std::string& gpus, bool asked);

class GpuTeam {
 public:
  // `base`: the settings other than the device. Opens the GPUs and connects them.
  GpuTeam(const Context& base, const std::vector<int>& gpus);
  ~GpuTeam();
  GpuTeam(const GpuTeam&) = delete;
  GpuTeam& operator=(const GpuTeam&) = delete;

  int size() const;
  const Context& context(int rank) const;
  Exchange& exchange(int rank);
  int gpu(int rank) const;   // its number, as CUDA counts
  std::string name() const;  // "2 x cuda 9.0 (NVIDIA H100)"
  bool alike() const;        // all of one name and architecture

  // body(rank) for all ranks at once, each in its thread with its GPU current; returns when all have ended.
  void run(const std::function<void(int rank)>& body);
  // Ends what waits for a rank that failed.
  void abort() noexcept;
  bool failed() const;

 private:
  void close() noexcept;

  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cafx
