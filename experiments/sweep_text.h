// experiments/sweep_text.h -- sweep files that an experiment fills in, and files beside the program's source.
#pragma once

#include <filesystem>
#include <string>

namespace cafx {

std::string toml_text(const std::string&);  // a quoted string
// A value in TOML: numbers, lists and booleans unchanged, all else as a string.
std::string toml_value(const std::string& text);
// The sweep file with a setting of its base replaced; `key` is "data.path", `value` is TOML.
std::string with_value(const std::string& spec, const std::string& key, const std::string& value);

// `name` in the current folder, else in the source folder of the build; Error with `cure` where it is in neither.
std::filesystem::path find_source(const std::string& name, const std::string& cure);

}  // namespace cafx
