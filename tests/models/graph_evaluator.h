// tests/models/graph_evaluator.h -- computes a graph as it is built, in double precision, after the definitions of
// ONNX. It knows the operators that models use and fails on any other.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "models/graph.h"

namespace cafx {

class GraphEvaluator : public GraphBuilder {
 public:
  struct Tensor {
    Ints shape;
    std::vector<double> v;
    std::int64_t dim(int i) const { return shape[static_cast<std::size_t>(i < 0 ? std::ssize(shape) + i : i)]; }
    std::int64_t size() const { return std::ssize(v); }
  };

  void set(const std::string& name, Tensor t) { tensors_[name] = std::move(t); }
  const Tensor& at(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw Error("no value '{}' in the graph", name);
    return found->second;
  }

  std::string floats(const std::string& name, const float* data, const Ints& shape) override {
    std::int64_t n = 1;
    for (const auto s : shape) n *= s;
    set(name, {shape, {data, data + n}});
    return name;
  }
  std::string int64s(const std::string& name, const Ints& data) override {
    set(name, {{std::ssize(data)}, {data.begin(), data.end()}});
    return name;
  }
  std::string int32s(const std::string& name, const std::vector<std::int32_t>& data, const Ints& shape) override {
    set(name, {shape, {data.begin(), data.end()}});
    return name;
  }

  std::string add(const char* type, const std::string& output, std::vector<std::string> names,
                  const std::vector<Attribute>& attributes) override {
    add_to({output}, type, std::move(names), attributes);
    return output;
  }
  void add_to(const std::vector<std::string>& outputs, const char* type, std::vector<std::string> names,
              const std::vector<Attribute>& attributes) override {
    const std::string op = type;
    std::vector<const Tensor*> in;
    for (const std::string& n : names) in.push_back(n.empty() ? nullptr : &at(n));
    const auto attribute = [&](const char* name, Ints otherwise) {
      for (const Attribute& a : attributes) {
        if (std::string(a.name) == name) return a.ints;
      }
      return otherwise;
    };
    if (op == "LSTM") {
      std::vector<Tensor> results = lstm(in, attributes);
      for (std::size_t i = 0; i < outputs.size(); ++i) set(outputs[i], std::move(results.at(i)));
    } else {
      set(outputs.at(0), compute(op, in, attribute));
    }
  }

  // The states of B streams: those at rest, until a call has been computed.
  std::int64_t streams = 1;
  std::map<std::string, Tensor> states;
  std::string state(const std::string& name, const Ints& shape, const std::vector<float>& rest) override {
    const auto before = states.find(name);
    if (before != states.end()) {
      set("state." + name, before->second);
    } else {
      Tensor t{shape, {}};
      std::replace(t.shape.begin(), t.shape.end(), std::int64_t{-1}, streams);
      for (std::int64_t b = 0; b < streams; ++b) t.v.insert(t.v.end(), rest.begin(), rest.end());
      set("state." + name, std::move(t));
    }
    return "state." + name;
  }
  void next_state(const std::string& name, const std::string& next) override { next_[name] = next; }
  void most_samples(std::int64_t n) override { EXPECT_GE(n, at("x").dim(1)); }
  // After a graph was computed: its states stand before the next call.
  void hand_on() {
    for (const auto& [name, next] : next_) states[name] = at(next);
  }

 private:
  template <class F>
  static Tensor map(const Tensor& x, F f) {
    Tensor y = x;
    for (double& v : y.v) v = f(v);
    return y;
  }

  // Two operands, each repeated along what it has one of.
  template <class F>
  static Tensor broadcast(const Tensor& a, const Tensor& b, F f) {
    const std::size_t rank = std::max(a.shape.size(), b.shape.size());
    const auto padded = [&](const Tensor& t) {
      Ints s(rank - t.shape.size(), 1);
      s.insert(s.end(), t.shape.begin(), t.shape.end());
      return s;
    };
    const Ints sa = padded(a), sb = padded(b);
    Tensor y;
    std::int64_t n = 1;
    for (std::size_t i = 0; i < rank; ++i) {
      EXPECT_TRUE(sa[i] == sb[i] || sa[i] == 1 || sb[i] == 1);
      y.shape.push_back(std::max(sa[i], sb[i]));
      n *= y.shape.back();
    }
    for (std::int64_t k = 0; k < n; ++k) {
      std::int64_t rest = k, ia = 0, ib = 0, step_a = 1, step_b = 1;
      for (std::size_t i = rank; i-- > 0;) {
        const std::int64_t at = rest % y.shape[i];
        rest /= y.shape[i];
        ia += (sa[i] == 1 ? 0 : at) * step_a;
        ib += (sb[i] == 1 ? 0 : at) * step_b;
        step_a *= sa[i];
        step_b *= sb[i];
      }
      y.v.push_back(f(a.v[static_cast<std::size_t>(ia)], b.v[static_cast<std::size_t>(ib)]));
    }
    return y;
  }

  // x (B,C,T), w (O, C / group, K): correlation, or its transpose with w (C,O,K).
  static Tensor convolve(const Tensor& x, const Tensor& w, const Tensor* bias, const Ints& pads, std::int64_t group,
                         std::int64_t dilation) {
    const std::int64_t B = x.dim(0), T = x.dim(2), O = w.dim(0), I = w.dim(1), K = w.dim(2);
    const std::int64_t made = T + pads[0] + pads[1] - (K - 1) * dilation;
    Tensor y{{B, O, made}, {}};
    for (std::int64_t b = 0; b < B; ++b) {
      for (std::int64_t o = 0; o < O; ++o) {
        for (std::int64_t t = 0; t < made; ++t) {
          double sum = bias ? bias->v[static_cast<std::size_t>(o)] : 0.0;
          for (std::int64_t i = 0; i < I; ++i) {
            const std::int64_t channel = o / (O / group) * I + i;
            for (std::int64_t k = 0; k < K; ++k) {
              const std::int64_t at = t + k * dilation - pads[0];
              if (at < 0 || at >= T) continue;
              sum += w.v[static_cast<std::size_t>((o * I + i) * K + k)] *
                     x.v[static_cast<std::size_t>((b * x.dim(1) + channel) * T + at)];
            }
          }
          y.v.push_back(sum);
        }
      }
    }
    return y;
  }
  static Tensor transposed_convolution(const Tensor& x, const Tensor& w, const Tensor& bias, const Ints& pads) {
    const std::int64_t B = x.dim(0), C = x.dim(1), T = x.dim(2), O = w.dim(1), K = w.dim(2),
                       made = T + K - 1 - pads[0] - pads[1];
    Tensor y{{B, O, made}, std::vector<double>(static_cast<std::size_t>(B * O * made))};
    for (std::int64_t b = 0; b < B; ++b) {
      for (std::int64_t o = 0; o < O; ++o) {
        double* row = y.v.data() + (b * O + o) * made;
        for (std::int64_t t = 0; t < made; ++t) row[t] = bias.v[static_cast<std::size_t>(o)];
        for (std::int64_t c = 0; c < C; ++c) {
          for (std::int64_t t = 0; t < T; ++t) {
            for (std::int64_t k = 0; k < K; ++k) {
              const std::int64_t at = t + k - pads[0];
              if (at < 0 || at >= made) continue;
              row[at] += w.v[static_cast<std::size_t>((c * O + o) * K + k)] *
                         x.v[static_cast<std::size_t>((b * C + c) * T + t)];
            }
          }
        }
      }
    }
    return y;
  }

  // The last two axes multiply; those before are repeated.
  static Tensor multiply(const Tensor& a, const Tensor& b) {
    const std::int64_t M = a.dim(-2), K = a.dim(-1), N = b.dim(-1);
    EXPECT_EQ(K, b.dim(-2));
    const std::int64_t of_a = a.size() / (M * K), of_b = b.size() / (K * N), n = std::max(of_a, of_b);
    const Tensor& larger = a.shape.size() >= b.shape.size() && of_a == n ? a : b;
    Tensor y{larger.shape, {}};
    y.shape[y.shape.size() - 2] = M;
    y.shape[y.shape.size() - 1] = N;
    for (std::int64_t l = 0; l < n; ++l) {
      const double *pa = a.v.data() + l % of_a * M * K, *pb = b.v.data() + l % of_b * K * N;
      for (std::int64_t m = 0; m < M; ++m) {
        for (std::int64_t c = 0; c < N; ++c) {
          double sum = 0.0;
          for (std::int64_t k = 0; k < K; ++k) sum += pa[m * K + k] * pb[k * N + c];
          y.v.push_back(sum);
        }
      }
    }
    return y;
  }

  // Axes in another order: axis i of the result is axis perm[i] of x.
  static Tensor transposed(const Tensor& x, const Ints& perm) {
    Tensor y;
    Ints step(perm.size(), 1);  // of the result's axes in x
    for (std::size_t i = 0; i < perm.size(); ++i) {
      y.shape.push_back(x.dim(static_cast<int>(perm[i])));
      for (std::size_t k = static_cast<std::size_t>(perm[i]) + 1; k < perm.size(); ++k) step[i] *= x.shape[k];
    }
    for (std::int64_t n = 0; n < x.size(); ++n) {
      std::int64_t rest = n, at = 0;
      for (std::size_t i = perm.size(); i-- > 0; rest /= y.shape[i]) at += rest % y.shape[i] * step[i];
      y.v.push_back(x.v[static_cast<std::size_t>(at)]);
    }
    return y;
  }

  // x turned over along its last axis.
  static Tensor backwards(const Tensor& x) {
    Tensor y = x;
    const std::int64_t n = x.dim(-1);
    for (std::int64_t at = 0; at < x.size(); at += n) std::reverse(y.v.begin() + at, y.v.begin() + at + n);
    return y;
  }
  // Zeros before and after the last axis; pads are those before each axis, then those after.
  static Tensor padded(const Tensor& x, const std::vector<double>& pads) {
    const auto before = static_cast<std::size_t>(pads[x.shape.size() - 1]),
               after = static_cast<std::size_t>(pads.back());
    Tensor y{x.shape, {}};
    const std::int64_t n = x.dim(-1);
    y.shape.back() += static_cast<std::int64_t>(before + after);
    for (std::int64_t at = 0; at < x.size(); at += n) {
      y.v.insert(y.v.end(), before, 0.0);
      y.v.insert(y.v.end(), x.v.begin() + at, x.v.begin() + at + n);
      y.v.insert(y.v.end(), after, 0.0);
    }
    return y;
  }

  // Elements [from, to) of an axis; tensors one after another along an axis.
  static Tensor slice(const Tensor& x, std::int64_t from, std::int64_t to, std::int64_t axis) {
    const std::int64_t n = x.dim(static_cast<int>(axis));
    from = std::clamp(from < 0 ? from + n : from, std::int64_t{0}, n);
    to = std::clamp(to < 0 ? to + n : to, from, n);
    Tensor y{x.shape, {}};
    y.shape[static_cast<std::size_t>(axis)] = to - from;
    std::int64_t inner = 1;
    for (std::size_t i = static_cast<std::size_t>(axis) + 1; i < x.shape.size(); ++i) inner *= x.shape[i];
    for (auto first = x.v.begin(); first != x.v.end(); first += n * inner) {
      y.v.insert(y.v.end(), first + from * inner, first + to * inner);
    }
    return y;
  }
  static Tensor concatenated(const std::vector<const Tensor*>& in, std::size_t axis) {
    Tensor y{in[0]->shape, {}};
    y.shape[axis] = 0;
    for (const Tensor* x : in) y.shape[axis] += x->shape[axis];
    std::int64_t outer = 1;
    for (std::size_t i = 0; i < axis; ++i) outer *= y.shape[i];
    for (std::int64_t i = 0; i < outer; ++i) {
      for (const Tensor* x : in) {
        const std::int64_t n = x->size() / outer;
        y.v.insert(y.v.end(), x->v.begin() + i * n, x->v.begin() + (i + 1) * n);
      }
    }
    return y;
  }

  // x (T,B,I) -> (T,D,B,H) of D directions, then h and c (D,B,H) after the last step: gates in ONNX's order i, o, f, g.
  static std::vector<Tensor> lstm(const std::vector<const Tensor*>& in, const std::vector<Attribute>& attributes) {
    const Tensor &x = *in.at(0), &w = *in.at(1), &r = *in.at(2), &bias = *in.at(3);
    const std::int64_t T = x.dim(0), B = x.dim(1), I = x.dim(2), H = r.dim(2), D = w.dim(0);
    EXPECT_EQ(x.dim(2), w.dim(2));
    std::vector<std::string> activations{"Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Tanh"};
    for (const Attribute& a : attributes) {
      if (std::string(a.name) == "activations") activations = a.strings;
      if (std::string(a.name) == "direction") {
        EXPECT_EQ(a.strings.at(0), "bidirectional");
        EXPECT_EQ(D, 2);
      }
      if (std::string(a.name) == "activation_alpha") {
        EXPECT_EQ(a.floats, std::vector<float>(4, 1.0f));
      }
      if (std::string(a.name) == "activation_beta") {
        EXPECT_EQ(a.floats, std::vector<float>(4, 0.0f));
      }
    }
    const auto bend = [&](std::int64_t direction, int which, double z) {
      const std::string& name = activations.at(static_cast<std::size_t>(3 * direction + which));
      if (name == "Sigmoid") return 1.0 / (1.0 + std::exp(-z));
      EXPECT_TRUE(name == "Tanh" || name == "Affine") << name;
      return name == "Tanh" ? std::tanh(z) : z;
    };
    Tensor y{{T, D, B, H}, std::vector<double>(static_cast<std::size_t>(T * D * B * H))};
    Tensor last_h{{D, B, H}, {}}, last_c{{D, B, H}, {}};
    for (std::int64_t n = 0; n < D * B; ++n) {
      const std::int64_t direction = n / B, b = n % B;
      std::vector<double> h(static_cast<std::size_t>(H)), c(h), z(static_cast<std::size_t>(4 * H));
      if (in.size() > 6) {
        std::copy_n(in[5]->v.begin() + n * H, H, h.begin());
        std::copy_n(in[6]->v.begin() + n * H, H, c.begin());
      }
      for (std::int64_t step = 0; step < T; ++step) {
        const std::int64_t t = direction == 0 ? step : T - 1 - step;
        for (std::int64_t k = 0; k < 4 * H; ++k) {
          const std::int64_t row = direction * 4 * H + k;
          double sum = bias.v[direction * 8 * H + k] + bias.v[direction * 8 * H + 4 * H + k];
          for (std::int64_t i = 0; i < I; ++i) sum += w.v[row * I + i] * x.v[(t * B + b) * I + i];
          for (std::int64_t i = 0; i < H; ++i) sum += r.v[row * H + i] * h[i];
          z[k] = sum;
        }
        for (std::int64_t k = 0; k < H; ++k) {
          c[k] = bend(direction, 0, z[2 * H + k]) * c[k] + bend(direction, 0, z[k]) * bend(direction, 1, z[3 * H + k]);
          h[k] = bend(direction, 0, z[H + k]) * bend(direction, 2, c[k]);
          y.v[((t * D + direction) * B + b) * H + k] = h[k];
        }
      }
      last_h.v.insert(last_h.v.end(), h.begin(), h.end());
      last_c.v.insert(last_c.v.end(), c.begin(), c.end());
    }
    return {std::move(y), std::move(last_h), std::move(last_c)};
  }

  static Tensor mean_of_last(const Tensor& x) {
    Tensor y{x.shape, {}};
    const std::int64_t n = y.shape.back();
    y.shape.back() = 1;
    for (std::int64_t at = 0; at < x.size(); at += n) {
      double sum = 0.0;
      for (std::int64_t i = 0; i < n; ++i) sum += x.v[static_cast<std::size_t>(at + i)];
      y.v.push_back(sum / static_cast<double>(n));
    }
    return y;
  }

  // The largest of each window of the last axis, or where it is: the first of equals.
  static Tensor windows(const Tensor& x, std::int64_t window, bool position) {
    Tensor y{x.shape, {}};
    y.shape.back() = x.dim(-1) / window;
    for (std::int64_t at = 0; at < x.size(); at += window) {
      const auto first = x.v.begin() + at, most = std::max_element(first, first + window);
      y.v.push_back(position ? static_cast<double>(most - first) : *most);
    }
    return y;
  }

  template <class Attributes>
  static Tensor compute(const std::string& op, const std::vector<const Tensor*>& in, Attributes attribute) {
    const Tensor& x = *in.at(0);
    if (op == "Abs") return map(x, [](double v) { return std::abs(v); });
    if (op == "Relu") return map(x, [](double v) { return std::max(0.0, v); });
    if (op == "Sigmoid") return map(x, [](double v) { return 1.0 / (1.0 + std::exp(-v)); });
    if (op == "Tanh") return map(x, [](double v) { return std::tanh(v); });
    if (op == "Floor") return map(x, [](double v) { return std::floor(v); });
    if (op == "Softplus") return map(x, [](double v) { return v > 30.0 ? v : std::log1p(std::exp(v)); });
    if (op == "Cast") return x;
    if (op == "Clip") return map(x, [&](double v) { return std::clamp(v, in.at(1)->v[0], in.at(2)->v[0]); });
    if (op == "Add") return broadcast(x, *in.at(1), [](double a, double b) { return a + b; });
    if (op == "Sub") return broadcast(x, *in.at(1), [](double a, double b) { return a - b; });
    if (op == "Mul") return broadcast(x, *in.at(1), [](double a, double b) { return a * b; });
    if (op == "Div") {  // of whole numbers
      return broadcast(x, *in.at(1), [](double a, double b) { return std::floor(a / b); });
    }
    if (op == "Shape") return {{std::ssize(x.shape)}, {x.shape.begin(), x.shape.end()}};
    if (op == "Pad") return padded(x, in.at(1)->v);
    if (op == "Equal") return broadcast(x, *in.at(1), [](double a, double b) { return a == b ? 1.0 : 0.0; });
    if (op == "MatMul") return multiply(x, *in.at(1));
    if (op == "MaxPool") return windows(x, attribute("kernel_shape", {1})[0], false);
    if (op == "ArgMax") return windows(x, x.dim(-1), true);
    const Ints pads = attribute("pads", {0, 0});
    if (op == "Conv") {
      return convolve(x, *in.at(1), in.size() > 2 ? in[2] : nullptr, pads, attribute("group", {1})[0],
                      attribute("dilations", {1})[0]);
    }
    if (op == "ConvTranspose") return transposed_convolution(x, *in.at(1), *in.at(2), pads);
    if (op == "Slice") {
      const auto bound = [&](std::size_t i) { return static_cast<std::int64_t>(std::min(in.at(i)->v[0], 1e15)); };
      if (in.size() > 4) {  // the whole of the last axis, from its end
        EXPECT_TRUE(bound(1) == -1 && in[2]->v[0] < -1e15 && bound(3) == std::ssize(x.shape) - 1 && bound(4) == -1);
        return backwards(x);
      }
      return slice(x, bound(1), bound(2), bound(3));
    }
    if (op == "Concat") return concatenated(in, static_cast<std::size_t>(attribute("axis", {})[0]));
    if (op == "ReduceMean" && attribute("axes", {}) == Ints{std::ssize(x.shape) - 1}) return mean_of_last(x);
    if (op == "Transpose") return transposed(x, attribute("perm", {}));
    Tensor y = x;
    if (op == "Unsqueeze") {
      y.shape.insert(y.shape.begin() + static_cast<std::ptrdiff_t>(in.at(1)->v[0]), 1);
      return y;
    }
    if (op == "Squeeze") {
      EXPECT_EQ(y.dim(static_cast<int>(in.at(1)->v[0])), 1);
      y.shape.erase(y.shape.begin() + static_cast<std::ptrdiff_t>(in.at(1)->v[0]));
      return y;
    }
    if (op == "Reshape") {
      y.shape.clear();
      for (std::size_t i = 0; i < in.at(1)->v.size(); ++i) {
        const auto n = static_cast<std::int64_t>(in[1]->v[i]);
        y.shape.push_back(n == 0 ? x.shape[i] : n);
      }
      std::int64_t others = 1;
      for (const std::int64_t n : y.shape) others *= n < 0 ? 1 : n;
      for (std::int64_t& n : y.shape) n = n < 0 ? x.size() / others : n;
      return y;
    }
    if (op == "Gather") {
      y = *in.at(1);
      for (double& v : y.v) v = x.v.at(static_cast<std::size_t>(v));
      return y;
    }
    throw Error("the operator '{}' is not one that is known here", op);
  }

  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> next_;
};

}  // namespace cafx
