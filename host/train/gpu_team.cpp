#include "host/train/gpu_team.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "kernels/base/error.h"
#include "kernels/device/memory.h"

namespace cafx {

namespace {

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 4 && text.find_first_not_of("0123456789") == std::string::npos;
}

std::string how_many(int n) { return n == 1 ? "there is 1 GPU" : fmt::format("there are {} GPUs", n); }

}  // namespace

std::vector<int> choose_gpus(const std::string& device, const std::string& text, bool asked) {
  if (text.empty() || text == "1") return {};
  const std::string option = asked ? "--gpus" : "train.gpus";
  if (device != "cuda" && device != "auto") {
    if (!asked) return {};
    throw Error("--gpus {} does not go with --device {}; give --device cuda, or leave --gpus out", text, device);
  }
  const int there = gpu_count();
  if (there == 0) {
    if (!asked && device == "auto") return {};
    throw Error("{} {}: CUDA cannot be used: {}; use --device cpu ('cafx doctor' tells more)", option, text,
                cuda_info().reason);
  }
  std::vector<int> gpus;
  if (text == "all" || (is_number(text) && std::stoi(text) > 0)) {
    const int n = text == "all" ? there : std::stoi(text);
    if (n > there) throw Error("{} {}: {}", option, text, how_many(there));
    for (int i = 0; i < n; ++i) gpus.push_back(i);
  } else {
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t comma = std::min(text.find(',', at), text.size());
      const std::string part = text.substr(at, comma - at);
      if (!is_number(part)) throw Error("{} {}: expected a number of GPUs, all, or a list such as 0,2", option, text);
      const int gpu = std::stoi(part);
      if (gpu >= there) throw Error("{} {}: {}, numbered from 0", option, text, how_many(there));
      if (std::find(gpus.begin(), gpus.end(), gpu) != gpus.end())
        throw Error("{} {}: names GPU {} twice", option, text, gpu);
      gpus.push_back(gpu);
      at = comma + 1;
    }
  }
  if (gpus.size() > static_cast<std::size_t>(kMostGpus)) {
    throw Error("{} {}: more than {} GPUs are not supported", option, text, kMostGpus);
  }
  return gpus.size() == 1 && gpus[0] == 0 ? std::vector<int>{} : gpus;
}

struct GpuTeam::State {
  std::vector<int> gpus;
  std::vector<Context> contexts;
  std::vector<std::unique_ptr<Exchange>> exchanges;
  std::vector<std::thread> threads;

  mutable std::mutex mutex;
  std::condition_variable changed;
  const std::function<void(int)>* body = nullptr;
  long round = 0;
  int left = 0;
  bool stop = false, failed = false;
  std::exception_ptr error;
  int error_rank = 0;

  void work(int rank);
};

void GpuTeam::State::work(int rank) {
  for (long done = 0;;) {
    const std::function<void(int)>* task = nullptr;
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return stop || round > done; });
      if (stop) return;
      done = round;
      task = body;
    }
    std::exception_ptr thrown;
    try {
      (*task)(rank);
    } catch (...) {
      thrown = std::current_exception();
    }
    const std::lock_guard lock(mutex);
    if (thrown && !error) {
      error = thrown;
      error_rank = rank;
    }
    --left;
    changed.notify_all();
  }
}

GpuTeam::GpuTeam(const Context& base, const std::vector<int>& gpus) : state_(std::make_shared<State>()) {
  State& s = *state_;
  s.gpus = gpus;
  s.contexts.assign(gpus.size(), base);
  s.exchanges.resize(gpus.size());
  const ExchangeId id = new_exchange_id();
  for (int r = 0; r < size(); ++r) s.threads.emplace_back([state = state_, r] { state->work(r); });
  try {
    run([&](int r) {
      Context& own = s.contexts[static_cast<std::size_t>(r)];
      use_cuda(own, s.gpus[static_cast<std::size_t>(r)]);
      use_precision(own, to_string(base.precision));
    });
    run([&](int r) {
      s.exchanges[static_cast<std::size_t>(r)] = std::make_unique<Exchange>(context(r), id, r, size());
    });
  } catch (...) {
    close();
    throw;
  }
}

GpuTeam::~GpuTeam() { close(); }

void GpuTeam::close() noexcept {
  State& s = *state_;
  if (!failed()) {
    try {
      run([&](int r) {
        s.exchanges[static_cast<std::size_t>(r)].reset();
        s.contexts[static_cast<std::size_t>(r)] = {};
      });
    } catch (...) {
      // Nothing is left that could be done about it.
    }
  }
  bool stuck = false;  // in a library, after a failure: the process is about to end
  {
    const std::lock_guard lock(s.mutex);
    s.stop = true;
    stuck = s.left > 0;
    s.changed.notify_all();
  }
  for (std::thread& t : s.threads) stuck ? t.detach() : t.join();
}

int GpuTeam::size() const { return static_cast<int>(state_->gpus.size()); }
const Context& GpuTeam::context(int rank) const { return state_->contexts[static_cast<std::size_t>(rank)]; }
Exchange& GpuTeam::exchange(int rank) { return *state_->exchanges[static_cast<std::size_t>(rank)]; }

int GpuTeam::gpu(int rank) const { return state_->gpus[static_cast<std::size_t>(rank)]; }

std::string GpuTeam::name() const {
  std::string text;
  for (int r = 0; r < size();) {
    int same = 1;
    while (r + same < size() && device_name(context(r)) == device_name(context(r + same))) ++same;
    text += fmt::format("{}{} x {}", text.empty() ? "" : ", ", same, device_name(context(r)));
    r += same;
  }
  return text;
}

bool GpuTeam::alike() const { return name().find(", ") == std::string::npos; }

void GpuTeam::run(const std::function<void(int)>& body) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  if (s.failed) throw Error("the GPUs were given up after a failure");
  s.body = &body;
  s.left = size();
  ++s.round;
  s.changed.notify_all();
  s.changed.wait(lock, [&] { return s.left == 0 || s.error; });
  if (!s.error) return;
  s.failed = true;
  lock.unlock();
  if (s.left > 0) abort();
  lock.lock();
  s.changed.wait_for(lock, std::chrono::seconds(20), [&] { return s.left == 0; });
  lock.unlock();
  const int gpu = s.gpus[static_cast<std::size_t>(s.error_rank)];
  try {
    std::rethrow_exception(s.error);
  } catch (const Error& e) {
    throw Error("GPU {}: {}", gpu, e.what());
  }
}

void GpuTeam::abort() noexcept {
  {
    const std::lock_guard lock(state_->mutex);
    state_->failed = true;
  }
  // Each in a thread of its own: one end may have to wait for another's.
  for (int r = 0; r < size(); ++r) {
    std::thread([state = state_, r] {
      const auto at = static_cast<std::size_t>(r);
      try {
        make_current(state->contexts[at]);
      } catch (...) {
      }
      if (state->exchanges[at]) state->exchanges[at]->abort();
    }).detach();
  }
}

bool GpuTeam::failed() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failed;
}

}  // namespace cafx
