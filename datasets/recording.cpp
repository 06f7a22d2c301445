#include "datasets/recording.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>

namespace cafx {

namespace {

constexpr std::size_t kChunk = std::size_t{64} << 20, kAlign = 64;

std::size_t rounded(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

int open_without_name(const char* folder) {
  const int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) return file;
  std::string name = std::string(folder) + "/cafx-XXXXXX";  // a file system that knows names alone
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) unlink(name.c_str());
  return named;
}

// A file of `bytes` with its space taken, mapped; null where that cannot be had.
void* map_file(std::size_t bytes) {
  rlimit most{};  // beyond it the system ends a program
  if (getrlimit(RLIMIT_FSIZE, &most) != 0 || most.rlim_cur < bytes) return nullptr;
  const char* wanted = std::getenv("TMPDIR");
  for (const char* folder : {wanted, "/var/tmp", "/tmp"}) {
    if (!folder || !*folder) continue;
    const int file = open_without_name(folder);
    if (file < 0) continue;
    void* p = MAP_FAILED;
    if (fallocate(file, 0, 0, static_cast<off_t>(bytes)) == 0)
      p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (p != MAP_FAILED) return p;
  }
  return nullptr;
}

// Bytes of mapped files that lie in memory.
std::size_t resident_of_files() {
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  if (!f) return 0;
  unsigned long size = 0, resident = 0, shared = 0;
  const bool read = std::fscanf(f, "%lu %lu %lu", &size, &resident, &shared) == 3;
  std::fclose(f);
  return read ? shared * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) : 0;
}

// Chunks of files, each given out from its front and given back when nothing of it is in use.
class Files {
 public:
  void* take(std::size_t bytes) {
    bytes = rounded(bytes, kAlign);
    const std::lock_guard lock(mutex_);
    auto at = chunks_.find(open_);
    if (at == chunks_.end() || at->second.used + bytes > at->second.size) {
      const std::size_t size = rounded(bytes, kChunk);
      auto* p = static_cast<std::byte*>(map_file(size));
      if (!p) return nullptr;
      at = chunks_.emplace(p, Chunk{size, 0, 0}).first;
      if (bytes < size) open_ = p;
    }
    std::byte* p = at->first + at->second.used;
    at->second.used += bytes;
    at->second.in_use += bytes;
    bytes_ += bytes;
    if (!kept_) start_keeper();
    return p;
  }

  bool give(void* what, std::size_t bytes) {
    if (bytes_ == 0) return false;
    auto* p = static_cast<std::byte*>(what);
    bytes = rounded(bytes, kAlign);
    const std::lock_guard lock(mutex_);
    auto at = chunks_.upper_bound(p);
    if (at == chunks_.begin()) return false;
    --at;
    if (p >= at->first + at->second.size) return false;
    bytes_ -= bytes;
    at->second.in_use -= bytes;
    if (at->second.in_use > 0) return true;
    munmap(at->first, at->second.size);
    chunks_.erase(at);
    return true;
  }

  std::size_t bytes() const { return bytes_; }

 private:
  struct Chunk {
    std::size_t size = 0, used = 0, in_use = 0;
  };

  void start_keeper() {
    try {
      std::thread([this] { keep(); }).detach();
      kept_ = true;
    } catch (const std::system_error&) {  // no thread can be had: the system itself lets pages go where memory is short
    }
  }

  // Pages of a shared mapping can be let go at any moment: the file has what was written, and the next access finds it.
  void keep() {
    std::size_t others = 0;  // bytes of what else is mapped, as libraries are
    for (;;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      const std::lock_guard lock(mutex_);
      if (chunks_.empty()) {
        kept_ = false;
        return;
      }
      const std::size_t resident = resident_of_files();
      others = std::min(others, resident);
      if (resident <= others + recording_limits().mapped) continue;
      for (const auto& [p, chunk] : chunks_) madvise(p, chunk.size, MADV_DONTNEED);
      others = resident_of_files();
    }
  }

  std::mutex mutex_;
  std::map<std::byte*, Chunk> chunks_;
  std::byte* open_ = nullptr;
  std::atomic<std::size_t> bytes_{0};
  bool kept_ = false;
};

Files& files() {
  static auto* all = new Files;  // never destroyed: a recording may outlive every static object
  return *all;
}
std::atomic<std::size_t> held{0};

}  // namespace

RecordingLimits& recording_limits() {
  static auto* limits = new RecordingLimits;  // never destroyed, as `files`
  return *limits;
}

void* take_recording(std::size_t bytes) {
  if (held.fetch_add(bytes) + bytes > recording_limits().in_memory) {
    if (void* p = files().take(bytes)) {
      held -= bytes;
      return p;
    }
  }
  try {
    return ::operator new(bytes, std::align_val_t(kAlign));
  } catch (...) {
    held -= bytes;
    throw;
  }
}

void give_recording(void* p, std::size_t bytes) noexcept {
  if (files().give(p, bytes)) return;
  held -= bytes;
  ::operator delete(p, std::align_val_t(kAlign));
}

std::size_t bytes_in_files() { return files().bytes(); }

bool operator==(const SharedRecording& a, const SharedRecording& b) {
  return a.held_ == b.held_ || std::equal(a.begin(), a.end(), b.begin(), b.end());
}

Recording& SharedRecording::edit() {
  if (!held_ || held_.use_count() > 1 || held_->place) {
    held_ = std::make_shared<Held>(copy());
  }
  return held_->own;
}

void SharedRecording::move_to(std::shared_ptr<const float> place) {
  if (!held_) return;
  held_->n = size();
  held_->place = std::move(place);
  Recording().swap(held_->own);
}

}  // namespace cafx
