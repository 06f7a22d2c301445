// kernels/base/seal.h -- a checksum of all that a safetensors file holds, in its own metadata as "checksum".
//
//   The format checks lengths alone; a bit that turned on a disk would go on into the training unseen.
//   Checkpoints have one, and so do models that cafx writes.
// Errors   Error where content and checksum differ. A file without one is another program's or older: accepted.
#pragma once

#include <string>

#include "kernels/base/safetensors.h"

namespace cafx {

void seal(Safetensors&);
void check_seal(const Safetensors&, const std::string& file, const std::string& cure = "");
void unseal(Safetensors&);  // before its content changes

}  // namespace cafx
