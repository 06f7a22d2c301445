// datasets/readers/csv.h -- tables as text: cells between commas, semicolons or tabs, in quotes where they hold such.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace cafx {

struct CsvRow {
  long line;  // of the file, from 1
  std::vector<std::string> cells;
};

struct CsvForm {
  char separator = ',';
  std::size_t comments = 0;  // lines that were left out
};

// RFC 4180; lines may end with CR alone. The separator is that of the first row, or what a first line "sep=;" says, as
// Excel writes it. Blank lines are left out, lines that begin with #, and blanks around a cell.
// Error where the file cannot be read or a quote is not closed, with the row.
std::vector<CsvRow> read_csv(const std::filesystem::path&, CsvForm* form = nullptr);
// The bytes of a file of text, without the mark that some systems begin it with. Error where that mark says UTF-16.
std::string read_text(const std::filesystem::path&);

}  // namespace cafx
