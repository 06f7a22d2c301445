#include "models/play/foreign.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

namespace cafx {

namespace {

float from_half(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16, exponent = h >> 10 & 31u;
  std::uint32_t mantissa = h & 1023u, bits = 0;
  if (exponent == 31) {
    bits = 0x7f800000u | mantissa << 13;
  } else if (exponent > 0) {
    bits = (exponent + 112) << 23 | mantissa << 13;
  } else if (mantissa > 0) {  // below the smallest normal half: a normal float
    std::uint32_t e = 113;
    while (!(mantissa & 1024u)) {
      mantissa <<= 1;
      --e;
    }
    bits = e << 23 | (mantissa & 1023u) << 13;
  }
  bits |= sign;
  float x = 0.0f;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

float from_bfloat(std::uint16_t b) {
  const std::uint32_t bits = static_cast<std::uint32_t>(b) << 16;
  float x = 0.0f;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

template <class From, class Convert>
void convert(Tensor& tensor, Convert to_float) {
  const std::size_t n = tensor.bytes.size() / sizeof(From);
  std::vector<unsigned char> bytes(n * sizeof(float));
  for (std::size_t i = 0; i < n; ++i) {
    From from;
    std::memcpy(&from, tensor.bytes.data() + i * sizeof from, sizeof from);
    const float x = to_float(from);
    std::memcpy(bytes.data() + i * sizeof x, &x, sizeof x);
  }
  tensor.bytes = std::move(bytes);
  tensor.dtype = "F32";
}

bool is_absolute(const std::string& text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (text.size() > 2 && letter(text[0]) && text[1] == ':' && (text[2] == '\\' || text[2] == '/')) return true;
  return text.size() > 1 &&
         (text[0] == '/' || text.rfind("~/", 0) == 0 || text.rfind("\\\\", 0) == 0 || text.rfind("file:/", 0) == 0);
}

std::string last_name(std::string text) {
  while (text.size() > 1 && (text.back() == '/' || text.back() == '\\')) text.pop_back();
  return text.substr(text.find_last_of("/\\") + 1);
}

// Whether anything was changed.
bool clean(nlohmann::ordered_json& json) {
  if (json.is_string()) {
    const auto text = json.get<std::string>();
    if (!is_absolute(text)) return false;
    json = last_name(text);
    return true;
  }
  bool changed = false;
  if (json.is_structured()) {
    for (auto& value : json) changed = clean(value) || changed;
  }
  return changed;
}

}  // namespace

void convert_to_float32(Safetensors& file, std::vector<std::string>& notes) {
  std::map<std::string, int> converted;
  for (auto& [name, tensor] : file.tensors) {
    const std::string from = tensor.dtype;
    if (from == "F16") {
      convert<std::uint16_t>(tensor, from_half);
    } else if (from == "BF16") {
      convert<std::uint16_t>(tensor, from_bfloat);
    } else if (from == "F64") {
      convert<double>(tensor, [](double x) { return static_cast<float>(x); });
    } else {
      continue;
    }
    ++converted[from];
  }
  for (const auto& [from, n] : converted) {
    notes.push_back(fmt::format("{} tensors of {} were converted to F32{}", n, from, from == "F64" ? ", rounded" : ""));
  }
}

void take_off_prefix(Safetensors& file, const std::vector<std::string>& expected, std::vector<std::string>& notes) {
  if (expected.empty() || file.tensors.count(expected.front())) return;
  const std::string& first = expected.front();
  for (const auto& [name, tensor] : file.tensors) {
    if (name.size() <= first.size() + 1 || name.compare(name.size() - first.size() - 1, std::string::npos, "." + first))
      continue;
    const std::string prefix = name.substr(0, name.size() - first.size());
    const bool all = std::all_of(expected.begin(), expected.end(),
                                 [&](const std::string& e) { return file.tensors.count(prefix + e) > 0; });
    if (!all) continue;
    std::map<std::string, Tensor> bare;
    for (auto& [key, value] : file.tensors) {
      const bool has = key.rfind(prefix, 0) == 0;
      bare[has ? key.substr(prefix.size()) : key] = std::move(value);
    }
    file.tensors = std::move(bare);
    notes.push_back(fmt::format("the names of its tensors begin with '{}', which was taken off", prefix));
    return;
  }
}

std::map<std::string, std::string> without_paths(std::map<std::string, std::string> metadata) {
  for (auto& [key, value] : metadata) {
    if (is_absolute(value) && value.find('\n') == std::string::npos) {
      value = last_name(value);
      continue;
    }
    if (value.empty() || (value[0] != '{' && value[0] != '[')) continue;
    auto json = nlohmann::ordered_json::parse(value, nullptr, false);
    if (!json.is_discarded() && clean(json)) {
      value = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    }
  }
  return metadata;
}

}  // namespace cafx
