// tests/datasets/recordings.h -- recordings that tests break: twelve guitar notes, distorted, and six of them as one.
#pragma once

#include <gtest/gtest.h>
#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "datasets/dataset.h"
#include "datasets/readers/reader.h"
#include "kernels/base/error.h"
#include "tests/temporary_folder.h"

namespace cafx {

namespace fs = std::filesystem;
using Signal = Recording;
using Channels = std::vector<Signal>;

constexpr int kFileRate = 48000, kRate = 16000;

struct Notes {
  std::vector<Signal> dry, wet;  // at 16 kHz
  Signal long_dry, long_wet;     // six of them end to end, at 48 kHz
};

// Guitar through a distortion: the notes that ship.
inline const Notes& notes() {
  static const Notes made = [] {
    Notes n;
    DataConfig config;
    config.path = CAFX_NOTES_DIR;
    const Dataset data = load_dataset(config, kRate);
    Signal dry, wet;
    for (std::size_t i = 0; i < data.pairs.size(); ++i) {
      n.dry.emplace_back(data.pairs[i].dry.begin(), data.pairs[i].dry.end());
      n.wet.emplace_back(data.pairs[i].wet.begin(), data.pairs[i].wet.end());
      if (i % 2 == 1) continue;
      dry.insert(dry.end(), n.dry.back().begin(), n.dry.back().end());
      wet.insert(wet.end(), n.wet.back().begin(), n.wet.back().end());
    }
    n.long_dry = resample(dry, kRate, kFileRate);
    n.long_wet = resample(wet, kRate, kFileRate);
    return n;
  }();
  return made;
}

inline void write(const fs::path& path, const std::vector<Signal>& channels, int rate = kFileRate,
                  int format = SF_FORMAT_WAV | SF_FORMAT_PCM_24) {
  fs::create_directories(path.parent_path());
  SF_INFO info{};
  info.samplerate = rate;
  info.channels = static_cast<int>(channels.size());
  info.format = format;
  SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
  ASSERT_NE(file, nullptr) << path << " " << sf_strerror(nullptr);
  sf_command(file, SFC_SET_CLIPPING, nullptr, SF_TRUE);
  Signal side_by_side;
  for (std::size_t i = 0; i < channels[0].size(); ++i) {
    for (const Signal& c : channels) side_by_side.push_back(c[i]);
  }
  sf_writef_float(file, side_by_side.data(), static_cast<sf_count_t>(channels[0].size()));
  sf_close(file);
}

inline Signal times(double gain, Signal x) {
  for (float& v : x) v = static_cast<float>(gain * static_cast<double>(v));
  return x;
}
inline Signal plus(Signal x, double dc) {
  for (float& v : x) v += static_cast<float>(dc);
  return x;
}
// Late by n samples (early where negative), as long as before.
inline Signal late(const Signal& x, long n) {
  Signal y(x.size(), 0.0f);
  for (long i = 0; i < static_cast<long>(x.size()); ++i) {
    if (i - n >= 0 && i - n < static_cast<long>(x.size()))
      y[static_cast<std::size_t>(i)] = x[static_cast<std::size_t>(i - n)];
  }
  return y;
}
inline Signal cut(const Signal& x, double from, double to, int rate = kFileRate) {
  return {x.begin() + static_cast<long>(from * rate), x.begin() + static_cast<long>(to * rate)};
}
inline Signal joined(std::initializer_list<Signal> parts) {
  Signal all;
  for (const Signal& p : parts) all.insert(all.end(), p.begin(), p.end());
  return all;
}
inline Signal noise(std::size_t n, double level, std::uint32_t seed = 1) {
  Signal x(n);
  for (float& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<float>(level * (static_cast<double>(seed) / 2147483648.0 - 1.0));
  }
  return x;
}

inline double correlation(const Signal& a, const Signal& b) {
  double ab = 0.0, aa = 1e-30, bb = 1e-30;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / std::sqrt(aa * bb);
}

struct Recordings : testing::Test {
  TemporaryFolder folder;
  DataConfig config;

  Recordings() {
    config.reader = "files";
    config.dry = (folder / "dry.wav").string();
    config.wet = (folder / "wet.wav").string();
  }
  Dataset look(const std::vector<Signal>& dry, const std::vector<Signal>& wet) {
    write(config.dry, dry);
    write(config.wet, wet);
    return inspect_dataset(config, kRate);
  }
  Dataset look(const Signal& dry, const Signal& wet) { return look(Channels{dry}, Channels{wet}); }

  // All pieces behind one another.
  static Signal whole(const Dataset& data, bool wet) {
    Signal all;
    for (const Pair& p : data.pairs) all.insert(all.end(), (wet ? p.wet : p.dry).begin(), (wet ? p.wet : p.dry).end());
    return all;
  }
};

inline std::vector<Finding> of(const Dataset& data, const std::string& code) {
  std::vector<Finding> some;
  for (const Finding& f : data.findings) {
    if (f.code == code) some.push_back(f);
  }
  return some;
}
inline std::vector<Repair> done(const Dataset& data, const std::string& what) {
  std::vector<Repair> some;
  for (const Repair& r : data.repairs) {
    if (r.what == what) some.push_back(r);
  }
  return some;
}
inline bool refused(const Dataset& data, const std::string& code = "") {
  return std::any_of(data.findings.begin(), data.findings.end(), [&](const Finding& f) {
    return f.severity == Severity::kRefuse && (code.empty() || f.code == code);
  });
}
inline std::string all(const Dataset& data) { return format_findings(data.findings) + format_plan(data.repairs); }

}  // namespace cafx
