#include "host/train/training_log.h"

#include <algorithm>
#include <cmath>

#include "host/render/render.h"
#include "kernels/base/error.h"
#include "kernels/device/memory.h"

namespace cafx {

namespace {

constexpr std::size_t kNotes = 2;      // validation notes that are rendered at the end of a stage
constexpr double kNoteSeconds = 4.0;   // of each, at most
constexpr double kEventSeconds = 5.0;  // between writes of events in memory
constexpr double kShowSeconds = 0.2;

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TrainingLog::TrainingLog(const RunConfig& config, const RunFolder& folder, TrainObserver* observer,
                         std::function<void()> before_write)
    : config_(config), folder_(folder), observer_(observer), before_write_(std::move(before_write)) {}

void TrainingLog::say(const std::string& line) {
  folder_.log(line);
  if (observer_) observer_->message(line);
}

void TrainingLog::say_convolutions(const Context& context) {
  if (context.device != Device::kCuda) return;
  for (const ConvolutionPlan& plan : convolution_plans(context)) {
    if (!said_convolutions_.insert(plan.name).second) continue;
    if (plan.ours) {
      say(fmt::format("cuDNN offers no deterministic way for the convolution {} ({}); cafx's own kernel takes over",
                      plan.name, plan.passed_over));
    } else {
      folder_.log(fmt::format("cuDNN runs the convolution {} by its algorithm {} with {:.1f} MiB of workspace{}",
                              plan.name, plan.algorithm, static_cast<double>(plan.workspace) / 1048576.0,
                              plan.passed_over.empty() ? "" : " (" + plan.passed_over + ")"));
    }
  }
}

bool TrainingLog::has_events() const { return config_.log.events != "off"; }

void TrainingLog::open_events(std::uint64_t size) {
  if (!has_events()) return;
  if (before_write_) before_write_();
  const std::uint64_t found = events_.open(folder_.file(kEventFile), size);
  if (found < size) {
    say(fmt::format("{}: holds {} whole bytes of {}; it goes on from there, what it told before is lost", kEventFile,
                    found, size));
  }
}

std::uint64_t TrainingLog::sync_events() {
  events_.flush(true);
  return events_.size();
}

void TrainingLog::begin() { started_ = last_shown_ = Clock::now(); }
double TrainingLog::seconds() const { return since(started_); }

void TrainingLog::step(long places) {
  ++steps_;
  places_ += places;
}

void TrainingLog::progress(const Counters& counters, const Schedule& schedule) {
  if (since(last_shown_) <= kShowSeconds) return;
  last_shown_ = Clock::now();
  if (observer_) observer_->progress(progress_of(counters, schedule, false));
}

TrainProgress TrainingLog::progress_of(const Counters& c, const Schedule& schedule, bool end_of_epoch) const {
  const Stage& stage = schedule.stage(c.stage);
  TrainProgress p;
  p.stage = stage.name;
  p.epochs = stage.epochs;
  p.steps = schedule.steps(stage);
  p.epoch = end_of_epoch ? c.epoch : c.epoch + 1;
  p.step = end_of_epoch ? p.steps : c.step_in_epoch;
  const long places = std::min<long>(c.step_in_epoch * config_.train.batch, schedule.places(stage));
  p.loss = end_of_epoch ? c.last_training : places > 0 ? c.loss_sum / static_cast<double>(places) : 0.0;
  p.validation = validated_ == c.stage ? validation_ : std::numeric_limits<double>::quiet_NaN();
  p.best = std::isfinite(c.best) ? c.best : std::numeric_limits<double>::quiet_NaN();
  const double seconds = std::max(1e-9, this->seconds());
  p.frames_per_second = static_cast<double>(places_) / seconds;
  p.segments = config_.model->geometry().frame == 0;
  long all = 0, done = c.epoch * p.steps + c.step_in_epoch;
  for (const Stage& s : schedule.stages()) {
    all += schedule.all_steps(s);
    if (s.id < c.stage) done += schedule.all_steps(s);
  }
  p.fraction = all > 0 ? static_cast<double>(done) / static_cast<double>(all) : 1.0;
  p.seconds_left = steps_ > 0 ? seconds / static_cast<double>(steps_) * static_cast<double>(all - done) : 0.0;
  return p;
}

void TrainingLog::epoch(const Counters& c, const Schedule& schedule, const std::vector<Fact>& facts, double rate,
                        double training, double validation) {
  if (has_events()) scalars(c, schedule.stage(c.stage), facts, rate, training, validation);
  validation_ = validation, validated_ = c.stage;
  last_shown_ = Clock::now();
  if (observer_) observer_->epoch(progress_of(c, schedule, true));
}

void TrainingLog::scalars(const Counters& c, const Stage& stage, const std::vector<Fact>& facts, double rate,
                          double training, double validation) {
  const long step = c.total_steps;
  events_.scalar(stage.reconstructs ? "loss/pretraining" : "loss/training", step, training);
  if (!stage.reconstructs) {
    events_.scalar("loss/validation", step, validation);
    events_.scalar("loss/best", step, c.best);
  }
  events_.scalar("optimizer/learning_rate", step, rate);
  events_.scalar("optimizer/gradient_norm", step, c.gradient_norm);
  for (const Fact& f : facts) {
    if (f.kind == Fact::Kind::kNumber) events_.scalar(f.name, step, f.number);
    if (f.kind == Fact::Kind::kDistribution && config_.log.events == "all") events_.histogram(f.name, step, f.values);
  }
  if (since(last_events_) < kEventSeconds) return;
  if (before_write_) before_write_();
  events_.flush(false);
  last_events_ = Clock::now();
}

void TrainingLog::choose_notes(const Corpus& validation) {
  if (config_.log.events != "all") return;
  const auto most = static_cast<std::int64_t>(kNoteSeconds * config_.model->sample_rate);
  for (const Corpus::Note& n : validation.notes) {
    const auto same = [&](const Note& note) { return note.name == n.name; };  // at another setting
    if (std::any_of(notes_.begin(), notes_.end(), same)) continue;
    if (notes_.size() == kNotes) return;
    const float *dry = validation.dry(n), *wet = validation.target(n);
    const std::int64_t size = std::min(most, n.end - n.begin);
    Note note{n.name, {dry, dry + size}, {wet, wet + size}, 1.0, n.controls};
    // Raw notes are quiet. One gain for all sounds of a note, so that loudness can be compared.
    float peak = 0.0f;
    for (const float v : note.dry) peak = std::max(peak, std::abs(v));
    for (const float v : note.wet) peak = std::max(peak, std::abs(v));
    if (peak > 0.0f) note.gain = 0.7 / static_cast<double>(peak);
    notes_.push_back(std::move(note));
  }
}

void TrainingLog::notes(const Counters& c, const Schedule& schedule, const Context& context, Model& model,
                        const std::vector<float>& best) {
  if (notes_.empty()) return;
  bool told = false;  // dry notes and targets: a stage with epochs came before this one
  for (const Stage& s : schedule.stages()) told = told || (s.id < c.stage && s.epochs > 0);
  const int rate = config_.model->sample_rate;
  // In the model that is there, so that a GPU needs no memory for another.
  Params& params = model.params();
  const std::vector<float> last(params.data(), params.data() + params.n_floats());
  std::copy(best.begin(), best.end(), params.data());
  params.upload(context);
  for (const Note& note : notes_) {
    model.turn_to(note.controls);
    const auto rendered = render_signal(model, context, note.dry.data(), note.dry.size(), model.geometry().hop);
    const std::string tag = "audio/" + note.name + "/";
    if (!told) {
      events_.audio(tag + "dry", c.total_steps, note.dry, rate, note.gain);
      events_.audio(tag + "target", c.total_steps, note.wet, rate, note.gain);
    }
    events_.audio(tag + (schedule.stage(c.stage).reconstructs ? "pretrained" : "model"), c.total_steps, rendered, rate,
                  note.gain);
  }
  model.turn_to({});
  std::copy(last.begin(), last.end(), params.data());
  params.upload(context);
}

}  // namespace cafx
