// models/loss.h -- what a model is trained on: a weighted sum of errors between output and target (kernels/loss/loss.h
// has the terms). The trainer makes it and hands it to the model, which calls it once per micro-batch, so that fused
// ops keep what they saved in cache.
//
//   The relative terms, esr and dc, are held against the mean energy of a place's target plus energy_floor times that
//   of the training set, so that quiet places count little. reference() gives it, over all of a place's samples: where
//   a place is processed in blocks, each block is compared with the whole.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "kernels/base/describe.h"
#include "kernels/loss/loss.h"

namespace cafx {

// Weights of the terms, and what they share.
struct LossConfig {
  double mae = 1.0, mse = 0.0, esr = 0.0, dc = 0.0, log_cosh = 0.0, mr_stft = 0.0;
  double pre_emphasis = 0.0;
  double energy_floor = 0.1;  // in mean energies of the training set
  bool operator==(const LossConfig&) const = default;
};
Fields describe(LossConfig&);
// Where this is the same, a GPU runs the same kernels, and only the numbers of Loss::constants may differ.
std::string loss_structure(const LossConfig&);

class Loss {
 public:
  // B places of T samples: y (B,T), target (B,T) with row stride target_stride, dy (B, T + K - 1) with `pad` zeros
  // before each row and the rest behind it, where deconv1d_backward reads it; K = 1, pad = 0: (B,T).
  struct Shape {
    int B, T;
    long target_stride;
    int K = 1, pad = 0;
  };

  Loss() = default;  // mean absolute error
  // `mean_energy`: of a sample of the training set's targets, pre-emphasised. Error where all weights are 0.
  explicit Loss(const LossConfig&, double mean_energy = 0.0);

  const LossConfig& config() const { return config_; }
  bool operator==(const Loss&) const = default;
  // Whether it is the mean absolute error alone.
  bool is_mae() const;
  // Whether reference() must be called first.
  bool relative() const { return config_.esr > 0.0 || config_.dc > 0.0; }
  // What the relative terms are held against, (B, kReferences), of the places' targets. `floors`: the first of
  // constants(), where the context computes.
  static constexpr int kReferences = kLossReferences;
  // floors(), then the weights of the terms: what models of one loss_structure may differ in.
  static constexpr int kConstants = kReferences + kLossTerms;
  std::array<float, kConstants> constants() const;
  void reference(const Context&, float* reference, const float* target, const float* floors, Shape) const;

  // losses (B): of each place T times its loss, so that their sum over B T is the mean. dy = `scale` times the gradient
  // of their sum: 1 / (B T) for that of the mean, 0 where none is wanted. All pointers are where the context computes;
  // `constants` are constants(); reference is read where relative(); scratch has scratch() bytes.
  void operator()(const Context&, double* losses, float* dy, const float* y, const float* target,
                  const float* reference, const float* constants, float scale, Shape, void* scratch) const;
  std::size_t scratch(const Context&, Shape) const;

 private:
  LossWeights weights(int T) const;

  LossConfig config_;
  std::array<float, kReferences> floors_{};
};

}  // namespace cafx
