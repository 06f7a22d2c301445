#include "host/train/targets.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "host/render/render.h"
#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "models/play/weights_file.h"
#include "models/registry.h"

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
  const std::string& name = config.teacher.model;
  const ModelFile file = load_model(name);
  if (file.model->form() != kSupervised) {
    throw Error(
        "{}: is a pretrained front end, which renders no effect; a teacher has gone through its supervised training",
        name);
  }
  const std::vector<std::string>&wanted = config.data.knobs, &its = file.model->config().knobs;
  if (wanted.empty() || wanted == its) return;
  if (its.empty()) {
    throw Error(
        "{}: has no knobs, so that it makes the same targets at all positions of those that data.knobs names; leave "
        "them out, or train a teacher with them",
        name);
  }
  throw Error("{}: has the knobs [{}], and data.knobs = [{}]; name those of the teacher", name, fmt::join(its, ", "),
              fmt::join(wanted, ", "));
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

void choose_knobs(RunConfig& config) {
  ModelConfig& model = *config.model;
  std::vector<std::string>& knobs = config.data.knobs;
  if (knobs.empty()) knobs = model.knobs;
  if (knobs.empty()) return;
  if (!model.takes_knobs()) {
    std::vector<std::string> types;
    for (const ModelType& t : model_types()) {
      if (t.preset(t.presets().front())->takes_knobs()) types.push_back(t.name);
    }
    const std::string last = types.back();
    types.pop_back();
    throw Error(
        "data.knobs names {} for the model to learn, and models of type {} have no knobs; those of type {} and {} "
        "have, "
        "as by --preset lstm; or choose one position by data.select",
        knobs.size() == 1 ? "a knob" : fmt::format("{} knobs", knobs.size()), model.type(), fmt::join(types, ", "),
        last);
  }
  if (!model.knobs.empty() && model.knobs != knobs) {
    throw Error("model.knobs = [{}], and data.knobs = [{}]; leave one of them out", fmt::join(model.knobs, ", "),
                fmt::join(knobs, ", "));
  }
  model.knobs = knobs;
}

std::vector<SharedRecording> teach(Dataset& data, const std::vector<int>& which, const std::vector<int>& kept,
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
  const std::vector<Knob> knobs = parse_knobs(teacher.config().knobs, "model.knobs");
  if (!knobs.empty() && config.data.knobs.empty()) {
    std::vector<std::string> at;
    for (const Knob& k : knobs) at.push_back(fmt::format("{} = {}", k.name, k.show(k.start())));
    say(fmt::format("the teacher's knobs stand at {}; a student learns them where data.knobs names them",
                    fmt::join(at, ", ")));
  }
  std::vector<SharedRecording> recorded(kept.size());
  for (const int i : which) {
    Pair& pair = data.pairs[static_cast<std::size_t>(i)];
    if (!pair.controls.empty()) teacher.turn_to(pair.controls);
    const Recording x = resample(pair.dry, rate, g.sample_rate);
    Recording y = resample(render_signal(teacher, context, x.data(), x.size(), hop), g.sample_rate, rate);
    y.resize(pair.dry.size(), 0.0f);
    const auto at = std::find(kept.begin(), kept.end(), i);
    if (at != kept.end()) recorded[static_cast<std::size_t>(at - kept.begin())] = std::move(pair.wet);
    pair.wet = std::move(y);
  }
  return recorded;
}

}  // namespace cafx
