// datasets/readers/duplicates.h -- several files where a pair has place for one.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "datasets/finding.h"

namespace cafx {

// The first of the files, in the order given. Where there are several, a finding says so: a note where they hold the
// same audio (up to rounding to 16 bits), a refusal where they differ or one cannot be read.
std::filesystem::path choose_of_equal_names(const std::vector<std::filesystem::path>& files, const std::string& name,
                                            std::vector<Finding>& findings);

}  // namespace cafx
