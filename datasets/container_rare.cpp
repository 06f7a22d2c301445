// Containers of old programs whose headers state a length. Nothing is patched: libsndfile reads what is there of each,
// and says no word where that is less than was promised.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "datasets/container.h"

namespace cafx {

namespace {

// Numbers and text of a file; zeros and nothing behind its end.
class HeaderReader {
 public:
  HeaderReader(const ByteSource& source, bool big) : source_(source), big_(big) {}
  std::uint64_t size() const { return source_.size(); }
  bool big() const { return big_; }
  void be_big(bool big) { big_ = big; }
  std::uint64_t number(std::uint64_t at, int bytes) const {
    unsigned char p[8] = {};
    source_.read(at, p, static_cast<std::size_t>(bytes));
    std::uint64_t x = 0;
    for (int i = 0; i < bytes; ++i) x = x << 8 | p[big_ ? i : bytes - 1 - i];
    return x;
  }
  std::string text(std::uint64_t at, std::size_t n) const {
    std::string s(n, '\0');
    s.resize(source_.read(at, s.data(), n));
    return s;
  }

 private:
  const ByteSource& source_;
  bool big_;
};

// Bytes of samples as the header states them, against those that are there.
struct Stated {
  std::uint64_t at = 0, bytes = 0, block = 1;
  double bytes_per_second = 0.0;
};

void hold_against(const HeaderReader& file, const Stated& s, Container& c) {
  const std::uint64_t there = file.size() > s.at ? file.size() - s.at : 0;
  if (s.bytes <= there) return;
  const std::uint64_t missing = s.bytes - there;
  if (missing <= kMostMissing && missing < s.bytes / 10) {
    c.notes.push_back(
        fmt::format("its header counts {} bytes more than there are; all that are there are read", missing));
    return;
  }
  c.damage = fmt::format("is cut off: its header promises {} bytes of samples, the file holds {}", s.bytes, there);
  const auto time = [&](std::uint64_t n) {
    return s.bytes_per_second > 0.0 ? static_cast<double>(n - n % s.block) / s.bytes_per_second : 0.0;
  };
  c.damage_seconds = time(there);
  c.lost_seconds = time(s.bytes) - c.damage_seconds;
}

Stated stated(std::uint64_t at, std::uint64_t frames, std::uint64_t block, std::uint64_t rate) {
  return {at, frames * block, std::max<std::uint64_t>(1, block),
          static_cast<double>(rate) * static_cast<double>(block)};
}

bool inspect_avr(HeaderReader& file, Container& c) {
  if (file.text(0, 4) != "2BIT") return false;
  file.be_big(true);
  const std::uint64_t channels = file.number(12, 2) != 0 ? 2 : 1, width = file.number(14, 2) / 8;
  const std::uint64_t count = file.number(26, 4), rate = file.number(22, 4) & 0xffffffu;
  Stated s = stated(128, count, channels * width, rate);
  // Some count the samples of both channels.
  if (channels == 2 && s.bytes == 2 * (file.size() - std::min<std::uint64_t>(file.size(), 128))) return true;
  hold_against(file, s, c);
  return true;
}

// The number behind "name -i " or "name -s1 "; 0 where there is none.
std::uint64_t nist_number(const std::string& header, const char* name) {
  std::size_t at = header.find("\n" + std::string(name) + " -");
  at = at == std::string::npos ? at : header.find(' ', at + std::strlen(name) + 2);
  std::uint64_t n = 0;
  for (at = at == std::string::npos ? header.size() : at + 1; at < header.size(); ++at) {
    if (header[at] < '0' || header[at] > '9' || n > (1ull << 48)) break;
    n = 10 * n + static_cast<std::uint64_t>(header[at] - '0');
  }
  return n;
}

bool inspect_nist(HeaderReader& file, Container& c) {
  const std::string header = file.text(0, 1024);
  if (header.rfind("NIST_1A\n", 0) != 0) return false;
  if (header.find("shorten") != std::string::npos) return true;
  const std::uint64_t channels = std::max<std::uint64_t>(1, nist_number(header, "channel_count"));
  const std::uint64_t width = std::max<std::uint64_t>(1, nist_number(header, "sample_n_bytes"));
  if (channels > 1024 || width > 8) return true;
  hold_against(
      file, stated(1024, nist_number(header, "sample_count"), channels * width, nist_number(header, "sample_rate")), c);
  return true;
}

bool inspect_svx(HeaderReader& file, Container& c) {
  const std::string type = file.text(8, 4);
  if (file.text(0, 4) != "FORM" || (type != "8SVX" && type != "16SV")) return false;
  file.be_big(true);
  const std::uint64_t width = type == "8SVX" ? 1 : 2;
  std::uint64_t rate = 0;
  for (std::uint64_t at = 12, n = 0; at + 8 <= file.size() && n < 10000; ++n) {
    const std::string name = file.text(at, 4);
    const std::uint64_t size = file.number(at + 4, 4);
    if (name == "VHDR") rate = file.number(at + 20, 2);
    if (name == "BODY") {
      hold_against(file, stated(at + 8, size / width, width, rate), c);
      return true;
    }
    at += 8 + size + size % 2;
  }
  return true;
}

// Blocks of a type and a length of 24 bits; the last one's type is 0.
bool inspect_voc(HeaderReader& file, Container& c) {
  if (file.text(0, 19) != "Creative Voice File") return false;
  double rate = 0.0, reached = 0.0;
  std::uint64_t block = 1;
  for (std::uint64_t at = file.number(20, 2), n = 0; at + 4 <= file.size() && n < 1000000; ++n) {
    const std::uint64_t type = file.number(at, 1), size = file.number(at + 1, 3);
    std::uint64_t head = size;  // bytes that are no samples
    if (type == 0) return true;
    if (type == 8) {
      block = 1 + file.number(at + 7, 1);
      rate = 256e6 / (65536.0 - static_cast<double>(file.number(at + 4, 2))) / static_cast<double>(block);
    } else if (type == 1) {
      if (rate == 0.0) rate = 1e6 / (256.0 - static_cast<double>(file.number(at + 4, 1)));
      head = 2;
    } else if (type == 9) {
      rate = static_cast<double>(file.number(at + 4, 4));
      block = std::max<std::uint64_t>(1, file.number(at + 8, 1) / 8 * file.number(at + 9, 1));
      head = 12;
    } else if (type == 2) {
      head = 0;
    }
    if (head < size || type == 2) {
      const std::uint64_t begin = at + 4 + head, end = at + 4 + size;
      const double per_second = rate * static_cast<double>(block);
      if (end > file.size()) {
        hold_against(file, {begin, size - std::min(size, head), block, per_second}, c);
        c.damage_seconds += reached;
        return true;
      }
      if (per_second > 0.0) reached += static_cast<double>(end - begin) / per_second;
    }
    at += 4 + size;
  }
  return true;
}

// Of the second matrix, behind that of the rate; `rows` are channels.
bool inspect_mat4(HeaderReader& file, Container& c) {
  const std::string head = file.text(0, 4);
  const bool big = head == std::string("\0\0\3\xe8", 4);
  if ((!big && head != std::string(4, '\0')) || file.text(20, 10) != "samplerate") return false;
  file.be_big(big);
  const double rate = std::bit_cast<double>(file.number(20 + file.number(16, 4), 8));
  const std::uint64_t at = 28 + file.number(16, 4);
  static constexpr std::uint64_t kWidths[] = {8, 4, 4, 2, 2, 1};
  const std::uint64_t kind = file.number(at, 4) / 10 % 10;
  const std::uint64_t rows = file.number(at + 4, 4), columns = file.number(at + 8, 4), name = file.number(at + 16, 4);
  if (kind > 5 || rows == 0 || rows > 1024 || name > 1024 || !(rate >= 1.0 && rate < 1e7)) return true;
  hold_against(file, stated(at + 20 + name, columns, rows * kWidths[kind], static_cast<std::uint64_t>(rate)), c);
  return true;
}

// A MAT 5 file is elements, each of a type and a length; short ones hold both in four bytes.
struct Element {
  std::uint64_t type = 0, at = 0, size = 0, next = 0;
};
Element element(const HeaderReader& file, std::uint64_t at) {
  const std::uint64_t tag = file.number(at, 4);
  if (tag >> 16 != 0) return {tag & 0xffff, at + 4, tag >> 16, at + 8};
  const std::uint64_t size = file.number(at + 4, 4);
  return {tag, at + 8, size, at + 8 + (size + 7) / 8 * 8};
}

bool inspect_mat5(HeaderReader& file, Container& c) {
  if (file.text(0, 10) != "MATLAB 5.0") return false;
  file.be_big(file.text(126, 2) == "MI");
  const Element first = element(file, 128), second = element(file, first.next);
  if (first.type != 14 || second.type != 14) return true;
  const auto parts = [&](const Element& matrix) {  // flags, dims, name, values
    const Element flags = element(file, matrix.at), dims = element(file, flags.next), name = element(file, dims.next);
    return std::pair(dims, element(file, name.next));
  };
  const Element value = parts(first).second;
  const double rate =
      value.type == 9 ? std::bit_cast<double>(file.number(value.at, 8))
      : value.size <= 4
          ? static_cast<double>(file.number(value.at, static_cast<int>(std::max<std::uint64_t>(1, value.size))))
          : 0.0;
  const auto [dims, samples] = parts(second);
  const std::uint64_t columns = file.number(dims.at + 4, 4);
  if (columns == 0 || samples.size % columns != 0 || !(rate >= 1.0 && rate < 1e7)) return true;
  hold_against(file, stated(samples.at, columns, samples.size / columns, static_cast<std::uint64_t>(rate)), c);
  return true;
}

bool inspect_wve(HeaderReader& file, Container& c) {
  if (file.text(0, 15) != "ALawSoundFile**") return false;
  file.be_big(true);
  hold_against(file, stated(32, file.number(18, 4), 1, 8000), c);
  return true;
}

bool inspect_xi(HeaderReader& file, Container& c) {
  if (file.text(0, 20) != "Extended Instrument:") return false;
  if (file.number(296, 2) != 1) return true;
  const std::uint64_t width = file.number(312, 1) & 16 ? 2 : 1;
  hold_against(file, stated(338, file.number(298, 4) / width, width, 44100), c);
  return true;
}

bool inspect_mpc(HeaderReader& file, Container& c) {
  if (file.text(0, 2) != "\1\4" || file.number(21, 1) > 1) return false;
  hold_against(file, stated(42, file.number(30, 4), 2 * (1 + file.number(21, 1)), file.number(40, 2)), c);
  return true;
}

// Packets of 127 bytes, each with a checksum.
bool inspect_sds(HeaderReader& file, Container& c) {
  constexpr std::uint64_t kHead = 21, kPacket = 127;
  const std::string head = file.text(0, kHead);
  if (head.size() < kHead || head[0] != '\xf0' || head[1] != '\x7e' || head[3] != 1) return false;
  const auto sevens = [&](std::size_t at) {
    const auto b = [&](std::size_t i) { return static_cast<std::uint64_t>(head[at + i] & 127); };
    return b(0) | b(1) << 7 | b(2) << 14;
  };
  const std::uint64_t bits = static_cast<unsigned char>(head[6]), frames = sevens(10), nanoseconds = sevens(7);
  const std::uint64_t each = 120 / (bits <= 14 ? 2 : bits <= 21 ? 3 : 4), packets = (frames + each - 1) / each;
  const double seconds = 1e-9 * static_cast<double>(nanoseconds);
  for (std::uint64_t k = 0; k < packets; ++k) {
    const std::string p = file.text(kHead + k * kPacket, kPacket);
    const bool whole = p.size() == kPacket;
    unsigned char sum = 0;
    for (std::size_t i = 1; whole && i < 125; ++i) sum ^= static_cast<unsigned char>(p[i]);
    if (whole && p[0] == '\xf0' && p[3] == 2 && sum == static_cast<unsigned char>(p[125])) continue;
    c.damage = whole ? fmt::format("is damaged: packet {} of {} fails its checksum", k + 1, packets)
                     : fmt::format("is cut off: {} of {} packets are there", k, packets);
    c.damage_seconds = static_cast<double>(k * each) * seconds;
    c.lost_seconds = static_cast<double>(frames - std::min(frames, k * each)) * seconds;
    return true;
  }
  return true;
}

}  // namespace

bool inspect_rare(const ByteSource& source, Container& c) {
  for (const auto inspect : {inspect_avr, inspect_nist, inspect_svx, inspect_voc, inspect_mat4, inspect_mat5,
                             inspect_wve, inspect_xi, inspect_mpc, inspect_sds}) {
    HeaderReader file(source, false);
    if (inspect(file, c)) return true;
  }
  return false;
}

}  // namespace cafx
