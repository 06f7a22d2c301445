#include "datasets/idmt.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "kernels/base/error.h"

namespace cafx {

namespace {
std::string lower(std::string s) {
  for (char& c : s) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return s;
}
bool digits(const std::string& s, std::size_t from, std::size_t n) {
  return std::all_of(s.begin() + static_cast<long>(from), s.begin() + static_cast<long>(from + n),
                     [](unsigned char c) { return std::isdigit(c); });
}
}  // namespace

std::optional<IdmtName> parse_idmt_name(const std::string& stem) {
  std::string s = stem;
  for (char& c : s) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const bool shape = s.size() >= 16 && s[3] == '-' && s[9] == '-' && s[14] == '-' && digits(s, 1, 2) &&
                     digits(s, 4, 5) && digits(s, 10, 4) && digits(s, 15, s.size() - 15);
  if (!shape || (s[0] != 'B' && s[0] != 'G' && s[0] != 'P')) return std::nullopt;
  IdmtName name;
  name.note = s.substr(0, 9);
  name.instrument = s[0];
  name.midi_note = std::stoi(s.substr(4, 2));
  name.effect = std::stoi(s.substr(11, 2));
  name.setting = s[13] - '0';
  name.group = s.substr(0, 2);
  return name;
}

int idmt_effect_code(const std::string& effect) {
  static const std::map<std::string, int> codes = {
      {"nofx", 11},    {"eq", 12},         {"fxchain", 13},  {"feedbackdelay", 21}, {"slapbackdelay", 22},
      {"reverb", 23},  {"chorus", 31},     {"flanger", 32},  {"phaser", 33},        {"tremolo", 34},
      {"vibrato", 35}, {"distortion", 41}, {"overdrive", 42}};
  const auto found = codes.find(lower(effect));
  if (found == codes.end()) {
    throw Error(
        "data.effect = \"{}\" is not an effect of the data set; known are Distortion, Overdrive, EQ, FxChain, "
        "Chorus, Flanger, Phaser, Tremolo, Vibrato, Reverb, FeedbackDelay, SlapbackDelay",
        effect);
  }
  return found->second;
}

}  // namespace cafx
