// The models of streams against PyTorch, with gradients of every tensor; and their bits.
#include <nlohmann/json.hpp>

#include "models/lstm/lstm.h"
#include "models/registry.h"
#include "models/wavenet/wavenet.h"
#include "tests/ops/golden.h"

namespace cafx {
namespace {

using namespace op_test;

// Gradients over many samples, stored as float32.
constexpr Tolerance kTolerance{1e-5, 1e-4};

// Segments of `length` samples behind `context` others, one note each, on a device.
class Segments {
 public:
  Segments(const Context& device, const Vec& x, const Vec& target, int B, int context, int length)
      : B_(B), length_(length), context_(context) {
    std::vector<float> targets;
    std::vector<FrameRef> refs;
    const std::int64_t row = context + length;
    for (std::int64_t b = 0; b < B; ++b) {
      targets.insert(targets.end(), static_cast<std::size_t>(context), 0.0f);
      targets.insert(targets.end(), target.begin() + b * length, target.begin() + (b + 1) * length);
      refs.push_back({b * row + context, b * row, (b + 1) * row});
    }
    x_ = DeviceArray<float>(device, std::vector<float>(x.begin(), x.end()));
    target_ = DeviceArray<float>(device, targets);
    refs_ = DeviceArray<FrameRef>(device, refs);
  }
  Batch batch(int t0, int T) const { return {x_.data(), target_.data(), refs_.data(), B_, T, t0, context_}; }
  Batch whole() const { return batch(0, length_); }

 private:
  DeviceArray<float> x_, target_;
  DeviceArray<FrameRef> refs_;
  int B_, length_, context_;
};

void expect_golden(const std::string& name, const ModelConfig& config, int n_blocks) {
  const Golden golden("students.safetensors");
  const auto json = nlohmann::json::parse(golden.metadata("config"))[name];
  const std::string prefix = name + ".";
  const int block = json["block"], context = json["context"];
  const std::vector<int> shape = golden.shape(prefix + "target");
  const Loss loss({.mae = 0.0, .esr = 1.0, .pre_emphasis = json["pre_emphasis"], .energy_floor = json["energy_floor"]},
                  json["mean_energy"]);
  const auto model = make_model(config);
  for (const ParamSpec& p : model->params()) {
    const Vec values = golden.values(prefix + p.name);
    ASSERT_EQ(static_cast<long>(values.size()), p.size) << p.name;
    std::copy(values.begin(), values.end(), model->data() + p.offset);
  }
  for (const Context& device : contexts()) {
    SCOPED_TRACE(name + ", " + label(device));
    const Segments segments(device, golden.values(prefix + "x"), golden.values(prefix + "target"), shape[0], context,
                            shape[1]);
    std::vector<float> gradient(static_cast<std::size_t>(model->n_floats()), kNan);
    DeviceArray<float> on_device(device, gradient);
    model->params().upload(device);
    model->begin(device, segments.whole(), loss);
    for (int k = 0; k < n_blocks; ++k) {
      const Batch batch = segments.batch(k * block, block);
      model->gradient(device, on_device.data(), batch, loss);
      on_device.download(gradient.data(), gradient.size());
      const double want = golden.values(prefix + "loss." + std::to_string(k))[0];
      EXPECT_NEAR(model->mean_loss(device, batch), want, 1e-5 * want);
      for (const ParamSpec& p : model->params()) {
        Floats got(Vec(gradient.begin() + p.offset, gradient.begin() + p.offset + p.size));
        expect_near(got, golden.values(fmt::format("{}grad.{}.{}", prefix, k, p.name)),
                    fmt::format("block {}, gradient of {}", k, p.name), 0, kTolerance);
      }
    }
    // Without a gradient: the same losses.
    model->begin(device, segments.whole(), loss);
    model->gradient(device, nullptr, segments.batch(0, block), loss);
    const double want = golden.values(prefix + "loss.0")[0];
    EXPECT_NEAR(model->mean_loss(device, segments.batch(0, block)), want, 1e-5 * want);
  }
}

TEST(StudentGolden, Lstm) {
  LstmConfig c;
  c.sample_rate = 16000;
  expect_golden("lstm1", c, 2);
  c.hidden = 7;
  c.layers = 2;
  expect_golden("lstm2", c, 2);
}

TEST(StudentGolden, Wavenet) {
  const auto configs = nlohmann::json::parse(Golden("students.safetensors").metadata("config"));
  for (const char* name : {"wavenet", "gated"}) {
    const auto& json = configs[name];
    WavenetConfig c;
    c.sample_rate = 16000;
    json["channels"].get_to(c.channels);
    json["layers"].get_to(c.layers);
    json["dilations"].get_to(c.dilations);
    json["taps"].get_to(c.taps);
    json["gated"].get_to(c.gated);
    json["head_scale"].get_to(c.head_scale);
    EXPECT_EQ(c.geometry().warm_up, json["context"].get<int>());
    expect_golden(name, c, 2);
  }
}

class Students : public ::testing::TestWithParam<std::string> {
 protected:
  Students() {
    const auto config = type_of_preset(GetParam()).preset(GetParam());
    config->sample_rate = 8000;
    student_ = make_model(*config);
    student_->initialize(3);
  }
  std::unique_ptr<Model> student_;
};

TEST_P(Students, SameBitsForAnyNumberOfThreads) {
  const int context = std::max(33, student_->geometry().warm_up), length = 150, B = 37;
  const Segments segments(Context(), random(B * (context + length), 1), random(B * length, 2), B, context, length);
  const Loss loss({.mae = 0.0, .esr = 1.0, .pre_emphasis = 0.5}, 0.3);
  Context device;
  device.isa = best_isa();
  const auto run = [&](ThreadPool* pool) {
    device.pool = pool;
    std::vector<float> all;
    student_->begin(device, segments.whole(), loss);
    for (const int t0 : {0, 100}) {
      std::vector<float> gradient(static_cast<std::size_t>(student_->n_floats()), kNan);
      const Batch batch = segments.batch(t0, t0 == 0 ? 100 : 50);
      student_->gradient(device, gradient.data(), batch, loss);
      all.push_back(static_cast<float>(student_->mean_loss(device, batch)));
      all.insert(all.end(), gradient.begin(), gradient.end());
    }
    return all;
  };
  const std::vector<float> alone = run(nullptr);
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    expect_same_bits(run(&pool).data(), alone.data(), alone.size(), fmt::format("{} threads", threads));
  }
}

// A stream gives the same bits however its samples come; after reset it begins anew; a twin hears nothing of the other.
TEST_P(Students, StreamsAreDividedAnywhere) {
  const Vec signal = random(5000, 4);
  const std::vector<float> x(signal.begin(), signal.end());
  Context device;
  device.isa = best_isa();
  const auto stream = student_->stream(device);
  std::vector<float> whole(x.size()), pieces(x.size()), again(x.size());
  const auto n = static_cast<long>(x.size());
  stream->process(whole.data(), x.data(), x.size());
  const auto twin = stream->twin();
  stream->reset();
  for (long at = 0, k = 0; at < n; ++k) {
    const long size = std::min(n - at, std::vector<long>{1, 64, 3, 700, 17, 1025}[static_cast<std::size_t>(k % 6)]);
    stream->process(pieces.data() + at, x.data() + at, static_cast<std::size_t>(size));
    at += size;
  }
  twin->process(again.data(), x.data(), x.size());
  expect_same_bits(pieces.data(), whole.data(), x.size(), "in pieces");
  expect_same_bits(again.data(), whole.data(), x.size(), "a twin");
  EXPECT_NE(whole[0], whole[4999]);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Students, ::testing::Values("lstm", "lstm-lite", "wavenet", "wavenet-nano"),
                         [](const auto& kind) {
                           std::string name = kind.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace cafx
