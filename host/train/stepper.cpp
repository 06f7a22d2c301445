#include "host/train/stepper.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>

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

class CudaStepper : public Stepper {
 public:
  CudaStepper(const Context& context, CafxModel& model, const DeviceFrames& frames, const StepSettings& settings,
              const std::vector<float>& decay_mask, const std::vector<float>& m, const std::vector<float>& v)
      : context_(context),
        model_(model),
        frames_(frames),
        settings_(settings),
        decay_mask_(context, decay_mask),
        m_(context, m),
        v_(context, v),
        gradient_(context, m.size()),
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
        scratch_(context, squared_norm_scratch(context, model.n_floats())) {
    model_.upload(context_);
    model_.reserve(context_, part_size(settings_.batch));
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
    const long first = next_;
    for (; steps > 0; --steps, ++next_) {
      const int B = frames_of_step(next_, frames_.size(), settings_.batch);
      std::unique_ptr<Graph>& graph = B == settings_.batch ? full_ : partial_;
      if (!graph) {
        // Once outside a graph, so that cuDNN's plans are made; the step itself is taken by the graph.
        begin(B);
        enqueue_gradient(B);
        graph = std::make_unique<Graph>(context_, [&] { enqueue_step(B); });
      }
      graph->launch();
    }
    const auto at = static_cast<std::size_t>(first);
    under_way_.push_back({std::make_unique<Readback>(context_, records_.data() + at,
                                                     sizeof(StepRecord) * static_cast<std::size_t>(next_ - first)),
                          next_ - first, Clock::now()});
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

  std::vector<float> gradient_of(long step) override {
    const StepState state{step, {}, 1.0f, 1};
    state_.upload(&state, 1);
    const int B = frames_of_step(step, frames_.size(), settings_.batch);
    begin(B);
    enqueue_gradient(B);
    std::vector<float> gradient(gradient_.size());
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
  int part_size(int B) const { return (B + settings_.accumulate - 1) / settings_.accumulate; }
  CafxBatch batch(int from, int to) { return {frames_.input(), frames_.target(), refs_.data() + from, to - from}; }

  void begin(int B) {
    step_begin(context_, state_.data(), table_.data(), refs_.data(), frames_.refs(), order_.data(), B, settings_.batch);
  }

  // Gradient and sum of the losses of the B frames that begin() chose.
  void enqueue_gradient(int B) {
    if (settings_.accumulate == 1) {
      model_.enqueue_gradient(context_, gradient_.data(), batch(0, B));
      sum_losses(context_, loss_.data(), model_.losses(), B, false);
      return;
    }
    gradient_.fill_zero();
    over_parts(B, settings_.accumulate, [&](int part, int from, int to) {
      model_.enqueue_gradient(context_, part_.data(), batch(from, to));
      sum_losses(context_, loss_.data(), model_.losses(), to - from, part > 0);
      add_scaled(context_, gradient_.data(), static_cast<float>(to - from) / static_cast<float>(B), part_.data(),
                 model_.n_floats());
    });
  }

  // The whole step, as the graph holds it.
  void enqueue_step(int B) {
    begin(B);
    enqueue_gradient(B);
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
  DeviceArray<unsigned char> scratch_;
  std::unique_ptr<Graph> full_, partial_;
  std::deque<Portion> under_way_;
  long next_ = 0, collected_ = 0, portion_ = 1;
};

}  // namespace

DeviceFrames::DeviceFrames(const Context& context, const std::vector<float>& input, const std::vector<float>& target,
                           const std::vector<FrameRef>& refs)
    : input_(input.data()), target_(target.data()), refs_(refs.data()), n_(refs.size()) {
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

}  // namespace cafx
