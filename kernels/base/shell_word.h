// kernels/base/shell_word.h -- what a message tells people to type.
#pragma once

#include <string>

namespace cafx {

// A word for a shell, in quotes where it needs them.
std::string shell_word(const std::string& text);

}  // namespace cafx
