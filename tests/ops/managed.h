// tests/ops/managed.h -- memory that host and GPU both read, for the tests of ops on CUDA.
#pragma once

#include <cstddef>

namespace cafx::op_test {

bool on_cuda();  // CAFX_TEST_DEVICE=cuda
void* managed_allocate(std::size_t bytes);
void managed_free(void*);

}  // namespace cafx::op_test
