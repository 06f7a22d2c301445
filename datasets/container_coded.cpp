// Containers whose length is not in a header: Ogg pages, MP3 frames, FLAC of unknown length.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "datasets/container.h"

namespace cafx {

namespace {

// A file read forwards through one buffer.
class Window {
 public:
  explicit Window(const ByteSource& source) : source_(source), size_(source.size()), buffer_(65536 + kLongest) {}
  std::uint64_t size() const { return size_; }
  // n bytes from `at` on, n <= kLongest; null where the file ends before.
  const unsigned char* at(std::uint64_t from, std::size_t n) {
    if (from > size_ || n > size_ - from) return nullptr;
    if (from < begin_ || from + n > begin_ + filled_) {
      begin_ = from;
      filled_ = source_.read(from, buffer_.data(), buffer_.size());
      if (filled_ < n) return nullptr;
    }
    return buffer_.data() + (from - begin_);
  }
  static constexpr std::size_t kLongest = 65536;

 private:
  const ByteSource& source_;
  std::uint64_t size_, begin_ = 0;
  std::size_t filled_ = 0;
  std::vector<unsigned char> buffer_;
};

std::uint32_t little32(const unsigned char* p) {
  return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
         static_cast<std::uint32_t>(p[2]) << 16 | static_cast<std::uint32_t>(p[3]) << 24;
}
std::uint32_t big32(const unsigned char* p) {
  return static_cast<std::uint32_t>(p[0]) << 24 | static_cast<std::uint32_t>(p[1]) << 16 |
         static_cast<std::uint32_t>(p[2]) << 8 | static_cast<std::uint32_t>(p[3]);
}

// CRC of `bits` bits by tables, the highest bit first, starting at 0.
template <class Word, Word kPolynomial>
struct Crc {
  static constexpr int kBits = 8 * sizeof(Word);
  static constexpr std::array<Word, 256> table = [] {
    std::array<Word, 256> t{};
    for (unsigned i = 0; i < 256; ++i) {
      auto r = static_cast<Word>(static_cast<Word>(i) << (kBits - 8));
      for (int k = 0; k < 8; ++k) {
        const bool top = (r >> (kBits - 1)) & 1u;
        r = static_cast<Word>(static_cast<Word>(r << 1) ^ (top ? kPolynomial : Word{0}));
      }
      t[i] = r;
    }
    return t;
  }();
  static Word add(Word crc, unsigned char byte) {
    if constexpr (kBits == 8)
      return table[crc ^ byte];
    else
      return static_cast<Word>(static_cast<Word>(crc << 8) ^ table[(crc >> (kBits - 8) & 0xffu) ^ byte]);
  }
};
using OggCrc = Crc<std::uint32_t, 0x04c11db7u>;
using FlacHeadCrc = Crc<std::uint8_t, 0x07u>;
using FlacCrc = Crc<std::uint16_t, 0x8005u>;

// Samples a second by which the positions of an Ogg stream count, from its first packet; 0: unknown.
double ogg_rate(const unsigned char* packet, std::size_t n) {
  if (n >= 16 && std::memcmp(packet, "\1vorbis", 7) == 0) return little32(packet + 12);
  if (n >= 19 && std::memcmp(packet, "OpusHead", 8) == 0) return 48000.0;
  if (n >= 30 && std::memcmp(packet,
                             "\x7f"
                             "FLAC",
                             5) == 0)
    return big32(packet + 27) >> 12;
  return 0.0;
}

// Pages of 27 bytes and a table of lengths, each with a checksum and its place in the stream.
bool inspect_ogg(const ByteSource& source, Container& c) {
  Window file(source);
  const unsigned char* p = file.at(0, 4);
  if (!p || std::memcmp(p, "OggS", 4) != 0) return false;
  c.counted = true;
  double rate = 0.0, reached = 0.0;
  bool ended = false;
  std::uint64_t at = 0;
  const auto damaged = [&](std::string what) {
    c.damage = std::move(what);
    c.damage_seconds = reached;
    c.readable = at;
    return true;
  };
  std::optional<std::uint32_t> serial;
  std::uint32_t next = 0;
  while (at < file.size()) {
    p = file.at(at, 27);
    if (!p) return damaged("is cut off: its last page is not whole");
    if (std::memcmp(p, "OggS", 4) != 0) {
      if (ended) break;  // tags of players
      return damaged(fmt::format("is damaged: no page begins at byte {}, where one should", at));
    }
    const std::size_t n_table = p[26];
    p = file.at(at, 27 + n_table);
    if (!p) return damaged("is cut off: its last page is not whole");
    std::size_t n = 27 + n_table;
    for (std::size_t i = 0; i < n_table; ++i) n += p[27 + i];
    p = file.at(at, n);
    if (!p) return damaged("is cut off: its last page is not whole");
    std::uint32_t crc = 0;
    for (std::size_t i = 0; i < n; ++i) crc = OggCrc::add(crc, i >= 22 && i < 26 ? 0 : p[i]);
    if (crc != little32(p + 22)) return damaged(fmt::format("is damaged: the page at byte {} fails its checksum", at));
    const std::uint32_t own = little32(p + 14), sequence = little32(p + 18);
    const bool begins = (p[5] & 2) != 0;
    if (begins && (!serial || ended)) {
      serial = own;
      next = sequence;
      rate = ogg_rate(p + 27 + n_table, n - 27 - n_table);
      ended = false;
    }
    if (serial && own == *serial) {
      if (sequence != next) {
        const std::uint32_t gap = sequence - next;
        return damaged(fmt::format("is damaged: {} pages are missing before byte {}", gap, at));
      }
      ++next;
      const std::uint64_t position = little32(p + 6) | static_cast<std::uint64_t>(little32(p + 10)) << 32;
      if (position != ~std::uint64_t{0} && rate > 0.0) reached = static_cast<double>(position) / rate;
      ended = (p[5] & 4) != 0;
    }
    at += n;
  }
  if (!ended) {
    c.notes.push_back(fmt::format(
        "it ends at {:.3f} s without the mark of its end: the recording was broken off, or what followed is lost",
        reached));
  }
  return true;
}

struct Mp3Frame {
  std::size_t bytes = 0;
  int samples = 0, rate = 0;
  std::size_t side = 0;  // where a Xing header would stand
};

// The frame whose header begins at p; bytes 0 where that is none, or one of free rate.
Mp3Frame mp3_frame(const unsigned char* p) {
  static constexpr int kRates[3] = {44100, 48000, 32000};
  static constexpr int kKilobits[5][15] = {{0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
                                           {0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
                                           {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
                                           {0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
                                           {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}};
  Mp3Frame f;
  if (p[0] != 0xff || (p[1] & 0xe0) != 0xe0) return f;
  const int version = p[1] >> 3 & 3, layer = 4 - (p[1] >> 1 & 3), index = p[2] >> 4, rate = p[2] >> 2 & 3;
  if (version == 1 || layer == 4 || index == 0 || index == 15 || rate == 3) return f;
  const bool first = version == 3, mono = (p[3] >> 6) == 3;
  const int table = first ? layer - 1 : layer == 1 ? 3 : 4;
  f.rate = kRates[rate] >> (first ? 0 : version == 2 ? 1 : 2);
  f.samples = layer == 1 ? 384 : layer == 3 && !first ? 576 : 1152;
  const int bits = kKilobits[table][index] * 1000, padding = p[2] >> 1 & 1;
  f.bytes = layer == 1 ? static_cast<std::size_t>((12 * bits / f.rate + padding) * 4)
                       : static_cast<std::size_t>(f.samples / 8 * bits / f.rate + padding);
  f.side = 4 + (first ? (mono ? 17u : 32u) : (mono ? 9u : 17u));
  return f;
}

// What may follow the last frame: tags, or zeros.
bool mp3_ends_here(Window& file, std::uint64_t at) {
  const unsigned char* p = file.at(at, 3);
  if (p && (std::memcmp(p, "TAG", 3) == 0 || std::memcmp(p, "APE", 3) == 0 || std::memcmp(p, "LYR", 3) == 0)) {
    return true;
  }
  for (; at < file.size(); ++at) {
    p = file.at(at, 1);
    if (!p || *p != 0) return false;
  }
  return true;
}

bool inspect_mp3(const ByteSource& source, Container& c) {
  Window file(source);
  std::uint64_t at = 0;
  const unsigned char* p = file.at(0, 10);
  if (p && std::memcmp(p, "ID3", 3) == 0) {
    at = 10 + ((p[6] & 127u) << 21 | (p[7] & 127u) << 14 | (p[8] & 127u) << 7 | (p[9] & 127u));
    for (unsigned zeros = 0; zeros < 4096 && (p = file.at(at, 1)) && *p == 0; ++zeros) ++at;
  }
  p = file.at(at, 4);
  if (!p) return false;
  const Mp3Frame first = mp3_frame(p);
  if (first.bytes == 0) return false;
  const unsigned char* second = file.at(at + first.bytes, 4);
  if (at == 0 && (!second || mp3_frame(second).bytes == 0)) return false;  // two bytes of sync alone prove little
  std::uint64_t counted = 0, stated = 0;
  double reached = 0.0;
  const double frame_seconds = static_cast<double>(first.samples) / first.rate;
  if ((p = file.at(at, first.side + 12))) {
    const unsigned char* x = p + first.side;
    if (std::memcmp(x, "Xing", 4) == 0 || std::memcmp(x, "Info", 4) == 0) {
      if (x[7] & 1) stated = big32(x + 8);
      at += first.bytes;  // no audio
    }
  }
  c.counted = true;
  const auto damaged = [&](std::string what) {
    c.damage = std::move(what);
    c.damage_seconds = reached;
    c.readable = at;
    if (stated > counted) c.lost_seconds = static_cast<double>(stated - counted) * frame_seconds;
    return true;
  };
  while (at < file.size()) {
    p = file.at(at, 4);
    const Mp3Frame f = p ? mp3_frame(p) : Mp3Frame{};
    if (f.bytes == 0) {
      if (mp3_ends_here(file, at)) break;
      if (!p) return damaged("is cut off: its last frame is not whole");
      return damaged(fmt::format("is damaged: no frame begins at byte {}, where one should", at));
    }
    if (f.bytes > file.size() - at) return damaged("is cut off: its last frame is not whole");
    ++counted;
    reached += static_cast<double>(f.samples) / f.rate;
    at += f.bytes;
  }
  if (stated > counted)
    return damaged(fmt::format("is cut off: its header counts {} frames, {} are there", stated, counted));
  if (stated == 0) {
    c.notes.push_back(fmt::format("its header states no length; its {} frames are {:.3f} s", counted, reached));
  } else if (stated < counted) {
    c.notes.push_back(fmt::format("its header counts {} frames; all {} that are there are read", stated, counted));
  }
  return true;
}

// The length of a FLAC frame's header that begins at p, of which n bytes are there; 0 where its checksum fails.
std::size_t flac_head(const unsigned char* p, std::size_t n) {
  if (n < 6 || p[0] != 0xff || (p[1] & 0xfe) != 0xf8) return 0;
  const int size = p[2] >> 4, rate = p[2] & 15;
  if (size == 0 || rate == 15 || (p[3] >> 4) > 10) return 0;
  std::size_t at = 4, more = 0;  // a number in the manner of UTF-8
  for (unsigned bit = 0x80; p[4] & bit; bit >>= 1) ++more;
  if (more == 1 || more > 7) return 0;
  at += std::max<std::size_t>(1, more);
  at += size == 6 ? 1u : size == 7 ? 2u : 0u;
  at += rate == 12 ? 1u : rate == 13 || rate == 14 ? 2u : 0u;
  if (at >= n) return 0;
  std::uint8_t crc = 0;
  for (std::size_t i = 0; i < at; ++i) crc = FlacHeadCrc::add(crc, p[i]);
  return crc == p[at] ? at + 1 : 0;
}

// Whether a frame of FLAC that passes its checksum ends where these bytes do.
bool ends_with_a_flac_frame(const unsigned char* bytes, std::size_t n) {
  int tried = 0;
  for (std::size_t back = 8; back <= n && tried < 200; ++back) {
    const unsigned char* f = bytes + n - back;
    if (flac_head(f, back) == 0) continue;
    ++tried;
    std::uint16_t crc = 0;
    for (std::size_t i = 0; i + 2 < back; ++i) crc = FlacCrc::add(crc, f[i]);
    if (crc == (f[back - 2] << 8 | f[back - 1])) return true;
  }
  return false;
}

// Where the tags of MP3 players begin that some programs put behind a FLAC, or zeros of a file system; else the tail's
// length.
std::size_t begin_of_trailer(const std::vector<unsigned char>& tail) {
  std::size_t n = tail.size();
  if (n >= 128 && std::memcmp(tail.data() + n - 128, "TAG", 3) == 0) n -= 128;
  const auto ape = [&](std::size_t at) { return std::memcmp(tail.data() + at, "APETAGEX", 8) == 0; };
  if (n >= 32 && ape(n - 32)) {
    const std::size_t size = little32(tail.data() + n - 20);  // footer and items, without the header
    if (size >= 32 && size <= n) n -= size;
    if (n >= 32 && ape(n - 32)) n -= 32;
  }
  std::size_t zeros = 0;
  while (zeros < n && tail[n - 1 - zeros] == 0) ++zeros;
  return zeros >= 8 ? n - zeros : n;
}

// A FLAC that states no number of samples is whole where its last frame is: one that ends with the file and passes its
// checksum. What is missing behind it cannot be told. Of others, libsndfile takes what lies behind the last frame for
// damage: it is not given that.
bool inspect_flac(const ByteSource& source, Container& c) {
  Window file(source);
  std::uint64_t at = 0;
  const unsigned char* p = file.at(0, 10);
  if (p && std::memcmp(p, "ID3", 3) == 0)
    at = 10 + ((p[6] & 127u) << 21 | (p[7] & 127u) << 14 | (p[8] & 127u) << 7 | (p[9] & 127u));
  p = file.at(at, 42);
  if (!p || std::memcmp(p, "fLaC", 4) != 0) return false;
  const std::uint64_t samples = (std::uint64_t{p[21]} & 15) << 32 | big32(p + 22);
  c.counted = samples == 0;
  constexpr std::size_t kMost = 1 << 20;  // bytes that are searched; no frame of 65,535 samples in 2 channels is longer
  const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(kMost, file.size() - at - 42));
  std::vector<unsigned char> tail(n);
  tail.resize(source.read(file.size() - n, tail.data(), n));
  std::size_t end = begin_of_trailer(tail);
  if (end < tail.size()) {
    // The frame's own last bytes may be zeros.
    std::size_t own = 0;
    while (own < 3 && !ends_with_a_flac_frame(tail.data(), end + own)) ++own;
    end += own;
    if (own < 3) {
      c.readable = file.size() - (tail.size() - end);
      c.notes.push_back(fmt::format(
          "behind its last frame lie {} bytes that are no sound, as of a tag; they are not read", tail.size() - end));
    } else {
      end = tail.size();
    }
  }
  if (samples != 0) return true;
  if (ends_with_a_flac_frame(tail.data(), end)) {
    c.notes.emplace_back(
        "its header states no length, as of a program that wrote to a pipe; all that is there is read");
  } else {
    c.damage = "is cut off: its last frame is not whole";
    c.damage_seconds = -1.0;
  }
  return true;
}

}  // namespace

bool inspect_coded(const ByteSource& source, Container& c) {
  return inspect_ogg(source, c) || inspect_flac(source, c) || inspect_mp3(source, c);
}

}  // namespace cafx
