#include "host/train/stepper.h"

#include <cmath>

#include "host/train/cuda_stepper.h"
#include "host/train/step_parts.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

class CpuStepper : public Stepper {
 public:
  CpuStepper(const Context& context, Model& model, Places& places, const StepSettings& settings,
             const std::vector<float>& m, const std::vector<float>& v, const std::vector<float>& average)
      : context_(context),
        model_(model),
        places_(places),
        settings_(settings),
        decay_mask_(model.params().decay_mask()),
        m_(m),
        v_(v),
        average_(first_average(model, settings, average)),
        spans_(spans_of(model)) {
    gradient_.assign(static_cast<std::size_t>(n_floats()), 0.0f);
    if (settings.accumulate > 1) part_ = gradient_;
    scratch_.resize(settings.optimiser->scratch(n_floats(), static_cast<int>(spans_.size())));
  }

  void begin_epoch(const std::vector<std::uint32_t>& order, const std::vector<float>& rates, long updates_before,
                   long first) override {
    order_ = order;
    rates_ = rates;
    updates_before_ = updates_before;
    next_ = first;
  }

  void begin_epoch(Rng rng, const std::vector<float>& rates, long updates_before, long first) override {
    begin_epoch(permutation(static_cast<std::uint32_t>(places_.size()), rng), rates, updates_before, first);
  }

  void set_places(const std::vector<FrameRef>& refs) override { places_.set(refs); }

  void enqueue(long steps) override {
    for (; steps > 0; --steps, ++next_) step();
  }

  std::vector<StepRecord> collect(bool) override { return std::move(records_); }
  long portion() const override { return 1; }

  void fetch(std::vector<float>& m, std::vector<float>& v) override {
    m = m_;
    v = v_;
  }

  std::vector<float> average() override { return average_; }

  std::vector<std::vector<float>> replicas() override {
    return {std::vector<float>(weights(), weights() + n_floats())};
  }

  std::vector<float> gradient_of(long) override { return gradient_; }  // a step ends where it is not finite

 private:
  float* weights() { return model_.params().data(); }
  long n_floats() const { return model_.params().n_floats(); }

  void step() {
    refs_.clear();
    knobs_.clear();
    const long first = next_ * settings_.batch, n = places_of_step(next_, order_.size(), settings_.batch);
    for (long i = first; i < first + n; ++i) {
      const std::size_t place = order_[static_cast<std::size_t>(i)];
      refs_.push_back(places_.refs()[place]);
      if (const float* knobs = places_.knobs(place)) knobs_.insert(knobs_.end(), knobs, knobs + places_.n_knobs());
    }
    for (int k = 0; k < settings_.updates(); ++k) {
      if (!update(gradient(k), next_ * settings_.updates() + k)) return;
    }
  }

  // The mean loss of block k, and its gradient.
  double gradient(int k) {
    const int n = static_cast<int>(refs_.size());
    const DropoutDraw draw{
        {settings_.seed, static_cast<std::uint64_t>(updates_before_ + next_ * settings_.updates() + k + 1)}};
    const StepPlaces places{
        places_.input(),  places_.target(), refs_.data(), refs_.data(), knobs_.empty() ? nullptr : knobs_.data(),
        places_.n_knobs()};
    double loss = 0.0;
    gradient_of_block(
        context_, model_, places, settings_, gradient_.data(), part_.data(), n, k,
        [&](int, int from, int to) {
          const double share = static_cast<double>(to - from) / static_cast<double>(n);
          loss += share * model_.mean_loss(context_, block_of(places.from(from), settings_, to - from, k));
        },
        model_.config().dropout_rate() > 0.0 ? &draw : nullptr);
    return loss;
  }

  // False: the record is not finite, and the weights are as they were.
  bool update(double loss, long index) {
    const double norm = std::sqrt(squared_norm(context_, gradient_.data(), n_floats()));
    records_.push_back({loss, norm});
    if (!std::isfinite(loss) || !std::isfinite(norm)) return false;
    AdamStep adam = settings_.adam;
    adam.lr = rates_[static_cast<std::size_t>(index)];
    adam.gradient_scale =
        settings_.clip_norm > 0.0 && norm > settings_.clip_norm ? static_cast<float>(settings_.clip_norm / norm) : 1.0f;
    adam.step = updates_before_ + index + 1;
    settings_.optimiser->step(context_, {.params = weights(),
                                         .m = m_.data(),
                                         .v = v_.data(),
                                         .gradient = gradient_.data(),
                                         .decay_mask = decay_mask_.data(),
                                         .tensors = spans_.data(),
                                         .n_tensors = static_cast<int>(spans_.size()),
                                         .n = n_floats(),
                                         .scratch = scratch_.data(),
                                         .constants = adam});
    model_.project(context_);
    if (!average_.empty()) {
      average_step(context_, average_.data(), weights(), n_floats(), average_rate(settings_.ema, adam.step));
    }
    return true;
  }

  const Context& context_;
  Model& model_;
  Places& places_;
  StepSettings settings_;
  std::vector<float> decay_mask_, m_, v_, average_, gradient_, part_, rates_;
  std::vector<TensorSpan> spans_;
  std::vector<unsigned char> scratch_;
  std::vector<std::uint32_t> order_;
  std::vector<FrameRef> refs_;
  std::vector<float> knobs_;  // of each of them
  std::vector<StepRecord> records_;
  long updates_before_ = 0, next_ = 0;
};

}  // namespace

std::unique_ptr<Stepper> make_stepper(const Context& context, Model& model, Places& places,
                                      const StepSettings& settings, const std::vector<float>& m,
                                      const std::vector<float>& v, const std::vector<float>& average) {
  CAFX_CHECK(settings.length > 0 && (settings.accumulate == 1 || settings.updates() == 1), settings.length,
             settings.accumulate, settings.updates());
  if (context.device == Device::kCpu)
    return std::make_unique<CpuStepper>(context, model, places, settings, m, v, average);
  return std::make_unique<CudaStepper>(context, model, places, settings, m, v, average);
}

bool build_member(Lockstep& lockstep, const std::function<Stepper&()>& build) {
  return lockstep.seat([&] { return &dynamic_cast<CudaStepper&>(build()); });
}

void rehearse(Stepper& stepper) {
  auto& own = dynamic_cast<CudaStepper&>(stepper);
  own.rehearse(own.next_batch());
}

}  // namespace cafx
