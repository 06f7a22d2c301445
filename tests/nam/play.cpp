// play MODEL.nam IN.f32 OUT.f32: what NeuralAmpModelerCore makes of raw mono floats, in blocks of 64 as a host has
// them.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <vector>

#include "NAM/dsp.h"
#include "NAM/get_dsp.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto model = nam::get_dsp(std::filesystem::path(argv[1]));
  std::vector<float> x;
  std::ifstream in(argv[2], std::ios::binary);
  for (float sample; in.read(reinterpret_cast<char*>(&sample), sizeof sample);) x.push_back(sample);
  constexpr std::size_t kBlock = 64;
  model->Reset(model->GetExpectedSampleRate(), static_cast<int>(kBlock));
  std::ofstream out(argv[3], std::ios::binary);
  for (std::size_t at = 0; at < x.size(); at += kBlock) {
    const std::size_t n = std::min(kBlock, x.size() - at);
    std::vector<NAM_SAMPLE> a(x.begin() + static_cast<long>(at), x.begin() + static_cast<long>(at + n)), b(n);
    NAM_SAMPLE *from = a.data(), *to = b.data();
    model->process(&from, &to, static_cast<int>(n));
    for (const NAM_SAMPLE sample : b) {
      const float value = static_cast<float>(sample);
      out.write(reinterpret_cast<const char*>(&value), sizeof value);
    }
  }
  std::printf("%g\n", model->GetExpectedSampleRate());
  return out ? 0 : 1;
}
