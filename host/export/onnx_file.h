// host/export/onnx_file.h -- a trained model as ONNX: one frame in, one frame out, for any number of frames at a time;
// of a stream any number of samples in, as many out.
//
//   input      "x" (B, frame), float      output "y" (B, frame), float      B is free
//   streams    "x" (B, T), "y" (B, T); what it keeps from call to call are inputs "state.*", and outputs
//              "state.*.next" that are handed back with the next samples. Metadata "state.*": the values at rest of
//              one stream, base64 of little-endian floats. Of a model with knobs: at one position. Metadata "unit": T
//              is a multiple of it (S4 with temporal FiLM); "max_samples": T is at most that (S4). y is of the same
//              samples as x, also where a player is late.
//   operators  the standard ones of opset 13 (IR version 7): Conv, ConvTranspose, MaxPool, MatMul, Gather, ... ;
//              checked by onnx::checker and shape inference before anything is written
//   weights    initializers named as in the safetensors file (conv1d.weight, ...), with their values; the deconvolution
//              uses conv1d.weight itself, so the tie survives a further training
//   SAAF       the closed form of kernels/saaf/saaf_math.h: the segment of each sample, then its polynomial from a
//              table (Gather); O(1) a sample, the largest tensor stays (B, filters, frame)
//   metadata   as of the safetensors file (models/play/weights_file.h), and "window" (how frames become a signal),
//              "opset", "selftest.input" and "selftest.output": one frame, or kSelftestSamples from rest, and what this
//              model makes of it, base64 of little-endian floats
//   Precision  within 1e-5 per sample of `Model::forward`, or the model's player, in onnxruntime. With unpool =
//              positions, two samples of a pooling window that differ by rounding alone may be ordered differently by
//              another library.
//   Errors     Error: built without libonnx; pretrained form; over 2 GB, which the format cannot hold.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "models/model.h"

namespace cafx {

inline constexpr int kOnnxOpset = 13;
inline constexpr int kSelftestSamples = 2048;  // of a stream

// Empty: it can be written; else why not.
std::string why_not_onnx(const Model&);
void save_onnx(const std::filesystem::path&, Model&, const std::map<std::string, std::string>& extra);

}  // namespace cafx
