// host/sweep/index.h -- STORE/NAME.sweep/index.sqlite: states and results of a sweep for quick questions.
//
//   A cache for one host: the run folders are the truth, and the file may be deleted at any time. SQLite with WAL is
//   not for shared file systems; a process on another host runs without it. An index that is damaged, or of another
//   host or plan, is rebuilt.
//
//   table task(id, folder, kind, state, label, objective, seconds, reason)   table about(key, value)
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "host/sweep/results.h"

namespace cafx {

class Index {
 public:
  explicit Index(const std::filesystem::path&);
  ~Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  void rebuild(const std::vector<Row>&, const std::string& objective);
  void update(int id, const Row&, const std::string& objective);
  void begin();   // several updates
  void commit();  // at once
  // For each state how many; the best ids by objective.
  std::vector<std::pair<std::string, int>> counts();
  std::vector<std::pair<int, double>> best(int n);
  std::size_t bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cafx
