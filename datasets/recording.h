// datasets/recording.h -- where the samples of recordings lie: in memory, and beyond a bound in files without a name.
//
//   A Recording is a std::vector<float> that lies in memory as long as all recordings together take at most
//   RecordingLimits::in_memory. What goes beyond is mapped from files without a name in $TMPDIR, /var/tmp or /tmp, of
//   which a thread keeps about RecordingLimits::mapped in memory: hours of audio take the memory of minutes. Space on
//   disk is taken when it is asked for; where there is none, or the system knows no such files, memory is taken.
//
//   A SharedRecording is one that several hold and read: copies of it share its samples until one of them is edited.
//
// Errors   std::bad_alloc, as of any allocator.
// Threads  any number at once; of one SharedRecording and those that share with it, as of a std::shared_ptr.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
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

class SharedRecording {
 public:
  SharedRecording() = default;
  SharedRecording(Recording samples) : held_(std::make_shared<Held>(std::move(samples))) {}

  const float* data() const { return samples().data(); }
  std::size_t size() const { return samples().size(); }
  bool empty() const { return samples().empty(); }
  const float* begin() const { return data(); }
  const float* end() const { return data() + size(); }
  float operator[](std::size_t i) const { return data()[i]; }
  Recording copy() const { return {begin(), end()}; }
  std::span<const float> samples() const { return held_ ? held_->samples() : std::span<const float>(); }
  friend bool operator==(const SharedRecording&, const SharedRecording&);  // of samples

  // To be written: of its own from now on, where others share them.
  Recording& edit();
  void resize(std::size_t n) {
    if (n != size()) edit().resize(n);
  }
  // Its samples lie at `place` as well, and stay there: all that share them read them there from now on.
  void move_to(std::shared_ptr<const float> place);

 private:
  struct Held {
    explicit Held(Recording samples) : own(std::move(samples)) {}
    std::span<const float> samples() const { return place ? std::span(place.get(), n) : std::span<const float>(own); }
    Recording own;
    std::shared_ptr<const float> place;  // null: `own`
    std::size_t n = 0;                   // samples there
  };
  std::shared_ptr<Held> held_;
};

}  // namespace cafx
