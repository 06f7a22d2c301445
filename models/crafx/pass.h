// models/crafx/pass.h -- one pass of CRAFx over n places: the layers forward and backward, and the memory between them.
//
//   Frames of a place lie behind one another by their place in time: x_padded (F,n,T+K-1), x1 (F,n,T,C), z (F,n,N,C),
//   with F frames, N = T / pool steps of the latent. So the frames that come out, number `before`, are contiguous.
#pragma once

#include "kernels/device/arena.h"
#include "models/cafx/dims.h"
#include "models/crafx/tensors.h"
#include "models/loss.h"

namespace cafx {

// The dimensions of every op for n places.
struct CrafxDims {
  CafxDims all, own;  // of all frames: the front end; of the places' own ones: what follows the latent
  int F, N, layers;
  LstmDims lstm[kMaxCrafxLayers] = {};
  SaafDims latent;
  SqueezeExciteDims excite;

  CrafxDims(const CrafxConfig&, int n);
  int places() const { return own.front.B; }
};

struct CrafxPass {
  enum class Use { kTraining, kForward, kSequence };  // kSequence: x_padded and x1 of one frame, z comes from outside

  float *x_padded = nullptr, *z = nullptr, *latent = nullptr, *zhat = nullptr, *gains = nullptr;
  float* rows[kMaxCrafxLayers + 1] = {};  // (N,n,F C), then each layer's output (N,n,2H)
  Stored *x1 = nullptr, *u = nullptr, *v = nullptr;
  std::int32_t* positions = nullptr;
  void *lstm_saved[kMaxCrafxLayers] = {}, *dnn_saved = nullptr, *scratch = nullptr;
  // Training.
  float *y = nullptr, *target = nullptr, *dy_padded = nullptr, *dzhat = nullptr, *dz = nullptr, *drows[2] = {};
  Stored *dx1 = nullptr, *du = nullptr, *dv = nullptr;
  void* loss_scratch = nullptr;

  void lay_out(const Context&, Arena&, const CrafxConfig&, int n, Use, const Loss&);

  // Packed weights: front_end_prepare and dnn_saaf_prepare.
  void front_end(const Context&, const void* packed, const CrafxDims&);
  // z -> zhat.
  void remember(const Context&, const CrafxTensors&, const CrafxDims&);
  // zhat, x1 and positions of the places' own frames -> y (n,T).
  void decode(const Context&, float* y, const Stored* x1, const std::int32_t* positions, const CrafxTensors&,
              const void* packed_dnn, bool save, const CrafxDims&);
  // From dy_padded up to the front end's weights. `before`: frames in front of the places' own.
  void backward(const Context&, const CrafxTensors& weights, const CrafxTensors& gradients, const void* packed_dnn,
                int before, const CrafxDims&);
  // The places' own frames.
  Stored* own(const Context& context, Stored* of_all, int before, const CrafxDims& d) const {
    return static_cast<char*>(of_all) + stored_bytes(context) * values(d) * static_cast<std::size_t>(before);
  }
  std::int32_t* own_positions(int before, const CrafxDims& d) const {
    return positions + static_cast<long>(before) * d.places() * d.N * d.own.front.C;
  }

 private:
  static std::size_t values(const CrafxDims& d) {  // of (n,T,C)
    return static_cast<std::size_t>(d.places()) * static_cast<std::size_t>(d.own.front.T) *
           static_cast<std::size_t>(d.own.front.C);
  }
};

}  // namespace cafx
