#include "host/render/stream.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "kernels/frames/frames.h"

namespace cafx {

// Samples count from the first that came. Frame i is complete with sample (i + 1) hop - 1; it begins `frame` samples before
// its end and makes its first hop samples final, as no later frame reaches them.
struct StreamRenderer::State {
  State(std::unique_ptr<FrameSequence> s, const Geometry& g, int hop_, int multiple_)
      : sequence(std::move(s)),
        frame(g.frame),
        sample_rate(g.sample_rate),
        hop(hop_),
        multiple(multiple_),
        latency(g.frame - std::gcd(hop_, multiple_)),
        window(hann_window(g.frame)),
        input(static_cast<std::size_t>(g.frame)),
        y(static_cast<std::size_t>(g.frame)),
        sum(static_cast<std::size_t>(g.frame)),
        weight(static_cast<std::size_t>(g.frame)),
        ready(2 * static_cast<std::size_t>(hop_)) {
    multiply_adds = sequence->multiply_adds();
    reset();
  }

  void reset() noexcept {
    std::fill(input.begin(), input.end(), 0.0f);
    std::fill(sum.begin(), sum.end(), 0.0);
    std::fill(weight.begin(), weight.end(), 0.0);
    n_in = 0;
    phase = 0;
    // The frame of silence before the first, so that the first costs no more than the others.
    const FlushDenormals scope;
    sequence->next(y.data(), input.data(), -frame);
  }

  // The frame in `input`, whose last sample is n_in - 1.
  void render_frame() noexcept {
    const std::int64_t start = n_in - frame;
    sequence->next(y.data(), input.data(), start);
    overlap_add(context, sum.data(), weight.data(), y.data(), window.data(), {1, frame, hop});
    const auto n_ready = static_cast<std::int64_t>(ready.size());
    for (int i = 0; i < hop; ++i) {
      if (start + i < 0) continue;  // before the stream
      const auto k = static_cast<std::size_t>(i);
      ready[static_cast<std::size_t>((start + i) % n_ready)] = overlap_added(sum[k], weight[k]);
    }
    std::copy(input.begin() + hop, input.end(), input.begin());
    std::copy(sum.begin() + hop, sum.end(), sum.begin());
    std::copy(weight.begin() + hop, weight.end(), weight.begin());
    std::fill(sum.end() - hop, sum.end(), 0.0);
    std::fill(weight.end() - hop, weight.end(), 0.0);
  }

  void process(const float* in, float* out, std::size_t n) noexcept {
    const FlushDenormals scope;
    while (n > 0) {
      const auto m = std::min(n, static_cast<std::size_t>(hop - phase));  // up to the end of a frame
      std::copy_n(in, m, input.begin() + frame - hop + phase);
      phase += static_cast<int>(m);
      n_in += static_cast<std::int64_t>(m);
      if (phase == hop) {
        render_frame();
        phase = 0;
      }
      const std::int64_t from = n_in - static_cast<std::int64_t>(m) - latency;
      const auto n_ready = static_cast<std::int64_t>(ready.size());
      for (std::size_t i = 0; i < m; ++i) {
        const std::int64_t at = from + static_cast<std::int64_t>(i);
        out[i] = at < 0 ? 0.0f : ready[static_cast<std::size_t>(at % n_ready)];
      }
      in += m;
      out += m;
      n -= m;
    }
  }

  Context context;
  std::unique_ptr<FrameSequence> sequence;
  int frame, sample_rate, hop, multiple, latency;
  double multiply_adds = 0.0;
  std::vector<float> window, input, y;  // input: the last samples, where the next frame's stand
  std::vector<double> sum, weight;      // overlap-add from the next frame's first sample on
  std::vector<float> ready;             // final samples, number i at i % size
  std::int64_t n_in = 0;
  int phase = 0;  // samples of the next hop that have come
};

StreamRenderer::StreamRenderer(const Model& model, const StreamOptions& options) {
  const Geometry g = model.geometry();
  const int hop = options.hop > 0 ? options.hop : options.hop == 0 ? std::min(g.hop, g.frame / 2) : 0;
  if (hop < 1 || hop > g.frame / 2) {
    throw Error("hop = {} is not possible with frames of {} samples: overlap-add needs 1 to {}", options.hop, g.frame,
                g.frame / 2);
  }
  if (options.multiple < 1) throw Error("multiple = {}: blocks are multiples of 1 sample or more", options.multiple);
  Context context;
  context.isa = options.isa;
  context.precision = options.precision;
  if (emulated_precision(context) != Precision::kFp32) {
    throw Error("precision {} is emulated on this processor, which no stream can wait for; give fp32",
                to_string(options.precision));
  }
  auto sequence = model.sequence(context, hop);
  if (!sequence) {
    throw Error("this model cannot run in real time; it is of the pretrained form, give a supervised one");
  }
  state_ = std::make_unique<State>(std::move(sequence), g, hop, options.multiple);
}

StreamRenderer::StreamRenderer(std::unique_ptr<State> state) : state_(std::move(state)) {}
StreamRenderer::~StreamRenderer() = default;
StreamRenderer::StreamRenderer(StreamRenderer&&) noexcept = default;
StreamRenderer& StreamRenderer::operator=(StreamRenderer&&) noexcept = default;

bool StreamRenderer::process(const float* in, float* out, std::size_t n) noexcept {
  State& s = *state_;
  if (n % static_cast<std::size_t>(s.multiple) != 0) {
    std::fill_n(out, n, 0.0f);
    return false;
  }
  s.process(in, out, n);
  return true;
}

void StreamRenderer::reset() noexcept { state_->reset(); }
int StreamRenderer::latency() const noexcept { return state_->latency; }
int StreamRenderer::hop() const noexcept { return state_->hop; }
int StreamRenderer::frame() const noexcept { return state_->frame; }
int StreamRenderer::sample_rate() const noexcept { return state_->sample_rate; }
double StreamRenderer::multiply_adds() const noexcept { return state_->multiply_adds; }

StreamRenderer StreamRenderer::twin() const {
  const State& s = *state_;
  Geometry g{s.sample_rate};
  g.frame = s.frame;
  g.hop = s.hop;
  return StreamRenderer(std::make_unique<State>(s.sequence->twin(), g, s.hop, s.multiple));
}

}  // namespace cafx
