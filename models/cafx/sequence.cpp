#include "models/cafx/sequence.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "kernels/base/flush_denormals.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/device/arena.h"
#include "models/cafx/dims.h"
#include "models/cafx/knobs.h"
#include "models/knob_ramp.h"

namespace cafx {

namespace {

constexpr std::int64_t kNowhere = std::numeric_limits<std::int64_t>::min();

// Packed weights, shared by the twins.
struct Weights {
  Arena arena;
  void *front = nullptr, *local_dense = nullptr, *dnn = nullptr;
  float *latent_w = nullptr, *latent_b = nullptr, *dense_w = nullptr, *dense_b = nullptr, *conv_w = nullptr,
        *deconv_b = nullptr;
  std::vector<float> block;  // all of them and
  CafxTensors tensors{};     // where they stand in it, where knobs change some
};

class CafxSequence : public FrameSequence {
 public:
  CafxSequence(const Params& params, const CafxConfig& config, CafxParts parts, const std::vector<float>& position,
               const Context& context, int hop)
      : config_(config),
        parts_(parts),
        call_(config_, 1),
        knobs_(config, parts),
        hop_(hop),
        weights_(std::make_shared<Weights>()) {
    if (knobs_.any()) ramp_.emplace(config_, position);
    CAFX_CHECK(hop >= 1, hop);
    context_.isa = context.isa;
    context_.precision = context.precision;
    context_.use_bf16_units = context.use_bf16_units;
    lay_out_weights(params);
    start();
  }

  std::unique_ptr<FrameSequence> twin() const override {
    return std::unique_ptr<FrameSequence>(new CafxSequence(*this));
  }

  void next(float* y, const float* x, std::int64_t at) noexcept override {
    const FlushDenormals scope;
    if (shared_) {
      front_end_shared(x, at);
    } else {
      front_end_whole(x);
    }
    const Weights& w = *weights_;
    float* x1 = x1_ + row_ * config_.filters;
    const long window = row_ / config_.pool * config_.filters;
    if (w.latent_w) {
      dense_time_forward(context_, h_, z_ + window, w.latent_w, w.latent_b, scratch_, call_.latent);
    } else {
      local_dense_forward_packed(context_, h_, z_ + window, w.local_dense, call_.local_dense);
    }
    if (turned_) turn();
    dense_time_forward(context_, zhat_, h_, w.dense_w, dense_b_, scratch_, call_.dense);
    if (parts_.dnn) {
      dnn_saaf_forward(context_, u_, nullptr, x1, zhat_, positions_ + window, dnn_, scratch_, call_.dnn);
    } else {
      unpool_multiply_forward(context_, u_, zhat_, x1, positions_ + window, call_.pool, call_.dnn.unpool);
    }
    deconv1d_forward(context_, y, u_, w.conv_w, w.deconv_b, scratch_, call_.deconv);
  }

  void set(int knob, float value) noexcept override {
    if (!ramp_) return;
    ramp_->set(knob, value);
    ramp_->finish();  // frames overlap, so that what they make is faded over
    turned_ = true;
  }

  double multiply_adds() const override {
    double total = 0.0;
    for (const LayerRow& row : cafx_layers(config_, parts_)) {
      auto n = static_cast<double>(row.multiply_adds);
      if (shared_ && row.kind == LayerRow::Kind::kConvolution)
        n *= static_cast<double>(hop_ + left1_ + right1_) / config_.frame;
      if (shared_ && row.kind == LayerRow::Kind::kLocalConvolution) {
        n *= static_cast<double>(hop_ + (n_left_ + n_right_) * config_.pool) / config_.frame;
      }
      total += n;
    }
    return total;
  }

 private:
  CafxSequence(const CafxSequence& other)
      : FrameSequence(),
        config_(other.config_),
        parts_(other.parts_),
        call_(other.call_),
        knobs_(other.knobs_),
        ramp_(other.ramp_),
        hop_(other.hop_),
        context_(other.context_),
        weights_(other.weights_) {
    start();
  }

  void lay_out_weights(const Params& params) {
    Weights& w = *weights_;
    const auto tensor = [&](const std::string& name) { return params.tensor(name); };
    const auto size = [&](const std::string& name) { return static_cast<std::size_t>(params.find(name)->size); };
    w.arena.build(context_, [&](Arena& a) {
      w.front = a.take<char>(front_end_packed(context_, call_.front));
      if (config_.latent_layer == "local") {
        w.local_dense = a.take<char>(local_dense_packed(context_, call_.local_dense));
      } else {
        w.latent_w = a.take<float>(size("latent_dense.weight"));
        w.latent_b = a.take<float>(size("latent_dense.bias"));
      }
      if (parts_.dnn) w.dnn = a.take<char>(dnn_saaf_packed(context_, call_.dnn));
      w.dense_w = a.take<float>(size("dense.weight"));
      w.dense_b = a.take<float>(size("dense.bias"));
      w.conv_w = a.take<float>(size("conv1d.weight"));
      w.deconv_b = a.take<float>(1);
    });
    const auto take = [&](float* to, const std::string& name) { std::copy_n(tensor(name), size(name), to); };
    take(w.dense_w, "dense.weight");
    take(w.dense_b, "dense.bias");
    take(w.conv_w, "conv1d.weight");
    take(w.deconv_b, "deconv.bias");
    front_end_prepare(context_, w.front, tensor("conv1d.weight"), tensor("conv1d.bias"), tensor("local_conv.weight"),
                      tensor("local_conv.bias"), call_.front);
    if (w.latent_w) {
      take(w.latent_w, "latent_dense.weight");
      take(w.latent_b, "latent_dense.bias");
    } else {
      local_dense_prepare(context_, w.local_dense, tensor("local_dense.weight"), tensor("local_dense.bias"),
                          call_.local_dense);
    }
    if (knobs_.any()) {
      w.block.assign(params.data(), params.data() + params.n_floats());
      std::size_t i = 0;
      visit_tensors(config_, parts_, [&](const std::string&, std::vector<std::int64_t>, const CafxTensorKind&, auto m) {
        member(w.tensors, m) = w.block.data() + params[i++].offset;
      });
    }
    if (!parts_.dnn) return;
    DnnSaafWeights dnn{};
    for (int l = 0; l < call_.dnn.L; ++l) {
      dnn.w[l] = tensor("dnn." + std::to_string(l) + ".weight");
      dnn.bias[l] = tensor("dnn." + std::to_string(l) + ".bias");
    }
    if (config_.saaf) {
      dnn.saaf_v = tensor("saaf.v");
      dnn.saaf_w = tensor("saaf.w");
    }
    dnn_saaf_prepare(context_, w.dnn, dnn, call_.dnn);
  }

  // Computes the sizes and allocates this instance's buffers.
  void start() {
    const CafxConfig& c = config_;
    const auto up = [&](long n) { return static_cast<int>((n + c.pool - 1) / c.pool); };
    const int left2 = same_left(c.local_taps), right2 = c.local_taps - 1 - left2;
    left1_ = same_left(c.taps);
    right1_ = c.taps - 1 - left1_;
    n_left_ = up(left1_ + left2);
    n_right_ = up(right1_ + right2);
    n_windows_ = c.frame / c.pool;
    shared_ = hop_ % c.pool == 0 && n_left_ + n_right_ < n_windows_;
    // Twice a frame: its rows move to the front of the buffer once in frame / hop frames.
    n_rows_ = shared_ ? 2L * c.frame : c.frame;
    const std::size_t T = c.frame, C = c.filters, K = c.taps, rows = n_rows_;
    std::size_t scratch = std::max(front_end_scratch(context_, call_.front), deconv1d_scratch(context_, call_.deconv));
    scratch = std::max({scratch, dense_time_scratch(context_, call_.dense), dense_time_scratch(context_, call_.latent),
                        parts_.dnn ? dnn_saaf_scratch(context_, call_.dnn) : 0});
    arena_.build(context_, [&](Arena& a) {
      padded_ = a.take<float>(T + K - 1);
      x1_ = a.take<float>(rows * C);
      z_ = a.take<float>(rows / c.pool * C);
      positions_ = a.take<std::int32_t>(rows / c.pool * C);
      h_ = a.take<float>(C * c.latent);
      zhat_ = a.take<float>(C * n_windows_);
      u_ = a.take<float>(T * C);
      scratch_ = a.take<char>(scratch);
      knob_room_ = a.take<float>(knobs_.room(context_, 1));
      if (knobs_.in_dnn()) own_dnn_ = a.take<char>(dnn_saaf_packed(context_, call_.dnn));
    });
    dense_b_ = weights_->dense_b;
    dnn_ = weights_->dnn;
    if (knobs_.any()) turn();
    // Touched now, so that no page is missing when the first frame comes.
    fill_zero(context_, padded_, sizeof(float) * (T + K - 1));
    fill_zero(context_, x1_, sizeof(float) * rows * C);
    fill_zero(context_, z_, sizeof(float) * rows / c.pool * C);
    fill_zero(context_, positions_, sizeof(std::int32_t) * rows / c.pool * C);
    fill_zero(context_, h_, sizeof(float) * C * c.latent);
    fill_zero(context_, zhat_, sizeof(float) * C * n_windows_);
    fill_zero(context_, u_, sizeof(float) * T * C);
    fill_zero(context_, scratch_, scratch);
  }

  // The weights where the knobs stand.
  void turn() noexcept {
    turned_ = false;
    const CafxTensors t = knobs_.fold(context_, weights_->tensors, ramp_->now(), knob_room_, 1);
    if (!knobs_.in_dnn()) {
      dense_b_ = t.dense_b;
      return;
    }
    dnn_saaf_prepare(context_, own_dnn_, dnn_weights_of(t), call_.dnn);
    dnn_ = own_dnn_;
  }

  void front_end_whole(const float* x) {
    std::fill_n(padded_, left1_, 0.0f);
    std::copy_n(x, config_.frame, padded_ + left1_);
    std::fill_n(padded_ + left1_ + config_.frame, right1_, 0.0f);
    front_end_forward(context_, x1_, z_, positions_, padded_, weights_->front, scratch_, call_.front);
    row_ = 0;
  }

  // Rows and windows are counted from the frame's own first sample; the frame's first row is row_ of the buffer.
  void front_end_shared(const float* x, std::int64_t at) {
    const int T = config_.frame, C = config_.filters, P = config_.pool;
    const long n_inner = n_windows_ - n_left_ - n_right_;
    long row_from = left1_, window_from = n_left_;  // inner rows and windows that are not there yet
    if (at_ != kNowhere && at == at_ + hop_) {
      row_ += hop_;
      row_from = std::max<long>(left1_, T - right1_ - hop_);
      window_from = std::max<long>(n_left_, n_windows_ - n_right_ - hop_ / P);
      if (row_ + T > n_rows_) to_front();
    } else {
      row_ = 0;
    }
    at_ = at;
    float* x1 = x1_ + row_ * C;
    float* z = z_ + row_ / P * C;
    std::int32_t* positions = positions_ + row_ / P * C;
    const void* packed = weights_->front;

    front_end_rows(context_, x1 + row_from * C, x + row_from - left1_, packed, static_cast<int>(T - right1_ - row_from),
                   call_.front);
    const long inner_end = n_left_ + n_inner;
    // All neighbours of an inner window are inner rows.
    front_end_windows(context_, z + window_from * C, positions + window_from * C, x1 + window_from * P * C,
                      static_cast<int>(inner_end - window_from), static_cast<int>(window_from * P - left1_),
                      static_cast<int>(T - right1_ - inner_end * P), packed, scratch_, call_.front);
    // The borders: the first left1_ rows and the last right1_, then the windows that see them.
    border(x1, x, 0, left1_);
    border(x1, x, T - right1_, right1_);
    front_end_windows(context_, z, positions, x1, n_left_, 0, T - n_left_ * P, packed, scratch_, call_.front);
    const long right = n_windows_ - n_right_;
    front_end_windows(context_, z + right * C, positions + right * C, x1 + right * P * C, n_right_,
                      static_cast<int>(right * P), 0, packed, scratch_, call_.front);
  }

  // Rows [row, row + n) of x1 as the frame alone makes them: with zeros beyond its borders.
  void border(float* x1, const float* x, int row, int n) {
    const int T = config_.frame;
    for (int i = 0; i < n + config_.taps - 1; ++i) {
      const int t = row - left1_ + i;
      padded_[i] = t >= 0 && t < T ? x[t] : 0.0f;
    }
    front_end_rows(context_, x1 + static_cast<long>(row) * config_.filters, padded_, weights_->front, n, call_.front);
  }

  void to_front() {
    const long C = config_.filters, P = config_.pool, kept = config_.frame - hop_;
    std::copy_n(x1_ + row_ * C, kept * C, x1_);
    std::copy_n(z_ + row_ / P * C, kept / P * C, z_);
    std::copy_n(positions_ + row_ / P * C, kept / P * C, positions_);
    row_ = 0;
  }

  CafxConfig config_;
  CafxParts parts_;
  CafxDims call_;  // of one frame
  CafxKnobs knobs_;
  std::optional<KnobRamp> ramp_;  // of knobs, where there are some
  bool turned_ = false;           // since the last frame
  int hop_;
  Context context_;
  std::shared_ptr<Weights> weights_;
  bool shared_ = false;
  int left1_ = 0, right1_ = 0;                    // border rows of x1
  int n_left_ = 0, n_right_ = 0, n_windows_ = 0;  // border windows of z, and all
  long n_rows_ = 0, row_ = 0;                     // of the buffer; where the frame begins in it
  std::int64_t at_ = kNowhere;                    // sample at which the former frame began
  Arena arena_;
  float *padded_ = nullptr, *x1_ = nullptr, *z_ = nullptr, *h_ = nullptr, *zhat_ = nullptr, *u_ = nullptr;
  std::int32_t* positions_ = nullptr;
  void* scratch_ = nullptr;
  float *knob_room_ = nullptr, *dense_b_ = nullptr;  // the bias of Dense, and DNN-SAAF packed, where knobs stand
  void *own_dnn_ = nullptr, *dnn_ = nullptr;
};

}  // namespace

std::unique_ptr<FrameSequence> make_cafx_sequence(const Params& params, const CafxConfig& config, CafxParts parts,
                                                  const std::vector<float>& position, const Context& context, int hop) {
  return std::make_unique<CafxSequence>(params, config, parts, position, context, hop);
}

}  // namespace cafx
