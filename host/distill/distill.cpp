#include "host/distill/distill.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "datasets/audio_file.h"
#include "host/distill/student_file.h"
#include "host/export/model_file.h"
#include "host/render/render.h"
#include "host/train/checkpoint.h"
#include "host/train/run_folder.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "kernels/optimizer/optimizer.h"
#include "models/registry.h"

namespace cafx {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kTeacherFile = "teacher.safetensors";
constexpr const char* kMetricsHead = "epoch,steps,learning_rate,training_loss,validation_esr,best,gradient_norm\n";

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A segment of a note of the training part.
struct Place {
  int note;
  long start;
};

// Everything of one process working on one run. The order of `run` is the order of events.
class Session {
 public:
  Session(const DistillConfig& config, const Dataset& data, const Split& split, const DistillOptions& options,
          RunFolder& folder)
      : config_(config),
        options_(options),
        folder_(folder),
        pool_(options.threads > 0 ? options.threads : available_threads()),
        data_(data),
        training_(split.train),
        validation_(split.validation) {
    context_.isa = options.isa.empty() ? best_isa() : parse_isa(options.isa);
    context_.pool = &pool_;
    if (training_.empty()) throw Error("no note is left for training; lower data.validation or data.test");
    student_ = make_model(*model_config(config.student));
    teach();
    count_segments();
  }

  void start(const std::string& run_hash) {
    checkpoint_.run_hash = run_hash;
    checkpoint_.isa = to_string(context_.isa);
    checkpoint_.version = kVersion;
    checkpoint_.metrics = kMetricsHead;
    checkpoint_.counters.stage = 1;
    student_->initialize(static_cast<std::uint64_t>(config_.train.seed));
    const auto n = static_cast<std::size_t>(student_->n_floats());
    checkpoint_.best.assign(student_->data(), student_->data() + n);
    checkpoint_.m.assign(n, 0.0f);
    checkpoint_.v.assign(n, 0.0f);
    say(fmt::format("student: {}, {} parameters, {} Hz, {} segments of {} samples, {} steps an epoch", config_.preset,
                    student_->n_parameters(), config_.student.sample_rate, n_segments_, length_, steps_per_epoch()));
  }

  void restore() {
    checkpoint_ =
        read_checkpoint(folder_.file("checkpoint.safetensors"), student_->params().specs(), student_->n_floats());
    std::copy(checkpoint_.model.begin(), checkpoint_.model.end(), student_->data());
    if (checkpoint_.isa != to_string(context_.isa)) {
      say(fmt::format("the checkpoint was made on {}, this process uses {}: the bits will differ", checkpoint_.isa,
                      to_string(context_.isa)));
    }
    if (checkpoint_.version != kVersion) {
      say(fmt::format("the checkpoint was made by cafx {}, this is {}: the bits may differ", checkpoint_.version,
                      kVersion));
    }
    say(fmt::format("resumed: epoch {}, {} groups of segments", counters().epoch + 1, counters().step_in_epoch));
  }

  DistillOutcome run() {
    started_ = last_save_ = last_shown_ = Clock::now();
    make_optimiser();
    Counters& c = counters();
    if (!c.finished) save();
    while (!c.finished && c.epoch < config_.train.epochs && c.bad_epochs < config_.train.patience) {
      if (!run_epoch()) {
        save();
        return outcome();
      }
    }
    std::copy(checkpoint_.best.begin(), checkpoint_.best.end(), student_->data());
    quality_ = measure_quality(context_, *student_, measured_notes(), measured_part());
    if (!c.finished) {
      say(fmt::format("{} after {} epochs, best validation ESR {:.6g}",
                      c.bad_epochs >= config_.train.patience ? "no better error" : "finished", c.epoch, c.best));
    }
    std::copy(checkpoint_.model.begin(), checkpoint_.model.end(), student_->data());
    c.finished = true;
    save();
    write_result();
    return outcome();
  }

 private:
  // What the student is to learn: the teacher's rendering of every dry note of training and validation, or the recordings.
  void teach() {
    taught_.resize(data_.pairs.size());
    if (config_.teacher.model.empty()) return;
    const ModelFile teacher = load_model(folder_.file(kTeacherFile));
    const Geometry g = teacher.model->geometry();
    const int hop = config_.teacher.hop > 0 ? config_.teacher.hop : std::max(1, g.frame / 8);
    const int rate = config_.student.sample_rate;
    say(fmt::format("the teacher renders {} dry notes at hop {}", training_.size() + validation_.size(), hop));
    if (rate != g.sample_rate) {
      say(fmt::format(
          "the teacher works at {} Hz, the student at {}: its targets are resampled, and hold nothing above {} Hz",
          g.sample_rate, rate, std::min(rate, g.sample_rate) / 2));
    }
    for (const auto* part : {&training_, &validation_}) {
      for (const int i : *part) {
        const auto k = static_cast<std::size_t>(i);
        const std::vector<float>& dry = data_.pairs[k].dry;
        const std::vector<float> x = rate == g.sample_rate ? dry : resample(dry, rate, g.sample_rate);
        std::vector<float> y = render_signal(*teacher.model, context_, x.data(), x.size(), hop);
        if (rate != g.sample_rate) y = resample(y, g.sample_rate, rate);
        y.resize(dry.size(), 0.0f);
        taught_[k] = std::move(y);
      }
    }
  }

  const std::vector<float>& target(int i) const {
    const auto k = static_cast<std::size_t>(i);
    return taught_[k].empty() ? data_.pairs[k].wet : taught_[k];
  }

  // Segments of an epoch: of each note as many as it is long, at places that every epoch draws anew.
  void count_segments() {
    std::size_t shortest = data_.pairs[static_cast<std::size_t>(training_[0])].dry.size();
    for (const int i : training_) shortest = std::min(shortest, data_.pairs[static_cast<std::size_t>(i)].dry.size());
    const double wanted = config_.train.segment_seconds * config_.student.sample_rate;
    length_ = static_cast<int>(std::clamp<double>(wanted, 1.0, static_cast<double>(shortest)));
    block_ = config_.train.block > 0 ? std::min(config_.train.block, length_) : length_;
    double energy = 0.0, n = 0.0;
    for (const int i : training_) {
      n_segments_ += segments_of(i);
      const std::vector<float>& y = target(i);
      energy += energy_of(y.data(), static_cast<int>(y.size()));
      n += static_cast<double>(y.size());
    }
    if (energy == 0.0) throw Error("all that the student should learn is silence; is the wet audio what it should be?");
    const StudentTraining& t = config_.train;
    loss_ = Loss({t.mae, t.esr, t.pre_emphasis, t.energy_floor}, energy / n);
  }
  long size_of(int note) const { return static_cast<long>(data_.pairs[static_cast<std::size_t>(note)].dry.size()); }
  long segments_of(int note) const { return std::max(1L, size_of(note) / length_); }

  double energy_of(const float* y, int n) const {
    const double a = config_.train.pre_emphasis;
    double energy = 0.0, before = 0.0;
    for (int t = 0; t < n; ++t) {
      const double p = y[t] - a * before;
      energy += p * p;
      before = y[t];
    }
    return energy;
  }

  std::vector<Place> places(int epoch) const {
    std::vector<Place> all;
    const Rng rng{static_cast<std::uint64_t>(config_.train.seed), 2000003u + static_cast<std::uint64_t>(epoch)};
    for (const int note : training_) {
      const long n = size_of(note), k = segments_of(note);
      for (long i = 0; i < k; ++i) {
        const double middle =
            (static_cast<double>(i) + rng.uniform(all.size())) * static_cast<double>(n) / static_cast<double>(k);
        all.push_back({note, std::clamp(static_cast<long>(middle) - length_ / 2, 0L, n - length_)});
      }
    }
    std::vector<Place> shuffled;
    const auto order =
        permutation(static_cast<std::uint32_t>(all.size()),
                    {static_cast<std::uint64_t>(config_.train.seed), 1000003u + static_cast<std::uint64_t>(epoch)});
    for (const std::uint32_t i : order) shuffled.push_back(all[i]);
    return shuffled;
  }

  // The segments of one group, each behind its warm-up; where the note begins later, silence stands before it.
  void gather(const Place* first, int B) {
    const int warm_up = std::max(student_->geometry().warm_up, config_.train.burn_in);
    input_.clear();
    wanted_.clear();
    refs_.clear();
    for (int b = 0; b < B; ++b) {
      const auto [note, start] = first[b];
      const std::vector<float>& dry = data_.pairs[static_cast<std::size_t>(note)].dry;
      const long from = std::max(0L, start - warm_up);
      const auto begin = static_cast<std::int64_t>(input_.size());
      input_.insert(input_.end(), dry.begin() + from, dry.begin() + start + length_);
      wanted_.insert(wanted_.end(), target(note).begin() + from, target(note).begin() + start + length_);
      refs_.push_back({begin + start - from, begin, static_cast<std::int64_t>(input_.size())});
    }
  }
  Batch samples(int t0, int T) const {
    const bool recurrent = config_.student.kind == "lstm";
    return {input_.data(),
            wanted_.data(),
            refs_.data(),
            static_cast<int>(refs_.size()),
            T,
            t0,
            recurrent ? config_.train.burn_in : 0};
  }

  // One epoch, from the group where the counters stand. False: asked to stop.
  bool run_epoch() {
    Counters& c = counters();
    const std::vector<Place> places = this->places(c.epoch + 1);
    const int batch = config_.train.batch;
    while (c.step_in_epoch < groups_per_epoch()) {
      const auto first = static_cast<std::size_t>(c.step_in_epoch) * static_cast<std::size_t>(batch);
      const int B = static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(batch), places.size() - first));
      gather(places.data() + first, B);
      student_->begin(context_, samples(0, length_), loss_);
      for (int t0 = 0; t0 < length_; t0 += block_) step(t0, std::min(block_, length_ - t0), B);
      ++c.step_in_epoch;
      heard_ += static_cast<double>(B) * length_;
      if (seconds_since(last_shown_) > 0.2) show();
      const bool stop = options_.stop && options_.stop->load() && c.step_in_epoch < groups_per_epoch();
      if (stop) return false;
      if (seconds_since(last_save_) > options_.checkpoint_seconds && c.step_in_epoch < groups_per_epoch()) save();
    }
    end_epoch();
    return !(options_.stop && options_.stop->load());
  }

  void step(int t0, int T, int B) {
    Counters& c = counters();
    const Batch block = samples(t0, T);
    student_->gradient(context_, gradient_.data(), block, loss_);
    const double loss = student_->mean_loss(context_, block);
    const double norm = std::sqrt(squared_norm(context_, gradient_.data(), student_->n_floats()));
    if (!std::isfinite(loss) || !std::isfinite(norm)) {
      fail_at_nan(folder_, fmt::format("epoch {}, step {}", counters().epoch + 1, counters().step + 1), loss,
                  student_->params().specs(), gradient_);
    }
    const StudentTraining& t = config_.train;
    AdamStep adam;
    adam.lr = static_cast<float>(learning_rate(c.step));
    adam.beta1 = static_cast<float>(t.beta1);
    adam.beta2 = static_cast<float>(t.beta2);
    adam.epsilon = static_cast<float>(t.epsilon);
    adam.weight_decay = static_cast<float>(t.weight_decay);
    adam.gradient_scale = t.clip_norm > 0.0 && norm > t.clip_norm ? static_cast<float>(t.clip_norm / norm) : 1.0f;
    adam.step = ++c.step;
    ++c.total_steps;
    adam_step(context_, student_->data(), checkpoint_.m.data(), checkpoint_.v.data(), gradient_.data(),
              decay_mask_.data(), student_->n_floats(), adam);
    c.gradient_norm = norm;
    c.loss_sum += loss * B * T / length_;
  }

  void end_epoch() {
    Counters& c = counters();
    const double training = c.loss_sum / static_cast<double>(n_segments_), validation = validate();
    const double rate = learning_rate(c.step - 1);
    c.last_training = training;
    c.loss_sum = 0.0;
    c.step_in_epoch = 0;
    ++c.epoch;
    if (validation < c.best) {
      c.best = validation;
      c.bad_epochs = 0;
      checkpoint_.best.assign(student_->data(), student_->data() + student_->n_floats());
    } else {
      ++c.bad_epochs;
    }
    checkpoint_.metrics += fmt::format("{},{},{:.6g},{:.9g},{:.9g},{:.9g},{:.6g}\n", c.epoch, c.total_steps, rate,
                                       training, validation, c.best, c.gradient_norm);
    validation_now_ = validation;
    if (seconds_since(last_shown_) > 0.2) show();
    if (seconds_since(last_save_) > options_.checkpoint_seconds) save();
  }

  // Mean ESR over whole notes, each from rest.
  double validate() {
    const auto notes = measured_notes();
    const auto outputs = play_notes(context_, *student_, notes);
    double sum = 0.0;
    for (std::size_t i = 0; i < notes.size(); ++i) {
      const std::vector<float>& y = notes[i].taught->empty() ? *notes[i].wet : *notes[i].taught;
      double error = 0.0, energy = 0.0;
      for (std::size_t t = 0; t < y.size(); ++t) {
        const double e = static_cast<double>(y[t]) - static_cast<double>(outputs[i][t]);
        error += e * e;
        energy += static_cast<double>(y[t]) * static_cast<double>(y[t]);
      }
      sum += error / std::max(energy, 1e-12);
    }
    const double mean = sum / static_cast<double>(notes.size());
    if (!std::isfinite(mean)) {
      throw Error(
          "the validation error became {} in epoch {}; lower the learning rate (train.lr = {}); the last good "
          "checkpoint is kept",
          mean, counters().epoch + 1, config_.train.lr);
    }
    return mean;
  }

  const std::vector<int>& measured() const { return validation_.empty() ? training_ : validation_; }
  std::string measured_part() const { return validation_.empty() ? "train" : "validation"; }
  std::vector<MeasuredNote> measured_notes() const {
    std::vector<MeasuredNote> notes;
    for (const int i : measured()) {
      const Pair& p = data_.pairs[static_cast<std::size_t>(i)];
      notes.push_back({p.name, &p.dry, &p.wet, &taught_[static_cast<std::size_t>(i)]});
    }
    return notes;
  }

  double learning_rate(long step) const {
    const StudentTraining& t = config_.train;
    double scale = 1.0;
    if (t.schedule == "cosine") {
      const double last = std::max<double>(1.0, static_cast<double>(t.epochs * steps_per_epoch() - 1));
      const double along = std::min(1.0, static_cast<double>(step) / last);
      scale = t.final_factor + (1.0 - t.final_factor) * 0.5 * (1.0 + std::cos(3.141592653589793 * along));
    }
    if (step < t.warmup_steps) scale *= static_cast<double>(step + 1) / t.warmup_steps;
    return t.lr * scale;
  }

  void make_optimiser() {
    gradient_.assign(static_cast<std::size_t>(student_->n_floats()), 0.0f);
    decay_mask_ = gradient_;
    for (const ParamSpec& p : student_->params()) {
      std::fill_n(decay_mask_.begin() + p.offset, p.size, p.decay ? 1.0f : 0.0f);
    }
  }

  // As train/train.cpp: the checkpoint is written last and decides.
  void save() {
    checkpoint_.model.assign(student_->data(), student_->data() + student_->n_floats());
    folder_.write("metrics.csv", checkpoint_.metrics);
    const auto best = make_model(*model_config(config_.student));
    std::copy(checkpoint_.best.begin(), checkpoint_.best.end(), best->data());
    save_student(folder_.file("best.safetensors"), *best, lineage());
    write_checkpoint(folder_.file("checkpoint.safetensors"), checkpoint_, student_->params().specs());
    last_save_ = Clock::now();
  }

  std::map<std::string, std::string> lineage() {
    std::map<std::string, std::string> about{{"run_hash", checkpoint_.run_hash},
                                             {"seed", std::to_string(config_.train.seed)},
                                             {"train_config", to_json(describe(config_)).dump()},
                                             {"total_steps", std::to_string(counters().total_steps)},
                                             {"validation_esr", fmt::format("{}", counters().best)}};
    if (!config_.teacher.model.empty()) about["teacher"] = weights_identity(folder_.file(kTeacherFile));
    if (counters().finished) {
      about["identity"] = checkpoint_.run_hash + "/best";
      about["quality"] = to_json(quality_);
    }
    return about;
  }

  void write_result() {
    nlohmann::ordered_json result = {{"status", "finished"},
                                     {"run_hash", checkpoint_.run_hash},
                                     {"kind", config_.student.kind},
                                     {"sample_rate", config_.student.sample_rate},
                                     {"parameters", student_->n_parameters()},
                                     {"epochs", counters().epoch},
                                     {"steps", counters().total_steps},
                                     {"training_loss", counters().last_training},
                                     {"validation_esr", counters().best},
                                     {"quality", nlohmann::ordered_json::parse(to_json(quality_))},
                                     {"seed", config_.train.seed},
                                     {"isa", checkpoint_.isa},
                                     {"version", kVersion}};
    folder_.write("result.json", result.dump(2) + "\n");
  }

  void show() {
    last_shown_ = Clock::now();
    if (!options_.observer) return;
    const Counters& c = counters();
    DistillProgress p;
    p.epochs = config_.train.epochs;
    p.epoch = std::min(c.epoch + 1, p.epochs);
    const double in_epoch = static_cast<double>(std::min(n_segments_, c.step_in_epoch * config_.train.batch));
    p.loss = in_epoch > 0.0 ? c.loss_sum / in_epoch : c.last_training;
    p.validation = validation_now_;
    p.best = std::isfinite(c.best) ? c.best : std::numeric_limits<double>::quiet_NaN();
    const double seconds = std::max(1e-9, seconds_since(started_)), all = static_cast<double>(n_segments_) * p.epochs,
                 done = static_cast<double>(n_segments_) * c.epoch + in_epoch;
    p.seconds_per_second = heard_ / config_.student.sample_rate / seconds;
    p.fraction = done / all;
    p.seconds_left = heard_ > 0.0 ? seconds / (heard_ / length_) * (all - done) : 0.0;
    options_.observer->progress(p);
  }

  void say(const std::string& line) {
    folder_.log(line);
    if (options_.observer) options_.observer->message(line);
  }

  DistillOutcome outcome() const {
    const Counters& c = checkpoint_.counters;
    return {c.finished, folder_.path(), c.best, c.epoch, seconds_since(started_), quality_};
  }

  Counters& counters() { return checkpoint_.counters; }
  const Counters& counters() const { return checkpoint_.counters; }
  long groups_per_epoch() const { return (n_segments_ + config_.train.batch - 1) / config_.train.batch; }
  long steps_per_epoch() const { return groups_per_epoch() * ((length_ + block_ - 1) / block_); }

  DistillConfig config_;
  const DistillOptions& options_;
  RunFolder& folder_;
  ThreadPool pool_;
  Context context_;
  const Dataset& data_;
  std::vector<int> training_, validation_;
  std::vector<std::vector<float>> taught_;  // of each note; empty where the recording teaches
  std::unique_ptr<Model> student_;
  int length_ = 0, block_ = 0;
  long n_segments_ = 0;
  Loss loss_;
  std::vector<float> input_, wanted_;  // of the segments of a group, a note's border around each
  std::vector<FrameRef> refs_;
  std::vector<float> gradient_, decay_mask_;
  Checkpoint checkpoint_;
  Quality quality_;
  double validation_now_ = std::numeric_limits<double>::quiet_NaN(), heard_ = 0.0;  // samples, in this process
  Clock::time_point started_, last_save_, last_shown_;
};

}  // namespace

std::filesystem::path weights_of_teacher(const DistillConfig& config) {
  const std::filesystem::path given = config.teacher.model;
  return std::filesystem::is_directory(given) ? given / "best.safetensors" : given;
}

DistillConfig read_distill_config(const std::filesystem::path& folder) {
  DistillConfig config;
  Fields fields = describe(config);
  const auto path = folder / "config.toml";
  read_toml(fields, RunFolder::read(path), path.string());
  return config;
}

DistillOutcome distill(const DistillConfig& config, const Dataset& data, const Split& split,
                       const DistillOptions& options) {
  check(config, "config");
  RunFolder folder(options.folder);
  if (std::filesystem::exists(folder.file("checkpoint.safetensors"))) {
    throw Error("{}: holds a run already; go on with it by 'cafx resume {}', or choose another folder with --out",
                options.folder.string(), options.folder.string());
  }
  std::string teacher;
  if (!config.teacher.model.empty()) {
    const ModelFile file = load_model(config.teacher.model);  // refused here, before anything is written
    teacher = weights_identity(weights_of_teacher(config));
    folder.write(kTeacherFile, RunFolder::read(weights_of_teacher(config)));
  }
  DistillConfig resolved = config;
  const std::string data_hash = content_hash(data), hash = distill_hash(config, data_hash, teacher);
  folder.write("config.toml",
               fmt::format("# cafx {}   run {}   data {}\n{}", kVersion, hash, data_hash, to_toml(describe(resolved))));
  folder.write("split.json", split_json(data, split));
  Session session(config, data, split, options, folder);
  session.start(hash);
  return session.run();
}

DistillOutcome resume_distill(const DistillOptions& options) {
  const DistillConfig config = read_distill_config(options.folder);
  RunFolder folder(options.folder);
  const Checkpoint head = read_checkpoint_head(folder.file("checkpoint.safetensors"));
  const Dataset data = load_dataset(config.data, config.student.sample_rate);
  const Split split = split_dataset(data, config.data);
  const std::string teacher = config.teacher.model.empty() ? "" : weights_identity(folder.file(kTeacherFile));
  const std::string hash = distill_hash(config, content_hash(data), teacher);
  if (hash != head.run_hash) {
    throw Error(
        "{}: config.toml, the teacher or the audio has changed since this run began (run {} is now {}); put it "
        "back, or start a new run",
        options.folder.string(), head.run_hash, hash);
  }
  Session session(config, data, split, options, folder);
  session.restore();
  return session.run();
}

}  // namespace cafx
