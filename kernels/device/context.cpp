#include "kernels/device/context.h"

#include <algorithm>

#include "kernels/base/error.h"

#define CAFX_TEXT_OF(name) #name
#define CAFX_TEXT(name) CAFX_TEXT_OF(name)

namespace cafx {

const char* to_string(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "?";
}

Isa best_isa() {
#ifdef CAFX_HAS_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    return Isa::kAvx512;
  }
#endif
#ifdef CAFX_HAS_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::kAvx2;
#endif
#ifdef CAFX_HAS_PORTABLE
  return Isa::kPortable;
#else
  throw Error(
      "this build holds CPU kernels for {} alone, which this processor lacks; build it here, or with -DCAFX_ISA=ALL",
      CAFX_TEXT(CAFX_NARROWEST_ISA));
#endif
}

Isa parse_isa(const std::string& name) {
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (name != to_string(isa)) continue;
    bool built = false;
#ifdef CAFX_HAS_PORTABLE
    built = built || isa == Isa::kPortable;
#endif
#ifdef CAFX_HAS_AVX2
    built = built || isa == Isa::kAvx2;
#endif
#ifdef CAFX_HAS_AVX512
    built = built || isa == Isa::kAvx512;
#endif
    if (!built) throw Error("instruction set '{}' is not in this build; configure with -DCAFX_ISA=ALL", name);
    if (isa > best_isa()) {
      throw Error("instruction set '{}' is not on this processor, which has '{}'", name, to_string(best_isa()));
    }
    return isa;
  }
  throw Error("unknown instruction set '{}'; known are portable, avx2, avx512", name);
}

bool bf16_units(const Context& context) {
#if defined(CAFX_HAS_AVX512)
  static const bool has_units = __builtin_cpu_supports("avx512bf16");
  return has_units && context.use_bf16_units && context.precision == Precision::kBf16 &&
         context.device == Device::kCpu && context.isa == Isa::kAvx512;
#else
  (void)context;
  return false;
#endif
}

int n_slots(const Context& context, int B) { return context.device == Device::kCpu ? std::min(kGradientSlots, B) : 1; }

int frames_per_call(const Context& context, int B) { return context.device == Device::kCpu ? 1 : B; }

void over_frames(const Context& context, int B, const std::function<void(const MicroBatch&)>& body) {
  const int S = n_slots(context, B);
  over_tasks(context, S, [&](const Context& inner, int s) {
    const auto first = [&](int i) { return static_cast<int>(static_cast<long long>(i) * B / S); };
    body({inner, first(s), first(s + 1), s, frames_per_call(context, B)});
  });
}

void over_tasks(const Context& context, int n, const std::function<void(const Context&, int)>& task) {
  Context inner = context;
  inner.pool = nullptr;
  if (!context.pool || n <= 1) {
    for (int i = 0; i < n; ++i) task(inner, i);
    return;
  }
  context.pool->run(n, [&](int i, int worker) {
    Context mine = inner;
    mine.worker = worker;
    task(mine, i);
  });
}

}  // namespace cafx
