// datasets/audio_file.h -- audio files in and out, always as mono float.
//
//   Reading  any format, rate, bit depth and channel count that libsndfile knows. Mono rule: the mean of the channels.
//            Resampled by libsoxr at its very high quality.
//   Clipping is looked for in each channel at the file's own rate: resampling rounds the flat tops off.
//   Writing  WAV or FLAC by the name's ending; to a temporary name, then renamed.
//   Headers  a wrong length in a header is mended in memory, with a note, where the samples are there (container.h)
//   Errors   Error naming the file, what was found and the cure: no such file, empty, not audio, rate 0.
//            DamagedAudio: cut off, a checksum that fails, NaN or infinite samples; with the place, and what is lost.
//   Memory   64 MiB and 4 bytes for each sample that is really decoded, at most kMostFrames of them (recording.h). For
//            what a header promises, at most four times the file's own size is reserved.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "datasets/recording.h"
#include "kernels/base/error.h"

namespace cafx {

inline constexpr std::int64_t kMostFrames = std::int64_t{1} << 30;  // 6.2 hours at 48 kHz

// A file whose samples are good up to a place.
class DamagedAudio : public Error {
 public:
  DamagedAudio(const std::string& text, double at) : Error(text), at_seconds(at) {}
  double at_seconds;
};

// The samples of a file from first to last.
class AudioReader {
 public:
  explicit AudioReader(const std::filesystem::path&);
  AudioReader(const void* bytes, std::size_t n, std::string name);  // a file in memory, which must outlive this
  ~AudioReader();
  AudioReader(const AudioReader&) = delete;
  AudioReader& operator=(const AudioReader&) = delete;

  int sample_rate() const;
  int channels() const;
  int bits() const;  // of integer formats; 0: float or unknown
  bool is_float() const;
  std::int64_t frames() const;                    // as the header promises; 0: unknown
  const std::vector<std::string>& notes() const;  // where the header is wrong and nothing is lost, clauses

  // Up to n frames, channels side by side; 0 once all are read. DamagedAudio behind the last good one.
  std::size_t read(float* to, std::size_t n);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Tops of a signal cut flat: runs of at least four equal samples at its highest magnitude, with a corner at an end.
struct Clipping {
  std::size_t n_runs = 0;
  double first_seconds = 0.0;
  float level = 0.0f;  // the highest magnitude, of full scale
};

struct Audio {
  Recording samples;
  int sample_rate = 0;  // of samples, in Hz

  // As found in the file:
  int file_rate = 0, file_channels = 0, file_bits = 0;  // bits: of integer formats; 0: float or unknown
  Clipping clipping;                                    // of the channel with the most
  bool file_float = false;
  std::vector<std::string> notes;  // what is wrong with its header, nothing being lost
};

// sample_rate 0 keeps the file's.
// channel: counted from 0; negative: the mean of all.
Audio read_audio(const std::filesystem::path&, int sample_rate, int channel = -1);

Clipping find_clipping(std::span<const float> x, double rate_hz);

enum class SampleFormat { kPcm16, kPcm24, kFloat };

// One channel, as WAV or FLAC by the name's ending (float in a FLAC: 24 bits); marked as made by cafx. Equal samples,
// equal bytes. The file appears under its name once finish() was called.
class AudioWriter {
 public:
  AudioWriter(const std::filesystem::path&, int sample_rate, SampleFormat);
  static bool is_wav(const std::filesystem::path&);  // by its ending, in letters of any case
  ~AudioWriter();                                    // what is not finished is removed
  AudioWriter(const AudioWriter&) = delete;
  AudioWriter& operator=(const AudioWriter&) = delete;

  void write(const float* x, std::size_t n);
  void finish();
  // What was written so far, as NAME.partial.wav; empty where nothing was.
  std::filesystem::path keep_part();

 private:
  struct State;
  void close_as(const std::filesystem::path&);
  std::unique_ptr<State> state_;
};
// Error where `path` is there and no file that an AudioWriter made: somebody's recording. `cure` ends the sentence.
void refuse_to_overwrite(const std::filesystem::path&, const std::string& cure);
void write_audio(const std::filesystem::path&, std::span<const float> samples, int sample_rate, SampleFormat);

// From one rate to another; the result has round(n to / from) samples, sample i at time i / to.
Recording resample(std::span<const float> x, double from_hz, double to_hz);

}  // namespace cafx
