#include "host/train/train.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "host/export/model_file.h"
#include "host/train/checkpoint.h"
#include "host/train/frames.h"
#include "host/train/gpu_team.h"
#include "host/train/memory_plan.h"
#include "host/train/results.h"
#include "host/train/run_folder.h"
#include "host/train/schedule.h"
#include "host/train/stepper.h"
#include "host/train/training_log.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "kernels/optimizer/optimizer.h"

namespace cafx {

namespace {

using Clock = std::chrono::steady_clock;

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
        log_(config_, folder, options.observer, options.before_write, data, split.validation),
        pool_(options.threads > 0 ? options.threads : available_threads()) {
    context_.isa = options.isa.empty() ? best_isa() : parse_isa(options.isa);
    context_.pool = &pool_;
    context_.precision = parse_precision(config.train.precision);  // before a team takes it over
    open_device();
    use_precision(context_, config.train.precision);
    if (context_.precision != Precision::kFp32) log_.say(fmt::format("products in {}", precision_text(context_)));
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
    schedule_ = Schedule(config.train, training_.refs.size());
  }

  void start(const std::string& run_hash) {
    log_.open_events(checkpoint_.events);
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
    checkpoint_ = read_checkpoint(path, model_->params().specs(), model_->n_floats());
    std::copy(checkpoint_.model.begin(), checkpoint_.model.end(), model_->data());
    if (checkpoint_.isa != processor()) {
      log_.say(fmt::format("the checkpoint was made on {}, this process uses {}: the bits will differ", checkpoint_.isa,
                           processor()));
    }
    if (checkpoint_.version != kVersion) {
      log_.say(fmt::format("the checkpoint was made by cafx {}, this is {}: the bits may differ", checkpoint_.version,
                           kVersion));
    }
    const Counters& c = counters();
    log_.say(fmt::format("resumed: {}, epoch {}, step {}", stage_name(), c.epoch + 1, c.step_in_epoch));
    log_.open_events(checkpoint_.events);
    make_stepper_of_stage();
  }

  TrainOutcome run() {
    log_.begin();
    last_save_ = Clock::now();
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
    before_write();
    write_result(folder_, config_, checkpoint_, *model_, saaf_input_peak());
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
    log_.say(fmt::format("{} GPUs share every batch ({})", team_->size(), team_->name()));
    if (!team_->alike()) log_.say("the GPUs are not alike: every step waits for the slowest");
  }

  // What decides the bits beside config and data.
  std::string processor() const {
    if (team_) return team_->name();
    return context_.device == Device::kCuda ? device_name(context_) : std::string(to_string(context_.isa));
  }

  // One epoch, from the step where the counters stand. False: asked to stop.
  bool run_epoch() {
    Counters& c = counters();
    const Rng order{static_cast<std::uint64_t>(config_.train.seed),
                    static_cast<std::uint64_t>(c.stage) * 1000003u + c.epoch + 1};
    const long steps = steps_per_epoch(), steps_before = c.step - c.step_in_epoch;
    std::vector<float> rates;
    for (long i = 0; i < steps; ++i)
      rates.push_back(static_cast<float>(schedule_.learning_rate(c.stage, steps_before + i, c.plateau_scale)));
    stepper_->begin_epoch(order, rates, steps_before, c.step_in_epoch);
    long enqueued = c.step_in_epoch;
    while (c.step_in_epoch < steps) {
      const long portion = std::min(stepper_->portion(), steps - enqueued);
      stepper_->enqueue(portion);
      enqueued += portion;
      account(stepper_->collect(enqueued == steps));
      log_.progress(c, schedule_);
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
      if (!std::isfinite(r.loss) || !std::isfinite(r.norm)) {
        fail_at_nan(
            folder_,
            fmt::format("{}, epoch {}, step {}", stage_name(), counters().epoch + 1, counters().step_in_epoch + 1),
            r.loss, model_->params().specs(), stepper_->gradient_of(counters().step_in_epoch));
      }
      const long frames =
          std::min<long>(config_.train.batch, n_frames_of_stage() - c.step_in_epoch * config_.train.batch);
      c.gradient_norm = r.norm;
      c.loss_sum += r.loss * static_cast<double>(frames);
      ++c.step;
      ++c.step_in_epoch;
      ++c.total_steps;
      log_.step(frames);
    }
  }

  void end_epoch() {
    log_.say_convolutions(context_);
    Counters& c = counters();
    stepper_->fetch(checkpoint_.m, checkpoint_.v);
    const double training = c.loss_sum / static_cast<double>(n_frames_of_stage());
    const double validation = pretraining() ? training : validate();
    const double rate = schedule_.learning_rate(c.stage, c.step - 1, c.plateau_scale);
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
    log_.epoch(c, schedule_, *model_, rate, training, validation);
    if (seconds_since(last_save_) > options_.checkpoint_seconds) save();
  }

  // Mean absolute error over all validation frames; over training frames where no note is kept for validation.
  double validate() {
    const DeviceFrames& set = validation_.refs.empty() ? *frames_ : *validation_frames_;
    double total = 0.0;
    const std::size_t most = frames_at_a_time();
    for (std::size_t i = 0; i < set.size(); i += most) {
      const auto n = std::min(most, set.size() - i);
      const Batch batch = set.batch(i, static_cast<int>(n), config_.model.frame);
      model_->gradient(context_, nullptr, batch, Loss());
      total += model_->mean_loss(context_, batch) * static_cast<double>(n);
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

  void end_stage() {
    Counters& c = counters();
    if (c.epoch > 0) {
      log_.say(fmt::format("{}: {} after {} epochs, best {} {:.6g}", stage_name(),
                           c.bad_epochs >= config_.train.patience ? "no better loss" : "finished", c.epoch,
                           pretraining() ? "training error" : "validation error", c.best));
      log_.notes(c, schedule_, context_, *model_, checkpoint_.best);
    }
    if (c.stage + 1 == Schedule::kStages) {
      c.finished = true;
      save();
      return;
    }
    if (pretraining() && c.epoch > 0) {
      before_write();
      write_pretrained(folder_, config_, checkpoint_);
    }
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
      log_.say(fmt::format("{}: {} parameters, {} frames, {} steps an epoch", stage_name(), model_->n_parameters(),
                           n_frames_of_stage(), steps_per_epoch()));
    }
    if (c.stage == 1) say_saaf_range();
  }

  // A domain that the signal does not fill, or leaves, wastes the curves' segments: said before training and after.
  void say_saaf_range() {
    if (!config_.model.saaf) return;
    log_.say(fmt::format("the signal into the SAAF peaks at {:.3g}, its domain is [{:g}, {:g}]", saaf_input_peak(),
                         config_.model.saaf_lo, config_.model.saaf_hi));
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
      peak = std::max(peak,
                      model_->saaf_input_peak(context_, chosen.batch(0, static_cast<int>(count), config_.model.frame)));
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
    const std::size_t samples = both_.size() + 2 * validation_.dry.size(),
                      frames = both_refs_.size() + validation_.refs.size();
    const auto refuse = [&](const Context& context) {
      cafx::refuse_what_does_not_fit(context, config_.model, config_.train, samples, frames, n_gpus());
    };
    if (!team_) return refuse(context_);
    team_->run([&](int r) { refuse(team_->context(r)); });
  }

  void copy_by_name(const CafxModel& former, const std::vector<float>& weights) {
    for (const ParamSpec& from : former.params()) {
      for (const ParamSpec& to : model_->params()) {
        if (to.name == from.name) std::copy_n(weights.begin() + from.offset, from.size, model_->data() + to.offset);
      }
    }
  }

  // metrics.csv and best.safetensors say what the checkpoint says; the checkpoint is written last and decides.
  void save() {
    if (stepper_) stepper_->fetch(checkpoint_.m, checkpoint_.v);
    before_write();
    checkpoint_.model.assign(model_->data(), model_->data() + model_->n_floats());
    if (log_.has_events()) checkpoint_.events = log_.sync_events();
    folder_.write("metrics.csv", checkpoint_.metrics);
    if (!pretraining()) write_best(folder_, config_, checkpoint_);
    write_checkpoint(folder_.file("checkpoint.safetensors"), checkpoint_, model_->params().specs());
    last_save_ = Clock::now();
  }

  void before_write() const {
    if (options_.before_write) options_.before_write();
  }

  TrainOutcome outcome() const {
    const Counters& c = checkpoint_.counters;
    return {c.finished, folder_.path(), c.best, c.last_training, c.total_steps, log_.seconds()};
  }

  int n_gpus() const { return team_ ? team_->size() : 1; }
  Counters& counters() { return checkpoint_.counters; }
  const Counters& counters() const { return checkpoint_.counters; }
  bool pretraining() const { return counters().stage == 0; }
  std::string stage_name() const { return Schedule::name(counters().stage); }
  int stage_epochs() const { return schedule_.epochs(counters().stage); }
  long n_frames_of_stage() const { return schedule_.frames(counters().stage); }
  long steps_per_epoch() const { return schedule_.steps(counters().stage); }

  RunConfig config_;
  const TrainOptions& options_;
  RunFolder& folder_;
  TrainingLog log_;
  ThreadPool pool_;
  std::unique_ptr<GpuTeam> team_;  // where several GPUs train; context_ is then that of rank 0
  Context context_;
  FrameSet training_, validation_;
  std::vector<float> both_;
  std::vector<FrameRef> both_refs_;
  std::unique_ptr<CafxModel> model_;
  std::unique_ptr<DeviceFrames> frames_, validation_frames_;
  std::unique_ptr<Stepper> stepper_;
  Checkpoint checkpoint_;
  Schedule schedule_;
  Clock::time_point last_save_;
};

}  // namespace

RunConfig read_run_config(const std::filesystem::path& folder) {
  RunConfig config;
  Fields fields = describe(config);
  const auto path = folder / "config.toml";
  const std::string text = RunFolder::read(path);
  if (text.find("\n[student]\n") != std::string::npos) {
    throw Error(
        "{}: is the run of a student, where one of CAFx is wanted; resume, render, eval and export take students",
        folder.string());
  }
  read_toml(fields, text, path.string());
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
