// models/loss.h -- what a model is trained on: a weighted sum of errors between output and target. The trainer makes it
// and hands it to the model, which calls it once per micro-batch, so that fused ops keep what they saved in cache.
//
//   loss = mae mean|e| + esr mean(p^2) / r          e = y - target,  p[t] = e[t] - pre_emphasis e[t-1]
//
//   r is what the error to signal ratio of a place is relative to: the mean energy of its target (pre-emphasised as
//   well) plus energy_floor times the mean energy of the training set, so that quiet places count little.
//
// Places   reference() gives r of each place, over all of its samples; where a place is processed in blocks, each block
//          is compared with the r of the whole place.
#pragma once

#include <cstddef>

#include "kernels/base/describe.h"
#include "kernels/device/context.h"

namespace cafx {

// Weights of the terms, and what they share.
struct LossConfig {
  double mae = 1.0, esr = 0.0;
  double pre_emphasis = 0.0;
  double energy_floor = 0.1;  // in mean energies of the training set
  bool operator==(const LossConfig&) const = default;
};
Fields describe(LossConfig&);

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
  // `mean_energy`: of a sample of the training set's targets, pre-emphasised.
  explicit Loss(const LossConfig&, double mean_energy = 0.0);

  const LossConfig& config() const { return config_; }
  // Whether reference() must be called first.
  bool relative() const { return config_.esr > 0.0; }
  // References of the relative terms, (B, kReferences), from the places' targets.
  static constexpr int kReferences = 2;
  void reference(const Context&, float* reference, const float* target, Shape) const;

  // losses (B): of each place T times its loss, so that their sum over B T is the mean. dy = `scale` times the gradient
  // of their sum: 1 / (B T) for that of the mean, 0 where none is wanted. All pointers are where the context computes;
  // reference is read where relative(); scratch has scratch() bytes.
  void operator()(const Context&, double* losses, float* dy, const float* y, const float* target,
                  const float* reference, float scale, Shape, void* scratch) const;
  std::size_t scratch(const Context&, Shape) const;

 private:
  LossConfig config_;
  double mean_energy_ = 0.0;
};

}  // namespace cafx
