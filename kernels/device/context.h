// kernels/device/context.h -- what an op runs with: the device, the instruction set, the threads, the scratch memory.
//
//   An op gets a Context and raw pointers, allocates nothing and never synchronises. A model drives its ops through
//   `over_frames`, which is where the two devices differ: a CPU works through the batch in micro-batches, one gradient
//   slot each, on all threads; a GPU gets the whole batch at once.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "kernels/base/thread_pool.h"
#include "kernels/device/precision.h"

namespace cafx {

enum class Device { kCpu, kCuda };
enum class Isa { kPortable, kAvx2, kAvx512 };

const char* to_string(Isa isa);
Isa parse_isa(const std::string& name);  // "portable", "avx2", "avx512"; Error lists those of this machine and build
Isa best_isa();                          // the widest that both this build and this processor have

// Number of gradient blocks that a batch is split over on a CPU. Fixed, so that sums are taken in one order whatever
// the number of threads: more would cost memory and a longer reduction, fewer would leave threads idle.
inline constexpr int kGradientSlots = 16;

struct CudaDevice;   // stream, library handles, plans: kernels/device/cuda.h
struct PartialSums;  // kernels/device/sums.h

struct Context {
  Device device = Device::kCpu;
  std::shared_ptr<CudaDevice> cuda;  // open where device is kCuda
  Isa isa = Isa::kPortable;
  ThreadPool* pool = nullptr;  // null: the calling thread alone (always so inside a micro-batch)
  Precision precision = Precision::kFp32;
  bool fuse_dnn = true;           // on a GPU: the fused kernel of DNN-SAAF; false: its plain twin
  std::optional<bool> use_cudnn;  // on a GPU: convolutions by cuDNN or by cafx; unset: CAFX_CONVOLUTIONS
  bool use_bf16_units = true;     // on a CPU: bf16 in hardware, if present (bf16_units); false: emulated
  bool aside = false;             // on a GPU: ops may leave work beside what follows, until join (device/memory.h)
  PartialSums* sums = nullptr;    // on a GPU: where ops may leave sums of partial gradients; null: nowhere
  int worker = 0;                 // which thread's scratch to use, in [0, n_workers())

  int n_workers() const { return pool && device == Device::kCpu ? pool->n_threads() : 1; }
};

// Whether the precision is bf16 and this CPU multiplies it in hardware; device/precision.h: what is then rounded.
bool bf16_units(const Context&);
inline Precision emulated_precision(const Context& c) { return bf16_units(c) ? Precision::kFp32 : c.precision; }

// A large tensor between ops: of two bytes a number where a GPU computes in bf16 or fp16, else float;
// device/precision.h lists these tensors. In these formats a CPU rounds them as it stores them.
using Stored = void;
inline Precision stored_precision(const Context& c) { return is_16_bit(c.precision) ? c.precision : Precision::kFp32; }
inline std::size_t stored_bytes(const Context& c) {
  return is_16_bit(c.precision) && c.device == Device::kCuda ? 2 : 4;
}

// One micro-batch: frames [b0, b1) whose gradients go to `slot`; `context` is for the ops inside, which get `n` frames
// at a call (1 on a CPU, the whole batch on a GPU).
struct MicroBatch {
  Context context;
  int b0, b1, slot, n;
};
int frames_per_call(const Context& context, int B);

// Calls body once for each non-empty slot, in parallel. Slot s of S = min(kGradientSlots, B) gets frames
// [s B / S, (s+1) B / S): the split depends on B alone.
void over_frames(const Context& context, int B, const std::function<void(const MicroBatch&)>& body);
int n_slots(const Context& context, int B);

// task(i) for i in [0, n), in parallel; the tasks write to different places, so the order does not show.
void over_tasks(const Context& context, int n, const std::function<void(const Context&, int i)>& task);

}  // namespace cafx
