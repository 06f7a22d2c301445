// tests/fuzz/entry_points.h -- the parsers of what comes from outside, as functions of bytes. 1: read, 0: refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "datasets/idmt.h"
#include "host/train/config.h"
#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"
#include "models/cafx/config.h"

namespace cafx {

inline int fuzz_safetensors(const std::uint8_t* data, std::size_t size) {
  try {
    parse_safetensors(data, size, "input");
    return 1;
  } catch (const Error&) {
    return 0;
  }
}

inline int fuzz_toml(const std::uint8_t* data, std::size_t size) {
  ConfigSource source;
  source.toml = std::string(reinterpret_cast<const char*>(data), size);
  source.where = "input";
  try {
    check(make_config(source), "input");
    return 1;
  } catch (const Error&) {
    return 0;
  }
}

// The config in the metadata of a weights file.
inline int fuzz_config_json(const std::uint8_t* data, std::size_t size) {
  CafxConfig config;
  Fields fields = describe(config);
  const auto json = nlohmann::json::parse(data, data + size, nullptr, false);
  if (json.is_discarded()) return 0;
  try {
    set_fields(fields, json, "input");
    check(config, "input");
    return 1;
  } catch (const Error&) {
    return 0;
  }
}

inline int fuzz_idmt_name(const std::uint8_t* data, std::size_t size) {
  return parse_idmt_name(std::string(reinterpret_cast<const char*>(data), size)).has_value();
}

}  // namespace cafx
