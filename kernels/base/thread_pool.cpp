#include "kernels/base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/base/error.h"

namespace cafx {

struct ThreadPool::State {
  int n_threads = 1;
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable start, done;
  const std::function<void(int, int)>* task = nullptr;
  int n_tasks = 0;
  int running = 0;
  unsigned generation = 0;
  bool quit = false;
  std::atomic<int> next{0};
  std::mutex error_mutex;
  std::exception_ptr error;
  int error_task = 0;

  void work(int worker) {
    for (int i = next.fetch_add(1); i < n_tasks; i = next.fetch_add(1)) {
      try {
        (*task)(i, worker);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex);
        if (!error || i < error_task) {
          error = std::current_exception();
          error_task = i;
        }
      }
    }
  }

  void end() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      quit = true;
    }
    start.notify_all();
    for (auto& thread : threads) thread.join();
    threads.clear();
  }

  void loop(int worker) {
    unsigned seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex);
        start.wait(lock, [&] { return quit || generation != seen; });
        if (quit) return;
        seen = generation;
      }
      work(worker);
      const std::lock_guard<std::mutex> lock(mutex);
      if (--running == 0) done.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int n_threads) : state_(std::make_unique<State>()) {
  CAFX_CHECK(n_threads >= 1, n_threads);
  state_->n_threads = n_threads;
  try {
    for (int worker = 1; worker < n_threads; ++worker) {
      state_->threads.emplace_back([this, worker] { state_->loop(worker); });
    }
  } catch (const std::system_error&) {
    const std::size_t n = state_->threads.size() + 1;
    state_->end();
    throw Error("{} threads cannot be started, this system allows {} now; ask for fewer", n_threads, n);
  }
}

ThreadPool::~ThreadPool() { state_->end(); }

int ThreadPool::n_threads() const { return state_->n_threads; }

void ThreadPool::run(int n_tasks, const std::function<void(int, int)>& task) {
  State& s = *state_;
  {
    const std::lock_guard<std::mutex> lock(s.mutex);
    s.task = &task;
    s.n_tasks = n_tasks;
    s.next = 0;
    s.error = nullptr;
    s.running = static_cast<int>(s.threads.size());
    ++s.generation;
  }
  if (!s.threads.empty()) s.start.notify_all();
  s.work(0);
  {
    std::unique_lock<std::mutex> lock(s.mutex);
    s.done.wait(lock, [&] { return s.running == 0; });
  }
  if (s.error) std::rethrow_exception(s.error);
}

int available_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace cafx
