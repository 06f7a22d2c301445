#include "host/train/trainer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <sstream>
#include <utility>

#include "host/train/checkpoint_files.h"
#include "host/train/cohort.h"
#include "host/train/memory_plan.h"
#include "host/train/results.h"
#include "host/train/targets.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "models/registry.h"

namespace cafx {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string metrics_head(const RunConfig& config, const std::vector<Fact>& facts) {
  std::string head = fmt::format("stage,epoch,steps,learning_rate,{},{},best,gradient_norm",
                                 training_name(config.train), validation_name(config.train));
  for (const auto& [name, number] : fact_numbers(facts)) head += "," + name;
  return head + "\n";
}

// The columns of metrics.csv that a model's facts fill: those after the trainer's own.
std::vector<std::string> fact_columns(const std::string& metrics) {
  std::vector<std::string> columns;
  std::istringstream head(metrics.substr(0, metrics.find('\n')));
  for (std::string column; std::getline(head, column, ',');) columns.push_back(column);
  columns.erase(columns.begin(), columns.begin() + std::min<std::ptrdiff_t>(8, std::ssize(columns)));
  return columns;
}

}  // namespace

Trainer::Trainer(const RunConfig& config, Dataset& data, const Split& split, const TrainOptions& options,
                 RunFolder& folder, Company& company)
    : config_(config),
      kind_(kind_of_steps(config)),
      options_(options),
      folder_(folder),
      log_(config_, folder, options.observer, options.before_write),
      company_(company) {
  context_.isa = options.isa.empty() ? best_isa() : parse_isa(options.isa);
  context_.pool = &company.pool();
  context_.precision = parse_precision(config.train.precision);  // before a team takes it over
  open_device();
  use_precision(context_, config.train.precision);
  if (context_.precision != Precision::kFp32) log_.say(fmt::format("products in {}", precision_text(context_)));
  if (config.model->knobs != config.data.knobs) {
    throw Error("data.knobs = [{}] and model.knobs = [{}] differ; in a sweep give both alike",
                fmt::join(config.data.knobs, ", "), fmt::join(config.model->knobs, ", "));
  }
  if (split.train.empty()) throw Error("no note is left for training; lower data.validation or data.test");
  audio_ = company.audio_of(data, [&] { return take_audio(data, split); });
  log_.choose_notes(audio_->validation);
  choose_places();
  make_loss();
  schedule_ = Schedule(config_, sampler_.size(), step_settings().updates());
}

void Trainer::open_device() {
  const bool asked = !options_.gpus.empty();
  const std::vector<int> gpus = choose_gpus(options_.device, asked ? options_.gpus : config_.train.gpus, asked);
  if (gpus.empty()) return company_.use_device(context_, options_.device);
  if (gpus.size() == 1) return company_.use_device(context_, fmt::format("cuda:{}", gpus[0]));
  team_ = std::make_unique<GpuTeam>(context_, gpus);
  context_ = team_->context(0);
  make_current(context_);
  log_.say(fmt::format("{} GPUs share every batch ({})", team_->size(), team_->name()));
  if (!team_->alike()) log_.say("the GPUs are not alike: every step waits for the slowest");
}

std::shared_ptr<const RunAudio> Trainer::take_audio(Dataset& data, const Split& split) {
  auto audio = std::make_shared<RunAudio>();
  if (!config_.teacher.model.empty()) {
    std::vector<int> which = split.train;
    which.insert(which.end(), split.validation.begin(), split.validation.end());
    audio->recorded = teach(data, which, split.validation.empty() ? split.train : split.validation, config_,
                            folder_.file(kTeacherFile), context_, [this](const std::string& line) { log_.say(line); });
  }
  audio->training = take_corpus(data, split.train, &company_.reels());
  audio->validation = take_corpus(data, split.validation, &company_.reels());
  audio->measured = whole_notes(audio->validation.notes.empty() ? audio->training : audio->validation);
  return audio;
}

void Trainer::choose_places() {
  const TrainConfig& t = config_.train;
  const Geometry g = config_.model->geometry();
  if (g.frame > 0) {
    sampler_ = Sampler(grid_of(audio_->training, g.frame, t.hop > 0 ? t.hop : g.hop, t.silence_db), g.frame);
    validation_refs_ =
        grid_of(audio_->validation, g.frame, t.validation_hop > 0 ? t.validation_hop : g.hop, t.silence_db);
  } else {
    sampler_ =
        Sampler(audio_->training, t.segment_seconds, g.sample_rate, t.silence_db, static_cast<std::uint64_t>(t.seed));
    if (sampler_.size() > 0) validation_refs_ = segments_in_a_row(audio_->validation, sampler_.length());
  }
  if (sampler_.size() > 0) return;
  throw Error("no training {} is louder than train.silence_db = {}; lower it", g.frame > 0 ? "frame" : "note",
              t.silence_db);
}

void Trainer::make_loss() {
  loss_ = Loss(config_.train.loss);
  if (!loss_.relative()) return;
  const Corpus& training = audio_->training;
  double energy = 0.0;
  for (const Corpus::Note& note : training.notes) {
    const float* y = training.target(note);
    double before = 0.0;
    for (std::int64_t t = 0; t < note.end - note.begin; ++t) {
      const double p = y[t] - config_.train.loss.pre_emphasis * before;
      energy += p * p;
      before = y[t];
    }
  }
  if (energy == 0.0) throw Error("all that the model should learn is silence; is the wet audio what it should be?");
  loss_ = Loss(config_.train.loss, energy / static_cast<double>(training.half()));
}

StepSettings Trainer::step_settings() const {
  const TrainConfig& t = config_.train;
  const Geometry g = config_.model->geometry();
  StepSettings s;
  s.batch = t.batch;
  s.length = sampler_.length();
  s.block = cafx::block_samples(config_);
  s.warm_up = g.frame > 0 ? 0 : std::max(t.burn_in, g.warm_up);
  s.accumulate = t.accumulate;
  s.clip_norm = t.clip_norm;
  s.seed = Rng{static_cast<std::uint64_t>(t.seed), 0x64726f70u}.bits64(static_cast<std::uint64_t>(counters().stage));
  s.ema = counters().stage == Stage::kPretrain ? 0 : t.ema;
  s.adam.beta1 = static_cast<float>(t.beta1);
  s.adam.beta2 = static_cast<float>(t.beta2);
  s.adam.epsilon = static_cast<float>(t.epsilon);
  s.adam.weight_decay = static_cast<float>(t.weight_decay);
  s.optimiser = &optimiser(t.optimizer);
  s.loss = loss_;
  return s;
}

std::string Trainer::processor() const {
  if (team_) return team_->name();
  return context_.device == Device::kCuda ? device_name(context_) : std::string(to_string(context_.isa));
}

void Trainer::start(const std::string& run_hash) {
  log_.open_events(checkpoint_.events);
  checkpoint_.run_hash = run_hash;
  checkpoint_.isa = processor();
  checkpoint_.version = kVersion;
  checkpoint_.precision = config_.train.precision;
  checkpoint_.metrics = metrics_head(config_, cafx::make_model(*config_.model)->facts(context_));
  counters().stage = schedule_.stages().front().id;
  begin_stage(nullptr);
}

void Trainer::restore() {
  const auto path = folder_.file(kCheckpointFile);
  checkpoint_ = read_checkpoint_head(path);
  make_model();
  checkpoint_ = read_checkpoint(path, model_->params());
  std::copy(checkpoint_.model.begin(), checkpoint_.model.end(), model_->params().data());
  if (checkpoint_.isa != processor()) {
    log_.say(fmt::format("the checkpoint was made on {}, this process uses {}: the bits will differ", checkpoint_.isa,
                         processor()));
  }
  if (checkpoint_.version != kVersion) {
    log_.say(fmt::format("the checkpoint was made by cafx {}, this is {}: the bits may differ", checkpoint_.version,
                         kVersion));
  }
  const Counters& c = counters();
  log_.say(c.finished ? "resumed: the training was finished already"
                      : fmt::format("resumed: {}, epoch {}, step {}", stage().name, c.epoch + 1, c.step_in_epoch));
  log_.open_events(checkpoint_.events);
  make_stepper_of_stage();
}

TrainOutcome Trainer::run() {
  begin();
  while (turn(std::numeric_limits<double>::infinity())) {
  }
  return outcome();
}

void Trainer::begin() {
  log_.begin();
  last_save_ = Clock::now();
  if (!counters().finished) {
    save();
  } else if (log_.has_events()) {
    log_.sync_events();  // a lost event file begins anew, and can be read
  }
}

void Trainer::ask() {
  if (!in_epoch_ || asked_) return;
  const long portion = std::min(stepper_->portion(), schedule_.steps(stage()) - enqueued_);
  stepper_->enqueue(portion);
  enqueued_ += portion;
  asked_ = true;
}

bool Trainer::turn(double seconds) {
  const Clock::time_point began = Clock::now();
  do {
    if (in_epoch_) {
      if (take_portion()) continue;
      save();
      return false;
    }
    if (waiting_ && stop_wanted()) return false;
    const bool waited = waiting_;
    if (wait()) return true;
    if (waited && stop_wanted()) return false;
    if (!counters().finished && stage_goes_on()) {
      begin_epoch();
    } else if (!counters().finished) {
      end_stage();
    } else {
      finish();
      return false;
    }
    // Members of a cohort on a GPU come to an epoch's beginning in one round, so that they stay in step.
  } while (!in_epoch_ || seconds_since(began) < seconds);
  return true;
}

bool Trainer::wait() {
  const bool waited = std::exchange(waiting_, false);
  if (!options_.waits || counters().finished || counters().epoch == 0 || !options_.waits()) return false;
  if (!waited) {
    save();
    stepper_->rest();
  }
  return waiting_ = true;
}

bool Trainer::stage_goes_on() const {
  return counters().epoch < stage().epochs && counters().bad_epochs < config_.train.patience;
}

void Trainer::begin_epoch() {
  company_.release_idle_locksteps();
  Counters& c = counters();
  const Stage& stage = this->stage();
  if (c.step_in_epoch == 0) close_ranks();
  const Rng order{static_cast<std::uint64_t>(config_.train.seed),
                  static_cast<std::uint64_t>(c.stage) * 1000003u + c.epoch + 1};
  const long steps = schedule_.steps(stage), updates_before = c.step - c.step_in_epoch * schedule_.updates();
  std::vector<float> rates;
  for (long i = 0; i < steps * schedule_.updates(); ++i) {
    rates.push_back(static_cast<float>(schedule_.learning_rate(stage, updates_before + i, c.plateau_scale)));
  }
  // Epochs are numbered over all stages, so that refining draws its own segments.
  if (sampler_.redraws()) stepper_->set_places(sampler_.draw(c.epoch + 1 + (c.stage - Stage::kTrain) * 1000003));
  stepper_->begin_epoch(order, rates, updates_before, c.step_in_epoch);
  enqueued_ = c.step_in_epoch;
  in_epoch_ = true;
}

bool Trainer::take_portion() {
  Counters& c = counters();
  const long steps = schedule_.steps(stage());
  ask();
  asked_ = false;
  account(stepper_->collect(enqueued_ == steps));
  log_.progress(c, schedule_);
  if (c.step_in_epoch == steps) {
    in_epoch_ = false;
    end_epoch();
    return !stop_wanted();
  }
  if (!stop_wanted() && seconds_since(last_save_) <= options_.checkpoint_seconds) return true;
  const bool stop = stop_wanted();
  account(stepper_->collect(true));
  if (stop && c.step_in_epoch < steps) return false;
  save();
  return true;
}

void Trainer::account(const std::vector<StepRecord>& records) {
  side_by_side_ = std::max(side_by_side_, stepper_->most_side_by_side());
  side_by_side_last_ = stepper_->side_by_side();
  Counters& c = counters();
  const StepSettings settings = step_settings();
  for (const StepRecord& r : records) {
    if (!std::isfinite(r.loss) || !std::isfinite(r.norm)) fail(r);
    const long places =
        std::min<long>(config_.train.batch, schedule_.places(stage()) - c.step_in_epoch * config_.train.batch);
    const int block = settings.block_size(updates_of_step_);
    c.gradient_norm = r.norm;
    c.loss_sum += block == settings.length ? r.loss * static_cast<double>(places)
                                           : r.loss * static_cast<double>(places) * block / settings.length;
    ++c.step;
    ++c.total_steps;
    if (++updates_of_step_ < schedule_.updates()) continue;
    updates_of_step_ = 0;
    ++c.step_in_epoch;
    log_.step(places);
  }
}

void Trainer::fail(const StepRecord& r) {
  const long step = counters().step_in_epoch;
  std::string remedy = "lower the learning rate or set train.clip_norm";
  if (context_.precision == Precision::kFp16) {
    remedy =
        "in fp16 a number over 65504 is infinite: set train.precision = \"bf16\", which has the range of fp32, or "
        "lower the weights of train.loss, or " +
        remedy;
  }
  fail_at_nan(folder_, fmt::format("{}, epoch {}, step {}", stage().name, counters().epoch + 1, step + 1), r.loss,
              remedy, model_->params(), stepper_->gradient_of(step * schedule_.updates() + updates_of_step_));
}

void Trainer::fetch() {
  stepper_->fetch(checkpoint_.m, checkpoint_.v);
  checkpoint_.average = stepper_->average();
}

void Trainer::end_epoch() {
  log_.say_convolutions(context_);
  Counters& c = counters();
  fetch();
  const double training = c.loss_sum / static_cast<double>(schedule_.places(stage()));
  double validation = training;
  std::vector<Fact> facts;
  with_judged([&] {
    if (!stage().reconstructs) validation = validate();
    keep_best(validation);
    facts = model_->facts(context_);
  });
  const double rate = schedule_.learning_rate(stage(), c.step - 1, c.plateau_scale);
  c.last_training = training;
  c.loss_sum = 0.0;
  c.step_in_epoch = 0;
  ++c.epoch;
  checkpoint_.metrics +=
      fmt::format("{},{},{},{:.6g},{:.9g},{},{:.9g},{:.6g}", stage().name, c.epoch, c.total_steps, rate, training,
                  stage().reconstructs ? "" : fmt::format("{:.9g}", validation), c.best, c.gradient_norm);
  const auto numbers = fact_numbers(facts);
  for (const std::string& column : fact_columns(checkpoint_.metrics)) {
    const auto found = std::find_if(numbers.begin(), numbers.end(), [&](const auto& n) { return n.first == column; });
    checkpoint_.metrics += fmt::format(",{:.6g}", found == numbers.end() ? 0.0 : found->second);
  }
  checkpoint_.metrics += "\n";
  log_.epoch(c, schedule_, facts, rate, training, validation);
  if (seconds_since(last_save_) > options_.checkpoint_seconds) save();
}

void Trainer::keep_best(double validation) {
  Counters& c = counters();
  const Params& params = model_->params();
  if (validation < c.best) {
    c.best = validation;
    c.bad_epochs = c.plateau_bad = 0;
    checkpoint_.best.assign(params.data(), params.data() + params.n_floats());
    return;
  }
  ++c.bad_epochs;
  if (config_.train.schedule == "plateau" && ++c.plateau_bad >= config_.train.plateau_patience) {
    c.plateau_scale *= config_.train.plateau_factor;
    c.plateau_bad = 0;
  }
}

double Trainer::validate() {
  const double value = stops_on_notes(config_.train)
                           ? mean_metric(*model_, context_, audio_->measured, config_.train.stop_on)
                           : validation_loss();
  if (std::isfinite(value)) return value;
  throw Error(
      "{}: the validation error became {} in epoch {}; lower the learning rate (train.lr = {}) or set "
      "train.clip_norm; the last good checkpoint is kept",
      stage().name, std::isnan(value) ? "nan" : "infinite", counters().epoch + 1, config_.train.lr);
}

// The places of the validation; those of the training where no note is kept for validation.
const Places& Trainer::validation_set() {
  if (validation_refs_.empty()) {
    if (!places_) places_ = std::make_unique<Places>(places_in_training(sampler_.draw(1), false));
    return *places_;
  }
  if (!validation_places_) {
    validation_places_ = std::make_unique<Places>(
        company_.on_device(context_, audio_->validation_signals()).share(context_, validation_refs_));
  }
  return *validation_places_;
}

// The mean loss over them.
double Trainer::validation_loss() {
  const Places& set = validation_set();
  const StepSettings settings = step_settings();
  double total = 0.0;
  const std::size_t most = places_at_a_time();
  for (std::size_t i = 0; i < set.size(); i += most) {
    const auto n = std::min(most, set.size() - i);
    Batch batch = set.batch(i, static_cast<int>(n), settings.length);
    batch.warm_up = settings.warm_up;
    model_->begin(context_, batch, loss_);
    model_->gradient(context_, nullptr, batch, loss_);
    total += model_->mean_loss(context_, batch) * static_cast<double>(n);
  }
  return total / static_cast<double>(set.size());
}

// On a GPU no more than training has memory for: its graphs know their buffers by address, and a larger batch would
// move them.
std::size_t Trainer::places_at_a_time() const {
  const TrainConfig& t = config_.train;
  return static_cast<std::size_t>(context_.device == Device::kCpu ? t.batch
                                                                  : places_at_once(t.batch, t.accumulate, n_gpus()));
}

// metrics.csv and best.safetensors match the checkpoint, which is written last and decides.
void Trainer::save() {
  if (stepper_) fetch();
  before_write();
  const Params& params = model_->params();
  checkpoint_.model.assign(params.data(), params.data() + params.n_floats());
  if (log_.has_events()) checkpoint_.events = log_.sync_events();
  folder_.write("metrics.csv", checkpoint_.metrics);
  if (!stage().reconstructs) write_best(folder_, config_, checkpoint_, quality_);
  replace_checkpoint(folder_.path(),
                     [&](const std::filesystem::path& path) { write_checkpoint(path, checkpoint_, params); });
  if (counters().finished) drop_previous_checkpoint(folder_.path());
  last_save_ = Clock::now();
}

void Trainer::before_write() const {
  if (options_.before_write) options_.before_write();
}

TrainOutcome Trainer::outcome() const {
  const Counters& c = counters();
  TrainOutcome o;
  o.finished = c.finished;
  o.folder = folder_.path();
  o.validation = c.best;
  o.training = c.last_training;
  o.steps = c.total_steps;
  o.epochs = epochs_of(checkpoint_);
  o.seconds = log_.seconds();
  o.side_by_side = side_by_side_;
  o.side_by_side_last = side_by_side_last_;
  return o;
}

}  // namespace cafx
