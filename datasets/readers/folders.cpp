#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "datasets/readers/duplicates.h"
#include "datasets/readers/reader.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

// Names of one side's files, without ending, relative to the folder.
struct Side {
  std::string folder;
  std::map<std::string, std::vector<fs::path>> files;
};

Side list_side(const std::string& folder, std::vector<Finding>& findings) {
  Side side{folder, {}};
  for (const fs::path& path : find_audio_files(folder, &findings)) {
    side.files[path.lexically_relative(folder).replace_extension().string()].push_back(path);
  }
  return side;
}

// What stands for * where the whole name matches the pattern; letters of either case.
std::optional<std::string> match(const std::string& name, const std::string& pattern) {
  const std::string text = lower_case(name), p = lower_case(pattern);
  const std::size_t star = p.find('*');
  const std::string head = p.substr(0, star), tail = p.substr(star + 1);
  if (text.size() < head.size() + tail.size() || text.compare(0, head.size(), head) != 0 ||
      text.compare(text.size() - tail.size(), tail.size(), tail) != 0) {
    return std::nullopt;
  }
  return text.substr(head.size(), text.size() - head.size() - tail.size());
}

class Pairing {
 public:
  Pairing(const DataConfig& config, Side dry, Side wet, std::vector<Finding> findings)
      : config_(config), dry_(std::move(dry)), wet_(std::move(wet)) {
    sources_.findings = std::move(findings);
  }

  // Names that are equal, to the case of letters first; then by what is left of them.
  Sources run() {
    if (!config_.dry_pattern.empty() || !config_.wet_pattern.empty()) {
      pair_by([&](const std::string& s) { return pattern(s, config_.dry_pattern); },
              [&](const std::string& s) { return pattern(s, config_.wet_pattern); });
    } else {
      const bool one_folder = fs::equivalent(dry_.folder, wet_.folder);
      if (!one_folder) {
        const auto exact = [](const std::string& s) { return std::optional(s); };
        const auto folded = [](const std::string& s) { return std::optional(lower_case(s)); };
        pair_by(exact, exact);
        pair_by(folded, folded);
      }
      pair_by_words();
      if (one_folder) forget_the_other_side();
    }
    tell_swapped(dry_.folder, wet_.folder, sources_.findings);
    leave_out_rest();
    std::sort(sources_.pairs.begin(), sources_.pairs.end(),
              [](const Source& a, const Source& b) { return a.dry < b.dry; });
    return std::move(sources_);
  }

 private:
  static std::optional<std::string> pattern(const std::string& name, const std::string& p) {
    return p.empty() ? std::optional(lower_case(name)) : match(name, p);
  }

  template <class DryKey, class WetKey>
  std::size_t pair_by(DryKey dry_key, WetKey wet_key) {
    std::map<std::string, std::vector<std::string>> dry, wet;
    for (const auto& [name, paths] : dry_.files) {
      if (const auto key = dry_key(name)) dry[*key].push_back(name);
    }
    for (const auto& [name, paths] : wet_.files) {
      if (const auto key = wet_key(name)) wet[*key].push_back(name);
    }
    std::size_t n = 0;
    for (const auto& [key, dry_names] : dry) {
      const auto found = wet.find(key);
      if (found == wet.end()) continue;
      const fs::path d = take(dry_, dry_names), w = take(wet_, found->second);
      const std::string stem = note_name(d.stem().string());
      sources_.pairs.push_back({stem, stem.substr(0, 2), d, w, ""});
      ++n;
    }
    return n;
  }

  fs::path take(Side& side, const std::vector<std::string>& names) {
    std::vector<fs::path> paths;
    for (const std::string& name : names) {
      auto& files = side.files.at(name);
      paths.insert(paths.end(), files.begin(), files.end());
      side.files.erase(name);
    }
    return choose_of_equal_names(paths, paths.front().stem().string(), sources_.findings);
  }

  void pair_by_words() {
    for (const auto& [d, w] : side_words()) {
      const std::string dry_word = d, wet_word = w;
      const std::size_t n = pair_by([&](const std::string& s) { return without_word(s, dry_word); },
                                    [&](const std::string& s) { return without_word(s, wet_word); });
      if (n > 0) {
        sources_.findings.push_back({Severity::kInfo, "names", dry_.folder, -1.0,
                                     fmt::format("{} {} paired by names that differ in \"{}\" and \"{}\"", n,
                                                 n == 1 ? "file is" : "files are", dry_word, wet_word),
                                     "dry and wet files have no equal names",
                                     "nothing need be done; data.dry_pattern and data.wet_pattern choose"});
      }
    }
  }

  // Both sides are one folder: what the other side took is no file without a partner.
  void forget_the_other_side() {
    for (const Source& s : sources_.pairs) {
      std::erase_if(dry_.files, [&](const auto& f) { return f.second.front() == s.wet; });
      std::erase_if(wet_.files, [&](const auto& f) { return f.second.front() == s.dry; });
    }
    wet_.files.clear();
  }

  void leave_out_rest() {
    const std::string hint =
        !dry_.files.empty() && !wet_.files.empty()
            ? fmt::format(
                  "; where names differ, say how, as --set 'data.dry_pattern=*_dry' --set 'data.wet_pattern=*_wet'"
                  " (here are '{}' and '{}')",
                  printable(dry_.files.begin()->first), printable(wet_.files.begin()->first))
            : "";
    bool first = true;
    for (const auto& [side, word, other] : {std::tuple(&dry_, "dry", "wet"), std::tuple(&wet_, "wet", "dry")}) {
      for (const auto& [name, paths] : side->files) {
        for (const fs::path& path : paths) {
          sources_.left_out.push_back(fmt::format("{}: {}, without a {} file of the same name{}",
                                                  printable(path.string()), word, other, first ? hint : ""));
          first = false;
        }
      }
    }
  }

  const DataConfig& config_;
  Side dry_, wet_;
  Sources sources_;
};

}  // namespace

Sources find_folders(const DataConfig& config) {
  if (config.dry.empty()) throw Error("data.dry is empty; data.reader = \"folders\" needs the folder of the dry files");
  if (config.wet.empty() && config.chain.empty()) {
    throw Error("data.wet is empty; data.reader = \"folders\" needs the folder of the wet files, or data.chain");
  }
  refuse_wet_and_chain(config);
  Sources sources;
  Side dry = list_side(config.dry, sources.findings);
  if (config.chain.empty()) {
    Side wet = list_side(config.wet, sources.findings);
    return Pairing(config, std::move(dry), std::move(wet), std::move(sources.findings)).run();
  }
  for (const auto& [name, paths] : dry.files) {
    const std::string key = lower_case(note_name(name));
    sources.pairs.push_back({key, key.substr(0, 2), choose_of_equal_names(paths, name, sources.findings), {}, ""});
  }
  return sources;
}

}  // namespace cafx
