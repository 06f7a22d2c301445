// host/sweep/slurm_commands.h -- calls of Slurm's programs (squeue, sbatch, scontrol, scancel), and parsing of their
// output.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace cafx {

struct QueuedJob {
  std::string id;             // "12_3", or "12" outside of arrays
  std::string state, reason;  // in squeue's terms
};

struct Ran {
  int code = 127;  // 127: not found
  std::string out, error;
};
Ran run_program(std::vector<std::string> words);

// For a message: without line ends, at most 500 characters.
std::string one_line(std::string text);
std::vector<std::string> lines_of(const std::filesystem::path&);

// The run folders in the line of a list that tells an array task its runs.
std::vector<std::string> folders_of_line(const std::string&);

// The user's jobs that belong to a sweep, each with its run folder, a cohort's with every one ("" for the one that
// writes the tables): those whose comment names a list in SWEEP/slurm. `code`: squeue's; nothing unless it is 0.
std::vector<std::pair<std::string, QueuedJob>> jobs_of(const std::filesystem::path& sweep, int& code);

inline constexpr int kSlurmArraySize = 1001;  // Slurm's default
int max_array_size();                         // the cluster's; the default if it does not answer

}  // namespace cafx
