#include "host/cli/build_info.h"

#include "host/cli/commit.h"
#include "host/version.h"

namespace cafx {

std::string about_this_build() {
  const std::string commit = CAFX_COMMIT;
  return std::string("cafx ") + kVersion + "\ncommit       " + (commit.empty() ? "not known" : commit) +
         "\ncompiler     " CAFX_COMPILER "\nCPU kernels  " CAFX_ISA_LIST "\nCUDA         " CAFX_CUDA_TEXT
         "\nONNX export  " CAFX_ONNX_TEXT;
}

}  // namespace cafx
