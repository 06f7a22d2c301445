// kernels/base/csv.h -- tables of comma-separated values, as RFC 4180 has them: a cell with a comma, a quote or a line
// end stands in quotes, quotes within are doubled. Lines end with a line feed.
#pragma once

#include <string>
#include <vector>

namespace cafx {

std::string csv_line(const std::vector<std::string>& cells);

}  // namespace cafx
