#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>

#include "host/cli/bench_profile.h"
#include "host/cli/bench_realtime.h"
#include "host/cli/bench_render.h"
#include "host/cli/common.h"
#include "host/cli/fma_peak.h"
#include "host/train/cohort_size.h"
#include "host/train/lockstep.h"
#include "host/train/memory_plan.h"
#include "host/train/stepper.h"
#include "host/version.h"
#include "kernels/base/profile.h"
#include "kernels/base/rng.h"
#include "kernels/base/safetensors.h"
#include "kernels/device/graph.h"
#include "kernels/optimizer/optimizer.h"
#include "models/play/player.h"
#include "models/registry.h"

namespace cafx {

namespace {

using Clock = std::chrono::steady_clock;

struct Speed {
  double frames_per_second = 0.0;  // or segments; median over the parts of the measurement
  double gflops = 0.0;             // useful ones, by the model's own count of multiply-adds
  double loss = 0.0;               // of the first step: the same model on the same places gives the same
};

constexpr int kParts = 10;  // of a measurement

double median(std::vector<double> parts) {
  std::nth_element(parts.begin(), parts.begin() + kParts / 2, parts.end());
  return parts[kParts / 2];
}

// Calls body(), which works on n frames, for about `seconds`; the median of ten parts.
template <class Body>
double frames_per_second(int n, double seconds, Body body) {
  body();
  std::vector<double> parts;
  for (int part = 0; part < kParts; ++part) {
    const auto start = Clock::now();
    long frames = 0;
    double dt = 0.0;
    do {
      body();
      frames += n;
      dt = std::chrono::duration<double>(Clock::now() - start).count();
    } while (dt < seconds / kParts);
    parts.push_back(static_cast<double>(frames) / dt);
  }
  return median(parts);
}

struct BenchArguments {
  ConfigOptions config;
  DeviceOptions device;
  double seconds = 10.0;
  bool json = false, profile = false, realtime = false;
  std::string write, peer;
  std::vector<std::string> cohort;  // members, or "auto"
};

constexpr int kSteps = 32;         // of an epoch; a GPU gets as many at a time as keep it busy
constexpr int kBenchRate = 48000;  // Hz, of a config that leaves the rate to the recordings
constexpr int kMostMembers = 1024;
constexpr int kMostByItself = 256;  // that sweep.cohort takes
constexpr int kSizesByItself = 9;   // 1, 2, 4, ... 256

// "auto" alone, or numbers of members.
bool is_cohort(const std::string& text) {
  char* end = nullptr;
  const long n = std::strtol(text.c_str(), &end, 10);
  return text == "auto" || (!text.empty() && *end == '\0' && n >= 1 && n <= kMostMembers);
}

// What is measured, on noise bursts through a curve: what is learned does not matter for the speed. A place is a frame,
// or a segment of a stream.
class Bench {
 public:
  Bench(const BenchArguments& args, RunConfig config)
      : args_(args), run_(std::move(config)), own_(args.device), context_(own_.context), B_(run_.train.batch) {
    if (run_.model->sample_rate == 0) run_.model->sample_rate = kBenchRate;
    check(*run_.model, "model");
    check_precision(*run_.model, context_.precision, "--precision");
    geometry_ = run_.model->geometry();
    length_ = place_samples(run_);
    on_cpu_ = context_.device == Device::kCpu;
    processor_ = on_cpu_ ? to_string(context_.isa) : device_name(context_);
    // Peak, profile, a step of each form, forward, and rendering twice.
    by_itself_ = args.cohort.size() == 1 && args.cohort[0] == "auto";
    for (const std::string& n : args.cohort) {
      if (by_itself_ && !args.profile) break;
      if (n == "auto") throw Error("--cohort auto stands alone, and is not for --profile; give numbers of members");
      sizes_.push_back(std::atoi(n.c_str()));
    }
    if (!sizes_.empty() && !args.profile && sizes_.front() != 1) sizes_.insert(sizes_.begin(), 1);  // to be told beside
    share_ = args.seconds / (args.profile          ? 2.0
                             : args.cohort.empty() ? 7.0
                             : by_itself_          ? static_cast<double>(kSizesByItself)
                                                   : static_cast<double>(sizes_.size()));
    const int n = length_ * (B_ + 4);
    std::vector<float> wet;
    const Rng rng{1, 2};
    for (int i = 0; i < n; ++i) {
      audio_.push_back(static_cast<float>(0.05 * rng.normal(static_cast<std::uint64_t>(i))));
      wet.push_back(std::tanh(4.0f * audio_.back()));
    }
    audio_.insert(audio_.end(), wet.begin(), wet.end());
    for (int b = 0; b < B_; ++b) refs_.push_back({static_cast<std::int64_t>(b) * length_, 0, n});
  }

  int run() {
    if (!args_.write.empty()) write_case();
    if (!args_.cohort.empty()) return args_.profile && !on_cpu_ ? profile_cohorts() : tell_cohorts();
    if (on_cpu_) measure_peaks();
    StepProfile profile;
    if (args_.profile || on_cpu_) profile = profile_steps();
    if (args_.profile) return on_cpu_ ? tell_profile(profile) : 0;
    std::vector<std::pair<std::string, Speed>> steps;
    for (const std::string& form : model_type(run_.model->type()).forms) steps.push_back({form, measure_step(form)});
    const Speed forward = measure_forward();
    std::vector<HopSpeed> hops;
    const auto model = fresh(kSupervised);
    if (on_cpu_ && by_frames()) hops = measure_rendering(*model, context_, 2 * share_, peak_of_one_, peak_);
    if (args_.json) {
      write_table("-", json_of(steps, forward, hops, profile));
    } else {
      write_text("-", text_of(steps, forward, hops));
    }
    return 0;
  }

 private:
  bool by_frames() const { return geometry_.frame > 0; }
  const char* unit() const { return by_frames() ? "frames" : "segments"; }
  std::unique_ptr<Model> fresh(const std::string& form) const {
    auto model = make_model(*run_.model, form);
    model->params().initialize(1);
    return model;
  }

  void measure_peaks() {
    Context alone = context_;
    alone.pool = nullptr;
    peak_ = measure_fma_peak(context_, share_ / 2);
    peak_of_one_ = context_.n_workers() > 1 ? measure_fma_peak(alone, share_ / 2) : peak_;
  }

  // Multiply-adds of a place: forward, and backward without what needs no gradient.
  double multiply_adds(const Model& model, bool with_backward) const {
    double total = 0.0;
    for (const LayerRow& r : model.layers()) {
      total += static_cast<double>(r.multiply_adds) + (with_backward ? r.backward : 0.0);
    }
    return by_frames() ? total : total * length_;
  }

  // The steps of training themselves, an epoch of kSteps over and over.
  struct Steps {
    std::unique_ptr<Model> model;
    std::unique_ptr<Places> places;
    StepSettings settings;
    std::unique_ptr<Stepper> stepper;
    std::vector<std::uint32_t> order;
    std::vector<float> rates;
    void begin() { stepper->begin_epoch(order, rates, 0, 0); }
  };
  std::unique_ptr<Steps> steps_of(const std::string& form) {
    auto s = std::make_unique<Steps>();
    s->model = fresh(form);
    std::vector<FrameRef> epoch;
    for (int i = 0; i < B_ * kSteps; ++i) {
      s->order.push_back(static_cast<std::uint32_t>(i));
      epoch.push_back(refs_[static_cast<std::size_t>(i) % refs_.size()]);
    }
    const auto half = static_cast<std::int64_t>(audio_.size() / 2);
    const Signals signals{audio_.data(), audio_.size(), form == kPretrain ? 0 : half};
    s->places = std::make_unique<Places>(context_, signals, epoch);
    s->settings.batch = B_;
    s->settings.length = length_;
    s->settings.block = block_samples(run_);
    s->settings.loss = Loss(run_.train.loss, 1e-2);
    s->rates.assign(static_cast<std::size_t>(kSteps * s->settings.updates()), 1e-6f);
    const std::vector<float> zeros(static_cast<std::size_t>(s->model->params().n_floats()), 0.0f);
    s->stepper = make_stepper(context_, *s->model, *s->places, s->settings, zeros, zeros);
    return s;
  }

  // K supervised trainings side by side. On a CPU members take turns of a few steps; on a GPU they take their steps in
  // one graph.
  struct Cohort {
    std::unique_ptr<Lockstep> lockstep;
    std::vector<std::unique_ptr<Steps>> members;
    void begin() {
      for (const auto& m : members) m->begin();
    }
    void take(long steps, bool on_cpu) {
      for (const auto& m : members) {
        m->stepper->enqueue(steps);
        if (on_cpu) m->stepper->collect(true);
      }
    }
    void finish() {
      for (const auto& m : members) m->stepper->collect(true);
    }
  };
  const MemberSize& member_size() {
    if (!member_size_) {
      member_size_ = measure_member(context_, [&] {
        const auto one = steps_of(kSupervised);
        one->begin();
        rehearse(*one->stepper);
      });
    }
    return *member_size_;
  }
  // That the memory holds.
  int most_members() {
    if (on_cpu_) return kMostByItself;
    const auto bytes = static_cast<double>(member_size().bytes + member_size().scratch);
    const double n = 0.9 * static_cast<double>(free_memory(context_)) / std::max(1.0, bytes);
    return std::clamp(static_cast<int>(std::min(n, 1e6)), 1, kMostByItself);
  }
  Cohort cohort_of(int K) {
    Cohort cohort;
    if (!on_cpu_ && K > 1) cohort.lockstep = std::make_unique<Lockstep>(context_, K, member_size());
    const auto add = [&]() -> Stepper& {
      cohort.members.push_back(steps_of(kSupervised));
      return *cohort.members.back()->stepper;
    };
    for (int k = 0; k < K; ++k) {
      if (!cohort.lockstep || !build_member(*cohort.lockstep, add)) add();
    }
    return cohort;
  }
  // Places in sum: of a second, and of a second of processor time, which other processes of the machine hardly touch.
  struct CohortSpeed {
    double of_second = 0.0, of_processor = 0.0;
  };
  // Medians of ten parts. Of several sizes the parts are taken in turn, so that what else the machine does meets all.
  std::vector<CohortSpeed> measure_cohorts(const std::vector<int>& sizes) {
    struct Measured {
      Cohort cohort;
      long next = kSteps;
      std::vector<double> of_second, of_processor;
    };
    const long turn = on_cpu_ ? kSteps / 8 : kSteps;
    std::vector<Measured> all;
    for (const int K : sizes) all.push_back({cohort_of(K), kSteps, {}, {}});
    const auto take = [&](Measured& m) {
      if (m.next == kSteps) {
        m.cohort.begin();
        m.next = 0;
      }
      m.cohort.take(turn, on_cpu_);
      m.cohort.finish();
      m.next += turn;
      return static_cast<double>(m.cohort.members.size()) * static_cast<double>(B_) * static_cast<double>(turn);
    };
    for (Measured& m : all) take(m);
    for (int part = 0; part < kParts; ++part) {
      for (Measured& m : all) {
        const auto start = Clock::now();
        const std::clock_t processor = std::clock();
        double places = 0.0, dt = 0.0;
        do {
          places += take(m);
          dt = std::chrono::duration<double>(Clock::now() - start).count();
        } while (dt < share_ / kParts);
        m.of_second.push_back(places / dt);
        m.of_processor.push_back(places * CLOCKS_PER_SEC /
                                 std::max(1.0, static_cast<double>(std::clock() - processor)));
      }
    }
    std::vector<CohortSpeed> speeds;
    for (Measured& m : all) speeds.push_back({median(m.of_second), median(m.of_processor)});
    return speeds;
  }
  // One step of every member of each size, between the marks of a GPU's profiler.
  int profile_cohorts() {
    for (const int K : sizes_) {
      Cohort cohort = cohort_of(K);
      cohort.begin();
      cohort.take(1, false);
      cohort.finish();
      profile_begin(context_);
      cohort.take(1, false);
      profile_end(context_);
      cohort.finish();
      write_text("-", fmt::format("one supervised step of {} x {} {}, preset {}, on {}\n", K, B_, unit(), run_.preset,
                                  processor_));
    }
    return 0;
  }

  int tell_cohorts() {
    const RunSize size{audio_.size(), refs_.size()};
    const double bytes = on_cpu_ ? 0.0 : static_cast<double>(plan_memory(context_, run_, B_, length_, size).total());
    CohortSpeed alone;
    nlohmann::ordered_json json = {
        {"preset", run_.preset}, {"batch", B_}, {"isa", processor_}, {"cohorts", nlohmann::json::array()}};
    std::string text = fmt::format(
        "trainings side by side: preset {}, batch {}, {}, {}\n{:>8} {:>14} {:>14} {:>10} {:>22}\n", run_.preset, B_,
        precision_text(context_), processor_, "members", fmt::format("{}/s in sum", unit()), "of a member", "to alone",
        on_cpu_ ? "to alone, processor" : "memory");
    const auto tell = [&](int K, const CohortSpeed& speed) {
      if (K == 1) alone = speed;
      const auto to_alone = [](double rate, double of_one) { return of_one > 0.0 ? rate / of_one : 0.0; };
      const double ratio = to_alone(speed.of_second, alone.of_second);
      json["cohorts"].push_back(
          {{"members", K}, {fmt::format("{}_per_second", unit()), speed.of_second}, {"to_alone", ratio}});
      nlohmann::ordered_json& row = json["cohorts"].back();
      text += fmt::format("{:>8} {:>14.1f} {:>14.1f} {:>10.3f}", K, speed.of_second, speed.of_second / K, ratio);
      if (on_cpu_) {
        row[fmt::format("{}_per_processor_second", unit())] = speed.of_processor;
        row["to_alone_by_processor"] = to_alone(speed.of_processor, alone.of_processor);
        text += fmt::format(" {:>22.3f}\n", to_alone(speed.of_processor, alone.of_processor));
      } else {
        row["bytes"] = K * bytes;
        text += fmt::format(" {:>18.0f} MiB\n", K * bytes / 1048576.0);
      }
    };
    if (by_itself_) {
      const int chosen = choose_cohort_size(most_members(), [&](int K) {
                           const CohortSpeed speed = measure_cohorts({K})[0];
                           tell(K, speed);
                           return on_cpu_ ? speed.of_processor : speed.of_second;
                         }).members;
      json["chosen"] = chosen;
      text += fmt::format("{} side by side are worth it: more bring less than {:.0f} %, or have no room\n", chosen,
                          100.0 * (kLeastGain - 1.0));
    } else if (on_cpu_) {
      const std::vector<CohortSpeed> speeds = measure_cohorts(sizes_);
      for (std::size_t i = 0; i < sizes_.size(); ++i) tell(sizes_[i], speeds[i]);
    } else {
      for (const int K : sizes_) tell(K, measure_cohorts({K})[0]);
    }
    if (args_.json) {
      write_table("-", json.dump(2) + "\n");
    } else {
      write_text("-", text);
    }
    return 0;
  }

  Speed measure_step(const std::string& form) {
    const auto s = steps_of(form);
    Speed speed;
    const Batch batch = s->places->batch(0, B_, s->settings.block_size(0));
    s->model->begin(context_, s->places->batch(0, B_, length_), s->settings.loss);
    s->model->gradient(context_, nullptr, batch, s->settings.loss);
    speed.loss = s->model->mean_loss(context_, batch);
    const long portion = on_cpu_ ? 1 : kSteps;
    long next = kSteps;
    speed.frames_per_second = frames_per_second(B_ * static_cast<int>(portion), share_, [&] {
      if (next == kSteps) {
        s->begin();
        next = 0;
      }
      s->stepper->enqueue(portion);
      s->stepper->collect(true);
      next += portion;
    });
    speed.gflops = 2e-9 * multiply_adds(*s->model, true) * speed.frames_per_second;
    return speed;
  }

  // Of frames in batches; a stream plays on one thread, whatever the device.
  Speed measure_forward() {
    const auto model = fresh(kSupervised);
    Speed speed;
    if (by_frames()) {
      const auto places = static_cast<std::size_t>(B_), span = static_cast<std::size_t>(geometry_.span());
      std::vector<float> heard(places * span);
      for (std::size_t i = 0; i < heard.size(); ++i) heard[i] = audio_[i % (audio_.size() / 2)];
      DeviceArray<float> x(context_, heard), y(context_, places * static_cast<std::size_t>(length_));
      speed.frames_per_second = frames_per_second(B_, share_, [&] {
        model->forward(context_, y.data(), x.data(), B_);
        synchronize(context_);
      });
    } else {
      const auto player = make_player(*model, {0, 1, context_.isa});
      std::vector<float> y(static_cast<std::size_t>(length_));
      speed.frames_per_second =
          frames_per_second(1, share_, [&] { player->process(y.data(), audio_.data(), y.size()); });
    }
    speed.gflops = 2e-9 * multiply_adds(*model, false) * speed.frames_per_second;
    return speed;
  }
  double times_real_time(const Speed& forward) const {
    return forward.frames_per_second * (by_frames() ? geometry_.hop : length_) / geometry_.sample_rate;
  }

  // Supervised steps after one that makes the plans and the graph: on a GPU one, between the marks of its profiler; on
  // a CPU for a while, by op.
  StepProfile profile_steps() {
    const auto s = steps_of(kSupervised);
    s->begin();
    s->stepper->enqueue(1);
    s->stepper->collect(true);
    StepProfile profile;
    if (!on_cpu_) {
      profile_begin(context_);
      s->stepper->enqueue(1);
      profile_end(context_);
      s->stepper->collect(true);
      write_text("-",
                 fmt::format("one supervised step of {} {}, preset {}, on {}\n", B_, unit(), run_.preset, processor_));
      return profile;
    }
    profile_start();
    const auto start = Clock::now();
    do {
      if (profile.steps % kSteps == 0) s->begin();
      s->stepper->enqueue(1);
      s->stepper->collect(true);
      ++profile.steps;
      profile.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    } while (profile.seconds < share_);
    profile.rows = profile_stop();
    return profile;
  }

  int tell_profile(const StepProfile& profile) {
    const int threads = context_.n_workers();
    if (args_.json) {
      const nlohmann::ordered_json json = {{"preset", run_.preset},
                                           {"batch", B_},
                                           {"threads", threads},
                                           {"isa", processor_},
                                           {"frames_per_second", B_ * profile.steps / profile.seconds},
                                           {"fma_peak_gflops", peak_ * 1e-9},
                                           {"profile", to_json(profile, B_, threads, peak_)}};
      write_table("-", json.dump(2) + "\n");
      return 0;
    }
    write_text(
        "-", fmt::format("{} supervised steps of {} {}, preset {}, on {}, {} threads; fp32 FMA peak {:.0f} GFLOP/s\n{}",
                         profile.steps, B_, unit(), run_.preset, processor_, threads, peak_ * 1e-9,
                         to_text(profile, B_, threads, peak_)));
    return 0;
  }

  // The key of a form in the JSON, and its title.
  static std::string name_of(const std::string& form) { return form == kSupervised ? "train" : form; }

  std::string json_of(const std::vector<std::pair<std::string, Speed>>& steps, const Speed& forward,
                      const std::vector<HopSpeed>& hops, const StepProfile& profile) const {
    Context bf16 = context_;
    bf16.precision = Precision::kBf16;
    nlohmann::ordered_json json = {{"version", kVersion},
                                   {"type", run_.model->type()},
                                   {"preset", run_.preset},
                                   {"batch", B_},
                                   {"threads", context_.n_workers()}};
    if (by_frames()) json["hop"] = std::min(geometry_.hop, geometry_.frame / 2);
    if (!by_frames()) json["segment"] = length_;
    json["precision"] = to_string(context_.precision);
    json["isa"] = processor_;
    json["bf16_units"] = bf16_units(bf16);
    const std::string rate = fmt::format("{}_per_second", unit());
    for (const auto& [form, speed] : steps) {
      json[name_of(form)] = {{rate, speed.frames_per_second}, {"useful_gflops", speed.gflops}, {"loss", speed.loss}};
      if (on_cpu_) json[name_of(form)]["of_peak"] = speed.gflops * 1e9 / peak_;
    }
    json["render"] = {{rate, forward.frames_per_second},
                      {"useful_gflops", forward.gflops},
                      {by_frames() ? "times_real_time_at_hop" : "times_real_time", times_real_time(forward)}};
    if (on_cpu_) {
      json["fma_peak_gflops"] = peak_ * 1e-9;
      json["fma_peak_gflops_of_one_thread"] = peak_of_one_ * 1e-9;
      json["render"]["of_peak"] = forward.gflops * 1e9 / (by_frames() ? peak_ : peak_of_one_);
      if (by_frames()) json["render"]["hops"] = to_json(hops);
      json["profile"] = to_json(profile, B_, context_.n_workers(), peak_);
    }
    json[rate] = steps.front().second.frames_per_second;
    return json.dump(2) + "\n";
  }

  std::string text_of(const std::vector<std::pair<std::string, Speed>>& steps, const Speed& forward,
                      const std::vector<HopSpeed>& hops) const {
    std::string text =
        fmt::format("preset {}, batch {}, {}, {}", run_.preset, B_, precision_text(context_), processor_);
    if (on_cpu_) {
      text +=
          fmt::format(", {} threads; fp32 FMA peak of this machine {:.0f} GFLOP/s", context_.n_workers(), peak_ * 1e-9);
    }
    if (!by_frames()) text += fmt::format("; segments of {} samples at {} Hz", length_, geometry_.sample_rate);
    text += "\n";
    const auto line = [&](const std::string& name, const Speed& s, double peak) {
      text += fmt::format("{:<9} {:9.1f} {}/s  {:6.1f} useful GFLOP/s", name, s.frames_per_second, unit(), s.gflops);
      if (on_cpu_) text += fmt::format("  {:4.1f} % of the peak", 100.0 * s.gflops * 1e9 / peak);
    };
    for (const auto& [form, speed] : steps) {
      line(name_of(form), speed, peak_);
      text += "\n";
    }
    line("forward", forward, by_frames() ? peak_ : peak_of_one_);
    text += fmt::format(", {:.1f} times real time{}\n", times_real_time(forward),
                        by_frames() ? fmt::format(" at hop {}", geometry_.hop) : " on one thread");
    return on_cpu_ && by_frames() ? text + to_text(hops, context_.n_workers()) : text;
  }

  // Weights and the batch of places as the measured steps have them, for a peer that is to compute the same.
  void write_case() const {
    const auto model = fresh(kSupervised);
    Safetensors file;
    file.metadata["config"] = to_json(run_.model->clone()->fields()).dump();
    for (const ParamSpec& p : model->params()) {
      file.tensors[p.name] = Safetensors::from_floats(model->params().data() + p.offset, p.shape);
    }
    const auto places = [&](std::int64_t from) {
      std::vector<float> x;
      for (const FrameRef& r : refs_) {
        x.insert(x.end(), audio_.begin() + from + r.start, audio_.begin() + from + r.start + length_);
      }
      return Safetensors::from_floats(x.data(), {B_, length_});
    };
    file.tensors["batch.input"] = places(0);
    file.tensors["batch.target"] = places(static_cast<std::int64_t>(audio_.size() / 2));
    refuse_output(args_.write);
    write_safetensors(args_.write, file);
  }

  const BenchArguments& args_;
  RunConfig run_;
  OwnedContext own_;
  const Context& context_;
  int B_, length_ = 0;
  Geometry geometry_{0};
  bool on_cpu_ = true, by_itself_ = false;
  std::vector<int> sizes_;  // of cohorts
  std::optional<MemberSize> member_size_;
  std::string processor_;
  double share_ = 1.0, peak_ = 0.0, peak_of_one_ = 0.0;  // seconds; FLOP/s
  std::vector<float> audio_;                             // dry, then wet
  std::vector<FrameRef> refs_;
};

int bench(const BenchArguments& args) {
  if (!args.realtime) return Bench(args, args.config.resolve()).run();
  const OwnedContext own(args.device);
  std::vector<std::string> presets;
  if (!args.config.preset.empty()) presets.push_back(args.config.preset);
  const auto all = measure_realtime(own.context, presets, args.seconds, args.peer);
  write_text("-", args.json ? to_json(all).dump(2) + "\n" : to_text(all));
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Run& run) {
  auto args = std::make_shared<BenchArguments>();
  CLI::App* c = app.add_subcommand("bench", "how fast this machine trains and renders, beside what it can multiply");
  args->config.add_to(*c);
  args->device.add_to(*c);
  args->device.add_precision_to(*c, "of the products' operands in what is measured; fp32 by default");
  c->add_option("--seconds", args->seconds, "how long to measure; 10 by default")->check(number_between(0.4, 3600.0));
  c->add_flag("--json", args->json, "as JSON");
  c->add_option("--write", args->write, "file for the weights and the batch that are measured, for a peer to compute")
      ->option_text("FILE");
  CLI::Option* realtime = c->add_flag(
      "--realtime", args->realtime,
      "every preset, or the one of --preset, as a real-time effect: blocks of 64 samples at 48 kHz, one thread");
  c->add_option(
       "--peer", args->peer,
       "of --realtime: a program that plays MODEL.nam for BLOCKS and writes the seconds of each, to be held beside "
       "(tests/nam/bench.sh)")
      ->needs(realtime)
      ->option_text("PROGRAM");
  c->add_option(
       "--cohort", args->cohort,
       "only trainings side by side, as of 'cafx train --seeds': so many, one after the other; or auto: twice as "
       "many as long as that brings 5 %")
      ->delimiter(',')
      ->excludes(realtime)
      ->check([](const std::string& text) {
        return is_cohort(text) ? "" : fmt::format("{} is neither auto nor a number from 1 to {}", text, kMostMembers);
      })
      ->option_text("auto|K,K,...");
  c->add_flag("--profile", args->profile,
              "only the supervised step: on a CPU by op, with bytes and FLOPs; on a GPU one between the marks of the "
              "profiler API");
  c->footer(
      "Examples:  cafx bench --preset paper --set model.unpool=hold --threads 2\n"
      "           cafx bench --realtime --seconds 20\n"
      "           cafx bench --cohort 1,4,16 --preset default\n\n"
      "Useful GFLOP/s count what the model needs, whatever a kernel does to get it: of the forward pass all "
      "multiply-adds,\n"
      "of a step three times those of DNN-SAAF and the latent layers, and so on (README.md of experiments).");
  c->callback([args, &run] { run = [args] { return bench(*args); }; });
}

}  // namespace cafx
