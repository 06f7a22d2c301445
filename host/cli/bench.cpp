#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "host/cli/bench_profile.h"
#include "host/cli/bench_realtime.h"
#include "host/cli/bench_render.h"
#include "host/cli/common.h"
#include "host/cli/fma_peak.h"
#include "host/train/stepper.h"
#include "host/version.h"
#include "kernels/base/profile.h"
#include "kernels/base/rng.h"
#include "kernels/base/safetensors.h"
#include "kernels/device/graph.h"
#include "kernels/optimizer/optimizer.h"
#include "models/cafx/cafx.h"

namespace cafx {

namespace {

using Clock = std::chrono::steady_clock;

struct Speed {
  double frames_per_second = 0.0;  // median over the parts of the measurement
  double gflops = 0.0;             // useful ones, by the model's own count of multiply-adds
  double loss = 0.0;               // of the first step: the same model on the same frames gives the same
};

// Calls body(), which works on n frames, for about `seconds`; the median of ten parts.
template <class Body>
double frames_per_second(int n, double seconds, Body body) {
  body();
  std::vector<double> parts;
  for (int part = 0; part < 10; ++part) {
    const auto start = Clock::now();
    long frames = 0;
    double dt = 0.0;
    do {
      body();
      frames += n;
      dt = std::chrono::duration<double>(Clock::now() - start).count();
    } while (dt < seconds / 10.0);
    parts.push_back(static_cast<double>(frames) / dt);
  }
  std::nth_element(parts.begin(), parts.begin() + 5, parts.end());
  return parts[5];
}

// Multiply-adds of one supervised step: forward, and backward without what needs no gradient.
double step_multiply_adds(const std::vector<LayerRow>& rows) {
  double total = 0.0;
  for (const LayerRow& r : rows) total += static_cast<double>(r.multiply_adds) + r.backward;
  return total;
}

struct Arguments {
  ConfigOptions config;
  DeviceOptions device;
  double seconds = 10.0;
  bool json = false, profile = false, realtime = false;
  std::string write, peer;
};

// Weights and the batch of frames as the measured steps have them, for a peer that is to compute the same.
void write_case(const std::string& path, const CafxModel& model, const std::vector<float>& input,
                const std::vector<float>& target, const std::vector<FrameRef>& refs) {
  CafxConfig config = model.config();
  const auto B = static_cast<std::int64_t>(refs.size()), T = static_cast<std::int64_t>(config.frame);
  Safetensors file;
  file.metadata["config"] = to_json(describe(config)).dump();
  for (const ParamSpec& p : model.params()) {
    file.tensors[p.name] = Safetensors::from_floats(model.data() + p.offset, p.shape);
  }
  const auto frames = [&](const std::vector<float>& from) {
    std::vector<float> x;
    for (const FrameRef& r : refs) x.insert(x.end(), from.begin() + r.start, from.begin() + r.start + T);
    return Safetensors::from_floats(x.data(), {B, T});
  };
  file.tensors["batch.input"] = frames(input);
  file.tensors["batch.target"] = frames(target);
  write_safetensors(path, file);
}

int realtime(const Arguments& args) {
  const OwnedContext own(args.device);
  std::vector<std::string> presets;
  if (!args.config.preset.empty()) presets.push_back(args.config.preset);
  const auto all = measure_realtime(own.context, presets, args.seconds, args.peer);
  write_text("-", args.json ? to_json(all).dump(2) + "\n" : to_text(all));
  return 0;
}

int bench(const Arguments& args) {
  const RunConfig run = args.config.resolve();
  const auto* config = dynamic_cast<const CafxConfig*>(&*run.model);
  if (!config) throw Error("--preset {}: bench measures models of type cafx so far", run.preset);
  check(*config, "model");
  const OwnedContext own(args.device);
  const Context& context = own.context;
  const int B = run.train.batch;
  const double share =
      args.seconds / (args.profile ? 2.0 : 7.0);  // peak, profile, two steps, forward, and rendering twice

  // Noise bursts through a curve: what is learned does not matter for the speed.
  const int n = config->frame * (B + 4);
  std::vector<float> dry(static_cast<std::size_t>(n)), wet(dry.size());
  const Rng rng{1, 2};
  for (std::size_t i = 0; i < dry.size(); ++i) {
    dry[i] = static_cast<float>(0.05 * rng.normal(i));
    wet[i] = std::tanh(4.0f * dry[i]);
  }
  std::vector<FrameRef> refs;
  for (int b = 0; b < B; ++b) refs.push_back({static_cast<std::int64_t>(b) * config->frame, 0, n});

  const bool on_cpu = context.device == Device::kCpu;
  const std::string processor = on_cpu ? to_string(context.isa) : device_name(context);
  double peak = 0.0, peak_of_one = 0.0;
  if (on_cpu) {
    Context alone = context;
    alone.pool = nullptr;
    peak = measure_fma_peak(context, share / 2);
    peak_of_one = context.n_workers() > 1 ? measure_fma_peak(alone, share / 2) : peak;
  }
  // The steps of training themselves, an epoch of 32 over and over; a GPU gets as many at a time as keep it busy.
  constexpr int kSteps = 32;
  std::vector<std::uint32_t> order(static_cast<std::size_t>(B) * kSteps);
  std::vector<FrameRef> epoch(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<std::uint32_t>(i);
    epoch[i] = refs[i % refs.size()];
  }
  const std::vector<float> rates(kSteps, 1e-6f);
  std::vector<float> audio = dry;
  audio.insert(audio.end(), wet.begin(), wet.end());
  const auto signals = [&](bool reconstructs) {
    return Signals{audio.data(), audio.size(), reconstructs ? 0 : static_cast<std::int64_t>(dry.size())};
  };
  StepSettings settings;
  settings.batch = B;
  settings.length = config->frame;
  // Supervised steps as training takes them, after one that makes the plans and the graph: on a GPU one, between the
  // marks of its profiler; on a CPU for `share` seconds, by op.
  const auto profile_steps = [&] {
    CafxModel model(*config);
    model.params().initialize(1);
    const std::vector<float> zeros(static_cast<std::size_t>(model.params().n_floats()), 0.0f);
    Places places(context, signals(false), epoch);
    const auto stepper = make_stepper(context, model, places, settings, zeros, zeros);
    stepper->begin_epoch(order, rates, 0, 0);
    stepper->enqueue(1);
    stepper->collect(true);
    StepProfile profile;
    if (!on_cpu) {
      profile_begin(context);
      stepper->enqueue(1);
      profile_end(context);
      stepper->collect(true);
      write_text("-", fmt::format("one supervised step of {} frames, preset {}, on {}\n", B, run.preset, processor));
      return profile;
    }
    profile_start();
    const auto start = Clock::now();
    do {
      if (profile.steps % kSteps == 0) stepper->begin_epoch(order, rates, 0, 0);
      stepper->enqueue(1);
      stepper->collect(true);
      ++profile.steps;
      profile.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    } while (profile.seconds < share);
    profile.rows = profile_stop();
    return profile;
  };
  const auto measure_step = [&](CafxForm form) {
    CafxModel model(*config, form);
    model.params().initialize(1);
    const std::vector<float> zeros(static_cast<std::size_t>(model.params().n_floats()), 0.0f);
    Places places(context, signals(form == CafxForm::kPretrain), epoch);
    const auto stepper = make_stepper(context, model, places, settings, zeros, zeros);
    Speed speed;
    const Batch batch = places.batch(0, B, config->frame);
    model.gradient(context, nullptr, batch, Loss());
    speed.loss = model.mean_loss(context, batch);
    const long portion = on_cpu ? 1 : kSteps;
    long next = kSteps;
    speed.frames_per_second = frames_per_second(B * static_cast<int>(portion), share, [&] {
      if (next == kSteps) stepper->begin_epoch(order, rates, 0, next = 0);
      stepper->enqueue(portion);
      stepper->collect(true);
      next += portion;
    });
    return speed;
  };
  if (!args.write.empty()) {
    CafxModel model(*config);
    model.params().initialize(1);
    write_case(args.write, model, dry, wet, refs);
  }
  StepProfile profile;
  if (args.profile || on_cpu) profile = profile_steps();
  if (args.profile && !on_cpu) return 0;
  if (args.profile) {
    const double speed = B * profile.steps / profile.seconds;
    if (args.json) {
      const nlohmann::ordered_json json = {{"preset", run.preset},
                                           {"batch", B},
                                           {"threads", context.n_workers()},
                                           {"isa", processor},
                                           {"frames_per_second", speed},
                                           {"fma_peak_gflops", peak * 1e-9},
                                           {"profile", to_json(profile, B, context.n_workers(), peak)}};
      write_text("-", json.dump(2) + "\n");
      return 0;
    }
    write_text(
        "-",
        fmt::format("{} supervised steps of {} frames, preset {}, on {}, {} threads; fp32 FMA peak {:.0f} GFLOP/s\n{}",
                    profile.steps, B, run.preset, processor, context.n_workers(), peak * 1e-9,
                    to_text(profile, B, context.n_workers(), peak)));
    return 0;
  }
  Speed train = measure_step(CafxForm::kSupervised);
  Speed pretrain = measure_step(CafxForm::kPretrain);
  pretrain.gflops = 2e-9 * step_multiply_adds(cafx_layers(*config, CafxForm::kPretrain)) * pretrain.frames_per_second;
  const auto rows = cafx_layers(*config, CafxForm::kSupervised);
  train.gflops = 2e-9 * step_multiply_adds(rows) * train.frames_per_second;

  CafxModel model(*config);
  model.params().initialize(1);
  const std::size_t samples = static_cast<std::size_t>(B) * config->frame;
  DeviceArray<float> x(context, std::vector<float>(dry.begin(), dry.begin() + static_cast<long>(samples))),
      y(context, samples);
  Speed forward;
  forward.frames_per_second = frames_per_second(B, share, [&] {
    model.forward(context, y.data(), x.data(), B);
    synchronize(context);
  });
  double multiply_adds = 0.0;
  for (const LayerRow& r : rows) multiply_adds += r.multiply_adds;
  forward.gflops = 2e-9 * multiply_adds * forward.frames_per_second;
  const double real_time = forward.frames_per_second * config->hop / config->sample_rate;

  std::vector<HopSpeed> rendering;
  if (on_cpu) rendering = measure_rendering(model, context, 2 * share, peak_of_one, peak);

  if (args.json) {
    Context bf16 = context;
    bf16.precision = Precision::kBf16;
    nlohmann::ordered_json json = {{"version", kVersion},
                                   {"preset", run.preset},
                                   {"batch", B},
                                   {"threads", context.n_workers()},
                                   {"hop", std::min(config->hop, config->frame / 2)},
                                   {"precision", to_string(context.precision)},
                                   {"isa", processor},
                                   {"bf16_units", bf16_units(bf16)}};
    json["train"] = {
        {"frames_per_second", train.frames_per_second}, {"useful_gflops", train.gflops}, {"loss", train.loss}};
    json["pretrain"] = {
        {"frames_per_second", pretrain.frames_per_second}, {"useful_gflops", pretrain.gflops}, {"loss", pretrain.loss}};
    json["render"] = {{"frames_per_second", forward.frames_per_second},
                      {"useful_gflops", forward.gflops},
                      {"times_real_time_at_hop", real_time}};
    if (on_cpu) {
      json["fma_peak_gflops"] = peak * 1e-9;
      json["fma_peak_gflops_of_one_thread"] = peak_of_one * 1e-9;
      json["pretrain"]["of_peak"] = pretrain.gflops * 1e9 / peak;
      json["render"]["hops"] = to_json(rendering);
      json["train"]["of_peak"] = train.gflops * 1e9 / peak;
      json["render"]["of_peak"] = forward.gflops * 1e9 / peak;
      json["profile"] = to_json(profile, B, context.n_workers(), peak);
    }
    json["frames_per_second"] = train.frames_per_second;
    write_text("-", json.dump(2) + "\n");
    return 0;
  }
  const auto of_peak = [&](double gflops) {
    return on_cpu ? fmt::format("  {:4.1f} % of the peak", 100.0 * gflops * 1e9 / peak) : std::string();
  };
  write_text("-",
             fmt::format("preset {}, batch {}, {}, {}{}\n"
                         "train     {:9.1f} frames/s  {:6.1f} useful GFLOP/s{}\n"
                         "pretrain  {:9.1f} frames/s  {:6.1f} useful GFLOP/s{}\n"
                         "forward   {:9.1f} frames/s  {:6.1f} useful GFLOP/s{}, {:.1f} times real time at hop {}\n{}",
                         run.preset, B, precision_text(context), processor,
                         on_cpu ? fmt::format(", {} threads; fp32 FMA peak of this machine {:.0f} GFLOP/s",
                                              context.n_workers(), peak * 1e-9)
                                : "",
                         train.frames_per_second, train.gflops, of_peak(train.gflops), pretrain.frames_per_second,
                         pretrain.gflops, of_peak(pretrain.gflops), forward.frames_per_second, forward.gflops,
                         of_peak(forward.gflops), real_time, config->hop,
                         on_cpu ? to_text(rendering, context.n_workers()) : ""));
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Run& run) {
  auto args = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("bench", "how fast this machine trains and renders, beside what it can multiply");
  args->config.add_to(*c);
  args->device.add_to(*c);
  args->device.add_precision_to(*c, "of the products' operands in what is measured; fp32 by default");
  c->add_option("--seconds", args->seconds, "how long to measure")->check(CLI::Range(0.4, 3600.0));
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
  c->add_flag("--profile", args->profile,
              "only the supervised step: on a CPU by op, with bytes and FLOPs; on a GPU one between the marks of the "
              "profiler API");
  c->footer(
      "Examples:  cafx bench --preset paper --set model.unpool=hold --threads 2\n"
      "           cafx bench --realtime --seconds 20\n\n"
      "Useful GFLOP/s count what the model needs, whatever a kernel does to get it: of the forward pass all "
      "multiply-adds,\n"
      "of a step three times those of DNN-SAAF and the latent layers, and so on (README.md of experiments).");
  c->callback([args, &run] { run = [args] { return args->realtime ? realtime(*args) : bench(*args); }; });
}

}  // namespace cafx
