// host/train/run_folder.h -- the folder of one run: who works in it, what is written where.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/params.h"

namespace cafx {

inline constexpr const char* kLogFile = "log.txt";
inline constexpr const char* kResultFile = "result.json";  // of a training that has ended
// In place of a run: the names of the folders of several seeds' runs.
inline constexpr const char* kSeedsFile = "seeds.json";

class RunFolder {
 public:
  // Makes the folder where it is missing and locks it for this process. Error: in use, not writable.
  explicit RunFolder(const std::filesystem::path&);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name) const { return path_ / name; }
  void write(const std::string& name, const std::string& text) const;  // atomically
  void log(const std::string& line) const;                             // a line with the time, to kLogFile

  // The text of a file; Error names it.
  static std::string read(const std::filesystem::path&);

 private:
  std::filesystem::path path_;
  int lock_ = -1;
};

// Loss or gradient stopped being numbers: logs and throws an Error that names the place ("train, epoch 3, step 5"), the
// first tensor whose gradient is not finite (`gradient` is laid out as the parameters are), and the cure.
[[noreturn]] void fail_at_nan(const RunFolder&, const std::string& place, double loss, const std::string& remedy,
                              const Params& params, const std::vector<float>& gradient);

}  // namespace cafx
