#include "kernels/device/precision.h"

#include <vector>

#include "kernels/base/error.h"

namespace cafx {

const char* to_string(Precision p) {
  switch (p) {
    case Precision::kFp32:
      return "fp32";
    case Precision::kTf32:
      return "tf32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kFp16:
      return "fp16";
  }
  return "?";
}

Precision parse_precision(const std::string& name) {
  for (const Precision p : {Precision::kFp32, Precision::kTf32, Precision::kBf16, Precision::kFp16}) {
    if (name == to_string(p)) return p;
  }
  throw Error("unknown precision '{}'; known are fp32, tf32, bf16, fp16", name);
}

static thread_local Precision emulated = Precision::kFp32;

EmulatedPrecision::EmulatedPrecision(Precision p) : before_(emulated) { emulated = p; }
EmulatedPrecision::~EmulatedPrecision() { emulated = before_; }
bool EmulatedPrecision::is_on() { return emulated != Precision::kFp32; }

const float* rounded_copy(int which, const float* from, long n) {
  static thread_local std::vector<float> buffers[2];
  std::vector<float>& to = buffers[which];
  if (to.size() < static_cast<std::size_t>(n)) to.resize(static_cast<std::size_t>(n));
  float* out = to.data();
  // The format is chosen outside the loop, so that each loop vectorises.
  const auto round_all = [&]<Precision kTo>() {
    for (long i = 0; i < n; ++i) out[i] = round_to(from[i], kTo);
  };
  if (emulated == Precision::kTf32) {
    round_all.template operator()<Precision::kTf32>();
  } else if (emulated == Precision::kBf16) {
    round_all.template operator()<Precision::kBf16>();
  } else {
    round_all.template operator()<Precision::kFp16>();
  }
  return out;
}

}  // namespace cafx
