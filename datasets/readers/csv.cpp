#include "datasets/readers/csv.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "kernels/base/error.h"

namespace cafx {

namespace fs = std::filesystem;

namespace {

constexpr std::uintmax_t kMostTableBytes = 64u << 20;  // of a manifest; far more than a table of files needs

std::string trimmed_cell(const std::string& s) {
  const std::size_t from = s.find_first_not_of(" \r\t"), to = s.find_last_not_of(" \r\t");
  return from == std::string::npos ? "" : s.substr(from, to - from + 1);
}

// Of the first line with a row, from `at` on.
char separator_of(const std::string& text, std::size_t at) {
  std::string first;
  while (at < text.size() && (trimmed_cell(first).empty() || first.front() == '#')) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    first = text.substr(at, end - at);
    at = end + 1;
  }
  const auto count = [&](char c) { return std::count(first.begin(), first.end(), c); };
  return count(';') > count(',') ? ';' : count('\t') > count(',') ? '\t' : ',';
}

// The separator that a first line "sep=;" states, and where the next line begins; 0: there is no such line.
char stated_separator(const std::string& text, std::size_t& next) {
  const std::size_t end = text.find('\n');
  std::string line = text.substr(0, end);
  while (!line.empty() && line.back() == '\r') line.pop_back();
  if (line.size() == 7 && line.front() == '"' && line.back() == '"') line = line.substr(1, 5);
  if (end == std::string::npos || line.size() != 5 || line.rfind("sep=", 0) != 0) return 0;
  next = end + 1;
  return line[4];
}

}  // namespace

std::string read_text(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) throw Error("{}: is no file that can be read", path.string());
  if (fs::file_size(path, error) > kMostTableBytes)
    throw Error("{}: is over 64 MiB, too large for a table", path.string());
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in.good() && !in.eof()) throw Error("{}: cannot be read", path.string());
  if (text.rfind("\xEF\xBB\xBF", 0) == 0) text.erase(0, 3);
  if (text.rfind("\xFF\xFE", 0) == 0 || text.rfind("\xFE\xFF", 0) == 0) {
    throw Error("{}: is UTF-16, as Excel's \"Unicode Text\" is; save it as CSV UTF-8", path.string());
  }
  return text;
}

std::vector<CsvRow> read_csv(const fs::path& path, CsvForm* form) {
  std::string text = read_text(path);
  if (text.find('\n') == std::string::npos) std::replace(text.begin(), text.end(), '\r', '\n');
  std::size_t begin = 0;
  const char stated = stated_separator(text, begin), separator = stated ? stated : separator_of(text, begin);
  std::vector<CsvRow> rows;
  std::string cell;
  bool quoted = false, was_quoted = false;
  long line = begin > 0 ? 2 : 1, quote_line = 0;
  std::size_t comments = 0;
  CsvRow row{line, {}};
  const auto end_cell = [&] {
    row.cells.push_back(was_quoted ? cell : trimmed_cell(cell));
    cell.clear();
    was_quoted = false;
  };
  const auto end_row = [&] {
    end_cell();
    const bool blank = std::all_of(row.cells.begin(), row.cells.end(), [](const std::string& c) { return c.empty(); });
    if (!blank) rows.push_back(row);
    row = {line, {}};
  };
  for (std::size_t i = begin; i < text.size(); ++i) {
    if (text[i] == '#' && !quoted && (i == begin || text[i - 1] == '\n')) {
      ++comments;
      i = text.find('\n', i);
      if (i == std::string::npos) break;
      row.line = ++line;
      continue;
    }
    const char c = text[i];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        cell += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        cell += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"' && trimmed_cell(cell).empty()) {
      cell.clear();
      quoted = was_quoted = true;
      quote_line = line;
    } else if (c == separator) {
      end_cell();
    } else if (c == '\n') {
      end_row();
    } else if (!was_quoted || (c != '\r' && c != ' ')) {
      cell += c;
    }
  }
  if (quoted) throw Error("{}, row {}: a quote is opened and never closed", path.string(), quote_line);
  if (!cell.empty() || !row.cells.empty()) end_row();
  if (form) *form = {separator, comments};
  return rows;
}

}  // namespace cafx
