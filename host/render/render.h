// host/render/render.h -- a model over a whole signal: frames, forward, Hann window, overlap-add.
//
//   Frames start at -(frame - hop) + i hop; the sum of windowed outputs is divided by the actual sum of windows, so
//   that a model that gives back its input renders as its input, at every length and every hop <= frame / 2.
//   Time-aligned: output sample n belongs to input sample n.
//   On a CPU each thread renders runs of consecutive frames, which share what neighbours have in common
//   (Model::sequence); windowed frames are added one after another.
// Bits     on a CPU the same for every number of threads and every division into pieces.
// Errors   hop over half a frame or below 1: Error. Files: as datasets/audio_file.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/device/context.h"
#include "models/model.h"

namespace cafx {

// Takes samples in pieces of any length and gives back finished ones in order; bounded memory.
class Renderer {
 public:
  Renderer(Model&, const Context&, int hop);
  ~Renderer();

  // Appends to `out` what is final after these samples; after `finish` everything, as many as were put in.
  void push(const float* x, std::size_t n, std::vector<float>& out);
  void finish(std::vector<float>& out);

 private:
  void run(std::vector<float>& out, bool last);
  void render_batch(std::int64_t first, int B);
  void render_sequences(const float* input, std::int64_t first, int B);
  int batch() const;

  Model& model_;
  const Context& context_;
  int frame_, hop_;
  std::vector<float> window_;
  std::vector<float> input_;              // from sample input_start_ on
  std::vector<double> sum_, weight_;      // overlap-add from sample out_start_ on
  std::vector<float> frames_, rendered_;  // of one batch
  std::vector<double> own_sum_, own_weight_;
  std::vector<std::unique_ptr<FrameSequence>> sequences_;  // one for each thread, on a CPU
  struct OnDevice;
  std::unique_ptr<OnDevice> on_device_;
  std::int64_t input_start_, out_start_ = 0, n_in_ = 0, next_frame_ = 0;
};

std::vector<float> render_signal(Model&, const Context&, const float* x, std::size_t n, int hop);

struct RenderStats {
  double seconds_of_audio = 0.0, seconds = 0.0;
  long clipped = 0;     // samples over full scale, cut to it where the file's format cannot hold them
  int channels_in = 0;  // mixed to one by their mean
  // Of a rendering as a stream: its delay, which the file does not show, and the time of its blocks.
  int latency = 0;
  double median_block_ms = 0.0, worst_block_ms = 0.0;
};
// Any rate, length and format; the output has the input's rate and length, one channel, and the format of its name's
// ending (.wav: 24 bit, or float for a float input; .flac: 24 bit). progress(done) with done in [0, 1]. With stream_block the
// model runs as a real-time effect does (host/render/stream.h), in blocks of that many samples of its own rate: to the same bits.
RenderStats render_file(Model&, const Context&, const std::filesystem::path& in, const std::filesystem::path& out,
                        int hop, const std::function<void(double)>& progress, int stream_block = 0);
// The same of a stream, from rest, at its rate.
RenderStats render_file(Player&, int rate, const std::filesystem::path& in, const std::filesystem::path& out,
                        const std::function<void(double)>& progress);

}  // namespace cafx
