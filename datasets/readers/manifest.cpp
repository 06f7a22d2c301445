// A table of files: one row a pair.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "datasets/readers/csv.h"
#include "datasets/readers/naming.h"
#include "kernels/base/describe.h"
#include "kernels/base/error.h"
#include "kernels/base/printable.h"

namespace cafx {

namespace fs = std::filesystem;

namespace {

constexpr const char* kKnob = "knob:";

// The sides as other tools call them.
std::string column_of(const std::string& cell) {
  for (const char* dry : {"input", "x", "x_path"}) {
    if (cell == dry) return "dry";
  }
  for (const char* wet : {"output", "target", "y", "y_path"}) {
    if (cell == wet) return "wet";
  }
  return cell;
}

bool is_remark(const std::string& column) {
  static const std::set<std::string> names = {"comment", "comments", "note", "notes", "remark", "remarks"};
  return names.count(column) > 0;
}

class Manifest {
 public:
  explicit Manifest(const DataConfig& config)
      : config_(config), path_(table_in(config.path, "manifest.csv")), rows_(read_csv(path_, &form_)) {
    if (rows_.empty()) throw Error("{}: is empty; expected a row with the names of columns, as dry,wet", path());
    read_header();
    if (rows_.size() == 1) throw Error("{}: has a row with the names of columns, and none with files", path());
  }

  Sources run() {
    for (std::size_t i = 1; i < rows_.size(); ++i) read_row(rows_[i]);
    check_columns();
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      settings_[i].knobs = pairs_[i].knobs;
      pairs_[i].setting = settings_[i].text();
    }
    Sources sources;
    const std::vector<bool> take = selected(settings_, config_);
    std::vector<Setting> used;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      if (!take[i]) continue;
      sources.pairs.push_back(pairs_[i]);
      used.push_back(settings_[i]);
    }
    check_settings(used, config_, printable(path_.string()), sources.findings);
    sources.findings.push_back({Severity::kInfo, "layout", printable(path_.string()), -1.0,
                                fmt::format("is read as a manifest, {} pairs{}", sources.pairs.size(), left_out()),
                                "a table with a row a pair", "nothing need be done"});
    return sources;
  }

 private:
  std::string path() const { return path_.string(); }
  template <class... Values>
  [[noreturn]] void refuse(const CsvRow& row, fmt::format_string<Values...> text, Values&&... values) const {
    throw Error("{}, row {}: {}", path(), row.line, fmt::format(text, std::forward<Values>(values)...));
  }

  // What is there for people alone.
  std::string left_out() const {
    std::string text;
    for (const std::string& column : remarks_)
      text += fmt::format("{}'{}'", text.empty() ? "; not read: the column " : ", ", column);
    if (form_.comments > 0) {
      text += fmt::format("{}{} line{} that begin{} with #", text.empty() ? "; not read: " : ", ", form_.comments,
                          form_.comments == 1 ? "" : "s", form_.comments == 1 ? "s" : "");
    }
    return text;
  }

  // Between semicolons and tabs a comma stands for the point of a number.
  std::string with_point(const std::string& text) const { return form_.separator == ',' ? text : decimal_point(text); }

  bool is_empty_column(std::size_t i) const {
    return std::all_of(rows_.begin(), rows_.end(),
                       [&](const CsvRow& row) { return row.cells.size() <= i || row.cells[i].empty(); });
  }

  void read_header() {
    static const std::vector<std::string> known = {"dry", "wet", "split", "name", "device", "delay", "start", "stop"};
    const CsvRow& header = rows_.front();
    for (std::size_t i = 0; i < header.cells.size(); ++i) {
      const std::string& cell = header.cells[i];
      const std::size_t begin =
          lower_case(cell).rfind(kKnob, 0) == 0 ? cell.find_first_not_of(' ', 5) : std::string::npos;
      const bool knob = begin != std::string::npos;
      const std::string name = knob ? kKnob + cell.substr(begin) : column_of(lower_case(cell));
      if (cell.empty() && is_empty_column(i)) continue;  // what spreadsheets leave behind the last one
      if (!knob && is_remark(name)) {
        remarks_.push_back(printable_line(cell));
        continue;
      }
      if (!knob && std::find(known.begin(), known.end(), name) == known.end()) {
        refuse(header, "column '{}' is not known{}, and knob:NAME for a knob", cell, did_you_mean(name, known, true));
      }
      if (!columns_.emplace(name, i).second) {
        refuse(header, "column '{}' stands there twice", name == lower_case(cell) || knob ? cell : name);
      }
      if (knob) knobs_.emplace_back(cell.substr(begin), i);
    }
    if (!columns_.count("dry") || (!columns_.count("wet") && config_.chain.empty())) {
      refuse(header, "there is no column '{}'; expected dry and wet, with paths from the manifest's folder",
             columns_.count("dry") ? "wet" : "dry");
    }
  }

  // Empty where there is no such column.
  std::string cell(const CsvRow& row, const std::string& column) const {
    const auto found = columns_.find(column);
    return found == columns_.end() ? "" : row.cells[found->second];
  }

  double number(const CsvRow& row, const std::string& column) const {
    const std::string text = cell(row, column);
    if (text.empty()) return 0.0;
    const auto value = number_of(with_point(text));
    if (!value) refuse(row, "{} = '{}' is no number", column, text);
    return *value;
  }

  fs::path file(const CsvRow& row, const std::string& column) const {
    const std::string text = cell(row, column);
    if (text.empty()) refuse(row, "{} is empty", column);
    const auto found = file_named(text, path_.parent_path());
    if (!found)
      refuse(row, "the {} file '{}' does not exist; paths are taken from the manifest's folder", column, text);
    return *found;
  }

  void read_row(const CsvRow& row) {
    if (row.cells.size() != rows_.front().cells.size()) {
      refuse(row, "has {} cells, and the first row names {} columns", row.cells.size(), rows_.front().cells.size());
    }
    if (!config_.chain.empty() && !cell(row, "wet").empty()) {
      refuse(row, "names a wet file, and data.chain = \"{}\" would make wet audio anew; leave one of them out",
             config_.chain);
    }
    Source s{"", "", file(row, "dry"), config_.chain.empty() ? file(row, "wet") : fs::path()};
    const std::string split = cell(row, "split");
    s.part = part_of_word(split);
    if (!split.empty() && s.part.empty()) refuse(row, "split = '{}'; expected train, validation or test", split);
    read_excerpt(row, s);
    Setting setting;
    if (columns_.count("device")) setting.names.emplace_back("device", cell(row, "device"));
    for (const auto& [name, column] : knobs_) {
      if (row.cells[column].empty()) refuse(row, "knob:{} is empty", name);
      s.knobs.push_back(knob_value(name, with_point(row.cells[column])));
    }
    setting.knobs = s.knobs;
    s.setting = setting.text();
    name_pair(row, s);
    const auto key =
        std::tuple(s.dry.lexically_normal(), s.wet.lexically_normal(), cell(row, "start"), cell(row, "stop"));
    const auto [before, is_new] = seen_.emplace(key, row.line);
    if (!is_new) refuse(row, "the pair of '{}' stands there already, in row {}", cell(row, "dry"), before->second);
    pairs_.push_back(std::move(s));
    settings_.push_back(std::move(setting));
    lines_.push_back(&row);
  }

  void read_excerpt(const CsvRow& row, Source& s) const {
    Excerpt e;
    e.start = number(row, "start");
    e.stop = number(row, "stop");
    e.delay = number(row, "delay");
    e.told_by = fmt::format("{}, row {}", printable(path()), row.line);
    if (e.start != 0.0 || e.stop != 0.0 || e.delay != 0.0) s.excerpt = e;
  }

  // A note's name keeps it on one side of the split: two files of one name, or one note in two parts, are two.
  void name_pair(const CsvRow& row, Source& s) {
    std::string name = cell(row, "name");
    if (name.empty()) {
      name = s.dry.lexically_relative(path_.parent_path()).replace_extension().generic_string();
      if (name.empty() || name.rfind("..", 0) == 0) name = s.dry.stem().string();
      if (!s.part.empty()) name = s.part + "/" + name;
    }
    s.name = s.group = note_name(name);
    const auto [before, is_new] = parts_.emplace(s.name, std::pair(s.part, row.line));
    if (!is_new && before->second.first != s.part) {
      refuse(row, "'{}' is in the part '{}', and in '{}' by row {}; a note belongs to one part", name, s.part,
             before->second.first, before->second.second);
    }
  }

  // Numbers, or words: a column that holds both has a mistake in one of them. Of numbers some may have a unit behind
  // them, which is one for all.
  void check_columns() {
    for (std::size_t k = 0; k < knobs_.size(); ++k) {
      const bool numbers =
          std::any_of(pairs_.begin(), pairs_.end(), [&](const Source& s) { return s.knobs[k].is_number(); });
      std::string unit;
      for (std::size_t i = 0; numbers && i < pairs_.size(); ++i) {
        KnobValue& value = pairs_[i].knobs[k];
        if (value.is_number()) continue;
        const auto own = measured(value.text);
        if (!own) refuse(*lines_[i], "knob:{} = '{}' is no number, as those of other rows are", value.name, value.text);
        if (unit.empty()) unit = lower_case(own->unit);
        if (!own->unit.empty() && lower_case(own->unit) != unit) {
          refuse(*lines_[i],
                 "knob:{} = '{}' has another unit than other rows, '{}', and some have none; write all alike",
                 value.name, value.text, unit);
        }
        value.number = own->number;
      }
    }
  }

  const DataConfig& config_;
  fs::path path_;
  CsvForm form_;
  std::vector<CsvRow> rows_;
  std::vector<std::string> remarks_;  // columns for people
  std::map<std::string, std::size_t> columns_;
  std::vector<std::pair<std::string, std::size_t>> knobs_;
  std::vector<Source> pairs_;
  std::vector<Setting> settings_;
  std::vector<const CsvRow*> lines_;
  std::map<std::tuple<fs::path, fs::path, std::string, std::string>, long> seen_;
  std::map<std::string, std::pair<std::string, long>> parts_;
};

}  // namespace

Sources find_in_manifest(const DataConfig& config) {
  if (config.path.empty()) {
    throw Error("data.path is empty; data.reader = \"manifest\" needs the CSV file, as --set data.path=FILE.csv");
  }
  return Manifest(config).run();
}

}  // namespace cafx
