// models/play/foreign.h -- weights that other programs wrote, and metadata that other people read.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/base/safetensors.h"

namespace cafx {

// Tensors of F16, BF16 and F64 become F32, rounded to nearest; a note says how many and of what. Others stay.
void convert_to_float32(Safetensors&, std::vector<std::string>& notes);

// Takes off what stands before every one of the `expected` names, as wrappers of PyTorch put it there ("model.",
// "module.", "_orig_mod."), with a note that names it. Where the expected names are there, or no prefix makes them so,
// nothing changes.
void take_off_prefix(Safetensors&, const std::vector<std::string>& expected, std::vector<std::string>& notes);

// Metadata without the places where files lay on the machine that made it: of every absolute path, as a value or within
// JSON, the last name is kept.
std::map<std::string, std::string> without_paths(std::map<std::string, std::string> metadata);

}  // namespace cafx
