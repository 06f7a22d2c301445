#include "kernels/base/seal.h"

#include "kernels/base/error.h"
#include "kernels/base/hash.h"

namespace cafx {

namespace {

constexpr const char* kKey = "checksum";

std::string checksum(const Safetensors& file) {
  Hasher hasher;
  for (const auto& [key, value] : file.metadata) {
    if (key == kKey) continue;
    hasher.add(key);
    hasher.add(value);
  }
  for (const auto& [name, tensor] : file.tensors) {
    hasher.add(name);
    hasher.add(tensor.dtype);
    hasher.add(tensor.shape.data(), tensor.shape.size() * sizeof tensor.shape[0]);
    hasher.add(tensor.bytes.data(), tensor.bytes.size());
  }
  return hasher.hex();
}

}  // namespace

void seal(Safetensors& file) { file.metadata[kKey] = checksum(file); }

void unseal(Safetensors& file) { file.metadata.erase(kKey); }

void check_seal(const Safetensors& file, const std::string& name, const std::string& cure) {
  const auto stated = file.metadata.find(kKey);
  if (stated == file.metadata.end() || stated->second == checksum(file)) return;
  throw Error("{}: is damaged: its content does not have the checksum that it was written with{}", name, cure);
}

}  // namespace cafx
