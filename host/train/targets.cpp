#include "host/train/targets.h"

#include <algorithm>

#include "host/render/render.h"
#include "kernels/base/error.h"
#include "models/play/weights_file.h"

namespace cafx {

namespace {

constexpr int kProbeRate = 16000;  // Hz, to look at recordings before their own rate is known

}  // namespace

std::filesystem::path weights_of_teacher(const RunConfig& config) {
  const std::filesystem::path given = config.teacher.model;
  return std::filesystem::is_directory(given) ? given / "best.safetensors" : given;
}

void check_teacher(const RunConfig& config) {
  if (config.teacher.model.empty()) return;
  const ModelFile file = load_model(config.teacher.model);
  if (file.model->form() == kSupervised) return;
  throw Error(
      "{}: is a pretrained front end, which renders no effect; a teacher has gone through its supervised training",
      config.teacher.model);
}

void choose_rate(RunConfig& config) {
  if (config.model->sample_rate > 0) return;
  if (!config.teacher.model.empty()) {
    config.model->sample_rate = load_model(config.teacher.model).model->geometry().sample_rate;
    return;
  }
  const Dataset found = inspect_dataset(config.data, kProbeRate);
  if (found.pairs.empty()) throw Error("no pair of dry and wet recordings was found; 'cafx data check' says why");
  config.model->sample_rate = found.pairs[0].dry_file.rate;
}

std::vector<std::vector<float>> teach(Dataset& data, const std::vector<int>& which, const std::vector<int>& kept,
                                      const RunConfig& config, const std::filesystem::path& weights,
                                      const Context& context, const std::function<void(const std::string&)>& say) {
  const ModelFile file = load_model(weights);
  Model& teacher = *file.model;
  const Geometry g = teacher.geometry();
  const int rate = config.model->sample_rate;
  const int usual_hop = g.frame > 0 ? std::max(1, g.frame / 8) : 0;  // a stream has none
  const int hop = config.teacher.hop > 0 ? config.teacher.hop : usual_hop;
  say(g.frame > 0 ? fmt::format("the teacher renders {} dry notes at hop {}", which.size(), hop)
                  : fmt::format("the teacher plays {} dry notes", which.size()));
  if (rate != g.sample_rate) {
    say(fmt::format(
        "the teacher works at {} Hz, the model at {}: its targets are resampled, and hold nothing above {} Hz",
        g.sample_rate, rate, std::min(rate, g.sample_rate) / 2));
  }
  std::vector<std::vector<float>> recorded(kept.size());
  for (const int i : which) {
    Pair& pair = data.pairs[static_cast<std::size_t>(i)];
    const std::vector<float> x = rate == g.sample_rate ? pair.dry : resample(pair.dry, rate, g.sample_rate);
    std::vector<float> y = render_signal(teacher, context, x.data(), x.size(), hop);
    if (rate != g.sample_rate) y = resample(y, g.sample_rate, rate);
    y.resize(pair.dry.size(), 0.0f);
    const auto at = std::find(kept.begin(), kept.end(), i);
    if (at != kept.end()) recorded[static_cast<std::size_t>(at - kept.begin())] = std::move(pair.wet);
    pair.wet = std::move(y);
  }
  return recorded;
}

}  // namespace cafx
