#include "kernels/base/safetensors.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
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
  // The parser takes a NUL for the end of the text and would ignore the rest.
  if (std::memchr(begin, 0, size)) throw Error("{}: is damaged: its header holds a NUL byte", name);
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

// What a file of another kind is, by its first bytes; empty: nothing that is known.
std::string kind_of_other_file(const std::string& head) {
  const auto begins = [&](const std::string& s) { return head.compare(0, s.size(), s) == 0; };
  // A length, which may have any first bytes, and the brace of a header.
  if (head.size() > 8 && head[8] == '{' && head[5] == 0 && head[6] == 0 && head[7] == 0) return "";
  std::string lower = head;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const std::size_t text = lower.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  const auto text_begins = [&](const char* s) {
    return text != std::string::npos && lower.compare(text, std::strlen(s), s) == 0;
  };
  if (begins("version https://git-lfs.github.com/spec/")) {
    return "is a pointer of Git LFS, which stands for a file that was not fetched; fetch it with 'git lfs pull'";
  }
  if (text_begins("<!doctype html") || text_begins("<html") || text_begins("<?xml")) {
    return "is a web page, as a download gives that needs another address or a log-in; download the file itself";
  }
  const bool pickle = head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5;
  if (pickle || begins("PK\x03\x04")) {
    return "is a pickle of Python, as torch.save writes it, which can run any program when it is read; convert it in "
           "Python "
           "with safetensors.torch.save_file";
  }
  if (text_begins("{")) {
    const bool nam =
        head.find("\"architecture\"") != std::string::npos || head.find("\"version\"") != std::string::npos;
    return nam ? "is a .nam file, a model of NeuralAmpModeler, which cafx writes and does not read; give safetensors"
               : "is JSON text, where a safetensors file is expected";
  }
  // The fields of ONNX in their order: the IR's version, a small number, and the name of the program that wrote it.
  if (head.size() > 3 && head[0] == 0x08 && head[1] > 0 && head[1] < 32 && head[2] == 0x12) {
    return "is an ONNX file, which cafx writes and does not read; give the run or the safetensors file that it was "
           "made of";
  }
  for (const char* audio : {"RIFF", "RIFX", "RF64", "fLaC", "FORM", "OggS"}) {
    if (begins(audio)) return "is audio, where a model is expected";
  }
  if (begins("\x89HDF")) return "is an HDF5 file, as Keras writes it; convert it in Python to safetensors";
  if (begins("GGUF")) return "is a GGUF file; convert it in Python to safetensors";
  if (begins("\x93NUMPY")) return "is an array of NumPy; convert it in Python with safetensors.numpy.save_file";
  // As a header's length, eight letters are over 10^18.
  const auto is_text = [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\r' || c == '\t';
  };
  if (head.size() >= 8 && std::all_of(head.begin(), head.end(), is_text)) {
    return "is text, where a model is expected: the folder of a run, or a safetensors file";
  }
  return "";
}

void refuse_other_kind(const std::string& head, const std::string& name) {
  const std::string kind = kind_of_other_file(head);
  if (!kind.empty()) throw Error("{}: {}", name, kind);
}

// The length of the header, from the first bytes of a file of `size` bytes.
std::uint64_t header_size(const unsigned char* head, std::size_t n_head, std::uint64_t size, const std::string& name) {
  if (n_head < 8) {
    throw Error("{}: is cut off or is not a safetensors file: it has {} bytes, expected at least 8", name, size);
  }
  std::uint64_t n = 0;
  for (int i = 7; i >= 0; --i) n = n << 8 | head[i];
  if (n > kMaxHeader) {
    throw Error("{}: is not a safetensors file: it begins with a header length of {} bytes, at most {} are allowed",
                name, n, kMaxHeader);
  }
  if (n > size - 8) {
    throw Error("{}: is cut off or is not a safetensors file: it has {} bytes, its header alone ends at {}", name, size,
                n + 8);
  }
  return n;
}

struct Layout {
  Safetensors content;         // tensors without their bytes
  std::vector<Entry> entries;  // in the order of the file
};

Layout parse_layout(const unsigned char* text, std::uint64_t n, std::uint64_t n_buffer, const std::string& name) {
  if (n == 0 || text[0] != '{') throw Error("{}: is not a safetensors file: its header does not start with '{{'", name);
  const Json header = parse_header(text, static_cast<std::size_t>(n), name);
  Layout layout;
  auto& [content, entries] = layout;
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
    throw Error("{}: is {}: it has {} bytes, expected {}", name, at > n_buffer ? "cut off" : "damaged",
                8 + n + n_buffer, static_cast<unsigned __int128>(at) + 8 + n);
  }
  return layout;
}

[[noreturn]] void write_failed(const std::filesystem::path& path, const char* step) {
  const int code = errno;
  const char* cure = code == ENOSPC || code == EDQUOT || code == EFBIG  ? "free some space"
                     : code == EROFS || code == EACCES || code == EPERM ? "choose a folder that can be written"
                                                                        : "check the folder";
  throw WriteError(fmt::format("{}: cannot be written ({}): {}; {} and try again, what was there before is untouched",
                               path.string(), step, std::strerror(code), cure),
                   code);
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
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Opens `path` empty and waits for any other writer of it; -1 with errno on failure.
int open_alone(const std::string& path) {
  for (;;) {
    File file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (file.fd() < 0) return -1;
    while (flock(file.fd(), LOCK_EX) != 0 && errno == EINTR) {
    }
    // The other writer has renamed it meanwhile: it is a finished file now and must keep its content.
    struct stat opened {};
    struct stat named {};
    if (fstat(file.fd(), &opened) != 0) return -1;
    if (stat(path.c_str(), &named) != 0 || opened.st_ino != named.st_ino || opened.st_dev != named.st_dev) continue;
    if (ftruncate(file.fd(), 0) != 0) return -1;
    return file.release();
  }
}

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
  refuse_other_kind(std::string(reinterpret_cast<const char*>(data), std::min<std::size_t>(size, 512)), name);
  const std::uint64_t n = header_size(data, std::min<std::size_t>(size, 8), size, name);
  const unsigned char* buffer = data + 8 + n;
  auto [content, entries] = parse_layout(data + 8, n, size - 8 - n, name);
  for (const Entry& e : entries) content.tensors[e.name].bytes.assign(buffer + e.begin, buffer + e.end);
  return content;
}

Safetensors read_safetensors(const std::filesystem::path& path) {
  const std::string name = path.string();
  // Opening a pipe without a writer would block.
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.fd() < 0 || fstat(file.fd(), &status) != 0) {
    throw Error("{}: cannot be read: {}", name, std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) throw Error("{}: is not a file", name);
  const auto fill = [&](unsigned char* to, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
      const ssize_t n = read(file.fd(), to + done, size - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw Error("{}: cannot be read: {}", name, std::strerror(errno));
      if (n == 0) throw Error("{}: became shorter while it was read; try again", name);
      done += static_cast<std::size_t>(n);
    }
  };
  // Header first: its sizes are checked against the file before memory is allocated.
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::string first(std::min<std::uint64_t>(size, 512), '\0');
  fill(reinterpret_cast<unsigned char*>(first.data()), first.size());
  refuse_other_kind(first, name);
  if (lseek(file.fd(), 0, SEEK_SET) != 0) throw Error("{}: cannot be read: {}", name, std::strerror(errno));
  unsigned char head[8];
  const std::size_t n_head = std::min<std::uint64_t>(size, 8);
  fill(head, n_head);
  const std::uint64_t n = header_size(head, n_head, size, name);
  std::vector<unsigned char> header(n);
  fill(header.data(), n);
  auto [content, entries] = parse_layout(header.data(), n, size - 8 - n, name);
  try {
    for (const Entry& e : entries) {  // in the order of the file
      auto& bytes = content.tensors[e.name].bytes;
      bytes.resize(e.end - e.begin);
      fill(bytes.data(), bytes.size());
    }
  } catch (const std::bad_alloc&) {
    throw Error("{}: does not fit into memory: its tensors have {} bytes", name, size - 8 - n);
  } catch (const std::length_error&) {
    throw Error("{}: does not fit into memory: its tensors have {} bytes", name, size - 8 - n);
  }
  return content;
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

void write_file_atomically(const std::filesystem::path& given, const void* bytes, std::size_t size) {
  // What a link points to is replaced, not the link; a device or a folder never.
  std::error_code error;
  const auto type = std::filesystem::status(given, error).type();
  if (type != std::filesystem::file_type::regular && type != std::filesystem::file_type::not_found &&
      type != std::filesystem::file_type::none) {
    throw Error("{}: cannot be written: there is something of that name that is not a file; choose another name",
                given.string());
  }
  const bool link = type == std::filesystem::file_type::regular && std::filesystem::is_symlink(given, error);
  const std::filesystem::path path = link ? std::filesystem::canonical(given) : given;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  // One fixed name: the next writer overwrites what a killed process left, so leftovers do not pile up.
  const std::string temporary = (folder / fmt::format(".{}.partial", path.filename().string())).string();
  File file(open_alone(temporary));
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
  // Closed, and with that unlocked, only after the rename.
  if (rename(temporary.c_str(), path.c_str()) != 0) give_up("rename");
  // The new name is safe only once the folder is.
  const File directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.fd() >= 0) fsync(directory.fd());
}

}  // namespace cafx
