#include "datasets/readers/reader.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "datasets/readers/layouts.h"
#include "datasets/readers/name_pattern.h"
#include "kernels/base/error.h"
#include "kernels/base/shell_word.h"

namespace cafx {

namespace fs = std::filesystem;

const std::vector<Reader>& readers() {
  static const std::vector<Reader> table = [] {
    std::vector<Reader> all = {{"idmt", find_idmt, Cut::kNever},           {"folders", find_folders, Cut::kLong},
                               {"files", find_files, Cut::kAlways},        {"pattern", find_by_pattern, Cut::kLong},
                               {"manifest", find_in_manifest, Cut::kLong}, {"nam-json", find_nam_json, Cut::kAlways}};
    for (const Layout& layout : layouts()) {
      all.push_back({layout.name, [&layout](const DataConfig& c) { return find_layout(c, layout); }, layout.cut,
                     layout.sync_impulses});
    }
    return all;
  }();
  return table;
}

const Reader& find_reader(const std::string& name) {
  for (const Reader& reader : readers()) {
    if (reader.name == name) return reader;
  }
  throw Error("data.reader = \"{}\" is not known", name);
}

std::optional<fs::path> file_named(const std::string& text, const fs::path& folder) {
  std::string slashes = text;
  std::replace(slashes.begin(), slashes.end(), '\\', '/');
  for (const fs::path& named : {fs::path(text), fs::path(slashes)}) {
    const fs::path path = named.is_absolute() ? named : folder / named;
    std::error_code error;
    if (fs::is_regular_file(path, error)) return path;
  }
  return std::nullopt;
}

fs::path table_in(const std::string& path, const char* name) {
  std::error_code error;
  return fs::is_directory(path, error) ? fs::path(path) / name : fs::path(path);
}

std::string lower_case(std::string s) {
  for (char& c : s) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return s;
}

std::string note_name(const std::string& text) {
  try {
    nlohmann::json(text).dump();
    return text;
  } catch (const nlohmann::json::exception&) {
    return printable(text);
  }
}

bool is_audio_ending(const std::string& ending) {
  static const std::set<std::string> endings = {".wav",  ".wave", ".bwf", ".flac", ".aif", ".aiff", ".aifc", ".ogg",
                                                ".oga",  ".opus", ".mp3", ".mp2",  ".w64", ".caf",  ".rf64", ".au",
                                                ".snd",  ".voc",  ".sd2", ".wve",  ".svx", ".nist", ".sph",  ".ircam",
                                                ".8svx", ".avr",  ".htk", ".paf",  ".pvf", ".sds",  ".sf",   ".xi"};
  return endings.count(ending) > 0;
}

namespace {

// Files that were left behind: pairs would be fewer without a word.
void tell_broken_links(const fs::path& folder, std::vector<fs::path> links, bool alone,
                       std::vector<Finding>* findings) {
  std::sort(links.begin(), links.end());
  for (const fs::path& link : links) {
    std::error_code error;
    const std::string to = printable(fs::read_symlink(link, error).string());
    if (alone) {
      throw Error("{}: holds links alone whose files are not there, as {} to '{}'; put the files there, or fetch them",
                  folder.string(), link.string(), to);
    }
    if (!findings) return;
    findings->push_back({Severity::kWarning, "links", printable(link.string()), -1.0,
                         fmt::format("is a link to '{}', which is not there; it is left out", to),
                         "the link was copied without its file, or git annex or DVC has not fetched it",
                         "put the file there, or remove the link"});
  }
}

}  // namespace

std::vector<fs::path> find_audio_files(const fs::path& folder, std::vector<Finding>* findings) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    throw Error("{}: is not a folder; give the one that holds the audio files", folder.string());
  }
  std::vector<fs::path> files, folders = {folder}, links, broken;
  std::set<std::pair<dev_t, ino_t>> seen;
  const auto first_time = [&](const fs::path& path) {
    struct stat s {};
    return stat(path.c_str(), &s) == 0 && seen.insert({s.st_dev, s.st_ino}).second;
  };
  const auto visit = [&](const fs::path& path) {
    std::error_code unreadable;
    if (fs::is_directory(path, unreadable)) {
      folders.push_back(path);
    } else if (is_audio_ending(lower_case(path.extension().string()))) {
      if (fs::is_regular_file(path, unreadable)) {
        if (first_time(path)) files.push_back(path);
      } else if (fs::is_symlink(path, unreadable) && !fs::exists(path, unreadable)) {
        broken.push_back(path);
      }
    }
  };
  // Links are followed last: what they lead to keeps the path that it lies at, where that is below `folder` too.
  while (!folders.empty() || !links.empty()) {
    if (folders.empty()) {
      std::vector<fs::path> follow;
      follow.swap(links);
      std::sort(follow.begin(), follow.end());
      for (const fs::path& path : follow) visit(path);
      continue;
    }
    const fs::path at = folders.back();
    folders.pop_back();
    if (!first_time(at)) continue;
    std::vector<fs::directory_entry> entries;
    auto it = fs::directory_iterator(at, fs::directory_options::skip_permission_denied, error);
    for (; !error && it != fs::directory_iterator(); it.increment(error)) entries.push_back(*it);
    std::sort(entries.begin(), entries.end());  // of two hard links the same one is taken everywhere
    for (const fs::directory_entry& entry : entries) {
      if (entry.path().filename().string().front() == '.') continue;  // what some systems leave beside every file
      std::error_code unreadable;
      if (entry.is_symlink(unreadable)) {
        links.push_back(entry.path());
      } else {
        visit(entry.path());
      }
    }
    if (error) throw Error("{}: cannot be listed: {}", at.string(), error.message());
  }
  std::sort(files.begin(), files.end());
  tell_broken_links(folder, std::move(broken), files.empty(), findings);
  return files;
}

const std::vector<std::pair<const char*, const char*>>& side_words() {
  static const std::vector<std::pair<const char*, const char*>> words = {{"dry", "wet"},
                                                                         {"input", "output"},
                                                                         {"in", "out"},
                                                                         {"input", "target"},
                                                                         {"clean", "fx"},
                                                                         {"clean", "dist"},
                                                                         {"clean", "amp"},
                                                                         {"clean", "wet"},
                                                                         {"clean", "effect"},
                                                                         {"clean", "distorted"},
                                                                         {"di", "amp"},
                                                                         {"di", "reamp"},
                                                                         {"di", "mic"},
                                                                         {"di", "wet"},
                                                                         {"source", "target"},
                                                                         {"x", "y"},
                                                                         {"before", "after"},
                                                                         {"send", "return"},
                                                                         {"original", "processed"},
                                                                         {"raw", "processed"},
                                                                         {"unprocessed", "processed"}};
  return words;
}

std::optional<std::string> without_word(const std::string& name, const std::string& word) {
  const std::string text = lower_case(name);
  const std::size_t slash = text.rfind('/'), from = slash == std::string::npos ? 0 : slash + 1;
  const std::string folder = text.substr(0, from), stem = text.substr(from);
  const auto separator = [](char c) { return c == '_' || c == '-' || c == ' ' || c == '.'; };
  const auto bare = [&](std::string rest) {
    while (!rest.empty() && separator(rest.back())) rest.pop_back();
    while (!rest.empty() && separator(rest.front())) rest.erase(0, 1);
    return folder + rest;
  };
  const std::size_t n = word.size();
  if (stem == word) return folder;
  if (stem.size() <= n) return std::nullopt;
  if (stem.compare(stem.size() - n, n, word) == 0 && separator(stem[stem.size() - n - 1])) {
    return bare(stem.substr(0, stem.size() - n));
  }
  if (stem.compare(0, n, word) == 0 && separator(stem[n])) return bare(stem.substr(n));
  return std::nullopt;
}

std::optional<bool> first_is_dry(const std::string& first, const std::string& second) {
  // 1: called dry, -1: called wet, 0: neither, or both.
  const auto side_of = [](const std::string& name) {
    bool dry = false, wet = false;
    for (const auto& [d, w] : side_words()) {
      dry = dry || without_word(name, d);
      wet = wet || without_word(name, w);
    }
    return static_cast<int>(dry) - static_cast<int>(wet);
  };
  const int a = side_of(first), b = side_of(second);
  if (a == b) return std::nullopt;
  return a > b;
}

namespace {

bool is_called_dry(const fs::path& folder) {
  const std::string name = folder.filename().string();
  return std::any_of(side_words().begin(), side_words().end(),
                     [&](const auto& words) { return without_word(name, words.first).has_value(); });
}

// What the names are, with a knob where they differ in a number alone: "gain {knob:gain}" of "gain 0" and "gain 7.5".
std::string folder_pattern(const std::vector<fs::path>& folders) {
  for (const bool with_sign : {false, true}) {  // a minus that all have parts name and number
    std::set<std::string> patterns;
    for (const fs::path& folder : folders) {
      const std::string name = lower_case(folder.filename().string());
      const std::size_t digit = name.find_first_of("0123456789"), end = name.find_last_of("0123456789") + 1;
      if (digit == std::string::npos) return "{device}";
      const std::size_t begin = with_sign && digit > 0 && name[digit - 1] == '-' ? digit - 1 : digit;
      if (!measured(decimal_point(name.substr(begin, end - begin)))) return "{device}";
      std::string knob;
      for (const char c : name.substr(0, begin)) {
        if (std::isalpha(static_cast<unsigned char>(c))) knob += c;
      }
      patterns.insert(name.substr(0, begin) + "{knob:" + (knob.empty() ? "gain" : knob) + "}" + name.substr(end));
    }
    if (patterns.size() == 1) return *patterns.begin();
  }
  return "{device}";
}

}  // namespace

std::string by_pattern(std::vector<fs::path> folders) {
  const auto wet = std::stable_partition(folders.begin(), folders.end(), is_called_dry);
  const bool beside = std::all_of(folders.begin(), folders.end(),
                                  [&](const fs::path& f) { return f.parent_path() == folders[0].parent_path(); });
  if (folders.size() < 3 || wet - folders.begin() != 1 || !beside) return "";
  const fs::path top = folders[0].parent_path();
  const std::string dry = folders[0].filename().string();
  if (dry.find_first_of("{}*") != std::string::npos) return "";
  const auto set = [](const std::string& text) { return "--set " + shell_word(text); };
  return fmt::format(
      "give the folder that holds them, with '{}' as dry and the others as settings of the device, as "
      "\"cafx train {} {} {}\"",
      dry, shell_word(top.empty() ? "." : top.string()),
      set("data.pattern=" + folder_pattern({wet, folders.end()}) + "/{note}"),
      set("data.dry_pattern=" + dry + "/{note}"));
}

void refuse_wet_and_chain(const DataConfig& config) {
  if (config.wet.empty() || config.chain.empty()) return;
  throw Error(
      "data.wet = \"{}\" holds wet audio, and data.chain = \"{}\" would make it anew from the dry files; leave one of "
      "them out",
      config.wet, config.chain);
}

void tell_swapped(const fs::path& dry, const fs::path& wet, std::vector<Finding>& findings) {
  const auto last = [](const fs::path& p) { return (p.has_filename() ? p : p.parent_path()).stem().string(); };
  for (const auto& [d, w] : side_words()) {
    if (!without_word(last(dry), w) || !without_word(last(wet), d)) continue;
    findings.push_back({Severity::kWarning, "swapped", printable(dry.string()), -1.0,
                        fmt::format("is given as the dry side, but is called \"{}\"", w),
                        "dry and wet were given in the other order",
                        "give dry first; nothing need be done where it is"});
    return;
  }
}

}  // namespace cafx
