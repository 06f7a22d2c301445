// host/train/cuda_stepper.h -- the steps of one GPU: of all of every batch, or as one rank of several of its share.
#pragma once

#include <chrono>
#include <cmath>
#include <deque>
#include <memory>
#include <vector>

#include "host/train/lockstep.h"
#include "host/train/step_parts.h"
#include "host/train/stepper.h"
#include "kernels/device/graph.h"
#include "kernels/device/members.h"

namespace cafx {

class CudaStepper : public Stepper {
 public:
  CudaStepper(const Context& context, Model& model, Places& places, const StepSettings& settings,
              const std::vector<float>& m, const std::vector<float>& v, const std::vector<float>& average,
              Exchange* exchange = nullptr)
      : context_(context),
        exchange_(exchange),
        ranks_(exchange ? exchange->ranks() : 1),
        model_(model),
        places_(places),
        settings_(settings),
        samples_(places.input()),
        decay_mask_(context, model.params().decay_mask()),
        m_(context, m),
        v_(context, v),
        average_(context, first_average(model, settings, average)),
        gradient_(context, static_cast<std::size_t>(exchange_padded(n_floats(), ranks_))),
        part_(context, settings.accumulate > 1 ? m.size() : 1),
        spans_(context, spans_of(model)),
        optimiser_scratch_(context, settings.optimiser->scratch(n_floats(), static_cast<int>(model.params().size()))),
        loss_(context, 1),
        state_(context, 1),
        refs_(context, static_cast<std::size_t>(settings.batch)),
        target_refs_(context, static_cast<std::size_t>(settings.batch)),
        knobs_(context, static_cast<std::size_t>(settings.batch) * std::max<std::size_t>(1, places.n_knobs())),
        order_(apart<std::uint32_t>(context, settings.updates() == 1 ? places.size() : n_updates() * batch_size())),
        table_(apart<StepScalars>(context, n_updates())),
        records_(apart<StepRecord>(context, n_updates())),
        scratch_(context, step_end_scratch()),
        shuffle_scratch_(
            apart<unsigned char>(context, cafx::shuffle_scratch(context, static_cast<std::uint32_t>(places.size())))),
        exchange_scratch_(context, exchange ? exchange_scratch(n_floats(), ranks_) : 1) {
    model_.params().upload(context_);
    // Places of no samples, where a rehearsal has more of them than the next step.
    refs_.fill_zero();
    target_refs_.fill_zero();
    model_.reserve(context_, places_at_once(settings_.batch, settings_.accumulate, ranks_), settings_.length,
                   settings_.loss);
  }

  ~CudaStepper() override {
    if (lockstep_) lockstep_->leave(*this);
  }

  void begin_epoch(const std::vector<std::uint32_t>& order, const std::vector<float>& rates, long updates_before,
                   long first) override {
    if (settings_.updates() == 1) {
      order_.upload(order.data(), order.size());
    } else {
      // step_begin counts updates, and every update of a step has the step's places.
      std::vector<std::uint32_t> of_updates(order_.size(), 0);
      for (std::size_t u = 0; u < n_updates(); ++u) {
        const std::size_t from = u / n_blocks() * batch_size(), n = std::min(batch_size(), order.size() - from);
        std::copy_n(order.begin() + static_cast<std::ptrdiff_t>(from), n,
                    of_updates.begin() + static_cast<std::ptrdiff_t>(u * batch_size()));
      }
      order_.upload(of_updates.data(), of_updates.size());
    }
    start_epoch(rates, updates_before, first);
  }

  void begin_epoch(Rng rng, const std::vector<float>& rates, long updates_before, long first) override {
    const auto n = static_cast<std::uint32_t>(places_.size());
    if (settings_.updates() > 1) return begin_epoch(permutation(n, rng), rates, updates_before, first);
    shuffle(context_, order_.data(), n, rng, shuffle_scratch_.data());
    start_epoch(rates, updates_before, first);
  }

  void set_places(const std::vector<FrameRef>& refs) override { places_.set(refs); }

  void start_epoch(const std::vector<float>& rates, long updates_before, long first) {
    std::vector<StepScalars> table;
    for (std::size_t i = 0; i < rates.size(); ++i) {
      const auto t = static_cast<double>(updates_before + static_cast<long>(i) + 1);
      const auto correction = [t](float beta) {
        return static_cast<float>(1.0 - std::pow(static_cast<double>(beta), t));
      };
      const AdamStep& adam = settings_.adam;
      table.push_back(
          {.lr = rates[i],
           .correction1 = correction(adam.beta1),
           .correction2 = correction(adam.beta2),
           .average = settings_.ema > 0 ? average_rate(settings_.ema, updates_before + static_cast<long>(i) + 1) : 0.0f,
           .beta1 = adam.beta1,
           .beta2 = adam.beta2,
           .epsilon = adam.epsilon,
           .weight_decay = adam.weight_decay,
           .clip_norm = static_cast<float>(settings_.clip_norm)});
    }
    table_.upload(table.data(), table.size());
    updates_before_ = updates_before;
    go_to(first * settings_.updates(), false);
    next_ = first;
  }

  void enqueue(long steps) override {
    if (lockstep_) {
      asked_ += steps;
      resting_ = false;
      return lockstep_->launch();
    }
    for (const int B : unrecorded(steps)) {
      rehearse(B);
      record(B);
    }
    launch(steps);
  }

  // The sizes of the next steps' batches that have no graph yet: two at most, as only an epoch's last differs.
  std::vector<int> unrecorded(long steps) const {
    std::vector<int> sizes;
    if (steps < 1) return sizes;
    for (const long step : {next_, next_ + steps - 1}) {
      const int B = places_of_step(step, places_.size(), settings_.batch);
      if (!(B == settings_.batch ? full_ : partial_) && (sizes.empty() || sizes[0] != B)) sizes.push_back(B);
    }
    return sizes;
  }

  std::vector<int> unrehearsed(long steps) {
    std::vector<int> sizes;
    for (const int B : unrecorded(steps)) {
      if (std::find(rehearsed_.begin(), rehearsed_.end(), B) == rehearsed_.end()) sizes.push_back(B);
    }
    return sizes;
  }

  // A gradient of B of the next step's places outside a graph, so that cuDNN's plans are made and kernels loaded; the
  // graph takes the step.
  void rehearse(int B) {
    for (int k = 0; k < settings_.updates(); ++k) {
      rows(B);
      enqueue_gradient(B, k);
    }
    synchronize(context_);
    rehearsed_.push_back(B);
  }

  // For one of several GPUs, once: all that comes after its gradient, on no gradient. The weights are put back.
  void rehearse_update() {
    gradient_.fill_zero();
    upload_state(0, true, 0);
    PartialSums none;
    enqueue_update(1, settings_.length, none);
    model_.params().upload(context_);
    synchronize(context_);
  }
  void rehearse_exchange() { exchange(settings_.batch, true); }

  void record(int B) {
    (B == settings_.batch ? full_ : partial_) = std::make_unique<Graph>(context_, [&] { enqueue_step(B); });
  }

  void enqueue_step(int B) {
    for (int k = 0; k < settings_.updates(); ++k) {
      rows(B);
      PartialSums sums;
      enqueue_gradient(B, k, &sums);
      if (exchange_) exchange(B, false);
      enqueue_update(B, settings_.block_size(k), sums);
    }
  }

  void launch(long steps) {
    if (steps < 1) return;
    for (long i = 0; i < steps; ++i, ++next_) (next_batch() == settings_.batch ? full_ : partial_)->launch();
    read_back(steps);
  }

  int next_batch() const { return places_of_step(next_, places_.size(), settings_.batch); }

  // Of the last `steps` steps.
  void read_back(long steps) {
    const long updates = steps * settings_.updates();
    under_way_.push_back({std::make_unique<Readback>(context_, records_.data() + next_ * settings_.updates() - updates,
                                                     sizeof(StepRecord) * static_cast<std::size_t>(updates)),
                          steps, updates, Clock::now()});
  }

  // As a member of a lockstep, which takes its steps: prepare(n), n times stepped() behind each, read_back(n).
  void join(Lockstep* lockstep) {
    lockstep_ = lockstep;
    samples_ = lockstep->samples(samples_);
  }
  long asked() const { return asked_; }
  bool under_step() const { return left_ > 0; }
  void with(std::size_t members) {
    side_by_side_ = static_cast<int>(members);
    most_side_by_side_ = std::max(most_side_by_side_, side_by_side_);
  }
  int side_by_side() const override { return side_by_side_; }
  int most_side_by_side() const override { return most_side_by_side_; }
  Closing closing(long steps_left) override { return lockstep_ ? lockstep_->closing_of(*this, steps_left) : Closing(); }
  void rest() override {
    resting_ = true;
    if (lockstep_) lockstep_->launch();
  }
  bool resting() const { return resting_; }
  // Whether something had to be rehearsed.
  bool prepare(long steps) {
    const std::vector<int> sizes = unrehearsed(steps);
    for (const int B : sizes) rehearse(B);
    left_ = steps;
    return !sizes.empty();
  }
  void stepped() {
    ++next_;
    --left_;
    --asked_;
  }

  // Whether collect(all) would return without waiting.
  bool ready(bool all) const {
    for (std::size_t i = 0; i + (all ? 0 : 1) < under_way_.size(); ++i) {
      if (!under_way_[i].readback->ready()) return false;
    }
    return true;
  }

  std::vector<StepRecord> collect(bool all) override {
    if (lockstep_ && all) lockstep_->launch_all(*this);
    std::vector<StepRecord> records;
    while (under_way_.size() > (all ? 0u : 1u)) {
      Portion& p = under_way_.front();
      const auto* from = static_cast<const StepRecord*>(p.readback->data());
      records.insert(records.end(), from, from + p.updates);
      // Portions of about a tenth of a second: short enough to stop soon, long enough to hide the host.
      const double seconds = std::chrono::duration<double>(Clock::now() - p.started).count();
      const double wanted = 0.1 * static_cast<double>(p.steps) / std::max(1e-6, seconds);
      portion_ = std::clamp(static_cast<long>(wanted * static_cast<double>(under_way_.size())), 1L, 256L);
      if (lockstep_) lockstep_->set_portion(portion_);
      under_way_.pop_front();
    }
    return records;
  }

  // Of a member none while the others have not taken up what it asked for.
  long portion() const override { return asked_ > 0 ? 0 : lockstep_ ? lockstep_->portion() : portion_; }

  void fetch(std::vector<float>& m, std::vector<float>& v) override {
    m.resize(m_.size());
    v.resize(v_.size());
    m_.download(m.data(), m.size());
    v_.download(v.data(), v.size());
    model_.params().download(context_);
  }

  std::vector<float> average() override {
    std::vector<float> average(average_.size());
    if (!average.empty()) average_.download(average.data(), average.size());
    return average;
  }

  std::vector<std::vector<float>> replicas() override {
    model_.params().download(context_);
    return {std::vector<float>(model_.params().data(), model_.params().data() + n_floats())};
  }

  // From the weights as they are: those before the first update that was not finite.
  std::vector<float> gradient_of(long update) override {
    const long step = update / settings_.updates();
    const int B = places_of_step(step, places_.size(), settings_.batch);
    for (int k = 0; k <= update % settings_.updates(); ++k) {
      go_to(step * settings_.updates() + k, true);
      rows(B);
      enqueue_gradient(B, k);
    }
    if (exchange_) exchange(B, true);
    std::vector<float> gradient(static_cast<std::size_t>(n_floats()));
    gradient_.download(gradient.data(), gradient.size());
    return gradient;
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Portion {
    std::unique_ptr<Readback> readback;
    long steps, updates;
    Clock::time_point started;
  };

  // As long as an epoch, which members' may differ in.
  template <class T>
  static DeviceArray<T> apart(const Context& context, std::size_t n) {
    DeviceArray<T> made;
    allocate_apart(context, [&] { made = DeviceArray<T>(context, n); });
    return made;
  }

  long n_floats() const { return model_.params().n_floats(); }
  std::size_t batch_size() const { return static_cast<std::size_t>(settings_.batch); }
  std::size_t n_blocks() const { return static_cast<std::size_t>(settings_.updates()); }
  std::size_t n_updates() const { return (places_.size() + batch_size() - 1) / batch_size() * n_blocks(); }

  // The places of a batch of B that rank r takes: [first_of(r), first_of(r + 1)).
  int first_of(int B, int r) const { return static_cast<int>(static_cast<long>(r) * B / ranks_); }
  int share(int B, int r) const { return first_of(B, r + 1) - first_of(B, r); }
  int rank() const { return exchange_ ? exchange_->rank() : 0; }

  // Whether the step's losses are added up before its end: where they come in parts.
  bool sums_losses() const { return exchange_ || settings_.accumulate > 1; }

  // The places of the update that comes next. Each step's end does the same for the next one.
  void begin() { step_begin(context_, state_.data(), refs_.data(), target_refs_.data()); }
  // What those places have beside their samples, in a step of B.
  void rows(int B) {
    if (places_.n_knobs() == 0 || share(B, rank()) == 0) return;
    step_rows(context_, state_.data(), knobs_.data(), static_cast<int>(places_.n_knobs()), first_of(B, rank()),
              share(B, rank()), settings_.batch);
  }

  // Before update `index` of the epoch; skip: nothing is updated.
  void go_to(long index, bool skip) {
    upload_state(index, skip, static_cast<int>(places_.size()));
    begin();
  }
  void upload_state(long index, bool skip, int places) {
    const auto distance = [&](const float* to) {  // over any memory, in samples
      return (reinterpret_cast<std::intptr_t>(to) - reinterpret_cast<std::intptr_t>(samples_)) /
             static_cast<std::intptr_t>(sizeof(float));
    };
    const StepState state{.index = index,
                          .scalars = {},
                          .gradient_scale = 1.0f,
                          .skip = skip,
                          .from = {.table = table_.data(),
                                   .order = order_.data(),
                                   .all = places_.refs(),
                                   .rows_of_all = places_.knobs(0),
                                   .records = records_.data(),
                                   .to_input = distance(places_.input()),
                                   .to_target = distance(places_.target()),
                                   .seed = settings_.seed,
                                   .updates_before = static_cast<std::uint64_t>(updates_before_),
                                   .places = places,
                                   .batch = settings_.batch,
                                   .updates = settings_.updates(),
                                   .rank = rank(),
                                   .ranks = ranks_}};
    state_.upload(&state, 1);
  }

  // Gradient and sum of the losses of block k of this GPU's share, whose places begin() chose. sums: where what is left
  // to add to the gradient may be left to enqueue_update.
  void enqueue_gradient(int B, int k, PartialSums* sums = nullptr) {
    const int n = share(B, rank());
    if (n == 0) {
      gradient_.fill_zero();
      loss_.fill_zero();
      return;
    }
    const DropoutDraw draw{.place = first_of(B, rank()), .from = &state_.data()->dropout};
    Context context = context_;
    if (!exchange_ && settings_.accumulate == 1) context.sums = sums;
    gradient_of_block(
        context, model_,
        {samples_, samples_, refs_.data(), target_refs_.data(), places_.n_knobs() > 0 ? knobs_.data() : nullptr,
         places_.n_knobs()},
        settings_, gradient_.data(), part_.data(), n, k,
        [&](int i, int from, int to) {
          if (sums_losses()) sum_losses(context_, loss_.data(), model_.losses(), to - from, i > 0);
        },
        model_.config().dropout_rate() > 0.0 ? &draw : nullptr);
  }

  // Of the shares' gradients and losses, those of the batch, on every GPU.
  void exchange(int B, bool first) {
    std::vector<int> shares;
    for (int r = 0; r < ranks_; ++r) shares.push_back(share(B, r));
    exchange_->sum(context_, gradient_.data(), loss_.data(), shares, n_floats(), exchange_scratch_.data(), first);
  }

  // From the gradient of a block of T samples of a batch of B to the weights.
  void enqueue_update(int B, int T, PartialSums& sums) {
    step_end(context_, state_.data(), refs_.data(), target_refs_.data(), sums_losses() ? loss_.data() : model_.losses(),
             sums_losses() ? 1 : B, gradient_.data(), n_floats(), sums, scratch_.data(), B, T);
    settings_.optimiser->step(context_, {.params = model_.params().on(context_),
                                         .m = m_.data(),
                                         .v = v_.data(),
                                         .gradient = gradient_.data(),
                                         .decay_mask = decay_mask_.data(),
                                         .tensors = spans_.data(),
                                         .n_tensors = static_cast<int>(spans_.size()),
                                         .n = n_floats(),
                                         .scratch = optimiser_scratch_.data(),
                                         .state = state_.data()});
    model_.project(context_);
    if (average_.size() > 0) {
      average_step(context_, average_.data(), model_.params().on(context_), n_floats(), state_.data());
    }
  }

  const Context& context_;
  Exchange* exchange_;
  int ranks_;
  Model& model_;
  Places& places_;
  StepSettings settings_;
  const float* samples_;  // from where a graph counts samples; members count from those of one of them
  DeviceArray<float> decay_mask_, m_, v_, average_, gradient_, part_;
  DeviceArray<TensorSpan> spans_;
  DeviceArray<unsigned char> optimiser_scratch_;
  DeviceArray<double> loss_;
  DeviceArray<StepState> state_;
  DeviceArray<FrameRef> refs_, target_refs_;
  DeviceArray<float> knobs_;
  DeviceArray<std::uint32_t> order_;
  DeviceArray<StepScalars> table_;
  DeviceArray<StepRecord> records_;
  DeviceArray<unsigned char> scratch_, shuffle_scratch_, exchange_scratch_;
  std::unique_ptr<Graph> full_, partial_;
  std::deque<Portion> under_way_;
  long next_ = 0, portion_ = 1, updates_before_ = 0;
  Lockstep* lockstep_ = nullptr;
  bool resting_ = false;
  std::vector<int> rehearsed_;  // sizes of batches
  int side_by_side_ = 1, most_side_by_side_ = 1;
  long asked_ = 0, left_ = 0;  // steps: that were asked for and are not launched; of those that are being launched
};

}  // namespace cafx
