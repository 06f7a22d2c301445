// tests/fuzz/audio_files.h -- audio files of every container as bytes, to be damaged; and an entry point that reads
// them.
#pragma once

#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "datasets/audio_file.h"

namespace cafx {

// 1: read to its end, 0: refused by an Error.
inline int fuzz_audio(const std::uint8_t* data, std::size_t size) {
  try {
    AudioReader reader(data, size, "input");
    std::vector<float> block(static_cast<std::size_t>(reader.channels()) * 4096);
    while (reader.read(block.data(), 4096) > 0) {
    }
    return 1;
  } catch (const Error&) {
    return 0;
  }
}

struct AudioFormat {
  const char* name;
  int format;
};
inline constexpr AudioFormat kAudioFormats[] = {
    {"wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16},
    {"wavex", SF_FORMAT_WAVEX | SF_FORMAT_PCM_24},
    {"adpcm", SF_FORMAT_WAV | SF_FORMAT_IMA_ADPCM},
    {"rf64", SF_FORMAT_RF64 | SF_FORMAT_PCM_24},
    {"w64", SF_FORMAT_W64 | SF_FORMAT_PCM_16},
    {"aiff", SF_FORMAT_AIFF | SF_FORMAT_PCM_24},
    {"au", SF_FORMAT_AU | SF_FORMAT_PCM_16},
    {"caf", SF_FORMAT_CAF | SF_FORMAT_PCM_16},
    {"alac", SF_FORMAT_CAF | SF_FORMAT_ALAC_16},
    {"flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16},
    {"vorbis", SF_FORMAT_OGG | SF_FORMAT_VORBIS},
    {"opus", SF_FORMAT_OGG | SF_FORMAT_OPUS},
    {"ima4", SF_FORMAT_AIFF | SF_FORMAT_IMA_ADPCM},
    {"g721", SF_FORMAT_AU | SF_FORMAT_G721_32},
    {"avr", SF_FORMAT_AVR | SF_FORMAT_PCM_16},
    {"nist", SF_FORMAT_NIST | SF_FORMAT_PCM_16},
    {"svx", SF_FORMAT_SVX | SF_FORMAT_PCM_16},
    {"voc", SF_FORMAT_VOC | SF_FORMAT_PCM_16},
    {"mat4", SF_FORMAT_MAT4 | SF_FORMAT_PCM_16},
    {"mat5", SF_FORMAT_MAT5 | SF_FORMAT_FLOAT},
    {"wve", SF_FORMAT_WVE | SF_FORMAT_ALAW},
    {"xi", SF_FORMAT_XI | SF_FORMAT_DPCM_16},
    {"mpc2k", SF_FORMAT_MPC2K | SF_FORMAT_PCM_16},
    {"sds", SF_FORMAT_SDS | SF_FORMAT_PCM_16},
    {"mp3", 0x230000 | 0x0082},  // SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, from libsndfile 1.1
};

// A file in memory, as libsndfile writes it.
struct WrittenBytes {
  std::string bytes;
  sf_count_t at = 0;
  static sf_count_t length(void* self) {
    return static_cast<sf_count_t>(static_cast<WrittenBytes*>(self)->bytes.size());
  }
  static sf_count_t seek(sf_count_t offset, int whence, void* self) {
    auto& w = *static_cast<WrittenBytes*>(self);
    return w.at = offset + (whence == SEEK_SET ? 0 : whence == SEEK_CUR ? w.at : length(self));
  }
  static sf_count_t read(void* to, sf_count_t n, void* self) {
    auto& w = *static_cast<WrittenBytes*>(self);
    n = std::max<sf_count_t>(0, std::min(n, length(self) - w.at));
    std::memcpy(to, w.bytes.data() + w.at, static_cast<std::size_t>(n));
    w.at += n;
    return n;
  }
  static sf_count_t write(const void* from, sf_count_t n, void* self) {
    auto& w = *static_cast<WrittenBytes*>(self);
    if (w.at + n > length(self)) w.bytes.resize(static_cast<std::size_t>(w.at + n));
    std::memcpy(w.bytes.data() + w.at, from, static_cast<std::size_t>(n));
    w.at += n;
    return n;
  }
  static sf_count_t tell(void* self) { return static_cast<WrittenBytes*>(self)->at; }
};

// Gives every Ogg page the checksum of what it now holds.
inline void stamp_ogg_pages(std::string& file) {
  for (std::size_t at = file.find("OggS"); at != std::string::npos; at = file.find("OggS", at + 4)) {
    if (at + 27 > file.size()) return;
    const std::size_t n_table = static_cast<unsigned char>(file[at + 26]);
    std::size_t end = at + 27 + n_table;
    for (std::size_t i = 0; i < n_table && at + 27 + i < file.size(); ++i) {
      end += static_cast<unsigned char>(file[at + 27 + i]);
    }
    std::uint32_t crc = 0;
    for (std::size_t i = at; i < std::min(end, file.size()); ++i) {
      const bool own = i >= at + 22 && i < at + 26;
      crc ^= static_cast<std::uint32_t>(own ? 0 : static_cast<unsigned char>(file[i])) << 24;
      for (int k = 0; k < 8; ++k) crc = crc & 0x80000000u ? crc << 1 ^ 0x04c11db7u : crc << 1;
    }
    for (std::size_t i = 0; i < 4; ++i) file[at + 22 + i] = static_cast<char>(crc >> (8 * i));
  }
}

// The same of the packets of a sample dump (SDS).
inline void stamp_sds_packets(std::string& file) {
  if (file.rfind("\xf0\x7e", 0) != 0) return;
  for (std::size_t at = 21; at + 127 <= file.size(); at += 127) {
    unsigned char sum = 0;
    for (std::size_t i = 1; i < 125; ++i) sum ^= static_cast<unsigned char>(file[at + i]);
    file[at + 125] = static_cast<char>(sum);
  }
}

// Of a tone with overtones and a little noise; empty where this libsndfile does not write the format.
inline std::string audio_bytes(int format, int n, int channels, int rate) {
  SF_INFO info{};
  info.samplerate = rate;
  info.channels = channels;
  info.format = format;
  if (!sf_format_check(&info)) return "";
  WrittenBytes w;
  SF_VIRTUAL_IO calls{WrittenBytes::length, WrittenBytes::seek, WrittenBytes::read, WrittenBytes::write,
                      WrittenBytes::tell};
  SNDFILE* file = sf_open_virtual(&calls, SFM_WRITE, &info, &w);
  if (!file) return "";
  std::vector<float> x(static_cast<std::size_t>(n) * static_cast<std::size_t>(channels));
  std::uint32_t s = 1;
  for (int i = 0; i < n; ++i) {
    s = s * 1664525u + 1013904223u;
    const double t = static_cast<double>(i) / rate;
    const double v = 0.4 * std::sin(1382.0 * t) + 0.1 * std::sin(4146.0 * t) + 1e-12 * static_cast<std::int32_t>(s);
    for (int c = 0; c < channels; ++c) x[static_cast<std::size_t>(i * channels + c)] = static_cast<float>(v);
  }
  sf_writef_float(file, x.data(), n);
  sf_close(file);
  return w.bytes;
}

}  // namespace cafx
