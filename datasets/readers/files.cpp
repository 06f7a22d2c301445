#include "datasets/readers/reader.h"
#include "kernels/base/error.h"

namespace cafx {

Sources find_files(const DataConfig& config) {
  if (config.dry.empty()) throw Error("data.dry is empty; data.reader = \"files\" needs the dry file");
  const bool one_file = config.wet.empty() && config.chain.empty();
  const auto chosen = [](const std::string& channel) { return channel != "auto" && channel != "mean"; };
  if (one_file && !(chosen(config.dry_channel) && chosen(config.wet_channel))) {
    throw Error(
        "data.reader = \"files\" needs data.dry and data.wet (or data.chain); where one file holds dry and wet as its "
        "channels, say which is which, as --set data.dry_channel=left --set data.wet_channel=right");
  }
  refuse_wet_and_chain(config);
  Sources sources;
  const std::filesystem::path dry = config.dry, wet = one_file ? config.dry : config.wet;
  sources.pairs.push_back({note_name(dry.stem().string()), "", dry, wet, ""});
  if (!wet.empty()) tell_swapped(dry, wet, sources.findings);
  return sources;
}

}  // namespace cafx
