// tests/in_browser.h -- a page as headless Chromium shows it.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace cafx {

inline bool has_browser() { return std::system("command -v chromium >/dev/null 2>&1") == 0; }

// What the page has become once its scripts ran. `hash`: behind the address, with its #.
inline std::string in_browser(const std::filesystem::path& page, const std::string& hash = "") {
  const std::filesystem::path profile = page.parent_path() / "profile";
  const std::string command = fmt::format(
      "chromium --headless --no-sandbox --disable-gpu --user-data-dir='{}' --virtual-time-budget=4000 --dump-dom "
      "'file://{}{}' 2>/dev/null",
      profile.string(), page.string(), hash);
  std::string dom;
  FILE* pipe = popen(command.c_str(), "r");
  char block[4096];
  for (std::size_t n; pipe && (n = fread(block, 1, sizeof block, pipe)) > 0;) dom.append(block, n);
  if (pipe) pclose(pipe);
  return dom;
}

}  // namespace cafx
