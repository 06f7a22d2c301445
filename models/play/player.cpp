#include "models/play/player.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "models/play/overlap_add.h"

namespace cafx {

namespace {

// Samples count from the first that came. Frame i ends with sample (i + 1) hop - 1 and begins `frame` samples before
// its end: where overlap-add wants it. It is complete with the context behind it, `after` samples later.
class FramePlayer : public Player {
 public:
  FramePlayer(std::unique_ptr<FrameSequence> sequence, const Geometry& g, int hop, int multiple)
      : sequence_(std::move(sequence)),
        geometry_(g),
        hop_(hop),
        multiple_(multiple),
        latency_(latency_of(g, std::gcd(hop, multiple))),
        sum_(context_, g.frame, hop, 1),
        input_(static_cast<std::size_t>(g.span())),
        y_(static_cast<std::size_t>(g.frame)),
        made_(static_cast<std::size_t>(hop)),
        ready_(2 * static_cast<std::size_t>(hop)) {
    reset();
  }

  void process(float* y, const float* x, std::size_t n) noexcept override {
    if (n % static_cast<std::size_t>(multiple_) != 0) {
      std::fill_n(y, n, 0.0f);
      return;
    }
    const FlushDenormals scope;
    while (n > 0) {
      const auto m = std::min(n, static_cast<std::size_t>(hop_ - phase_));  // up to the end of a frame
      std::copy_n(x, m, input_.end() - hop_ + phase_);
      phase_ += static_cast<int>(m);
      n_in_ += static_cast<std::int64_t>(m);
      if (phase_ == hop_) {
        render_frame();
        phase_ = 0;
      }
      const std::int64_t from = n_in_ - static_cast<std::int64_t>(m) - latency_;
      const auto n_ready = static_cast<std::int64_t>(ready_.size());
      for (std::size_t i = 0; i < m; ++i) {
        const std::int64_t at = from + static_cast<std::int64_t>(i);
        y[i] = at < 0 ? 0.0f : ready_[static_cast<std::size_t>(at % n_ready)];
      }
      x += m;
      y += m;
      n -= m;
    }
  }

  void set(int knob, float value) noexcept override { sequence_->set(knob, value); }
  void reset() noexcept override {
    std::fill(input_.begin(), input_.end(), 0.0f);
    sum_.reset();
    n_in_ = 0;
    n_ready_ = 0;
    phase_ = (hop_ - geometry_.after % hop_) % hop_;
    // The frame of silence before the first, so that the first costs no more than the others.
    const FlushDenormals scope;
    sequence_->next(y_.data(), input_.data(), -phase_ - geometry_.after - geometry_.frame);
  }

  int latency() const noexcept override { return latency_; }
  double multiply_adds() const noexcept override { return sequence_->multiply_adds() * geometry_.sample_rate / hop_; }
  std::unique_ptr<Player> twin() const override {
    return std::make_unique<FramePlayer>(sequence_->twin(), geometry_, hop_, multiple_);
  }

 private:
  // g: the greatest common divisor of blocks and hop. The context's last sample is in a block that ends up to g - 1
  // samples behind it.
  static int latency_of(const Geometry& geometry, int g) {
    return geometry.frame - g + (geometry.after + g - 1) / g * g;
  }

  // The frame in input_, whose context ends with sample n_in_ - 1.
  void render_frame() noexcept {
    const std::int64_t start = n_in_ - geometry_.after - geometry_.frame;
    sequence_->next(y_.data(), input_.data(), start);
    if (start == sum_.next_start()) take_frame();  // silence comes before the first
    std::copy(input_.begin() + hop_, input_.end(), input_.begin());
  }

  void take_frame() noexcept {
    sum_.add(context_, y_.data(), 1);
    const std::int64_t n = sum_.n_final();
    sum_.take(made_.data());
    for (std::int64_t i = 0; i < n; ++i, ++n_ready_) {
      ready_[static_cast<std::size_t>(n_ready_ % static_cast<std::int64_t>(ready_.size()))] =
          made_[static_cast<std::size_t>(i)];
    }
  }

  Context context_;
  std::unique_ptr<FrameSequence> sequence_;
  Geometry geometry_;
  int hop_, multiple_, latency_;
  OverlapAdd sum_;
  std::vector<float> input_, y_, made_;  // input_: the last samples, where the next frame and its context stand
  std::vector<float> ready_;             // final samples, number i at i % size
  std::int64_t n_in_ = 0, n_ready_ = 0;
  int phase_ = 0;  // samples of the next hop that have come
};

Context context_of(const PlayOptions& options) {
  if (options.multiple < 1) throw Error("multiple = {}: blocks are multiples of 1 sample or more", options.multiple);
  Context context;
  context.isa = options.isa;
  context.precision = options.precision;
  if (emulated_precision(context) != Precision::kFp32) {
    throw Error("precision {} is emulated on this processor, which no stream can wait for; give fp32",
                to_string(options.precision));
  }
  return context;
}

}  // namespace

int player_hop(const Model& model, const PlayOptions& options) {
  const Geometry g = model.geometry();
  if (g.frame > 0) return checked_hop(options.hop, g.hop, g.frame);
  if (options.hop != 0) {
    throw Error("hop = {}: a model of type {} plays sample by sample and has no hop", options.hop,
                model.config().type());
  }
  return 1;
}

std::unique_ptr<Player> make_player(const Model& model, const PlayOptions& options) {
  const Context context = context_of(options);
  const Geometry g = model.geometry();
  const int hop = player_hop(model, options);
  if (g.frame == 0) {
    if (auto stream = model.stream(context)) return stream;
  } else if (auto sequence = model.sequence(context, hop)) {
    return std::make_unique<FramePlayer>(std::move(sequence), g, hop, options.multiple);
  }
  if (model.form() == kPretrain) {
    throw Error("this model cannot run in real time; it is of the pretrained form, give a supervised one");
  }
  throw Error("this model cannot run in real time: its type, {}, has neither frames nor a stream",
              model.config().type());
}

}  // namespace cafx
