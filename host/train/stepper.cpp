#include "host/train/stepper.h"

#include <algorithm>
#include <cmath>

#include "host/train/cuda_stepper.h"
#include "host/train/step_parts.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx {

namespace {

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

  void begin_epoch(Rng rng, const std::vector<float>& rates, long steps_before, long first) override {
    begin_epoch(permutation(static_cast<std::uint32_t>(frames_.size()), rng), rates, steps_before, first);
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
      const Batch batch{frames_.input(), frames_.target(), refs_.data() + from, to - from, model_.geometry().frame};
      model_.gradient(context_, gradient, batch, Loss());
      return model_.mean_loss(context_, batch);
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

}  // namespace cafx
