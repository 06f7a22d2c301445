// experiments/paper/reproduce.h -- the arguments of `cafx reproduce paper`, and the parts that it trains.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace cafx {

struct ReproduceArguments {
  std::string data, out, device, isa;
  std::string size;   // "quick", "evening", "full"; empty: full where `data` is given
  std::string takes;  // folder of second takes of the wet notes; empty: none
  std::vector<std::string> sweeps, settings;
  std::vector<std::string> presets = {"paper", "default"},
                           parts = {"models", "form", "pretraining", "regularisers", "levels", "split", "both"};
  int hop = 64, threads = 0, slots = 0, shown = 1;
  int notes = 0;                                    // that are made; 0: as the size says
  bool parts_given = false, presets_given = false;  // by the options of these names
  bool plan = false, train_only = false, report_only = false, quiet = false;
};

// A sweep file of the paper as text, where it comes from and the sweep's name.
struct Part {
  std::string text, origin, name;
};
// The files of --sweep, the one of the size, or those of --parts (`models` once for each preset); Error where none is
// chosen.
std::vector<Part> parts_of(const ReproduceArguments&);
// The sweep file with other recordings, and with the settings of --set (TABLE.KEY=VALUE).
std::string with_data(std::string spec, const std::filesystem::path& folder, const std::vector<std::string>& settings);

}  // namespace cafx
