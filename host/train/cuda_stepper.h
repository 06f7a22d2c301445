// host/train/cuda_stepper.h -- the steps of one GPU: of all of every batch, or as one rank of several of its share.
#pragma once

#include <chrono>
#include <cmath>
#include <deque>
#include <memory>
#include <vector>

#include "host/train/step_parts.h"
#include "host/train/stepper.h"
#include "kernels/device/graph.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx {

class CudaStepper : public Stepper {
 public:
  CudaStepper(const Context& context, CafxModel& model, const DeviceFrames& frames, const StepSettings& settings,
              const std::vector<float>& decay_mask, const std::vector<float>& m, const std::vector<float>& v,
              Exchange* exchange = nullptr)
      : context_(context),
        exchange_(exchange),
        ranks_(exchange ? exchange->ranks() : 1),
        model_(model),
        frames_(frames),
        settings_(settings),
        decay_mask_(context, decay_mask),
        m_(context, m),
        v_(context, v),
        gradient_(context, static_cast<std::size_t>(exchange_padded(model.n_floats(), ranks_))),
        part_(context, settings.accumulate > 1 ? m.size() : 1),
        spans_(context, spans_of(model)),
        lamb_(context, settings.lamb ? lamb_scratch(model.n_floats(), static_cast<int>(model.params().size())) : 1),
        loss_(context, 1),
        state_(context, 1),
        norm_(context, 1),
        refs_(context, static_cast<std::size_t>(settings.batch)),
        order_(context, frames.size()),
        table_(context, n_steps()),
        records_(context, n_steps()),
        scratch_(context, squared_norm_scratch(context, model.n_floats())),
        shuffle_scratch_(context, cafx::shuffle_scratch(context, static_cast<std::uint32_t>(frames.size()))),
        exchange_scratch_(context, exchange ? exchange_scratch(model.n_floats(), ranks_) : 1) {
    model_.upload(context_);
    model_.reserve(context_, frames_at_once(settings_.batch, settings_.accumulate, ranks_), model.geometry().frame,
                   Loss());
  }

  void begin_epoch(const std::vector<std::uint32_t>& order, const std::vector<float>& rates, long steps_before,
                   long first) override {
    order_.upload(order.data(), order.size());
    start_epoch(rates, steps_before, first);
  }

  void begin_epoch(Rng rng, const std::vector<float>& rates, long steps_before, long first) override {
    shuffle(context_, order_.data(), static_cast<std::uint32_t>(frames_.size()), rng, shuffle_scratch_.data());
    start_epoch(rates, steps_before, first);
  }

  void start_epoch(const std::vector<float>& rates, long steps_before, long first) {
    std::vector<StepScalars> table;
    for (std::size_t i = 0; i < rates.size(); ++i) {
      const auto t = static_cast<double>(steps_before + static_cast<long>(i) + 1);
      const auto correction = [t](float beta) {
        return static_cast<float>(1.0 - std::pow(static_cast<double>(beta), t));
      };
      table.push_back({rates[i], correction(settings_.adam.beta1), correction(settings_.adam.beta2)});
    }
    table_.upload(table.data(), table.size());
    const StepState state{first, {}, 1.0f, 0};
    state_.upload(&state, 1);
    next_ = collected_ = first;
  }

  void enqueue(long steps) override {
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
      const int B = frames_of_step(step, frames_.size(), settings_.batch);
      if (!(B == settings_.batch ? full_ : partial_) && (sizes.empty() || sizes[0] != B)) sizes.push_back(B);
    }
    return sizes;
  }

  // A step's gradient outside a graph, so that cuDNN's plans are made and kernels loaded; the graph takes the step.
  void rehearse(int B) {
    begin(B);
    enqueue_gradient(B);
    synchronize(context_);
  }

  // For one of several GPUs, once: all that comes after its gradient, on no gradient. The weights are put back.
  void rehearse_update() {
    gradient_.fill_zero();
    const StepState state{0, {}, 1.0f, 1};
    state_.upload(&state, 1);
    enqueue_update(1);
    model_.upload(context_);
    synchronize(context_);
  }
  void rehearse_exchange() { exchange(settings_.batch, true); }

  void record(int B) {
    (B == settings_.batch ? full_ : partial_) = std::make_unique<Graph>(context_, [&] {
      begin(B);
      enqueue_gradient(B);
      if (exchange_) exchange(B, false);
      enqueue_update(B);
    });
  }

  void launch(long steps) {
    if (steps < 1) return;
    const long first = next_;
    for (; steps > 0; --steps, ++next_) {
      (frames_of_step(next_, frames_.size(), settings_.batch) == settings_.batch ? full_ : partial_)->launch();
    }
    const auto at = static_cast<std::size_t>(first);
    under_way_.push_back({std::make_unique<Readback>(context_, records_.data() + at,
                                                     sizeof(StepRecord) * static_cast<std::size_t>(next_ - first)),
                          next_ - first, Clock::now()});
  }

  // Whether collect(all) would return without waiting.
  bool ready(bool all) const {
    for (std::size_t i = 0; i + (all ? 0 : 1) < under_way_.size(); ++i) {
      if (!under_way_[i].readback->ready()) return false;
    }
    return true;
  }

  std::vector<StepRecord> collect(bool all) override {
    std::vector<StepRecord> records;
    while (under_way_.size() > (all ? 0u : 1u)) {
      Portion& p = under_way_.front();
      const auto* from = static_cast<const StepRecord*>(p.readback->data());
      records.insert(records.end(), from, from + p.steps);
      // Portions of about a tenth of a second: short enough to stop soon, long enough to hide the host.
      const double seconds = std::chrono::duration<double>(Clock::now() - p.started).count();
      const double wanted = 0.1 * static_cast<double>(p.steps) / std::max(1e-6, seconds);
      portion_ = std::clamp(static_cast<long>(wanted * static_cast<double>(under_way_.size())), 1L, 256L);
      under_way_.pop_front();
    }
    collected_ += static_cast<long>(records.size());
    return records;
  }

  long portion() const override { return portion_; }

  void fetch(std::vector<float>& m, std::vector<float>& v) override {
    m.resize(m_.size());
    v.resize(v_.size());
    m_.download(m.data(), m.size());
    v_.download(v.data(), v.size());
    model_.download(context_);
  }

  std::vector<std::vector<float>> replicas() override {
    model_.download(context_);
    return {std::vector<float>(model_.data(), model_.data() + model_.n_floats())};
  }

  std::vector<float> gradient_of(long step) override {
    const StepState state{step, {}, 1.0f, 1};
    state_.upload(&state, 1);
    const int B = frames_of_step(step, frames_.size(), settings_.batch);
    begin(B);
    enqueue_gradient(B);
    if (exchange_) exchange(B, true);
    std::vector<float> gradient(static_cast<std::size_t>(model_.n_floats()));
    gradient_.download(gradient.data(), gradient.size());
    return gradient;
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Portion {
    std::unique_ptr<Readback> readback;
    long steps;
    Clock::time_point started;
  };

  std::size_t n_steps() const {
    return (frames_.size() + static_cast<std::size_t>(settings_.batch) - 1) / static_cast<std::size_t>(settings_.batch);
  }
  Batch batch(int from, int to) {
    return {frames_.input(), frames_.target(), refs_.data() + from, to - from, model_.geometry().frame};
  }

  // The frames of a batch of B that rank r takes: [first_of(r), first_of(r + 1)).
  int first_of(int B, int r) const { return static_cast<int>(static_cast<long>(r) * B / ranks_); }
  int share(int B, int r) const { return first_of(B, r + 1) - first_of(B, r); }
  int rank() const { return exchange_ ? exchange_->rank() : 0; }

  void begin(int B) {
    step_begin(context_, state_.data(), table_.data(), refs_.data(), frames_.refs(),
               order_.data() + first_of(B, rank()), share(B, rank()), settings_.batch);
  }

  // Gradient and sum of the losses of this GPU's share, whose frames begin() chose.
  void enqueue_gradient(int B) {
    const int n = share(B, rank());
    if (n == 0) {
      gradient_.fill_zero();
      loss_.fill_zero();
      return;
    }
    if (settings_.accumulate == 1) {
      model_.gradient(context_, gradient_.data(), batch(0, n), Loss());
      sum_losses(context_, loss_.data(), model_.losses(), n, false);
      return;
    }
    gradient_.fill_zero();
    over_parts(n, settings_.accumulate, [&](int part, int from, int to) {
      model_.gradient(context_, part_.data(), batch(from, to), Loss());
      sum_losses(context_, loss_.data(), model_.losses(), to - from, part > 0);
      add_scaled(context_, gradient_.data(), static_cast<float>(to - from) / static_cast<float>(n), part_.data(),
                 model_.n_floats());
    });
  }

  // Of the shares' gradients and losses, those of the batch, on every GPU.
  void exchange(int B, bool first) {
    std::vector<int> frames;
    for (int r = 0; r < ranks_; ++r) frames.push_back(share(B, r));
    exchange_->sum(context_, gradient_.data(), loss_.data(), frames, model_.n_floats(), exchange_scratch_.data(),
                   first);
  }

  // From the gradient of a batch of B to the weights.
  void enqueue_update(int B) {
    squared_norm(context_, norm_.data(), gradient_.data(), model_.n_floats(), scratch_.data(), scratch_.size());
    step_end(context_, state_.data(), records_.data(), loss_.data(), norm_.data(), B, model_.config().frame,
             static_cast<float>(settings_.clip_norm));
    if (settings_.lamb) {
      lamb_step(context_, model_.weights(context_), m_.data(), v_.data(), gradient_.data(), decay_mask_.data(),
                spans_.data(), static_cast<int>(spans_.size()), model_.n_floats(), lamb_.data(), settings_.adam,
                state_.data());
    } else {
      adam_step(context_, model_.weights(context_), m_.data(), v_.data(), gradient_.data(), decay_mask_.data(),
                model_.n_floats(), settings_.adam, state_.data());
    }
    model_.project(context_);
  }

  const Context& context_;
  Exchange* exchange_;
  int ranks_;
  CafxModel& model_;
  const DeviceFrames& frames_;
  StepSettings settings_;
  DeviceArray<float> decay_mask_, m_, v_, gradient_, part_;
  DeviceArray<TensorSpan> spans_;
  DeviceArray<unsigned char> lamb_;
  DeviceArray<double> loss_;
  DeviceArray<StepState> state_;
  DeviceArray<double> norm_;
  DeviceArray<FrameRef> refs_;
  DeviceArray<std::uint32_t> order_;
  DeviceArray<StepScalars> table_;
  DeviceArray<StepRecord> records_;
  DeviceArray<unsigned char> scratch_, shuffle_scratch_, exchange_scratch_;
  std::unique_ptr<Graph> full_, partial_;
  std::deque<Portion> under_way_;
  long next_ = 0, collected_ = 0, portion_ = 1;
};

}  // namespace cafx
