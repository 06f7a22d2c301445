// tests/ops/harness.h -- the test of an op: declare what it reads, what it should write and how it is called.
//
//   check_op(op) runs it in every context (each instruction set; the GPU's ways) and checks
//     - every output against the oracle, per element: an output that is set starts as NaN, one that is added to as 0
//       and then as 9
//     - that what the oracle leaves as NaN (between rows that are further apart than they are long) is not written
//     - that inputs stay as they are, and the borders of all buffers, which have exactly the size declared; scratch has
//       the size of its query
//     - equal bits of a second call with other contents of the scratch, of three threads and, on a GPU, of a CUDA graph
//       that holds the call: the op neither allocates nor waits
//     - optional outputs: with each of them null in turn, the others keep their bits
//     - outputs that may lie in place of an input: there they have the same bits
//   expect_refused checks that a call with sizes outside the contract throws CheckError.
//
//     check_op({"T=17", {{"x", x}, {"w", w}}, {sets("y", oracle's y), adds("dw", oracle's dw)},
//               [=](const Context& c, const Buffers& b) { op(c, b["y"], b["dw"], b["x"], b["w"], b.scratch, d); },
//               [=](const Context& c) { return op_scratch(c, d); }});
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <utility>

#include "kernels/base/thread_pool.h"
#include "kernels/device/graph.h"
#include "tests/ops/op_test.h"

namespace cafx::op_test {

enum class Kind { kFloats, kInts, kDoubles, kStored };
inline std::size_t item_bytes(const Context& context, Kind kind) {
  return kind == Kind::kDoubles ? 8 : kind == Kind::kStored ? stored_bytes(context) : 4;
}

// What an op reads. Empty: it gets a null pointer.
struct Input {
  std::string name;
  Vec values;
  Kind kind = Kind::kFloats;
};
inline Input ints(const std::string& name, const Positions& values) {
  return {name, Vec(values.begin(), values.end()), Kind::kInts};
}

struct Output {
  std::string name;
  Vec want;           // NaN: not written; empty: null pointer
  bool adds = false;  // += instead of =
  bool optional = false;
  Tolerance tolerance = {};
  Vec before = {};  // what the buffer holds before the call, where it is more than a start
  Kind kind = Kind::kFloats;
  std::string in_place = {};  // the input whose buffer it may be written over
};
inline Output sets(const std::string& name, Vec want, Tolerance tolerance = {}) {
  return {name, std::move(want), false, false, tolerance};
}
inline Output adds(const std::string& name, Vec want, Tolerance tolerance = {}) {
  return {name, std::move(want), true, false, tolerance};
}
inline Output updates(const std::string& name, Vec before, Vec want, Tolerance tolerance = {}) {
  return {name, std::move(want), false, false, tolerance, std::move(before)};
}
inline Output sets_ints(const std::string& name, const Positions& want) {
  return {name, Vec(want.begin(), want.end()), false, false, {0, 0}, {}, Kind::kInts};
}
inline Output sets_doubles(const std::string& name, Vec want, Tolerance tolerance = {}) {
  return {name, std::move(want), false, false, tolerance, {}, Kind::kDoubles};
}
inline Output optional(Output output) {
  output.optional = true;
  return output;
}

inline Output in_place(const std::string& input, Output output) {
  output.in_place = input;
  return output;
}

// A buffer's address as whatever type the op's parameter has.
struct Pointer {
  void* at;
  template <class T>
  operator T*() const {
    return static_cast<T*>(at);
  }
};

// The buffers of one call, by name.
class Buffers {
 public:
  Pointer operator[](const std::string& name) const {
    const Buffer* b = find(name);
    if (!b) throw Error("the test declares no buffer \"" + name + "\"");
    if (!b->over.empty()) return (*this)[b->over];
    return {b->bytes && !b->null ? b->bytes->get() : nullptr};
  }
  Pointer scratch{nullptr};

 private:
  friend class OpRun;
  struct Buffer {
    std::string name;
    std::unique_ptr<Bytes> bytes;
    std::size_t n;
    Kind kind;
    bool null = false;
    std::string over = {};  // the buffer that stands for this one
  };
  const Buffer* find(const std::string& name) const {
    for (const Buffer& b : all) {
      if (b.name == name) return &b;
    }
    return nullptr;
  }
  std::vector<Buffer> all;
};

struct Op {
  std::string label;  // its sizes
  std::vector<Input> inputs;
  std::vector<Output> outputs;
  std::function<void(const Context&, const Buffers&)> call;
  std::function<std::size_t(const Context&)> scratch = {};
};

// One run of an op in one context: buffers, call, what is in them after.
class OpRun {
 public:
  OpRun(const Op& op, const Context& context, float start, int scratch_byte = 0xFF, const std::string& without = {})
      : op_(op), context_(context), start_(start) {
    for (const Input& in : op.inputs) add(in.name, in.kind, in.values);
    for (const Output& out : op.outputs) {
      add(out.name, out.kind, before(out));
      buffers_.all.back().null = out.name == without;
    }
    if (!op.scratch) return;
    const std::size_t bytes = op.scratch(context);
    scratch_ = std::make_unique<Bytes>(bytes);
    if (bytes > 0) std::memset(scratch_->get(), scratch_byte, bytes);
    buffers_.scratch.at = scratch_->get();
  }
  void put_in_place(const Output& out) {
    for (auto& b : buffers_.all) {
      if (b.name == out.name) b.over = out.in_place;
    }
  }
  void call() {
    op_.call(context_, buffers_);
    wait();
  }
  void call_in_graph() {  // once outside, so that libraries have made their plans
    op_.call(context_, buffers_);
    restore();
    Graph graph(context_, [&] { op_.call(context_, buffers_); });
    graph.launch();
    wait();
  }
  Vec values(std::size_t i) const {
    const auto& b = buffers_.all[i];
    if (!b.bytes) return {};
    if (b.kind == Kind::kStored) {
      const std::vector<float> floats = stored_values(context_, b.bytes->get(), b.n);
      return Vec(floats.begin(), floats.end());
    }
    Vec v(b.n);
    for (std::size_t k = 0; k < b.n; ++k) v[k] = get(b, k);
    return v;
  }
  Vec output(std::size_t i) const { return values(op_.inputs.size() + i); }
  // Bytes of every output.
  std::vector<std::string> bits() const {
    std::vector<std::string> all;
    for (std::size_t i = op_.inputs.size(); i < buffers_.all.size(); ++i) {
      const auto& b = buffers_.all[i];
      const void* at = b.over.empty() ? (b.bytes ? b.bytes->get() : nullptr) : buffers_[b.over].at;
      all.push_back(at ? std::string(static_cast<const char*>(at), b.n * item_bytes(context_, b.kind)) : std::string());
    }
    return all;
  }

 private:
  Vec before(const Output& out) const {
    if (!out.before.empty()) return out.before;
    return Vec(out.want.size(), out.adds ? static_cast<double>(start_) : static_cast<double>(kNan));
  }
  void add(const std::string& name, Kind kind, const Vec& values) {
    const std::size_t item = item_bytes(context_, kind);
    auto bytes = values.empty() ? nullptr : std::make_unique<Bytes>(item * values.size(), item);
    buffers_.all.push_back({name, std::move(bytes), values.size(), kind});
    fill(buffers_.all.back(), values);
  }
  void restore() {
    wait();
    for (std::size_t i = 0; i < op_.outputs.size(); ++i) {
      fill(buffers_.all[op_.inputs.size() + i], before(op_.outputs[i]));
    }
  }
  void fill(const Buffers::Buffer& b, const Vec& values) const {
    if (!b.bytes) return;
    auto* at = static_cast<unsigned char*>(b.bytes->get());
    const std::size_t item = item_bytes(context_, b.kind);
    for (std::size_t k = 0; k < b.n; ++k) {
      const auto x = static_cast<float>(values[k]);
      const auto whole = static_cast<std::int32_t>(std::isnan(values[k]) ? -1 : values[k]);
      std::uint32_t word;
      std::memcpy(&word, &x, sizeof word);
      const auto half = static_cast<std::uint16_t>(word >> 16);  // a number of bf16
      const void* from = b.kind == Kind::kDoubles ? static_cast<const void*>(&values[k])
                         : b.kind == Kind::kInts  ? static_cast<const void*>(&whole)
                         : item == 2              ? static_cast<const void*>(&half)
                                                  : static_cast<const void*>(&x);
      std::memcpy(at + item * k, from, item);
    }
  }
  static double get(const Buffers::Buffer& b, std::size_t k) {
    const auto* at = static_cast<const unsigned char*>(b.bytes->get());
    double d;
    float f;
    std::int32_t i;
    if (b.kind == Kind::kDoubles) return std::memcpy(&d, at + 8 * k, 8), d;
    if (b.kind == Kind::kInts) return std::memcpy(&i, at + 4 * k, 4), i;
    return std::memcpy(&f, at + 4 * k, 4), static_cast<double>(f);
  }

  const Op& op_;
  Context context_;
  float start_;
  std::unique_ptr<Bytes> scratch_;
  Buffers buffers_;
};

inline void expect_output(const Output& out, const Vec& got, float start) {
  ASSERT_EQ(got.size(), out.want.size()) << out.name;
  Tolerance tolerance = out.tolerance;
  if (on_cuda()) tolerance = {10 * tolerance.of_max, 10 * tolerance.of_value};
  double largest = 0;
  for (const double r : out.want) largest = std::isnan(r) ? largest : std::max(largest, std::abs(r));
  const double base = out.adds ? static_cast<double>(start) : 0.0;
  long wrong = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(out.want[i])) {
      const double untouched = out.before.empty() ? (out.adds ? base : NAN) : static_cast<float>(out.before[i]);
      if (!(got[i] == untouched || (std::isnan(got[i]) && std::isnan(untouched))) && ++wrong == 1) {
        ADD_FAILURE() << out.name << "[" << i << "] is written, though nothing of it lies there";
      }
      continue;
    }
    const double want = out.want[i] + base, err = std::abs(got[i] - want);
    const double tol = tolerance.of_max * largest + tolerance.of_value * std::abs(out.want[i]) + 2e-5 * base;
    if (!(err <= tol) && ++wrong == 1) {
      ADD_FAILURE() << out.name << "[" << i << "] is " << got[i] << ", expected " << want << " within " << tol;
    }
  }
  if (wrong > 1) ADD_FAILURE() << out.name << ": " << wrong << " of " << got.size() << " are outside";
}

inline void expect_same_outputs(const Op& op, const std::vector<std::string>& got, const std::vector<std::string>& want,
                                const std::string& when, const std::string& without = {}) {
  for (std::size_t i = 0; i < op.outputs.size(); ++i) {
    if (op.outputs[i].name == without) continue;
    EXPECT_TRUE(got[i] == want[i]) << op.outputs[i].name << ": other bits " << when;
  }
}

inline void check_op(const Op& op) {
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context) + ", " + op.label);
    std::vector<std::string> bits;
    for (const float start : kStarts) {
      OpRun run(op, context, start);
      run.call();
      for (std::size_t i = 0; i < op.outputs.size(); ++i) expect_output(op.outputs[i], run.output(i), start);
      for (std::size_t i = 0; i < op.inputs.size(); ++i) {
        const Vec now = run.values(i), &then = op.inputs[i].values;
        const auto same = [](double a, double b) {
          return a == static_cast<float>(b) || (std::isnan(a) && std::isnan(b));
        };
        EXPECT_TRUE(std::equal(now.begin(), now.end(), then.begin(), then.end(), same))
            << op.inputs[i].name << ", an input, is changed";
      }
      bits = run.bits();
    }
    const float start = kStarts[1];
    OpRun again(op, context, start, 0x7E);
    again.call();
    expect_same_outputs(op, again.bits(), bits, "in a second call");
    if (on_cuda()) {
      OpRun recorded(op, context, start);
      recorded.call_in_graph();
      expect_same_outputs(op, recorded.bits(), bits, "in a CUDA graph");
    } else {
      ThreadPool pool(3);
      Context threaded = context;
      threaded.pool = &pool;
      OpRun run(op, threaded, start);
      run.call();
      expect_same_outputs(op, run.bits(), bits, "with three threads");
    }
    for (const Output& out : op.outputs) {
      if (!out.optional || out.want.empty()) continue;
      OpRun run(op, context, start, 0xFF, out.name);
      run.call();
      expect_same_outputs(op, run.bits(), bits, "without " + out.name, out.name);
    }
    for (const Output& out : op.outputs) {
      if (out.in_place.empty()) continue;
      OpRun run(op, context, start);
      run.put_in_place(out);
      run.call();
      expect_same_outputs(op, run.bits(), bits, "with " + out.name + " in place of " + out.in_place);
    }
  }
}

// A pointer for calls that are refused before they read or write.
inline Pointer nowhere() {
  static std::vector<double> memory(4096, 0.0);
  return {memory.data()};
}

// Each of `calls` with each of the sizes throws CheckError.
template <class Dims, class... Calls>
void expect_refused(std::initializer_list<Dims> sizes, Calls... calls) {
  int i = 0;
  for (const Dims& d : sizes) {
    int which = 0;
    const auto refused = [&](auto& call) {
      EXPECT_THROW(call(d), CheckError) << "sizes " << i << ", call " << which;
      ++which;
    };
    (refused(calls), ...);
    ++i;
  }
}

}  // namespace cafx::op_test
