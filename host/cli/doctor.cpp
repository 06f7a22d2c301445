#include <nlohmann/json.hpp>

#include "host/cli/common.h"
#include "host/version.h"
#include "kernels/device/memory.h"
#include "models/cafx/cafx.h"

namespace cafx {

namespace {

std::string version_of(int cuda) { return fmt::format("{}.{}", cuda / 1000, cuda % 1000 / 10); }

// Which op runs in which precision on that GPU.
std::string precisions_of(const DeviceInfo& gpu) {
  if (gpu.major < 8) return "It computes in fp32; --precision tf32 and bf16 need an architecture of 8.0 or newer.\n";
  const bool is_virtual = gpu.name.find("CPU emulation") != std::string::npos;
  return fmt::format(
      "It computes in fp32 unless --precision says tf32 or bf16; then, with sums in fp32:\n"
      "  Conv1D, deConv1D                    fp32, by cafx; with CAFX_CONVOLUTIONS=cudnn tf32 in both, by cuDNN{0}\n"
      "  latent Dense                        tf32 or bf16, by cuBLAS{0}\n"
      "  dense layers of DNN-SAAF            tf32 or bf16, by cafx on tensor cores; by cuBLAS where one is wider than "
      "128\n"
      "  Conv1D-Local, Dense-Local, SAAF, activations, loss, optimiser    fp32\n",
      is_virtual ? " (this virtual GPU's computes in fp32)" : "");
}

std::string text_of(const CudaInfo& info, const std::vector<std::string>& fallbacks) {
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
    return text + fmt::format("CUDA is not used because {}; cafx computes on the CPU.\n", info.reason);
  }
  text += "cafx computes on GPU 0 unless --device says otherwise.\n";
  text += precisions_of(info.devices[0]);
  text += text_of_exchange(static_cast<int>(info.devices.size()));
  text += info.devices[0].major == 9 ? "cafx's own kernels run the convolutions, faster than cuDNN on this architecture"
                                     : "cuDNN runs the convolutions";
  text += "; CAFX_CONVOLUTIONS=cudnn or cafx chooses.\n";
  if (fallbacks.empty()) {
    text += "cuDNN has a deterministic way for all of the preset 'paper', 8 frames at a time.\n";
  } else {
    text += "cuDNN has no deterministic way for these, which cafx's own kernels run:\n";
    for (const std::string& f : fallbacks) text += "  " + f + "\n";
  }
  return text;
}

// One step of the paper's sizes: the convolutions that cuDNN refused.
std::vector<std::string> fallbacks_of(Context& context) {
  context.use_cudnn = true;
  CafxConfig config = cafx_preset("paper");
  CafxModel model(config);
  model.initialize(1);
  const int B = 8;
  const std::vector<float> x(static_cast<std::size_t>(B) * config.frame, 0.01f);
  std::vector<FrameRef> refs;
  for (int b = 0; b < B; ++b) refs.push_back({static_cast<std::int64_t>(b) * config.frame, 0, B * config.frame});
  const DeviceArray<float> input(context, x);
  const DeviceArray<FrameRef> frames(context, refs);
  DeviceArray<float> gradient(context, static_cast<std::size_t>(model.n_floats()));
  model.loss_and_gradient(context, gradient.data(), {input.data(), input.data(), frames.data(), B});
  std::vector<std::string> names;
  for (const auto& plan : convolution_plans(context)) {
    if (plan.ours) names.push_back(plan.name);
  }
  return names;
}

}  // namespace

void add_doctor(CLI::App& app, Run& run) {
  auto json = std::make_shared<bool>(false);
  CLI::App* c = app.add_subcommand("doctor", "what processor and GPU there are, which are used, and why not");
  c->add_flag("--json", *json, "as JSON");
  c->footer("Example:  cafx doctor");
  c->callback([json, &run] {
    run = [json] {
      const CudaInfo info = cuda_info();
      std::vector<std::string> fallbacks;
      if (info.built && info.reason.empty()) {
        Context context;
        use_cuda(context);
        fallbacks = fallbacks_of(context);
      }
      if (!*json) {
        write_text("-", text_of(info, fallbacks));
        return 0;
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
                                    {"architectures", info.architectures},
                                    {"convolutions_not_by_cudnn", fallbacks}};
      for (const DeviceInfo& d : info.devices) {
        out["devices"].push_back({{"name", d.name},
                                  {"architecture", fmt::format("{}.{}", d.major, d.minor)},
                                  {"multiprocessors", d.n_sm},
                                  {"memory_bytes", d.memory},
                                  {"free_bytes", d.free},
                                  {"usable", d.usable},
                                  {"reason", d.reason}});
      }
      write_text("-", out.dump(2) + "\n");
      return 0;
    };
  });
}

}  // namespace cafx
