#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <map>

#include "host/sweep/launcher.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

using Clock = std::chrono::steady_clock;

class LocalLauncher : public Launcher {
 public:
  LocalLauncher(const Store& store, LocalOptions options)
      : store_(store), options_(std::move(options)), began_(Clock::now()) {}

  ~LocalLauncher() override {
    stop();
    while (!children_.empty() && !wait(1.0).empty()) {
    }
  }

  void start(const std::vector<const Task*>& members, const Job& job) override {
    const std::string log = store_.run(*members[0]).string() + "/worker.log";
    std::vector<std::string> words{options_.binary, "sweep", "worker"};
    for (const Task* t : members) words.push_back(store_.run(*t).string());
    words.insert(words.end(),
                 {"--threads", std::to_string(job.threads), "--device", job.gpus.empty() ? job.device_name : "cuda",
                  "--until-epoch", std::to_string(job.until_epoch), "--stall-seconds",
                  fmt::format("{}", options_.stall_seconds)});
    if (job.verdicts) words.push_back("--verdicts");
    if (!job.gpus.empty()) words.insert(words.end(), {"--gpus", job.gpus});
    if (!options_.isa.empty()) words.insert(words.end(), {"--isa", options_.isa});
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) throw Error("no process can be started: {}; lower sweep.slots", std::strerror(errno));
    if (pid == 0) {
      // Only async-signal-safe calls between fork and exec. The worker gets SIGTERM when this process ends. Its own
      // group: a Ctrl-C at the terminal reaches the scheduler, which asks the workers.
      setpgid(0, 0);
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (getppid() != parent) _exit(130);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      const int in = open("/dev/null", O_RDONLY), out = open(log.c_str(), O_CREAT | O_APPEND | O_WRONLY, 0644);
      dup2(in, 0);
      dup2(out >= 0 ? out : in, 1);
      dup2(out >= 0 ? out : in, 2);
      execv(argv[0], argv.data());
      _exit(127);
    }
    Child child{job.task, static_cast<int>(syscall(SYS_pidfd_open, pid, 0))};
    children_[pid] = child;
  }

  std::vector<Exit> wait(double seconds) override {
    std::vector<pollfd> fds;
    for (const auto& [pid, child] : children_) {
      if (child.fd >= 0) fds.push_back({child.fd, POLLIN, 0});
    }
    // Without pidfd in the kernel, poll.
    const double wait = fds.size() == children_.size() ? seconds : std::min(seconds, 0.02);
    poll(fds.data(), fds.size(), static_cast<int>(wait * 1000.0));
    std::vector<Exit> exits;
    for (auto it = children_.begin(); it != children_.end();) {
      int status = 0;
      if (waitpid(it->first, &status, WNOHANG) != it->first) {
        ++it;
        continue;
      }
      exits.push_back(
          {it->second.task, WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0});
      if (it->second.fd >= 0) close(it->second.fd);
      it = children_.erase(it);
    }
    return exits;
  }

  void stop() override {
    for (const auto& [pid, child] : children_) kill(pid, SIGTERM);
  }

  double now() const override { return std::chrono::duration<double>(Clock::now() - began_).count(); }

 private:
  struct Child {
    int task, fd;
  };
  const Store& store_;
  LocalOptions options_;
  Clock::time_point began_;
  std::map<pid_t, Child> children_;
};

}  // namespace

std::unique_ptr<Launcher> make_local_launcher(const Store& store, const LocalOptions& options) {
  return std::make_unique<LocalLauncher>(store, options);
}

}  // namespace cafx
