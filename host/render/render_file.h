// host/render/render_file.h -- an audio file through a model.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/model.h"

namespace cafx {

struct RenderStats {
  double seconds_of_audio = 0.0, seconds = 0.0;
  long clipped = 0;  // samples over full scale, cut to it where the file's format cannot hold them
  int channels_in = 0, rate_in = 0;
  double peak_in = 0.0;            // highest magnitude of what was played
  std::vector<std::string> notes;  // on the input's header (AudioReader::notes)
  // Of a rendering as a stream: its delay, which the file does not show, and the time of its blocks.
  int latency = 0;
  double median_block_ms = 0.0, worst_block_ms = 0.0;
};
struct RenderOptions {
  int hop = 0;            // samples of the model's rate between frames; 0: the model's own
  int stream_block = 0;   // samples of the model's rate in a block, as a real-time effect has them; 0: not in blocks
  int channel = -1;       // of a file with several, from 0; -1: their mean
  bool as_float = false;  // write 32-bit float, which holds what is over full scale; a .wav only
};
// Any rate, length and format; the output has the input's rate and length, one channel, and the format of its name's
// ending (.wav: 24 bit, or float for a float input or as asked; .flac: 24 bit). progress(done) with done in [0, 1].
// In blocks (models/play/player.h) the samples are the same, to the bit. Errors as render.h and datasets/audio_file.h;
// a channel that the file does not have; float asked for in a .flac; an output that is not finite; of an input that is
// damaged, what lies before is rendered to NAME.partial.wav, and an Error tells.
RenderStats render_file(Model&, const Context&, const std::filesystem::path& in, const std::filesystem::path& out,
                        const RenderOptions&, const std::function<void(double)>& progress);

}  // namespace cafx
