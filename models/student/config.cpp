#include "models/student/config.h"

#include <fmt/ranges.h>

#include <numeric>

#include "kernels/base/error.h"

namespace cafx {

Fields describe(StudentConfig& c) {
  return {
      choice("kind", c.kind, {"lstm", "wavenet"}, "recurrent, or dilated convolutions"),
      field("sample_rate", c.sample_rate, 0, 384000,
            "rate the student works at, in Hz; 0: the teacher's, or that of the recordings"),
      field("lstm.hidden", c.hidden, 1, 1024, "hidden units of a layer"),
      field("lstm.layers", c.layers, 1, 16, "layers"),
      field("wavenet.channels", c.channels, "channels of each array of layers"),
      field("wavenet.layers", c.array_layers, "layers of each array"),
      field("wavenet.dilations", c.dilations, "dilation of every layer, all arrays one after the other"),
      field("wavenet.taps", c.taps, 1, 64, "taps of every dilated convolution"),
      field("wavenet.gated", c.gated, "tanh times sigmoid instead of tanh"),
      field("wavenet.head_scale", c.head_scale, 1e-6, 1e6, "factor on the output"),
  };
}

std::vector<std::string> student_presets() {
  std::vector<std::string> names;
  for (const char* kind : {"lstm", "wavenet"}) {
    for (const char* size : {"", "-lite", "-feather", "-nano"}) names.push_back(std::string(kind) + size);
  }
  return names;
}

StudentConfig student_preset(const std::string& name) {
  StudentConfig c;
  const auto lstm = [&](int layers, int hidden) {
    c.layers = layers;
    c.hidden = hidden;
    return c;
  };
  const auto wavenet = [&](int channels) {
    c.kind = "wavenet";
    if (channels == 16) return c;
    c.channels = {channels, channels / 2};
    c.array_layers = {7, 13};
    c.dilations = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
    return c;
  };
  if (name == "lstm") return lstm(1, 24);
  if (name == "lstm-lite") return lstm(2, 8);
  if (name == "lstm-feather") return lstm(1, 16);
  if (name == "lstm-nano") return lstm(1, 12);
  if (name == "wavenet") return wavenet(16);
  if (name == "wavenet-lite") return wavenet(12);
  if (name == "wavenet-feather") return wavenet(8);
  if (name == "wavenet-nano") return wavenet(4);
  throw Error("unknown student '{}'; did you mean '{}'? Known are {}", name, nearest(name, student_presets()),
              fmt::join(student_presets(), ", "));
}

void check(const StudentConfig& c, const std::string& where) {
  if (c.kind != "wavenet") return;
  if (c.channels.empty() || c.channels.size() != c.array_layers.size() || c.channels.size() > 16) {
    throw Error("{}: wavenet.channels has {} numbers and wavenet.layers {}; give one in each for every array, 1 to 16",
                where, c.channels.size(), c.array_layers.size());
  }
  for (const auto& [name, list, most] : {std::tuple("channels", &c.channels, 256),
                                         {"layers", &c.array_layers, 64},
                                         {"dilations", &c.dilations, 65536}}) {
    for (const int value : *list) {
      if (value < 1 || value > most) throw Error("{}: wavenet.{} holds {}; each is 1 to {}", where, name, value, most);
    }
  }
  const int layers = std::accumulate(c.array_layers.begin(), c.array_layers.end(), 0);
  if (layers != static_cast<int>(c.dilations.size())) {
    throw Error("{}: wavenet.layers asks for {} layers, wavenet.dilations holds {}; give one for each layer", where,
                layers, c.dilations.size());
  }
  long context = 0;
  for (const int d : c.dilations) context += static_cast<long>(c.taps - 1) * d;
  if (context > 1 << 20) {
    throw Error("{}: the layers look {} samples back; at most {} are possible, lower wavenet.dilations", where, context,
                1 << 20);
  }
}

}  // namespace cafx
