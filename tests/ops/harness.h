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
//     - on a GPU, of each of 1, 3 and 8 members side by side, with inputs of their own
//     - optional outputs: with each of them null in turn, the others keep their bits
//     - outputs that may lie in place of an input: there they have the same bits
//   expect_refused checks that a call with sizes outside the contract throws CheckError.
//
//     check_op("T=17", {{"x", x}, {"w", w}}, {sets("y", oracle's y), adds("dw", oracle's dw)},
//              by_name(op, "y", "dw", "x", "w", "scratch", d), bytes_of(op_scratch, d));
//     expect_refused({OpDims{0, 1}, {1, 0}}, op, op_scratch);
#pragma once

#include <array>
#include <bit>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/base/thread_pool.h"
#include "kernels/device/graph.h"
#include "kernels/device/members.h"
#include "tests/ops/op_test.h"

namespace cafx::op_test {

enum class Kind { kFloats, kInts, kDoubles, kStored, kBytes };
inline std::size_t item_bytes(const Context& context, Kind kind) {
  return kind == Kind::kDoubles ? 8 : kind == Kind::kStored ? stored_bytes(context) : kind == Kind::kBytes ? 1 : 4;
}

// What an op reads. Empty: it gets a null pointer.
struct Input {
  std::string name;
  Vec values;
  Kind kind = Kind::kFloats;
  bool shared = false;  // by all members, as recordings are
};
inline Input shared(Input input) {
  input.shared = true;
  return input;
}
// Of another type.
template <class T>
Input items(const std::string& name, const std::vector<T>& values) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  return {name, Vec(bytes, bytes + sizeof(T) * values.size()), Kind::kBytes};
}
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
    return {b->bytes && !b->null ? (b->of_members ? b->of_members : b->bytes->get()) : nullptr};
  }

 private:
  friend class OpRun;
  struct Buffer {
    std::string name;
    std::unique_ptr<Bytes> bytes;
    std::size_t n;
    Kind kind;
    bool null = false;
    std::string over = {};       // the buffer that stands for this one
    void* of_members = nullptr;  // in the memory of the first of several members, with room for this one's bytes
  };
  const Buffer* find(const std::string& name) const {
    for (const Buffer& b : all) {
      if (b.name == name) return &b;
    }
    return nullptr;
  }
  std::vector<Buffer> all;
};

// Some buffers where an op takes a struct of pointers: group("w", "bias").
template <class... Names>
struct Group {
  std::tuple<Names...> names;
};
template <class... Names>
Group<Names...> group(Names... names) {
  return {{names...}};
}
template <std::size_t N>
struct Pointers {
  std::array<Pointer, N> at;
  template <class T>
  operator T() const {
    return std::apply([](auto... p) { return T{p...}; }, at);
  }
};

inline Pointer argument(const Buffers& b, const char* name) { return b[name]; }
template <class... Names>
Pointers<sizeof...(Names)> argument(const Buffers& b, const Group<Names...>& g) {
  return {std::apply([&](auto... name) { return std::array{b[name]...}; }, g.names)};
}
template <class T>
const T& argument(const Buffers&, const T& value) {
  return value;
}

// A call of an op: the names of its buffers, "scratch" too, in the order of its parameters; all else as it is.
template <class F, class... Args>
auto by_name(F op, Args... args) {
  return [=](const Context& c, const Buffers& b) { op(c, argument(b, args)...); };
}
template <class... Calls>
auto in_turn(Calls... calls) {
  return [=](const Context& c, const Buffers& b) { (calls(c, b), ...); };
}
// The bytes of its scratch, or of another room that it works in.
template <class F, class... Args>
auto bytes_of(F query, Args... args) {
  return [=](const Context& c) -> std::size_t {
    if constexpr (std::is_invocable_v<F, const Context&, Args...>) {
      return query(c, args...);
    } else {
      return query(args...);
    }
  };
}
struct Room {
  std::string name;
  std::function<std::size_t(const Context&)> bytes;
};
// One by the name of "scratch", or several.
struct Rooms {
  Rooms() = default;
  Rooms(std::initializer_list<Room> rooms) : all(rooms) {}
  template <class F>
  requires std::is_invocable_v<F, const Context&> Rooms(F bytes) : all{{"scratch", bytes}} {}
  std::vector<Room> all;
};

struct Op {
  std::string label;  // its sizes
  std::vector<Input> inputs;
  std::vector<Output> outputs;
  std::function<void(const Context&, const Buffers&)> call;
  Rooms rooms = {};
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
    for (const Room& room : op.rooms.all) {
      const std::size_t bytes = room.bytes(context);
      buffers_.all.push_back({room.name, std::make_unique<Bytes>(bytes), bytes, Kind::kFloats});
      if (bytes > 0) std::memset(buffers_.all.back().bytes->get(), scratch_byte, bytes);
    }
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
  // The call for members side by side, each with what its run in `runs` holds; what it left goes there.
  static void call_for_members(const Op& op, const Context& context, std::vector<std::unique_ptr<OpRun>>& runs) {
    MemberSize size = measure_member(context, [&] { runs[0]->call(); });  // scratch that kernels share
    for (const auto& b : runs[0]->buffers_.all) size.bytes += (b.bytes ? b.bytes->size() : 0) + 512;
    MemberMemory members(context, static_cast<int>(runs.size()), size);
    std::vector<std::vector<DeviceArray<unsigned char>>> of_member(runs.size());
    Buffers first;
    for (std::size_t k = 0; k < runs.size(); ++k) {
      runs[k]->restore();
      for (const auto& b : runs[k]->buffers_.all) {
        const std::size_t n = b.bytes ? b.bytes->size() : 0;
        members.allocate_in(static_cast<int>(k), [&] { of_member[k].emplace_back(context, n); });
        copy(context, of_member[k].back().data(), b.bytes ? b.bytes->get() : nullptr, n);
        if (k == 0) {
          first.all.push_back({b.name, b.bytes ? std::make_unique<Bytes>(0) : nullptr, b.n, b.kind});
          first.all.back().of_members = of_member[k].back().data();
        }
      }
    }
    members.for_members(0, static_cast<int>(runs.size()), [&] { op.call(context, first); });
    for (std::size_t k = 0; k < runs.size(); ++k) {
      for (std::size_t i = 0; i < first.all.size(); ++i) {
        const auto& b = runs[k]->buffers_.all[i];
        if (b.bytes) copy(context, b.bytes->get(), of_member[k][i].data(), b.bytes->size());
      }
    }
    wait();
  }

  // Bytes of every output.
  std::vector<std::string> bits() const {
    std::vector<std::string> all;
    for (std::size_t i = op_.inputs.size(); i < op_.inputs.size() + op_.outputs.size(); ++i) {
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
      if (b.kind == Kind::kStored) {
        store(context_, at, k, values[k]);
      } else if (b.kind == Kind::kBytes) {
        at[k] = static_cast<unsigned char>(values[k]);
      } else {
        std::memcpy(at + item * k,
                    b.kind == Kind::kDoubles ? static_cast<const void*>(&values[k])
                    : b.kind == Kind::kInts  ? static_cast<const void*>(&whole)
                                             : &x,
                    item);
      }
    }
  }
  static double get(const Buffers::Buffer& b, std::size_t k) {
    const auto* at = static_cast<const unsigned char*>(b.bytes->get());
    double d;
    float f;
    std::int32_t i;
    if (b.kind == Kind::kBytes) return at[k];
    if (b.kind == Kind::kDoubles) return std::memcpy(&d, at + 8 * k, 8), d;
    if (b.kind == Kind::kInts) return std::memcpy(&i, at + 4 * k, 4), i;
    return std::memcpy(&f, at + 4 * k, 4), static_cast<double>(f);
  }

  const Op& op_;
  Context context_;
  float start_;
  Buffers buffers_;
};

inline void expect_output(const Output& out, const Vec& got, float start) {
  const float base = out.adds ? start : 0.0f;
  expect_values(got, out.want, out.name, base, out.tolerance, [&](std::size_t i) -> double {
    return !out.before.empty() ? static_cast<float>(out.before[i]) : out.adds ? base : kNan;
  });
}

inline void expect_same_outputs(const Op& op, const std::vector<std::string>& got, const std::vector<std::string>& want,
                                const std::string& when, const std::string& without = {}) {
  for (std::size_t i = 0; i < op.outputs.size(); ++i) {
    if (op.outputs[i].name == without) continue;
    EXPECT_TRUE(got[i] == want[i]) << op.outputs[i].name << ": other bits " << when;
  }
}

// Every member gets the bits that it has alone. The inputs of the k-th are the op's, turned over and of half their
// size.
inline void check_members(const Op& op, const Context& context, std::initializer_list<int> counts) {
  for (const int n : counts) {
    std::vector<Op> ops(static_cast<std::size_t>(n), op);
    std::vector<std::unique_ptr<OpRun>> alone, members;
    for (std::size_t k = 0; k < ops.size(); ++k) {
      const double factor = (k % 2 == 1 ? -1.0 : 1.0) * (k % 4 >= 2 ? 0.5 : 1.0);
      for (Input& in : ops[k].inputs) {
        if (in.kind == Kind::kInts || in.kind == Kind::kBytes || in.shared) continue;
        for (double& x : in.values) x *= factor;
      }
      alone.push_back(std::make_unique<OpRun>(ops[k], context, kStarts[1]));
      alone.back()->call();
      members.push_back(std::make_unique<OpRun>(ops[k], context, kStarts[1]));
    }
    OpRun::call_for_members(op, context, members);
    for (std::size_t k = 0; k < ops.size(); ++k) {
      expect_same_outputs(op, members[k]->bits(), alone[k]->bits(), fmt::format("as member {} of {}", k, n));
    }
  }
}

inline void check_op(const Op& op) {
  const std::vector<Context> all = contexts();
  for (const Context& context : all) {
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
      if (&context == &all.front()) check_members(op, context, {1, 8});
      check_members(op, context, {3});
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

inline void check_op(const std::string& label, const std::vector<Input>& inputs, const std::vector<Output>& outputs,
                     const std::function<void(const Context&, const Buffers&)>& call, const Rooms& rooms = {}) {
  check_op(Op{label, inputs, outputs, call, rooms});
}

// Every output but one against what `twin`, another way to the same, makes of it.
inline void expect_twin(const Op& op, const std::function<void(const Context&, const Buffers&)>& twin,
                        const std::string& but, Tolerance tolerance = {}) {
  Op other = op;
  other.call = twin;
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context) + ", " + op.label + ", against its twin");
    OpRun got(op, context, 0.0f), want(other, context, 0.0f);
    got.call();
    want.call();
    for (std::size_t i = 0; i < op.outputs.size(); ++i) {
      if (op.outputs[i].name == but) continue;
      expect_output(sets(op.outputs[i].name, want.output(i), tolerance), got.output(i), 0.0f);
    }
  }
}

// The first `n` outputs of `last` have the bits that they have as the end of a batch.
inline void expect_same_alone(const Op& batch, const Op& last, std::size_t n) {
  for (const Context& context : contexts()) {
    OpRun among(batch, context, 0.0f), alone(last, context, 0.0f);
    among.call();
    alone.call();
    for (std::size_t i = 0; i < n; ++i) {
      const std::string bits = alone.bits()[i];
      EXPECT_TRUE(!bits.empty() && among.bits()[i].ends_with(bits)) << last.outputs[i].name << ", " << label(context);
    }
  }
}

// A pointer for calls that are refused before they read or write.
inline Pointer nowhere() {
  static std::vector<double> memory(4096, 0.0);
  return {memory.data()};
}

// An op's argument where its sizes are to be refused: these sizes, and pointers that are not null.
template <class P, class Dims>
P refused_argument(const Dims& d) {
  if constexpr (std::is_same_v<std::remove_cvref_t<P>, Dims>) {
    return d;
  } else if constexpr (std::is_same_v<std::remove_cvref_t<P>, Context>) {
    static const Context context;
    return context;
  } else if constexpr (std::is_pointer_v<P>) {
    return nowhere();
  } else {  // a struct of pointers
    using Struct = std::remove_cvref_t<P>;
    static_assert(std::is_trivially_copyable_v<Struct> && alignof(Struct) == alignof(void*));
    static const Struct filled = [] {
      std::array<void*, sizeof(Struct) / sizeof(void*)> all;
      all.fill(nowhere().at);
      return std::bit_cast<Struct>(all);
    }();
    return filled;
  }
}
template <class Dims, class R, class... P>
void call_with(R (*op)(P...), const Dims& d) {
  op(refused_argument<P>(d)...);
}
template <class Dims, class F>
void call_with(const F& call, const Dims& d) {
  call(d);
}

// Each of `calls`, an op or what calls one with given sizes, throws CheckError with each of the sizes.
template <class Dims, class... Calls>
void expect_refused(std::span<const Dims> sizes, Calls... calls) {
  int i = 0;
  for (const Dims& d : sizes) {
    int which = 0;
    const auto refused = [&](auto& call) {
      EXPECT_THROW(call_with(call, d), CheckError) << "sizes " << i << ", call " << which;
      ++which;
    };
    (refused(calls), ...);
    ++i;
  }
}
template <class Dims, class... Calls>
void expect_refused(std::initializer_list<Dims> sizes, Calls... calls) {
  expect_refused(std::span<const Dims>(sizes.begin(), sizes.size()), calls...);
}
template <class Dims, std::size_t N, class... Calls>
void expect_refused(const Dims (&sizes)[N], Calls... calls) {
  expect_refused(std::span<const Dims>(sizes), calls...);
}

}  // namespace cafx::op_test
