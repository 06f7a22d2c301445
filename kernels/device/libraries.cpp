#include "kernels/device/libraries.h"

#include <link.h>

#include <filesystem>

namespace cafx {

std::vector<std::string> library_files() {
  std::vector<std::string> files;
  const auto look = [](dl_phdr_info* object, std::size_t, void* out) {
    const std::string name = std::filesystem::path(object->dlpi_name).filename();
    for (const char* stem : {"libcudnn.so", "libcublas.so", "libcublasLt.so", "libnccl.so"}) {
      if (name.rfind(stem, 0) == 0)
        static_cast<std::vector<std::string>*>(out)->push_back(
            std::filesystem::path(object->dlpi_name).lexically_normal());
    }
    return 0;
  };
  dl_iterate_phdr(look, &files);
  return files;
}

#ifndef CAFX_LIBRARIES_AT_RUN_TIME
const std::string& load_libraries() {
  static const std::string none;
  return none;
}
#endif

}  // namespace cafx
