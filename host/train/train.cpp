#include "host/train/train.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "host/export/model_file.h"
#include "host/render/render.h"
#include "host/report/events.h"
#include "host/train/checkpoint.h"
#include "host/train/gpu_team.h"
#include "host/train/run_folder.h"
#include "host/train/stepper.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "kernels/optimizer/optimizer.h"

namespace cafx {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kStages[] = {"pretrain", "train", "refine"};
constexpr int kNStages = 3;
constexpr const char* kInitFile = "init.safetensors";
constexpr const char* kEventFile = "events.out.tfevents";  // TensorBoard looks for the last word
constexpr std::size_t kEventNotes = 2;                     // validation notes that are rendered at the end of a stage
constexpr double kEventNoteSeconds = 4.0;                  // of each, at most
constexpr double kEventSeconds = 5.0;                      // between writes of what stands in memory
constexpr const char* kMetricsHead =
    "stage,epoch,steps,learning_rate,training_mae,validation_mae,best,gradient_norm,saaf_penalty,saaf_lipschitz\n";

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Everything of one process working on one run. The order of `run` is the order of events.
class Session {
 public:
  Session(const RunConfig& config, const Dataset& data, const Split& split, const TrainOptions& options,
          RunFolder& folder)
      : config_(config),
        options_(options),
        folder_(folder),
        pool_(options.threads > 0 ? options.threads : available_threads()) {
    context_.isa = options.isa.empty() ? best_isa() : parse_isa(options.isa);
    context_.pool = &pool_;
    open_device();
    use_precision(context_, config.train.precision);
    const CafxConfig& m = config.model;
    const int hop = config.train.hop > 0 ? config.train.hop : m.hop;
    const int validation_hop = config.train.validation_hop > 0 ? config.train.validation_hop : m.hop;
    training_ = make_frames(data, split.train, m.frame, hop, config.train.silence_db);
    validation_ = make_frames(data, split.validation, m.frame, validation_hop, config.train.silence_db);
    if (training_.refs.empty()) {
      throw Error("no training frame is louder than train.silence_db = {}; lower it", config.train.silence_db);
    }
    // Step 1 learns to give back what it hears, dry and wet alike.
    const auto n = static_cast<std::int64_t>(training_.dry.size());
    both_ = training_.dry;
    both_.insert(both_.end(), training_.wet.begin(), training_.wet.end());
    both_refs_ = training_.refs;
    for (const FrameRef& r : training_.refs) both_refs_.push_back({r.start + n, r.begin + n, r.end + n});
    choose_notes(data, split.validation);
  }

  void start(const std::string& run_hash) {
    open_events();
    checkpoint_.run_hash = run_hash;
    checkpoint_.isa = processor();
    checkpoint_.version = kVersion;
    checkpoint_.precision = config_.train.precision;
    checkpoint_.metrics = kMetricsHead;
    begin_stage(nullptr);
  }

  void restore() {
    const auto path = folder_.file("checkpoint.safetensors");
    checkpoint_ = read_checkpoint_head(path);
    make_model();
    checkpoint_ = read_checkpoint(path, model_->params(), model_->n_floats());
    std::copy(checkpoint_.model.begin(), checkpoint_.model.end(), model_->data());
    if (checkpoint_.isa != processor()) {
      say(fmt::format("the checkpoint was made on {}, this process uses {}: the bits will differ", checkpoint_.isa,
                      processor()));
    }
    if (checkpoint_.version != kVersion) {
      say(fmt::format("the checkpoint was made by cafx {}, this is {}: the bits may differ", checkpoint_.version,
                      kVersion));
    }
    const Counters& c = counters();
    say(fmt::format("resumed: {}, epoch {}, step {}", stage_name(), c.epoch + 1, c.step_in_epoch));
    open_events();
    make_stepper_of_stage();
  }

  TrainOutcome run() {
    started_ = last_save_ = last_shown_ = Clock::now();
    save();
    while (!counters().finished) {
      while (counters().epoch < stage_epochs() && counters().bad_epochs < config_.train.patience) {
        if (!run_epoch()) {
          save();
          return outcome();
        }
      }
      end_stage();
    }
    std::copy(checkpoint_.best.begin(), checkpoint_.best.end(), model_->data());
    model_->upload(context_);
    say_saaf_range();
    write_result();
    return outcome();
  }

 private:
  void open_device() {
    const bool asked = !options_.gpus.empty();
    const std::vector<int> gpus = choose_gpus(options_.device, asked ? options_.gpus : config_.train.gpus, asked);
    if (gpus.empty()) return use_device(context_, options_.device);
    if (gpus.size() == 1) return use_cuda(context_, gpus[0]);
    team_ = std::make_unique<GpuTeam>(context_, gpus);
    context_ = team_->context(0);
    make_current(context_);
    say(fmt::format("{} GPUs share every batch ({})", team_->size(), team_->name()));
    if (!team_->alike()) say("the GPUs are not alike: every step waits for the slowest");
  }

  // What decides the bits beside config and data.
  std::string processor() const {
    if (team_) return team_->name();
    return context_.device == Device::kCuda ? device_name(context_) : std::string(to_string(context_.isa));
  }

  // One epoch, from the step where the counters stand. False: asked to stop.
  bool run_epoch() {
    Counters& c = counters();
    const auto n = static_cast<std::uint32_t>(n_frames_of_stage());
    const auto order = permutation(n, {static_cast<std::uint64_t>(config_.train.seed),
                                       static_cast<std::uint64_t>(c.stage) * 1000003u + c.epoch + 1});
    const long steps = steps_per_epoch(), steps_before = c.step - c.step_in_epoch;
    std::vector<float> rates;
    for (long i = 0; i < steps; ++i) rates.push_back(static_cast<float>(learning_rate(steps_before + i)));
    stepper_->begin_epoch(order, rates, steps_before, c.step_in_epoch);
    long enqueued = c.step_in_epoch;
    while (c.step_in_epoch < steps) {
      const long portion = std::min(stepper_->portion(), steps - enqueued);
      stepper_->enqueue(portion);
      enqueued += portion;
      account(stepper_->collect(enqueued == steps));
      if (seconds_since(last_shown_) > 0.2) show(false);
      const bool stop = options_.stop && options_.stop->load() && c.step_in_epoch < steps;
      if (!stop && seconds_since(last_save_) <= options_.checkpoint_seconds) continue;
      account(stepper_->collect(true));
      if (stop && c.step_in_epoch < steps) return false;
      save();
    }
    end_epoch();
    return !(options_.stop && options_.stop->load());
  }

  void account(const std::vector<StepRecord>& records) {
    Counters& c = counters();
    for (const StepRecord& r : records) {
      if (!std::isfinite(r.loss) || !std::isfinite(r.norm)) stop_at_nan(r.loss);
      const long frames =
          std::min<long>(config_.train.batch, n_frames_of_stage() - c.step_in_epoch * config_.train.batch);
      c.gradient_norm = r.norm;
      c.loss_sum += r.loss * static_cast<double>(frames);
      ++c.step;
      ++c.step_in_epoch;
      ++c.total_steps;
      ++steps_here_;
      frames_here_ += frames;
    }
  }

  void end_epoch() {
    say_convolutions();
    Counters& c = counters();
    stepper_->fetch(checkpoint_.m, checkpoint_.v);
    const double training = c.loss_sum / static_cast<double>(n_frames_of_stage());
    const double validation = pretraining() ? training : validate();
    const double rate = learning_rate(c.step - 1);
    c.last_training = training;
    c.loss_sum = 0.0;
    c.step_in_epoch = 0;
    ++c.epoch;
    if (validation < c.best) {
      c.best = validation;
      c.bad_epochs = c.plateau_bad = 0;
      checkpoint_.best.assign(model_->data(), model_->data() + model_->n_floats());
    } else {
      ++c.bad_epochs;
      if (config_.train.schedule == "plateau" && ++c.plateau_bad >= config_.train.plateau_patience) {
        c.plateau_scale *= config_.train.plateau_factor;
        c.plateau_bad = 0;
      }
    }
    checkpoint_.metrics +=
        fmt::format("{},{},{},{:.6g},{:.9g},{},{:.9g},{:.6g},{:.6g},{:.6g}\n", stage_name(), c.epoch, c.total_steps,
                    rate, training, pretraining() ? "" : fmt::format("{:.9g}", validation), c.best, c.gradient_norm,
                    model_->penalty(), model_->lipschitz());
    log_epoch(rate, training, validation);
    validation_now_ = validation;
    show(true);
    if (seconds_since(last_save_) > options_.checkpoint_seconds) save();
  }

  // Mean absolute error over all validation frames; over training frames where no note is kept for validation.
  double validate() {
    const DeviceFrames& set = validation_.refs.empty() ? *frames_ : *validation_frames_;
    double total = 0.0;
    const std::size_t most = frames_at_a_time();
    for (std::size_t i = 0; i < set.size(); i += most) {
      const auto n = std::min(most, set.size() - i);
      total += model_->loss(context_, set.batch(i, static_cast<int>(n))) * static_cast<double>(n);
    }
    const double mean = total / static_cast<double>(set.size());
    if (!std::isfinite(mean)) {
      throw Error(
          "{}: the validation error became {} in epoch {}; lower the learning rate (train.lr = {}) or set "
          "train.clip_norm; the last good checkpoint is kept",
          stage_name(), mean, counters().epoch + 1, config_.train.lr);
    }
    return mean;
  }

  double learning_rate(long step) const {
    const TrainConfig& t = config_.train;
    const double of_stage = pretraining() ? t.pretrain_lr : counters().stage == 1 ? t.lr : t.lr * t.refine_factor;
    const double base = of_stage * rate_scale(t);
    double scale = counters().plateau_scale;
    if (t.schedule == "cosine") {
      const double last = std::max<double>(1.0, static_cast<double>(stage_epochs() * steps_per_epoch() - 1));
      const double along = std::min(1.0, static_cast<double>(step) / last);
      scale = t.final_factor + (1.0 - t.final_factor) * 0.5 * (1.0 + std::cos(3.141592653589793 * along));
    }
    if (step < t.warmup_steps) scale *= static_cast<double>(step + 1) / t.warmup_steps;
    return base * scale;
  }

  void end_stage() {
    Counters& c = counters();
    if (c.epoch > 0) {
      say(fmt::format("{}: {} after {} epochs, best {} {:.6g}", stage_name(),
                      c.bad_epochs >= config_.train.patience ? "no better loss" : "finished", c.epoch,
                      pretraining() ? "training error" : "validation error", c.best));
      log_notes();
    }
    if (c.stage + 1 == kNStages) {
      c.finished = true;
      save();
      return;
    }
    if (pretraining() && c.epoch > 0) save_pretrained();
    ++c.stage;
    stepper_.reset();
    const std::unique_ptr<CafxModel> former = std::move(model_);
    begin_stage(c.epoch > 0 || c.stage == 2 ? former.get() : nullptr);
    save();
  }

  // Model, moments and counters for the stage that the counters name. `former` has the last stage's form; its best
  // weights are taken over by name.
  void begin_stage(const CafxModel* former) {
    Counters& c = counters();
    const std::vector<float> former_best = std::move(checkpoint_.best);
    const double best = c.best;
    const int epochs_before = c.epoch;
    c.epoch = c.bad_epochs = c.plateau_bad = 0;
    c.step_in_epoch = c.step = 0;
    c.loss_sum = 0.0;
    c.plateau_scale = 1.0;
    // The refined model must beat the one that it starts from.
    c.best = c.stage == 2 && epochs_before > 0 ? best : std::numeric_limits<double>::infinity();
    make_model();
    model_->initialize(static_cast<std::uint64_t>(config_.train.seed));
    if (former) copy_by_name(*former, former_best);
    if (!config_.train.init_from.empty() && (c.stage == 0 || (c.stage == 1 && !former))) {
      load_tensors_by_name(folder_.file(kInitFile), *model_);
    }
    const auto n = static_cast<std::size_t>(model_->n_floats());
    checkpoint_.best.assign(model_->data(), model_->data() + n);
    checkpoint_.m.assign(n, 0.0f);
    checkpoint_.v.assign(n, 0.0f);
    make_stepper_of_stage();
    if (stage_epochs() > 0) {
      say(fmt::format("{}: {} parameters, {} frames, {} steps an epoch", stage_name(), model_->n_parameters(),
                      n_frames_of_stage(), steps_per_epoch()));
    }
    if (c.stage == 1) say_saaf_range();
  }

  // A domain that the signal does not fill, or leaves, wastes the curves' segments: said before training and after.
  void say_saaf_range() {
    if (!config_.model.saaf) return;
    say(fmt::format("the signal into the SAAF peaks at {:.3g}, its domain is [{:g}, {:g}]", saaf_input_peak(),
                    config_.model.saaf_lo, config_.model.saaf_hi));
  }

  // How cuDNN runs each convolution, once it was asked: into the log; where it offers no way, said aloud.
  void say_convolutions() {
    if (context_.device != Device::kCuda) return;
    for (const ConvolutionPlan& plan : convolution_plans(context_)) {
      if (!said_convolutions_.insert(plan.name).second) continue;
      if (plan.ours) {
        say(fmt::format("cuDNN offers no deterministic way for the convolution {}; cafx's own kernel takes over",
                        plan.name));
      } else {
        folder_.log(fmt::format("cuDNN runs the convolution {} by its algorithm {}", plan.name, plan.algorithm));
      }
    }
  }

  // Frames that pass forward at a time. On a GPU no more than training has memory for: its graphs know their buffers by
  // address, and a larger batch would move them.
  std::size_t frames_at_a_time() const {
    const TrainConfig& t = config_.train;
    return static_cast<std::size_t>(context_.device == Device::kCpu ? t.batch
                                                                    : frames_at_once(t.batch, t.accumulate, n_gpus()));
  }

  double saaf_input_peak() {
    const auto n = std::min<std::size_t>(training_.refs.size(), 512);
    double peak = 0.0;
    const std::size_t most = frames_at_a_time();
    for (std::size_t i = 0; i < n; i += most) {
      const auto count = std::min(most, n - i);
      std::vector<FrameRef> frames;  // spread over all notes
      for (std::size_t k = i; k < i + count; ++k) frames.push_back(training_.refs[k * training_.refs.size() / n]);
      const DeviceFrames chosen(context_, training_.dry, training_.wet, frames);
      peak = std::max(peak, model_->saaf_input_peak(context_, chosen.batch(0, static_cast<int>(count))));
    }
    return peak;
  }

  void make_model() {
    stepper_.reset();
    model_ = std::make_unique<CafxModel>(config_.model, pretraining() ? CafxForm::kPretrain : CafxForm::kSupervised);
  }

  // Frames and optimiser of the stage, from the weights and moments that stand in model and checkpoint.
  void make_stepper_of_stage() {
    stepper_.reset();
    frames_.reset();
    validation_frames_.reset();
    model_->upload(context_);
    if (stage_epochs() == 0) return;
    const TrainConfig& t = config_.train;
    refuse_what_does_not_fit();
    if (pretraining()) {
      frames_ = std::make_unique<DeviceFrames>(context_, both_, both_, both_refs_);
    } else {
      frames_ = std::make_unique<DeviceFrames>(context_, training_.dry, training_.wet, training_.refs);
      validation_frames_ = std::make_unique<DeviceFrames>(context_, validation_.dry, validation_.wet, validation_.refs);
    }
    std::vector<float> decay_mask(static_cast<std::size_t>(model_->n_floats()), 0.0f);
    for (const ParamSpec& p : model_->params()) {
      std::fill_n(decay_mask.begin() + p.offset, p.size, p.decay ? 1.0f : 0.0f);
    }
    StepSettings settings{t.batch, {}, t.clip_norm, t.accumulate, t.optimizer == "lamb"};
    settings.adam.beta1 = static_cast<float>(t.beta1);
    settings.adam.beta2 = static_cast<float>(t.beta2);
    settings.adam.epsilon = static_cast<float>(t.epsilon);
    settings.adam.weight_decay = static_cast<float>(t.weight_decay);
    stepper_ = team_ ? make_stepper(*team_, *model_, *frames_, settings, decay_mask, checkpoint_.m, checkpoint_.v)
                     : make_stepper(context_, *model_, *frames_, settings, decay_mask, checkpoint_.m, checkpoint_.v);
  }

  void refuse_what_does_not_fit() {
    if (context_.device == Device::kCpu) return;
    if (!team_) return refuse_what_does_not_fit(context_);
    team_->run([&](int r) { refuse_what_does_not_fit(team_->context(r)); });
  }

  void refuse_what_does_not_fit(const Context& context) const {
    const TrainConfig& t = config_.train;
    const std::size_t samples = both_.size() + 2 * validation_.dry.size(),
                      frames = both_refs_.size() + validation_.refs.size();
    const MemoryPlan plan =
        plan_memory(context, config_.model, frames_at_once(t.batch, t.accumulate, n_gpus()), samples, frames, n_gpus());
    if (plan.total() <= plan.free) return;
    const int most = largest_batch(context, config_.model, samples, frames, n_gpus());
    throw Error("train.batch = {}: needs {:.1f} MiB of the GPU's memory, {:.1f} are free; {}", t.batch,
                static_cast<double>(plan.total()) / 1048576.0, static_cast<double>(plan.free) / 1048576.0,
                most > 0 ? fmt::format("set train.batch = {}, or train.accumulate to take it in parts",
                                       most * t.accumulate * n_gpus())
                         : "not even one frame fits; use --device cpu");
  }

  void copy_by_name(const CafxModel& former, const std::vector<float>& weights) {
    for (const ParamSpec& from : former.params()) {
      for (const ParamSpec& to : model_->params()) {
        if (to.name == from.name) std::copy_n(weights.begin() + from.offset, from.size, model_->data() + to.offset);
      }
    }
  }

  [[noreturn]] void stop_at_nan(double loss) {
    std::string first = "the loss alone";
    const std::vector<float> gradient = stepper_->gradient_of(counters().step_in_epoch);
    for (const ParamSpec& p : model_->params()) {
      const auto begin = gradient.begin() + p.offset;
      if (std::any_of(begin, begin + p.size, [](float x) { return !std::isfinite(x); })) {
        first = "first the gradient of " + p.name;
        break;
      }
    }
    const std::string text = fmt::format(
        "{}: training broke down in epoch {}, step {}: loss {}, {}; lower the learning rate or set "
        "train.clip_norm, then start anew; the last good checkpoint is kept in {}",
        stage_name(), counters().epoch + 1, counters().step_in_epoch + 1, loss, first, folder_.path().string());
    folder_.log(text);
    throw Error(text);
  }

  // metrics.csv and best.safetensors say what the checkpoint says; the checkpoint is written last and decides.
  void save() {
    if (stepper_) stepper_->fetch(checkpoint_.m, checkpoint_.v);
    if (options_.before_write) options_.before_write();
    checkpoint_.model.assign(model_->data(), model_->data() + model_->n_floats());
    if (logs_events()) {
      events_.flush(true);
      checkpoint_.events = events_.size();
    }
    folder_.write("metrics.csv", checkpoint_.metrics);
    if (!pretraining()) save_best();
    write_checkpoint(folder_.file("checkpoint.safetensors"), checkpoint_, model_->params());
    last_save_ = Clock::now();
  }

  void save_best() {
    auto about = lineage();
    about["validation_mae"] = fmt::format("{}", counters().best);
    if (counters().finished) about["identity"] = checkpoint_.run_hash + "/best";
    save_best_as("best.safetensors", CafxForm::kSupervised, about);
  }

  void save_pretrained() {
    auto about = lineage();
    about["training_mae"] = fmt::format("{}", counters().best);
    about["identity"] = checkpoint_.run_hash + "/pretrained";
    save_best_as("pretrained.safetensors", CafxForm::kPretrain, about);
  }

  void save_best_as(const char* name, CafxForm form, const std::map<std::string, std::string>& about) {
    CafxModel best(config_.model, form);
    std::copy(checkpoint_.best.begin(), checkpoint_.best.end(), best.data());
    if (options_.before_write) options_.before_write();
    save_model(folder_.file(name), best, about);
  }

  // The event file holds what belongs to the checkpoint, and later events on their way; what a killed process wrote
  // after its last checkpoint is cut off here, since the epochs it tells of are gone through again.
  void open_events() {
    if (!logs_events()) return;
    if (options_.before_write) options_.before_write();
    const std::uint64_t size = events_.open(folder_.file(kEventFile), checkpoint_.events);
    if (size < checkpoint_.events) {
      say(fmt::format("{}: holds {} whole bytes of {}; it goes on from there, what it told before is lost", kEventFile,
                      size, checkpoint_.events));
    }
  }

  void log_epoch(double rate, double training, double validation) {
    if (!logs_events()) return;
    const Counters& c = counters();
    const long step = c.total_steps;
    events_.scalar(pretraining() ? "loss/pretraining" : "loss/training", step, training);
    if (!pretraining()) {
      events_.scalar("loss/validation", step, validation);
      events_.scalar("loss/best", step, c.best);
    }
    events_.scalar("optimizer/learning_rate", step, rate);
    events_.scalar("optimizer/gradient_norm", step, c.gradient_norm);
    const CafxConfig& m = config_.model;
    if (!pretraining() && m.saaf) {
      events_.scalar("saaf/penalty", step, model_->penalty());
      events_.scalar("saaf/lipschitz", step, model_->lipschitz());
      if (config_.log.events == "all") log_curves(step);
    }
    if (seconds_since(last_events_) < kEventSeconds) return;
    if (options_.before_write) options_.before_write();
    events_.flush(false);
    last_events_ = Clock::now();
  }

  // Over all channels: what the curves give at their segments' ends, and their mean slope in each segment.
  void log_curves(long step) {
    const CafxConfig& m = config_.model;
    const int n = m.saaf_segments + 1;
    std::vector<float> x, y(static_cast<std::size_t>(n)), values, slopes;
    const double width = (m.saaf_hi - m.saaf_lo) / m.saaf_segments;
    for (int i = 0; i < n; ++i) x.push_back(static_cast<float>(m.saaf_lo + i * width));
    for (int channel = 0; channel < m.filters; ++channel) {
      model_->curve(channel, y.data(), x.data(), n);
      values.insert(values.end(), y.begin(), y.end());
      for (std::size_t i = 1; i < y.size(); ++i) slopes.push_back((y[i] - y[i - 1]) / static_cast<float>(width));
    }
    events_.histogram("saaf/values", step, values);
    events_.histogram("saaf/slopes", step, slopes);
  }

  void choose_notes(const Dataset& data, const std::vector<int>& validation) {
    if (config_.log.events != "all") return;
    const auto most = static_cast<std::size_t>(kEventNoteSeconds * config_.model.sample_rate);
    for (const int i : validation) {
      const Pair& p = data.pairs[static_cast<std::size_t>(i)];
      const auto same = [&](const Note& note) { return note.name == p.name; };  // at another setting
      if (std::any_of(notes_.begin(), notes_.end(), same)) continue;
      if (notes_.size() == kEventNotes) return;
      Note note{p.name, p.dry, p.wet, 1.0};
      note.dry.resize(std::min(most, p.dry.size()));
      note.wet.resize(std::min(most, p.wet.size()));
      // Raw notes are quiet. One gain for all that is heard of a note, so that loudness can be compared.
      float peak = 0.0f;
      for (const float v : note.dry) peak = std::max(peak, std::abs(v));
      for (const float v : note.wet) peak = std::max(peak, std::abs(v));
      if (peak > 0.0f) note.gain = 0.7 / static_cast<double>(peak);
      notes_.push_back(std::move(note));
    }
  }

  // What the best weights of the stage make of the notes, and once what they hear and what they should say.
  void log_notes() {
    if (!logs_events() || notes_.empty()) return;
    const int rate = config_.model.sample_rate;
    // In the model that is there, so that a GPU needs no memory for another.
    const std::vector<float> last(model_->data(), model_->data() + model_->n_floats());
    std::copy(checkpoint_.best.begin(), checkpoint_.best.end(), model_->data());
    model_->upload(context_);
    for (const Note& note : notes_) {
      const auto rendered = render_signal(*model_, context_, note.dry.data(), note.dry.size(), config_.model.hop);
      const std::string tag = "audio/" + note.name + "/";
      const long step = counters().total_steps;
      if (!told_notes()) {
        events_.audio(tag + "dry", step, note.dry, rate, note.gain);
        events_.audio(tag + "target", step, note.wet, rate, note.gain);
      }
      events_.audio(tag + (pretraining() ? "pretrained" : "model"), step, rendered, rate, note.gain);
    }
    std::copy(last.begin(), last.end(), model_->data());
    model_->upload(context_);
  }
  // A stage with epochs stands before this one: its end wrote dry notes and targets.
  bool told_notes() const {
    for (int s = 0; s < counters().stage; ++s) {
      if (epochs_of(s) > 0) return true;
    }
    return false;
  }

  // What the weights come from.
  std::map<std::string, std::string> lineage() {
    std::map<std::string, std::string> about{{"run_hash", checkpoint_.run_hash},
                                             {"seed", std::to_string(config_.train.seed)},
                                             {"train_config", to_json(describe_result(config_)).dump()},
                                             {"total_steps", std::to_string(counters().total_steps)}};
    if (!config_.train.init_from.empty()) about["init"] = weights_identity(folder_.file(kInitFile));
    return about;
  }

  void write_result() {
    const nlohmann::json result = {{"status", "finished"},
                                   {"run_hash", checkpoint_.run_hash},
                                   {"validation_mae", counters().best},
                                   {"training_mae", counters().last_training},
                                   {"steps", counters().total_steps},
                                   {"parameters", model_->n_parameters()},
                                   {"saaf_lipschitz", model_->lipschitz()},
                                   {"saaf_input_peak", saaf_input_peak()},
                                   {"seed", config_.train.seed},
                                   {"precision", config_.train.precision},
                                   {"isa", checkpoint_.isa},
                                   {"version", kVersion}};
    if (options_.before_write) options_.before_write();
    folder_.write("result.json", result.dump(2) + "\n");
  }

  void show(bool end_of_epoch) {
    last_shown_ = Clock::now();
    if (!options_.observer) return;
    const Counters& c = counters();
    TrainProgress p;
    p.stage = stage_name();
    p.epochs = stage_epochs();
    p.steps = steps_per_epoch();
    p.epoch = end_of_epoch ? c.epoch : c.epoch + 1;
    p.step = end_of_epoch ? p.steps : c.step_in_epoch;
    const long frames = std::min<long>(c.step_in_epoch * config_.train.batch, n_frames_of_stage());
    p.loss = end_of_epoch ? c.last_training : frames > 0 ? c.loss_sum / static_cast<double>(frames) : 0.0;
    p.validation = validation_now_;
    p.best = std::isfinite(c.best) ? c.best : std::numeric_limits<double>::quiet_NaN();
    const double seconds = std::max(1e-9, seconds_since(started_));
    p.frames_per_second = static_cast<double>(frames_here_) / seconds;
    long all = 0, before = 0;  // steps, were no stage to end early
    for (int s = 0; s < kNStages; ++s) {
      const long steps = steps_of(s) * epochs_of(s);
      all += steps;
      if (s < c.stage) before += steps;
    }
    const long done = before + c.epoch * steps_per_epoch() + c.step_in_epoch;
    p.fraction = all > 0 ? static_cast<double>(done) / static_cast<double>(all) : 1.0;
    p.seconds_left =
        steps_here_ > 0 ? seconds / static_cast<double>(steps_here_) * static_cast<double>(all - done) : 0.0;
    if (end_of_epoch) {
      options_.observer->epoch(p);
    } else {
      options_.observer->progress(p);
    }
  }

  void say(const std::string& line) {
    folder_.log(line);
    if (options_.observer) options_.observer->message(line);
  }

  TrainOutcome outcome() const {
    const Counters& c = checkpoint_.counters;
    return {c.finished, folder_.path(), c.best, c.last_training, c.total_steps, seconds_since(started_)};
  }

  int n_gpus() const { return team_ ? team_->size() : 1; }
  Counters& counters() { return checkpoint_.counters; }
  const Counters& counters() const { return checkpoint_.counters; }
  bool pretraining() const { return counters().stage == 0; }
  bool logs_events() const { return config_.log.events != "off"; }
  std::string stage_name() const { return kStages[counters().stage]; }
  int epochs_of(int stage) const {
    const TrainConfig& t = config_.train;
    return stage == 0 ? t.pretrain_epochs : stage == 1 ? t.epochs : t.epochs > 0 ? t.refine_epochs : 0;
  }
  long frames_of(int stage) const { return static_cast<long>(stage == 0 ? both_refs_.size() : training_.refs.size()); }
  long steps_of(int stage) const { return (frames_of(stage) + config_.train.batch - 1) / config_.train.batch; }
  int stage_epochs() const { return epochs_of(counters().stage); }
  long n_frames_of_stage() const { return frames_of(counters().stage); }
  long steps_per_epoch() const { return steps_of(counters().stage); }

  struct Note {
    std::string name;
    std::vector<float> dry, wet;
    double gain;  // for the ear
  };

  RunConfig config_;
  const TrainOptions& options_;
  RunFolder& folder_;
  ThreadPool pool_;
  std::unique_ptr<GpuTeam> team_;  // where several GPUs train; context_ is then that of rank 0
  Context context_;
  FrameSet training_, validation_;
  std::vector<float> both_;
  std::vector<FrameRef> both_refs_;
  std::unique_ptr<CafxModel> model_;
  std::unique_ptr<DeviceFrames> frames_, validation_frames_;
  std::unique_ptr<Stepper> stepper_;
  std::set<std::string> said_convolutions_;
  Checkpoint checkpoint_;
  EventFile events_;
  std::vector<Note> notes_;
  double validation_now_ = std::numeric_limits<double>::quiet_NaN();
  long steps_here_ = 0, frames_here_ = 0;
  Clock::time_point started_, last_save_, last_shown_, last_events_;
};

}  // namespace

FrameSet make_frames(const Dataset& data, const std::vector<int>& which, int frame, int hop, double silence_db) {
  FrameSet set;
  const double quiet = std::pow(10.0, silence_db / 20.0);
  for (const int i : which) {
    const Pair& pair = data.pairs[static_cast<std::size_t>(i)];
    const auto begin = static_cast<std::int64_t>(set.dry.size()), n = static_cast<std::int64_t>(pair.dry.size());
    set.dry.insert(set.dry.end(), pair.dry.begin(), pair.dry.end());
    set.wet.insert(set.wet.end(), pair.wet.begin(), pair.wet.end());
    // The first frame still holds sample 0, the last one sample n - 1, as in rendering.
    for (std::int64_t start = -static_cast<std::int64_t>(frame - hop); start < n; start += hop) {
      const std::int64_t from = std::max<std::int64_t>(start, 0), to = std::min<std::int64_t>(start + frame, n);
      const auto loud = [&](const std::vector<float>& x) {
        return std::any_of(x.begin() + from, x.begin() + to, [&](float v) { return std::abs(v) >= quiet; });
      };
      if (loud(pair.dry) || loud(pair.wet)) set.refs.push_back({begin + start, begin, begin + n});
    }
  }
  return set;
}

MemoryPlan plan_memory(const Context& context, const CafxConfig& config, int batch, std::size_t n_samples,
                       std::size_t n_frames, int gpus) {
  const CafxModel model(config);
  MemoryPlan plan;
  if (gpus > 1) plan.exchange = exchange_scratch(model.n_floats(), gpus);
  plan.weights = 5 * sizeof(float) * static_cast<std::size_t>(model.n_floats());
  plan.activations = model.training_memory(context, batch);
  plan.audio = sizeof(float) * n_samples + n_frames * (sizeof(FrameRef) + sizeof(std::uint32_t));
  plan.free = free_memory(context);
  return plan;
}

int largest_batch(const Context& context, const CafxConfig& config, std::size_t n_samples, std::size_t n_frames,
                  int gpus) {
  int most = 0;
  for (int batch = 1; static_cast<std::size_t>(batch) <= std::max<std::size_t>(1, n_frames); batch *= 2) {
    const MemoryPlan plan = plan_memory(context, config, batch, n_samples, n_frames, gpus);
    if (plan.total() > plan.free / 10 * 9) break;
    most = batch;
  }
  return most;
}

RunConfig read_run_config(const std::filesystem::path& folder) {
  RunConfig config;
  Fields fields = describe(config);
  const auto path = folder / "config.toml";
  read_toml(fields, RunFolder::read(path), path.string());
  return config;
}

TrainOutcome train(const RunConfig& config, const Dataset& data, const Split& split, const TrainOptions& options) {
  check(config, "config");
  RunFolder folder(options.folder);
  if (std::filesystem::exists(folder.file("checkpoint.safetensors"))) {
    throw Error("{}: holds a run already; go on with it by 'cafx resume {}', or choose another folder with --out",
                options.folder.string(), options.folder.string());
  }
  RunConfig resolved = config;
  std::string init;
  if (!config.train.init_from.empty()) {
    init = weights_identity(config.train.init_from);
    folder.write(kInitFile, RunFolder::read(config.train.init_from));
  }
  const std::string data_hash = content_hash(data), hash = run_hash(config, data_hash, init);
  folder.write("config.toml",
               fmt::format("# cafx {}   run {}   data {}\n{}", kVersion, hash, data_hash, to_toml(describe(resolved))));
  folder.write("split.json", split_json(data, split));
  Session session(config, data, split, options, folder);
  session.start(hash);
  return session.run();
}

TrainOutcome resume(const TrainOptions& options) {
  if (!std::filesystem::is_directory(options.folder)) {
    throw Error("{}: is not a folder; give the folder of a run, as 'cafx train' named it", options.folder.string());
  }
  const RunConfig config = read_run_config(options.folder);
  RunFolder folder(options.folder);
  const Checkpoint head = read_checkpoint_head(folder.file("checkpoint.safetensors"));
  const std::string& precision = options.precision.empty() ? config.train.precision : options.precision;
  if (precision != head.precision) {
    throw Error(
        "{}: this run began with train.precision = {} and cannot go on with {}; resume it as it began, or start a new "
        "run",
        options.folder.string(), head.precision, precision);
  }
  const Dataset data = load_dataset(config.data, config.model.sample_rate);
  const Split split = split_dataset(data, config.data);
  const std::string init = config.train.init_from.empty() ? "" : weights_identity(folder.file(kInitFile));
  const std::string hash = run_hash(config, content_hash(data), init);
  if (hash != head.run_hash) {
    throw Error(
        "{}: config.toml or the audio under '{}' has changed since this run began (run {} is now {}); put it "
        "back, or start a new run",
        options.folder.string(), config.data.path, head.run_hash, hash);
  }
  Session session(config, data, split, options, folder);
  session.restore();
  return session.run();
}

}  // namespace cafx
