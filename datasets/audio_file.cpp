#include "datasets/audio_file.h"

#include <sndfile.h>
#include <soxr.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>

#include "kernels/base/error.h"

namespace cafx {

namespace {

struct CloseFile {
  void operator()(SNDFILE* f) const { sf_close(f); }
};
using SndFile = std::unique_ptr<SNDFILE, CloseFile>;

int bits_of(int format) {
  switch (format & SF_FORMAT_SUBMASK) {
    case SF_FORMAT_PCM_S8:
    case SF_FORMAT_PCM_U8:
      return 8;
    case SF_FORMAT_PCM_16:
      return 16;
    case SF_FORMAT_PCM_24:
      return 24;
    case SF_FORMAT_PCM_32:
      return 32;
    default:
      return 0;
  }
}

// A WAV whose data chunk promises more bytes than the file has: libsndfile reads what is there and says so in its log
// alone, as "data : PROMISED (should be THERE)". Programs that write to a pipe state the largest size that there is, or
// nearly, because they do not know it: that is no promise.
void check_not_cut_off(const std::filesystem::path& path, SNDFILE* file) {
  constexpr unsigned long kUnknownLength = 0x7ff00000;
  char log[4096] = {};
  sf_command(file, SFC_GET_LOG_INFO, log, sizeof log);
  for (const char* line = log; line; line = std::strchr(line, '\n')) {
    line += *line == '\n';
    unsigned long promised = 0, there = 0;
    if (std::sscanf(line, "data : %lu (should be %lu)", &promised, &there) != 2) continue;
    if (promised > there && promised < kUnknownLength) {
      throw Error(
          "{}: is cut off: its header promises {} bytes of samples, the file holds {}; copy it again from the original",
          path.string(), promised, there);
    }
  }
}

// The rate in a WAV header, -1 where there is none: libsndfile does not open a file of 0 Hz, nor say why.
long wav_rate(const std::filesystem::path& path) {
  unsigned char head[28] = {};
  std::ifstream(path, std::ios::binary).read(reinterpret_cast<char*>(head), sizeof head);
  if (std::memcmp(head, "RIFF", 4) != 0 || std::memcmp(head + 8, "WAVEfmt ", 8) != 0) return -1;
  return static_cast<long>(head[24]) | static_cast<long>(head[25]) << 8 | static_cast<long>(head[26]) << 16 |
         static_cast<long>(head[27]) << 24;
}

struct OpenFile {
  SndFile file;
  SF_INFO info{};
};

OpenFile open_audio(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) throw Error("{}: there is no such file", path.string());
  if (!std::filesystem::is_regular_file(path, ignored)) throw Error("{}: is not a file", path.string());
  if (std::filesystem::file_size(path, ignored) == 0) {
    throw Error("{}: is empty (0 bytes); record or copy it again", path.string());
  }
  OpenFile open;
  SF_INFO& info = open.info;
  SndFile& file = open.file;
  file.reset(sf_open(path.c_str(), SFM_READ, &info));
  if (!file && wav_rate(path) == 0) {
    throw Error("{}: its header states a rate of 0 Hz; mend the header or export it again", path.string());
  }
  if (!file) {
    throw Error("{}: is not audio that can be read ({}); expected WAV, FLAC, AIFF, OGG or another format of libsndfile",
                path.string(), sf_strerror(nullptr));
  }
  if (info.samplerate < 1000 || info.samplerate > 1'000'000) {
    throw Error("{}: its header states a rate of {} Hz, expected 1000 to 1000000; mend the header or export it again",
                path.string(), info.samplerate);
  }
  if (info.channels < 1 || info.channels > 1024) {
    throw Error("{}: its header states {} channels; export it as mono or stereo", path.string(), info.channels);
  }
  check_not_cut_off(path, file.get());
  if (info.frames <= 0) throw Error("{}: holds no samples; record or copy it again", path.string());
  return open;
}

// find_clipping, one sample after the other.
class ClippingFinder {
 public:
  void push(float x) {
    constexpr float kEqual = 5e-5f;
    // Four equal samples at the top of a slow and quiet wave are rounding to 16 bits; a cut leaves a corner beside them.
    const float corner = std::max(1e-3f * peak_, 2.0f / 32768.0f), a = std::abs(x);
    if (a > (1.0f + kEqual) * peak_) {
      peak_ = a;
      n_runs_ = 0;
      start_run(x);
    } else if (a < (1.0f - kEqual) * peak_ || a == 0.0f) {
      end_run(x, corner);
    } else if (length_ > 0 && x * sign_ > 0.0f) {
      ++length_;
    } else {
      end_run(x, corner);
      start_run(x);
    }
    before_ = x;
    ++at_;
  }
  Clipping result(double rate_hz) const { return {n_runs_, static_cast<double>(first_) / rate_hz, peak_}; }

 private:
  void start_run(float x) {
    length_ = 1;
    begin_ = at_;
    sign_ = x > 0.0f ? 1.0f : -1.0f;
    before_run_ = before_;
  }
  void end_run(float next, float corner) {
    if (length_ >= 4 && peak_ - std::min(sign_ * before_run_, sign_ * next) > corner) {
      if (n_runs_++ == 0) first_ = begin_;
    }
    length_ = 0;
  }

  float peak_ = 0.0f, sign_ = 1.0f, before_ = 0.0f, before_run_ = 0.0f;
  std::size_t at_ = 0, begin_ = 0, first_ = 0, length_ = 0, n_runs_ = 0;
};

}  // namespace

Clipping find_clipping(const std::vector<float>& x, double rate_hz) {
  ClippingFinder finder;
  for (const float v : x) finder.push(v);
  return finder.result(rate_hz);
}

void probe_audio(const std::filesystem::path& path) { open_audio(path); }

Audio read_audio(const std::filesystem::path& path, int sample_rate) {
  const OpenFile open = open_audio(path);
  const SF_INFO& info = open.info;
  const SndFile& file = open.file;
  Audio audio;
  audio.file_rate = info.samplerate;
  audio.file_channels = info.channels;
  audio.file_bits = bits_of(info.format);
  const auto channels = static_cast<std::size_t>(info.channels);
  constexpr sf_count_t kBlock = 65536;
  std::vector<float> block(static_cast<std::size_t>(kBlock) * channels);
  std::vector<ClippingFinder> clipping(channels);
  for (;;) {
    const sf_count_t n = sf_readf_float(file.get(), block.data(), kBlock);
    if (n <= 0) break;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      double sum = 0.0;
      for (std::size_t c = 0; c < channels; ++c) {
        sum += static_cast<double>(block[i * channels + c]);
        clipping[c].push(block[i * channels + c]);
      }
      const auto mean = static_cast<float>(sum / static_cast<double>(channels));
      if (!std::isfinite(mean)) {
        throw Error("{}: holds a sample that is {} at {:.3f} s; export it again without it", path.string(), mean,
                    static_cast<double>(audio.samples.size()) / info.samplerate);
      }
      audio.samples.push_back(mean);
    }
  }
  if (sf_error(file.get()) != SF_ERR_NO_ERROR) {
    throw Error("{}: is damaged after {:.3f} s ({}); copy it again from the original", path.string(),
                static_cast<double>(audio.samples.size()) / info.samplerate, sf_strerror(file.get()));
  }
  if (static_cast<sf_count_t>(audio.samples.size()) < info.frames) {
    throw Error("{}: is cut off: its header promises {} samples, {} are there; copy it again from the original",
                path.string(), info.frames, audio.samples.size());
  }
  for (const ClippingFinder& channel : clipping) {
    const Clipping c = channel.result(info.samplerate);
    if (c.n_runs > audio.clipping.n_runs || audio.clipping.level == 0.0f) audio.clipping = c;
  }
  audio.sample_rate = info.samplerate;
  if (sample_rate != 0 && sample_rate != info.samplerate) {
    audio.samples = resample(audio.samples, info.samplerate, sample_rate);
    audio.sample_rate = sample_rate;
  }
  return audio;
}

void write_audio(const std::filesystem::path& path, const std::vector<float>& samples, int sample_rate,
                 SampleFormat format) {
  const bool flac = path.extension() == ".flac";
  if (!flac && path.extension() != ".wav") {
    throw Error("{}: audio is written as .wav or .flac; choose one of these endings", path.string());
  }
  if (flac && format == SampleFormat::kFloat) format = SampleFormat::kPcm24;
  SF_INFO info{};
  info.samplerate = sample_rate;
  info.channels = 1;
  info.format = (flac ? SF_FORMAT_FLAC : SF_FORMAT_WAV) | (format == SampleFormat::kPcm16   ? SF_FORMAT_PCM_16
                                                           : format == SampleFormat::kPcm24 ? SF_FORMAT_PCM_24
                                                                                            : SF_FORMAT_FLOAT);
  const std::filesystem::path temporary = path.string() + ".partial";
  const auto failed = [&](const char* why) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw Error("{}: cannot be written: {}; check the folder and the free space", path.string(), why);
  };
  SndFile file(sf_open(temporary.c_str(), SFM_WRITE, &info));
  if (!file) failed(sf_strerror(nullptr));
  sf_command(file.get(), SFC_SET_CLIPPING, nullptr, SF_TRUE);
  const auto n = static_cast<sf_count_t>(samples.size());
  if (sf_writef_float(file.get(), samples.data(), n) != n) failed(sf_strerror(file.get()));
  if (sf_close(file.release()) != 0) failed("the disk may be full");
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error) failed(error.message().c_str());
}

std::vector<float> resample(const std::vector<float>& x, double from_hz, double to_hz) {
  CAFX_CHECK(from_hz > 0.0 && to_hz > 0.0, from_hz, to_hz);
  if (from_hz == to_hz || x.empty()) return x;
  const auto n = static_cast<std::size_t>(std::llround(static_cast<double>(x.size()) * to_hz / from_hz));
  std::vector<float> y(n + 1024);
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_VHQ, 0);
  std::size_t used = 0, made = 0;
  const soxr_error_t error =
      soxr_oneshot(from_hz, to_hz, 1, x.data(), x.size(), &used, y.data(), y.size(), &made, nullptr, &quality, nullptr);
  if (error) throw Error("resampling from {} Hz to {} Hz failed: {}", from_hz, to_hz, soxr_strerror(error));
  y.resize(made);
  y.resize(n, 0.0f);
  return y;
}

}  // namespace cafx
