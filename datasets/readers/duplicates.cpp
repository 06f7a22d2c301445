#include "datasets/readers/duplicates.h"

#include <cmath>

#include "datasets/audio_file.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

bool same_audio(const std::filesystem::path& a, const std::filesystem::path& b) {
  constexpr float kRounding = 1.0f / 32768.0f;
  try {
    const Audio x = read_audio(a, 0), y = read_audio(b, 0);
    if (x.sample_rate != y.sample_rate || x.samples.size() != y.samples.size()) return false;
    for (std::size_t i = 0; i < x.samples.size(); ++i) {
      if (!(std::abs(x.samples[i] - y.samples[i]) <= kRounding)) return false;
    }
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

std::filesystem::path choose_of_equal_names(const std::vector<std::filesystem::path>& files, const std::string& name,
                                            std::vector<Finding>& findings) {
  const std::filesystem::path& first = files.front();
  for (std::size_t i = 1; i < files.size(); ++i) {
    const bool same = same_audio(first, files[i]);
    const std::string both = fmt::format("{} and {}", printable(first.string()), printable(files[i].string()));
    findings.push_back({same ? Severity::kInfo : Severity::kRefuse, "names", both, -1.0,
                        fmt::format("are both called {} and {}", printable(name),
                                    same ? "hold the same audio; the first is used" : "hold different audio"),
                        "two endings, two folders, or names that differ in the case of letters alone",
                        same ? "nothing need be done" : "remove or rename the one that does not belong"});
  }
  return first;
}

}  // namespace cafx
