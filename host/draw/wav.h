// host/draw/wav.h -- audio for pages and event files: 16-bit mono WAV of samples times gain, clipped to full scale.
#pragma once

#include <string>
#include <vector>

namespace cafx {

std::string base64(const std::string& bytes);
std::string wav_bytes(const std::vector<float>& x, int sample_rate, double gain);
std::string wav_data_uri(const std::vector<float>& x, int sample_rate, double gain);

}  // namespace cafx
