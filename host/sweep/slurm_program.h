// host/sweep/slurm_program.h -- what a job's script starts: the binary of the submission, or a container's cafx.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "host/sweep/spec.h"

namespace cafx {

// For a shell, whatever the text holds.
std::string shell_quoted(const std::string& text);

// This process's binary and the libraries that lie beside it (of a folder or a wheel: those that it found by $ORIGIN),
// by content. Libraries of the system are the system's.
class PinnedProgram {
 public:
  explicit PinnedProgram(const std::filesystem::path& store);
  std::filesystem::path path;  // STORE/.pinned/HASH/cafx, or .../HASH/bundle/bin/cafx where it has libraries
  void copy() const;           // where it is not there yet

 private:
  std::filesystem::path folder_;
  std::vector<std::pair<std::filesystem::path, std::string>> files_;  // to, bytes
};

// The last lines of a script: `words` are the command's arguments, quoted already.
//   without a container   exec PROGRAM words: the signal of --signal=B: reaches cafx itself
//   with one              CONTAINER cafx words, whose signals the shell hands on; Slurm's programs are outside, so that
//                         the shell puts the job back into the queue where cafx asks for it by its exit code
std::string slurm_start(const SlurmConfig&, const std::filesystem::path& program, const std::string& words);

}  // namespace cafx
