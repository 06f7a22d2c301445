#include "kernels/base/profile.h"

#include <chrono>
#include <cstring>
#include <deque>
#include <mutex>

namespace cafx {

bool profiling = false;

namespace {

using Clock = std::chrono::steady_clock;

// What one thread has counted. Names are literals: compared by address first, merged by text at the end.
struct Own {
  struct Entry {
    const char *op, *part;
    double seconds = 0.0, multiply_adds = 0.0, bytes = 0.0;
    long calls = 0;
  };
  std::vector<Entry> entries;
  std::vector<std::size_t> open;  // indices of the open entries, innermost last
  Clock::time_point since;

  std::size_t find(const char* op, const char* part) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].op == op && entries[i].part == part) return i;
    }
    entries.push_back({op, part});
    return entries.size() - 1;
  }
  // The time since the last change belongs to the innermost entry.
  void settle() {
    const auto now = Clock::now();
    if (!open.empty()) entries[open.back()].seconds += std::chrono::duration<double>(now - since).count();
    since = now;
  }
};

std::mutex mutex;
std::deque<Own> owners;  // one for each thread that entered an op since the start
unsigned generation = 0;

Own& own() {
  thread_local Own* mine = nullptr;
  thread_local unsigned seen = 0;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!mine || seen != generation) {
    mine = &owners.emplace_back();
    seen = generation;
  }
  return *mine;
}

}  // namespace

void profile_enter(const char* op, const char* part, double multiply_adds, double bytes) {
  Own& o = own();
  o.settle();
  if (!op) op = o.open.empty() ? "" : o.entries[o.open.back()].op;
  const std::size_t i = o.find(op, part);
  Own::Entry& e = o.entries[i];
  ++e.calls;
  e.multiply_adds += multiply_adds;
  e.bytes += bytes;
  o.open.push_back(i);
}

void profile_leave() {
  Own& o = own();
  if (o.open.empty()) return;  // entered before the start
  o.settle();
  o.open.pop_back();
}

void profile_start() {
  const std::lock_guard<std::mutex> lock(mutex);
  owners.clear();
  ++generation;
  profiling = true;
}

std::vector<ProfileRow> profile_stop() {
  const std::lock_guard<std::mutex> lock(mutex);
  profiling = false;
  std::vector<ProfileRow> rows;
  for (const Own& o : owners) {
    for (const Own::Entry& e : o.entries) {
      ProfileRow* row = nullptr;
      for (ProfileRow& r : rows) {
        if (r.op == e.op && r.part == e.part) row = &r;
      }
      if (!row) row = &rows.emplace_back(ProfileRow{e.op, e.part});
      row->seconds += e.seconds;
      row->calls += e.calls;
      row->multiply_adds += e.multiply_adds;
      row->bytes += e.bytes;
    }
  }
  return rows;
}

}  // namespace cafx
