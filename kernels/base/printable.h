// kernels/base/printable.h -- text from outside (names, metadata, values), made fit for a terminal.
//
//   Control characters (C0, DEL, C1 as UTF-8) and bytes that are no UTF-8 become \xHH; line ends and tabs stay.
//   Whatever a file's name or metadata holds, it moves no cursor and changes no setting.
#pragma once

#include <string>

namespace cafx {

std::string printable(const std::string& text);
// The same on one line: line ends and tabs become spaces. Longer than `most` bytes, it is cut in the middle, since
// messages begin with a name and end with the reason.
std::string printable_line(const std::string& text, std::size_t most = 8000);

}  // namespace cafx
