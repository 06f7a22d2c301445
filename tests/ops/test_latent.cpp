#include "kernels/latent/latent.h"

#include "kernels/dense/dense.h"
#include "kernels/local_dense/local_dense.h"
#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

// A batch that does not fill the last four frames; one frame at a time; as many channels as there are, and few.
TEST(Latent, MatchesReference) {
  if (!on_cuda()) GTEST_SKIP() << "of a GPU alone";
  for (const LatentDims d : {LatentDims{34, 64, 64, 128}, {5, 64, 64, 32}, {1, 64, 64, 8}}) {
    const LocalDenseDims local{d.B, d.I, d.O, d.C, Activation::kSoftplus};
    const DenseTimeDims dense{d.B, d.O, d.I, d.C, Activation::kSoftplus};
    const double range = std::sqrt(3.0 / d.I);
    const Vec z = random(d.B * d.I * d.C, 1), w1 = random(d.C * d.O * d.I, 2, -range, range),
              bias1 = random(d.C * d.O, 3), w2 = random(d.I * d.O, 4, -range, range), bias2 = random(d.I, 5),
              dzhat = random(d.B * d.I * d.C, 6), h = reference::local_dense_forward(z, w1, bias1, local),
              zhat = reference::dense_time_forward(h, w2, bias2, dense), fh = as_floats(h), fzhat = as_floats(zhat);
    Vec dw1(w1.size()), dbias1(bias1.size()), dw2(w2.size()), dbias2(bias2.size());
    const Vec dh = reference::dense_time_backward(dw2, dbias2, dzhat, fzhat, fh, w2, dense),
              dz = reference::local_dense_backward(dw1, dbias1, dh, fh, z, w1, local);
    const std::string sizes = fmt::format("B={} C={}", d.B, d.C);
    check_op(sizes, {{"z", z}, {"w1", w1}, {"bias1", bias1}, {"w2", w2}, {"bias2", bias2}},
             {sets("h", h), sets("zhat", zhat)},
             by_name(latent_forward, "h", "zhat", "z", "w1", "bias1", "w2", "bias2", d));
    check_op(sizes, {{"dzhat", dzhat}, {"zhat", fzhat}, {"h", fh}, {"z", z}, {"w1", w1}, {"w2", w2}},
             {sets("dz", dz), adds("dw1", dw1), adds("dbias1", dbias1), adds("dw2", dw2), adds("dbias2", dbias2)},
             by_name(latent_backward, "dz", "dw1", "dbias1", "dw2", "dbias2", "dzhat", "zhat", "h", "z", "w1", "w2",
                     "scratch", d),
             bytes_of(latent_scratch, d));
  }
}

TEST(Latent, RefusesWhatItIsNotFor) {
  EXPECT_FALSE(latent_is_fused({}, {1, 64, 64, 8})) << "a CPU";
  expect_refused({LatentDims{0, 64, 64, 8}, {1, 63, 64, 8}, {1, 64, 32, 8}, {1, 64, 64, 12}, {1, 64, 64, 8}},
                 latent_forward, latent_backward);
}

}  // namespace
}  // namespace cafx
