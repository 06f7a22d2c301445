// Audio files with headers that lie, that are cut off and that are damaged, of every container; and thousands of
// mutations.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "datasets/dataset.h"
#include "tests/fuzz/audio_files.h"
#include "tests/fuzz/mutations.h"
#include "tests/temporary_folder.h"

extern "C" const char* __asan_default_options() { return "max_allocation_size_mb=256"; }
// libsndfile forgets 6 kB of each Vorbis file whose headers it refuses.
extern "C" const char* __lsan_default_suppressions() { return "leak:vorbis_info_init\n"; }

namespace cafx {
namespace {

namespace fs = std::filesystem;

constexpr int kRate = 16000, kFrames = 16000;

std::string wav16(int n = kFrames) { return audio_bytes(SF_FORMAT_WAV | SF_FORMAT_PCM_16, n, 1, kRate); }

std::string little(std::uint64_t x, int bytes) { return number_bytes(x, bytes, true); }
std::string big(std::uint64_t x, int bytes) { return number_bytes(x, bytes, false); }
std::string chunk(const std::string& name, const std::string& data) {
  return name + little(data.size(), 4) + data + std::string(data.size() % 2, '\0');
}
// With `text` in place of what stands behind the first `name`.
std::string after(std::string file, const std::string& name, std::size_t skip, const std::string& text) {
  const std::size_t at = file.find(name);
  EXPECT_NE(at, std::string::npos) << name;
  return file.replace(at + name.size() + skip, text.size(), text);
}

struct Heard {
  std::size_t n = 0;  // frames that were given
  std::string error;  // of what followed; empty: all is whole
  std::vector<std::string> notes;
};
Heard listen(const std::string& bytes) {
  Heard h;
  try {
    AudioReader reader(bytes.data(), bytes.size(), "x");
    h.notes = reader.notes();
    std::vector<float> block(static_cast<std::size_t>(reader.channels()) * 4096);
    while (const std::size_t n = reader.read(block.data(), 4096)) h.n += n;
  } catch (const Error& e) {
    h.error = e.what();
  }
  return h;
}
void expect_whole(const std::string& bytes, std::size_t n, const std::string& note, const std::string& what) {
  const Heard h = listen(bytes);
  EXPECT_EQ(h.error, "") << what;
  EXPECT_EQ(h.n, n) << what;
  if (note.empty()) {
    EXPECT_TRUE(h.notes.empty()) << what << ": " << h.notes.front();
  } else {
    ASSERT_FALSE(h.notes.empty()) << what;
    EXPECT_NE(h.notes.front().find(note), std::string::npos) << what << ": " << h.notes.front();
  }
}

TEST(AudioFiles, SoundFilesOfEveryContainerAreReadWithoutAWord) {
  for (const AudioFormat& f : kAudioFormats) {
    for (const int channels : {1, 2}) {
      const int rate = std::string(f.name) == "mp3" || std::string(f.name) == "opus" ? 48000 : kRate;
      const std::string bytes = audio_bytes(f.format, 20000, channels, rate);
      if (bytes.empty()) continue;
      const Heard h = listen(bytes);
      EXPECT_EQ(h.error, "") << f.name;
      EXPECT_GE(h.n, 20000u) << f.name;
      EXPECT_LE(h.n, 20000u + 2400u) << f.name;  // coders work in blocks
      EXPECT_TRUE(h.notes.empty()) << f.name << ": " << h.notes.front();
    }
  }
}

TEST(AudioFiles, WavesWhoseHeadersLieAreReadWhole) {
  const std::string good = wav16();
  const std::uint32_t n = 2 * kFrames, whole = n + 36;
  expect_whole(after(good, "data", 0, little(0, 4)), kFrames, "no length", "data of 0, RIFF right");
  expect_whole(after(after(good, "data", 0, little(0, 4)), "RIFF", 0, little(0, 4)), kFrames, "no length", "both 0");
  expect_whole(after(after(good, "data", 0, little(0, 4)), "RIFF", 0, little(36, 4)), kFrames, "no length",
               "as of a file without samples");
  for (const std::uint32_t unknown : {0xffffffffu, 0x7fffffffu, 0x7ffff000u, 0xffffff00u, 0x80000000u}) {
    expect_whole(after(after(good, "data", 0, little(unknown, 4)), "RIFF", 0, little(0xffffffffu, 4)), kFrames,
                 "no length", "unknown");
  }
  for (const std::uint32_t more : {1u, 2u, 8u, 30u, 36u, 44u, 1000u}) {
    expect_whole(after(good, "data", 0, little(n + more, 4)), kFrames, "more than there are", "a few more");
    expect_whole(after(after(good, "data", 0, little(n + more, 4)), "RIFF", 0, little(whole + more, 4)), kFrames,
                 "more than there are", "a few more in both");
  }
  expect_whole(after(good, "data", 0, little(2 * n, 4)), kFrames, "more than there are",
               "the whole file's length is right");
  // Switched off: the lengths are of half the recording.
  expect_whole(after(after(good, "data", 0, little(n / 2, 4)), "RIFF", 0, little(n / 2 + 36, 4)), kFrames,
               "all that are there are read", "half is counted");
  // Chunks before and behind, of odd lengths too; none is taken for samples.
  const std::size_t data = good.find("data"), fmt = good.find("fmt ");
  std::string chunks = good.substr(0, 12) + chunk("JUNK", std::string(28, '\0')) +
                       chunk("bext", std::string(603, '\1')) + good.substr(fmt, data - fmt) +
                       chunk("LIST", "INFOISFT" + little(5, 4) + "abcde") + good.substr(data) +
                       chunk("id3 ", "ID3tag") + chunk("LIST", "adtl");
  expect_whole(after(chunks, "RIFF", 0, little(chunks.size() - 8, 4)), kFrames, "", "chunks");
  const std::string empty = good.substr(0, data) + "data" + little(0, 4) + chunk("LIST", "INFO");
  EXPECT_NE(listen(after(empty, "RIFF", 0, little(empty.size() - 8, 4))).error.find("no samples"), std::string::npos);
  std::string noise;
  for (std::uint64_t i = 0; i < 3777; ++i) noise += static_cast<char>(Rng{3, 1}.bits64(i));
  const Heard odd = listen(good + noise);
  EXPECT_EQ(odd.n, static_cast<std::size_t>(kFrames));
  ASSERT_FALSE(odd.notes.empty());
}

TEST(AudioFiles, LongAndOtherContainersWhoseHeadersLieAreReadWhole) {
  const std::string rf64 = audio_bytes(SF_FORMAT_RF64 | SF_FORMAT_PCM_24, kFrames, 2, kRate);
  expect_whole(rf64, kFrames, "", "RF64");
  expect_whole(after(rf64, "ds64", 12, little(0, 8)), kFrames, "no length", "ds64 with data of 0");
  expect_whole(after(rf64, "ds64", 4, std::string(24, '\0')), kFrames, "no length", "ds64 of zeros");
  const std::string no_ds64 = after(rf64, "ds64", 4, std::string(24, '\0'));
  expect_whole(after(no_ds64, "data", 0, little(0, 4)), kFrames, "no length", "ds64 of zeros and data of 0");
  expect_whole(after(no_ds64, "data", 0, little(6 * kFrames, 4)), kFrames, "", "a length of 32 bits alone");
  std::string bw64 = rf64;
  bw64.replace(0, 4, "BW64");
  expect_whole(bw64, kFrames, "", "BW64");
  expect_whole(after(bw64, "ds64", 4, std::string(24, '\0')), kFrames, "no length", "BW64 with ds64 of zeros");
  const std::string aiff = audio_bytes(SF_FORMAT_AIFF | SF_FORMAT_PCM_24, kFrames, 1, kRate);
  expect_whole(after(after(aiff, "SSND", 0, big(0, 4)), "COMM", 6, big(0, 4)), kFrames, "no length", "AIFF");
  expect_whole(after(aiff, "SSND", 0, big(3 * kFrames + 8 + 30, 4)), kFrames, "30 bytes more", "AIFF, a few more");
  const std::string au = audio_bytes(SF_FORMAT_AU | SF_FORMAT_PCM_16, kFrames, 1, kRate);
  expect_whole(after(au, ".snd", 4, big(0, 4)), kFrames, "no length", "AU");
  expect_whole(after(au, ".snd", 4, big(0xffffffffu, 4)), kFrames, "", "AU, unknown");
  const std::string w64 = audio_bytes(SF_FORMAT_W64 | SF_FORMAT_PCM_16, kFrames, 1, kRate);
  expect_whole(after(w64, "data", 12, little(0, 8)), kFrames, "no length", "W64");
  expect_whole(after(w64, "data", 12, little(24 + 2 * kFrames + 30, 8)), kFrames, "30 bytes more", "W64, a few more");
  const std::string caf = audio_bytes(SF_FORMAT_CAF | SF_FORMAT_PCM_16, kFrames, 1, kRate);
  expect_whole(after(caf, "data", 0, big(~std::uint64_t{0}, 8)), kFrames, "no length", "CAF, unknown");
  expect_whole(after(caf, "data", 0, big(0, 8)), kFrames, "no length", "CAF");
  const std::string far = after(rf64, "ds64", 4, little(~std::uint64_t{0} / 2, 8) + little(~std::uint64_t{0} / 4, 8));
  expect_whole(far, kFrames, "no length", "ds64 of more than any disk holds");
  std::string flac = audio_bytes(SF_FORMAT_FLAC | SF_FORMAT_PCM_16, kFrames, 1, kRate);
  const std::string id3 = "TAG" + std::string(125, '\0');
  const std::string ape = "APETAGEX" + little(2000, 4) + little(40, 4) + little(1, 4) + std::string(12, '\0');
  expect_whole(flac + id3, kFrames, "behind its last frame lie 128 bytes", "FLAC with ID3v1");
  expect_whole(flac + std::string(8, 'x') + ape + id3, kFrames, "lie 168 bytes", "FLAC with APE and ID3v1");
  expect_whole(flac + std::string(1000, '\0'), kFrames, "behind its last frame", "FLAC with zeros behind");
  EXPECT_NE(listen(flac.substr(0, flac.size() - 300) + std::string(1000, '\0')).error, "") << "FLAC that zeros end";
  flac[21] = static_cast<char>(flac[21] & 0xf0);
  flac.replace(22, 4, std::string(4, '\0'));
  expect_whole(flac, kFrames, "no length", "streamed FLAC");
  const Heard cut = listen(flac.substr(0, flac.size() - 100));
  EXPECT_NE(cut.error.find("cut off"), std::string::npos) << "a streamed FLAC that is cut: " << cut.error;
  EXPECT_GT(cut.n, 4000u);
}

TEST(AudioFiles, WhatIsCutIsToldWithItsPlaceInEveryContainer) {
  for (const AudioFormat& f : kAudioFormats) {
    const bool coder = std::string(f.name) == "mp3" || std::string(f.name) == "opus";
    const int rate = coder ? 48000 : kRate;
    std::string bytes = audio_bytes(f.format, 3 * rate, 1, rate);
    if (bytes.empty()) continue;
    // libsndfile writes no length into an instrument of FastTracker, trackers do.
    if (std::string(f.name) == "xi") bytes.replace(298, 4, little(static_cast<std::uint64_t>(6 * rate), 4));
    for (const double share : {0.4, 0.71, 0.9}) {
      const Heard h = listen(bytes.substr(0, static_cast<std::size_t>(share * static_cast<double>(bytes.size()))));
      EXPECT_NE(h.error.find("x: "), std::string::npos) << f.name << " at " << share;
      EXPECT_TRUE(h.error.find("cut off") != std::string::npos || h.error.find("damaged") != std::string::npos ||
                  (f.format & SF_FORMAT_SUBMASK) == SF_FORMAT_ALAC_16)  // its table is at the end: no file of audio
          << f.name << ": " << h.error;
      if ((f.format & SF_FORMAT_SUBMASK) == SF_FORMAT_ALAC_16) continue;
      EXPECT_NE(h.error.find(" s of it are good"), std::string::npos) << f.name << ": " << h.error;
      // A page of Vorbis holds up to a second and a quarter.
      EXPECT_LT(std::abs(static_cast<double>(h.n) / rate - 3.0 * share), 1.25) << f.name << " at " << share;
      EXPECT_LE(static_cast<double>(h.n) / rate, 3.0 * share + 0.3) << f.name << " at " << share;
    }
  }
}

// Blocks of eight bits, whose end libsndfile does not look for; a packet of a dump that changed; what some count twice.
TEST(AudioFiles, OldContainersAreToldWhatTheyLack) {
  const std::string voc = audio_bytes(SF_FORMAT_VOC | SF_FORMAT_PCM_U8, kFrames, 1, kRate);
  expect_whole(voc, kFrames, "", "VOC of 8 bits");
  const Heard cut = listen(voc.substr(0, voc.size() / 2));
  EXPECT_NE(cut.error.find("cut off"), std::string::npos) << cut.error;
  std::string sds = audio_bytes(SF_FORMAT_SDS | SF_FORMAT_PCM_16, kFrames, 1, kRate);
  sds[21 + 127 * 30 + 50] ^= 4;
  const Heard damaged = listen(sds);
  EXPECT_NE(damaged.error.find("packet 31 of 400 fails its checksum; 0.0"), std::string::npos) << damaged.error;
  EXPECT_EQ(damaged.n, 1200u);
  std::string avr = audio_bytes(SF_FORMAT_AVR | SF_FORMAT_PCM_16, kFrames, 2, kRate);
  expect_whole(avr.replace(26, 4, big(2 * kFrames, 4)), kFrames, "", "AVR that counts both channels");
  std::string wve = audio_bytes(SF_FORMAT_WVE | SF_FORMAT_ALAW, kFrames, 1, 8000);
  expect_whole(wve.replace(18, 4, big(kFrames + 30, 4)), kFrames, "30 bytes more", "WVE, a few more");
}

TEST(AudioFiles, ChangedBytesOfCodedFilesAreTold) {
  for (const AudioFormat& f : kAudioFormats) {
    const std::string name = f.name;
    if (name != "flac" && name != "vorbis" && name != "opus") continue;
    const int rate = name == "opus" ? 48000 : kRate;
    const std::string good = audio_bytes(f.format, 4 * rate, 1, rate);
    if (good.empty()) continue;
    for (const double share : {0.3, 0.62}) {
      std::string bytes = good;
      bytes[static_cast<std::size_t>(share * static_cast<double>(bytes.size()))] ^= 4;
      const Heard h = listen(bytes);
      EXPECT_NE(h.error.find("damaged"), std::string::npos) << name;
      EXPECT_LE(static_cast<double>(h.n) / rate, 4.0 * share + 0.3) << name << ": nothing behind the damage is given";
      EXPECT_GE(static_cast<double>(h.n) / rate, 4.0 * share - 1.6) << name;
    }
    std::string without = good;
    without.erase(good.size() / 2, good.size() / 4);
    EXPECT_NE(listen(without).error, "") << name << ": a piece is missing";
  }
  // An MP3 has no checksums; a hole or a place without a frame shows.
  std::string mp3 = audio_bytes(0x230000 | 0x0082, 4 * 44100, 1, 44100);
  if (mp3.empty()) return;
  std::string zeros = mp3;
  zeros.replace(mp3.size() / 2, 5000, std::string(5000, '\0'));
  EXPECT_NE(listen(zeros).error.find("no frame begins"), std::string::npos) << listen(zeros).error;
  // Without its Xing header: the same frames, and a note.
  std::string bare = mp3;
  for (const char* mark : {"Info", "Xing"}) {
    const std::size_t at = bare.find(mark);
    if (at != std::string::npos && at < 2000) bare.replace(at, 4, std::string(4, '\0'));
  }
  const Heard h = listen(bare);
  EXPECT_EQ(h.error, "");
  ASSERT_FALSE(h.notes.empty());
  EXPECT_NE(h.notes.front().find("states no length"), std::string::npos);
}

TEST(AudioFiles, InADataSetHeadersAreWarnedOfAndCutFilesAreLeftOut) {
  const TemporaryFolder folder;
  const std::string odd("\xc4nderung");  // Latin-1, no UTF-8
  for (const char* side : {"dry", "wet"}) {
    fs::create_directories(folder / side);
    const std::string good = wav16(), name = (folder / side).string();
    std::ofstream(name + "/a.wav", std::ios::binary) << good;
    std::ofstream(name + "/b.wav", std::ios::binary) << after(good, "data", 0, little(0, 4));
    std::ofstream(name + "/c.wav", std::ios::binary) << good.substr(0, good.size() / 2);
    std::ofstream(name + "/" + odd + ".wav", std::ios::binary) << good;
  }
  DataConfig c;
  c.reader = "folders";
  c.dry = (folder / "dry").string();
  c.wet = (folder / "wet").string();
  const Dataset data = inspect_dataset(c, kRate);
  EXPECT_EQ(data.pairs.size(), 3u);
  ASSERT_EQ(data.unreadable.size(), 1u);
  EXPECT_NE(data.unreadable[0].find("c.wav: is cut off"), std::string::npos) << data.unreadable[0];
  EXPECT_NE(data.unreadable[0].find("0.50"), std::string::npos) << data.unreadable[0];
  int n = 0;
  for (const Finding& f : data.findings) n += f.code == "header";
  EXPECT_EQ(n, 2);
  EXPECT_FALSE(split_json(data, split_dataset(data, c)).empty());  // with a name that is no UTF-8
}

constexpr std::size_t kMostMemory = std::size_t{256} << 20;  // bytes

#ifdef __SANITIZE_ADDRESS__
struct MemoryLimit {};  // __asan_default_options
#else
// What the process may take on top of what it has.
struct MemoryLimit {
  MemoryLimit() {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    getrlimit(RLIMIT_AS, &before);
    rlimit now = before;
    now.rlim_cur = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) + kMostMemory;
    setrlimit(RLIMIT_AS, &now);
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &before); }
  rlimit before{};
};
#endif

// Mutations -----------------------------------------------------------------------------------------------------------

// No crash, no leak under the sanitizers, none over five seconds, none that takes kMostMemory. CAFX_FUZZ_FILES: how
// many of each container.
TEST(AudioFiles, MutationsOfEveryContainerAreReadOrRefused) {
  [[maybe_unused]] const MemoryLimit limit;  // empty under sanitizers
  const char* asked = std::getenv("CAFX_FUZZ_FILES");
  const std::uint64_t n = asked ? std::strtoull(asked, nullptr, 10) : 1500;
  for (const AudioFormat& f : kAudioFormats) {
    const std::string seed = audio_bytes(f.format, 3000, 1 + (f.format & 1), 48000);
    if (seed.empty()) continue;
    std::uint64_t read = 0, refused = 0;
    double worst = 0.0;
    for (std::uint64_t round = 0; round < n; ++round) {
      std::string s = mutated(seed, 0xA0D10, round);
      if (round % 2 == 1) {  // or nothing behind the checksums is reached
        stamp_ogg_pages(s);
        stamp_sds_packets(s);
      }
      const auto start = std::chrono::steady_clock::now();
      (fuzz_audio(reinterpret_cast<const std::uint8_t*>(s.data()), s.size()) ? read : refused) += 1;
      worst = std::max(worst, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    EXPECT_LT(worst, 5.0) << f.name;
    EXPECT_GT(read, n / 100) << f.name;
    EXPECT_GT(refused, n / 100) << f.name;
  }
}

}  // namespace
}  // namespace cafx
