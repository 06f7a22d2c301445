// In place of onnx_file.cpp where libonnx was not found.
#include "host/export/onnx_file.h"
#include "kernels/base/error.h"

namespace cafx {

std::string why_not_onnx(const Model&) {
  return "this cafx was built without ONNX; install libonnx-dev and libprotobuf-dev and build it again";
}

void save_onnx(const std::filesystem::path& path, Model& model, const std::map<std::string, std::string>&) {
  throw Error("{}: {}", path.string(), why_not_onnx(model));
}

}  // namespace cafx
