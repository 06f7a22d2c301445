#include "models/crafx/pass.h"

#include "kernels/transpose/transpose.h"

namespace cafx {

CrafxDims::CrafxDims(const CrafxConfig& c, int n)
    : all(c.parts(), n * c.frames()),
      own(c.parts(), n),
      F(c.frames()),
      N(c.frame / c.pool),
      layers(static_cast<int>(c.lstm.size())),
      latent(CafxDims::saaf_of(c.parts(), n)),
      excite{n, c.frame, c.filters, c.excite} {
  latent.T = N;
  int in = F * c.filters;
  for (std::size_t l = 0; l < c.lstm.size(); ++l) {
    lstm[l] = {N, n, in, c.lstm[l], false, l + 1 == c.lstm.size()};
    in = 2 * c.lstm[l];
  }
}

void CrafxPass::lay_out(const Context& context, Arena& a, const CrafxConfig& c, int n, Use use, const Loss& loss) {
  const CrafxDims d(c, n);
  const std::size_t places = static_cast<std::size_t>(n), T = c.frame, C = c.filters, N = d.N,
                    frames = use == Use::kSequence ? 1 : static_cast<std::size_t>(d.F),
                    padded = T + static_cast<std::size_t>(c.taps) - 1, whole = places * T * C;
  const auto take_stored = [&](std::size_t values) -> Stored* { return a.take<char>(stored_bytes(context) * values); };
  const bool training = use == Use::kTraining;
  x_padded = a.take<float>(frames * places * padded);
  x1 = take_stored(frames * whole);
  z = a.take<float>(static_cast<std::size_t>(d.F) * places * N * C);
  positions = a.take<std::int32_t>(frames * places * N * C);
  std::size_t scratch_bytes = std::max({front_end_scratch(context, d.all.front), saaf_scratch(context, d.latent),
                                        dnn_saaf_scratch(context, d.own.dnn), squeeze_excite_scratch(context, d.excite),
                                        deconv1d_scratch(context, d.own.deconv)});
  std::size_t widest = static_cast<std::size_t>(d.F) * C;
  rows[0] = a.take<float>(N * places * widest);
  for (std::size_t l = 0; l < c.lstm.size(); ++l) {
    const auto width = static_cast<std::size_t>(2 * c.lstm[l]);
    rows[l + 1] = a.take<float>(N * places * width);
    lstm_saved[l] = a.take<char>(bilstm_saved(context, d.lstm[l]));
    widest = std::max(widest, width);
    scratch_bytes = std::max({scratch_bytes, bilstm_forward_scratch(context, d.lstm[l]),
                              training ? bilstm_backward_scratch(context, d.lstm[l]) : 0});
  }
  latent = a.take<float>(places * N * C);
  zhat = a.take<float>(places * N * C);
  u = take_stored(whole);
  v = take_stored(whole);
  gains = a.take<float>(squeeze_excite_saved(d.excite));
  scratch = a.take<char>(scratch_bytes);
  if (!training) return;
  y = a.take<float>(places * T);
  target = a.take<float>(places * T);
  dy_padded = a.take<float>(places * padded);
  dnn_saved = a.take<char>(dnn_saaf_saved(context, d.own.dnn));
  du = take_stored(whole);
  dv = take_stored(whole);
  dx1 = take_stored(frames * whole);
  dzhat = a.take<float>(places * N * C);
  dz = a.take<float>(frames * places * N * C);
  for (float*& r : drows) r = a.take<float>(N * places * widest);
  loss_scratch = a.take<char>(loss.scratch(context, {n, c.frame, c.frame, c.taps, deconv1d_pad(d.own.deconv)}));
}

void CrafxPass::front_end(const Context& context, const void* packed, const CrafxDims& d) {
  front_end_forward(context, x1, z, positions, x_padded, packed, scratch, d.all.front);
}

void CrafxPass::remember(const Context& context, const CrafxTensors& t, const CrafxDims& d) {
  const int n = d.places(), C = d.own.front.C;
  exchange_outer(context, rows[0], z, {d.F, n, d.N, C});
  for (int l = 0; l < d.layers; ++l) {
    bilstm_forward(context, rows[l + 1], lstm_saved[l], rows[l], weights_of(t.lstm[l]), scratch, d.lstm[l]);
  }
  exchange_outer(context, latent, rows[d.layers], {d.N, 1, n, C});
  saaf_forward(context, zhat, latent, t.latent_v, t.latent_w, scratch, d.latent);
}

void CrafxPass::decode(const Context& context, float* out, const Stored* of_x1, const std::int32_t* of_positions,
                       const CrafxTensors& t, const void* packed_dnn, bool save, const CrafxDims& d) {
  unpool_multiply_forward(context, u, zhat, of_x1, of_positions, d.own.pool, d.own.dnn.unpool);
  dnn_saaf_forward(context, v, save ? dnn_saved : nullptr, of_x1, zhat, of_positions, packed_dnn, scratch, d.own.dnn);
  squeeze_excite_forward(context, u, gains, v, weights_of(t.excite), scratch, d.excite);
  deconv1d_forward(context, out, u, t.conv_w, t.deconv_b, scratch, d.own.deconv);
}

void CrafxPass::backward(const Context& context, const CrafxTensors& t, const CrafxTensors& g, const void* packed_dnn,
                         int before, const CrafxDims& d) {
  const int n = d.places(), C = d.own.front.C;
  const Stored* own_x1 = own(context, x1, before, d);
  Stored* own_dx1 = own(context, dx1, before, d);
  const std::int32_t* at = own_positions(before, d);
  deconv1d_backward(context, du, g.conv_w, g.deconv_b, dy_padded, u, t.conv_w, scratch, d.own.deconv);
  squeeze_excite_backward(context, dv, g.excite, du, v, gains, weights_of(t.excite), scratch, d.excite);
  dnn_saaf_backward(context, own_dx1, dzhat, dnn_grads_of(g), dv, dnn_saved, own_x1, zhat, at, dnn_weights_of(t),
                    packed_dnn, scratch, d.own.dnn);
  unpool_multiply_backward(context, dzhat, own_dx1, du, zhat, own_x1, at, d.own.pool, d.own.dnn.unpool, true);
  float *of_rows = drows[0], *below = drows[1];
  saaf_backward(context, below, g.latent_v, g.latent_w, dzhat, latent, t.latent_v, t.latent_w, scratch, d.latent);
  exchange_outer(context, of_rows, below, {n, 1, d.N, C});
  for (int l = d.layers - 1; l >= 0; --l) {
    bilstm_backward(context, below, g.lstm[l], of_rows, rows[l], lstm_saved[l], weights_of(t.lstm[l]), scratch,
                    d.lstm[l]);
    std::swap(of_rows, below);
  }
  exchange_outer(context, dz, of_rows, {d.N, n, d.F, C});
  // What follows the latent sees the places' own frames alone.
  const std::size_t bytes = stored_bytes(context) * values(d);
  fill_zero(context, dx1, bytes * static_cast<std::size_t>(before));
  fill_zero(context, own(context, dx1, before + 1, d), bytes * static_cast<std::size_t>(d.F - before - 1));
  front_end_backward(context, dx1, g.conv_w, g.conv_b, g.local_w, g.local_b, dz, x1, z, positions, x_padded, t.local_w,
                     scratch, d.all.front);
}

}  // namespace cafx
