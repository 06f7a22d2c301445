#include "host/render/render.h"

#include <sndfile.h>
#include <soxr.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "datasets/audio_file.h"
#include "host/render/stream.h"
#include "kernels/base/error.h"
#include "kernels/device/memory.h"
#include "kernels/frames/frames.h"

namespace cafx {

namespace {
constexpr int kBatch = 32;  // frames given to the model at once
// Consecutive frames of one thread: the first of a run shares nothing, about a third more than the others.
constexpr int kRun = 32;

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

}  // namespace

// What a batch needs on a GPU.
struct Renderer::OnDevice {
  OnDevice(const Context& context, const std::vector<float>& hann, int frame, int hop)
      : window(context, hann),
        input(context, samples(frame, hop)),
        frames(context, static_cast<std::size_t>(kBatch) * frame),
        rendered(context, static_cast<std::size_t>(kBatch) * frame),
        sum(context, samples(frame, hop)),
        weight(context, samples(frame, hop)),
        refs(context, refs_of(frame, hop)) {}
  static std::size_t samples(int frame, int hop) {
    return static_cast<std::size_t>(overlap_add_samples({kBatch, frame, hop}));
  }
  static std::vector<FrameRef> refs_of(int frame, int hop) {
    std::vector<FrameRef> refs;
    const auto n = static_cast<std::int64_t>(samples(frame, hop));
    for (std::int64_t b = 0; b < kBatch; ++b) refs.push_back({b * hop, 0, n});
    return refs;
  }
  DeviceArray<float> window, input, frames, rendered;
  DeviceArray<double> sum, weight;
  DeviceArray<FrameRef> refs;
};

Renderer::~Renderer() = default;

Renderer::Renderer(Model& model, const Context& context, int hop)
    : model_(model), context_(context), frame_(model.geometry().frame), hop_(hop) {
  if (hop < 1 || hop > frame_ / 2) {
    throw Error("hop = {} is not possible with frames of {} samples: overlap-add needs 1 to {}", hop, frame_,
                frame_ / 2);
  }
  window_ = hann_window(frame_);
  input_start_ = out_start_ = frame_start(0, frame_, hop_);
  if (context.device == Device::kCpu) {
    if (auto sequence = model.sequence(context, hop)) sequences_.push_back(std::move(sequence));
    while (!sequences_.empty() && static_cast<int>(sequences_.size()) < context.n_workers()) {
      sequences_.push_back(sequences_.front()->twin());
    }
  }
  input_.assign(static_cast<std::size_t>(-input_start_), 0.0f);  // silence before the first sample
}

void Renderer::push(const float* x, std::size_t n, std::vector<float>& out) {
  input_.insert(input_.end(), x, x + n);
  n_in_ += static_cast<std::int64_t>(n);
  run(out, false);
}

void Renderer::finish(std::vector<float>& out) {
  if (n_in_ == 0) return;
  input_.insert(input_.end(), static_cast<std::size_t>(frame_), 0.0f);
  run(out, true);
}

// Frames [first, first + B hop) from the input, through the model, onto sum_ and weight_.
void Renderer::render_batch(std::int64_t first, int B) {
  const OverlapAddDims d{B, frame_, hop_};
  const auto n = static_cast<std::size_t>(overlap_add_samples(d)), size = static_cast<std::size_t>(B) * frame_;
  const float* input = input_.data() + (first - input_start_);
  double *sum = sum_.data() + (first - out_start_), *weight = weight_.data() + (first - out_start_);
  if (context_.device == Device::kCpu) {
    rendered_.resize(size);
    if (!sequences_.empty()) {
      render_sequences(input, first, B);
    } else {
      frames_.resize(size);
      for (int b = 0; b < B; ++b)
        std::copy_n(input + static_cast<long>(b) * hop_, frame_, frames_.begin() + b * frame_);
      model_.forward(context_, rendered_.data(), frames_.data(), B);
    }
    overlap_add(context_, sum, weight, rendered_.data(), window_.data(), d);
    return;
  }
  if (!on_device_) on_device_ = std::make_unique<OnDevice>(context_, window_, frame_, hop_);
  OnDevice& g = *on_device_;
  own_sum_.resize(n);
  own_weight_.resize(n);
  g.input.upload(input, n);
  gather_frames(context_, g.frames.data(), g.input.data(), g.refs.data(), {B, frame_, 1, 0});
  model_.forward(context_, g.rendered.data(), g.frames.data(), B);
  g.sum.fill_zero();
  g.weight.fill_zero();
  overlap_add(context_, g.sum.data(), g.weight.data(), g.rendered.data(), g.window.data(), d);
  g.sum.download(own_sum_.data(), n);
  g.weight.download(own_weight_.data(), n);
  for (std::size_t i = 0; i < n; ++i) {
    sum[i] += own_sum_[i];
    weight[i] += own_weight_[i];
  }
}

// Runs of consecutive frames, one task each.
void Renderer::render_sequences(const float* input, std::int64_t first, int B) {
  over_tasks(context_, (B + kRun - 1) / kRun, [&](const Context& inner, int run) {
    FrameSequence& sequence = *sequences_[static_cast<std::size_t>(inner.worker)];
    for (int b = run * kRun; b < std::min(B, (run + 1) * kRun); ++b) {
      const long at = static_cast<long>(b) * hop_;
      sequence.next(rendered_.data() + static_cast<long>(b) * frame_, input + at, first + at);
    }
  });
}

// Frames that are rendered together: while more may come, whole batches of a run for each thread.
int Renderer::batch() const { return sequences_.empty() ? kBatch : kRun * static_cast<int>(sequences_.size()); }

void Renderer::run(std::vector<float>& out, bool last) {
  const std::int64_t n_all = last ? n_frames(n_in_, frame_, hop_) : 0;
  for (;;) {
    const std::int64_t first = frame_start(next_frame_, frame_, hop_);
    std::int64_t ready = (input_start_ + static_cast<std::int64_t>(input_.size()) - first - frame_) / hop_ + 1;
    if (input_start_ + static_cast<std::int64_t>(input_.size()) < first + frame_) ready = 0;
    if (last) ready = std::min(ready, n_all - next_frame_);
    // Whole batches while more may come; their number of frames does not change a frame's bits.
    if (ready <= 0 || (!last && ready < batch())) break;
    const int B = static_cast<int>(std::min<std::int64_t>(ready, batch()));
    const std::int64_t end = first + static_cast<std::int64_t>(B - 1) * hop_ + frame_;
    if (end > out_start_) {
      sum_.resize(static_cast<std::size_t>(end - out_start_), 0.0);
      weight_.resize(sum_.size(), 0.0);
    }
    render_batch(first, B);
    next_frame_ += B;
    const std::int64_t next_start = frame_start(next_frame_, frame_, hop_);
    const std::int64_t final_end = std::min(next_start, n_in_);  // no later frame reaches below next_start
    const std::int64_t n_final = final_end - out_start_;
    if (n_final > 0) {
      for (std::int64_t i = std::max<std::int64_t>(0, -out_start_); i < n_final; ++i) {
        const auto k = static_cast<std::size_t>(i);
        out.push_back(overlap_added(sum_[k], weight_[k]));
      }
      sum_.erase(sum_.begin(), sum_.begin() + n_final);
      weight_.erase(weight_.begin(), weight_.begin() + n_final);
      out_start_ += n_final;
    }
    if (next_start > input_start_) {
      const auto drop = std::min<std::int64_t>(next_start - input_start_, static_cast<std::int64_t>(input_.size()));
      input_.erase(input_.begin(), input_.begin() + drop);
      input_start_ += drop;
    }
  }
  if (last) {  // what the last frame left: all of it is final
    for (std::int64_t at = std::max<std::int64_t>(0, out_start_); at < n_in_; ++at) {
      const auto i = static_cast<std::size_t>(at - out_start_);
      out.push_back(i < weight_.size() ? overlap_added(sum_[i], weight_[i]) : 0.0f);
    }
    out_start_ = n_in_;
  }
}

namespace {

// The push and finish of Renderer over a StreamRenderer, in blocks of one length; its delay is taken out.
class BlockRenderer {
 public:
  BlockRenderer(const Model& model, const Context& context, int hop, int block)
      : stream_(model, {hop, block, context.isa, context.precision}),
        block_(static_cast<std::size_t>(block)),
        out_(block_) {
    to_drop_ = static_cast<std::size_t>(stream_.latency());
  }

  void push(const float* x, std::size_t n, std::vector<float>& out) {
    n_in_ += n;
    in_.insert(in_.end(), x, x + n);
    run(out);
  }

  void finish(std::vector<float>& out) {
    while (n_out_ < n_in_) {
      in_.resize(in_.size() + block_, 0.0f);
      run(out);
    }
  }

  void report(RenderStats& stats) {
    stats.latency = stream_.latency();
    if (ms_.empty()) return;
    std::sort(ms_.begin(), ms_.end());
    stats.median_block_ms = ms_[ms_.size() / 2];
    stats.worst_block_ms = ms_.back();
  }

 private:
  void run(std::vector<float>& out) {
    std::size_t at = 0;
    for (; at + block_ <= in_.size(); at += block_) {
      const auto start = std::chrono::steady_clock::now();
      stream_.process(in_.data() + at, out_.data(), block_);
      ms_.push_back(std::chrono::duration<float, std::milli>(std::chrono::steady_clock::now() - start).count());
      const std::size_t dropped = std::min(to_drop_, block_);
      to_drop_ -= dropped;
      const std::size_t wanted = std::min(block_ - dropped, n_in_ - n_out_);
      out.insert(out.end(), out_.begin() + static_cast<long>(dropped),
                 out_.begin() + static_cast<long>(dropped + wanted));
      n_out_ += wanted;
    }
    in_.erase(in_.begin(), in_.begin() + static_cast<long>(at));
  }

  StreamRenderer stream_;
  std::size_t block_, to_drop_, n_in_ = 0, n_out_ = 0;
  std::vector<float> in_, out_, ms_;
};

}  // namespace

std::vector<float> render_signal(Model& model, const Context& context, const float* x, std::size_t n, int hop) {
  Renderer renderer(model, context, hop);
  std::vector<float> out;
  out.reserve(n);
  renderer.push(x, n, out);
  renderer.finish(out);
  return out;
}

namespace {

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
  if (stream_block > 0) {
    BlockRenderer blocks(model, context, hop, stream_block);
    RenderStats stats = play_file(
        in, out, rate, [&](const std::vector<float>& x, std::vector<float>& y) { blocks.push(x.data(), x.size(), y); },
        [&](std::vector<float>& y) { blocks.finish(y); }, progress);
    blocks.report(stats);
    return stats;
  }
  Renderer whole(model, context, hop);
  return play_file(
      in, out, rate, [&](const std::vector<float>& x, std::vector<float>& y) { whole.push(x.data(), x.size(), y); },
      [&](std::vector<float>& y) { whole.finish(y); }, progress);
}

RenderStats render_file(Player& stream, int rate, const std::filesystem::path& in,
                        const std::filesystem::path& out, const std::function<void(double)>& progress) {
  stream.reset();
  return play_file(
      in, out, rate,
      [&](const std::vector<float>& x, std::vector<float>& y) {
        const std::size_t at = y.size();
        y.resize(at + x.size());
        stream.process(y.data() + at, x.data(), x.size());
      },
      [](std::vector<float>&) {}, progress);
}

}  // namespace cafx
