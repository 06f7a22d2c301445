// host/report/parts.h -- what the pages about a run and about several seeds share.
#pragma once

#include <string>

namespace cafx {

// A figure with the digits that tell.
std::string figure_text(double v);

// What the model can hear, what was done to the recordings, what cannot judge: of a run's data.json.
std::string recordings_section(const std::string& data_json);

}  // namespace cafx
