#include "host/sweep/slurm_program.h"

#include <link.h>

#include <fstream>

#include "host/sweep/worker.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

std::string read_all(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in || bytes.empty()) throw Error("{}: cannot be read", path.string());
  return bytes;
}

// Libraries that were found by $ORIGIN of the program or of one another, as paths from the program's folder.
std::vector<fs::path> libraries_beside(const fs::path& folder) {
  std::vector<fs::path> found;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        if (info->dlpi_name && *info->dlpi_name) static_cast<std::vector<fs::path>*>(to)->emplace_back(info->dlpi_name);
        return 0;
      },
      &found);
  std::vector<fs::path> beside;
  const std::string start = folder.string() + "/";
  for (const fs::path& path : found) {
    if (path.string().rfind(start, 0) == 0) beside.push_back(path.string().substr(start.size()));
  }
  return beside;
}

}  // namespace

std::string shell_quoted(const std::string& text) {
  std::string q = "'";
  for (const char c : text) q += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return q + "'";
}

PinnedProgram::PinnedProgram(const fs::path& store) {
  const fs::path own = fs::read_symlink("/proc/self/exe");
  Hasher hasher;
  const std::string binary = read_all("/proc/self/exe");
  hasher.add(binary);
  std::vector<std::pair<fs::path, std::string>> libraries;
  for (const fs::path& relative : libraries_beside(own.parent_path())) {
    libraries.emplace_back(relative, read_all(own.parent_path() / relative));
    hasher.add(libraries.back().second);
  }
  folder_ = fs::absolute(store).lexically_normal() / ".pinned" / hasher.hex().substr(0, 16);
  path = folder_ / (libraries.empty() ? "cafx" : "bundle/bin/cafx");
  for (auto& [relative, bytes] : libraries) {
    const fs::path to = (path.parent_path() / relative).lexically_normal();
    if (to.string().rfind(folder_.string() + "/", 0) != 0) {
      throw Error("{}: is found from {} too far above it to be copied to the store; install cafx anew", to.string(),
                  own.string());
    }
    files_.emplace_back(to, std::move(bytes));
  }
  files_.emplace_back(path, binary);  // last: where it is, all is
}

void PinnedProgram::copy() const {
  if (fs::exists(path)) return;
  for (const auto& [to, bytes] : files_) {
    fs::create_directories(to.parent_path());
    write_file_atomically(to, bytes.data(), bytes.size());
    fs::permissions(to, fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read |
                            fs::perms::others_exec);
  }
}

std::string slurm_start(const SlurmConfig& slurm, const fs::path& program, const std::string& words) {
  if (slurm.container.empty()) return "exec " + shell_quoted(program.string()) + " " + words + "\n";
  return fmt::format(
      "{} cafx {} &\n"
      "task=$!\n"
      "trap 'again=1; kill -USR1 $task' USR1\n"
      "trap 'again=1; kill -TERM $task' TERM\n"
      "again=1\n"
      "while [ -n \"$again\" ]; do again=; wait $task; code=$?; done  # a signal ends the waiting, not the run\n"
      "[ $code != {} ] || scontrol requeue \"${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}\"\n"
      "exit $code\n",
      slurm.container, words, kExitRequeue);
}

}  // namespace cafx
