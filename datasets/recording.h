// datasets/recording.h -- where the samples of recordings lie: in memory, and beyond a bound in files without a name.
//
//   A Recording is a std::vector<float> that lies in memory as long as all recordings together take at most
//   RecordingLimits::in_memory. What goes beyond is mapped from files without a name in $TMPDIR, /var/tmp or /tmp, of
//   which a thread keeps about RecordingLimits::mapped in memory: hours of audio take the memory of minutes. Space on
//   disk is taken when it is asked for; where there is none, or the system knows no such files, memory is taken.
//
// Errors   std::bad_alloc, as of any allocator.
// Threads  any number at once.
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

namespace cafx {

struct RecordingLimits {
  std::atomic<std::size_t> in_memory = std::size_t{512} << 20, mapped = std::size_t{256} << 20;  // bytes
};
RecordingLimits& recording_limits();  // of the process

void* take_recording(std::size_t bytes);
void give_recording(void*, std::size_t bytes) noexcept;
// Bytes of all recordings that lie in files now.
std::size_t bytes_in_files();

template <typename T>
struct RecordingMemory {
  using value_type = T;
  RecordingMemory() = default;
  template <typename U>
  RecordingMemory(const RecordingMemory<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(take_recording(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) noexcept { give_recording(p, n * sizeof(T)); }
  friend bool operator==(const RecordingMemory&, const RecordingMemory&) { return true; }
};

using Recording = std::vector<float, RecordingMemory<float>>;

}  // namespace cafx
