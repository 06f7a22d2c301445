#include "host/train/checkpoint_files.h"

#include <system_error>

#include "kernels/base/error.h"

namespace cafx {

namespace fs = std::filesystem;

void keep_previous_checkpoint(const fs::path& run) {
  std::error_code error;
  const fs::path last = run / kCheckpointFile, linked = run / "checkpoint.previous.partial";
  fs::remove(linked, error);
  fs::create_hard_link(last, linked, error);  // the first checkpoint has none before it
  if (!error) fs::rename(linked, run / kPreviousCheckpointFile, error);
}

void drop_previous_checkpoint(const fs::path& run) {
  std::error_code ignored;
  fs::remove(run / kPreviousCheckpointFile, ignored);
}

void read_last_whole_checkpoint(const fs::path& run, const std::function<void(const fs::path&)>& read,
                                const std::function<void(const std::string&)>& say) {
  const fs::path last = run / kCheckpointFile, previous = run / kPreviousCheckpointFile;
  std::string found;
  try {
    return read(last);
  } catch (const Error& e) {
    found = e.what();
  }
  std::error_code error;
  if (fs::exists(previous, error)) {
    try {
      read(previous);
      fs::rename(previous, last, error);
      if (error) throw Error("{}: cannot be written: {}", last.string(), error.message());
      say(found + "; the run goes on from the checkpoint before it");
      return;
    } catch (const Error& e) {
      throw Error("{}; the one before it cannot be used either ({}); put a copy back, or remove {} and train anew",
                  found, e.what(), run.string());
    }
  }
  throw Error("{}; put a copy of it back, or remove the folder {} and train anew ('cafx sweep retry' in a sweep)",
              found, run.string());
}

}  // namespace cafx
