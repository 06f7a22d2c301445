// tests/models/graph_evaluator.h -- computes a graph as it is built, in double precision, after the definitions of
// ONNX. It knows the operators that models use and fails on any other.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
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
    const std::string op = type;
    std::vector<const Tensor*> in;
    for (const std::string& n : names) in.push_back(&at(n));
    const auto attribute = [&](const char* name, Ints otherwise) {
      for (const Attribute& a : attributes) {
        if (std::string(a.name) == name) return a.ints;
      }
      return otherwise;
    };
    if (op == "LSTM") {
      set(output, bilstm(*in.at(0), *in.at(1), *in.at(2), *in.at(3), attributes));
    } else {
      set(output, compute(op, in, attribute));
    }
    return output;
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
  static Tensor convolve(const Tensor& x, const Tensor& w, const Tensor* bias, const Ints& pads, std::int64_t group) {
    const std::int64_t B = x.dim(0), T = x.dim(2), O = w.dim(0), I = w.dim(1), K = w.dim(2);
    const std::int64_t made = T + pads[0] + pads[1] - K + 1;
    Tensor y{{B, O, made}, {}};
    for (std::int64_t b = 0; b < B; ++b) {
      for (std::int64_t o = 0; o < O; ++o) {
        for (std::int64_t t = 0; t < made; ++t) {
          double sum = bias ? bias->v[static_cast<std::size_t>(o)] : 0.0;
          for (std::int64_t i = 0; i < I; ++i) {
            const std::int64_t channel = o / (O / group) * I + i;
            for (std::int64_t k = 0; k < K; ++k) {
              const std::int64_t at = t + k - pads[0];
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

  // Elements [from, to) of axis 1, or tensors one after another along it.
  static Tensor slice(const Tensor& x, std::int64_t from, std::int64_t to) {
    Tensor y{x.shape, {}};
    y.shape[1] = to - from;
    const std::int64_t inner = x.size() / (x.dim(0) * x.dim(1));
    for (std::int64_t i = 0; i < x.dim(0); ++i) {
      const auto first = x.v.begin() + i * x.dim(1) * inner;
      y.v.insert(y.v.end(), first + from * inner, first + to * inner);
    }
    return y;
  }
  static Tensor concatenated(const std::vector<const Tensor*>& in) {
    Tensor y{in[0]->shape, {}};
    y.shape[1] = 0;
    for (const Tensor* x : in) y.shape[1] += x->dim(1);
    for (std::int64_t i = 0; i < y.shape[0]; ++i) {
      for (const Tensor* x : in) {
        const std::int64_t n = x->size() / x->dim(0);
        y.v.insert(y.v.end(), x->v.begin() + i * n, x->v.begin() + (i + 1) * n);
      }
    }
    return y;
  }

  // x (T,B,I) -> (T,2,B,H): gates in ONNX's order i, o, f, g.
  static Tensor bilstm(const Tensor& x, const Tensor& w, const Tensor& r, const Tensor& bias,
                       const std::vector<Attribute>& attributes) {
    const std::int64_t T = x.dim(0), B = x.dim(1), I = x.dim(2), H = r.dim(2);
    EXPECT_EQ(x.dim(2), w.dim(2));
    std::vector<std::string> activations{"Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Tanh"};
    for (const Attribute& a : attributes) {
      if (std::string(a.name) == "activations") activations = a.strings;
      if (std::string(a.name) == "direction") {
        EXPECT_EQ(a.strings.at(0), "bidirectional");
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
    Tensor y{{T, 2, B, H}, std::vector<double>(static_cast<std::size_t>(T * 2 * B * H))};
    for (std::int64_t n = 0; n < 2 * B; ++n) {
      const std::int64_t direction = n / B, b = n % B;
      std::vector<double> h(static_cast<std::size_t>(H)), c(h), z(static_cast<std::size_t>(4 * H));
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
          y.v[((t * 2 + direction) * B + b) * H + k] = h[k];
        }
      }
    }
    return y;
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
    if (op == "Equal") return broadcast(x, *in.at(1), [](double a, double b) { return a == b ? 1.0 : 0.0; });
    if (op == "MatMul") return multiply(x, *in.at(1));
    if (op == "MaxPool") return windows(x, attribute("kernel_shape", {1})[0], false);
    if (op == "ArgMax") return windows(x, x.dim(-1), true);
    const Ints pads = attribute("pads", {0, 0});
    if (op == "Conv") return convolve(x, *in.at(1), in.size() > 2 ? in[2] : nullptr, pads, attribute("group", {1})[0]);
    if (op == "ConvTranspose") return transposed_convolution(x, *in.at(1), *in.at(2), pads);
    if (op == "Slice" && in.at(3)->v[0] == 1) {
      return slice(x, static_cast<std::int64_t>(in.at(1)->v[0]), static_cast<std::int64_t>(in.at(2)->v[0]));
    }
    if (op == "Concat" && attribute("axis", {}) == Ints{1}) return concatenated(in);
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
};

}  // namespace cafx
