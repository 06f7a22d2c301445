#include "host/render/render_file.h"

#include <soxr.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>

#include "datasets/audio_file.h"
#include "host/render/render.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

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

// The samples of one channel, or the mean of all.
void take_channel(std::vector<float>& mono, const float* block, std::size_t n, std::size_t channels, int channel) {
  mono.assign(n, 0.0f);
  for (std::size_t i = 0; i < n; ++i) {
    const float* all = block + i * channels;
    if (channel >= 0) {
      mono[i] = all[channel];
      continue;
    }
    double sum = 0.0;
    for (std::size_t c = 0; c < channels; ++c) sum += static_cast<double>(all[c]);
    mono[i] = static_cast<float>(sum / static_cast<double>(channels));
  }
}

// A file through push(samples, out) and finish(out), which work at `rate`.
template <class Push, class Finish>
RenderStats play_file(const std::filesystem::path& in, const std::filesystem::path& out, int rate,
                      const RenderOptions& options, Push push, Finish finish,
                      const std::function<void(double)>& progress) {
  const auto started = std::chrono::steady_clock::now();
  AudioReader source(in);
  const int channel = options.channel;
  if (channel >= source.channels()) {
    throw Error("{}: has {} channel{}, and number {} was asked for", in.string(), source.channels(),
                source.channels() == 1 ? "" : "s", channel + 1);
  }
  std::error_code ignored;
  if (std::filesystem::exists(out, ignored) && std::filesystem::equivalent(in, out, ignored)) {
    throw Error("{}: is the input itself; choose another output", out.string());
  }
  const int file_rate = source.sample_rate();
  const bool is_wav = AudioWriter::is_wav(out);
  if (options.as_float && !is_wav) throw Error("{}: only a .wav holds float samples; name it so", out.string());
  const bool is_float = is_wav && (source.is_float() || options.as_float);
  AudioWriter target(out, file_rate, is_float ? SampleFormat::kFloat : SampleFormat::kPcm24);
  RenderStats stats;
  stats.channels_in = source.channels();
  stats.rate_in = file_rate;
  stats.notes = source.notes();
  Resampler down(file_rate, rate), up(rate, file_rate);
  constexpr std::size_t kBlock = 1 << 12;
  const auto channels = static_cast<std::size_t>(source.channels());
  std::vector<float> block(kBlock * channels), mono, rendered;
  std::size_t n_read = 0, n_written = 0;
  const auto write = [&](const std::vector<float>& x) {
    const std::size_t n = std::min(x.size(), n_read - n_written);
    for (std::size_t i = 0; i < n; ++i) {
      if (!std::isfinite(x[i])) {
        throw Error(
            "{}: the model's output is not finite {:.2f} s after the beginning, where its input peaks at {:.3g} "
            "of full scale; turn the input down",
            in.string(), static_cast<double>(n_written + i) / file_rate, stats.peak_in);
      }
      stats.clipped += std::abs(x[i]) > 1.0f;
    }
    if (n > 0) target.write(x.data(), n);
    n_written += n;
  };
  std::optional<DamagedAudio> damage;
  for (;;) {
    std::size_t n = 0;
    try {
      n = source.read(block.data(), kBlock);
    } catch (const DamagedAudio& e) {
      damage = e;
    }
    if (n == 0) break;
    take_channel(mono, block.data(), n, channels, channel);
    for (const float x : mono) stats.peak_in = std::max(stats.peak_in, static_cast<double>(std::abs(x)));
    n_read += n;
    rendered.clear();
    push(down(mono.data(), mono.size()), rendered);
    if (!rendered.empty()) write(up(rendered.data(), rendered.size()));
    const auto promised = static_cast<double>(source.frames());
    if (progress && promised > static_cast<double>(n_read)) progress(static_cast<double>(n_read) / promised);
  }
  rendered.clear();
  if (rate != file_rate) push(down(nullptr, 0), rendered);
  finish(rendered);
  if (!rendered.empty()) write(up(rendered.data(), rendered.size()));
  if (rate != file_rate) write(up(nullptr, 0));
  if (n_written < n_read) write(std::vector<float>(n_read - n_written, 0.0f));
  if (damage) {
    const std::filesystem::path part = target.keep_part();
    if (part.empty()) throw DamagedAudio(*damage);
    throw Error("{}; that part, rendered, is in {}", damage->what(), part.string());
  }
  target.finish();
  if (progress) progress(1.0);
  stats.seconds_of_audio = static_cast<double>(n_read) / file_rate;
  stats.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (is_float) stats.clipped = 0;
  return stats;
}

}  // namespace

RenderStats render_file(Model& model, const Context& context, const std::filesystem::path& in,
                        const std::filesystem::path& out, const RenderOptions& options,
                        const std::function<void(double)>& progress) {
  const int hop = options.hop, stream_block = options.stream_block;
  const int rate = model.geometry().sample_rate;
  const auto through = [&](auto& renderer) {
    return play_file(
        in, out, rate, options,
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
