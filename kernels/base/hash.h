// kernels/base/hash.h -- 128-bit hash of content, as 32 hex digits.
//
// Source   XXH3 (xxhash): equal content, equal hash on every machine; not for security.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace cafx {

class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  void add(const void* data, std::size_t size);
  void add(const std::string& text);  // with its length: ("ab", "c") and ("a", "bc") differ
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cafx
