// tf32, bf16 and fp16: what they do to the memory, the gradients and the training of a model.
#include <algorithm>
#include <cmath>

#include "host/train/stepper.h"
#include "kernels/deconv1d/deconv1d.h"
#include "models/cafx/cafx.h"
#include "models/cafx/dims.h"
#include "tests/ops/precision.h"

namespace cafx {
namespace {

using namespace op_test;

// X1, u and their gradients: of each two bytes a number less; what is as large in either goes out of the difference.
TEST(Precision, AGpusArenaIsSmallerInBf16ByHalfOfFourTensors) {
  if (!on_cuda()) GTEST_SKIP() << "a CPU keeps floats";
  const CafxConfig config = cafx_preset("paper");
  const std::size_t half = 2ul * config.frame * config.filters;
  for (const CafxForm form : {CafxForm::kSupervised, CafxForm::kPretrain}) {
    const CafxModel model(config, form);
    const auto more = [&](Precision p) {  // for 256 frames more
      Context context = cuda_context();
      context.precision = p;
      return model.training_bytes(context, 512, config.frame, Loss()) -
             model.training_bytes(context, 256, config.frame, Loss());
    };
    // In tf32 the latent layers keep the gradient between them, and DNN-SAAF's blocks have more scratch: little beside.
    // Where DNN-SAAF computes du, it is not kept in bf16, and rows of the deconvolution are.
    Context context = cuda_context();
    context.precision = Precision::kBf16;
    const DnnSaafDims dnn = CafxDims(config, 256).dnn;
    const bool supervised = form == CafxForm::kSupervised,
               computes = supervised && dnn_saaf_takes_dy(context, dnn, config.taps),
               rows = supervised && dnn_saaf_gives_rows(context, dnn, config.taps);
    const std::size_t less = more(Precision::kTf32) - more(Precision::kBf16),
                      latent = 4ul * config.latent * config.filters,
                      kept = rows ? 4ul * config.frame / kDeconvRowSamples * kDeconvRow : 0,
                      tensors = computes ? 5 * half : 4 * half;
    EXPECT_GE(less + 256 * kept, 256 * tensors);
    EXPECT_LE(less + 256 * kept, 256 * (tensors + (supervised ? latent : 0)));
    EXPECT_EQ(more(Precision::kFp16), more(Precision::kBf16));
    EXPECT_LT(more(Precision::kBf16), 256 * 6 * half) << "the four tensors and little beside";
  }
  const CafxModel pretrain(config, CafxForm::kPretrain);
  Context fp32 = cuda_context(), bf16 = fp32;
  bf16.precision = Precision::kBf16;
  EXPECT_EQ(
      pretrain.training_bytes(fp32, 32, config.frame, Loss()) - pretrain.training_bytes(bf16, 32, config.frame, Loss()),
      32 * 4 * half);
}

// A small CAFx and what it learns from: noise, then its targets.
CafxConfig small_config() {
  CafxConfig config;
  config.frame = 256, config.hop = 128, config.filters = 16, config.taps = 32, config.local_taps = 48;
  config.latent = 12, config.dnn = {16, 16};
  return config;
}
constexpr int kSamples = 4000;
std::vector<float> dry_and_wet() {
  std::vector<float> audio(kSamples);
  for (std::uint64_t i = 0; i < kSamples; ++i) audio[i] = static_cast<float>(0.2 * Rng{5, 6}.normal(i));
  for (int i = 0; i < kSamples; ++i) audio.push_back(std::tanh(3.0f * audio[static_cast<std::size_t>(i)]));
  return audio;
}

// fp16's gradient is as near to fp32's as its mantissa lets it be, for a batch whose mean has a gradient under the
// smallest number of fp16 at each sample, and for losses of other weights; one that is too large gives no number at
// all.
TEST(Precision, Fp16GradientsHaveRoomOnBothSides) {
  const CafxConfig config = small_config();
  const int n = kSamples, B = on_cuda() ? 64 : 512;
  const std::vector<float> audio = dry_and_wet();
  std::vector<FrameRef> refs;
  for (int b = 0; b < B; ++b) refs.push_back({b * 7, 0, n});
  const auto gradient = [&](Context context, Precision p, double weight) {
    context.precision = p;
    CafxModel model(config, CafxForm::kSupervised);
    model.params().initialize(1);
    model.params().upload(context);
    LossConfig loss;
    loss.mae = weight;
    const Places places(context, {audio.data(), audio.size(), n}, refs);
    const auto size = static_cast<std::size_t>(model.params().n_floats());
    DeviceArray<float> g(context, size);
    model.reserve(context, B, config.frame, Loss(loss));
    model.gradient(context, g.data(), {places.input(), places.target(), places.refs(), B, config.frame}, Loss(loss));
    std::vector<float> values(size);
    g.download(values.data(), size);
    return Vec(values.begin(), values.end());
  };
  for (const Context& context : contexts()) {
    const Vec none(gradient(context, Precision::kFp32, 1.0).size());
    for (const double weight : {0x1p-9, 0x1p-4, 1.0, 0x1p4, 0x1p9}) {
      SCOPED_TRACE(fmt::format("{} weight {}", label(context), weight));
      const Vec exact = gradient(context, Precision::kFp32, weight), got = gradient(context, Precision::kFp16, weight);
      EXPECT_LT(rms(got, exact), 4e-3 * rms(exact, none));  // 1.2e-3 was seen, of every weight
    }
    const Vec over = gradient(context, Precision::kFp16, 0x1p18);
    EXPECT_TRUE(std::any_of(over.begin(), over.end(), [](double x) { return !std::isfinite(x); }));
  }
}

struct Trained {
  std::vector<float> weights;
  std::vector<double> losses;
};
Trained ten_steps(const Context& context, CafxForm form) {
  const CafxConfig config = small_config();
  const int n = kSamples;
  const std::vector<float> audio = dry_and_wet();
  std::vector<FrameRef> refs;
  std::vector<std::uint32_t> order;
  for (std::uint32_t i = 0; i < 80; ++i) {
    refs.push_back({i * 45, 0, n});
    order.push_back(i * 7 % 80);
  }
  CafxModel model(config, form);
  model.params().initialize(1);
  const std::vector<float> zeros(static_cast<std::size_t>(model.params().n_floats()), 0.0f);
  Places places(context, {audio.data(), audio.size(), form == CafxForm::kPretrain ? 0 : n}, refs);
  StepSettings settings;
  settings.batch = 8;
  settings.length = config.frame;
  settings.clip_norm = 1.0;
  const auto stepper = make_stepper(context, model, places, settings, zeros, zeros);
  stepper->begin_epoch(order, std::vector<float>(10, 1e-3f), 0, 0);
  stepper->enqueue(10);
  Trained t;
  for (const StepRecord& r : stepper->collect(true)) t.losses.push_back(r.loss);
  std::vector<float> m, v;
  stepper->fetch(m, v);
  t.weights.assign(model.params().data(), model.params().data() + model.params().n_floats());
  return t;
}

// The loss's gradient is a sign and the pool takes a maximum: a rounding may turn either, so that losses move by more
// than the rounding. Up to 2e-3 was seen.
TEST(Precision, TenStepsAreCloseToFp32AndRepeatTheirBits) {
  for (const CafxForm form : {CafxForm::kSupervised, CafxForm::kPretrain}) {
    for (Context context : contexts_with_emulation()) {
      context.precision = Precision::kFp32;
      const Trained exact = ten_steps(context, form);
      for (const Precision p : kRounded) {
        context.precision = p;
        SCOPED_TRACE(name_of(context));
        const Trained got = ten_steps(context, form), again = ten_steps(context, form);
        ASSERT_EQ(got.losses.size(), 10u);
        for (int i = 0; i < 10; ++i) {
          EXPECT_TRUE(std::abs(got.losses[i] - exact.losses[i]) <= 8e-3 * exact.losses[i])
              << "step " << i << ": " << got.losses[i] << ", fp32 " << exact.losses[i];
        }
        expect_same_bits(got.weights.data(), again.weights.data(), got.weights.size(), "two runs");
        if (!on_cuda()) {
          EXPECT_NE(got.weights, exact.weights);
          ThreadPool pool(3);
          Context threads = context;
          threads.pool = &pool;
          const Trained with = ten_steps(threads, form);
          expect_same_bits(got.weights.data(), with.weights.data(), got.weights.size(), "three threads");
        }
      }
      context.precision = Precision::kFp32;
      const Trained after = ten_steps(context, form);
      expect_same_bits(after.weights.data(), exact.weights.data(), after.weights.size(), "fp32 after the others");
    }
  }
}

}  // namespace
}  // namespace cafx
