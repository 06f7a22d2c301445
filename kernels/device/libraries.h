// kernels/device/libraries.h -- cuDNN, cuBLAS and NCCL as they are found at run time.
//
//   A build with CAFX_LIBRARIES_AT_RUN_TIME links none of them, so that the program starts where they are missing: it
//   then loads them when a GPU is first asked for, as the dynamic loader finds them: LD_LIBRARY_PATH, the wheels
//   nvidia-* beside this one (the program's RUNPATH), the system.
#pragma once

#include <string>
#include <vector>

namespace cafx {

// Loads cuBLAS and cuDNN; "" or why they cannot be had and what to install. The same at every call, "" where they are
// linked.
const std::string& load_libraries();

// The files of CUDA's libraries that this process has loaded, as the loader names them.
std::vector<std::string> library_files();

}  // namespace cafx
