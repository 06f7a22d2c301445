// host/cli/build_info.h -- what this binary was made of.
#pragma once

#include <string>

namespace cafx {

// "cafx VERSION" in the first line; then the commit, the compiler, and what is built in, a line each.
std::string about_this_build();

}  // namespace cafx
