// host/eval/cholesky.h -- small systems of linear equations, as fits by least squares have them.
#pragma once

#include <vector>

namespace cafx {

// Solves A x = b for a symmetric positive definite A (n, n), of which the lower half is read: b becomes x, A is
// overwritten. False where A is not positive definite.
bool solve_positive(std::vector<double>& a, std::vector<double>& b, int n);

}  // namespace cafx
