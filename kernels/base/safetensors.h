// kernels/base/safetensors.h -- reads and writes the safetensors format, the one file format for weights and
// checkpoints.
//
//   8 bytes header length N (little-endian u64), N bytes of JSON, then the tensors, row-major, little-endian.
//
// Writing  tensors by alignment, then name, header padded with spaces to a multiple of 8: equal content, equal bytes.
//          To a temporary name beside the target, fsynced, renamed, folder fsynced: a reader sees the old file or the
//          whole new one. Of two writers at once, one waits. Metadata is strings to strings.
// Reading  refuses, naming file and key, what the reference reader refuses: header over 100,000,000 bytes, duplicate
//          keys, holes, overlaps, a last offset that is not the end of the file, a byte count that is not shape x type.
//          No memory is allocated for tensors before the header's sizes fit the file.
// Errors   Error with the file's name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace cafx {

struct Tensor {
  std::string dtype;                 // "F32", "F64", "I64", "U32", "U64", "U8", ...
  std::vector<std::int64_t> shape;   // may be empty: a scalar
  std::vector<unsigned char> bytes;  // product(shape) x size of dtype
};

struct Safetensors {
  std::map<std::string, std::string> metadata;
  std::map<std::string, Tensor> tensors;

  static Tensor from_floats(const float* data, std::vector<std::int64_t> shape);
  // The F32 tensor `name`, checked against `shape`; Error names `file`, the tensor, both shapes.
  const float* floats(const std::string& name, const std::vector<std::int64_t>& shape, const std::string& file) const;
};

Safetensors read_safetensors(const std::filesystem::path& path);
Safetensors parse_safetensors(const unsigned char* data, std::size_t size,
                              const std::string& name);  // for tests, fuzzing
void write_safetensors(const std::filesystem::path& path, const Safetensors& content);

// Writes `bytes` so that `path` holds either its former content or all of the new: temporary name, fsync, rename. A
// link stays a link; a device, pipe or folder is refused.
void write_file_atomically(const std::filesystem::path& path, const void* bytes, std::size_t size);

}  // namespace cafx
