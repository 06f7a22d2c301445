#include <algorithm>
#include <nlohmann/json.hpp>

#include "host/cli/common.h"
#include "host/train/stepper.h"
#include "host/version.h"
#include "kernels/device/libraries.h"
#include "kernels/device/memory.h"
#include "kernels/exchange/exchange.h"
#include "models/registry.h"

namespace cafx {

namespace {

std::string version_of(int cuda) { return fmt::format("{}.{}", cuda / 1000, cuda % 1000 / 10); }

// Which op runs in which precision on that GPU.
std::string precisions_of(const DeviceInfo& gpu) {
  if (gpu.major < 8)
    return "It computes in fp32; --precision tf32, bf16 and fp16 need an architecture of 8.0 or newer.\n";
  const bool is_virtual = gpu.name.find("CPU emulation") != std::string::npos;
  return fmt::format(
      "It computes in fp32 unless --precision says tf32, bf16 or fp16; then, with sums in fp32:\n"
      "  Conv1D, deConv1D                    bf16 or fp16, by cafx on tensor cores for shapes like the presets'; else "
      "fp32, by cafx; with CAFX_CONVOLUTIONS=cudnn tf32 by cuDNN{0}, for bf16 or fp16 where it takes fp32 beside that\n"
      "  Conv1D-Local                        bf16 or fp16, by cafx; fp32 for tf32\n"
      "  latent Dense and Dense-Local        bf16 or fp16, by cafx on tensor cores for 64 steps and 64 numbers, with "
      "160 KB of shared memory; fp32 for tf32; of other sizes Dense by cuBLAS in tf32, bf16 or fp16{0}, Dense-Local in "
      "fp32\n"
      "  dense layers of DNN-SAAF            tf32, bf16 or fp16, by cafx on tensor cores; by cuBLAS where one is wider "
      "than 128\n"
      "  SAAF, activations, loss, optimiser  fp32\n"
      "With bf16 or fp16 X1, the input of deConv1D and the gradients of both lie in memory in that format; all else is "
      "fp32.\n"
      "fp16 computes gradients times a power of two, and divides by it in the end.\n",
      is_virtual ? " (this virtual GPU's computes in fp32)" : "");
}

// The algorithms that cuDNN chose for the convolutions of a training, at the batch of one call.
struct Probe {
  std::string preset, not_probed;  // why not
  int frames = 0;
  std::vector<ConvolutionPlan> plans;
  bool all_by_cudnn() const {
    return std::none_of(plans.begin(), plans.end(), [](const ConvolutionPlan& p) { return p.ours; });
  }
};

std::string files_text() {
  std::string text;
  try {
    exchange_name();  // loads NCCL
  } catch (const Error&) {
  }
  for (const std::string& file : library_files()) text += fmt::format("It has loaded {}.\n", file);
  return text;
}

std::string text_of(const CudaInfo& info, const Probe& probe) {
  std::string text = fmt::format("This is cafx {}. Its CPU kernels use {} on {} threads.\n", kVersion,
                                 to_string(best_isa()), available_threads());
  if (!info.built) {
    return text +
           "It was built without the CUDA backend (CAFX_CUDA=OFF, or no nvcc or cuDNN was found), so it computes on "
           "the CPU.\n";
  }
  text += fmt::format("It was built with CUDA {} and cuDNN {}.{} for the architectures {}.\n", version_of(info.toolkit),
                      info.cudnn_built / 10000, info.cudnn_built % 10000 / 100, info.architectures);
  text += info.driver > 0 ? fmt::format("The driver runs CUDA up to {}; the runtime library is {}.\n",
                                        version_of(info.driver), version_of(info.runtime))
                          : std::string("There is no NVIDIA driver.\n");
  if (info.cudnn > 0 && info.cudnn / 10000 != info.cudnn_built / 10000) {
    text += fmt::format("The cuDNN library that is found is {}, of another major version.\n", info.cudnn);
  }
  for (const DeviceInfo& d : info.devices) text += cafx::text_of(d);
  if (!info.reason.empty()) {
    // The libraries also where there is no GPU: on a login node, or before a driver is installed.
    const std::string& missing = load_libraries();
    if (missing.empty()) {
      text += files_text();
    } else if (missing != info.reason) {
      text += missing + ".\n";
    }
    return text + fmt::format("CUDA is not used because {}; cafx computes on the CPU.\n", info.reason);
  }
  text += "cafx computes on GPU 0 unless --device says otherwise.\n";
  text += precisions_of(info.devices[0]);
  text += text_of_exchange(static_cast<int>(info.devices.size()));
  text += files_text();
  text += info.devices[0].major == 9 ? "cafx's own kernels run the convolutions, faster than cuDNN on this architecture"
                                     : "cuDNN runs the convolutions";
  text += "; CAFX_CONVOLUTIONS=cudnn or cafx chooses.\n";
  const std::string what =
      fmt::format("the convolutions of the preset '{}', {} frames at a time", probe.preset, probe.frames);
  if (!probe.not_probed.empty()) return text + fmt::format("cuDNN was not asked for {}: {}.\n", what, probe.not_probed);
  if (probe.all_by_cudnn()) return text + fmt::format("cuDNN has a deterministic way for all of {}.\n", what);
  text += fmt::format("cuDNN has no deterministic way for these of {}, which cafx's own kernels run:\n", what);
  for (const ConvolutionPlan& plan : probe.plans) {
    if (plan.ours) text += fmt::format("  {}: {}\n", plan.name, plan.passed_over);
  }
  return text;
}

// Has cuDNN run each convolution of a training, with the workspace that the training would have.
Probe probe_convolutions(Context& context, const RunConfig& config) {
  Probe probe;
  probe.preset = config.preset;
  probe.frames = places_at_once(config.train.batch, config.train.accumulate, 1);
  context.use_cudnn = true;
  use_precision(context, config.train.precision);
  const Geometry g = config.model->geometry();
  if (g.frame == 0) {
    probe.not_probed = "that model plays sample by sample, by kernels of cafx's own";
    return probe;
  }
  const auto model = make_model(*config.model);
  const int B = probe.frames, T = g.frame;
  const Loss loss(config.train.loss);
  const std::size_t needed = model->training_bytes(context, B, T, loss) + model->library_bytes(context, B, T) +
                             2 * sizeof(float) * static_cast<std::size_t>(model->params().n_floats());
  if (needed > free_memory(context) / 10 * 9) {
    probe.not_probed = fmt::format("that takes {:.0f} MiB, {:.0f} are free", static_cast<double>(needed) / 1048576.0,
                                   static_cast<double>(free_memory(context)) / 1048576.0);
    return probe;
  }
  DeviceArray<float> audio(context, static_cast<std::size_t>(T)),
      gradient(context, static_cast<std::size_t>(model->params().n_floats()));
  audio.fill_zero();
  const DeviceArray<FrameRef> refs(context, std::vector<FrameRef>(static_cast<std::size_t>(B), FrameRef{0, 0, T}));
  model->params().upload(context);
  model->reserve(context, B, T, loss);
  model->gradient(context, gradient.data(), {audio.data(), audio.data(), refs.data(), B, T}, loss);
  synchronize(context);
  probe.plans = convolution_plans(context);
  return probe;
}

}  // namespace

void add_doctor(CLI::App& app, Run& run) {
  auto json = std::make_shared<bool>(false);
  auto options = std::make_shared<ConfigOptions>();
  auto batch = std::make_shared<int>(0);
  CLI::App* c = app.add_subcommand("doctor", "what processor and GPU there are, which are used, and why not");
  c->add_flag("--json", *json, "as JSON");
  c->add_option("--preset", options->preset, "whose convolutions cuDNN is asked for")->option_text("NAME");
  c->add_option("--config", options->file, "or those of this TOML file")->option_text("FILE");
  c->add_option("--batch", *batch, "frames of a step; without it, the config's")->check(CLI::Range(1, 1 << 20));
  c->footer("Examples:  cafx doctor\n           cafx doctor --preset paper --batch 512");
  c->callback([json, options, batch, &run] {
    run = [json, options, batch] {
      RunConfig config = options->resolve();
      if (*batch > 0) config.train.batch = *batch;
      const CudaInfo info = cuda_info();
      Probe probe;
      if (info.built && info.reason.empty()) {
        Context context;
        use_cuda(context);
        probe = probe_convolutions(context, config);
      }
      if (!*json) {
        write_text("-", text_of(info, probe));
        return 0;
      }
      const std::string missing = info.built ? load_libraries() : "";
      nlohmann::ordered_json plans = nlohmann::ordered_json::array(), fallbacks = plans;
      for (const ConvolutionPlan& plan : probe.plans) {
        plans.push_back({{"name", plan.name},
                         {"by", plan.ours ? "cafx" : "cudnn"},
                         {"algorithm", plan.algorithm},
                         {"workspace_bytes", plan.workspace},
                         {"passed_over", plan.passed_over}});
        if (plan.ours) fallbacks.push_back(plan.name);
      }
      nlohmann::ordered_json out = {{"version", kVersion},
                                    {"isa", to_string(best_isa())},
                                    {"threads", available_threads()},
                                    {"cuda_built", info.built},
                                    {"cuda_usable", info.reason.empty()},
                                    {"reason", info.reason},
                                    {"toolkit", info.toolkit},
                                    {"driver", info.driver},
                                    {"runtime", info.runtime},
                                    {"cudnn", info.cudnn},
                                    {"libraries", library_files()},
                                    {"libraries_missing", missing},
                                    {"architectures", info.architectures},
                                    {"convolutions_preset", probe.preset},
                                    {"convolutions_frames", probe.frames},
                                    {"convolutions_not_asked", probe.not_probed},
                                    {"convolutions", plans},
                                    {"convolutions_not_by_cudnn", fallbacks}};
      for (const DeviceInfo& d : info.devices) out["devices"].push_back(json_of(d));
      write_table("-", out.dump(2) + "\n");
      return 0;
    };
  });
}

}  // namespace cafx
