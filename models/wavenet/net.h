// models/wavenet/net.h -- the tensors of a WaveNet, its gradient (training.cpp) and what it tells (net.cpp).
#pragma once

#include <memory>
#include <vector>

#include "kernels/wavenet_layer/wavenet_layer.h"
#include "models/knob_film.h"
#include "models/stream_places.h"
#include "models/wavenet/wavenet.h"

namespace cafx {

class WavenetModel : public Model {
 public:
  struct Layer {
    int dilation;
    std::size_t tensors;  // of conv.weight; bias, mixer, 1x1 and its bias follow
    int film = 0;         // of its scales and shifts (2Z) in the modulation
  };
  struct Array {
    int inputs, C, outputs;
    std::size_t rechannel, head;  // tensors
    bool head_bias;
    std::vector<Layer> layers;
  };

  WavenetModel(const WavenetConfig& config, const std::string& form);

  const WavenetConfig& config() const override { return config_; }
  std::size_t training_bytes(const Context& context, int B, int T, const Loss& loss) const override;
  void reserve(const Context& context, int B, int T, const Loss& loss) override;
  void begin(const Context& context, const Batch& batch, const Loss& loss) override;
  void gradient(const Context& context, float* gradient, const Batch& batch, const Loss& loss) override;
  const double* losses() const override { return losses_.data(); }
  std::unique_ptr<Player> stream(const Context&) const override;
  std::vector<LayerRow> layers() const override;
  bool negate_output() override;
  // Tensors stand in the format's order: of each array rechannel; of each layer convolution [out][in][tap], its bias,
  // input mixer, 1x1, its bias; the array's head. Then the head's scale. At a position of the knobs, if there are any.
  std::optional<NamModel> nam() const override;
  bool graph(GraphBuilder&) const override;

  int context() const { return context_; }  // samples of the past that an output depends on
  double multiply_adds() const;

  const std::vector<Array>& arrays() const { return arrays_; }
  WavenetLayerTensors<const float*> tensors(const float* weights, const Layer& l) const {
    const auto p = [&](std::size_t i) { return at(weights, l.tensors + i); };
    return {p(0), p(1), p(2), p(3), p(4)};
  }
  template <class T>
  T* at(T* base, std::size_t tensor) const {
    return base + params_[tensor].offset;
  }
  WavenetLayerDims dims(const Array& a, const Layer& l, int T, int H, long x_stride, long y_stride, int B = 1,
                        long condition_stride = 0) const {
    return {a.C, config_.taps, l.dilation, T, H, config_.gated, x_stride, y_stride, H, B, condition_stride};
  }

  const KnobFilm& film() const { return film_; }
  template <class T>
  KnobFilmTensors<T*> film_tensors(T* base) const {
    const auto p = [&](std::size_t i) { return at(base, film_tensors_ + i); };
    return {p(0), p(1), p(2), p(3)};
  }
  // Room that fold needs, in floats, on a border of 64 bytes.
  long fold_room(const Context& context) const { return fold_scratch(context) + kFilmHidden + film_.rows; }
  // All weights with what the controls make of them, laid out as params().
  void fold(const Context&, float* folded, const float* weights, const float* controls, float* room) const;

 private:
  // What forward keeps of each layer and array, and gradients on their way down; of B places.
  struct Saved {
    std::vector<std::vector<float*>> x, saved;  // [array][layer]: its input (B,C,length), tanh and sigmoid
    std::vector<float*> head, out;  // [array]: sum that the head reads (B,C,T), what it makes of it (B,outputs,T)
    std::vector<float*> y;          // [array]: output of its last layer, null for the last array
    float *dx[2] = {}, *dhead = nullptr, *dout = nullptr, *scaled = nullptr;
    float *scratch = nullptr, *input = nullptr, *target = nullptr,
          *loss = nullptr;  // input (B,context + T), target (B,T)
    float *folded = nullptr, *dfolded = nullptr, *room = nullptr, *dmodulation = nullptr,
          *controls = nullptr;  // of a place with knobs: weights and their gradients; of fold; (rows + kFilmHidden)
  };

  // Of knobs each place has weights of its own.
  int places_per_call(const Context& context, int B) const {
    return context.device == Device::kCpu || film_.rows > 0 ? 1 : B;
  }

  // body(b, n) for places [b, b + n), which go through the ops together: one on a CPU, all on a GPU.
  template <class Body>
  void over_calls(const Context& context, int B, int first, int last, Body body) const {
    const int n = places_per_call(context, B);
    for (int b = first; b < last; b += n) body(context, b, n);
  }

  void prepare(const Context& context, int B, const Loss& loss);

  // Samples of each layer's input, all arrays one after the other; of an array one more for its output.
  std::vector<std::vector<int>> lengths_of(int T) const;

  // The parts of Saved, in its order of arrays and layers.
  std::vector<long> sizes_of(const Context& context, int B, int T, const Loss& loss) const;

  Saved lay_out(const Context& context, int B, int T, const Loss& loss);

  // The forward pass of B places from s.input into s; y (B,T) in s.scaled.
  void run_layers(const Context& context, const Saved& s, const float* weights, int B, int T) const;

  // to = head_scale from.
  void scale(const Context& context, float* to, const float* from, long n) const;
  // Places [b, b + n) of the batch. g null: the losses alone.
  void train(const Context& context, float* g, const Batch& batch, const Loss& loss, int b, int n);

  // g and, of the tensors that are folded, folds: the same without knobs.
  void backward(const Context& context, const Saved& s, const float* weights, float* g, float* folds, int B,
                int T) const;
  void fold_backward(const Context& context, const Saved& s, const float* weights, float* g) const;
  // Floats of fold's room before the hidden units, behind which the modulation stands.
  long fold_scratch(const Context& context) const { return (floats_of(film_.scratch(context, 1)) + 15) / 16 * 16; }
  // The weights on the host at the position of the knobs; without knobs the weights.
  std::vector<float> at_position() const;
  void make_parametric(NamModel&) const;

  WavenetConfig config_;
  std::vector<Array> arrays_;
  KnobFilm film_;
  std::size_t film_tensors_ = 0;
  int context_ = 0;
  StreamLosses losses_;
  std::vector<std::vector<float>> slots_;
  std::vector<StreamMemory> memory_;  // of each worker
};

}  // namespace cafx
