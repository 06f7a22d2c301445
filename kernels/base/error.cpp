#include "kernels/base/error.h"

namespace cafx {

void check_failed(const char* condition, const char* file, int line, const std::string& values) {
  throw CheckError(fmt::format("{}:{}: {} is false ({})", file, line, condition, values));
}

}  // namespace cafx
