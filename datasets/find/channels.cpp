#include "datasets/find/channels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "datasets/audio_file.h"
#include "datasets/find/statistics.h"
#include "datasets/find/take.h"

namespace cafx {

namespace {

constexpr std::size_t kWindow = 8192, kMostLevels = 32;
constexpr double kEmptyDb = -90.0;                   // of full scale, or
constexpr double kFarBelowDb = 40.0;                 // under the loudest channel: crosstalk and noise, no recording
constexpr double kNoiseBelowDb = 10.0;               // a steady channel so far under a lively one is noise
constexpr double kSteadyDb = 6.0, kLivelyDb = 15.0;  // between the loudest tenth and the median of 50 ms
constexpr double kAlike = 0.9;                       // correlation of every part of the band
constexpr double kInverted = -0.7;
constexpr double kRelated = 0.25;

struct Sums {
  double sum = 0.0, square = 0.0, block = 0.0;
  std::size_t n = 0;
  std::vector<float> levels;  // of blocks of 50 ms
};

double rms(const Sums& s) {
  if (s.n == 0) return 0.0;
  const double mean = s.sum / static_cast<double>(s.n);
  return std::sqrt(std::max(0.0, s.square / static_cast<double>(s.n) - mean * mean));
}

// How much louder the loudest tenth of the blocks is than the median.
double liveliness(const Sums& s) {
  if (s.levels.size() < 8) return 0.0;
  std::vector<float> v = s.levels;
  std::sort(v.begin(), v.end());
  return db(v[v.size() * 9 / 10]) - db(v[v.size() / 2]) > 0.0 ? db(v[v.size() * 95 / 100]) - db(v[v.size() * 3 / 10])
                                                              : 0.0;
}

struct Scan {
  std::vector<Sums> sums;
  std::vector<std::vector<float>> windows;  // channels side by side
  int rate = 0;
};

Scan read_all(const std::filesystem::path& path) {
  AudioReader reader(path);
  Scan scan;
  scan.rate = reader.sample_rate();
  const auto channels = static_cast<std::size_t>(reader.channels());
  scan.sums.resize(channels);
  if (channels == 1) return scan;
  constexpr std::size_t kBlock = 4096;
  const std::size_t level_block = static_cast<std::size_t>(scan.rate) / 20;
  const std::int64_t stride = std::max<std::int64_t>(kWindow, reader.frames() / static_cast<std::int64_t>(kMostLevels));
  std::vector<float> block(kBlock * channels);
  std::int64_t at = 0;
  while (const std::size_t n = reader.read(block.data(), kBlock)) {
    for (std::size_t i = 0; i < n; ++i, ++at) {
      const std::int64_t window = at / stride, inside = at % stride;
      if (window < static_cast<std::int64_t>(kMostLevels) && inside < static_cast<std::int64_t>(kWindow)) {
        if (inside == 0) scan.windows.emplace_back();
        const auto* frame = block.data() + i * channels;
        scan.windows.back().insert(scan.windows.back().end(), frame, frame + channels);
      }
      for (std::size_t c = 0; c < channels; ++c) {
        Sums& s = scan.sums[c];
        const double v = static_cast<double>(block[i * channels + c]);
        s.sum += v;
        s.square += v * v;
        s.block += v * v;
        if (++s.n % level_block == 0) {
          s.levels.push_back(static_cast<float>(std::sqrt(s.block / static_cast<double>(level_block))));
          s.block = 0.0;
        }
      }
    }
  }
  return scan;
}

// Cross-spectra of two channels, summed over the windows.
struct Cross {
  Bins ab;
  std::vector<double> aa, bb;
};

Cross cross_of(const Scan& scan, std::size_t a, std::size_t b) {
  const std::size_t channels = scan.sums.size(), bins = kWindow + 1;
  Cross cross{Bins(bins), std::vector<double>(bins), std::vector<double>(bins)};
  for (const auto& window : scan.windows) {
    std::vector<float> x, y;
    for (std::size_t i = 0; i < window.size() / channels; ++i) {
      const double n = static_cast<double>(window.size() / channels);
      const auto taper = static_cast<float>(0.5 - 0.5 * std::cos(2.0 * M_PI * (static_cast<double>(i) + 0.5) / n));
      x.push_back(taper * window[i * channels + a]);
      y.push_back(taper * window[i * channels + b]);
    }
    const Bins sa = spectrum(x.data(), x.size(), 2 * kWindow), sb = spectrum(y.data(), y.size(), 2 * kWindow);
    for (std::size_t k = 0; k < bins; ++k) {
      cross.ab[k] += std::conj(sa[k]) * sb[k];
      cross.aa[k] += std::norm(sa[k]);
      cross.bb[k] += std::norm(sb[k]);
    }
  }
  return cross;
}

// Correlation over bins [from, to); and the least of all octaves that hold sound.
double band_correlation(const Cross& c, std::size_t from, std::size_t to) {
  double ab = 0.0, aa = 0.0, bb = 0.0;
  for (std::size_t k = from; k < to; ++k) {
    ab += static_cast<double>(c.ab[k].real());
    aa += c.aa[k];
    bb += c.bb[k];
  }
  return aa > 0.0 && bb > 0.0 ? ab / std::sqrt(aa * bb) : 0.0;
}

double least_of_octaves(const Cross& c) {
  double total = 0.0, least = 1.0;
  const std::size_t bins = c.aa.size();
  for (std::size_t k = 8; k < bins; ++k) total += c.aa[k] + c.bb[k];
  for (std::size_t from = 8; from < bins; from *= 2) {
    const std::size_t to = std::min(bins, 2 * from);
    double energy = 0.0;
    for (std::size_t k = from; k < to; ++k) energy += c.aa[k] + c.bb[k];
    if (energy > 1e-3 * total) least = std::min(least, band_correlation(c, from, to));
  }
  return least;
}

// Lag of b behind a, and how much of it is at that lag alone.
std::pair<long, double> image_lag(const Cross& c, int rate) {
  Bins g(c.ab.size());
  double total = 0.0, loudest = 0.0;
  for (std::size_t k = 1; k < g.size(); ++k) loudest = std::max(loudest, std::sqrt(c.aa[k] * c.bb[k]));
  for (std::size_t k = 1; k < g.size(); ++k) {
    const double m = std::sqrt(c.aa[k] * c.bb[k]);
    if (m < 1e-6 * loudest) continue;
    const double weight = std::pow(m, -0.8);
    g[k] = c.ab[k] * static_cast<float>(weight);
    total += m * weight;
  }
  const std::vector<float> r = inverse(g);
  const long n = static_cast<long>(r.size()), most = std::min<long>(n / 4, rate / 25);
  long best = 0;
  const auto at = [&](long lag) { return std::abs(r[static_cast<std::size_t>((lag + n) % n)]); };
  for (long lag = -most; lag <= most; ++lag) {
    if (at(lag) > at(best)) best = lag;
  }
  return {best, total > 0.0 ? 0.5 * static_cast<double>(at(best)) / total : 0.0};
}

std::string channel_name(int c, int channels) {
  if (channels == 2) return c == 0 ? "left" : "right";
  return fmt::format("channel {}", c + 1);
}

void compare(const Scan& scan, std::size_t a, std::size_t b, ChannelScan& out) {
  const Cross cross = cross_of(scan, a, b);
  out.correlation = band_correlation(cross, 1, cross.aa.size());
  const double least = least_of_octaves(cross);
  const auto [lag, share] = image_lag(cross, scan.rate);
  out.live = static_cast<int>(a);
  const std::string both = fmt::format("{} and {}", channel_name(static_cast<int>(a), out.channels),
                                       channel_name(static_cast<int>(b), out.channels));
  if (std::abs(lag) > 1 && share > 0.4) {
    out.image = Image::kDelayed;
    out.late_seconds = static_cast<double>(lag) / scan.rate;
    out.text = fmt::format("{} are the same sound {:.2f} ms apart", both, 1e3 * std::abs(out.late_seconds));
  } else if (out.correlation < kInverted) {
    out.image = Image::kInverted;
    out.text = fmt::format("{} are each other's inverse (correlation {:.2f})", both, out.correlation);
  } else if (least >= kAlike) {
    out.image = Image::kAlike;
  } else if (std::abs(out.correlation) >= kRelated || share > 0.2) {
    out.image = Image::kWide;
    out.text = fmt::format("{} differ (correlation {:.2f}, in one octave {:.2f})", both, out.correlation, least);
  } else {
    out.image = Image::kUnlike;
    out.text = fmt::format("{} have nothing in common (correlation {:.2f})", both, out.correlation);
  }
}

}  // namespace

ChannelScan scan_channels(const std::filesystem::path& path) {
  const Scan scan = read_all(path);
  ChannelScan out;
  out.channels = static_cast<int>(scan.sums.size());
  if (out.channels == 1) return out;
  for (const Sums& s : scan.sums) {
    out.level_db.push_back(db(rms(s)));
    out.mean_db.push_back(db(std::abs(s.n > 0 ? s.sum / static_cast<double>(s.n) : 0.0)));
  }
  const auto n = scan.sums.size();
  const double loudest = *std::max_element(out.level_db.begin(), out.level_db.end());
  double liveliest = 0.0;
  for (const Sums& s : scan.sums) liveliest = std::max(liveliest, liveliness(s));
  std::vector<std::size_t> live;
  std::string others;
  for (std::size_t c = 0; c < n; ++c) {
    const double level = out.level_db[c];
    const bool empty = level < kEmptyDb, far = level < loudest - kFarBelowDb;
    const bool noise = level < loudest - kNoiseBelowDb && liveliness(scan.sums[c]) < kSteadyDb && liveliest > kLivelyDb;
    if (!empty && !far && !noise) {
      live.push_back(c);
      continue;
    }
    others += fmt::format(
        "{}{} {}", others.empty() ? "" : ", ", channel_name(static_cast<int>(c), out.channels),
        empty ? "is silent" : fmt::format("holds {} at {:.0f} dB", noise ? "noise" : "next to nothing", level));
  }
  if (live.empty()) {  // a silent file; that is found elsewhere
    out.image = Image::kAlike;
    return out;
  }
  out.live = static_cast<int>(live.front());
  if (live.size() == 1) {
    out.image = Image::kOneLive;
    out.text = others;
    return out;
  }
  out.image = Image::kAlike;
  for (std::size_t i = 1; i < live.size() && out.image == Image::kAlike; ++i) compare(scan, live[0], live[i], out);
  if (out.image == Image::kAlike && live.size() < n) {
    out.image = Image::kOneLive;  // the live ones are alike: the first stands for them
    out.text = others;
  }
  return out;
}

ChannelChoice choose_channel(const ChannelScan& scan, const DataConfig& config, bool wet, const std::string& file,
                             std::vector<Finding>& findings) {
  const std::string key = wet ? "data.wet_channel" : "data.dry_channel";
  if (const auto stated = stated_channel(wet ? config.wet_channel : config.dry_channel)) {
    // A file of one channel has no right one, but its only channel is its left and its mean.
    return {scan.channels == 1 && *stated <= 0 ? -1 : *stated, false};
  }
  if (scan.image == Image::kOne || scan.image == Image::kAlike) return {};
  const std::string name = channel_name(scan.live, scan.channels);
  const std::string ask = fmt::format("choose, as --set {}=left, right, a number, or mean", key);
  if (scan.image == Image::kUnlike) {
    findings.push_back(
        {Severity::kRefuse, "channels", file, -1.0, scan.text,
         "two signals lie in one file: dry and wet side by side, two microphones, two instruments",
         ask + (wet ? "" : "; one file is both sides with data.dry_channel=left and data.wet_channel=right")});
    return {};
  }
  if (!repairs(config, "channel")) {
    findings.push_back({Severity::kRefuse, "channels", file, -1.0, scan.text + ", and their mean would be learned",
                        "data.repair leaves channels as they are", ask});
    return {};
  }
  const bool sure = scan.image == Image::kOneLive;
  const char* cause = scan.image == Image::kOneLive    ? "a mono source was recorded on a stereo track"
                      : scan.image == Image::kInverted ? "a balanced or a wide output was recorded as stereo"
                      : scan.image == Image::kDelayed  ? "two microphones, or an effect that widens by a delay"
                                                       : "a stereo effect, or two microphones";
  findings.push_back(
      {sure ? Severity::kInfo : Severity::kWarning, "channels", file, -1.0,
       fmt::format("{}; {} is used{}", scan.text, name, sure ? "" : ", since the mean would cancel or comb"), cause,
       sure ? "nothing need be done; " + key + " chooses" : ask});
  return {scan.live, true};
}

}  // namespace cafx
