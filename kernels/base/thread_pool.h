// kernels/base/thread_pool.h -- a fixed set of threads that works through a list of numbered tasks.
//
//   The tasks of one call run in any order on any thread; a task that must give the same bits for every number of
//   threads depends on its number alone. The caller is worker 0, so a pool of one starts no thread.
//
// Errors   an exception thrown by a task is rethrown by `run` after the others have ended (the one of lowest number).
//          Error where the system does not give that many threads.
#pragma once

#include <functional>
#include <memory>

namespace cafx {

class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const;
  // task(i, worker) for i in [0, n_tasks), worker in [0, n_threads). Not to be called from inside a task.
  void run(int n_tasks, const std::function<void(int task, int worker)>& task);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The number of hardware threads this process may use (its affinity mask), at least 1.
int available_threads();

}  // namespace cafx
