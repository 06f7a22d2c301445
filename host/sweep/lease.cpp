#include "host/sweep/lease.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace cafx {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string first_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// Identifies the kernel and process namespace in which a process number is valid.
std::string realm() {
  char buffer[128] = {};
  if (readlink("/proc/self/ns/pid", buffer, sizeof buffer - 1) < 0) buffer[0] = 0;
  return first_line("/proc/sys/kernel/random/boot_id") + " " + buffer;
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

// Field 22 of /proc/PID/stat: the start time, which tells apart processes of the same id. Empty: no such process, or
// a zombie.
std::string start_of(long pid) {
  const std::string stat = first_line(("/proc/" + std::to_string(pid) + "/stat").c_str());
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return "";
  std::istringstream in(stat.substr(name_end + 1));
  std::string word, state;
  in >> state;
  for (int i = 4; i <= 22; ++i) in >> word;
  return state == "Z" || state == "X" ? "" : word;
}

fs::path lease_path(const fs::path& run, int generation) { return run / ("lease." + std::to_string(generation)); }

int highest(const fs::path& run) {
  // Leases are numbered without gaps, and folders hold few files: probing one by one is as cheap as listing.
  int n = 0;
  while (access(lease_path(run, n + 1).c_str(), F_OK) == 0) ++n;
  return n;
}

Json read_lease(const fs::path& run, int generation) {
  std::ifstream in(lease_path(run, generation));
  return Json::parse(in, nullptr, false);
}

double seconds_of(const timespec& t) { return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec); }

// The time by the file system that holds `run`.
double file_system_now(const fs::path& run) {
  const fs::path probe = run.parent_path() / fmt::format(".clock.{}.{}", host_name(), getpid());
  const int fd = open(probe.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  struct stat status {};
  double now = 0.0;
  if (fd >= 0) {
    futimens(fd, nullptr);
    fstat(fd, &status);
    now = seconds_of(status.st_mtim);
    close(fd);
    unlink(probe.c_str());
  }
  return now;
}

bool given_back(const fs::path& run, int generation) {
  return access((lease_path(run, generation).string() + ".free").c_str(), F_OK) == 0;
}

}  // namespace

LeaseState inspect_lease(const fs::path& run, double seconds) {
  LeaseState state;
  state.generation = highest(run);
  if (state.generation == 0 || given_back(run, state.generation)) return state;
  const Json owner = read_lease(run, state.generation);
  struct stat status {};
  const bool there = stat(lease_path(run, state.generation).c_str(), &status) == 0;
  if (owner.is_object()) {
    state.host = owner.value("host", "");
    state.pid = owner.value("pid", 0L);
    state.here = owner.value("realm", "") == realm();
  }
  if (state.here) {
    state.held = start_of(state.pid) == owner.value("start", "-");
  }
  if (there && (state.held || !state.here)) {
    const double now = file_system_now(run);
    state.silence = now > 0.0 ? now - seconds_of(status.st_mtim) : 0.0;
    state.held = state.silence <= seconds;
  }
  state.died = !state.held;
  return state;
}

int deaths_without_progress(const fs::path& run) {
  int deaths = 0;
  long before = -1;
  const int n = highest(run);
  for (int g = 1; g <= n; ++g) {
    const Json lease = read_lease(run, g);
    const long at = lease.is_object() ? lease.value("progress", 0L) : 0L;
    if (at > before) deaths = 0;
    before = at;
    if (!given_back(run, g)) ++deaths;
  }
  return deaths;
}

std::optional<Lease> Lease::claim(const fs::path& run, double seconds, long progress) {
  const LeaseState state = inspect_lease(run, seconds);
  if (state.held) return std::nullopt;
  // A process that is alive but silent still holds the folder's lock; it has lost the run anyway.
  if (state.died && state.here && state.pid > 1) {
    const Json owner = read_lease(run, state.generation);
    if (owner.is_object() && start_of(state.pid) == owner.value("start", "-")) {
      kill(static_cast<pid_t>(state.pid), SIGKILL);
    }
  }
  static std::atomic<int> count{0};
  const std::string owner = fmt::format("{}.{}.{}.{}", host_name(), getpid(), start_of(getpid()), ++count);
  const int generation = state.generation + 1;
  const fs::path own = run / ("." + owner + ".claim");
  const std::string text =
      Json{{"owner", owner},   {"host", host_name()}, {"pid", getpid()}, {"start", start_of(getpid())},
           {"realm", realm()}, {"progress", progress}}
          .dump() +
      "\n";
  const int fd = open(own.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  const auto failed = [&](const char* step) {
    const int code = errno;
    unlink(own.c_str());
    throw WriteError(fmt::format("{}: cannot be {}: {}", own.string(), step, std::strerror(code)), code);
  };
  if (fd < 0) failed("made");
  if (::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()) || fsync(fd) != 0) {
    close(fd);
    failed("written");
  }
  close(fd);
  const fs::path lease = lease_path(run, generation);
  // Over NFS the reply to a successful link may be lost; the link count decides.
  const int rc = link(own.c_str(), lease.c_str());
  const int code = errno;
  struct stat status {};
  const bool won = rc == 0 || (stat(own.c_str(), &status) == 0 && status.st_nlink == 2);
  unlink(own.c_str());
  if (!won) {
    if (code == EEXIST) return std::nullopt;
    throw WriteError(fmt::format("{}: cannot be made: {}", lease.string(), std::strerror(code)), code);
  }
  return Lease(run, generation, owner);
}

void Lease::beat() const { utimensat(AT_FDCWD, lease_path(run_, generation_).c_str(), nullptr, 0); }

void Lease::check() const {
  const Json lease = read_lease(run_, generation_);
  const bool mine = lease.is_object() && lease.value("owner", "") == owner_;
  if (!mine || access(lease_path(run_, generation_ + 1).c_str(), F_OK) == 0) {
    throw LeaseLost("{}: another process has taken this run over; nothing more is written here", run_.string());
  }
}

void Lease::give_back() const {
  if (access(lease_path(run_, generation_ + 1).c_str(), F_OK) == 0) return;
  const int fd = open((lease_path(run_, generation_).string() + ".free").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (fd >= 0) close(fd);
}

}  // namespace cafx
