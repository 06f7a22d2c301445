// host/distill/nam_file.h -- a student as a .nam file, which NeuralAmpModeler and the hosts that play its models read.
//
//   JSON      version "0.5.4": the lowest that holds both kinds; architecture "LSTM" or "WaveNet", config, weights,
//             sample_rate (Hz), metadata: name, training.validation_esr where it was measured, and under "cafx" the version,
//             the kind and the quality (host/distill/quality.h)
//   Weights   LSTM: of each layer [4H, I+H] by rows i, f, g, o; bias; h and c at rest. Then the head's weights and bias.
//             WaveNet: of each array rechannel; of each layer convolution [out][in][tap], its bias, input mixer, 1x1, its
//             bias; the array's head. Then the head's scale.
//   Bytes     equal students give equal bytes: no date is written.
//   Errors    Error naming what the format cannot express. Nothing is approximated.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "host/distill/student_file.h"

namespace cafx {

inline constexpr const char* kNamVersion = "0.5.4";
inline constexpr int kNamRate = 48000;  // Hz: what hosts run at where they do not resample

std::vector<float> nam_weights(const Model&);
std::string nam_text(const StudentFile&, const std::string& name);
void save_nam(const std::filesystem::path&, const StudentFile&, const std::string& name);

}  // namespace cafx
