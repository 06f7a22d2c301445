// host/export/nam_file.h -- a model as a .nam file, which NeuralAmpModeler and the hosts that play its models read.
//
//   JSON      version "0.5.4": the lowest that holds all that models/ has of it; architecture "LSTM" or "WaveNet",
//             config, weights, sample_rate (Hz), metadata: name, loudness and gain as that project's trainer
//             measures them (host/export/nam_loudness.h), input_level_dbu and output_level_dbu where they are known:
//             the analogue levels in dBu that 0 dB of full scale stand for; training.validation_esr where it was
//             measured, and under "cafx" the version, the kind and the quality (host/train/quality.h)
//   Weights   and config from Model::nam
//   Knobs     At one position a model is as one without any. Else it is written for hosts of the parametric fork:
//             version "1.0.0", architecture "ConcatLSTM" or "FiLMWaveNet", and in config a list "params": of each knob
//             name, min, max, default, type ("continuous" or "switch"), enum_names (the positions of a switch), step
//             (null).
//   Bytes     equal models give equal bytes: no date is written.
//   Errors    Error naming what the format cannot express. Nothing is approximated.
#pragma once

#include <filesystem>
#include <string>

#include "models/play/weights_file.h"

namespace cafx {

inline constexpr const char* kNamVersion = "0.5.4";
inline constexpr const char* kParametricNamVersion = "1.0.0";
// Of a file's metadata, as text.
inline constexpr const char* kNamInputLevel = "input_level_dbu";
inline constexpr const char* kNamOutputLevel = "output_level_dbu";
inline constexpr int kNamRate = 48000;  // Hz: what hosts run at where they do not resample

// Empty: it can be written; else why not.
std::string why_not_nam(const Model&);
std::string nam_text(const ModelFile&, const std::string& name);
void save_nam(const std::filesystem::path&, const ModelFile&, const std::string& name);

}  // namespace cafx
