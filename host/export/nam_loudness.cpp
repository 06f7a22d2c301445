#include "host/export/nam_loudness.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "datasets/audio_file.h"

// The file's bytes in the program, between two names.
asm(R"(
.section .rodata
.balign 16
cafx_nam_loudness_begin:
.incbin ")" CAFX_NAM_LOUDNESS R"("
cafx_nam_loudness_end:
.byte 0
.text
)");
extern "C" const unsigned char cafx_nam_loudness_begin[], cafx_nam_loudness_end[];

namespace cafx {

const std::vector<float>& nam_loudness_input() {
  static const std::vector<float> samples = [] {
    AudioReader reader(cafx_nam_loudness_begin,
                       static_cast<std::size_t>(cafx_nam_loudness_end - cafx_nam_loudness_begin), "nam_loudness.flac");
    std::vector<float> x;
    std::vector<float> block(4096);
    while (const std::size_t n = reader.read(block.data(), block.size())) {
      x.insert(x.end(), block.begin(), block.begin() + static_cast<long>(n));
    }
    return x;
  }();
  return samples;
}

NamLoudness nam_loudness(const std::function<std::vector<float>(const std::vector<float>&)>& play) {
  constexpr int kGains = 11;
  double sum = 0.0, full = 0.0;
  for (int i = 0; i < kGains; ++i) {
    std::vector<float> x = nam_loudness_input();
    const auto gain = static_cast<float>(i / (kGains - 1.0));
    for (float& v : x) v *= gain;
    double power = 0.0;
    for (const float v : play(x)) power += static_cast<double>(v) * v;
    full = std::sqrt(power / static_cast<double>(x.size()));  // at last that of gain 1
    sum += full;
  }
  const double square = full * kGains, triangle = 0.5 * square;
  return {20.0 * std::log10(full), full > 0.0 ? std::clamp((sum - triangle) / (square - triangle), 0.0, 1.0) : 0.0};
}

}  // namespace cafx
