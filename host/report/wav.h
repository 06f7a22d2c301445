// host/report/wav.h -- audio inside a page: 16-bit mono WAV as a base64 data URI.
#pragma once

#include <string>
#include <vector>

namespace cafx {

std::string base64(const std::string& bytes);
// Samples times gain, cut to full scale.
std::string wav_data_uri(const std::vector<float>& x, int sample_rate, double gain);

}  // namespace cafx
