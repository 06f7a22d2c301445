// models/play/plugin_bundle.h -- what the LV2 plugin's program and those who write bundles for it agree on.
#pragma once

namespace cafx {

// Of a bundle with a model of its own: its address, in a line, and the model.
inline constexpr const char *kPluginUriFile = "plugin.uri", *kPluginModelFile = "model.safetensors";
inline constexpr int kPluginPorts = 12, kPluginKnobs = 64;  // a model's knobs follow the other ports; at most so many

}  // namespace cafx
