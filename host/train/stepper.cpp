#include "host/train/stepper.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <deque>
#include <thread>

#include "kernels/base/error.h"
#include "kernels/device/graph.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx {

namespace {

int frames_of_step(long step, std::size_t n_frames, int batch) {
  return static_cast<int>(std::min<long>(batch, static_cast<long>(n_frames) - step * batch));
}

// Frames [first, last) of a batch of n, for each part of it; parts differ by one frame at most.
template <class Body>
void over_parts(int n, int parts, Body body) {
  parts = std::min(parts, n);
  for (int k = 0; k < parts; ++k) {
    const auto first = static_cast<int>(static_cast<long>(k) * n / parts);
    body(k, first, static_cast<int>((static_cast<long>(k) + 1) * n / parts));
  }
}

std::vector<TensorSpan> spans_of(const CafxModel& model) {
  std::vector<TensorSpan> spans;
  for (const ParamSpec& p : model.params()) spans.push_back({p.offset, p.size});
  return spans;
}

class CpuStepper : public Stepper {
 public:
  CpuStepper(const Context& context, CafxModel& model, const DeviceFrames& frames, const StepSettings& settings,
             const std::vector<float>& decay_mask, const std::vector<float>& m, const std::vector<float>& v)
      : context_(context),
        model_(model),
        frames_(frames),
        settings_(settings),
        decay_mask_(decay_mask),
        m_(m),
        v_(v),
        spans_(spans_of(model)) {
    gradient_.assign(static_cast<std::size_t>(model.n_floats()), 0.0f);
    if (settings.accumulate > 1) part_ = gradient_;
    if (settings.lamb) scratch_.resize(lamb_scratch(model.n_floats(), static_cast<int>(spans_.size())));
  }

  void begin_epoch(const std::vector<std::uint32_t>& order, const std::vector<float>& rates, long steps_before,
                   long first) override {
    order_ = order;
    rates_ = rates;
    steps_before_ = steps_before;
    next_ = first;
  }

  void enqueue(long steps) override {
    for (; steps > 0; --steps, ++next_) step();
  }

  std::vector<StepRecord> collect(bool) override { return std::move(records_); }
  long portion() const override { return 1; }

  void fetch(std::vector<float>& m, std::vector<float>& v) override {
    m = m_;
    v = v_;
  }

  std::vector<std::vector<float>> replicas() override {
    return {std::vector<float>(model_.data(), model_.data() + model_.n_floats())};
  }

  std::vector<float> gradient_of(long step) override {
    gradient(step);
    return gradient_;
  }

 private:
  double gradient(long step) {
    refs_.clear();
    const long first = step * settings_.batch, n = frames_of_step(step, order_.size(), settings_.batch);
    for (long i = first; i < first + n; ++i) refs_.push_back(frames_.refs()[order_[static_cast<std::size_t>(i)]]);
    const auto part = [&](float* gradient, int from, int to) {
      return model_.loss_and_gradient(context_, gradient,
                                      {frames_.input(), frames_.target(), refs_.data() + from, to - from});
    };
    if (settings_.accumulate == 1) return part(gradient_.data(), 0, static_cast<int>(n));
    double loss = 0.0;
    std::fill(gradient_.begin(), gradient_.end(), 0.0f);
    over_parts(static_cast<int>(n), settings_.accumulate, [&](int, int from, int to) {
      const double share = static_cast<double>(to - from) / static_cast<double>(n);
      loss += share * part(part_.data(), from, to);
      add_scaled(context_, gradient_.data(), static_cast<float>(share), part_.data(), model_.n_floats());
    });
    return loss;
  }

  void step() {
    const double loss = gradient(next_), norm = std::sqrt(squared_norm(context_, gradient_.data(), model_.n_floats()));
    records_.push_back({loss, norm});
    if (!std::isfinite(loss) || !std::isfinite(norm)) return;
    AdamStep adam = settings_.adam;
    adam.lr = rates_[static_cast<std::size_t>(next_)];
    adam.gradient_scale =
        settings_.clip_norm > 0.0 && norm > settings_.clip_norm ? static_cast<float>(settings_.clip_norm / norm) : 1.0f;
    adam.step = steps_before_ + next_ + 1;
    if (settings_.lamb) {
      lamb_step(context_, model_.data(), m_.data(), v_.data(), gradient_.data(), decay_mask_.data(), spans_.data(),
                static_cast<int>(spans_.size()), model_.n_floats(), scratch_.data(), adam);
    } else {
      adam_step(context_, model_.data(), m_.data(), v_.data(), gradient_.data(), decay_mask_.data(), model_.n_floats(),
                adam);
    }
    model_.project(context_);
  }

  const Context& context_;
  CafxModel& model_;
  const DeviceFrames& frames_;
  StepSettings settings_;
  std::vector<float> decay_mask_, m_, v_, gradient_, part_, rates_;
  std::vector<TensorSpan> spans_;
  std::vector<unsigned char> scratch_;
  std::vector<std::uint32_t> order_;
  std::vector<FrameRef> refs_;
  std::vector<StepRecord> records_;
  long steps_before_ = 0, next_ = 0;
};

// One GPU: all of every batch, or as one rank of several its share.
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
        exchange_scratch_(context, exchange ? exchange_scratch(model.n_floats(), ranks_) : 1) {
    model_.upload(context_);
    model_.reserve(context_, frames_at_once(settings_.batch, settings_.accumulate, ranks_));
  }

  void begin_epoch(const std::vector<std::uint32_t>& order, const std::vector<float>& rates, long steps_before,
                   long first) override {
    std::vector<StepScalars> table;
    for (std::size_t i = 0; i < rates.size(); ++i) {
      const auto t = static_cast<double>(steps_before + static_cast<long>(i) + 1);
      const auto correction = [t](float beta) {
        return static_cast<float>(1.0 - std::pow(static_cast<double>(beta), t));
      };
      table.push_back({rates[i], correction(settings_.adam.beta1), correction(settings_.adam.beta2)});
    }
    order_.upload(order.data(), order.size());
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
  CafxBatch batch(int from, int to) { return {frames_.input(), frames_.target(), refs_.data() + from, to - from}; }

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
      model_.enqueue_gradient(context_, gradient_.data(), batch(0, n));
      sum_losses(context_, loss_.data(), model_.losses(), n, false);
      return;
    }
    gradient_.fill_zero();
    over_parts(n, settings_.accumulate, [&](int part, int from, int to) {
      model_.enqueue_gradient(context_, part_.data(), batch(from, to));
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
  DeviceArray<unsigned char> scratch_, exchange_scratch_;
  std::unique_ptr<Graph> full_, partial_;
  std::deque<Portion> under_way_;
  long next_ = 0, collected_ = 0, portion_ = 1;
};

// Several GPUs, each a CudaStepper in its own thread. What is rehearsed ends on all before the next thing begins: loading
// a kernel may wait for the device, and must not while another rank waits for this one inside NCCL.
class TeamStepper : public Stepper {
 public:
  TeamStepper(GpuTeam& team, CafxModel& model, const DeviceFrames& frames, const StepSettings& settings,
              const std::vector<float>& decay_mask, const std::vector<float>& m, const std::vector<float>& v)
      : team_(team), ranks_(static_cast<std::size_t>(team.size())) {
    team_.run([&](int r) {
      Rank& rank = at(r);
      if (r > 0) {
        rank.model = std::make_unique<CafxModel>(model.config(), model.form());
        std::copy_n(model.data(), model.n_floats(), rank.model->data());
        rank.frames = std::make_unique<DeviceFrames>(frames.on(team_.context(r)));
      }
      rank.stepper =
          std::make_unique<CudaStepper>(team_.context(r), r > 0 ? *rank.model : model, r > 0 ? *rank.frames : frames,
                                        settings, decay_mask, m, v, &team_.exchange(r));
      rank.stepper->rehearse_update();
    });
  }

  ~TeamStepper() override {
    try {
      team_.run([&](int r) { at(r) = {}; });
    } catch (...) {
      // After a failure no thread is left to free it in; the process ends.
      for (Rank& r : ranks_)
        static_cast<void>(r.stepper.release()), static_cast<void>(r.model.release()),
            static_cast<void>(r.frames.release());
    }
  }

  void begin_epoch(const std::vector<std::uint32_t>& order, const std::vector<float>& rates, long steps_before,
                   long first) override {
    team_.run([&](int r) { at(r).stepper->begin_epoch(order, rates, steps_before, first); });
  }

  void enqueue(long steps) override {
    for (const int B : at(0).stepper->unrecorded(steps)) {
      team_.run([&](int r) { at(r).stepper->rehearse(B); });
      if (!exchanged_) team_.run([&](int r) { at(r).stepper->rehearse_exchange(); });
      exchanged_ = true;
      team_.run([&](int r) { at(r).stepper->record(B); });
    }
    team_.run([&](int r) { at(r).stepper->launch(steps); });
  }

  // Polls: a GPU that is lost must not leave the others, and this, waiting for it.
  std::vector<StepRecord> collect(bool all) override {
    wait(all);
    std::vector<StepRecord> records = at(0).stepper->collect(all);
    for (int r = 1; r < team_.size(); ++r) {
      const std::vector<StepRecord> same = at(r).stepper->collect(all);
      CAFX_CHECK(same.size() == records.size(), r, same.size(), records.size());
      for (std::size_t i = 0; i < same.size(); ++i) {
        CAFX_CHECK(std::memcmp(&same[i], &records[i], sizeof same[i]) == 0, r, i, same[i].norm, records[i].norm);
      }
    }
    return records;
  }

  long portion() const override { return ranks_[0].stepper->portion(); }

  void fetch(std::vector<float>& m, std::vector<float>& v) override {
    team_.run([&](int r) {
      if (r == 0) at(0).stepper->fetch(m, v);
    });
  }

  std::vector<std::vector<float>> replicas() override {
    std::vector<std::vector<float>> all(ranks_.size());
    team_.run([&](int r) { all[static_cast<std::size_t>(r)] = at(r).stepper->replicas()[0]; });
    return all;
  }

  std::vector<float> gradient_of(long step) override {
    std::vector<float> gradient;
    team_.run([&](int r) {
      std::vector<float> mine = at(r).stepper->gradient_of(step);
      if (r == 0) gradient = std::move(mine);
    });
    return gradient;
  }

 private:
  struct Rank {
    std::unique_ptr<CafxModel> model;
    std::unique_ptr<DeviceFrames> frames;
    std::unique_ptr<CudaStepper> stepper;  // first to go: it uses the others
  };
  Rank& at(int r) { return ranks_[static_cast<std::size_t>(r)]; }

  void wait(bool all) {
    try {
      for (;;) {
        bool ready = true;
        for (int r = 0; r < team_.size(); ++r) {
          try {
            ready = at(r).stepper->ready(all) && ready;
            const std::string failure = team_.exchange(r).failure();
            if (!failure.empty()) throw Error("{}", failure);
          } catch (const Error& e) {
            throw Error("GPU {}: {}", team_.gpu(r), e.what());
          }
        }
        if (ready) return;
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    } catch (...) {
      team_.abort();
      throw;
    }
  }

  GpuTeam& team_;
  std::vector<Rank> ranks_;
  bool exchanged_ = false;
};

}  // namespace

DeviceFrames::DeviceFrames(const Context& context, const std::vector<float>& input, const std::vector<float>& target,
                           const std::vector<FrameRef>& refs)
    : input_(input.data()),
      target_(target.data()),
      refs_(refs.data()),
      n_(refs.size()),
      host_input_(&input),
      host_target_(&target),
      host_refs_(&refs) {
  if (context.device == Device::kCpu) return;
  own_input_ = DeviceArray<float>(context, input);
  if (&input != &target) own_target_ = DeviceArray<float>(context, target);
  own_refs_ = DeviceArray<FrameRef>(context, refs);
  input_ = own_input_.data();
  target_ = &input != &target ? own_target_.data() : input_;
  refs_ = own_refs_.data();
}

std::unique_ptr<Stepper> make_stepper(const Context& context, CafxModel& model, const DeviceFrames& frames,
                                      const StepSettings& settings, const std::vector<float>& decay_mask,
                                      const std::vector<float>& m, const std::vector<float>& v) {
  if (context.device == Device::kCpu) {
    return std::make_unique<CpuStepper>(context, model, frames, settings, decay_mask, m, v);
  }
  return std::make_unique<CudaStepper>(context, model, frames, settings, decay_mask, m, v);
}

std::unique_ptr<Stepper> make_stepper(GpuTeam& team, CafxModel& model, const DeviceFrames& frames,
                                      const StepSettings& settings, const std::vector<float>& decay_mask,
                                      const std::vector<float>& m, const std::vector<float>& v) {
  return std::make_unique<TeamStepper>(team, model, frames, settings, decay_mask, m, v);
}

}  // namespace cafx
