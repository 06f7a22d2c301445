// models/s4/s4.h -- blocks of diagonal state-space layers, each between two activations, with or without temporal FiLM.
//
//   x = expand(input)
//   in each block   u = tanh(linear x)   z = ssm(u)   x = tanh(g z + s) + residual x     residual: one number a channel
//   y = tanh(contract(x))
//   Without FiLM g = 1, s = 0. With it an LSTM hears the maxima of z over `film_block` samples, and its output is g and
//   s of all samples of the block.
//
//   The tensors' names and shapes are those of nablafx's processor S4 (1.0.0; Comunita et al. 2025, arXiv:2502.14405),
//   so that `cafx import` takes its state dict; it gives nablafx's output.
//
// Causal    Without FiLM it reads no future sample. With FiLM a block's maxima are known at its end: the stream is
//           film_block - 1 samples late.
// Knobs     Without FiLM a net of kFilmHidden units makes scales and shifts for every block from their controls; with
//           FiLM they are inputs of its LSTMs.
// Training  Back-propagation through a whole block; states (of the oscillators, of the LSTM) are carried from block to
//           block, gradients are not. A segment begins with its warm-up.
// Silence   A stream starts after rest_samples of silence; with 0 of them from states of zero, as nablafx renders.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/model.h"

namespace cafx {

struct S4Config : ModelConfig {
  int blocks = 8, channels = 16, state = 32;
  std::string film = "none";  // "none" or "temporal"
  int film_block = 128;
  int rest_samples = 48000;

  const char* type() const override { return "s4"; }
  Fields fields() override;
  void check(const std::string& where) const override;
  std::unique_ptr<ModelConfig> clone() const override { return std::make_unique<S4Config>(*this); }
  Geometry geometry() const override;
  bool takes_knobs() const override { return true; }
  bool temporal() const { return film == "temporal"; }
};

// "s4-l", "s4-s", "s4-tf-l", "s4-tf-s": nablafx's sizes, of 18,993, 2,353, 70,193 and 27,953 weights.
std::vector<std::string> s4_presets();
std::unique_ptr<ModelConfig> s4_preset(const std::string& name);
std::vector<std::pair<std::string, std::string>> s4_training(const std::string& preset);
std::unique_ptr<Model> make_s4(const ModelConfig&, const std::string& form);

}  // namespace cafx
