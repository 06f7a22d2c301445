// datasets/container.h -- what the container of an audio file promises, held against the bytes that are there.
//
//   Formats  WAV (RIFF, RIFX), RF64, BW64, W64, AIFF and AIFC, AU, CAF: lengths in headers. Ogg: pages and their
//            checksums. MP3: frames and the count in its Xing or Info header. FLAC of unknown length: its last frame's
//            checksum. AVR, NIST, SVX, VOC, MAT 4 and 5, WVE, XI, MPC 2000: lengths in headers; SDS: packets and
//            their checksums. IRCAM, PAF, PVF, SD2 and raw samples state no length: what is cut cannot be told. HTK is
//            known to libsndfile by its length alone, so one that is cut is no audio.
//   Wrong    A header whose length is 0, unknown, or a few bytes off, while the samples are there: patches make
//            libsndfile read them all, a note says so. "A few": at most kMostMissing bytes and under a tenth of the
//            samples, or any number where the length of the whole file (RIFF, FORM) is right.
//   Damaged  Bytes are missing or changed: where in seconds, and how much is lost where that can be told.
// Memory   a few buffers of 64 KiB, whatever the file says; time linear in its size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cafx {

// The bytes of a file.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual std::uint64_t size() const = 0;
  // Up to n bytes from `at` on; how many there were.
  virtual std::size_t read(std::uint64_t at, void* to, std::size_t n) const = 0;
};

struct Patch {
  std::uint64_t at;
  std::string bytes;
};

struct Container {
  std::vector<Patch> patches;
  std::vector<std::string> notes;              // clauses about the file: "its header states no length, ..."
  std::uint64_t readable = ~std::uint64_t{0};  // bytes that the decoder is given: what lies behind damage makes noise
  bool counted = false;  // the container was walked: its end is known, libsndfile's length is an estimate

  std::string damage;           // empty: none; else a clause, "a page fails its checksum"
  double damage_seconds = 0.0;  // what lies before is good
  double lost_seconds = -1.0;   // negative: unknown
};

inline constexpr std::uint64_t kMostMissing = 1024;  // bytes

Container inspect_container(const ByteSource&);

// Of inspect_container: formats whose header states bytes of samples, coded formats, and those of old programs. False:
// not of these.
bool inspect_chunks(const ByteSource&, Container&);
bool inspect_coded(const ByteSource&, Container&);
bool inspect_rare(const ByteSource&, Container&);

}  // namespace cafx
