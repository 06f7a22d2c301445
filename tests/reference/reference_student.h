// tests/reference/reference_student.h -- the ops of students as plain double-precision loops.
#pragma once

#include "kernels/conv1x1/conv1x1.h"
#include "kernels/lstm/bilstm.h"
#include "kernels/squeeze_excite/squeeze_excite.h"
#include "kernels/wavenet_layer/wavenet_layer.h"
#include "tests/reference/reference.h"

namespace cafx::reference {

struct Lstm {
  Vec h, c, gates;  // (T+1,B,H) with the state before the block in row 0, reversed: row T; (T,B,4H)
};
// h0, c0 (B,H).
Lstm lstm_forward(const Vec& x, const Vec& h0, const Vec& c0, const Vec& w, const Vec& bias, LstmDims d);
// Returns dx.
Vec lstm_backward(Vec& dw, Vec& dbias, const Vec& dh, const Lstm& forward, const Vec& x, const Vec& w, LstmDims d);

struct Bilstm {
  Vec w, bias, w_reversed, bias_reversed;
};
Vec bilstm_forward(const Vec& x, const Bilstm& p, LstmDims d);
// Returns dx.
Vec bilstm_backward(Bilstm& grads, const Vec& dy, const Vec& x, const Bilstm& p, LstmDims d);

struct SqueezeExcite {
  Vec w1, b1, w2, b2;
};
// Returns what is added to y; saved as the op keeps it.
Vec squeeze_excite_forward(Vec& saved, const Vec& x, const SqueezeExcite& p, SqueezeExciteDims d);
// Returns dx.
Vec squeeze_excite_backward(SqueezeExcite& grads, const Vec& dy, const Vec& saved, const Vec& x, const SqueezeExcite& p,
                            SqueezeExciteDims d);

// Rows stand as far apart as d says; what lies between is left alone. bias and dbias may be empty.
Vec conv1x1_forward(const Vec& x, const Vec& w, const Vec& bias, Conv1x1Dims d);
Vec conv1x1_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& x, const Vec& w, Conv1x1Dims d);

struct WavenetLayer {
  Vec w, bias, mixer, w1, bias1;
};
// Adds to head. saved as the op keeps it.
Vec wavenet_layer_forward(Vec& head, Vec& saved, const Vec& x, const Vec& condition, const WavenetLayer& p,
                          WavenetLayerDims d);
// dy empty: none. Returns dx.
Vec wavenet_layer_backward(WavenetLayer& grads, const Vec& dy, const Vec& dhead, const Vec& saved, const Vec& x,
                           const Vec& condition, const WavenetLayer& p, WavenetLayerDims d);

}  // namespace cafx::reference
