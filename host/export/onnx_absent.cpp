// In place of onnx_file.cpp where libonnx was not found.
#include "host/export/onnx_file.h"
#include "kernels/base/error.h"

namespace cafx {

void save_onnx(const std::filesystem::path& path, CafxModel&, const std::map<std::string, std::string>&) {
  throw Error("{}: this cafx was built without ONNX; install libonnx-dev and libprotobuf-dev and build it again",
              path.string());
}

}  // namespace cafx
