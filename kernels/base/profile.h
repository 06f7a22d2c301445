// kernels/base/profile.h -- where the time of a step goes: by op, and inside an op by part.
//
//   profile_start();  ... work on any threads ...;  rows = profile_stop();
//
//   An op is entered by CAFX_CALL (device/dispatch.h), a part by a `Part` (simd/part.h) that states the multiply-adds
//   and bytes of its work. Times exclude parts that are entered inside. While nobody
//   profiles, an entry costs the test of one variable.
//
// Errors   none; start and stop are called while no op runs.
#pragma once

#include <string>
#include <vector>

namespace cafx {

extern bool profiling;  // between start and stop; set while no op runs

void profile_enter(const char* op, const char* part, double multiply_adds,
                   double bytes);  // op null: as the one around it
void profile_leave();

struct ProfileRow {
  std::string op, part;  // part empty: what no part of the op claims
  double seconds = 0.0;  // summed over threads
  long calls = 0;
  double multiply_adds = 0.0, bytes = 0.0;  // useful ones; operands read and results written, each once
};
void profile_start();
std::vector<ProfileRow> profile_stop();  // in order of first entry on the first thread

}  // namespace cafx
