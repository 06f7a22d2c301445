#include "host/cli/bench_profile.h"

#include <fmt/format.h>

#include <algorithm>

namespace cafx {

namespace {

// Rows by time, the longest first, and what no op claims.
std::vector<ProfileRow> sorted(const StepProfile& profile, int threads) {
  std::vector<ProfileRow> rows = profile.rows;
  ProfileRow rest;
  rest.op = "between the ops, waiting";
  rest.seconds = profile.seconds * threads;
  for (const ProfileRow& r : rows) rest.seconds -= r.seconds;
  rows.push_back(rest);
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace

std::string to_text(const StepProfile& profile, int batch, int threads, double peak) {
  const double frames = static_cast<double>(profile.steps) * batch, all = profile.seconds * threads;
  std::string text = fmt::format("{:28} {:30} {:>9} {:>7} {:>8} {:>8} {:>8} {:>8} {:>7}\n", "op", "part", "us/frame",
                                 "share", "MFLOP", "GFLOP/s", "of peak", "kB", "GB/s");
  ProfileRow sum;
  for (const ProfileRow& r : sorted(profile, threads)) {
    sum.multiply_adds += r.multiply_adds;
    if (r.seconds < 1e-3 * all) continue;
    const double flop = 2.0 * r.multiply_adds, rate = flop / r.seconds;
    text += fmt::format("{:28} {:30} {:9.1f} {:5.1f} %", r.op, r.part.empty() ? "-" : r.part, 1e6 * r.seconds / frames,
                        100.0 * r.seconds / all);
    text += flop > 0.0 ? fmt::format(" {:8.2f} {:8.1f} {:6.1f} %", 1e-6 * flop / frames, 1e-9 * rate * threads,
                                     100.0 * rate * threads / peak)
                       : fmt::format(" {:>8} {:>8} {:>8}", "", "", "");
    if (r.bytes > 0.0) {
      text += fmt::format(" {:8.0f} {:7.1f}", 1e-3 * r.bytes / frames, 1e-9 * r.bytes / r.seconds * threads);
    }
    text += '\n';
  }
  text += fmt::format("{:28} {:30} {:9.1f}  100 %  {:8.2f} {:8.1f} {:6.1f} %   {:.1f} frames/s\n", "sum", "",
                      1e6 * all / frames, 2e-6 * sum.multiply_adds / frames, 2e-9 * sum.multiply_adds / profile.seconds,
                      200.0 * sum.multiply_adds / profile.seconds / peak, frames / profile.seconds);
  return text;
}

nlohmann::ordered_json to_json(const StepProfile& profile, int batch, int threads, double peak) {
  const double frames = static_cast<double>(profile.steps) * batch, all = profile.seconds * threads;
  auto list = nlohmann::ordered_json::array();
  for (const ProfileRow& r : sorted(profile, threads)) {
    const double rate = r.seconds > 0.0 ? 2.0 * r.multiply_adds / r.seconds * threads : 0.0;
    list.push_back({{"op", r.op},
                    {"part", r.part},
                    {"microseconds_per_frame", 1e6 * r.seconds / frames},
                    {"share", r.seconds / all},
                    {"flop_per_frame", 2.0 * r.multiply_adds / frames},
                    {"of_peak", rate / peak},
                    {"bytes_per_frame", r.bytes / frames}});
  }
  return list;
}

}  // namespace cafx
