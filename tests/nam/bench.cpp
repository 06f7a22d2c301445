// bench MODEL.nam BLOCKS: NeuralAmpModelerCore plays noise in blocks of 64, as a host has them, and the seconds that
// each took are written. The peer of `cafx bench --realtime --peer`.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <vector>

#include "NAM/activations.h"
#include "NAM/dsp.h"
#include "NAM/get_dsp.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto model = nam::get_dsp(std::filesystem::path(argv[1]));
  constexpr int kBlock = 64;
  const int blocks = std::atoi(argv[2]);
  model->Reset(model->GetExpectedSampleRate(), kBlock);
  std::mt19937 random(1);
  std::normal_distribution<double> normal(0.0, 0.1);
  std::vector<NAM_SAMPLE> x(static_cast<std::size_t>(blocks) * kBlock), y(kBlock);
  for (NAM_SAMPLE& sample : x) sample = static_cast<NAM_SAMPLE>(normal(random));
  std::vector<double> seconds;
  for (int b = -100; b < blocks; ++b) {  // the first hundred to warm up
    NAM_SAMPLE *from = x.data() + static_cast<std::ptrdiff_t>(std::max(0, b)) * kBlock, *to = y.data();
    const auto start = std::chrono::steady_clock::now();
    model->process(&from, &to, kBlock);
    if (b >= 0) seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  for (const double s : seconds) std::printf("%.9g\n", s);
  return 0;
}
