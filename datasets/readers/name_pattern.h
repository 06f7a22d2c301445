// datasets/readers/name_pattern.h -- file names with placeholders: which files are a pair, and what their names tell.
//
//   "{device}/gain{knob:gain}/{note}"    a path below the folder: as many folders at its end as the pattern has
//
//   {NAME}              text, as little as fits: {note}, {device}, {pickup}, ...
//   {split}             train, training, trainval; val, valid, validation, dev; test, testing, eval
//   {knob:NAME}         a number, else a word; {knob:NAME/100}: the number divided by 100
//   {knobs}             letter and value of each knob, joined by _, as C030_R050; {knobs/100}: the numbers divided by
//                       100
//   {side:DRYWORD,WETWORD}   which side the file is
//   *                   any text
//
// None of them reaches over a /. Letters of either case are equal. Where the pattern ends with that of an audio file,
// files end so, else as any audio file does. Dots and blanks around a {NAME} do not count.
// Errors   a pattern that is none: Error "KEY = "...": reason".
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "datasets/pair.h"

namespace cafx {

struct NameParts {
  std::map<std::string, std::string> names;  // by placeholder
  std::vector<KnobValue> knobs;              // in the pattern's order
  std::string split;                         // the word that stands there; empty: no {split}
  bool wet = false;                          // of {side}
};

class NamePattern {
 public:
  NamePattern(std::string text, std::string key);
  // `path`: relative, with / between its parts. Error where the pattern has too many readings to try them all.
  std::optional<NameParts> match(const std::string& path) const;
  const std::string& text() const { return text_; }
  bool has_side() const { return count(Kind::kSide) > 0; }
  bool has_split() const { return count(Kind::kSplit) > 0; }
  std::vector<std::string> knobs() const;                           // "knob:gain" of {knob:gain}, "knobs" of {knobs}
  const std::vector<std::string>& names() const { return names_; }  // of {NAME}

 private:
  enum class Kind { kText, kAny, kName, kSplit, kKnob, kKnobs, kSide };
  struct Token {
    Kind kind;
    std::string text;  // in lower case, or the name
    double divisor = 1.0;
    std::vector<std::string> words = {};  // of {side}
  };
  struct Matcher;
  Token token_of(const std::string& inside) const;
  void add(Token);
  std::size_t count(Kind) const;
  [[noreturn]] void refuse(const std::string& reason) const;

  std::string text_, key_, ending_;
  std::vector<Token> tokens_;
  std::vector<std::string> names_;
  std::size_t n_folders_ = 0;
};

// "train", "validation" or "test" for a word of a split; empty where it is none.
std::string part_of_word(const std::string& word);
// A number that is all of the text, finite; nothing else.
std::optional<double> number_of(const std::string& text);
// A number, after a plus sign or not, and what is behind it, as "2.5 dB"; nothing where it does not begin with one.
struct Measured {
  double number = 0.0;
  std::string unit;  // as it is written; empty: there is none
};
std::optional<Measured> measured(const std::string& text);
// With a point for the comma of such a number, as "2,5 dB"; other texts as they are.
std::string decimal_point(const std::string& text);
KnobValue knob_value(const std::string& name, const std::string& text, double divisor = 1.0);

}  // namespace cafx
