#include "host/render/render.h"

#include <algorithm>
#include <chrono>

#include "kernels/base/error.h"
#include "kernels/device/memory.h"
#include "kernels/frames/frames.h"
#include "models/play/player.h"

namespace cafx {

namespace {

constexpr int kBatch = 32;  // frames given to the model at once
// Consecutive frames of one thread: the first of a run shares nothing, about a third more than the others.
constexpr int kRun = 32;

}  // namespace

// Frames of a signal that comes in pieces, some at a time.
class Renderer::Frames {
 public:
  Frames(Model& model, const Context& context, int hop)
      : model_(model),
        context_(context),
        geometry_(model.geometry()),
        frame_(geometry_.frame),
        hop_(hop),
        sequences_(sequences_of(model, context, hop)),
        sum_(context, frame_, hop, batch()),
        input_start_(sum_.next_start() - geometry_.before) {
    input_.assign(static_cast<std::size_t>(-input_start_), 0.0f);  // silence before the first sample
    const auto frames = static_cast<std::size_t>(batch());
    rendered_ = DeviceArray<float>(context, frames * static_cast<std::size_t>(frame_));
    if (!sequences_.empty()) return;
    std::vector<FrameRef> refs;
    const auto n = static_cast<std::int64_t>(overlap_add_samples({kBatch, geometry_.span(), hop}));
    for (std::int64_t b = 0; b < kBatch; ++b) refs.push_back({b * hop, 0, n});
    refs_ = DeviceArray<FrameRef>(context, refs);
    samples_ = DeviceArray<float>(context, static_cast<std::size_t>(n));
    frames_ = DeviceArray<float>(context, frames * static_cast<std::size_t>(geometry_.span()));
  }

  void push(const float* x, std::size_t n, std::vector<float>& out) {
    input_.insert(input_.end(), x, x + n);
    n_in_ += static_cast<std::int64_t>(n);
    run(out, false);
  }

  void finish(std::vector<float>& out) {
    if (n_in_ == 0) return;
    input_.insert(input_.end(), static_cast<std::size_t>(frame_ + geometry_.after), 0.0f);
    run(out, true);
    const std::int64_t left = n_in_ - n_out_;  // what the last frame left: all of it is final
    out.resize(out.size() + static_cast<std::size_t>(left));
    sum_.take_rest(out.data() + out.size() - left, left);
    n_out_ = n_in_;
  }

 private:
  static std::vector<std::unique_ptr<FrameSequence>> sequences_of(const Model& model, const Context& context, int hop) {
    std::vector<std::unique_ptr<FrameSequence>> sequences;  // one for each thread, on a CPU
    if (context.device != Device::kCpu) return sequences;
    if (auto sequence = model.sequence(context, hop)) sequences.push_back(std::move(sequence));
    while (!sequences.empty() && static_cast<int>(sequences.size()) < context.n_workers()) {
      sequences.push_back(sequences.front()->twin());
    }
    return sequences;
  }

  // Frames that are rendered together: while more may come, whole batches of a run for each thread.
  int batch() const { return sequences_.empty() ? kBatch : kRun * static_cast<int>(sequences_.size()); }

  void run(std::vector<float>& out, bool last) {
    const std::int64_t n_all = last ? cafx::n_frames(n_in_, frame_, hop_) : 0;
    for (;;) {
      const std::int64_t first = sum_.next_start(), end = input_start_ + static_cast<std::int64_t>(input_.size());
      const std::int64_t first_ends = first + frame_ + geometry_.after;
      std::int64_t ready = end < first_ends ? 0 : (end - first_ends) / hop_ + 1;
      if (last) ready = std::min(ready, n_all - sum_.n_frames());
      // Whole batches while more may come; their number of frames does not change a frame's bits.
      if (ready <= 0 || (!last && ready < batch())) return;
      const int B = static_cast<int>(std::min<std::int64_t>(ready, batch()));
      render(input_.data() + (first - geometry_.before - input_start_), first, B);
      sum_.add(context_, rendered_.data(), B);
      take(out);
      const auto drop =
          std::min(sum_.next_start() - geometry_.before - input_start_, static_cast<std::int64_t>(input_.size()));
      input_.erase(input_.begin(), input_.begin() + drop);
      input_start_ += drop;
    }
  }

  // Not beyond the signal's end, where silence was put behind it.
  void take(std::vector<float>& out) {
    const std::int64_t n = sum_.n_final(), wanted = std::min(n, n_in_ - n_out_);
    const std::size_t at = out.size();
    out.resize(at + static_cast<std::size_t>(n));
    sum_.take(out.data() + at);
    out.resize(at + static_cast<std::size_t>(wanted));
    n_out_ += wanted;
  }

  // B frames from sample `first` on; input begins with the context before it.
  void render(const float* input, std::int64_t first, int B) {
    if (!sequences_.empty()) {  // runs of consecutive frames, one task each
      over_tasks(context_, (B + kRun - 1) / kRun, [&](const Context& inner, int run) {
        FrameSequence& sequence = *sequences_[static_cast<std::size_t>(inner.worker)];
        for (int b = run * kRun; b < std::min(B, (run + 1) * kRun); ++b) {
          const long at = static_cast<long>(b) * hop_;
          sequence.next(rendered_.data() + static_cast<long>(b) * frame_, input + at, first + at);
        }
      });
      return;
    }
    const int span = geometry_.span();
    samples_.upload(input, static_cast<std::size_t>(overlap_add_samples({B, span, hop_})));
    gather_frames(context_, frames_.data(), samples_.data(), refs_.data(), {B, span, 1, 0});
    model_.forward(context_, rendered_.data(), frames_.data(), B);
  }

  Model& model_;
  const Context& context_;
  Geometry geometry_;
  int frame_, hop_;
  std::vector<std::unique_ptr<FrameSequence>> sequences_;
  OverlapAdd sum_;
  std::int64_t input_start_, n_in_ = 0, n_out_ = 0;
  std::vector<float> input_;  // from sample input_start_ on
  DeviceArray<float> rendered_, samples_, frames_;
  DeviceArray<FrameRef> refs_;
};

Renderer::Renderer(Model& model, const Context& context, int hop) {
  const Geometry g = model.geometry();
  if (g.frame > 0) {
    frames_ = std::make_unique<Frames>(model, context, checked_hop(hop, g.hop, g.frame));
  } else {
    player_ = make_player(model, {hop, 1, context.isa, context.precision});
    to_drop_ = static_cast<std::size_t>(player_->latency());
  }
}

Renderer::~Renderer() = default;

void Renderer::push(const float* x, std::size_t n, std::vector<float>& out) {
  if (frames_) return frames_->push(x, n, out);
  const std::size_t before = out.size();
  out.resize(before + n);
  player_->process(out.data() + before, x, n);
  const std::size_t dropped = std::min(to_drop_, n);
  to_drop_ -= dropped;
  out.erase(out.begin() + static_cast<long>(before), out.begin() + static_cast<long>(before + dropped));
}

void Renderer::finish(std::vector<float>& out) {
  if (frames_) return frames_->finish(out);
  const std::vector<float> silence(static_cast<std::size_t>(player_->latency()), 0.0f);
  if (!silence.empty()) push(silence.data(), silence.size(), out);
}

BlockRenderer::BlockRenderer(const Model& model, const Context& context, int hop, int block)
    : player_(make_player(model, {hop, block, context.isa, context.precision})),
      block_(static_cast<std::size_t>(block)),
      to_drop_(static_cast<std::size_t>(player_->latency())),
      out_(block_) {}

void BlockRenderer::push(const float* x, std::size_t n, std::vector<float>& out) {
  n_in_ += n;
  in_.insert(in_.end(), x, x + n);
  run(out);
}

void BlockRenderer::finish(std::vector<float>& out) {
  while (n_out_ < n_in_) {
    in_.resize(in_.size() + block_, 0.0f);
    run(out);
  }
}

void BlockRenderer::run(std::vector<float>& out) {
  std::size_t at = 0;
  for (; at + block_ <= in_.size(); at += block_) {
    const auto start = std::chrono::steady_clock::now();
    player_->process(out_.data(), in_.data() + at, block_);
    ms_.push_back(std::chrono::duration<float, std::milli>(std::chrono::steady_clock::now() - start).count());
    const std::size_t dropped = std::min(to_drop_, block_);
    to_drop_ -= dropped;
    const std::size_t wanted = std::min(block_ - dropped, n_in_ - n_out_);
    out.insert(out.end(), out_.begin() + static_cast<long>(dropped),
               out_.begin() + static_cast<long>(dropped + wanted));
    n_out_ += wanted;
  }
  in_.erase(in_.begin(), in_.begin() + static_cast<long>(at));
}

std::vector<float> render_signal(Model& model, const Context& context, const float* x, std::size_t n, int hop) {
  Renderer renderer(model, context, hop);
  std::vector<float> out;
  out.reserve(n);
  renderer.push(x, n, out);
  renderer.finish(out);
  return out;
}

std::vector<std::vector<float>> render_signals(Model& model, const Context& context,
                                               const std::vector<const std::vector<float>*>& signals, int hop) {
  std::vector<std::vector<float>> outputs(signals.size());
  if (model.geometry().frame > 0) {
    for (std::size_t i = 0; i < signals.size(); ++i) {
      outputs[i] = render_signal(model, context, signals[i]->data(), signals[i]->size(), hop);
    }
    return outputs;
  }
  const auto at_rest = make_player(model, {hop, 1, context.isa, context.precision});
  over_tasks(context, static_cast<int>(signals.size()), [&](const Context&, int i) {
    const auto k = static_cast<std::size_t>(i);
    const auto player = at_rest->twin();
    const std::size_t n = signals[k]->size(), late = static_cast<std::size_t>(player->latency());
    const std::vector<float> silence(late, 0.0f);
    outputs[k].resize(n + late);
    player->process(outputs[k].data(), signals[k]->data(), n);
    player->process(outputs[k].data() + n, silence.data(), late);
    outputs[k].erase(outputs[k].begin(), outputs[k].begin() + static_cast<long>(late));
  });
  return outputs;
}

}  // namespace cafx
