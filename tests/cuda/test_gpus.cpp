// Several GPUs that train one model: against one GPU, against each other, against themselves, and when one fails.
#include <dlfcn.h>

#include <chrono>

#include "kernels/exchange/exchange.h"
#include "tests/cuda/training_task.h"

namespace cafx {
namespace {

using namespace op_test;

// The first n GPUs; a test of more than there are is skipped.
std::vector<int> first_gpus(int n) {
  std::vector<int> gpus;
  for (int i = 0; i < n; ++i) gpus.push_back(i);
  return gpus;
}
#define NEEDS_GPUS(n) \
  if (gpu_count() < (n)) GTEST_SKIP() << "needs " << (n) << " GPUs, there are " << gpu_count()

double norm(const std::vector<float>& x) {
  double sum = 0.0;
  for (const float v : x) sum += static_cast<double>(v) * v;
  return std::sqrt(sum);
}
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0.0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(sum);
}

// Every type of the registry and its variants: every GPU takes the controls of its own places and leaves out for them.
class GpusTrain : public ::testing::TestWithParam<std::string> {
 protected:
  static Task task(std::size_t n_places) {
    const std::string type = GetParam();
    return type == "cafx" ? Task(n_places) : Task(n_places, *tiny::config(type));
  }
};
std::vector<std::string> trained_types() {
  std::vector<std::string> names = model_type_names();
  for (const std::string& variant : tiny::variants()) names.push_back(variant);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Types, GpusTrain, ::testing::ValuesIn(trained_types()),
                         [](const auto& info) { return tiny::Case::letters(info.param); });

void expect_equal_replicas(const Result& r, int n) {
  ASSERT_EQ(r.replicas.size(), static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    const auto& weights = r.replicas[static_cast<std::size_t>(i)];
    ASSERT_EQ(weights.size(), r.weights.size());
    expect_same_bits(weights.data(), r.weights.data(), weights.size(), "replica");
  }
}

void expect_equal_bits(const Result& a, const Result& b) {
  ASSERT_EQ(a.records.size(), b.records.size());
  for (std::size_t i = 0; i < a.records.size(); ++i) {
    EXPECT_EQ(a.records[i].loss, b.records[i].loss) << i;
    EXPECT_EQ(a.records[i].norm, b.records[i].norm) << i;
  }
  expect_same_bits(a.weights.data(), b.weights.data(), a.weights.size(), "weights");
  expect_same_bits(a.m.data(), b.m.data(), a.m.size(), "m");
  expect_same_bits(a.v.data(), b.v.data(), a.v.size(), "v");
  expect_same_bits(a.average.data(), b.average.data(), a.average.size(), "average");
}

std::vector<float> gradient_of_update(Stepper& stepper, const Task& s, long update) {
  stepper.begin_epoch(s.order, s.rates(0.0f), 0, 0);  // at rate 0 the weights stay
  stepper.enqueue(static_cast<long>(s.steps()));
  stepper.collect(true);
  return stepper.gradient_of(update);
}

// Of a full batch of 8 and of a last one of 2, where two GPUs of four have no place: the bound that stepper.h states.
// Of streams in each of their blocks.
TEST_P(GpusTrain, AGradientIsThatOfTheWholeBatch) {
  NEEDS_GPUS(2);
  const Task s = task(8 + 2);
  const auto updates = static_cast<long>(s.rates(0.0f).size());
  std::vector<std::vector<float>> want;
  for (int n = 1; n <= std::min(4, gpu_count()); ++n) {
    std::unique_ptr<GpuTeam> team;
    if (n > 1) team = std::make_unique<GpuTeam>(Context(), first_gpus(n));
    const Context& context = team ? team->context(0) : cuda_context();
    make_current(context);
    const auto model = s.model();
    Places places(context, s.signals(), s.refs);
    const std::vector<float> zeros(static_cast<std::size_t>(model->n_floats()), 0.0f);
    const auto stepper = team ? make_stepper(*team, *model, places, s.settings, zeros, zeros)
                              : make_stepper(context, *model, places, s.settings, zeros, zeros);
    for (long update = 0; update < updates; ++update) {
      const std::vector<float> got = gradient_of_update(*stepper, s, update);
      if (n == 1) {
        want.push_back(got);
        EXPECT_GT(norm(got), 1e-3);
        continue;
      }
      const auto& one = want[static_cast<std::size_t>(update)];
      EXPECT_TRUE(distance(got, one) <= kGpusGradientBound * norm(one))
          << n << " GPUs, update " << update << ": " << distance(got, one) / norm(one);
    }
  }
}

// 2 and 4 GPUs, and 3, which divide neither the batch nor the gradient; clipping bites, the last batch has fewer places
// than there are GPUs.
TEST_P(GpusTrain, FollowOneGpuAndEachOtherToTheBit) {
  NEEDS_GPUS(2);
  Task s = task(8 * 4 + 1);
  s.settings.clip_norm = 0.005;
  const Result one = train(cuda_context(), s, kSupervised, 2, 3);
  EXPECT_EQ(one.records.size(), 2 * s.rates(0.0f).size());
  expect_equal_replicas(one, 1);
  for (int n = 2; n <= std::min(4, gpu_count()); ++n) {
    GpuTeam team(Context(), first_gpus(n));
    const Result got = train(team, s, kSupervised, 2, 3);
    ASSERT_EQ(got.records.size(), one.records.size());
    for (std::size_t i = 0; i < got.records.size(); ++i) {
      const StepRecord &a = got.records[i], &b = one.records[i];
      EXPECT_TRUE(std::abs(a.loss - b.loss) <= 1e-5 * b.loss)
          << n << " GPUs, update " << i << ": " << a.loss << ", " << b.loss;
      EXPECT_TRUE(std::abs(a.norm - b.norm) <= 1e-4 * b.norm)
          << n << " GPUs, update " << i << ": " << a.norm << ", " << b.norm;
      EXPECT_GT(a.norm, s.settings.clip_norm);
    }
    EXPECT_TRUE(distance(got.weights, one.weights) <= 1e-4 * norm(one.weights))
        << n << " GPUs: " << distance(got.weights, one.weights) / norm(one.weights);
    EXPECT_TRUE(distance(got.average, one.average) <= 1e-4 * norm(one.average)) << n << " GPUs";
    expect_equal_replicas(got, n);
  }
}

// In parts, with LAMB, enqueued one by one and all at once. Once more with VGPU_LAZY, where a wait that is missing
// shows.
TEST_P(GpusTrain, TwoRunsGiveEqualBits) {
  NEEDS_GPUS(2);
  Task s = task(8 * 3 + 3);
  if (s.settings.updates() == 1) s.settings.accumulate = 2;
  s.settings.optimiser = &optimiser("lamb");
  for (const std::string& form : model_type(s.config->type()).forms) {
    GpuTeam team(Context(), first_gpus(2));
    const Result a = train(team, s, form, 1, 1), b = train(team, s, form, 1, 4);
    expect_equal_bits(a, b);
    expect_equal_replicas(a, 2);
    expect_equal_replicas(b, 2);
  }
}

// In the steady state a step is one call on each GPU: the launch of its graph, exchange included. Counted by the
// virtual GPU.
TEST_P(GpusTrain, AStepInTheSteadyStateIsOneCallOnEach) {
  NEEDS_GPUS(2);
  const auto get = reinterpret_cast<double (*)(const char*)>(dlsym(RTLD_DEFAULT, "vgpu_profile_get"));
  if (!get || get("total.api_calls") < 0) GTEST_SKIP() << "needs the virtual GPU with VGPU_PROFILE set";
  constexpr int kGpus = 2;
  const Task s = task(8 * 20);
  GpuTeam team(Context(), first_gpus(kGpus));
  make_current(team.context(0));
  const auto model = s.model();
  const std::vector<float> zeros(static_cast<std::size_t>(model->n_floats()), 0.0f);
  Places places(team.context(0), s.signals(), s.refs);
  const auto stepper = make_stepper(team, *model, places, s.settings, zeros, zeros);
  stepper->begin_epoch(s.order, s.rates(1e-3f), 0, 0);
  stepper->enqueue(3);
  stepper->collect(true);
  const auto sum = [&](const char* what) { return get((std::string("total.") + what).c_str()); };
  const double calls = sum("api_calls"), allocations = sum("allocs"), waits = sum("syncs"),
               implicit_waits = sum("implicit_syncs"), copies = sum("host_device_copies");
  stepper->enqueue(12);
  // On each twelve launches, and the records of all twelve read back: a pinned block, an event, the copy, the event's
  // record.
  EXPECT_EQ(sum("api_calls") - calls, kGpus * (12 + 4));
  EXPECT_EQ(sum("syncs"), waits);
  EXPECT_EQ(sum("implicit_syncs"), implicit_waits);
  EXPECT_EQ(sum("allocs"), allocations);
  EXPECT_EQ(stepper->collect(true).size(), static_cast<std::size_t>(12 * s.settings.updates()));
  EXPECT_EQ(sum("host_device_copies") - copies, kGpus);  // counted when they run, behind the exchange
}

// What a GPU that is lost looks like to the others: they wait for a rank that never comes. The virtual NCCL's abort
// does not end a send, its VGPU_TIMEOUT does.
TEST(Gpus, OneThatIsLostFreesTheOthersAndIsNamed) {
  NEEDS_GPUS(2);
  GpuTeam team(Context(), first_gpus(2));
  const auto start = std::chrono::steady_clock::now();
  const auto fail = [&] {
    team.run([&](int rank) {
      if (rank == 1) throw Error("it is lost");
      const long n = 1000;
      const Context& context = team.context(rank);
      DeviceArray<float> gradient(context, static_cast<std::size_t>(exchange_padded(n, 2)));
      DeviceArray<double> loss(context, 1);
      DeviceArray<unsigned char> scratch(context, exchange_scratch(n, 2));
      gradient.fill_zero();
      loss.fill_zero();
      team.exchange(rank).sum(context, gradient.data(), loss.data(), {1, 1}, n, scratch.data(), true);
    });
  };
  try {
    fail();
    FAIL() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "GPU 1: it is lost");
  }
  EXPECT_TRUE(team.failed());
  EXPECT_THROW(fail(), Error);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(25));
}

TEST(Gpus, AreChosenByNumberAllOrList) {
  const int n = gpu_count();
  const auto refusal = [](const std::string& device, const std::string& text, bool asked) -> std::string {
    try {
      choose_gpus(device, text, asked);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_TRUE(choose_gpus("auto", "", false).empty());
  EXPECT_TRUE(choose_gpus("auto", "1", true).empty());
  EXPECT_TRUE(choose_gpus("auto", "0", true).empty()) << "0 is a list of one: the first GPU";
  EXPECT_EQ(choose_gpus("cuda", "all", true).size(), n == 1 ? 0u : static_cast<std::size_t>(n));
  EXPECT_TRUE(choose_gpus("cpu", "all", false).empty()) << "a run's config gives way";
  EXPECT_NE(refusal("cpu", "all", true).find("--device cuda"), std::string::npos);
  EXPECT_NE(refusal("cuda", std::to_string(n + 1), true).find("there "), std::string::npos);
  EXPECT_NE(refusal("cuda", "0,0", true).find("twice"), std::string::npos);
  EXPECT_NE(refusal("cuda", "0," + std::to_string(n), true).find("numbered from 0"), std::string::npos);
  for (const char* text : {"two", "-1", "0,", ",", "1.5", "0;1"}) {
    EXPECT_NE(refusal("cuda", text, true).find("expected a number of GPUs"), std::string::npos) << text;
  }
  NEEDS_GPUS(2);
  EXPECT_EQ(choose_gpus("auto", "2", false), (std::vector<int>{0, 1}));
  EXPECT_EQ(choose_gpus("cuda", "1,0", true), (std::vector<int>{1, 0}));
}

}  // namespace
}  // namespace cafx
