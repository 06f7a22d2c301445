#include "datasets/audio_file.h"

#include <fcntl.h>
#include <sndfile.h>
#include <soxr.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>

#include "datasets/container.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr int kMostChannels = 1024;
constexpr int kMostFlacHz = 655350;
constexpr const char* kMark = "cafx";  // of the program, in the files that it makes

struct CloseFile {
  void operator()(SNDFILE* f) const { sf_close(f); }
};
using SndFile = std::unique_ptr<SNDFILE, CloseFile>;

int bits_of(int format) {
  switch (format & SF_FORMAT_SUBMASK) {
    case SF_FORMAT_PCM_S8:
    case SF_FORMAT_PCM_U8:
      return 8;
    case SF_FORMAT_PCM_16:
      return 16;
    case SF_FORMAT_PCM_24:
      return 24;
    case SF_FORMAT_PCM_32:
      return 32;
    default:
      return 0;
  }
}

// In small letters.
std::string ending_of(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return ending;
}

bool begins_with(const ByteSource& bytes, std::string_view text) {
  std::string begin(text.size(), '\0');
  begin.resize(bytes.read(0, begin.data(), begin.size()));
  return begin == text;
}

// The rate in a WAV header, -1 where there is none: libsndfile does not open a file of 0 Hz, nor say why.
long wav_rate(const ByteSource& file) {
  unsigned char head[28] = {};
  file.read(0, head, sizeof head);
  if (std::memcmp(head, "RIFF", 4) != 0 || std::memcmp(head + 8, "WAVEfmt ", 8) != 0) return -1;
  return static_cast<long>(head[24]) | static_cast<long>(head[25]) << 8 | static_cast<long>(head[26]) << 16 |
         static_cast<long>(head[27]) << 24;
}

class FileBytes : public ByteSource {
 public:
  explicit FileBytes(const std::filesystem::path& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    struct stat status {};
    if (fd_ >= 0 && fstat(fd_, &status) == 0) size_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~FileBytes() override {
    if (fd_ >= 0) close(fd_);
  }
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;
  bool is_open() const { return fd_ >= 0; }
  std::uint64_t size() const override { return size_; }
  std::size_t read(std::uint64_t at, void* to, std::size_t n) const override {
    std::size_t done = 0;
    while (done < n) {
      const ssize_t k = pread(fd_, static_cast<char*>(to) + done, n - done, static_cast<off_t>(at + done));
      if (k < 0 && errno == EINTR) continue;
      if (k <= 0) break;
      done += static_cast<std::size_t>(k);
    }
    return done;
  }

 private:
  int fd_;
  std::uint64_t size_ = 0;
};

class MemoryBytes : public ByteSource {
 public:
  MemoryBytes(const void* bytes, std::size_t n) : bytes_(static_cast<const char*>(bytes)), size_(n) {}
  std::uint64_t size() const override { return size_; }
  std::size_t read(std::uint64_t at, void* to, std::size_t n) const override {
    if (at >= size_) return 0;
    n = std::min<std::size_t>(n, size_ - static_cast<std::size_t>(at));
    std::memcpy(to, bytes_ + at, n);
    return n;
  }

 private:
  const char* bytes_;
  std::size_t size_;
};

// Bytes with patches over them, as libsndfile asks for them.
struct Patched {
  const ByteSource* source = nullptr;
  std::vector<Patch> patches;
  std::uint64_t readable = ~std::uint64_t{0};  // bytes that there seem to be
  sf_count_t at = 0;

  static sf_count_t length(void* self) {
    const auto& p = *static_cast<Patched*>(self);
    return static_cast<sf_count_t>(std::min(p.source->size(), p.readable));
  }
  static sf_count_t seek(sf_count_t offset, int whence, void* self) {
    auto& p = *static_cast<Patched*>(self);
    const sf_count_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? p.at : length(self);
    sf_count_t to = 0;
    if (__builtin_add_overflow(from, offset, &to) || to < 0) return -1;
    return p.at = to;
  }
  static sf_count_t read(void* to, sf_count_t n, void* self) {
    auto& p = *static_cast<Patched*>(self);
    if (n <= 0) return 0;
    const auto begin = static_cast<std::uint64_t>(p.at);
    n = std::min(n, std::max<sf_count_t>(0, length(self) - p.at));
    const std::size_t got = p.source->read(begin, to, static_cast<std::size_t>(n));
    for (const Patch& patch : p.patches) {
      for (std::size_t i = 0; i < patch.bytes.size(); ++i) {
        const std::uint64_t place = patch.at + i;
        if (place >= begin && place < begin + got) static_cast<char*>(to)[place - begin] = patch.bytes[i];
      }
    }
    p.at += static_cast<sf_count_t>(got);
    return static_cast<sf_count_t>(got);
  }
  static sf_count_t write(const void*, sf_count_t, void*) { return 0; }
  static sf_count_t tell(void* self) { return static_cast<Patched*>(self)->at; }
};

// find_clipping, one sample after the other.
class ClippingFinder {
 public:
  void push(float x) {
    constexpr float kEqual = 5e-5f;
    // Four equal samples at the top of a slow, quiet wave are rounding to 16 bits; a cut leaves a corner beside them.
    const float corner = std::max(1e-3f * peak_, 2.0f / 32768.0f), a = std::abs(x);
    if (a > (1.0f + kEqual) * peak_) {
      peak_ = a;
      n_runs_ = 0;
      start_run(x);
    } else if (a < (1.0f - kEqual) * peak_ || a == 0.0f) {
      end_run(x, corner);
    } else if (length_ > 0 && x * sign_ > 0.0f) {
      ++length_;
    } else {
      end_run(x, corner);
      start_run(x);
    }
    before_ = x;
    ++at_;
  }
  Clipping result(double rate_hz) const { return {n_runs_, static_cast<double>(first_) / rate_hz, peak_}; }

 private:
  void start_run(float x) {
    length_ = 1;
    begin_ = at_;
    sign_ = x > 0.0f ? 1.0f : -1.0f;
    before_run_ = before_;
  }
  void end_run(float next, float corner) {
    if (length_ >= 4 && peak_ - std::min(sign_ * before_run_, sign_ * next) > corner) {
      if (n_runs_++ == 0) first_ = begin_;
    }
    length_ = 0;
  }

  float peak_ = 0.0f, sign_ = 1.0f, before_ = 0.0f, before_run_ = 0.0f;
  std::size_t at_ = 0, begin_ = 0, first_ = 0, length_ = 0, n_runs_ = 0;
};

}  // namespace

Clipping find_clipping(std::span<const float> x, double rate_hz) {
  ClippingFinder finder;
  for (const float v : x) finder.push(v);
  return finder.result(rate_hz);
}

struct AudioReader::State {
  std::string name;
  std::unique_ptr<ByteSource> bytes;
  Patched patched;
  Container container;
  SndFile file;
  SF_INFO info{};
  std::int64_t n_read = 0;

  // Damage is told once the samples before it were given.
  std::int64_t good_frames() const {
    if (container.damage.empty() || container.damage_seconds < 0.0) return std::numeric_limits<std::int64_t>::max();
    return std::llround(container.damage_seconds * info.samplerate);
  }
  double seconds(std::int64_t frames) const { return static_cast<double>(frames) / info.samplerate; }
  [[noreturn]] void damaged(const std::string& what, double lost) const {
    const double at = seconds(n_read);
    if (!file) {
      throw DamagedAudio(
          fmt::format("{}: {}, and nothing of it can be read; copy it again from the original", name, what), 0.0);
    }
    throw DamagedAudio(fmt::format("{}: {}; {:.3f} s of it are good{}; copy it again from the original", name, what, at,
                                   lost > 0.0 ? fmt::format(", {:.3f} s are lost", lost) : ""),
                       at);
  }
  // What the header promises and is not given, in seconds; 0 where it promises nothing.
  double missing() const { return n_promised() > n_read ? seconds(n_promised() - n_read) : 0.0; }
  std::int64_t n_promised() const { return container.counted || info.frames >= kMostFrames * 1024 ? 0 : info.frames; }

  void open(const std::filesystem::path* path) {
    patched.source = bytes.get();
    container = inspect_container(*bytes);
    patched.patches = container.patches;
    patched.readable = container.readable;
    if (path && patched.patches.empty() && patched.readable >= bytes->size()) {
      file.reset(sf_open(path->c_str(), SFM_READ, &info));
    } else {
      SF_VIRTUAL_IO calls{Patched::length, Patched::seek, Patched::read, Patched::write, Patched::tell};
      file.reset(sf_open_virtual(&calls, SFM_READ, &info, &patched));
    }
    if (!file && wav_rate(*bytes) == 0) {
      throw Error("{}: its header states a rate of 0 Hz; mend the header or export it again", name);
    }
    if (!file && begins_with(*bytes, "version https://git-lfs.github.com/spec/")) {
      throw Error("{}: is a Git-LFS pointer, not the audio; fetch that with 'git lfs pull'", name);
    }
    if (!file && !container.damage.empty()) damaged(container.damage, 0.0);
    if (!file) {
      throw Error(
          "{}: is not audio that can be read ({}); expected WAV, FLAC, AIFF, OGG or another format of libsndfile", name,
          sf_strerror(nullptr));
    }
    if (info.samplerate < 1000 || info.samplerate > 1'000'000) {
      throw Error("{}: its header states a rate of {} Hz, expected 1000 to 1000000; mend the header or export it again",
                  name, info.samplerate);
    }
    if (info.channels < 1 || info.channels > kMostChannels) {
      throw Error("{}: its header states {} channels; export it as mono or stereo", name, info.channels);
    }
    if (info.frames <= 0 && container.damage.empty()) {
      throw Error("{}: holds no samples; record or copy it again", name);
    }
  }
};

AudioReader::AudioReader(const std::filesystem::path& path) : state_(std::make_unique<State>()) {
  state_->name = path.string();
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) throw Error("{}: there is no such file", path.string());
  if (error) throw Error("{}: cannot be used: {}", path.string(), error.message());
  if (status.type() != std::filesystem::file_type::regular) throw Error("{}: is not a file", path.string());
  if (std::filesystem::file_size(path, error) == 0) {
    throw Error("{}: is empty (0 bytes); record or copy it again", path.string());
  }
  auto bytes = std::make_unique<FileBytes>(path);
  if (!bytes->is_open()) throw Error("{}: cannot be opened: {}", path.string(), std::strerror(errno));
  state_->bytes = std::move(bytes);
  state_->open(&path);
}

AudioReader::AudioReader(const void* bytes, std::size_t n, std::string name) : state_(std::make_unique<State>()) {
  state_->name = std::move(name);
  state_->bytes = std::make_unique<MemoryBytes>(bytes, n);
  state_->open(nullptr);
}

AudioReader::~AudioReader() = default;
int AudioReader::sample_rate() const { return state_->info.samplerate; }
int AudioReader::channels() const { return state_->info.channels; }
int AudioReader::bits() const { return bits_of(state_->info.format); }
bool AudioReader::is_float() const {
  const int subtype = state_->info.format & SF_FORMAT_SUBMASK;
  return subtype == SF_FORMAT_FLOAT || subtype == SF_FORMAT_DOUBLE;
}
std::int64_t AudioReader::frames() const { return state_->n_promised(); }
const std::vector<std::string>& AudioReader::notes() const { return state_->container.notes; }

std::size_t AudioReader::read(float* to, std::size_t n) {
  State& s = *state_;
  const auto channels = static_cast<std::size_t>(s.info.channels);
  const std::int64_t good = s.good_frames() - s.n_read;
  if (good <= 0) s.damaged(s.container.damage, s.container.lost_seconds);
  // Small pieces, so that the place of a decoder's error is known to a tenth of a second.
  n = std::min({n, std::size_t{4096}, static_cast<std::size_t>(good)});
  const sf_count_t got = sf_readf_float(s.file.get(), to, static_cast<sf_count_t>(n));
  if (sf_error(s.file.get()) != SF_ERR_NO_ERROR) {
    if (!s.container.damage.empty()) s.damaged(s.container.damage, s.container.lost_seconds);
    s.damaged(fmt::format("is damaged or cut off ({})", sf_strerror(s.file.get())), s.missing());
  }
  if (got <= 0) {
    if (!s.container.damage.empty()) s.damaged(s.container.damage, s.container.lost_seconds);
    if (s.missing() > 0.0) {
      s.damaged(fmt::format("is cut off: its header promises {} samples, {} are there", s.info.frames, s.n_read),
                s.missing());
    }
    if (s.n_read == 0) throw Error("{}: holds no samples; record or copy it again", s.name);
    return 0;
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(got) * channels; ++i) {
    if (std::isfinite(to[i])) continue;
    s.n_read += static_cast<std::int64_t>(i / channels);
    if (i / channels > 0) {  // what is good before it is given first
      s.container.damage = fmt::format("holds a sample that is {} at {:.3f} s", to[i], s.seconds(s.n_read));
      s.container.damage_seconds = s.seconds(s.n_read);
      s.container.lost_seconds = s.missing();
      return i / channels;
    }
    s.damaged(fmt::format("holds a sample that is {} at {:.3f} s", to[i], s.seconds(s.n_read)), s.missing());
  }
  s.n_read += got;
  if (s.n_read > kMostFrames) {
    throw Error("{}: holds over {} samples, more than are read of one file; cut it into shorter ones", s.name,
                kMostFrames);
  }
  return static_cast<std::size_t>(got);
}

Audio read_audio(const std::filesystem::path& path, int sample_rate, int channel) {
  AudioReader reader(path);
  if (channel >= reader.channels()) {
    throw Error("{}: has {} channel{}, number {} is asked for; choose another by data.dry_channel or data.wet_channel",
                path.string(), reader.channels(), reader.channels() == 1 ? "" : "s", channel + 1);
  }
  Audio audio;
  audio.file_float = reader.is_float();
  audio.file_rate = reader.sample_rate();
  audio.file_channels = reader.channels();
  audio.file_bits = reader.bits();
  audio.notes = reader.notes();
  const auto channels = static_cast<std::size_t>(reader.channels());
  const std::size_t first = channel < 0 ? 0 : static_cast<std::size_t>(channel);
  const std::size_t last = channel < 0 ? channels : first + 1;
  constexpr std::size_t kBlock = 4096;
  std::vector<float> block(kBlock * channels);
  std::vector<ClippingFinder> clipping(last - first);
  constexpr std::int64_t kReserved = 1 << 22;  // of what a header promises; more where the file is as long
  std::error_code unknown;
  const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path, unknown));
  const std::int64_t most = unknown ? kReserved : std::max(kReserved, bytes / reader.channels());
  audio.samples.reserve(static_cast<std::size_t>(std::min(most, reader.frames())));
  while (const std::size_t n = reader.read(block.data(), kBlock)) {
    if (channels == 1) {
      for (std::size_t i = 0; i < n; ++i) clipping[0].push(block[i]);
      audio.samples.insert(audio.samples.end(), block.begin(), block.begin() + static_cast<long>(n));
      continue;
    }
    for (std::size_t i = 0; i < n; ++i) {
      double sum = 0.0;
      for (std::size_t c = first; c < last; ++c) {
        sum += static_cast<double>(block[i * channels + c]);
        clipping[c - first].push(block[i * channels + c]);
      }
      audio.samples.push_back(static_cast<float>(sum / static_cast<double>(last - first)));
    }
  }
  for (const ClippingFinder& channel : clipping) {
    const Clipping c = channel.result(audio.file_rate);
    if (c.n_runs > audio.clipping.n_runs || audio.clipping.level == 0.0f) audio.clipping = c;
  }
  audio.sample_rate = audio.file_rate;
  if (sample_rate != 0 && sample_rate != audio.file_rate) {
    audio.samples = resample(audio.samples, audio.file_rate, sample_rate);
    audio.sample_rate = sample_rate;
  }
  return audio;
}

struct AudioWriter::State {
  std::filesystem::path path, temporary;
  SndFile file;
  std::size_t n_written = 0;

  [[noreturn]] void failed(const std::string& why) {
    file.reset();
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw Error("{}: cannot be written: {}; check the folder and the free space", path.string(), why);
  }
};

bool AudioWriter::is_wav(const std::filesystem::path& path) { return ending_of(path) == ".wav"; }

AudioWriter::AudioWriter(const std::filesystem::path& path, int sample_rate, SampleFormat format)
    : state_(std::make_unique<State>()) {
  const bool flac = ending_of(path) == ".flac";
  if (!flac && !is_wav(path)) {
    throw Error("{}: audio is written as .wav or .flac; choose one of these endings", path.string());
  }
  if (flac && format == SampleFormat::kFloat) format = SampleFormat::kPcm24;
  std::error_code ignored;
  if (path.has_parent_path() && !std::filesystem::exists(path.parent_path(), ignored)) {
    throw Error("{}: cannot be written: there is no folder {}; make it first, or choose another", path.string(),
                path.parent_path().string());
  }
  if (flac && sample_rate > kMostFlacHz) {
    throw Error("{}: cannot be written: a FLAC has at most {} Hz, and this has {}; name it .wav", path.string(),
                kMostFlacHz, sample_rate);
  }
  SF_INFO info{};
  info.samplerate = sample_rate;
  info.channels = 1;
  info.format = (flac ? SF_FORMAT_FLAC : SF_FORMAT_WAV) | (format == SampleFormat::kPcm16   ? SF_FORMAT_PCM_16
                                                           : format == SampleFormat::kPcm24 ? SF_FORMAT_PCM_24
                                                                                            : SF_FORMAT_FLOAT);
  State& s = *state_;
  s.path = path;
  s.temporary = path.string() + ".partial";
  s.file.reset(sf_open(s.temporary.c_str(), SFM_WRITE, &info));
  if (!s.file) s.failed(sf_strerror(nullptr));
  sf_command(s.file.get(), SFC_SET_CLIPPING, nullptr, SF_TRUE);
  sf_command(s.file.get(), SFC_SET_ADD_PEAK_CHUNK, nullptr, SF_FALSE);  // it holds the time of day
  sf_set_string(s.file.get(), SF_STR_SOFTWARE, kMark);
}

AudioWriter::~AudioWriter() {
  if (!state_->file) return;
  state_->file.reset();
  std::error_code ignored;
  std::filesystem::remove(state_->temporary, ignored);
}

void AudioWriter::write(const float* x, std::size_t n) {
  const auto count = static_cast<sf_count_t>(n);
  if (sf_writef_float(state_->file.get(), x, count) != count) state_->failed(sf_strerror(state_->file.get()));
  state_->n_written += n;
}

void AudioWriter::close_as(const std::filesystem::path& name) {
  if (sf_close(state_->file.release()) != 0) state_->failed("the disk may be full");
  std::error_code error;
  std::filesystem::rename(state_->temporary, name, error);
  if (error) state_->failed(error.message());
}

void AudioWriter::finish() { close_as(state_->path); }

std::filesystem::path AudioWriter::keep_part() {
  if (state_->n_written == 0) return {};
  std::filesystem::path name = state_->path;
  name.replace_extension(".partial" + state_->path.extension().string());
  close_as(name);
  return name;
}

void refuse_to_overwrite(const std::filesystem::path& path, const std::string& cure) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return;
  SF_INFO info{};
  const SndFile file(sf_open(path.c_str(), SFM_READ, &info));
  const char* made_by = file ? sf_get_string(file.get(), SF_STR_SOFTWARE) : nullptr;
  if (made_by && std::strncmp(made_by, kMark, std::strlen(kMark)) == 0) return;
  throw Error("{}: is there already and was not made by cafx; {}", path.string(), cure);
}

void write_audio(const std::filesystem::path& path, std::span<const float> samples, int sample_rate,
                 SampleFormat format) {
  AudioWriter writer(path, sample_rate, format);
  writer.write(samples.data(), samples.size());
  writer.finish();
}

Recording resample(std::span<const float> x, double from_hz, double to_hz) {
  CAFX_CHECK(from_hz > 0.0 && to_hz > 0.0, from_hz, to_hz);
  if (from_hz == to_hz || x.empty()) return {x.begin(), x.end()};
  const auto n = static_cast<std::size_t>(std::llround(static_cast<double>(x.size()) * to_hz / from_hz));
  Recording y(n + 1024);
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_VHQ, 0);
  soxr_error_t error = nullptr;
  const std::unique_ptr<soxr, void (*)(soxr_t)> engine(
      soxr_create(from_hz, to_hz, 1, &error, nullptr, &quality, nullptr), soxr_delete);
  // In blocks: what is given at once is held once more, in double precision. The result is the same to the bit.
  constexpr std::size_t kBlock = 1 << 16;
  std::size_t at = 0, made = 0;
  for (bool all = false; !error && !all;) {
    const std::size_t size = std::min(kBlock, x.size() - at);
    std::size_t used = 0, got = 0;
    error = soxr_process(engine.get(), size > 0 ? x.data() + at : nullptr, size, &used, y.data() + made,
                         y.size() - made, &got);
    at += used;
    made += got;
    all = (size == 0 && got == 0) || made == y.size();
  }
  if (error) throw Error("resampling from {} Hz to {} Hz failed: {}", from_hz, to_hz, soxr_strerror(error));
  y.resize(made);
  y.resize(n, 0.0f);
  return y;
}

}  // namespace cafx
