#include "host/train/events.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>

#include "host/draw/wav.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr std::uint32_t kMask = 0xa282ead8u;
constexpr int kBins = 30;
constexpr std::uint64_t kMostBytes = 1u << 28;  // of a record; more is a damaged length

std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t v = i;
    for (int bit = 0; bit < 8; ++bit) v = v & 1u ? v >> 1 ^ 0x82f63b78u : v >> 1;
    table[i] = v;
  }
  return table;
}

// Protobuf's wire format: a key (field number, type), then the value.
void put_varint(std::string& out, std::uint64_t v) {
  for (; v >= 128; v >>= 7) out += static_cast<char>(v | 128);
  out += static_cast<char>(v);
}
template <class T>
void put_fixed(std::string& out, T v) {
  char bytes[sizeof v];
  std::memcpy(bytes, &v, sizeof v);  // every machine that this runs on is little-endian
  out.append(bytes, sizeof v);
}
void put_key(std::string& out, int field, int type) { put_varint(out, static_cast<std::uint64_t>(field << 3 | type)); }
void put_integer(std::string& out, int field, std::int64_t v) {
  put_key(out, field, 0);
  put_varint(out, static_cast<std::uint64_t>(v));
}
void put_double(std::string& out, int field, double v) {
  put_key(out, field, 1);
  put_fixed(out, v);
}
void put_float(std::string& out, int field, float v) {
  put_key(out, field, 5);
  put_fixed(out, v);
}
void put_bytes(std::string& out, int field, const std::string& v) {
  put_key(out, field, 2);
  put_varint(out, v.size());
  out += v;
}
void put_doubles(std::string& out, int field, const std::vector<double>& v) {
  put_key(out, field, 2);
  put_varint(out, 8 * v.size());
  for (const double x : v) put_fixed(out, x);
}

std::string record(const std::string& bytes) {
  std::string out;
  put_fixed(out, static_cast<std::uint64_t>(bytes.size()));
  put_fixed(out, masked_crc32c(out.data(), 8));
  out += bytes;
  put_fixed(out, masked_crc32c(bytes.data(), bytes.size()));
  return out;
}

}  // namespace

std::uint32_t crc32c(const void* bytes, std::size_t n) {
  static const std::array<std::uint32_t, 256> table = make_table();
  const auto* p = static_cast<const unsigned char*>(bytes);
  std::uint32_t crc = ~0u;
  for (std::size_t i = 0; i < n; ++i) crc = crc >> 8 ^ table[(crc ^ p[i]) & 255u];
  return ~crc;
}

std::uint32_t masked_crc32c(const void* bytes, std::size_t n) {
  const std::uint32_t crc = crc32c(bytes, n);
  return (crc >> 15 | crc << 17) + kMask;
}

std::uint64_t whole_records(const std::filesystem::path& path, std::uint64_t most) {
  std::ifstream in(path, std::ios::binary);
  std::uint64_t good = 0;
  std::string bytes;
  for (;;) {
    char head[12];
    std::uint64_t n = 0;
    std::uint32_t sum = 0;
    if (!in.read(head, sizeof head)) return good;
    std::memcpy(&n, head, 8);
    std::memcpy(&sum, head + 8, 4);
    if (sum != masked_crc32c(head, 8) || n > kMostBytes || good + 16 + n > most) return good;
    bytes.resize(n);
    if (!in.read(bytes.data(), static_cast<std::streamsize>(n)) || !in.read(head, 4)) return good;
    std::memcpy(&sum, head, 4);
    if (sum != masked_crc32c(bytes.data(), n)) return good;
    good += 16 + n;
  }
}

EventFile::~EventFile() {
  if (fd_ >= 0) close(fd_);
}

std::uint64_t EventFile::open(const std::filesystem::path& path, std::uint64_t size) {
  path_ = path;
  size_ = whole_records(path, size);
  fd_ = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(size_)) != 0) {
    const int code = errno;
    throw WriteError(
        fmt::format(
            "{}: cannot be written: {}; free some space; a new training does without this file by log.events = \"off\"",
            path.string(), std::strerror(code)),
        code);
  }
  if (size_ == 0) {
    std::string version;
    put_bytes(version, 3, "brain.Event:2");
    event(0, version);
  }
  return size_;
}

void EventFile::event(long step, const std::string& content) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::string bytes;
  put_double(bytes, 1, std::chrono::duration<double>(now).count());
  if (step != 0) put_integer(bytes, 2, step);  // as every writer leaves out what is 0
  pending_ += record(bytes + content);
}

void EventFile::value(const std::string& tag, long step, const std::string& content) {
  std::string value, summary, fields;
  put_bytes(value, 1, tag);
  put_bytes(summary, 1, value + content);
  put_bytes(fields, 5, summary);
  event(step, fields);
}

void EventFile::scalar(const std::string& tag, long step, double v) {
  std::string content;
  put_float(content, 2, static_cast<float>(v));
  value(tag, step, content);
}

void EventFile::histogram(const std::string& tag, long step, const std::vector<float>& values) {
  double least = INFINITY, greatest = -INFINITY, sum = 0.0, squares = 0.0, n = 0.0;
  for (const float x : values) {
    if (!std::isfinite(x)) continue;
    least = std::min<double>(least, x);
    greatest = std::max<double>(greatest, x);
    sum += x;
    squares += static_cast<double>(x) * x;
    n += 1.0;
  }
  if (n == 0.0) return;
  // Equal values still need a bin of some width.
  const double lo = least < greatest ? least : least - 0.5, width = (least < greatest ? greatest - least : 1.0) / kBins;
  // The first bin ends where the values begin: for readers a bucket spans from the limit before to its own.
  std::vector<double> limits(kBins + 1), counts(kBins + 1);
  for (int i = 0; i <= kBins; ++i)
    limits[static_cast<std::size_t>(i)] = i == kBins ? lo + kBins * width : lo + i * width;
  for (const float x : values) {
    if (!std::isfinite(x)) continue;
    const int bin = std::clamp(static_cast<int>((x - lo) / width), 0, kBins - 1);
    counts[static_cast<std::size_t>(bin + 1)] += 1.0;
  }
  std::string histo, content;
  put_double(histo, 1, least);
  put_double(histo, 2, greatest);
  put_double(histo, 3, n);
  put_double(histo, 4, sum);
  put_double(histo, 5, squares);
  put_doubles(histo, 6, limits);
  put_doubles(histo, 7, counts);
  put_bytes(content, 5, histo);
  value(tag, step, content);
}

void EventFile::audio(const std::string& tag, long step, const std::vector<float>& samples, int sample_rate,
                      double gain) {
  std::string audio, content;
  put_float(audio, 1, static_cast<float>(sample_rate));
  put_integer(audio, 2, 1);
  put_integer(audio, 3, static_cast<std::int64_t>(samples.size()));
  put_bytes(audio, 4, wav_bytes(samples, sample_rate, gain));
  put_bytes(audio, 5, "audio/wav");
  put_bytes(content, 6, audio);
  value(tag, step, content);
}

void EventFile::flush(bool sync) {
  std::size_t done = 0;
  const auto failed = [&] {
    const int code = errno;
    if (ftruncate(fd_, static_cast<off_t>(size_)) != 0) errno = code;  // the next `open` cuts it back as well
    throw WriteError(
        fmt::format(
            "{}: cannot be written: {}; free some space; a new training does without this file by log.events = \"off\"",
            path_.string(), std::strerror(code)),
        code);
  };
  while (done < pending_.size()) {
    const ssize_t n = pwrite(fd_, pending_.data() + done, pending_.size() - done, static_cast<off_t>(size_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failed();
    done += static_cast<std::size_t>(n);
  }
  if (sync && fdatasync(fd_) != 0) failed();
  size_ += pending_.size();
  pending_.clear();
}

}  // namespace cafx
