// host/train/events.h -- event files as TensorBoard reads them: scalars, histograms and audio over the steps of a run.
//
//   record    8 bytes length (little-endian), masked CRC32C of these, the bytes, masked CRC32C of the bytes (TFRecord)
//   bytes     a protobuf message Event; the first one of a file says "brain.Event:2"
//
//   Events are collected in memory and appended by `flush`. A file is never appended to after anything but a whole
//   record: `open` cuts it back to a given size, or to the last whole record before that, and continues there.
//
// Source   tensorflow/core/lib/io/record_writer.cc, core/util/event.proto, core/framework/summary.proto: the fields
//          that TensorBoard migrates itself (simple_value, histo, audio), as PyTorch's SummaryWriter writes them.
// Bits     the same events: the same bytes but for the times; so the same size.
// Errors   WriteError names the file; it then ends after a whole record again, where the disk allows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cafx {

std::uint32_t crc32c(const void* bytes, std::size_t n);         // Castagnoli
std::uint32_t masked_crc32c(const void* bytes, std::size_t n);  // as TFRecord keeps it

// How many bytes from the start are whole records with right sums, at most `most`.
std::uint64_t whole_records(const std::filesystem::path&, std::uint64_t most);

class EventFile {
 public:
  EventFile() = default;
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  // Goes on after `size` bytes of a file that is there, with 0 from its start. Gives back where it really stands: less
  // than `size` where the file was shorter or damaged before that.
  std::uint64_t open(const std::filesystem::path&, std::uint64_t size);

  void scalar(const std::string& tag, long step, double value);
  // In 30 equal bins from the least to the greatest; values that are not finite are left out.
  void histogram(const std::string& tag, long step, const std::vector<float>& values);
  // 16-bit mono WAV of the samples times gain.
  void audio(const std::string& tag, long step, const std::vector<float>& samples, int sample_rate, double gain);

  bool pending() const { return !pending_.empty(); }
  // Appends what was collected; with `sync` it is on the disk before this returns.
  void flush(bool sync);
  std::uint64_t size() const { return size_; }  // of what was flushed

 private:
  void event(long step, const std::string& content);  // `content`: the fields but time and step
  void value(const std::string& tag, long step, const std::string& content);

  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::string pending_;
};

}  // namespace cafx
