// host/report/seeds.h -- one self-contained HTML page for the same training from several seeds: the numbers of each,
// their mean and interval, how each learned.
#pragma once

#include <string>
#include <vector>

namespace cafx {

struct SeedsInput {
  std::string title;                     // the folder's name
  std::string command;                   // that trains them again
  std::string result_json;               // of the folder, as `cafx train --seeds` leaves it
  std::string config_toml;               // of the first seed
  std::string data_json;                 // of the first seed
  std::vector<std::string> metrics_csv;  // of each seed, in the order of the result; empty: no curve
  bool links = false;                    // the page lies in the folder of the seeds' folders
};

// Error where the result is none of several seeds.
std::string seeds_html(const SeedsInput&);

}  // namespace cafx
