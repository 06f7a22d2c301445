// kernels/base/error.h -- the two kinds of failure, and how each is reported.
//
//   Error       something outside is wrong (file, config, argument). The text names what was found, where, and how to
//               mend it. `main` prints it on one line and returns 2.
//   WriteError  an Error: a file could not be written.
//   CheckError  a bug in cafx: a broken contract, with file, line and numbers. `main` prints it and returns 70.
#pragma once

#include <fmt/format.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <utility>

namespace cafx {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& text) : std::runtime_error(text) {}

  template <class First, class... Rest>
  Error(fmt::format_string<First, Rest...> format, First&& first, Rest&&... rest)
      : std::runtime_error(fmt::format(format, std::forward<First>(first), std::forward<Rest>(rest)...)) {}
};

// A file that could not be written; `code` is errno. A full disk is temporary: the caller may try again.
class WriteError : public Error {
 public:
  WriteError(const std::string& text, int errno_code) : Error(text), code(errno_code) {}
  bool disk_full() const { return code == ENOSPC || code == EDQUOT || code == EFBIG; }
  int code;
};

class CheckError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& values);

namespace detail {
template <class... Values>
std::string join_values(const Values&... values) {
  std::string text;
  ((text += fmt::format("{}{}", text.empty() ? "" : ", ", values)), ...);
  return text;
}
}  // namespace detail
}  // namespace cafx

// CAFX_CHECK(lo < hi, lo, hi) throws CheckError "kernels/saaf/saaf.cpp:12: lo < hi is false (1, -1)".
#define CAFX_CHECK(condition, ...) \
  ((condition) ? void()            \
               : ::cafx::check_failed(#condition, __FILE__, __LINE__, ::cafx::detail::join_values(__VA_ARGS__)))
