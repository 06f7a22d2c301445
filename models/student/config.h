// models/student/config.h -- every size and choice of a student, and the presets, whose sizes are NAM's.
#pragma once

#include <string>
#include <vector>

#include "kernels/base/describe.h"

namespace cafx {

struct StudentConfig {
  std::string kind = "lstm";  // or "wavenet"
  int sample_rate = 0;        // 0: the teacher's, or that of the recordings
  int hidden = 24, layers = 1;
  // WaveNet: one array of layers for each number in `channels`; `dilations` holds all arrays' layers, one after the other.
  std::vector<int> channels = {16, 8}, array_layers = {10, 10};
  std::vector<int> dilations = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
  int taps = 3;
  bool gated = false;
  double head_scale = 0.02;
};

Fields describe(StudentConfig&);

// "lstm", "lstm-lite", "lstm-feather", "lstm-nano", "wavenet", "wavenet-lite", ...: Error lists them.
StudentConfig student_preset(const std::string& name);
std::vector<std::string> student_presets();

// Error that names the field, the value and what would do.
void check(const StudentConfig&, const std::string& where);

}  // namespace cafx
