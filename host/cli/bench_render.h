// host/cli/bench_render.h -- how fast a model renders at each hop: offline on one thread and on all, and as a stream.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/model.h"

namespace cafx {

struct RenderSpeed {
  double frames_per_second = 0.0, times_real_time = 0.0;
  double gflops = 0.0, of_peak = 0.0;  // useful ones; of the FMA peak of the same number of threads
};

struct HopSpeed {
  int hop = 0;
  double multiply_adds = 0.0;  // of a frame, what neighbours share counted once
  RenderSpeed one_thread, all_threads;
  int latency = 0;  // of the stream, in samples, in blocks of one hop
  double median_ms = 0.0, p99_ms = 0.0, worst_ms = 0.0, block_ms = 0.0;  // of a block's processing, and what it lasts
};

// Every hop of 64, 128, ... up to half a frame, and the model's own. The peaks are in FLOP/s. CPU only.
std::vector<HopSpeed> measure_rendering(Model&, const Context&, double seconds, double peak_of_one, double peak_of_all);
nlohmann::ordered_json to_json(const std::vector<HopSpeed>&);
std::string to_text(const std::vector<HopSpeed>&, int threads);

}  // namespace cafx
