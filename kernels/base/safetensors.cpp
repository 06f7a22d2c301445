#include "kernels/base/safetensors.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "kernels/base/error.h"

namespace cafx {

namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxHeader = 100'000'000;

// Bytes of one number; 0 for an unknown type.
std::uint64_t size_of(const std::string& dtype) {
  static const std::map<std::string, std::uint64_t> sizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"U16", 2}, {"I16", 2}, {"F16", 2},
      {"BF16", 2}, {"U32", 4}, {"I32", 4}, {"F32", 4},     {"U64", 8},     {"I64", 8}, {"F64", 8}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

// Parses strictly: a key that stands twice in one object is an error, which plain parsing would swallow.
Json parse_header(const unsigned char* begin, std::size_t size, const std::string& name) {
  std::vector<std::set<std::string>> open;
  std::string twice;
  const auto callback = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > 64) throw Error("{}: is not a safetensors file: its header is nested too deep", name);
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key && !open.back().insert(parsed.get<std::string>()).second && twice.empty()) {
      twice = parsed.get<std::string>();
    }
    return true;
  };
  Json header;
  try {
    header = Json::parse(begin, begin + size, callback);
  } catch (const Json::exception&) {
    throw Error("{}: is not a safetensors file, or is damaged: its header is not JSON", name);
  }
  if (!twice.empty()) throw Error("{}: is damaged: '{}' stands twice in its header", name, twice);
  if (!header.is_object()) throw Error("{}: is not a safetensors file: its header is not a JSON object", name);
  return header;
}

struct Entry {
  std::string name;
  std::uint64_t begin, end;
};

// An element of the header as a Tensor without data, and where its data lies.
std::pair<Tensor, Entry> parse_entry(const std::string& key, const Json& value, const std::string& name) {
  const auto bad = [&](const std::string& what) { return Error("{}: tensor '{}' {}", name, key, what); };
  if (!value.is_object()) throw bad("is not described by an object");
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!value.contains(field)) throw bad(fmt::format("has no '{}'", field));
  }
  if (value.size() != 3) throw bad("has an unknown field");
  const Json &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
  if (!dtype.is_string() || size_of(dtype.get<std::string>()) == 0) throw bad("has an unknown dtype");
  if (!shape.is_array()) throw bad("has a shape that is not a list");
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    throw bad("has data_offsets that are not two whole numbers");
  }
  Tensor tensor;
  tensor.dtype = dtype.get<std::string>();
  std::uint64_t bytes = size_of(tensor.dtype);
  for (const Json& n : shape) {
    if (!n.is_number_unsigned() || n.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
      throw bad("has a shape that is not made of whole numbers");
    }
    tensor.shape.push_back(n.get<std::int64_t>());
    if (__builtin_mul_overflow(bytes, n.get<std::uint64_t>(), &bytes)) throw bad("has a shape that is too large");
  }
  const Entry entry{key, offsets[0].get<std::uint64_t>(), offsets[1].get<std::uint64_t>()};
  if (entry.begin > entry.end || entry.end - entry.begin != bytes) {
    throw bad(
        fmt::format("has data_offsets [{}, {}] where its shape and type need {} bytes", entry.begin, entry.end, bytes));
  }
  return {std::move(tensor), entry};
}

[[noreturn]] void write_failed(const std::filesystem::path& path, const char* step) {
  const int code = errno;
  const char* cure = code == ENOSPC || code == EDQUOT || code == EFBIG  ? "free some space"
                     : code == EROFS || code == EACCES || code == EPERM ? "choose a folder that can be written"
                                                                        : "check the folder";
  throw Error("{}: cannot be written ({}): {}; {} and try again, what was there before is untouched", path.string(),
              step, std::strerror(code), cure);
}

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  bool close_now() { return close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

}  // namespace

Tensor Safetensors::from_floats(const float* data, std::vector<std::int64_t> shape) {
  std::size_t n = 1;
  for (const std::int64_t s : shape) n *= static_cast<std::size_t>(s);
  Tensor tensor{"F32", std::move(shape), std::vector<unsigned char>(n * sizeof(float))};
  if (n > 0) std::memcpy(tensor.bytes.data(), data, tensor.bytes.size());
  return tensor;
}

const float* Safetensors::floats(const std::string& name, const std::vector<std::int64_t>& shape,
                                 const std::string& file) const {
  const auto text = [](const std::vector<std::int64_t>& s) { return fmt::format("({})", fmt::join(s, ", ")); };
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    throw Error("{}: tensor '{}' is missing; is the file of another model?", file, name);
  }
  const Tensor& t = found->second;
  if (t.dtype != "F32") throw Error("{}: tensor '{}' is {}, expected F32", file, name, t.dtype);
  if (t.shape != shape) {
    throw Error("{}: tensor '{}' has shape {}, expected {}; is the file of another model?", file, name, text(t.shape),
                text(shape));
  }
  return reinterpret_cast<const float*>(t.bytes.data());
}

Safetensors parse_safetensors(const unsigned char* data, std::size_t size, const std::string& name) {
  if (size < 8) throw Error("{}: is not a safetensors file, or is cut off: {} bytes, at least 8 expected", name, size);
  std::uint64_t n = 0;
  for (int i = 7; i >= 0; --i) n = n << 8 | data[i];
  if (n > kMaxHeader) {
    throw Error("{}: is not a safetensors file: it begins with a header length of {} bytes, at most {} are allowed",
                name, n, kMaxHeader);
  }
  if (n > size - 8) {
    throw Error("{}: is cut off or is not a safetensors file: its header should have {} bytes, {} are there", name, n,
                size - 8);
  }
  if (n == 0 || data[8] != '{') throw Error("{}: is not a safetensors file: its header does not start with '{{'", name);
  const Json header = parse_header(data + 8, static_cast<std::size_t>(n), name);
  const unsigned char* buffer = data + 8 + n;
  const std::uint64_t n_buffer = size - 8 - n;

  Safetensors content;
  std::vector<Entry> entries;
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") {
      if (!value.is_object()) throw Error("{}: is damaged: its metadata is not an object", name);
      for (const auto& [k, v] : value.items()) {
        if (!v.is_string()) throw Error("{}: is damaged: metadata '{}' is not a string", name, k);
        content.metadata[k] = v.get<std::string>();
      }
      continue;
    }
    auto [tensor, entry] = parse_entry(key, value, name);
    content.tensors[key] = std::move(tensor);
    entries.push_back(entry);
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t at = 0;
  for (const Entry& e : entries) {
    if (e.begin != at) {
      throw Error("{}: is damaged: the data of tensor '{}' begins at byte {}, expected {}", name, e.name, e.begin, at);
    }
    at = e.end;
  }
  if (at != n_buffer) {
    throw Error("{}: is cut off or damaged: its tensors need {} bytes, {} are there", name, at, n_buffer);
  }
  for (const Entry& e : entries) content.tensors[e.name].bytes.assign(buffer + e.begin, buffer + e.end);
  return content;
}

Safetensors read_safetensors(const std::filesystem::path& path) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (file.fd() < 0 || fstat(file.fd(), &status) != 0) {
    throw Error("{}: cannot be read: {}", path.string(), std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) throw Error("{}: is not a file", path.string());
  std::vector<unsigned char> bytes(static_cast<std::size_t>(status.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = read(file.fd(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error("{}: cannot be read: {}", path.string(), std::strerror(errno));
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return parse_safetensors(bytes.data(), done, path.string());
}

void write_safetensors(const std::filesystem::path& path, const Safetensors& content) {
  std::vector<const std::pair<const std::string, Tensor>*> order;
  for (const auto& entry : content.tensors) {
    std::uint64_t bytes = size_of(entry.second.dtype);
    for (const std::int64_t n : entry.second.shape) bytes *= static_cast<std::uint64_t>(n);
    CAFX_CHECK(bytes == entry.second.bytes.size() && size_of(entry.second.dtype) > 0, entry.first, bytes,
               entry.second.bytes.size());
    order.push_back(&entry);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](auto* a, auto* b) { return size_of(a->second.dtype) > size_of(b->second.dtype); });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!content.metadata.empty()) header["__metadata__"] = content.metadata;
  std::uint64_t at = 0;
  for (const auto* entry : order) {
    const std::uint64_t end = at + entry->second.bytes.size();
    header[entry->first] = {
        {"dtype", entry->second.dtype}, {"shape", entry->second.shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    throw Error("{}: cannot be written: its metadata holds text that is not UTF-8", path.string());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');

  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(text.size() >> (8 * i));
  bytes += text;
  bytes.reserve(bytes.size() + at);
  for (const auto* entry : order) {
    bytes.append(reinterpret_cast<const char*>(entry->second.bytes.data()), entry->second.bytes.size());
  }
  write_file_atomically(path, bytes.data(), bytes.size());
}

void write_file_atomically(const std::filesystem::path& path, const void* bytes, std::size_t size) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  // One fixed name, so that what a killed process leaves behind is overwritten by the next and does not pile up.
  const std::string temporary = (folder / fmt::format(".{}.partial", path.filename().string())).string();
  File file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.fd() < 0) write_failed(path, "create");
  const auto give_up = [&](const char* step) {
    const int code = errno;
    unlink(temporary.c_str());
    errno = code;
    write_failed(path, step);
  };
  std::size_t done = 0;
  while (done < size) {
    const ssize_t n = write(file.fd(), static_cast<const char*>(bytes) + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) give_up("write");
    done += static_cast<std::size_t>(n);
  }
  if (fsync(file.fd()) != 0) give_up("sync");
  if (!file.close_now()) give_up("close");
  if (rename(temporary.c_str(), path.c_str()) != 0) give_up("rename");
  // The new name is safe only once the folder is.
  const File directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.fd() >= 0) fsync(directory.fd());
}

}  // namespace cafx
