// models/s4/net.h -- S4 as a model: its tensors, its training; its player is made from it.
#pragma once

#include <array>

#include "kernels/conv1x1/conv1x1.h"
#include "kernels/film/film.h"
#include "kernels/lstm/lstm_tensors.h"
#include "kernels/ssm/ssm.h"
#include "models/knob_film.h"
#include "models/s4/s4.h"
#include "models/stream_places.h"

namespace cafx {

class S4Model : public Model {
 public:
  S4Model(const S4Config&, const std::string& form);

  const S4Config& config() const override { return config_; }
  std::size_t training_bytes(const Context&, int B, int T, const Loss&) const override;
  void reserve(const Context&, int B, int T, const Loss&) override;
  void begin(const Context&, const Batch&, const Loss&) override;
  void gradient(const Context&, float* gradient, const Batch&, const Loss&) override;
  const double* losses() const override { return losses_.data(); }
  std::unique_ptr<Player> stream(const Context&) const override;
  std::vector<LayerRow> layers() const override;
  std::vector<Fact> facts(const Context&, const Batch* = nullptr) override;
  bool negate_output() override;
  bool graph(GraphBuilder&) const override;

  // A block's tensors, by index; those of the LSTM only with FiLM.
  struct Block {
    std::size_t linear, linear_bias, log_dt, c, log_a_real, a_imag, d, residual;
    std::array<std::size_t, 4> lstm;  // weights of input and h, biases of both
    std::size_t film, film_bias;      // of knobs without FiLM
  };
  const std::vector<Block>& blocks() const { return blocks_; }
  template <class T>
  T* at(T* base, std::size_t tensor) const {
    return base + params_[tensor].offset;
  }
  template <class T>
  SsmTensors<T*> ssm_tensors(T* base, const Block& k) const {
    return {at(base, k.log_dt), at(base, k.c), at(base, k.log_a_real), at(base, k.a_imag), at(base, k.d)};
  }
  template <class T>
  LstmTensors<T*> lstm_tensors(T* base, const Block& k) const {
    return {at(base, k.lstm[0]), at(base, k.lstm[1]), at(base, k.lstm[2]), at(base, k.lstm[3])};
  }
  int n_controls() const { return n_controls_; }
  // Knobs scale and shift the blocks by a net of their own; with FiLM they go through its LSTMs.
  bool has_knob_film() const { return n_controls_ > 0 && !config_.temporal(); }
  // In playing: the modulation (2C) of a block from the net's hidden units (kFilmHidden), and those from the controls.
  void knob_hidden(float* hidden, const float* weights, const float* controls) const noexcept;
  void knob_modulation(float* modulation, const float* weights, const Block&, const float* hidden) const noexcept;
  std::size_t expand() const { return expand_; }
  std::size_t contract() const { return contract_; }
  Conv1x1Dims mix(int inputs, int outputs, int B, int T) const { return {inputs, outputs, T, T, T, B}; }
  SsmDims ssm_dims(int B, int T) const { return {B, config_.channels, config_.state, T}; }
  FilmDims film_dims(int B, int T) const {
    return {B, config_.channels, T, has_knob_film() ? T : config_.film_block, n_controls_, has_knob_film()};
  }
  // The net of the knobs: to the hidden units, and from them to a block's modulation.
  DenseDims hidden_dims(int B) const { return {B, n_controls_, kFilmHidden, Activation::kTanh}; }
  DenseDims modulation_dims(int B) const { return {B, kFilmHidden, 2 * config_.channels}; }
  LstmDims lstm_dims(int B, int T) const {
    const FilmDims film{B, config_.channels, T, config_.film_block};
    return {film_blocks(film), B, config_.channels + n_controls_, 2 * config_.channels};
  }
  // The whole number of `step` that is at least n.
  static int rounded_up(int n, int step) { return (n + step - 1) / step * step; }
  // A stream without FiLM is played so many samples at a time, one with FiLM a block; its rest is as many whole ones as
  // reach rest_samples.
  static constexpr int kPlayedAtOnce = 512;
  int played_at_once() const { return config_.temporal() ? config_.film_block : kPlayedAtOnce; }
  int rest_length() const { return rounded_up(config_.rest_samples, played_at_once()); }
  double multiply_adds() const;  // of a sample

 private:
  // What a block keeps of B places of T samples: its input, of its layer input, output and saved states; pooled maxima,
  // h (rows 1.. are the modulation), c and gates of its LSTM.
  struct Saved {
    float *x, *u, *z, *marks, *pooled, *h, *c, *gates;
  };
  struct Parts {
    std::vector<Saved> blocks;
    float *last, *y, *dx[2], *dz, *dmodulation, *dpooled, *dw, *dbias, *input, *target, *dout, *scratch, *loss;
    float *controls, *hidden, *dhidden[2], *modulations;  // (n,K); of the net of the knobs; [block] (n,2C)
  };
  // Weights as the ops read them, made once for each step.
  struct Ready {
    DeviceArray<float> ssm, lstm;
    long ssm_size = 0, lstm_size = 0;  // of a block
  };

  static int places_per_call(const Context& context, int B) { return context.device == Device::kCpu ? 1 : B; }
  void prepare(const Context&, int B, const Loss&);
  void make_ready(const Context&);
  std::vector<long> sizes_of(const Context&, int B, int T, const Loss&) const;
  Parts lay_out(const Context&, int B, int T, const Loss&);
  float* ssm_state(std::size_t block, int b);
  float* lstm_state(std::size_t block, int b, int which);
  void check_start(int t0) const;
  void take_controls(const Context&, const Parts& p, const Batch&, int b, int n) const;
  // The forward pass of places [b, b + n) from p.input and p.controls into p, y (n,T) in p.y; the states go on.
  void run_layers(const Context&, const Parts& p, int b, int n, int T);
  void modulate(const Context&, const Saved& s, std::size_t block, const Parts& p, int b, int n, int T);
  void train(const Context&, float* g, const Batch&, const Loss&, int b, int n);
  void backward(const Context&, const Parts& p, float* g, int n, int T);
  float* modulation_backward(const Context&, const Parts& p, float* g, const Saved& s, std::size_t block, int n, int T);
  void hear(const Context&, const Batch&, int t, int T, int b, int n);

  // What a stream begins with, of a block: the oscillators' states (C,N,2), its LSTM's h and c (2C).
  struct Rest {
    std::vector<float> oscillators, h, c;
  };
  std::vector<Rest> rest_states(const std::vector<float>& controls) const;
  std::string add_temporal_film(GraphBuilder&, const std::string& name, const std::string& z, const Block&, const Rest&,
                                const std::vector<float>& controls) const;

  float* modulation_at(const Parts& p, std::size_t block, int n) const {
    return p.modulations + static_cast<long>(block) * n * 2 * config_.channels;
  }
  void knobs_backward(const Context&, const Parts& p, float* g, std::size_t block, int n);

  S4Config config_;
  int n_controls_ = 0;
  std::size_t knob_net_ = 0;
  std::size_t expand_ = 0, contract_ = 0;
  std::vector<Block> blocks_;
  int n_places_ = 0;
  Device device_ = Device::kCpu;
  Ready ready_;
  StreamLosses losses_;
  DeviceArray<float> ssm_state_, lstm_state_;
  std::vector<std::vector<float>> slots_;
  std::vector<StreamMemory> memory_;  // of each worker
};

}  // namespace cafx
