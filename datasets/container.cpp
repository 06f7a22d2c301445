#include "datasets/container.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace cafx {

namespace {

constexpr std::uint64_t kNoLength = std::uint64_t{1} << 48;  // bytes: no disk holds so long a recording

std::uint64_t number(const unsigned char* p, int bytes, bool big) {
  std::uint64_t x = 0;
  for (int i = 0; i < bytes; ++i) x = x << 8 | p[big ? i : bytes - 1 - i];
  return x;
}

std::string bytes_of(std::uint64_t x, int bytes, bool big) {
  std::string s(static_cast<std::size_t>(bytes), '\0');
  for (int i = 0; i < bytes; ++i)
    s[static_cast<std::size_t>(big ? bytes - 1 - i : i)] = static_cast<char>(x >> (8 * i));
  return s;
}

// Where a header states a length, and how.
struct Field {
  std::uint64_t at = 0;
  int bytes = 4;
};

// A file whose samples are one run of bytes, and what its header says of them.
struct Samples {
  bool big = false;
  std::uint64_t at = 0;        // of the first sample
  std::uint64_t promised = 0;  // bytes
  bool unknown = false;        // the header says that it does not know
  std::uint64_t whole = 0;     // end of the file as its first field states it; 0: it does not
  bool has_whole = false;
  Field length, whole_field, frames;                // frames.at 0: none
  std::uint64_t length_extra = 0, whole_extra = 0;  // what those fields count beside the samples, or leave out
  double bytes_per_second = 0.0;
  std::uint64_t block = 1;  // bytes of a frame; 1 where samples are coded
  int bits = 0;             // of whole-number samples, 0 otherwise
  int channels = 1;
  bool padded = false;  // chunks begin at even bytes
};

class ContainerReader {
 public:
  explicit ContainerReader(const ByteSource& source) : source_(source), size_(source.size()) {}
  std::uint64_t size() const { return size_; }
  const ByteSource& source() const { return source_; }
  // 0 where the file ends before.
  std::uint64_t number_at(std::uint64_t at, int bytes, bool big) const {
    unsigned char p[8] = {};
    source_.read(at, p, static_cast<std::size_t>(bytes));
    return number(p, bytes, big);
  }
  std::string text_at(std::uint64_t at, std::size_t n) const {
    std::string s(n, '\0');
    s.resize(source_.read(at, s.data(), n));
    return s;
  }

 private:
  const ByteSource& source_;
  std::uint64_t size_;
};

bool is_chunk_name(const std::string& name) {
  return name.size() == 4 && std::all_of(name.begin(), name.end(), [](unsigned char c) { return c >= 32 && c < 127; });
}

// Whether the file from `at` to its end is chunks, tags of MP3 players or a few zeros: all but samples.
bool is_chunks(const ContainerReader& file, std::uint64_t at, bool big) {
  for (int n = 0; n < 10000 && at < file.size(); ++n) {
    const std::string name = file.text_at(at, 4);
    if (name.rfind("TAG", 0) == 0 || name.rfind("ID3", 0) == 0) return true;
    if (file.size() - at < 8) return name.find_first_not_of('\0') == std::string::npos || file.size() - at < 4;
    if (!is_chunk_name(name)) return false;
    const std::uint64_t size = file.number_at(at + 4, 4, big);
    if (size > file.size() - at - 8) return false;
    at += 8 + size + size % 2;
  }
  return true;
}

// Whether bytes behind the samples are samples that the header forgot: neighbours are alike, as in no other data.
bool are_samples(const ContainerReader& file, const Samples& s, std::uint64_t at) {
  if (s.bits < 8 || s.bits > 32 || s.bits % 8 != 0 || s.block == 0) return false;
  const std::string raw = file.text_at(at, 65536);
  const std::size_t step = s.block, width = static_cast<std::size_t>(s.bits) / 8;
  double power = 0.0, product = 0.0, before = 0.0, mean = 0.0;
  std::vector<double> x;
  for (std::size_t i = 0; i + step <= raw.size(); i += step) {
    const auto* p = reinterpret_cast<const unsigned char*>(raw.data() + i);
    const auto value = static_cast<std::int64_t>(number(p, static_cast<int>(width), s.big) << (64 - s.bits));
    x.push_back(static_cast<double>(value) * 0x1p-63);
  }
  if (x.size() < 256) return false;
  for (const double v : x) mean += v / static_cast<double>(x.size());
  for (const double v : x) {
    power += (v - mean) * (v - mean);
    product += (v - mean) * before;
    before = v - mean;
  }
  return product > 0.5 * power;
}

std::string seconds(double s) { return fmt::format("{:.3f} s", s); }

// Makes the header say that there are `n` bytes of samples.
void patch(Container& c, const Samples& s, std::uint64_t n, std::uint64_t file_size) {
  const auto put = [&](const Field& f, std::uint64_t x) {
    if (f.at == 0) return;
    if (f.bytes == 4) x = std::min<std::uint64_t>(x, 0xffffffffu);
    c.patches.push_back({f.at, bytes_of(x, f.bytes, s.big)});
  };
  put(s.length, n + s.length_extra);
  put(s.whole_field, file_size - s.whole_extra);
  put(s.frames, n / std::max<std::uint64_t>(1, s.block));
}

void judge(const ContainerReader& file, const Samples& s, Container& c) {
  const std::uint64_t there = file.size() > s.at ? file.size() - s.at : 0;
  const auto last = [&](std::uint64_t n) { return n - n % std::max<std::uint64_t>(1, s.block); };
  const auto time = [&](std::uint64_t n) {
    return s.bytes_per_second > 0.0 ? static_cast<double>(n) / s.bytes_per_second : 0.0;
  };
  if (s.unknown || s.promised == 0) {
    if (there == 0 || (!s.unknown && is_chunks(file, s.at, s.big))) return;
    patch(c, s, last(there), file.size());
    c.notes.push_back(fmt::format(
        "its header states no length, as of a recorder that was switched off or a program that wrote to a pipe; all {} "
        "that are there are read",
        seconds(time(there))));
    return;
  }
  if (s.promised > there) {
    const std::uint64_t missing = s.promised - there;
    const bool whole = s.has_whole && s.whole <= file.size() + 1 && s.whole + 8 >= file.size();
    if (whole || (missing <= kMostMissing && missing < s.promised / 10)) {
      patch(c, s, last(there), file.size());
      c.notes.push_back(fmt::format("its header counts {} bytes more than there are; all {} that are there are read",
                                    missing, seconds(time(there))));
      return;
    }
    c.damage = fmt::format("is cut off: its header promises {} bytes of samples, the file holds {}", s.promised, there);
    c.damage_seconds = time(last(there));
    c.lost_seconds = time(s.promised) - c.damage_seconds;
    // libsndfile reads what is there; the frames that it would still promise are not.
    patch(c, s, last(there), file.size());
    return;
  }
  const std::uint64_t end = s.at + s.promised + (s.padded ? s.promised % 2 : 0);
  if (end >= file.size() || is_chunks(file, end, s.big)) return;
  const std::uint64_t behind = file.size() - s.at - s.promised;
  const std::uint64_t after = s.at + last(s.promised);
  if (behind >= 512 * s.block && are_samples(file, s, after)) {
    patch(c, s, last(there), file.size());
    c.notes.push_back(fmt::format("its header counts {} of {} of samples; all that are there are read",
                                  seconds(time(s.promised)), seconds(time(there))));
    return;
  }
  c.notes.push_back(
      fmt::format("behind its samples lie {} bytes that are neither samples nor chunks; they are not read", behind));
}

bool inspect_riff(const ContainerReader& file, Container& c) {
  const std::string id = file.text_at(0, 4);
  if ((id != "RIFF" && id != "RIFX" && id != "RF64" && id != "BW64") || file.text_at(8, 4) != "WAVE") return false;
  Samples s;
  s.big = id == "RIFX";
  const bool wide = id == "RF64" || id == "BW64";
  // EBU's successor of RF64 with the same chunks, which not every libsndfile knows by name.
  if (id == "BW64") c.patches.push_back({0, "RF64"});
  s.whole = file.number_at(4, 4, s.big) + 8;
  s.has_whole = !wide && s.whole < 0xffff0000u;
  s.whole_field = {4, 4};
  s.whole_extra = 8;
  s.padded = true;
  std::uint64_t wide_data = 0, wide_at = 0;
  for (std::uint64_t at = 12, n = 0; at + 8 <= file.size() && n < 10000; ++n) {
    const std::string name = file.text_at(at, 4);
    const std::uint64_t size = file.number_at(at + 4, 4, s.big);
    if (name == "ds64" && wide && size >= 24) {
      wide_at = at + 8;
      wide_data = file.number_at(at + 16, 8, false);
      s.whole = file.number_at(at + 8, 8, false) + 8;
      s.has_whole = s.whole > 8;
      s.whole_field = {wide_at, 8};
    } else if (name == "fmt " && size >= 16) {
      const std::uint64_t format = file.number_at(at + 8, 2, s.big);
      s.channels = static_cast<int>(file.number_at(at + 10, 2, s.big));
      s.bytes_per_second = static_cast<double>(file.number_at(at + 16, 4, s.big));
      s.block = file.number_at(at + 20, 2, s.big);
      if (format == 1 || format == 0xfffe) s.bits = static_cast<int>(file.number_at(at + 22, 2, s.big));
      if (format == 1 || format == 3 || format == 0xfffe)
        s.bytes_per_second = static_cast<double>(file.number_at(at + 12, 4, s.big)) * static_cast<double>(s.block);
    } else if (name == "data") {
      s.at = at + 8;
      s.promised = size;
      s.length = {at + 4, 4};
      if (wide && wide_at != 0) {
        s.promised = size == 0xffffffffu || size == 0 ? wide_data : size;
        s.length = {wide_at + 8, 8};
        s.frames = {wide_at + 16, 8};
        // The length of 32 bits gives way to that of 64.
        if (size != 0xffffffffu) c.patches.push_back({at + 4, bytes_of(0xffffffffu, 4, s.big)});
        if (size != 0xffffffffu && size != 0) patch(c, s, size, file.size());
        s.unknown = s.promised >= kNoLength;
      } else {
        // The largest lengths that there are stand for "unknown" in what is written to a pipe.
        s.unknown = size >= 0x7ff00000u && size > file.size() - s.at;
      }
      judge(file, s, c);
      c.counted = s.unknown;
      return true;
    }
    at += 8 + size + size % 2;
  }
  return true;
}

// The rate of an AIFF, a float of 80 bits.
double extended(const ContainerReader& file, std::uint64_t at) {
  const auto exponent = static_cast<int>(file.number_at(at, 2, true) & 0x7fff) - 16383 - 63;
  return std::ldexp(static_cast<double>(file.number_at(at + 2, 8, true)), exponent);
}

bool inspect_aiff(const ContainerReader& file, Container& c) {
  const std::string type = file.text_at(8, 4);
  if (file.text_at(0, 4) != "FORM" || (type != "AIFF" && type != "AIFC")) return false;
  Samples s;
  s.big = true;
  s.padded = true;
  s.whole = file.number_at(4, 4, true) + 8;
  s.has_whole = true;
  s.whole_field = {4, 4};
  s.whole_extra = 8;
  bool plain = type == "AIFF";
  for (std::uint64_t at = 12, n = 0; at + 8 <= file.size() && n < 10000; ++n) {
    const std::string name = file.text_at(at, 4);
    const std::uint64_t size = file.number_at(at + 4, 4, true);
    if (name == "COMM" && size >= 18) {
      s.channels = static_cast<int>(file.number_at(at + 8, 2, true));
      s.bits = static_cast<int>(file.number_at(at + 14, 2, true));
      if (type == "AIFC") {
        const std::string coding = file.text_at(at + 26, 4);
        plain = coding == "NONE" || coding == "twos" || coding == "sowt" || coding == "fl32" || coding == "FL32";
        if (coding != "NONE" && coding != "twos") s.bits = 0;
      }
      const int width = static_cast<int>(file.number_at(at + 14, 2, true) + 7) / 8;
      s.block = plain ? static_cast<std::uint64_t>(s.channels) * static_cast<std::uint64_t>(width) : 1;
      s.bytes_per_second = plain ? extended(file, at + 16) * static_cast<double>(s.block) : 0.0;
      const std::string coding = type == "AIFC" ? file.text_at(at + 26, 4) : "";
      if (coding == "ima4") {  // packets of 64 samples
        s.bytes_per_second = extended(file, at + 16) / 64.0 * 34.0 * s.channels;
      } else if (coding == "ulaw" || coding == "ULAW" || coding == "alaw" || coding == "ALAW") {
        s.bytes_per_second = extended(file, at + 16) * s.channels;
      }
      if (plain) s.frames = {at + 10, 4};
    } else if (name == "SSND") {
      s.at = at + 16;
      s.length = {at + 4, 4};
      s.length_extra = 8;
      s.promised = size >= 8 ? size - 8 : 0;
      s.unknown = size >= 0x7ff00000u && size > file.size() - std::min(file.size(), s.at);
      judge(file, s, c);
      return true;
    }
    at += 8 + size + size % 2;
  }
  return true;
}

bool inspect_au(const ContainerReader& file, Container& c) {
  const std::string id = file.text_at(0, 4);
  if (id != ".snd" && id != "dns.") return false;
  Samples s;
  s.big = id == ".snd";
  s.at = file.number_at(4, 4, s.big);
  s.promised = file.number_at(8, 4, s.big);
  s.unknown = s.promised == 0xffffffffu;
  const std::uint64_t coding = file.number_at(12, 4, s.big);
  const std::uint64_t width = coding == 1 || coding == 2 || coding == 27 ? 1
                              : coding == 3                              ? 2
                              : coding == 4                              ? 3
                              : coding == 5 || coding == 6               ? 4
                              : coding == 7                              ? 8
                                                                         : 0;
  s.channels = static_cast<int>(file.number_at(20, 4, s.big));
  s.block = std::max<std::uint64_t>(1, width * file.number_at(20, 4, s.big));
  s.bits = coding >= 2 && coding <= 5 ? static_cast<int>(8 * width) : 0;
  // ADPCM has 4, 3 or 5 bits a sample, G.722 8 for two.
  const double coded = coding == 23 || coding == 24 ? 0.5 : coding == 25 ? 0.375 : coding == 26 ? 0.625 : 0.0;
  s.bytes_per_second = static_cast<double>(file.number_at(16, 4, s.big)) *
                       (width ? static_cast<double>(s.block) : coded * static_cast<double>(s.channels));
  s.length = {8, 4};
  if (s.at < 24 || s.at > file.size()) return true;
  if (!s.unknown) judge(file, s, c);  // unknown is a word of the format, which libsndfile knows
  c.counted = s.unknown;
  return true;
}

bool inspect_w64(const ContainerReader& file, Container& c) {
  if (file.text_at(0, 4) != "riff" || file.text_at(24, 4) != "wave") return false;
  Samples s;
  s.whole = file.number_at(16, 8, false);
  s.has_whole = true;
  s.whole_field = {16, 8};
  for (std::uint64_t at = 40, n = 0; at < file.size() && file.size() - at >= 24 && n < 10000; ++n) {
    const std::string name = file.text_at(at, 4);
    const std::uint64_t size = file.number_at(at + 16, 8, false);
    if (name == "fmt ") {
      s.channels = static_cast<int>(file.number_at(at + 26, 2, false));
      s.block = std::max<std::uint64_t>(1, file.number_at(at + 36, 2, false));
      s.bytes_per_second = static_cast<double>(file.number_at(at + 32, 4, false));
    } else if (name == "data") {
      s.at = at + 24;
      s.length = {at + 16, 8};
      s.length_extra = 24;
      s.promised = size >= 24 ? size - 24 : 0;
      const std::uint64_t end = s.at + s.promised;
      s.unknown = s.promised >= kNoLength;
      // What follows are chunks of another form than RIFF's; only what is missing is looked at.
      if (s.promised == 0 || end > file.size() || end < s.at) judge(file, s, c);
      return true;
    }
    if (size < 24 || size > file.size() - at) return true;
    at += (size + 7) / 8 * 8;
  }
  return true;
}

bool inspect_caf(const ContainerReader& file, Container& c) {
  if (file.text_at(0, 4) != "caff") return false;
  Samples s;
  s.big = true;
  for (std::uint64_t at = 8, n = 0; at < file.size() && file.size() - at >= 12 && n < 10000; ++n) {
    const std::string name = file.text_at(at, 4);
    const std::uint64_t size = file.number_at(at + 4, 8, true);
    if (name == "desc") {
      const std::uint64_t raw = file.number_at(at + 12, 8, true);
      double rate = 0.0;
      std::memcpy(&rate, &raw, sizeof rate);
      const bool plain = file.text_at(at + 20, 4) == "lpcm";
      const std::uint64_t packet = file.number_at(at + 28, 4, true);
      s.block = std::max<std::uint64_t>(1, plain ? packet : 1);
      // Packets of one length, each of so many samples; those of ALAC vary.
      const std::uint64_t samples = std::max<std::uint64_t>(1, file.number_at(at + 32, 4, true));
      s.bytes_per_second =
          rate > 0.0 && rate < 1e7 ? rate * static_cast<double>(packet) / static_cast<double>(samples) : 0.0;
    } else if (name == "data") {
      s.at = at + 16;
      s.length = {at + 4, 8};
      s.length_extra = 4;
      s.unknown = size == ~std::uint64_t{0};
      s.promised = size >= 4 ? size - 4 : 0;
      const std::uint64_t end = s.at + s.promised;
      if (s.unknown || s.promised == 0 || end > file.size() || end < s.at) judge(file, s, c);
      return true;
    }
    if (size > file.size() - at - 12) return true;
    at += 12 + size;
  }
  return true;
}

}  // namespace

bool inspect_chunks(const ByteSource& source, Container& c) {
  const ContainerReader file(source);
  return inspect_riff(file, c) || inspect_aiff(file, c) || inspect_au(file, c) || inspect_w64(file, c) ||
         inspect_caf(file, c);
}

Container inspect_container(const ByteSource& source) {
  Container c;
  if (!inspect_chunks(source, c) && !inspect_coded(source, c)) inspect_rare(source, c);
  return c;
}

}  // namespace cafx
