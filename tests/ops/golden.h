// tests/ops/golden.h -- reads the files that tests/golden/make_golden.py wrote with PyTorch.
#pragma once

#include <filesystem>

#include "kernels/base/safetensors.h"
#include "tests/ops/op_test.h"

namespace cafx::op_test {

class Golden {
 public:
  explicit Golden(const std::string& name)
      : path_(std::filesystem::path(CAFX_GOLDEN_DIR) / name), content_(read_safetensors(path_)) {}

  const std::string& metadata(const std::string& key) const { return content_.metadata.at(key); }
  bool has(const std::string& name) const { return content_.tensors.count(name) != 0; }
  std::vector<int> shape(const std::string& name) const {
    const auto& s = content_.tensors.at(name).shape;
    return {s.begin(), s.end()};
  }
  Vec values(const std::string& name) const {
    const Tensor& t = content_.tensors.at(name);
    const float* p = content_.floats(name, t.shape, path_.string());
    return Vec(p, p + t.bytes.size() / sizeof(float));
  }

 private:
  std::filesystem::path path_;
  Safetensors content_;
};

}  // namespace cafx::op_test
