#include "datasets/readers/reader.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "kernels/base/error.h"

namespace cafx {

namespace fs = std::filesystem;

const std::vector<Reader>& readers() {
  static const std::vector<Reader> table = {
      {"idmt", find_idmt, false}, {"folders", find_folders, false}, {"files", find_files, true}};
  return table;
}

const Reader& find_reader(const std::string& name) {
  for (const Reader& reader : readers()) {
    if (reader.name == name) return reader;
  }
  throw Error("data.reader = \"{}\" is not known", name);
}

std::string lower_case(std::string s) {
  for (char& c : s) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return s;
}

bool is_audio_ending(const std::string& ending) {
  static const std::set<std::string> endings = {".wav", ".wave", ".bwf", ".flac", ".aif", ".aiff", ".aifc", ".ogg",
                                                ".oga", ".opus", ".mp3", ".mp2",  ".w64", ".caf",  ".rf64", ".au",
                                                ".snd", ".voc",  ".sd2", ".wve",  ".svx", ".nist", ".sph",  ".ircam"};
  return endings.count(ending) > 0;
}

std::vector<fs::path> find_audio_files(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    throw Error("{}: is not a folder; give the one that holds the audio files", folder.string());
  }
  std::vector<fs::path> files, folders = {folder}, links;
  std::set<std::pair<dev_t, ino_t>> seen;
  const auto first_time = [&](const fs::path& path) {
    struct stat s {};
    return stat(path.c_str(), &s) == 0 && seen.insert({s.st_dev, s.st_ino}).second;
  };
  const auto visit = [&](const fs::path& path) {
    std::error_code unreadable;
    if (fs::is_directory(path, unreadable)) {
      folders.push_back(path);
    } else if (is_audio_ending(lower_case(path.extension().string())) && fs::is_regular_file(path, unreadable) &&
               first_time(path)) {
      files.push_back(path);
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
    auto it = fs::directory_iterator(at, fs::directory_options::skip_permission_denied, error);
    for (; !error && it != fs::directory_iterator(); it.increment(error)) {
      if (it->path().filename().string().front() == '.') continue;  // what some systems leave beside every file
      if (it->is_symlink()) {
        links.push_back(it->path());
      } else {
        visit(it->path());
      }
    }
    if (error) throw Error("{}: cannot be listed: {}", at.string(), error.message());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace cafx
