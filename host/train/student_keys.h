// host/train/student_keys.h -- settings of small models under the names that they had before they became types of their
// own: "student.lstm.hidden" is "model.hidden", "train.esr" is "train.loss.esr".
#pragma once

#include <string>

#include "host/train/config.h"

namespace cafx {

std::string modern_key(const std::string& key);
// TOML with a table [student] in today's names; any other text as it is.
std::string modern_toml(const std::string& text, const std::string& where);
// Whether a config has neither preset nor type.
bool names_no_model(const ConfigSource&);

}  // namespace cafx
