#include "host/train/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>

#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"

namespace cafx {

RunFolder::RunFolder(const std::filesystem::path& path) : path_(path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    throw Error("{}: the run folder cannot be made: {}; choose another with --out", path.string(), error.message());
  }
  const std::string lock = file("run.lock").string();
  lock_ = open(lock.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (lock_ < 0) {
    throw Error("{}: cannot write into the run folder: {}; make it writable, or train into another with --out",
                path.string(), std::strerror(errno));
  }
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    char owner[32] = {};
    if (::read(lock_, owner, sizeof owner - 1) < 0) owner[0] = 0;
    close(lock_);
    lock_ = -1;
    throw Error(
        "{}: the run folder is in use by process {}; wait for it or stop it; another training needs another --out",
        path.string(), owner[0] ? owner : "unknown");
  }
  const std::string pid = std::to_string(getpid());
  if (ftruncate(lock_, 0) != 0 || pwrite(lock_, pid.data(), pid.size(), 0) < 0) {
    const std::string reason = std::strerror(errno);
    close(lock_);
    lock_ = -1;
    throw Error("{}: cannot write into the run folder: {}; free some space, or train into another with --out",
                path.string(), reason);
  }
}

RunFolder::~RunFolder() {
  if (lock_ < 0) return;
  std::error_code ignored;
  std::filesystem::remove(file("run.lock"), ignored);
  close(lock_);
}

void RunFolder::write(const std::string& name, const std::string& text) const {
  write_file_atomically(file(name), text.data(), text.size());
}

void RunFolder::log(const std::string& line) const {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  gmtime_r(&now, &utc);
  char stamp[32];
  std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
  std::ofstream out(file(kLogFile), std::ios::app);
  out << stamp << ' ' << line << '\n';
}

std::string RunFolder::read(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::is_directory(status)) throw Error("{}: is a folder, where a file is expected", path.string());
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error("{}: cannot be read: {}; is it the folder of a run?", path.string(), std::strerror(errno));
  if (std::filesystem::is_regular_file(status)) {
    std::string all, part(std::size_t{1} << 16, '\0');
    while (in.read(part.data(), static_cast<std::streamsize>(part.size())) || in.gcount() > 0)
      all.append(part, 0, static_cast<std::size_t>(in.gcount()));
    if (in.bad()) throw Error("{}: cannot be read: {}", path.string(), std::strerror(errno));
    return all;
  }
  // A pipe, as a shell's <(...), or a device; of what has no end not all is read.
  constexpr std::size_t kMost = std::size_t{1} << 20;
  std::string text(kMost + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kMost)
    throw Error("{}: is no file, and does not end within {} bytes; give a file", path.string(), kMost);
  return text;
}

void fail_at_nan(const RunFolder& folder, const std::string& place, double loss, const std::string& remedy,
                 const Params& params, const std::vector<float>& gradient) {
  std::string first = "the loss alone";
  for (const ParamSpec& p : params) {
    const auto begin = gradient.begin() + p.offset;
    if (std::any_of(begin, begin + p.size, [](float x) { return !std::isfinite(x); })) {
      first = "first the gradient of " + p.name;
      break;
    }
  }
  const std::string text =
      fmt::format("{}: training broke down: loss {}, {}; {}, then start anew; the last good checkpoint is kept in {}",
                  place, loss, first, remedy, folder.path().string());
  folder.log(text);
  throw Error(text);
}

}  // namespace cafx
