// S4 as nodes of a graph: a call plays T samples, at most kMostSamples, and hands the oscillators' states on.
#include <fmt/format.h>

#include <cmath>
#include <complex>

#include "kernels/base/flush_denormals.h"
#include "models/graph.h"
#include "models/knob_ramp.h"
#include "models/s4/net.h"

namespace cafx {

namespace {

using Ints = GraphBuilder::Ints;
using Complex = std::complex<double>;

// Powers a^t of the oscillators are products of a coarse table, of every kFine-th, and a fine one: as many as T asks
// for are made in each call, with the rounding of one product.
constexpr int kFine = 64, kCoarse = 65, kMostSamples = 4096;
static_assert(kFine * (kCoarse - 1) == kMostSamples);

std::string slice(GraphBuilder& g, const std::string& output, const std::string& x, const std::string& from,
                  const std::string& to, const char* axis) {
  return g.add("Slice", output, {x, from, to, axis});
}

// The real and imaginary part of the product of two pairs of nodes.
std::pair<std::string, std::string> product(GraphBuilder& g, const std::string& name,
                                            const std::pair<std::string, std::string>& a,
                                            const std::pair<std::string, std::string>& b) {
  const auto times = [&](const char* what, const std::string& x, const std::string& y) {
    return g.add("Mul", name + what, {x, y});
  };
  return {g.add("Sub", name + ".re", {times(".re_re", a.first, b.first), times(".im_im", a.second, b.second)}),
          g.add("Add", name + ".im", {times(".re_im", a.first, b.second), times(".im_re", a.second, b.first)})};
}

// What all blocks share: T and what is sliced by it. film_block 0: none has FiLM.
void add_lengths(GraphBuilder& g, int N, int film_block) {
  for (const int axis : {0, 1, 2}) g.int64s(fmt::format("axis.{}", axis), {axis});
  for (const auto& [name, value] : {std::pair<const char*, std::int64_t>{"zero", 0},
                                    {"one", 1},
                                    {"minus_one", -1},
                                    {"fine", kFine},
                                    {"N", N},
                                    {"end", GraphBuilder::kToTheEnd},
                                    {"begin", -GraphBuilder::kToTheEnd}}) {
    g.int64s(name, {value});
  }
  g.int64s("shape.flat", {0, 0, -1});
  if (film_block > 0) {
    g.int64s("axis.3", {3});
    g.int64s("shape.blocks", {0, 0, -1, film_block});
  }
  g.int64s("no_pads", {0, 0});
  g.int64s("no_pads_after", {0, 0, 0});
  g.add("Shape", "x.shape", {"x"});
  slice(g, "T", "x.shape", "one", "end", "axis.0");
  g.add("Add", "T.and_one", {"T", "one"});
  g.add("Sub", "T.but_one", {"T", "one"});
  g.add("Div", "T.fine", {"T", "fine"});
  g.add("Add", "rows", {"T.fine", "one"});
  g.add("Concat", "pads", {"no_pads", "T.but_one", "no_pads_after"}, {GraphBuilder::one("axis", 0)});
}

// The state-space layer `name`: u (B,C,T) to y, of the same shape.
std::string add_ssm(GraphBuilder& g, const std::string& name, const std::string& u, const std::string& state,
                    const SsmTensors<const float*>& tensors, int C, int N) {
  std::vector<Complex> a, r;  // (C,N): exp(dt A) and c E
  for (int i = 0; i < C * N; ++i) {
    const SsmOscillator o(tensors, N, i / N, i % N);
    a.push_back(o.a);
    r.push_back(o.c * o.E);
  }
  const auto table = [&](const char* what, std::int64_t rows, std::int64_t columns, int step, int count) {
    std::vector<float> re, im;
    for (const Complex of_step : a) {
      for (int i = 0; i < count; ++i) {
        const Complex power = std::pow(of_step, step * i);
        re.push_back(static_cast<float>(power.real()));
        im.push_back(static_cast<float>(power.imag()));
      }
    }
    return std::pair{g.floats(name + what + ".re", re.data(), {C, N, rows, columns}),
                     g.floats(name + what + ".im", im.data(), {C, N, rows, columns})};
  };
  auto coarse = table(".coarse", kCoarse, 1, kFine, kCoarse);
  const auto fine = table(".fine", 1, kFine, 1, kFine);
  coarse = {slice(g, name + ".coarse_used.re", coarse.first, "zero", "rows", "axis.2"),
            slice(g, name + ".coarse_used.im", coarse.second, "zero", "rows", "axis.2")};
  const auto powers = product(g, name + ".powers", coarse, fine);  // (C,N,rows,kFine)
  g.add("Concat", name + ".parts", {powers.first, powers.second}, {GraphBuilder::one("axis", 1)});
  g.add("Reshape", name + ".all", {name + ".parts", "shape.flat"});       // (C,2N,1 + T and more)
  slice(g, name + ".now", name + ".all", "zero", "T", "axis.2");          // a^0 .. a^(T-1)
  slice(g, name + ".next", name + ".all", "one", "T.and_one", "axis.2");  // a^1 .. a^T
  slice(g, name + ".over", name + ".all", "T", "T.and_one", "axis.2");    // a^T
  g.add("Slice", name + ".back", {name + ".now", "minus_one", "begin", "axis.2", "minus_one"});  // a^(T-1) .. a^0

  std::vector<float> re, im, kernel;
  for (int c = 0; c < C; ++c) {
    for (int n = 0; n < N; ++n) re.push_back(static_cast<float>(r[static_cast<std::size_t>(c * N + n)].real()));
    for (int n = 0; n < N; ++n) im.push_back(static_cast<float>(r[static_cast<std::size_t>(c * N + n)].imag()));
    for (int n = 0; n < N; ++n) kernel.push_back(2.0f * re[static_cast<std::size_t>(c * N + n)]);
    for (int n = 0; n < N; ++n) kernel.push_back(-2.0f * im[static_cast<std::size_t>(c * N + n)]);
  }
  // What is heard now: a convolution with the impulse response.
  g.floats(name + ".of_powers", kernel.data(), {C, 1, 2 * N});
  g.add("MatMul", name + ".response", {name + ".of_powers", name + ".back"});  // (C,1,T), from its end to its front
  g.add("Pad", name + ".padded", {u, "pads"});
  g.add("Conv", name + ".heard", {name + ".padded", name + ".response"}, {GraphBuilder::one("group", C)});
  // What the oscillators still sound: sums of powers, weighed by c E s.
  const auto halves = [&](const std::string& x, const char* axis) {
    return std::pair{slice(g, x + ".re", x, "zero", "N", axis), slice(g, x + ".im", x, "N", "end", axis)};
  };
  const auto rest = halves(state, "axis.2");
  const auto weighed =
      product(g, name + ".weighed", rest,
              {g.floats(name + ".r.re", re.data(), {C, N}), g.floats(name + ".r.im", im.data(), {C, N})});
  g.add("Mul", name + ".twice", {weighed.first, g.scalar(name + ".2", 2.0)});
  g.add("Mul", name + ".minus_twice", {weighed.second, g.scalar(name + ".-2", -2.0)});
  g.add("Concat", name + ".weights", {name + ".twice", name + ".minus_twice"}, {GraphBuilder::one("axis", 2)});
  g.add("Unsqueeze", name + ".row", {name + ".weights", "axis.2"});  // (B,C,1,2N)
  g.add("MatMul", name + ".sums", {name + ".row", name + ".next"});  // (B,C,1,T)
  g.add("Squeeze", name + ".sounding", {name + ".sums", "axis.2"});
  // Their states after the last sample.
  g.add("Transpose", name + ".columns", {name + ".back"}, {{"perm", {0, 2, 1}}});  // (C,T,2N)
  g.add("Unsqueeze", name + ".u", {u, "axis.2"});
  g.add("MatMul", name + ".new", {name + ".u", name + ".columns"});  // (B,C,1,2N)
  g.add("Squeeze", name + ".fresh", {name + ".new", "axis.2"});
  g.add("Squeeze", name + ".turn", {name + ".over", "axis.2"});  // (C,2N)
  const auto old = product(g, name + ".old", rest, halves(name + ".turn", "axis.1"));
  g.add("Concat", name + ".old", {old.first, old.second}, {GraphBuilder::one("axis", 2)});
  g.next_state(state.substr(state.find('.') + 1), g.add("Add", name + ".state", {name + ".old", name + ".fresh"}));

  g.add("Mul", name + ".through", {u, g.floats(name + ".D", tensors.d, {C, 1})});
  g.add("Add", name + ".made", {name + ".heard", name + ".sounding"});
  return g.add("Add", name, {name + ".made", name + ".through"});
}

}  // namespace

// The states after rest_samples of silence: of each block the oscillators' (C,N,2) and the LSTM's h and c.
std::vector<S4Model::Rest> S4Model::rest_states(const std::vector<float>& controls) const {
  S4Model copy(config_, form());
  std::copy_n(params_.data(), params_.n_floats(), copy.params_.data());
  Context context;
  context.isa = best_isa();
  copy.prepare(context, 1, Loss());
  copy.make_ready(context);
  copy.ssm_state_.fill_zero();
  copy.lstm_state_.fill_zero();
  const FlushDenormals flush;
  const int length = rest_length(), chunk = rounded_up(kMostSamples, played_at_once());
  for (int t = 0; t < length; t += chunk) {
    const int T = std::min(chunk, length - t);
    const Parts p = copy.lay_out(context, 1, T, Loss());
    std::fill_n(p.input, T, 0.0f);
    std::copy(controls.begin(), controls.end(), p.controls);
    copy.run_layers(context, p, 0, 1, T);
  }
  std::vector<Rest> rest;
  const long oscillators = static_cast<long>(config_.channels) * 2 * config_.state, H = 2L * config_.channels;
  for (std::size_t k = 0; k < blocks_.size(); ++k) {
    const auto from = [](const float* x, long n) { return std::vector<float>(x, x + n); };
    rest.push_back({from(copy.ssm_state(k, 0), oscillators), from(copy.lstm_state(k, 0, 0), H),
                    from(copy.lstm_state(k, 0, 1), H)});
  }
  return rest;
}

bool S4Model::graph(GraphBuilder& g) const {
  if (n_controls_ > 0 && position().empty()) return false;
  const int C = config_.channels, N = config_.state, H = 2 * C;
  const float* weights = params_.data();
  const std::vector<float> controls = KnobRamp(config_, position()).values();
  const std::vector<Rest> rest = rest_states(controls);
  float hidden[kFilmHidden];
  if (has_knob_film()) knob_hidden(hidden, weights, controls.data());
  add_lengths(g, N, config_.temporal() ? config_.film_block : 0);
  g.most_samples(kMostSamples);
  const auto dense = [&](const std::string& name, std::size_t i, Ints shape, const std::string& x) {
    return g.add("Conv", name,
                 {x, g.floats(name + ".weight", at(weights, i), shape),
                  g.floats(name + ".bias", at(weights, i + 1), {shape[0]})});
  };
  g.add("Unsqueeze", "samples", {"x", "axis.1"});
  std::string x = dense("expand", expand_, {C, 1, 1}, "samples");
  for (std::size_t k = 0; k < blocks_.size(); ++k) {
    const Block& block = blocks_[k];
    const std::string name = fmt::format("blocks.{}", k);
    const std::string u = g.add("Tanh", name + ".u", {dense(name + ".linear", block.linear, {C, C, 1}, x)});
    std::vector<float> parts;  // real parts, then imaginary ones
    for (long c = 0; c < C; ++c) {
      for (const long part : {0, 1}) {
        for (long n = 0; n < N; ++n)
          parts.push_back(rest[k].oscillators[static_cast<std::size_t>(2 * (c * N + n) + part)]);
      }
    }
    const std::string state = g.state(name + ".oscillators", {-1, C, 2 * N}, parts);
    std::string z = add_ssm(g, name + ".s4", u, state, ssm_tensors(weights, block), C, N);
    if (config_.temporal()) {
      z = add_temporal_film(g, name + ".film", z, block, rest[k], controls);
    } else if (has_knob_film()) {
      std::vector<float> modulation(static_cast<std::size_t>(H));
      knob_modulation(modulation.data(), weights, block, hidden);
      for (std::size_t c = 0; c < static_cast<std::size_t>(C); ++c) modulation[c] += 1.0f;
      g.add("Mul", name + ".scaled", {z, g.floats(name + ".film.scale", modulation.data(), {C, 1})});
      z = g.add("Add", name + ".shifted",
                {name + ".scaled", g.floats(name + ".film.shift", modulation.data() + C, {C, 1})});
    }
    g.add("Tanh", name + ".bent", {z});
    g.add("Mul", name + ".residual", {x, g.floats(name + ".res.weight", at(weights, block.residual), {C, 1})});
    x = g.add("Add", name, {name + ".bent", name + ".residual"});
  }
  g.add("Tanh", "y.rows", {dense("contract", contract_, {1, C, 1}, x)});
  g.add("Squeeze", "y", {"y.rows", "axis.1"});
  return true;
}

// ONNX orders the gates i, o, f, g. What the knobs add to an LSTM's inputs is a part of its bias.
std::string S4Model::add_temporal_film(GraphBuilder& g, const std::string& name, const std::string& z,
                                       const Block& block, const Rest& rest, const std::vector<float>& controls) const {
  const std::int64_t C = config_.channels, H = 2 * C, I = C + n_controls_, P = config_.film_block;
  const LstmTensors<const float*> t = lstm_tensors(params_.data(), block);
  std::vector<float> w, r, bias;
  for (const std::int64_t gate : {0, 3, 1, 2}) {
    for (std::int64_t row = gate * H; row < (gate + 1) * H; ++row) {
      w.insert(w.end(), t.w_input + row * I, t.w_input + row * I + C);
      r.insert(r.end(), t.w_hidden + row * H, t.w_hidden + (row + 1) * H);
      float sum = t.bias_input[row] + t.bias_hidden[row];
      for (std::size_t k = 0; k < controls.size(); ++k)
        sum += t.w_input[row * I + C + static_cast<std::int64_t>(k)] * controls[k];
      bias.push_back(sum);
    }
  }
  bias.resize(static_cast<std::size_t>(8 * H), 0.0f);
  const std::string h = g.state(name + ".h", {1, -1, H}, rest.h), c = g.state(name + ".c", {1, -1, H}, rest.c);
  g.add("MaxPool", name + ".maxima", {z}, {{"kernel_shape", {P}}, {"strides", {P}}});  // (B,C,K)
  g.add("Transpose", name + ".rows", {name + ".maxima"}, {{"perm", {2, 0, 1}}});       // (K,B,C)
  g.add_to({name + ".lstm", name + ".lstm.h", name + ".lstm.c"}, "LSTM",
           {name + ".rows", g.floats(name + ".lstm.W", w.data(), {1, 4 * H, C}),
            g.floats(name + ".lstm.R", r.data(), {1, 4 * H, H}), g.floats(name + ".lstm.B", bias.data(), {1, 8 * H}),
            "", h, c},
           {GraphBuilder::one("hidden_size", H)});
  g.next_state(name + ".h", name + ".lstm.h");
  g.next_state(name + ".c", name + ".lstm.c");
  g.add("Squeeze", name + ".modulation", {name + ".lstm", "axis.1"});                    // (K,B,2C)
  g.add("Transpose", name + ".columns", {name + ".modulation"}, {{"perm", {1, 2, 0}}});  // (B,2C,K)
  g.add("Unsqueeze", name + ".of_blocks", {name + ".columns", "axis.3"});                // (B,2C,K,1)
  g.int64s(name + ".C", {C});
  slice(g, name + ".scale", name + ".of_blocks", "zero", name + ".C", "axis.1");
  slice(g, name + ".shift", name + ".of_blocks", name + ".C", "end", "axis.1");
  g.add("Reshape", name + ".blocks", {z, "shape.blocks"});  // (B,C,K,P)
  g.add("Mul", name + ".scaled", {name + ".blocks", name + ".scale"});
  g.add("Add", name + ".shifted", {name + ".scaled", name + ".shift"});
  return g.add("Reshape", name, {name + ".shifted", "shape.flat"});
}

}  // namespace cafx
