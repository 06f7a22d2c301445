// From stage to stage: which model, from which weights, on which places; and what is done once the last has ended.
#include <algorithm>
#include <cstring>
#include <limits>

#include "host/train/memory_plan.h"
#include "host/train/results.h"
#include "host/train/trainer.h"
#include "kernels/base/error.h"
#include "models/play/weights_file.h"
#include "models/registry.h"

namespace cafx {

namespace {

constexpr std::size_t kFactPlaces = 512;   // spread over all notes, that facts about the signal are taken from
constexpr std::size_t kPolarityNotes = 8;  // that the sign of a finished model is seen by

}  // namespace

// Model, moments and counters for the stage that the counters name. `former` has the last stage's form; its best
// weights are taken over by name.
void Trainer::begin_stage(const Model* former) {
  Counters& c = counters();
  const std::vector<float> former_best = std::move(checkpoint_.best);
  const double best = c.best;
  const int epochs_before = c.epoch;
  c.epoch = c.bad_epochs = c.plateau_bad = 0;
  c.step_in_epoch = c.step = 0;
  c.loss_sum = 0.0;
  c.plateau_scale = 1.0;
  // The refined model must beat the one that it starts from.
  c.best = c.stage == Stage::kRefine && epochs_before > 0 ? best : std::numeric_limits<double>::infinity();
  make_model();
  Params& params = model_->params();
  params.initialize(static_cast<std::uint64_t>(config_.train.seed));
  if (former) params.take_by_name(former->params(), former_best.data());
  if (!config_.train.init_from.empty() && (c.stage == Stage::kPretrain || (c.stage == Stage::kTrain && !former))) {
    load_tensors_by_name(folder_.file(kInitFile), *model_);
  }
  const auto n = static_cast<std::size_t>(params.n_floats());
  checkpoint_.best.assign(params.data(), params.data() + n);
  checkpoint_.m.assign(n, 0.0f);
  checkpoint_.v.assign(n, 0.0f);
  checkpoint_.average.assign(params.data(), params.data() + (step_settings().ema > 0 ? n : 0));
  make_stepper_of_stage();
  if (stage().epochs > 0) {
    const bool frames = model_->geometry().frame > 0;
    log_.say(fmt::format("{}: {} parameters, {} {}, {} steps an epoch", stage().name, params.n_parameters(),
                         schedule_.places(stage()),
                         frames ? "frames" : fmt::format("segments of {} samples", sampler_.length()),
                         schedule_.steps(stage()) * schedule_.updates()));
  }
  if (c.stage == Stage::kTrain) say_facts();
}

void Trainer::end_stage() {
  Counters& c = counters();
  if (c.epoch > 0) {
    const std::string reason = stage().reconstructs ? "" : cannot_judge(folder_.path(), "validation");
    log_.say(fmt::format("{}: {} after {} epochs, best {} {:.6g}{}", stage().name,
                         c.bad_epochs >= config_.train.patience ? "no better loss" : "finished", c.epoch,
                         stage().reconstructs            ? "training error"
                         : stops_on_notes(config_.train) ? "validation " + config_.train.stop_on
                                                         : "validation error",
                         c.best, reason.empty() ? "" : ", which is no result: the validation part " + reason));
    log_.notes(c, schedule_, context_, *model_, checkpoint_.best);
  }
  if (schedule_.is_last(c.stage)) {
    if (config_.train.epochs > 0) {
      mend_polarity();
      measure();
    }
    c.finished = true;
    save();
    return;
  }
  if (stage().reconstructs && c.epoch > 0) {
    before_write();
    write_pretrained(folder_, config_, checkpoint_);
  }
  // Of the former only names and shapes are needed: its memory on the GPU goes, so that its seat in a cohort is free.
  const std::unique_ptr<Model> former = cafx::make_model(*config_.model, stage().form);
  c.stage = schedule_.after(c.stage).id;
  stepper_.reset();
  model_.reset();
  begin_stage(c.epoch > 0 || c.stage == Stage::kRefine ? former.get() : nullptr);
  save();
}

void Trainer::make_model() {
  stepper_.reset();
  model_ = cafx::make_model(*config_.model, stage().form);
}

Places Trainer::places_in_training(std::vector<FrameRef> refs, bool reconstructs) {
  const Signals signals = audio_->training_signals();
  return company_.on_device(context_, signals).share(context_, std::move(refs), reconstructs ? 0 : signals.target);
}

// Places and optimiser of the stage, from the weights and moments of model and checkpoint.
void Trainer::make_stepper_of_stage() {
  stepper_.reset();
  places_.reset();
  validation_places_.reset();
  if (stage().epochs == 0) return model_->params().upload(context_);
  refuse_what_does_not_fit();
  std::vector<FrameRef> refs = sampler_.draw(1);
  if (stage().reconstructs) {
    // It learns to reproduce its input, dry and wet alike.
    const std::int64_t half = audio_->training.half();
    refs.reserve(2 * refs.size());
    for (std::size_t i = 0, n = refs.size(); i < n; ++i) {
      refs.push_back({refs[i].start + half, refs[i].begin + half, refs[i].end + half});
    }
  }
  company_.on_device(context_, audio_->training_signals());  // in no member's memory: others may share them
  const StepSettings settings = step_settings();
  const Checkpoint& c = checkpoint_;
  const auto build = [&]() -> Stepper& {
    model_->params().upload(context_);
    places_ = std::make_unique<Places>(places_in_training(refs, stage().reconstructs));
    stepper_ = team_ ? make_stepper(*team_, *model_, *places_, settings, c.m, c.v, c.average)
                     : make_stepper(context_, *model_, *places_, settings, c.m, c.v, c.average);
    return *stepper_;
  };
  const auto measure = [&] {
    const MemberSize size = measure_member(context_, [&] {
      build().begin_epoch(
          Rng{}, std::vector<float>(static_cast<std::size_t>(schedule_.steps(stage()) * schedule_.updates())), 0, 0);
      rehearse(*stepper_);
    });
    drop_device_memory();
    return size;
  };
  const std::string of_stage = fmt::format("{} {}", stage().form, settings.length);
  Lockstep* const together = team_ ? nullptr : company_.lockstep(context_, kind_, of_stage, measure);
  if (!together || !build_member(*together, build)) build();
}

// Of model and steps; the weights stay.
void Trainer::drop_device_memory() {
  const std::vector<float> weights(model_->params().data(), model_->params().data() + model_->params().n_floats());
  stepper_.reset();
  places_.reset();
  make_model();
  std::copy(weights.begin(), weights.end(), model_->params().data());
}

void Trainer::close_ranks() {
  const Counters& c = counters();
  const Closing closing = stepper_->closing((stage().epochs - c.epoch) * schedule_.steps(stage()));
  if (closing.moves == 0 || !company_.worth_closing(closing)) return;
  drop_device_memory();
  make_stepper_of_stage();
  log_.say(
      fmt::format("takes the place of a member that has left: a step takes fewer launches, which saves {:.2g} s "
                  "and costs {:.2g} s",
                  closing.saves_seconds, closing.costs_seconds));
}

void Trainer::refuse_what_does_not_fit() {
  // Several GPUs have copies of their own.
  const std::size_t samples =
      team_ ? audio_->samples()
            : company_.not_on_device(audio_->training_signals()) + company_.not_on_device(audio_->validation_signals());
  const RunSize size{samples, static_cast<std::size_t>(schedule_.places(stage())) + validation_refs_.size()};
  const auto refuse = [&](const Context& context) {
    cafx::refuse_what_does_not_fit(context, config_, sampler_.length(), size, n_gpus());
  };
  if (!team_) return refuse(context_);
  team_->run([&](int r) { refuse(team_->context(r)); });
}

void Trainer::with_weights(const std::vector<float>& weights, const std::function<void()>& work) {
  Params& params = model_->params();
  const std::vector<float> last(params.data(), params.data() + params.n_floats());
  std::copy(weights.begin(), weights.end(), params.data());
  params.upload(context_);
  work();
  std::copy(last.begin(), last.end(), params.data());
  params.upload(context_);
}

void Trainer::with_judged(const std::function<void()>& work) {
  if (checkpoint_.average.empty()) return work();
  with_weights(checkpoint_.average, [&] {
    model_->project(context_);  // a mean of what is allowed is allowed, but for rounding
    model_->params().download(context_);
    work();
  });
}

// A loss that sees magnitudes alone is as content with the negative of the effect.
void Trainer::mend_polarity() {
  std::vector<WholeNote> notes = audio_->measured;
  notes.resize(std::min(kPolarityNotes, notes.size()));
  with_weights(checkpoint_.best, [&] {
    if (!is_inverted(*model_, context_, notes)) return;
    if (!model_->negate_output()) {
      log_.say(
          "the model came out inverted: its output is nearer to the negative of the target, and no sign of its "
          "weights mends that; give train.loss a term that sees the sign, such as loss.mae or loss.esr");
      return;
    }
    const Params& params = model_->params();
    checkpoint_.best.assign(params.data(), params.data() + params.n_floats());
    model_->params().upload(context_);
    counters().best = validate();
    const LossConfig& l = config_.train.loss;
    const bool blind = l.mae <= 0.0 && l.mse <= 0.0 && l.esr <= 0.0 && l.log_cosh <= 0.0;
    log_.say(
        fmt::format("the model came out inverted{}: the sign of its last layer is turned, the validation is now {:.6g}",
                    blind ? ", as its loss does not see the sign" : "", counters().best));
  });
}

void Trainer::measure() {
  if (!stops_on_notes(config_.train) && config_.teacher.model.empty()) return;
  with_weights(checkpoint_.best, [&] {
    quality_ = measure_quality(*model_, context_, audio_->measured, audio_->recorded,
                               audio_->validation.notes.empty() ? "train" : "validation");
  });
}

// Facts of the weights, and those that take a signal: of numbers the largest over places of all notes.
std::vector<Fact> Trainer::facts_on_places() {
  const std::vector<FrameRef>& all = sampler_.places();
  const std::size_t n = std::min(all.size(), kFactPlaces), most = places_at_a_time();
  std::vector<FrameRef> chosen;
  for (std::size_t k = 0; k < n; ++k) chosen.push_back(all[k * all.size() / n]);
  const Places places = places_ ? places_->share(context_, chosen) : places_in_training(chosen, false);
  std::vector<Fact> facts;
  for (std::size_t i = 0; i < n; i += most) {
    const Batch batch = places.batch(i, static_cast<int>(std::min(most, n - i)), sampler_.length());
    std::vector<Fact> of_batch = model_->facts(context_, &batch);
    for (std::size_t k = 0; k < facts.size(); ++k) {
      of_batch[k].number = std::max(of_batch[k].number, facts[k].number);
    }
    facts = std::move(of_batch);
    if (facts.empty()) break;
  }
  return facts;
}

// Remarks that need a signal, such as a domain that it leaves or does not fill: printed before training and after.
void Trainer::say_facts() {
  const std::vector<Fact> without = model_->facts(context_);
  for (const Fact& f : facts_on_places()) {
    const bool known = std::any_of(without.begin(), without.end(), [&](const Fact& w) { return w.name == f.name; });
    if (!known && f.kind == Fact::Kind::kNumber) log_.say(fmt::format("{}: {:.3g}, {}", f.name, f.number, f.help));
  }
}

// Whether best.safetensors holds the best weights, bit by bit.
bool Trainer::best_is_there() const {
  try {
    const ModelFile file = load_model(folder_.file("best.safetensors"));
    const Params& params = file.model->params();
    return static_cast<std::size_t>(params.n_floats()) == checkpoint_.best.size() &&
           std::memcmp(params.data(), checkpoint_.best.data(), sizeof(float) * checkpoint_.best.size()) == 0;
  } catch (const Error&) {
    return false;
  }
}

void Trainer::finish() {
  if (!quality_ && config_.train.epochs > 0) measure();  // a run that was finished before
  if (!stage().reconstructs && !best_is_there()) {
    log_.say("best.safetensors was missing or damaged: it is written anew, of the checkpoint");
    write_best(folder_, config_, checkpoint_, quality_);
  }
  std::copy(checkpoint_.best.begin(), checkpoint_.best.end(), model_->params().data());
  model_->params().upload(context_);
  say_facts();
  before_write();
  write_result(folder_, config_, checkpoint_, *model_, facts_on_places(), quality_);
}

}  // namespace cafx
