// host/export/lv2_bundle.h -- a model as an LV2 plugin of its own: a bundle with the player's program, the model, and a
// description with a port for each knob, named, with its range, unit and positions.
//
//   FOLDER.lv2/  manifest.ttl, cafx.ttl, plugin.uri, model.safetensors, cafx.so
//   Address      "urn:cafx:model:" and a hash of type, config and weights: the same model has the same everywhere
//   Ports        those of the player (rt/lv2/cafx.ttl), then "knob_NAME" for each knob
//   Program      copied from the player's bundle, which is looked for in the folder of the build, under the prefix that
//                cafx is installed in, in LV2_PATH and where hosts look by default
//   Errors       Error where no player is found, naming the places; where the path exists and is not such a bundle;
//                over 64 knobs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/play/weights_file.h"

namespace cafx {

std::string why_not_lv2(const Model&);
void save_lv2(const std::filesystem::path&, const ModelFile&, const std::string& name);

// The two descriptions, for a model of this address.
std::string lv2_manifest(const std::string& uri);
std::string lv2_description(const Model&, const std::string& uri, const std::string& name);
std::string lv2_uri(const Model&);

}  // namespace cafx
