// datasets/readers/naming.h -- pairs by patterns of names, for data.reader = "pattern" and the table of layouts.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "datasets/readers/name_pattern.h"
#include "datasets/readers/reader.h"

namespace cafx {

// Dry and wet names; without a dry pattern that of wet has a {side}. What both patterns name is equal in a pair; a
// {device}, what only wet names have, and knobs are its setting.
struct Naming {
  NamePattern wet;
  std::optional<NamePattern> dry;

  // Error where the two do not fit together.
  Naming(const std::string& wet_text, const std::string& wet_key, const std::string& dry_text,
         const std::string& dry_key);
  std::string text() const;  // for people
};

// Pairs among the files of a folder, those that data.select takes.
Sources pairs_by_name(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& files,
                      const Naming&, const DataConfig&);
// How many wet files have a dry one.
std::size_t count_pairs(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& files,
                        const Naming&);

// What tells the settings of a device apart, for every reader that knows names or columns of them.
struct Setting {
  std::vector<std::pair<std::string, std::string>> names;  // device, microphone, ...
  std::vector<KnobValue> knobs;

  std::string text() const;  // "device=Muff gain=5"
};
// Which of the settings data.select takes. Error where it names what is not there.
std::vector<bool> selected(const std::vector<Setting>&, const DataConfig&);
// Several settings are refused, since one model cannot sound like all of them, unless it learns the knob: data.knobs.
void check_settings(const std::vector<Setting>&, const DataConfig&, const std::string& where, std::vector<Finding>&);

}  // namespace cafx
