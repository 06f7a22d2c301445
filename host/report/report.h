// host/report/report.h -- one self-contained HTML page for a run: what was trained, how well, to look at and to hear.
#pragma once

#include <string>

#include "host/eval/eval.h"
#include "models/model.h"

namespace cafx {

struct ReportInput {
  std::string title;        // of the run: its folder's name
  std::string command;      // that makes the model again
  std::string config_toml;  // resolved
  std::string metrics_csv;  // of the run; empty: no learning curve
  std::string result_json;  // of the run; may be empty
  std::string data_json;    // of the run: what was found in the recordings and done to them; may be empty
  Model* model = nullptr;
  const Evaluation* evaluation = nullptr;
};

// The page: no script is needed to read it, nothing is loaded from elsewhere; light and dark, phone and desktop.
std::string report_html(const ReportInput&);

}  // namespace cafx
