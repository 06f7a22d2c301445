// host/draw/wav.h -- audio inside a page or an event file: 16-bit mono WAV, its samples times gain, cut to full scale.
#pragma once

#include <string>
#include <vector>

namespace cafx {

std::string base64(const std::string& bytes);
std::string wav_bytes(const std::vector<float>& x, int sample_rate, double gain);
std::string wav_data_uri(const std::vector<float>& x, int sample_rate, double gain);

}  // namespace cafx
