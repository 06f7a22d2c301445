// host/render/render.h -- a model over a whole signal.
//
//   Time-aligned: output sample n belongs to input sample n; before the signal there is silence. A model of frames goes
//   through a Hann window and overlap-add (models/play/overlap_add.h): the sum of windowed outputs is divided by the
//   actual sum of windows, so that the identity as a model renders its input unchanged, at every length and every hop
//   <= frame / 2. On a CPU each thread renders runs of consecutive frames, which share what neighbours have in common
//   (Model::sequence).
// Bits     on a CPU the same for every number of threads and every division into pieces.
// Errors   hop over half a frame or below 1, a hop for a stream: Error.
#pragma once

#include <memory>
#include <vector>

#include "models/model.h"
#include "models/play/overlap_add.h"
#include "models/play/player.h"

namespace cafx {

// Takes samples in pieces of any length and returns finished ones in order; bounded memory.
class Renderer {
 public:
  // hop 0: the model's own. Model and context must stay.
  Renderer(Model&, const Context&, int hop);
  ~Renderer();

  // Appends to `out` what is final after these samples; after `finish` everything, as many as were put in.
  void push(const float* x, std::size_t n, std::vector<float>& out);
  void finish(std::vector<float>& out);

 private:
  class Frames;
  std::unique_ptr<Frames> frames_;  // or, of a stream,
  std::unique_ptr<Player> player_;
  std::size_t to_drop_ = 0;  // of the player's first samples: its latency
};

// The same as a real-time effect does it, in blocks of one length, to the same bits; the player's delay is taken out.
class BlockRenderer {
 public:
  BlockRenderer(const Model&, const Context&, int hop, int block);
  void push(const float* x, std::size_t n, std::vector<float>& out);
  void finish(std::vector<float>& out);
  int latency() const { return player_->latency(); }
  const std::vector<float>& milliseconds() const { return ms_; }  // that each block took

 private:
  void run(std::vector<float>& out);

  std::unique_ptr<Player> player_;
  std::size_t block_, to_drop_, n_in_ = 0, n_out_ = 0;
  std::vector<float> out_, in_, ms_;
};

// How a model of streams plays, from rest; on the CPU wherever the context computes.
inline std::unique_ptr<Player> stream_of(const Model& model, const Context& context) {
  return make_player(model, {0, 1, context.isa});
}

// The signal from silence; a model of streams needs no hop.
std::vector<float> render_signal(Model&, const Context&, const float* x, std::size_t n, int hop);
// Several, each after silence. Frames of one signal after the other, by all threads; streams side by side.
std::vector<std::vector<float>> render_signals(Model&, const Context&, const std::vector<const std::vector<float>*>&,
                                               int hop);

}  // namespace cafx
