#include "host/sweep/slurm_commands.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "kernels/base/error.h"

extern char** environ;

namespace cafx {

namespace fs = std::filesystem;

Ran run_program(std::vector<std::string> words) {
  Ran ran;
  int out[2], error[2];
  if (pipe2(out, O_CLOEXEC) != 0) throw Error("no pipe can be made: {}", std::strerror(errno));
  if (pipe2(error, O_CLOEXEC) != 0) {
    close(out[0]), close(out[1]);
    throw Error("no pipe can be made: {}", std::strerror(errno));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, error[1], 2);
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int rc = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(error[1]);
  pollfd fds[2] = {{out[0], POLLIN, 0}, {error[0], POLLIN, 0}};
  char buffer[4096];
  while (rc == 0 && (fds[0].fd >= 0 || fds[1].fd >= 0)) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || !(fds[i].revents & (POLLIN | POLLHUP))) continue;
      const ssize_t n = ::read(fds[i].fd, buffer, sizeof buffer);
      if (n > 0) (i == 0 ? ran.out : ran.error).append(buffer, static_cast<std::size_t>(n));
      if (n == 0) fds[i].fd = -1;
    }
  }
  close(out[0]);
  close(error[0]);
  if (rc != 0) return ran;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return ran;
}

std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.substr(0, 500);
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> folders_of_line(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> folders;
  for (std::string word; in >> word;) folders.push_back(word);
  return folders;
}

std::vector<std::pair<std::string, QueuedJob>> jobs_of(const fs::path& sweep, int& code) {
  const Ran ran = run_program({"squeue", "--me", "--noheader", "--array", "--format=%F|%K|%T|%r|%k"});
  code = ran.code;
  std::vector<std::pair<std::string, QueuedJob>> jobs;  // run folder (or "" of the report) and job
  if (ran.code != 0) return jobs;
  std::map<std::string, std::vector<std::string>> lists;
  std::istringstream in(ran.out);
  const std::string prefix = (sweep / "slurm").string() + "/";
  for (std::string line; std::getline(in, line);) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at <= line.size() && words.size() < 5;) {
      const std::size_t bar = words.size() == 4 ? line.size() : std::min(line.find('|', at), line.size());
      words.push_back(line.substr(at, bar - at));
      at = bar + 1;
    }
    if (words.size() != 5 || words[4].rfind(prefix, 0) != 0) continue;
    char* end = nullptr;
    const long index = std::strtol(words[1].c_str(), &end, 10);
    const bool array = !words[1].empty() && *end == 0;
    QueuedJob job{array ? words[0] + "_" + words[1] : words[0], words[2], words[3]};
    std::vector<std::string> folders{""};
    if (array) {
      auto [list, is_new] = lists.emplace(words[4], std::vector<std::string>());
      if (is_new) list->second = lines_of(words[4]);
      if (index >= 0 && index < static_cast<long>(list->second.size())) {
        folders = folders_of_line(list->second[static_cast<std::size_t>(index)]);
      }
    }
    for (const std::string& folder : folders) jobs.emplace_back(folder, job);
  }
  return jobs;
}

int max_array_size() {
  const Ran ran = run_program({"scontrol", "show", "config"});
  std::istringstream in(ran.out);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("MaxArraySize", 0) == 0) return std::max(1, std::atoi(line.c_str() + line.find('=') + 1));
  }
  return kSlurmArraySize;
}

}  // namespace cafx
