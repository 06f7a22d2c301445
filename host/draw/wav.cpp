#include "host/draw/wav.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace cafx {

std::string base64(const std::string& bytes) {
  static const char* const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t v = 0;
    for (std::size_t j = 0; j < 3; ++j)
      v = v << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j) out += i + j <= bytes.size() ? digits[v >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

std::string wav_bytes(const std::vector<float>& x, int sample_rate, double gain) {
  std::string wav;
  const auto put = [&](std::uint32_t v, int n) {
    for (int i = 0; i < n; ++i) wav += static_cast<char>(v >> (8 * i) & 255);
  };
  const auto n = static_cast<std::uint32_t>(2 * x.size()), rate = static_cast<std::uint32_t>(sample_rate);
  wav += "RIFF";
  put(36 + n, 4);
  wav += "WAVEfmt ";
  put(16, 4);
  put(1, 2);
  put(1, 2);
  put(rate, 4);
  put(2 * rate, 4);
  put(2, 2);
  put(16, 2);
  wav += "data";
  put(n, 4);
  for (const float v : x) {
    const double s = std::isfinite(v) ? std::clamp(gain * v, -1.0, 1.0) : 0.0;
    put(static_cast<std::uint16_t>(static_cast<std::int16_t>(std::lround(32767.0 * s))), 2);
  }
  return wav;
}

std::string wav_data_uri(const std::vector<float>& x, int sample_rate, double gain) {
  return "data:audio/wav;base64," + base64(wav_bytes(x, sample_rate, gain));
}

}  // namespace cafx
