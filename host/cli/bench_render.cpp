#include "host/cli/bench_render.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "host/render/render.h"
#include "kernels/base/rng.h"

namespace cafx {

namespace {

using Clock = std::chrono::steady_clock;

double elapsed(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::vector<float> noise(std::size_t n) {
  const Rng rng{1, 2};
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(0.05 * rng.normal(i));
  return x;
}

// Frames per second of a Renderer in its stride, median of the passes that fit in the time.
double offline(Model& model, const Context& context, int hop, double seconds) {
  Renderer renderer(model, context, hop);
  const auto frames = static_cast<std::size_t>(64 * context.n_workers());
  const auto x = noise(frames * static_cast<std::size_t>(hop));
  std::vector<float> out;
  std::vector<double> rates;
  renderer.push(x.data(), x.size(), out);
  const auto started = Clock::now();
  do {
    out.clear();
    const auto start = Clock::now();
    renderer.push(x.data(), x.size(), out);
    rates.push_back(static_cast<double>(frames) / elapsed(start));
  } while (elapsed(started) < seconds || rates.size() < 3);
  std::nth_element(rates.begin(), rates.begin() + static_cast<long>(rates.size() / 2), rates.end());
  return rates[rates.size() / 2];
}

void stream(HopSpeed& speed, Model& model, const Context& context, double seconds) {
  if (emulated_precision(context) != Precision::kFp32) return;  // no stream is offered
  const auto effect = make_player(model, {speed.hop, speed.hop, context.isa, context.precision});
  const auto n = static_cast<std::size_t>(speed.hop);
  const auto x = noise(64 * n);
  std::vector<float> y(n);
  std::vector<double> ms;
  const auto started = Clock::now();
  for (std::size_t i = 0; elapsed(started) < seconds || ms.size() < 100; ++i) {
    const auto start = Clock::now();
    effect->process(y.data(), x.data() + i % 64 * n, n);
    ms.push_back(1e3 * elapsed(start));
  }
  std::sort(ms.begin(), ms.end());
  speed.latency = effect->latency();
  speed.median_ms = ms[ms.size() / 2];
  speed.p99_ms = ms[ms.size() * 99 / 100];
  speed.worst_ms = ms.back();
  speed.block_ms = 1e3 * speed.hop / model.geometry().sample_rate;
}

}  // namespace

std::vector<HopSpeed> measure_rendering(Model& model, const Context& context, double seconds, double peak_of_one,
                                        double peak_of_all) {
  const Geometry c = model.geometry();
  std::set<int> hops{std::min(c.hop, c.frame / 2)};
  for (int hop = 64; hop <= c.frame / 2; hop *= 2) hops.insert(hop);
  Context alone = context;
  alone.pool = nullptr;
  std::vector<HopSpeed> all;
  for (const int hop : hops) {
    HopSpeed s;
    s.hop = hop;
    s.multiply_adds = model.sequence(context, hop)->multiply_adds();
    const double share = seconds / (3.0 * static_cast<double>(hops.size()));
    const auto measure = [&](const Context& on, double peak) {
      RenderSpeed r;
      r.frames_per_second = offline(model, on, hop, share);
      r.times_real_time = r.frames_per_second * hop / c.sample_rate;
      r.gflops = 2e-9 * s.multiply_adds * r.frames_per_second;
      r.of_peak = r.gflops * 1e9 / peak;
      return r;
    };
    s.one_thread = measure(alone, peak_of_one);
    s.all_threads = context.n_workers() > 1 ? measure(context, peak_of_all) : s.one_thread;
    stream(s, model, context, share);
    all.push_back(s);
  }
  return all;
}

nlohmann::ordered_json to_json(const std::vector<HopSpeed>& speeds) {
  auto list = nlohmann::ordered_json::array();
  const auto of = [](const RenderSpeed& r) {
    return nlohmann::ordered_json{{"frames_per_second", r.frames_per_second},
                                  {"times_real_time", r.times_real_time},
                                  {"useful_gflops", r.gflops},
                                  {"of_peak", r.of_peak}};
  };
  for (const HopSpeed& s : speeds) {
    list.push_back({{"hop", s.hop},
                    {"multiply_adds_per_frame", s.multiply_adds},
                    {"one_thread", of(s.one_thread)},
                    {"all_threads", of(s.all_threads)},
                    {"stream",
                     {{"latency_samples", s.latency},
                      {"block_ms", s.block_ms},
                      {"median_ms", s.median_ms},
                      {"p99_ms", s.p99_ms},
                      {"worst_ms", s.worst_ms}}}});
  }
  return list;
}

std::string to_text(const std::vector<HopSpeed>& speeds, int threads) {
  std::string text = fmt::format(
      "rendering, what neighbouring frames share counted once:\n"
      "   hop  MMAC/frame   1 thread: frames/s  real time  of peak  {:>3} threads: frames/s  real time"
      "   stream, a block of one hop: lasts ms  median  99 %  worst\n",
      threads);
  for (const HopSpeed& s : speeds) {
    text += fmt::format(
        "{:6}  {:10.2f}   {:18.1f}  {:8.2f}x  {:5.1f} %  {:21.1f}  {:8.2f}x   {:35.1f}  {:6.2f} {:5.2f} {:6.2f}\n",
        s.hop, 1e-6 * s.multiply_adds, s.one_thread.frames_per_second, s.one_thread.times_real_time,
        100.0 * s.one_thread.of_peak, s.all_threads.frames_per_second, s.all_threads.times_real_time, s.block_ms,
        s.median_ms, s.p99_ms, s.worst_ms);
  }
  return text;
}

}  // namespace cafx
