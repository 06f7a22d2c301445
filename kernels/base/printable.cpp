#include "kernels/base/printable.h"

#include <fmt/format.h>

namespace cafx {

namespace {

// Bytes of the character that begins at s[i], as UTF-8 of a code point that may be shown; 0 where it is none.
std::size_t character(const std::string& s, std::size_t i) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned>(static_cast<unsigned char>(s[k])); };
  const unsigned first = byte(i);
  if (first < 0x80) return first >= 32 && first != 127 ? 1 : 0;
  const std::size_t n = first >= 0xc2 && first < 0xe0   ? 2
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xf0 && first < 0xf5 ? 4
                                                        : 0;
  if (n == 0 || i + n > s.size()) return 0;
  unsigned code = first & (0xffu >> (n + 1));
  for (std::size_t k = 1; k < n; ++k) {
    if ((byte(i + k) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i + k) & 0x3f);
  }
  const bool overlong = (n == 3 && code < 0x800) || (n == 4 && code < 0x10000);
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  const bool control = code < 0xa0;
  // Marks that turn the direction of writing make a name look like another.
  const bool turns = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return overlong || surrogate || control || turns || code > 0x10ffff ? 0 : n;
}

std::string escaped(const std::string& text, bool one_line) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\n' || c == '\t' || c == '\r') {
      const bool stays = !one_line && c != '\r';
      if (stays || one_line) {
        out += stays ? c : ' ';
      } else {
        out += "\\x0d";
      }
      ++i;
      continue;
    }
    const std::size_t n = character(text, i);
    if (n > 0) {
      out.append(text, i, n);
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    i += n > 0 ? n : 1;
  }
  return out;
}

}  // namespace

std::string printable(const std::string& text) { return escaped(text, false); }

std::string printable_line(const std::string& text, std::size_t most) {
  std::string line = text;
  if (line.size() > most) line = line.substr(0, most / 4) + " ... " + line.substr(line.size() - most / 2);
  return escaped(line, true);
}

}  // namespace cafx
