#include "host/render/render_file.h"

#include <sndfile.h>
#include <soxr.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "datasets/audio_file.h"
#include "host/render/render.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

struct CloseFile {
  void operator()(SNDFILE* f) const { sf_close(f); }
};
struct CloseResampler {
  void operator()(soxr* s) const { soxr_delete(s); }
};

// A stream from one rate to another; the identity where they are equal.
class Resampler {
 public:
  Resampler(double from_hz, double to_hz) : ratio_(to_hz / from_hz) {
    if (from_hz == to_hz) return;
    const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_VHQ, 0);
    soxr_error_t error = nullptr;
    soxr_.reset(soxr_create(from_hz, to_hz, 1, &error, nullptr, &quality, nullptr));
    if (!soxr_) throw Error("resampling from {} Hz to {} Hz is not possible: {}", from_hz, to_hz, error);
  }
  // n = 0 ends the stream.
  const std::vector<float>& operator()(const float* x, std::size_t n) {
    out_.clear();
    if (!soxr_) {
      out_.assign(x, x + n);
      return out_;
    }
    std::size_t used = 0;
    for (;;) {
      const std::size_t at = out_.size(), room = static_cast<std::size_t>((n - used) * ratio_) + 4096;
      out_.resize(at + room);
      std::size_t now_used = 0, made = 0;
      const soxr_error_t error =
          n == 0 ? soxr_process(soxr_.get(), nullptr, 0, nullptr, out_.data() + at, room, &made)
                 : soxr_process(soxr_.get(), x + used, n - used, &now_used, out_.data() + at, room, &made);
      if (error) throw Error("resampling failed: {}", error);
      used += now_used;
      out_.resize(at + made);
      if (n == 0 ? made < room : used == n && made < room) return out_;
    }
  }

 private:
  double ratio_;
  std::unique_ptr<soxr, CloseResampler> soxr_;
  std::vector<float> out_;
};

// A file through push(samples, out) and finish(out), which work at `rate`.
template <class Push, class Finish>
RenderStats play_file(const std::filesystem::path& in, const std::filesystem::path& out, int rate, Push push,
                      Finish finish, const std::function<void(double)>& progress) {
  const auto started = std::chrono::steady_clock::now();
  probe_audio(in);
  SF_INFO info{};
  const std::unique_ptr<SNDFILE, CloseFile> source(sf_open(in.c_str(), SFM_READ, &info));
  if (!source) throw Error("{}: cannot be opened: {}", in.string(), sf_strerror(nullptr));
  const std::string ending = out.extension().string();
  if (ending != ".wav" && ending != ".flac") {
    throw Error("{}: audio is written as .wav or .flac; choose one of these endings", out.string());
  }
  if (std::filesystem::exists(out) && std::filesystem::equivalent(in, out)) {
    throw Error("{}: is the input itself; choose another output", out.string());
  }
  const int subtype = info.format & SF_FORMAT_SUBMASK;
  const bool is_float = ending == ".wav" && (subtype == SF_FORMAT_FLOAT || subtype == SF_FORMAT_DOUBLE);
  SF_INFO made{};
  made.samplerate = info.samplerate;
  made.channels = 1;
  made.format = (ending == ".wav" ? SF_FORMAT_WAV : SF_FORMAT_FLAC) | (is_float ? SF_FORMAT_FLOAT : SF_FORMAT_PCM_24);
  const std::filesystem::path temporary = out.string() + ".partial";
  std::unique_ptr<SNDFILE, CloseFile> target(sf_open(temporary.c_str(), SFM_WRITE, &made));
  const auto failed = [&](const std::string& why) {
    target.reset();
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw Error("{}: cannot be written: {}; check the folder and the free space", out.string(), why);
  };
  if (!target) failed(sf_strerror(nullptr));
  sf_command(target.get(), SFC_SET_CLIPPING, nullptr, SF_TRUE);

  RenderStats stats;
  stats.channels_in = info.channels;
  Resampler down(info.samplerate, rate), up(rate, info.samplerate);
  constexpr sf_count_t kBlock = 1 << 16;
  const auto channels = static_cast<std::size_t>(info.channels);
  std::vector<float> block(static_cast<std::size_t>(kBlock) * channels), mono, rendered;
  sf_count_t n_read = 0, n_written = 0;
  const auto write = [&](const std::vector<float>& x) {
    const sf_count_t n = std::min<sf_count_t>(static_cast<sf_count_t>(x.size()), n_read - n_written);
    for (sf_count_t i = 0; i < n; ++i) stats.clipped += std::abs(x[static_cast<std::size_t>(i)]) > 1.0f;
    if (n > 0 && sf_writef_float(target.get(), x.data(), n) != n) failed(sf_strerror(target.get()));
    n_written += n;
  };
  for (;;) {
    const sf_count_t n = sf_readf_float(source.get(), block.data(), kBlock);
    if (n <= 0) break;
    mono.assign(static_cast<std::size_t>(n), 0.0f);
    for (std::size_t i = 0; i < mono.size(); ++i) {
      double sum = 0.0;
      for (std::size_t c = 0; c < channels; ++c) sum += static_cast<double>(block[i * channels + c]);
      mono[i] = static_cast<float>(sum / static_cast<double>(channels));
      if (!std::isfinite(mono[i])) {
        failed(fmt::format("the input holds a sample that is {} at {:.3f} s", mono[i],
                           static_cast<double>(n_read + static_cast<sf_count_t>(i)) / info.samplerate));
      }
    }
    n_read += n;
    rendered.clear();
    push(down(mono.data(), mono.size()), rendered);
    if (!rendered.empty()) write(up(rendered.data(), rendered.size()));
    // A stream of unknown length promises a huge one: no fraction of it is worth showing.
    if (progress && info.frames > n_read) progress(static_cast<double>(n_read) / static_cast<double>(info.frames));
  }
  rendered.clear();
  if (rate != info.samplerate) push(down(nullptr, 0), rendered);
  finish(rendered);
  if (!rendered.empty()) write(up(rendered.data(), rendered.size()));
  if (rate != info.samplerate) write(up(nullptr, 0));
  if (n_written < n_read) write(std::vector<float>(static_cast<std::size_t>(n_read - n_written), 0.0f));
  if (sf_close(target.release()) != 0) failed("the disk may be full");
  std::error_code error;
  std::filesystem::rename(temporary, out, error);
  if (error) failed(error.message());
  if (progress) progress(1.0);
  stats.seconds_of_audio = static_cast<double>(n_read) / info.samplerate;
  stats.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (is_float) stats.clipped = 0;
  return stats;
}

}  // namespace

RenderStats render_file(Model& model, const Context& context, const std::filesystem::path& in,
                        const std::filesystem::path& out, int hop, const std::function<void(double)>& progress,
                        int stream_block) {
  const int rate = model.geometry().sample_rate;
  const auto through = [&](auto& renderer) {
    return play_file(
        in, out, rate,
        [&](const std::vector<float>& x, std::vector<float>& y) { renderer.push(x.data(), x.size(), y); },
        [&](std::vector<float>& y) { renderer.finish(y); }, progress);
  };
  if (stream_block == 0) {
    Renderer whole(model, context, hop);
    return through(whole);
  }
  BlockRenderer blocks(model, context, hop, stream_block);
  RenderStats stats = through(blocks);
  stats.latency = blocks.latency();
  std::vector<float> ms = blocks.milliseconds();
  if (ms.empty()) return stats;
  std::sort(ms.begin(), ms.end());
  stats.median_block_ms = ms[ms.size() / 2];
  stats.worst_block_ms = ms.back();
  return stats;
}

}  // namespace cafx
