// datasets/audio_file.h -- audio files in and out, always as mono float.
//
//   Reading  any format, rate, bit depth and channel count that libsndfile knows. Mono rule: the mean of the channels.
//            Resampled by libsoxr at its very high quality.
//   Clipping is looked for in each channel at the file's own rate: resampling rounds the flat tops off.
//   Writing  WAV or FLAC by the name's ending; to a temporary name, then renamed.
//   Errors   Error naming the file, what was found and the cure: no such file, empty, cut off (the header promises more
//            than there is), not audio, rate 0, NaN or infinite samples (with the place in seconds).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cafx {

// Tops of a signal cut flat: runs of at least four equal samples at its highest magnitude, with a corner at an end.
struct Clipping {
  std::size_t n_runs = 0;
  double first_seconds = 0.0;
  float level = 0.0f;  // the highest magnitude, of full scale
};

struct Audio {
  std::vector<float> samples;
  int sample_rate = 0;  // of samples, in Hz

  // As found in the file:
  int file_rate = 0, file_channels = 0, file_bits = 0;  // bits: of integer formats; 0: float or unknown
  Clipping clipping;                                    // of the channel with the most
};

// Refuses what read_audio would refuse at sight (header and size), without reading the samples.
void probe_audio(const std::filesystem::path&);
// sample_rate 0 keeps the file's.
Audio read_audio(const std::filesystem::path&, int sample_rate);

Clipping find_clipping(const std::vector<float>& x, double rate_hz);

enum class SampleFormat { kPcm16, kPcm24, kFloat };
void write_audio(const std::filesystem::path&, const std::vector<float>& samples, int sample_rate, SampleFormat);

// From one rate to another; the result has round(n to / from) samples, sample i at time i / to.
std::vector<float> resample(const std::vector<float>& x, double from_hz, double to_hz);

}  // namespace cafx
