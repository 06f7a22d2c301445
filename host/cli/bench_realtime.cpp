#include "host/cli/bench_realtime.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "host/export/nam_file.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "models/play/player.h"
#include "models/registry.h"

namespace cafx {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5;  // in which cafx and the peer alternate

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

BlockTimes times_of(std::vector<double> seconds) {
  BlockTimes t;
  for (const double s : seconds) t.mean_us += 1e6 * s / static_cast<double>(seconds.size());
  std::sort(seconds.begin(), seconds.end());
  t.median_us = 1e6 * seconds[seconds.size() / 2];
  t.worst_us = 1e6 * seconds.back();
  return t;
}

// The round in the middle, by its mean: a disturbed one falls out.
BlockTimes median_of(std::vector<BlockTimes> rounds) {
  std::sort(rounds.begin(), rounds.end(), [](const auto& a, const auto& b) { return a.mean_us < b.mean_us; });
  return rounds[rounds.size() / 2];
}

std::vector<float> test_noise(std::size_t n) {
  std::vector<float> x(n);
  const Rng rng{1, 2};
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(0.1 * rng.normal(i));
  return x;
}

BlockTimes play(Player& player, int blocks) {
  const std::vector<float> x = test_noise(static_cast<std::size_t>(blocks) * kRealtimeBlock);
  std::vector<float> y(kRealtimeBlock);
  std::vector<double> seconds;
  seconds.reserve(static_cast<std::size_t>(blocks));
  player.reset();
  for (int b = 0; b < blocks; ++b) {
    const auto start = Clock::now();
    player.process(y.data(), x.data() + static_cast<std::ptrdiff_t>(b) * kRealtimeBlock, kRealtimeBlock);
    seconds.push_back(seconds_since(start));
  }
  return times_of(std::move(seconds));
}

struct ClosePipe {
  void operator()(std::FILE* f) const { pclose(f); }
};

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

BlockTimes play_peer(const std::string& program, const std::filesystem::path& file, int blocks) {
  const std::string command = fmt::format("{} {} {}", quoted(program), quoted(file.string()), blocks);
  const std::unique_ptr<std::FILE, ClosePipe> pipe(popen(command.c_str(), "r"));
  if (!pipe) throw Error("{}: cannot be started", program);
  std::vector<double> seconds;
  for (double s = 0.0; std::fscanf(pipe.get(), "%lf", &s) == 1;) seconds.push_back(s);
  if (static_cast<int>(seconds.size()) != blocks) {
    throw Error("{}: wrote {} times for {} blocks of {}", program, seconds.size(), blocks, file.string());
  }
  return times_of(std::move(seconds));
}

// A folder that the destructor removes.
struct Scratch {
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "cafx-bench-XXXXXX").string();
    if (!mkdtemp(name.data())) throw Error("{}: no folder can be made there", name);
    path = name;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

}  // namespace

double BlockTimes::percent() const { return 100.0 * 1e-6 * mean_us * kRealtimeRate / kRealtimeBlock; }

std::vector<RealtimeSpeed> measure_realtime(const Context& context, const std::vector<std::string>& presets,
                                            double seconds, const std::string& peer) {
  const std::vector<std::string> chosen = presets.empty() ? model_presets() : presets;
  const Scratch scratch;
  std::vector<RealtimeSpeed> all;
  for (const std::string& name : chosen) {
    const auto config = type_of_preset(name).preset(name);
    config->sample_rate = kRealtimeRate;
    ModelFile file;
    file.model = make_model(*config);
    file.model->initialize(1);
    const PlayOptions options{0, kRealtimeBlock, context.isa, context.precision};
    const auto player = make_player(*file.model, options);
    RealtimeSpeed s;
    s.type = config->type();
    s.preset = name;
    s.hop = config->geometry().frame > 0 ? player_hop(*file.model, options) : 0;
    s.latency = player->latency();
    s.has_peer = !peer.empty() && file.model->nam().has_value();
    const auto nam = scratch.path / "model.nam";
    if (s.has_peer) save_nam(nam, file, name);

    const double share = seconds / static_cast<double>(chosen.size()) / kRounds / (s.has_peer ? 2.0 : 1.0);
    play(*player, 100);
    const BlockTimes once = play(*player, 200);
    const int blocks = std::max(200, static_cast<int>(share / (1e-6 * once.mean_us)));
    std::vector<BlockTimes> ours, theirs;
    for (int round = 0; round < kRounds; ++round) {
      ours.push_back(play(*player, blocks));
      if (s.has_peer) theirs.push_back(play_peer(peer, nam, blocks));
    }
    s.cafx = median_of(ours);
    if (s.has_peer) s.peer = median_of(theirs);
    all.push_back(std::move(s));
  }
  return all;
}

std::string to_text(const std::vector<RealtimeSpeed>& all) {
  bool any_peer = false;
  for (const RealtimeSpeed& s : all) any_peer = any_peer || s.has_peer;
  std::string text = fmt::format(
      "blocks of {} samples at {} Hz, {:.0f} us each, one thread\n\n{:<9} {:<16} {:>5} {:>8} {:>9} {:>10} {:>10} "
      "{:>9}{}\n",
      kRealtimeBlock, kRealtimeRate, 1e6 * kRealtimeBlock / kRealtimeRate, "type", "preset", "hop", "latency",
      "% of core", "x realtime", "median us", "worst us", any_peer ? "   peer: % of core, median us, ours / peer" : "");
  for (const RealtimeSpeed& s : all) {
    text += fmt::format("{:<9} {:<16} {:>5} {:>8} {:>9.2f} {:>10.1f} {:>10.1f} {:>9.1f}", s.type, s.preset,
                        s.hop > 0 ? std::to_string(s.hop) : "-", s.latency, s.cafx.percent(), s.cafx.times_real_time(),
                        s.cafx.median_us, s.cafx.worst_us);
    if (s.has_peer) {
      text += fmt::format("   {:15.2f} {:10.1f} {:11.2f}", s.peer.percent(), s.peer.median_us,
                          s.cafx.mean_us / s.peer.mean_us);
    }
    text += "\n";
  }
  return text;
}

nlohmann::ordered_json to_json(const std::vector<RealtimeSpeed>& all) {
  const auto times = [](const BlockTimes& t) {
    return nlohmann::ordered_json{{"percent_of_core", t.percent()},
                                  {"times_real_time", t.times_real_time()},
                                  {"mean_us", t.mean_us},
                                  {"median_us", t.median_us},
                                  {"worst_us", t.worst_us}};
  };
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const RealtimeSpeed& s : all) {
    nlohmann::ordered_json row = {{"type", s.type}, {"preset", s.preset}, {"hop", s.hop}, {"latency", s.latency}};
    row["cafx"] = times(s.cafx);
    if (s.has_peer) row["peer"] = times(s.peer);
    json.push_back(std::move(row));
  }
  return json;
}

}  // namespace cafx
