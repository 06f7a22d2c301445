#include "models/crafx/sequence.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/base/flush_denormals.h"
#include "kernels/conv1d/conv1d.h"
#include "models/crafx/net.h"

namespace cafx {

namespace {

constexpr int kMostKept = 64;  // frames in a context_hop: with more, all latents in sight would take too much memory
constexpr std::int64_t kNoFrame = std::numeric_limits<std::int64_t>::min();

// A copy of the weights, shared by the twins.
struct CrafxWeights {
  std::vector<float> block;
  CrafxTensors tensors;
  Arena arena;
  void *front = nullptr, *dnn = nullptr;
};

class CrafxSequence : public FrameSequence {
 public:
  CrafxSequence(const Params& params, const CrafxConfig& config, const Context& context, int hop)
      : config_(config), d_(config, 1), hop_(hop) {
    CAFX_CHECK(hop >= 1, hop);
    context_.isa = context.isa;
    context_.precision = context.precision;
    context_.use_bf16_units = context.use_bf16_units;
    auto w = std::make_shared<CrafxWeights>();
    w->block.assign(params.data(), params.data() + params.n_floats());
    w->tensors = tensors_of(config, params, w->block.data());
    w->arena.build(context_, [&](Arena& a) {
      w->front = a.take<char>(front_end_packed(context_, front()));
      w->dnn = a.take<char>(dnn_saaf_packed(context_, d_.own.dnn));
    });
    const CrafxTensors& t = w->tensors;
    front_end_prepare(context_, w->front, t.conv_w, t.conv_b, t.local_w, t.local_b, front());
    dnn_saaf_prepare(context_, w->dnn, dnn_weights_of(t), d_.own.dnn);
    weights_ = std::move(w);
    start();
  }

  std::unique_ptr<FrameSequence> twin() const override {
    return std::unique_ptr<FrameSequence>(new CrafxSequence(*this));
  }

  void next(float* y, const float* x, std::int64_t at) noexcept override {
    const FlushDenormals scope;
    const long latents = static_cast<long>(d_.N) * config_.filters;
    if (last_ == kNoFrame || at != last_ + hop_) {  // another signal, or another place in it
      for (Kept& kept : kept_) kept.at = kNoFrame;
    }
    last_ = at;
    for (int k = 0; k < d_.F; ++k) {
      const Kept& kept = latent_of(x + static_cast<long>(k) * config_.context_hop,
                                   at + static_cast<std::int64_t>(k - config_.before) * config_.context_hop);
      std::copy_n(kept.z, latents, pass_.z + k * latents);
      if (k == config_.before) std::copy_n(kept.positions, latents, own_positions_);
    }
    pad(x + static_cast<long>(config_.before) * config_.context_hop);
    front_end_rows(context_, static_cast<float*>(pass_.x1), pass_.x_padded, weights_->front, config_.frame, front());
    pass_.remember(context_, weights_->tensors, d_);
    pass_.decode(context_, y, pass_.x1, own_positions_, weights_->tensors, weights_->dnn, false, d_);
  }

  double multiply_adds() const override {
    double total = 0.0;
    for (const LayerRow& row : crafx_layers(config_)) {
      auto n = static_cast<double>(row.multiply_adds);
      const double frames = keeps() ? 1.0 : d_.F;
      if (row.kind == LayerRow::Kind::kConvolution) n *= (frames + 1.0) / d_.F;
      if (row.kind == LayerRow::Kind::kLocalConvolution) n *= frames / d_.F;
      total += n;
    }
    return total;
  }

 private:
  struct Kept {
    std::int64_t at = kNoFrame;  // of the frame's first sample
    float* z = nullptr;
    std::int32_t* positions = nullptr;
  };

  CrafxSequence(const CrafxSequence& other)
      : FrameSequence(),
        config_(other.config_),
        d_(other.d_),
        hop_(other.hop_),
        context_(other.context_),
        weights_(other.weights_) {
    start();
  }

  FrontEndDims front() const { return d_.own.front; }
  bool keeps() const { return config_.context_hop % hop_ == 0 && config_.context_hop / hop_ <= kMostKept; }

  void start() {
    const auto latents = static_cast<std::size_t>(d_.N) * static_cast<std::size_t>(config_.filters);
    // Frames in sight of one another: all between the first and the last, hop apart; or those of one call.
    const int step = keeps() ? config_.context_hop / hop_ : 1;
    kept_.assign(static_cast<std::size_t>((d_.F - 1) * step + 1), {});
    arena_.build(context_, [&](Arena& a) {
      pass_.lay_out(context_, a, config_, 1, CrafxPass::Use::kSequence, Loss());
      own_positions_ = a.take<std::int32_t>(latents);
      const auto take = [&](Kept& k) {
        k.z = a.take<float>(latents);
        k.positions = a.take<std::int32_t>(latents);
      };
      for (Kept& k : kept_) take(k);
      take(silence_);
    });
    // Touched now, so that no page is missing when the first frame comes; x_padded is the pass's first part.
    Arena sizes;
    CrafxPass().lay_out(context_, sizes, config_, 1, CrafxPass::Use::kSequence, Loss());
    fill_zero(context_, pass_.x_padded, sizes.used());
    for (Kept& k : kept_) {
      fill_zero(context_, k.z, sizeof(float) * latents);
      fill_zero(context_, k.positions, sizeof(std::int32_t) * latents);
    }
    const FlushDenormals scope;
    compute(silence_, std::vector<float>(static_cast<std::size_t>(config_.frame)).data());
  }

  void pad(const float* x) {
    const int left = same_left(config_.taps), right = config_.taps - 1 - left;
    std::fill_n(pass_.x_padded, left, 0.0f);
    std::copy_n(x, config_.frame, pass_.x_padded + left);
    std::fill_n(pass_.x_padded + left + config_.frame, right, 0.0f);
  }

  // The latent of the frame x, which begins at sample `at`: what was kept, or computed now.
  const Kept& latent_of(const float* x, std::int64_t at) {
    const auto n = static_cast<std::int64_t>(kept_.size());
    std::int64_t number = at >= 0 ? at / hop_ : -((hop_ - 1 - at) / hop_);
    number %= n;
    Kept& kept = kept_[static_cast<std::size_t>(number < 0 ? number + n : number)];
    if (keeps() && kept.at == at) return kept;
    kept.at = at;
    // So that a stream's first frames, whose context is silence, cost no more than the others.
    if (std::all_of(x, x + config_.frame, [](float v) { return v == 0.0f; })) {
      const long latents = static_cast<long>(d_.N) * config_.filters;
      std::copy_n(silence_.z, latents, kept.z);
      std::copy_n(silence_.positions, latents, kept.positions);
    } else {
      compute(kept, x);
    }
    return kept;
  }

  void compute(Kept& to, const float* x) {
    pad(x);
    front_end_forward(context_, pass_.x1, to.z, to.positions, pass_.x_padded, weights_->front, pass_.scratch, front());
  }

  CrafxConfig config_;
  CrafxDims d_;
  int hop_;
  Context context_;
  std::shared_ptr<const CrafxWeights> weights_;
  Arena arena_;
  CrafxPass pass_;
  std::int32_t* own_positions_ = nullptr;
  std::int64_t last_ = kNoFrame;  // sample at which the former frame began
  Kept silence_;
  std::vector<Kept> kept_;  // the frame at sample `at` in number floor(at / hop) modulo their count
};

}  // namespace

std::unique_ptr<FrameSequence> make_crafx_sequence(const Params& params, const CrafxConfig& config,
                                                   const Context& context, int hop) {
  return std::make_unique<CrafxSequence>(params, config, context, hop);
}

}  // namespace cafx
