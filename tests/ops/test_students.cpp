// Whole students against PyTorch, with gradients of every tensor; and their bits.
#include "models/student/student.h"

#include <nlohmann/json.hpp>

#include "tests/ops/golden.h"

namespace cafx {
namespace {

using namespace op_test;

// Gradients over many samples, stored as float32.
constexpr Tolerance kTolerance{1e-5, 1e-4};

// Segments with everything that StudentSegments points at.
struct Segments {
  Vec x, target, esr, mae;
  int B, context, length;
  float pre_emphasis;
};

class Held {
 public:
  explicit Held(const Segments& s)
      : x_(s.x.begin(), s.x.end()),
        target_(s.target.begin(), s.target.end()),
        esr_(s.esr.begin(), s.esr.end()),
        mae_(s.mae.begin(), s.mae.end()),
        segments_{x_.data(), target_.data(), esr_.data(), mae_.data(), s.B, s.context, s.length, s.pre_emphasis} {}
  const StudentSegments& get() const { return segments_; }

 private:
  std::vector<float> x_, target_, esr_, mae_;
  StudentSegments segments_;
};

void expect_golden(const std::string& name, const StudentConfig& config, int n_blocks) {
  const Golden golden("students.safetensors");
  const auto json = nlohmann::json::parse(golden.metadata("config"))[name];
  const std::string prefix = name + ".";
  const int block = json["block"], context = json["context"];
  const std::vector<int> shape = golden.shape(prefix + "target");
  const Held held({golden.values(prefix + "x"), golden.values(prefix + "target"), golden.values(prefix + "esr_scale"),
                   golden.values(prefix + "mae_scale"), shape[0], context, shape[1],
                   json["pre_emphasis"].get<float>()});
  const auto student = make_student(config);
  for (const ParamSpec& p : student->params()) {
    const Vec values = golden.values(prefix + p.name);
    ASSERT_EQ(static_cast<long>(values.size()), p.size) << p.name;
    std::copy(values.begin(), values.end(), student->data() + p.offset);
  }
  for (const Context& device : contexts()) {
    SCOPED_TRACE(name + ", " + label(device));
    std::vector<float> gradient(static_cast<std::size_t>(student->n_floats()), kNan);
    student->begin(device, held.get());
    for (int k = 0; k < n_blocks; ++k) {
      const double loss = student->gradient(device, gradient.data(), held.get(), k * block, block);
      const double want = golden.values(prefix + "loss." + std::to_string(k))[0];
      EXPECT_NEAR(loss, want, 1e-5 * want);
      for (const ParamSpec& p : student->params()) {
        Floats got(Vec(gradient.begin() + p.offset, gradient.begin() + p.offset + p.size));
        expect_near(got, golden.values(fmt::format("{}grad.{}.{}", prefix, k, p.name)),
                    fmt::format("block {}, gradient of {}", k, p.name), 0, kTolerance);
      }
    }
  }
}

TEST(StudentGolden, Lstm) {
  StudentConfig c = student_preset("lstm");
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
    StudentConfig c = student_preset("wavenet");
    c.sample_rate = 16000;
    json["channels"].get_to(c.channels);
    json["layers"].get_to(c.array_layers);
    json["dilations"].get_to(c.dilations);
    json["taps"].get_to(c.taps);
    json["gated"].get_to(c.gated);
    json["head_scale"].get_to(c.head_scale);
    EXPECT_EQ(make_student(c)->receptive_context(), json["context"].get<int>());
    expect_golden(name, c, 2);
  }
}

class Students : public ::testing::TestWithParam<std::string> {
 protected:
  Students() {
    config_ = student_preset(GetParam());
    config_.sample_rate = 8000;
    student_ = make_student(config_);
    student_->initialize(3);
  }
  StudentConfig config_;
  std::unique_ptr<Student> student_;
};

TEST_P(Students, SameBitsForAnyNumberOfThreads) {
  const int context = std::max(33, student_->receptive_context()), length = 150, B = 37;
  const Held held(
      {random(B * (context + length), 1), random(B * length, 2), Vec(B, 0.3), Vec(B, 0.1), B, context, length, 0.5f});
  Context device;
  device.isa = best_isa();
  const auto run = [&](ThreadPool* pool) {
    device.pool = pool;
    std::vector<float> all;
    student_->begin(device, held.get());
    for (const int t0 : {0, 100}) {
      std::vector<float> gradient(static_cast<std::size_t>(student_->n_floats()), kNan);
      all.push_back(
          static_cast<float>(student_->gradient(device, gradient.data(), held.get(), t0, t0 == 0 ? 100 : 50)));
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
  stream->process(whole.data(), x.data(), n);
  const auto twin = stream->twin();
  stream->reset();
  for (long at = 0, k = 0; at < n; ++k) {
    const long size = std::min(n - at, std::vector<long>{1, 64, 3, 700, 17, 1025}[static_cast<std::size_t>(k % 6)]);
    stream->process(pieces.data() + at, x.data() + at, size);
    at += size;
  }
  twin->process(again.data(), x.data(), n);
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
