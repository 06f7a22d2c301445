// host/cli/bench_realtime.h -- every type and preset as a real-time effect: blocks of 64 samples at 48 kHz, one thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kernels/device/context.h"

namespace cafx {

// Of one way to play one preset. A block lasts kRealtimeBlock / kRealtimeRate seconds.
struct BlockTimes {
  double mean_us = 0.0, median_us = 0.0, worst_us = 0.0;  // of a block
  double percent() const;                                 // of one core, on the whole
  double times_real_time() const { return 100.0 / percent(); }
};
struct RealtimeSpeed {
  std::string type, preset;
  int hop = 0, latency = 0;  // samples; hop 0: a stream
  BlockTimes cafx;
  bool has_peer = false;
  BlockTimes peer;
};
inline constexpr int kRealtimeBlock = 64, kRealtimeRate = 48000;

// `peer`: a program that is called as PROGRAM MODEL.nam BLOCKS and writes the seconds of each block of noise; empty:
// none. It plays what the .nam format holds, in runs that alternate with cafx's own. Of `presets`; empty: all.
std::vector<RealtimeSpeed> measure_realtime(const Context&, const std::vector<std::string>& presets, double seconds,
                                            const std::string& peer);
std::string to_text(const std::vector<RealtimeSpeed>&);
nlohmann::ordered_json to_json(const std::vector<RealtimeSpeed>&);

}  // namespace cafx
