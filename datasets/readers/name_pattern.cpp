#include "datasets/readers/name_pattern.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "datasets/readers/reader.h"
#include "kernels/base/error.h"
#include "kernels/base/printable.h"

namespace cafx {

namespace {

constexpr int kMostReadings = 100000;  // of one name

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

// Longest first: "training" before "train".
const std::vector<std::pair<std::string, std::string>>& split_words() {
  static const std::vector<std::pair<std::string, std::string>> words = {
      {"validation", "validation"}, {"training", "train"}, {"trainval", "train"}, {"testing", "test"},
      {"valid", "validation"},      {"train", "train"},    {"eval", "test"},      {"test", "test"},
      {"val", "validation"},        {"dev", "validation"}};
  return words;
}

// Ends of numbers that begin at `at`, the longest first.
std::vector<std::size_t> number_ends(const std::string& s, std::size_t at) {
  std::vector<std::size_t> ends;
  std::size_t i = at;
  if (i < s.size() && s[i] == '-') ++i;
  const std::size_t digits = i;
  while (i < s.size() && is_digit(s[i])) ends.push_back(++i);
  if (i > digits && i + 1 < s.size() && s[i] == '.' && is_digit(s[i + 1])) {
    ++i;
    while (i < s.size() && is_digit(s[i])) ends.push_back(++i);
  }
  std::reverse(ends.begin(), ends.end());
  return ends;
}

// Ends of lists as C030_R050_MNormal that begin at `at`, the longest first.
std::vector<std::size_t> list_ends(const std::string& s, std::size_t at) {
  std::vector<std::size_t> ends;
  for (std::size_t i = at; i < s.size() && is_letter(s[i]);) {
    const std::size_t value = ++i;
    while (i < s.size() && (is_digit(s[i]) || is_letter(s[i]))) ++i;
    if (i == value) break;
    ends.push_back(i);
    if (i >= s.size() || s[i] != '_') break;
    ++i;
  }
  std::reverse(ends.begin(), ends.end());
  return ends;
}

std::string trimmed_name(const std::string& s) {
  const std::size_t from = s.find_first_not_of(". "), to = s.find_last_not_of(". ");
  return from == std::string::npos ? "" : s.substr(from, to - from + 1);
}

}  // namespace

std::string part_of_word(const std::string& word) {
  const std::string w = lower_case(word);
  for (const auto& [name, part] : split_words()) {
    if (w == name) return part;
  }
  return "";
}

std::optional<double> number_of(const std::string& text) {
  double value = 0.0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<Measured> measured(const std::string& text) {
  const std::size_t end = text.find_last_of("0123456789"), begin = text.size() > 1 && text[0] == '+' ? 1 : 0;
  if (end == std::string::npos || text[begin] == '+' || (begin > 0 && text[begin] == '-')) return std::nullopt;
  const auto number = number_of(text.substr(begin, end + 1 - begin));
  if (!number) return std::nullopt;
  return Measured{*number, trimmed_name(text.substr(end + 1))};
}

std::string decimal_point(const std::string& text) {
  const std::size_t comma = text.find(',');
  const auto digit = [&](std::size_t i) { return i < text.size() && is_digit(text[i]); };
  if (comma == std::string::npos || comma == 0 || !digit(comma - 1) || !digit(comma + 1)) return text;
  std::string number = text;
  number[comma] = '.';
  return measured(number) ? number : text;
}

KnobValue knob_value(const std::string& name, const std::string& text, double divisor) {
  KnobValue knob{name, text};
  if (const auto number = number_of(text)) knob.number = *number / divisor;
  return knob;
}

void NamePattern::refuse(const std::string& reason) const { throw Error("{} = \"{}\": {}", key_, text_, reason); }

std::size_t NamePattern::count(Kind kind) const {
  return static_cast<std::size_t>(
      std::count_if(tokens_.begin(), tokens_.end(), [&](const Token& t) { return t.kind == kind; }));
}

std::vector<std::string> NamePattern::knobs() const {
  std::vector<std::string> knobs;
  for (const Token& t : tokens_) {
    if (t.kind == Kind::kKnob) knobs.push_back("knob:" + t.text);
    if (t.kind == Kind::kKnobs) knobs.emplace_back("knobs");
  }
  return knobs;
}

void NamePattern::add(Token token) {
  const auto is_text = [](const Token& t) { return t.kind == Kind::kText; };
  if (!tokens_.empty() && !is_text(token) && !is_text(tokens_.back())) {
    refuse("two placeholders stand side by side, so nothing tells where one ends; put a letter between them");
  }
  if (token.kind == Kind::kName || token.kind == Kind::kKnob) {
    for (const Token& t : tokens_) {
      if (t.kind == token.kind && t.text == token.text) refuse(fmt::format("{{{}}} stands there twice", token.text));
    }
  } else if (token.kind != Kind::kText && token.kind != Kind::kAny && count(token.kind) > 0) {
    refuse("{split}, {knobs} and {side} may stand there once");
  }
  if (token.kind == Kind::kName) names_.push_back(token.text);
  tokens_.push_back(std::move(token));
}

NamePattern::Token NamePattern::token_of(const std::string& inside) const {
  std::string name = inside, rest;
  Token token{Kind::kName, ""};
  if (const std::size_t slash = name.find('/'); slash != std::string::npos) {
    const auto divisor = number_of(name.substr(slash + 1));
    if (!divisor || !(*divisor > 0.0)) refuse(fmt::format("{{{}}}: expected a number above 0 behind the /", inside));
    token.divisor = *divisor;
    name.resize(slash);
  }
  if (const std::size_t colon = name.find(':'); colon != std::string::npos) {
    rest = name.substr(colon + 1);
    name.resize(colon);
    if (name != "knob" && name != "side") {
      refuse(fmt::format("{{{}}}: expected {{knob:NAME}} or {{side:DRYWORD,WETWORD}}", inside));
    }
  }
  if (name == "side") {
    const std::size_t comma = rest.find(',');
    if (comma == std::string::npos || comma == 0 || comma + 1 == rest.size() ||
        rest.find(',', comma + 1) != std::string::npos) {
      refuse("{side}: expected a word for each side, as {side:input,target}");
    }
    token.kind = Kind::kSide;
    token.words = {lower_case(rest.substr(0, comma)), lower_case(rest.substr(comma + 1))};
  } else if (name == "knob") {
    if (rest.empty()) refuse("{knob}: expected a name, as {knob:gain}");
    token.kind = Kind::kKnob;
    token.text = rest;
  } else if (name == "knobs" || name == "split") {
    token.kind = name == "knobs" ? Kind::kKnobs : Kind::kSplit;
  } else {
    const bool plain = !name.empty() && std::all_of(name.begin(), name.end(),
                                                    [](char c) { return is_letter(c) || is_digit(c) || c == '_'; });
    if (!plain) refuse(fmt::format("{{{}}}: expected a name of letters, digits and _, as {{note}}", inside));
    token.text = name;
  }
  if (token.divisor != 1.0 && token.kind != Kind::kKnob && token.kind != Kind::kKnobs) {
    refuse(fmt::format("{{{}}}: only knobs are divided", inside));
  }
  return token;
}

NamePattern::NamePattern(std::string text, std::string key) : text_(std::move(text)), key_(std::move(key)) {
  std::string s = text_, literal;
  if (const std::size_t dot = s.rfind('.'); dot != std::string::npos && is_audio_ending(lower_case(s.substr(dot)))) {
    ending_ = lower_case(s.substr(dot));
    s.resize(dot);
  }
  const auto end_literal = [&] {
    if (!literal.empty()) add({Kind::kText, lower_case(literal)});
    literal.clear();
  };
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '}') refuse("a } has no { before it");
    if (s[i] == '{') {
      const std::size_t close = s.find('}', i);
      if (close == std::string::npos) refuse("a { has no } behind it");
      end_literal();
      add(token_of(s.substr(i + 1, close - i - 1)));
      i = close;
    } else if (s[i] == '*') {
      end_literal();
      add({Kind::kAny, ""});
    } else {
      n_folders_ += s[i] == '/' ? 1 : 0;
      literal += s[i];
    }
  }
  end_literal();
  if (tokens_.empty()) refuse("is empty; expected names with placeholders, as {device}/{note}");
  if (s.front() == '/' || s.back() == '/') refuse("begins or ends with a /; expected the path of a file in data.path");
}

// Tries the tokens from the left, each with all it can stand for.
struct NamePattern::Matcher {
  const NamePattern& pattern;
  const std::string &text, lower;
  std::vector<std::string> taken;  // by token
  int steps = 0;

  bool run(std::size_t i, std::size_t at) {
    if (++steps > kMostReadings) {
      pattern.refuse(
          fmt::format("has too many readings for '{}'; put longer words between its placeholders", printable(text)));
    }
    if (i == pattern.tokens_.size()) return at == text.size();
    const Token& t = pattern.tokens_[i];
    const auto upto = [&](std::size_t end) {
      taken[i] = text.substr(at, end - at);
      return run(i + 1, end);
    };
    const auto word = [&](const std::string& w) { return lower.compare(at, w.size(), w) == 0 && upto(at + w.size()); };
    const auto any_length = [&](std::size_t least) {
      for (std::size_t end = at + least; end <= text.size(); ++end) {
        if (end > at && text[end - 1] == '/') return false;
        if (upto(end)) return true;
      }
      return false;
    };
    const auto one_of = [&](const std::vector<std::size_t>& ends) {
      return std::any_of(ends.begin(), ends.end(), upto);
    };
    switch (t.kind) {
      case Kind::kText:
        return word(t.text);
      case Kind::kAny:
        return any_length(0);
      case Kind::kName:
        return any_length(1);
      case Kind::kKnob:
        return one_of(number_ends(text, at)) || any_length(1);
      case Kind::kKnobs:
        return one_of(list_ends(text, at));
      case Kind::kSide:
        return std::any_of(t.words.begin(), t.words.end(), word);
      case Kind::kSplit:
        return std::any_of(split_words().begin(), split_words().end(), [&](const auto& w) { return word(w.first); });
    }
    return false;
  }
};

std::optional<NameParts> NamePattern::match(const std::string& path) const {
  std::string s = path;
  const std::size_t dot = s.rfind('.'), slash = s.rfind('/');
  if (dot != std::string::npos && (slash == std::string::npos || dot > slash)) {
    if (!ending_.empty() && lower_case(s.substr(dot)) != ending_) return std::nullopt;
    s.resize(dot);
  }
  std::size_t from = s.size();
  for (std::size_t k = 0; k <= n_folders_ && from != std::string::npos; ++k) {
    from = from == 0 ? std::string::npos : s.rfind('/', from - 1);
    if (from == std::string::npos && k < n_folders_) return std::nullopt;
  }
  if (from != std::string::npos) s.erase(0, from + 1);
  Matcher matcher{*this, s, lower_case(s), std::vector<std::string>(tokens_.size())};
  if (!matcher.run(0, 0)) return std::nullopt;
  NameParts parts;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& got = matcher.taken[i];
    if (tokens_[i].kind == Kind::kName) parts.names[tokens_[i].text] = trimmed_name(got);
    if (tokens_[i].kind == Kind::kSplit) parts.split = got;
    if (tokens_[i].kind == Kind::kSide) parts.wet = lower_case(got) == tokens_[i].words[1];
    if (tokens_[i].kind == Kind::kKnob) parts.knobs.push_back(knob_value(tokens_[i].text, got, tokens_[i].divisor));
    if (tokens_[i].kind != Kind::kKnobs) continue;
    for (std::size_t at = 0; at < got.size();) {
      const std::size_t end = std::min(got.find('_', at), got.size());
      parts.knobs.push_back(knob_value(got.substr(at, 1), got.substr(at + 1, end - at - 1), tokens_[i].divisor));
      at = end + 1;
    }
  }
  return parts;
}

}  // namespace cafx
