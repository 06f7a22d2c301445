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

char separator_of(const std::string& text) {
  const std::string first = text.substr(0, text.find('\n'));
  const auto count = [&](char c) { return std::count(first.begin(), first.end(), c); };
  return count(';') > count(',') ? ';' : count('\t') > count(',') ? '\t' : ',';
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

std::vector<CsvRow> read_csv(const fs::path& path) {
  std::string text = read_text(path);
  if (text.find('\n') == std::string::npos) std::replace(text.begin(), text.end(), '\r', '\n');
  const char separator = separator_of(text);
  std::vector<CsvRow> rows;
  CsvRow row{1, {}};
  std::string cell;
  bool quoted = false, was_quoted = false;
  long line = 1, quote_line = 0;
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
  for (std::size_t i = 0; i < text.size(); ++i) {
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
  return rows;
}

}  // namespace cafx
