#include <nlohmann/json.hpp>

#include "host/cli/common.h"
#include "host/train/gpu_team.h"
#include "host/train/memory_plan.h"
#include "host/train/stepper.h"
#include "kernels/base/knobs.h"
#include "kernels/device/memory.h"
#include "models/play/player.h"
#include "models/play/weights_file.h"
#include "models/registry.h"

namespace cafx {

namespace {

constexpr int kAnyRate = 16000;  // Hz, of a config that leaves the rate to the recordings

std::string table_text(const std::vector<LayerRow>& rows, bool frames) {
  std::string text =
      fmt::format("{:<18} {:<14} {:>10} {:>14}  {}\n", "layer", "output", "parameters", "multiply-adds", "");
  long parameters = 0, multiply_adds = 0;
  for (const LayerRow& r : rows) {
    text += fmt::format("{:<18} {:<14} {:>10} {:>14}  {}\n", r.name, r.output, r.parameters, r.multiply_adds, r.detail);
    parameters += r.parameters;
    multiply_adds += r.multiply_adds;
  }
  return text + fmt::format("{:<18} {:<14} {:>10} {:>14}  a {}, forward\n", "total", "", parameters, multiply_adds,
                            frames ? "frame" : "sample");
}

double mib(std::size_t bytes) { return static_cast<double>(bytes) / 1048576.0; }

// Of training on one device, without the audio, whose size the data decides. `batch`: of all GPUs together.
std::string memory_text(const std::string& device, const std::string& precision, const RunConfig& config, int batch,
                        int gpus) {
  DeviceOptions options;
  options.device = device;
  options.precision = precision;
  const OwnedContext own(options);
  const MemoryPlan plan =
      plan_memory(own.context, config, places_at_once(batch, 1, gpus), place_samples(config), {}, gpus);
  return fmt::format(
      "training with {} frames at a time on {} in {}: {:.1f} MiB (weights, gradient and moments {:.1f}, activations "
      "{:.1f}{}{}), "
      "beside the audio, 8 bytes a sample; {:.1f} MiB are free; the largest batch that fits is "
      "{}\n",
      places_at_once(batch, 1, gpus), device_name(own.context), precision_text(own.context), mib(plan.total()),
      mib(plan.weights), mib(plan.activations),
      plan.workspace > 0 ? fmt::format(", workspace of cuDNN's convolutions {:.1f}", mib(plan.workspace)) : "",
      gpus > 1 ? fmt::format(", parts of gradients from the others {:.1f}", mib(plan.exchange)) : "", mib(plan.free),
      gpus * largest_batch(own.context, config, place_samples(config), {0, std::size_t{1} << 20}, gpus));
}

// Of a cohort: each member has its model and its activations, and what is equal in their recordings is held once.
struct CohortPlan {
  std::string device;
  std::size_t each = 0, bytes = 0, free = 0;  // of a member, of all, of the device
};
CohortPlan plan_cohort(const std::string& device, const std::string& precision, const RunConfig& config, int members) {
  DeviceOptions options;
  options.device = device;
  options.precision = precision;
  const OwnedContext own(options);
  const int batch = places_at_once(config.train.batch, 1, 1);
  const MemoryPlan plan = plan_memory(own.context, config, batch, place_samples(config), {}, 1);
  // A member's last checkpoint (weights, the best ones, two moments) stays in the CPU's memory, and lies there once
  // more while it is written. Eight more members of `default` were measured to take 15.9 MiB each, by this plan 15.5.
  const std::size_t floats = 2 * 4 * static_cast<std::size_t>(make_model(*config.model)->params().n_floats());
  const std::size_t each = plan.total() + (own.context.device == Device::kCpu ? sizeof(float) * floats : 0);
  return {device_name(own.context), each, static_cast<std::size_t>(members) * each, plan.free};
}

std::string cohort_text(const CohortPlan& cohort, int members) {
  return fmt::format(
      "{} models side by side on {}: {} times {:.1f} MiB, {:.1f} MiB{}, beside the audio: 4 bytes for each sample of "
      "dry audio and as many for each of wet, what is the same in their recordings once for all of them, so {} for a "
      "sample where each learns another effect on the same dry notes; {:.1f} MiB are free, enough for {} models "
      "without audio\n",
      members, cohort.device, members, mib(cohort.each), mib(cohort.bytes),
      cohort.bytes > cohort.free ? ", which is more than there is" : "", 4 + 4 * members, mib(cohort.free),
      cohort.free / std::max<std::size_t>(1, cohort.each));
}

nlohmann::ordered_json cohort_json(const CohortPlan& cohort, int members) {
  return {{"members", members},
          {"device", cohort.device},
          {"bytes_each", cohort.each},
          {"bytes", cohort.bytes},
          {"bytes_free", cohort.free}};
}

std::string memory_text(const std::string& device, const std::string& gpus, const std::string& precision,
                        const RunConfig& config, int batch) {
  const std::vector<int> all = choose_gpus(device, gpus, true);
  if (all.size() < 2) {
    return memory_text(all.empty() ? device : fmt::format("cuda:{}", all[0]), precision, config, batch, 1);
  }
  const auto n = static_cast<int>(all.size());
  std::string text = fmt::format("a batch of {} frames is shared by {} GPUs:\n", batch, n);
  for (const int gpu : all)
    text += fmt::format("GPU {}: {}", gpu, memory_text(fmt::format("cuda:{}", gpu), precision, config, batch, n));
  const std::size_t bytes = exchange_bytes(make_model(*config.model)->params().n_floats(), n);
  return text + fmt::format("each GPU sends {:.3f} MiB a step and receives as much; NCCL's own buffers come on top\n",
                            mib(bytes));
}

nlohmann::ordered_json json_of(const Model& model, const std::vector<LayerRow>& rows,
                               const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json;
  json["type"] = model.config().type();
  json["config"] = to_json(AnyConfig(model.config())->fields());
  long parameters = 0, multiply_adds = 0;
  for (const LayerRow& r : rows) {
    json["layers"].push_back({{"name", r.name},
                              {"output", r.output},
                              {"detail", r.detail},
                              {"parameters", r.parameters},
                              {"multiply_adds", r.multiply_adds}});
    parameters += r.parameters;
    multiply_adds += r.multiply_adds;
  }
  for (const Knob& k : parse_knobs(model.config().knobs, "model.knobs")) {
    json["knobs"].push_back({{"name", k.name},
                             {"unit", k.unit},
                             {"min", k.least()},
                             {"max", k.largest()},
                             {"start", k.start()},
                             {"positions", k.positions}});
  }
  json["parameters"] = parameters;
  json["multiply_adds"] = multiply_adds;
  if (!metadata.empty()) json["metadata"] = metadata;
  return json;
}

int list_gpus(bool as_json) {
  const CudaInfo info = cuda_info();
  if (as_json) {
    nlohmann::ordered_json json = {{"gpus", nlohmann::ordered_json::array()}, {"not_used", info.reason}};
    for (const DeviceInfo& d : info.devices) json["gpus"].push_back(json_of(d));
    write_table("-", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
    return 0;
  }
  std::string text;
  for (const DeviceInfo& d : info.devices) text += text_of(d);
  if (!info.reason.empty()) text += fmt::format("CUDA is not used: {}.\n", info.reason);
  write_text("-", text + text_of_exchange(static_cast<int>(info.devices.size())));
  return 0;
}

}  // namespace

void add_info(CLI::App& app, Run& run) {
  struct Arguments {
    std::string model;
    bool pretrain = false, json = false;
    std::string device, gpus;
    int cohort = 0;
    ConfigOptions config;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("info", "the layers of a model: shapes, parameters, multiply-adds");
  c->add_option("model", args->model, "folder of a run, or a weights file; without it, of a config");
  args->config.add_to(*c);
  c->add_flag("--pretrain", args->pretrain, "the form that is pretrained");
  c->add_option("--device", args->device, "cpu, cuda, cuda:N: also what training takes of its memory")
      ->option_text("NAME");
  CLI::Option* gpus =
      c->add_option("--gpus", args->gpus,
                    "the GPUs of this machine; with a number, all, or a list such as 0,2: what training on them takes");
  gpus->expected(0, 1)->option_text("[N|all|LIST]");
  c->add_option("--cohort", args->cohort, "what so many models take that train side by side, on --device or the CPU")
      ->check(CLI::Range(1, 4096))
      ->option_text("K");
  c->add_flag("--json", args->json, "as JSON");
  c->footer(
      "Examples:  cafx info --preset journal\n           cafx info --preset paper --set train.batch=512 --device "
      "cuda --gpus 4\n           cafx info --preset lstm --cohort 32 --device cuda\n           cafx info runs/ds1\n    "
      "       cafx info --gpus");
  c->callback([args, gpus, &run] {
    const bool list = gpus->count() > 0 && args->gpus.empty();
    run = [args, list] {
      if (list) return list_gpus(args->json);
      if (!args->gpus.empty() && args->device.empty()) args->device = "cuda";
      RunConfig config;
      std::string form = args->pretrain ? kPretrain : kSupervised;
      std::map<std::string, std::string> metadata;
      if (args->model.empty()) {
        config = args->config.resolve();
        if (config.model->sample_rate == 0) config.model->sample_rate = kAnyRate;
        check(*config.model, "model");
      } else {
        ModelFile file = load_model(args->model);
        config.model = AnyConfig(file.model->config());
        config.train.precision.clear();  // a model's weights are fp32
        form = file.model->form();
        metadata = std::move(file.metadata);
      }
      const std::unique_ptr<Model> model = make_model(*config.model, form);
      const auto rows = model->layers();
      const Geometry g = model->geometry();
      const auto cohort = [&] {
        return plan_cohort(args->device.empty() ? "cpu" : args->device, config.train.precision, config, args->cohort);
      };
      if (args->json) {
        nlohmann::ordered_json json = json_of(*model, rows, metadata);
        if (args->cohort > 0) json["cohort"] = cohort_json(cohort(), args->cohort);
        write_table("-", json.dump(2) + "\n");
        return 0;
      }
      std::string text = table_text(rows, g.frame > 0);
      const std::string context =
          g.span() > g.frame ? fmt::format(" with {} samples of context before and {} after", g.before, g.after) : "";
      text += g.frame > 0 ? fmt::format("\nframe {} samples ({:.1f} ms){}, hop {}, {} Hz{}\n", g.frame,
                                        1e3 * g.frame / g.sample_rate, context, g.hop, g.sample_rate,
                                        form == kSupervised ? fmt::format(", latency as a real-time effect {} samples",
                                                                          make_player(*model)->latency())
                                                            : "")
                          : fmt::format("\nplays sample by sample, {} Hz, {}\n", g.sample_rate,
                                        g.after > 0 ? fmt::format("latency {} samples ({:.1f} ms)", g.after,
                                                                  1e3 * g.after / g.sample_rate)
                                                    : "no latency");
      for (const Knob& k : parse_knobs(config.model->knobs, "model.knobs")) {
        text += fmt::format("knob {}: {}, at first {}\n", k.name, k.range(), k.show(k.start()));
      }
      text += fmt::format("hears up to {:.1f} kHz; --set model.sample_rate chooses\n", 0.0005 * g.sample_rate);
      if (!args->device.empty()) {
        text += memory_text(args->device, args->gpus, config.train.precision, config, config.train.batch);
      }
      if (args->cohort > 0) {
        text += cohort_text(cohort(), args->cohort);
      }
      for (const char* start : {"version", "seed", "run_hash", "validation_", "total_steps", "licence"}) {
        for (const auto& [key, value] : metadata) {
          if (key.starts_with(start)) text += fmt::format("{}: {}\n", key, value);
        }
      }
      write_text("-", text);
      return 0;
    };
  });
}

}  // namespace cafx
