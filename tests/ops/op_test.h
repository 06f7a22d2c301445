// tests/ops/op_test.h -- what every test of an op stands on: buffers that notice, the tolerances, the instruction sets.
//
//   Buffers have exactly the size asked for, hold NaN before the call and a pattern on both sides, which is checked
//   when they go. Data stands at odd multiples of four bytes, since no op's contract asks for more on a CPU; scratch at
//   64. With CAFX_TEST_DEVICE=cuda the one context is the GPU's, and buffers lie where host and device can read them.
//   Random numbers are floats held in double, so that oracle and op read the same values.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "kernels/device/memory.h"
#include "tests/ops/managed.h"
#include "tests/reference/reference.h"

namespace cafx::op_test {

using reference::Positions;
using reference::Vec;

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline constexpr Activation kActivations[] = {Activation::kIdentity, Activation::kRelu, Activation::kTanh,
                                              Activation::kSoftplus};

// The GPU, opened once; where there is none every test of the program is skipped (managed.cpp).
inline const Context& cuda_context() {
  static const Context context = [] {
    Context c;
    use_cuda(c);
    return c;
  }();
  return context;
}
// What the GPU was asked to do is done.
inline void wait() {
  if (on_cuda()) synchronize(cuda_context());
}

// One context for each instruction set that this build and this processor have; or the GPU's.
inline std::vector<Context> contexts() {
  if (on_cuda()) {  // as it trains; DNN-SAAF by its plain twin; convolutions by cuDNN
    Context own = cuda_context(), twin = cuda_context(), library = cuda_context();
    own.use_cudnn = twin.use_cudnn = false;
    twin.fuse_dnn = false;
    library.use_cudnn = true;
    return {own, twin, library};
  }
  std::vector<Context> all;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    try {
      Context context;
      context.isa = parse_isa(to_string(isa));
      all.push_back(context);
    } catch (const Error&) {
      continue;  // not in this build or not on this processor
    }
  }
  return all;
}

inline Vec random(long n, std::uint64_t seed, double lo = -1.0, double hi = 1.0) {
  Vec x(static_cast<std::size_t>(n));
  const Rng rng{seed, 0};
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(lo + (hi - lo) * rng.uniform(i));
  return x;
}

// What an op gets to see of results in double.
inline Vec as_floats(Vec x) {
  for (double& value : x) value = static_cast<float>(value);
  return x;
}

// A block of bytes with watched borders.
class Bytes {
 public:
  // Not inlined: the compiler would warn of sizes that only the refused calls could ask for.
  [[gnu::noinline]] explicit Bytes(std::size_t size, std::size_t shift = 0) : size_(size) {
    if (on_cuda()) {  // the virtual GPU and compute-sanitizer watch the borders to the byte
      managed_ = static_cast<unsigned char*>(managed_allocate(size));
      at_ = managed_;
      std::memset(at_, 0xFF, size);
      return;
    }
#if defined(__SANITIZE_ADDRESS__)
    all_.assign(size, 0xFF);  // the sanitizer watches the borders, reads too
    at_ = all_.data();
    (void)shift;
#else
    all_.assign(size + 4 * kBorder, kPattern);
    const auto address = reinterpret_cast<std::uintptr_t>(all_.data());
    at_ = all_.data() + kBorder + (kBorder - address % kBorder) % kBorder + shift;
    std::memset(at_, 0xFF, size);  // as floats: NaN
#endif
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes() {
    if (managed_) {
      wait();
      managed_free(managed_);
      return;
    }
    for (const unsigned char* p = all_.data(); p != all_.data() + all_.size(); ++p) {
      if (p >= at_ && p < at_ + size_) continue;
      if (*p != kPattern) {
        ADD_FAILURE() << "written outside: byte " << (p - at_) << " of a block of " << size_;
        return;
      }
    }
  }
  void* get() { return at_; }
  std::size_t size() const { return size_; }

 private:
  unsigned char* managed_ = nullptr;
  static constexpr std::size_t kBorder = 64;
  static constexpr unsigned char kPattern = 0xA5;
  std::vector<unsigned char> all_;
  unsigned char* at_;
  std::size_t size_;
};

// Floats on such a block.
class Floats {
 public:
  explicit Floats(const Vec& values) : bytes_(4 * values.size(), 4), n_(values.size()) {
    for (std::size_t i = 0; i < n_; ++i) data()[i] = static_cast<float>(values[i]);
  }
  Floats(std::size_t n, float fill) : bytes_(4 * n, 4), n_(n) { std::fill(data(), data() + n, fill); }
  float* data() {  // for the host
    wait();
    return static_cast<float*>(bytes_.get());
  }
  operator float*() { return static_cast<float*>(bytes_.get()); }  // for an op
  std::size_t size() const { return n_; }
  Vec values() { return Vec(data(), data() + n_); }

 private:
  Bytes bytes_;
  std::size_t n_;
};

// Of a number that fp16 has.
inline std::uint16_t bits_of_fp16(float x) {
  const float size = std::abs(x);
  const int exponent = size < 0x1p-14f ? -15 : std::ilogb(size);
  const float steps = exponent == -15 ? size * 0x1p24f : std::ldexp(size, 10 - exponent) - 1024.0f;
  return static_cast<std::uint16_t>((std::signbit(x) ? 0x8000 : 0) + (exponent + 15) * 1024 + static_cast<int>(steps));
}

// Puts a number of the format at its place in a Stored tensor.
inline void store(const Context& context, void* tensor, std::size_t i, double value) {
  const auto x = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  auto* at = static_cast<unsigned char*>(tensor) + stored_bytes(context) * i;
  if (stored_bytes(context) == sizeof(float)) {
    std::memcpy(at, &bits, 4);
    return;
  }
  const bool fp16 = context.precision == Precision::kFp16;
  const auto half = fp16 ? bits_of_fp16(x) : static_cast<std::uint16_t>(bits >> 16);
  EXPECT_TRUE(std::isnan(x) || (fp16 ? value_of_fp16(half) == x : (bits & 0xffffu) == 0))
      << x << " is no number of the format";
  std::memcpy(at, &half, 2);
}

// A Stored tensor as the context lays it down: of exactly so many bytes.
class StoredNumbers {
 public:
  StoredNumbers(const Context& context, std::size_t n)
      : context_(context), bytes_(stored_bytes(context) * n, stored_bytes(context)), n_(n) {}
  StoredNumbers(const Context& context, const Vec& values) : StoredNumbers(context, values.size()) {
    for (std::size_t i = 0; i < n_; ++i) store(context, bytes_.get(), i, values[i]);
  }
  operator Stored*() { return bytes_.get(); }
  std::size_t size() const { return n_; }
  Vec values() {
    wait();
    const std::vector<float> floats = stored_values(context_, bytes_.get(), n_);
    return Vec(floats.begin(), floats.end());
  }

 private:
  Context context_;
  Bytes bytes_;
  std::size_t n_;
};

// Anything else that host and device share.
template <class T>
class Items {
 public:
  explicit Items(const std::vector<T>& values) : Items(values.size()) {
    std::copy(values.begin(), values.end(), data());
  }
  explicit Items(std::size_t n) : bytes_(sizeof(T) * n, sizeof(T) == 4 ? 4 : 0), n_(n) {}
  T* data() {
    wait();
    return static_cast<T*>(bytes_.get());
  }
  operator T*() { return static_cast<T*>(bytes_.get()); }
  T* begin() { return data(); }
  T* end() { return data() + n_; }
  std::size_t size() const { return n_; }
  std::vector<T> values() { return {begin(), end()}; }

 private:
  Bytes bytes_;
  std::size_t n_;
};
using Ints = Items<std::int32_t>;

// Float CPU against double: 1e-6 max|ref| + 1e-5 |ref|, for every element; on a GPU ten times that. `start` is what an
// accumulated gradient held before the call; the rounding of sums that carry it along is allowed for.
struct Tolerance {
  double of_max = 1e-6, of_value = 1e-5;
};
// A number that is NaN in `want` is not to be written: it is what it was, `untouched`.
inline void expect_values(const Vec& got, const Vec& want, const std::string& what, float start, Tolerance tolerance,
                          const std::function<double(std::size_t)>& untouched) {
  ASSERT_EQ(got.size(), want.size()) << what;
  if (on_cuda()) tolerance = {10 * tolerance.of_max, 10 * tolerance.of_value};
  double largest = 0;
  for (const double r : want) largest = std::isnan(r) ? largest : std::max(largest, std::abs(r));
  long wrong = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(want[i])) {
      const double was = untouched ? untouched(i) : 0.0;
      if (!(untouched && (got[i] == was || (std::isnan(got[i]) && std::isnan(was)))) && ++wrong == 1) {
        ADD_FAILURE() << what << "[" << i << "] is written, though nothing of it lies there";
      }
      continue;
    }
    const double expected = want[i] + start, err = std::abs(got[i] - expected);
    const double tol = tolerance.of_max * largest + tolerance.of_value * std::abs(want[i]) + 2e-5 * start;
    if (!(err <= tol) && ++wrong == 1) {
      ADD_FAILURE() << what << "[" << i << "] is " << got[i] << ", expected " << expected << " within " << tol;
    }
  }
  if (wrong > 1) ADD_FAILURE() << what << ": " << wrong << " of " << want.size() << " are outside";
}
inline void expect_near(Floats& got, const Vec& ref, const std::string& what, float start = 0.0f,
                        Tolerance tolerance = {}) {
  expect_values(got.values(), ref, what, start, tolerance, {});
}

inline void expect_same_bits(const float* a, const float* b, std::size_t n, const std::string& what) {
  wait();
  for (std::size_t i = 0; i < n; ++i) {
    if (std::memcmp(a + i, b + i, sizeof(float)) != 0) {
      ADD_FAILURE() << what << "[" << i << "]: " << a[i] << " and " << b[i] << " differ";
      return;
    }
  }
}

// What an accumulated gradient holds before the call: 0 for the sharp comparison, 9 to prove the +=.
inline constexpr float kStarts[] = {0.0f, 9.0f};

inline std::string label(const Context& context) {
  if (context.device == Device::kCuda) {
    return std::string("CUDA") + (context.fuse_dnn ? "" : ", plain DNN-SAAF") +
           (context.use_cudnn.value_or(false) ? ", cuDNN" : "");
  }
  return std::string("instruction set ") + to_string(context.isa);
}

}  // namespace cafx::op_test
