#include "host/sweep/index.h"

#include <sqlite3.h>

#include <cmath>

#include "kernels/base/error.h"

namespace cafx {

namespace fs = std::filesystem;

struct Index::State {
  fs::path path;
  sqlite3* db = nullptr;
  sqlite3_stmt* put = nullptr;

  ~State() { close(); }

  void close() {
    sqlite3_finalize(put);
    put = nullptr;
    sqlite3_close(db);
    db = nullptr;
  }

  bool run(const char* sql) { return sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK; }

  bool open() {
    return sqlite3_open(path.c_str(), &db) == SQLITE_OK && run("PRAGMA journal_mode=WAL") &&
           run("PRAGMA synchronous=NORMAL") && run("PRAGMA busy_timeout=5000") &&
           run("CREATE TABLE IF NOT EXISTS task(id INTEGER PRIMARY KEY, folder TEXT, kind TEXT, state TEXT, label "
               "TEXT, "
               "objective REAL, seconds REAL, reason TEXT)") &&
           run("CREATE INDEX IF NOT EXISTS by_state ON task(state)") &&
           run("CREATE INDEX IF NOT EXISTS by_objective ON task(objective)") &&
           sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO task VALUES(?,?,?,?,?,?,?,?)", -1, &put, nullptr) ==
               SQLITE_OK;
  }

  void remove() {
    close();
    std::error_code ignored;
    for (const char* ending : {"", "-wal", "-shm"}) fs::remove(path.string() + ending, ignored);
  }
};

Index::Index(const fs::path& path) : state_(std::make_unique<State>()) {
  state_->path = path;
  if (state_->open()) return;
  // Only a cache: a damaged file is rebuilt.
  state_->remove();
  if (!state_->open()) {
    throw Error("{}: the index cannot be made: {}; is the folder on a local disk with space?", path.string(),
                sqlite3_errmsg(state_->db));
  }
}

Index::~Index() = default;

// Failed writes are ignored: the folders hold everything, and the next start rebuilds the index.
void Index::begin() { state_->run("BEGIN"); }
void Index::commit() { state_->run("COMMIT"); }

void Index::update(int id, const Row& row, const std::string& objective) {
  sqlite3_stmt* s = state_->put;
  sqlite3_reset(s);
  const auto text = [&](int column, const std::string& value) {
    sqlite3_bind_text(s, column, value.c_str(), static_cast<int>(value.size()), SQLITE_TRANSIENT);
  };
  sqlite3_bind_int(s, 1, id);
  text(2, row.task->folder);
  text(3, to_string(row.task->kind));
  text(4, to_string(row.state));
  text(5, label(row.task->point));
  const double value = objective_of(row, objective);
  if (std::isfinite(value) && row.task->kind == TaskKind::kTrain) {
    sqlite3_bind_double(s, 6, value);
  } else {
    sqlite3_bind_null(s, 6);
  }
  sqlite3_bind_double(s, 7, row.seconds);
  text(8, row.outcome.reason);
  sqlite3_step(s);
}

void Index::rebuild(const std::vector<Row>& rows, const std::string& objective) {
  begin();
  state_->run("DELETE FROM task");
  for (std::size_t i = 0; i < rows.size(); ++i) update(static_cast<int>(i), rows[i], objective);
  commit();
}

std::vector<std::pair<std::string, int>> Index::counts() {
  std::vector<std::pair<std::string, int>> all;
  sqlite3_stmt* s = nullptr;
  sqlite3_prepare_v2(state_->db, "SELECT state, COUNT(*) FROM task GROUP BY state", -1, &s, nullptr);
  while (s && sqlite3_step(s) == SQLITE_ROW) {
    all.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(s, 0)), sqlite3_column_int(s, 1));
  }
  sqlite3_finalize(s);
  return all;
}

std::vector<std::pair<int, double>> Index::best(int n) {
  std::vector<std::pair<int, double>> all;
  sqlite3_stmt* s = nullptr;
  sqlite3_prepare_v2(state_->db,
                     "SELECT id, objective FROM task WHERE objective IS NOT NULL ORDER BY objective LIMIT ?", -1, &s,
                     nullptr);
  sqlite3_bind_int(s, 1, n);
  while (s && sqlite3_step(s) == SQLITE_ROW) all.emplace_back(sqlite3_column_int(s, 0), sqlite3_column_double(s, 1));
  sqlite3_finalize(s);
  return all;
}

std::size_t Index::bytes() const {
  std::size_t total = 0;
  std::error_code error;
  for (const char* ending : {"", "-wal"}) {
    const auto n = fs::file_size(state_->path.string() + ending, error);
    if (!error) total += n;
  }
  return total;
}

}  // namespace cafx
