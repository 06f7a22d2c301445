// host/draw/compact_svg.h -- the same picture in fewer bytes: an SVG as gnuplot writes it, a fifth to a half as long.
//
//   coordinates   tenths of a unit (a unit is a pixel of 1/96 inch), in paths relative to the point before
//   dots          filled circles of one size and colour in a row become one path with round caps
//   groups        dissolve: each element carries what it inherits; a style that three elements share becomes a class
//   the rest      attributes that repeat a default, unused definitions and descriptions are dropped
//
// Bits     the same text gives the same text.
// Errors   text that is no XML of elements, attributes and text, or has a style sheet already, is returned as it is.
#pragma once

#include <string>

namespace cafx {

std::string compact_svg(const std::string&);

}  // namespace cafx
