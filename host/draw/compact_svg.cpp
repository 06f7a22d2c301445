#include "host/draw/compact_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

namespace cafx {

namespace {

struct Node {
  std::string name;  // empty: text
  std::string text;
  std::vector<std::pair<std::string, std::string>> attributes;
  std::vector<Node> children;

  const std::string* find(const std::string& key) const {
    for (const auto& [k, v] : attributes) {
      if (k == key) return &v;
    }
    return nullptr;
  }
  void erase(const std::string& key) {
    std::erase_if(attributes, [&](const auto& a) { return a.first == key; });
  }
};

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  std::optional<Node> root() {
    skip_prolog();
    Node node;
    if (!element(node)) return std::nullopt;
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    return at_ == text_.size() ? std::optional(std::move(node)) : std::nullopt;
  }

 private:
  bool starts(const char* what) const { return text_.compare(at_, std::strlen(what), what) == 0; }
  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }
  void skip_prolog() {
    for (skip_space(); starts("<?") || starts("<!"); skip_space()) {
      const std::size_t end = text_.find('>', at_);
      if (end == std::string::npos) return;
      at_ = end + 1;
    }
  }
  bool word(std::string& out) {
    const std::size_t from = at_;
    while (at_ < text_.size() && !is_space(text_[at_]) && !std::strchr("=/><'\"", text_[at_])) ++at_;
    out = text_.substr(from, at_ - from);
    return !out.empty();
  }
  bool attributes(Node& node) {
    for (skip_space(); at_ < text_.size() && text_[at_] != '>' && text_[at_] != '/'; skip_space()) {
      std::string key;
      if (!word(key)) return false;
      skip_space();
      if (at_ >= text_.size() || text_[at_++] != '=') return false;
      skip_space();
      if (at_ >= text_.size() || (text_[at_] != '"' && text_[at_] != '\'')) return false;
      const char quote = text_[at_++];
      const std::size_t end = text_.find(quote, at_);
      if (end == std::string::npos) return false;
      std::string value = text_.substr(at_, end - at_);
      if (value.find('"') != std::string::npos) return false;  // the output quotes with "
      node.attributes.emplace_back(std::move(key), std::move(value));
      at_ = end + 1;
    }
    return at_ < text_.size();
  }
  bool element(Node& node) {
    if (!starts("<") || starts("<!") || starts("</")) return false;
    ++at_;
    if (!word(node.name) || !attributes(node)) return false;
    if (starts("/>")) {
      at_ += 2;
      return true;
    }
    if (text_[at_++] != '>') return false;
    while (at_ < text_.size()) {
      if (starts("</")) {
        at_ += 2;
        std::string name;
        if (!word(name) || name != node.name) return false;
        skip_space();
        return at_ < text_.size() && text_[at_++] == '>';
      }
      if (starts("<!--")) {
        const std::size_t end = text_.find("-->", at_);
        if (end == std::string::npos) return false;
        at_ = end + 3;
        continue;
      }
      node.children.emplace_back();
      Node& child = node.children.back();
      if (text_[at_] == '<') {
        if (!element(child)) return false;
        continue;
      }
      const std::size_t end = text_.find('<', at_);
      if (end == std::string::npos) return false;
      child.text = text_.substr(at_, end - at_);
      at_ = end;
    }
    return false;
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

long tenths(double v) { return std::lround(10.0 * v); }

// Tenths as the shortest text: "12.3", "-.5", "7".
std::string short_number(long t) {
  std::string text = t < 0 ? "-" : "";
  t = std::labs(t);
  if (t >= 10 || t == 0) text += std::to_string(t / 10);
  if (t % 10) text += "." + std::to_string(t % 10);
  return text;
}

void add_number(std::string& out, long t) {
  const std::string text = short_number(t);
  const bool apart = out.empty() || std::isalpha(static_cast<unsigned char>(out.back())) || text[0] == '-';
  if (!apart) out += ' ';
  out += text;
}

// Absolute moves and lines become relative ones; empty where the data holds anything else.
class PathWriter {
 public:
  std::string operator()(const std::string& d) {
    for (const char* p = d.c_str();;) {
      while (is_space(*p) || *p == ',') ++p;
      if (*p == '\0') return out_;
      if (std::isalpha(static_cast<unsigned char>(*p))) {
        const char command = *p++;
        if (command == 'Z' || command == 'z') {
          close();
        } else if (command == 'M' || command == 'L') {
          moves_ = command == 'M';
        } else {
          return "";
        }
        continue;
      }
      long to[2];
      for (long& t : to) {
        while (is_space(*p) || *p == ',') ++p;
        char* end = nullptr;
        t = tenths(std::strtod(p, &end));
        if (end == p) return "";
        p = end;
      }
      if (moves_)
        start(to[0], to[1]);
      else
        line(to[0], to[1]);
      moves_ = false;
    }
  }

 private:
  void start(long x, long y) {
    waits_ = true;  // a move that no line follows draws nothing
    from_x_ = x;
    from_y_ = y;
  }
  void line(long x, long y) {
    if (waits_) {
      const bool first = out_.empty();
      out_ += first ? 'M' : 'm';
      add_number(out_, first ? from_x_ : from_x_ - x_);
      add_number(out_, first ? from_y_ : from_y_ - y_);
      x_ = from_x_;
      y_ = from_y_;
      waits_ = false;
      written_ = first ? 'L' : 'l';  // the meaning of numbers after a move
    }
    const char command = y == y_ ? 'h' : x == x_ ? 'v' : 'l';
    if (command != written_) out_ += command;
    written_ = command;
    if (command != 'v') add_number(out_, x - x_);
    if (command != 'h') add_number(out_, y - y_);
    x_ = x;
    y_ = y;
  }
  void close() {
    out_ += 'z';
    written_ = 'z';
    x_ = from_x_;
    y_ = from_y_;
  }

  std::string out_;
  long x_ = 0, y_ = 0, from_x_ = 0, from_y_ = 0;
  bool moves_ = false, waits_ = false;
  char written_ = 0;
};

// "rgb( 31, 111, 235)" as "#1f6feb"; all else as it is.
std::string short_colour(const std::string& value) {
  int r = 0, g = 0, b = 0;
  if (std::sscanf(value.c_str(), "rgb(%d ,%d ,%d )", &r, &g, &b) != 3) return value;
  return fmt::format("#{:02x}{:02x}{:02x}", std::clamp(r, 0, 255), std::clamp(g, 0, 255), std::clamp(b, 0, 255));
}

bool is_one_of(const std::string& name, std::initializer_list<const char*> list) {
  return std::any_of(list.begin(), list.end(), [&](const char* one) { return name == one; });
}

using Attributes = std::vector<std::pair<std::string, std::string>>;

void set(Attributes& list, const std::string& key, const std::string& value) {
  for (auto& [k, v] : list) {
    if (k == key) {
      v = value;
      return;
    }
  }
  list.emplace_back(key, value);
}

std::string get(const Attributes& list, const std::string& key) {
  for (const auto& [k, v] : list) {
    if (k == key) return v;
  }
  return "";
}

// Presentation attributes, which children inherit.
bool is_style(const std::string& key) {
  return is_one_of(key, {"fill", "color", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin",
                         "stroke-dasharray", "font-family", "font-size", "font-weight", "font-style", "text-anchor"});
}

// The inherited style that applies to this kind of element, without defaults.
Attributes shown_style(const std::string& name, const Attributes& style) {
  Attributes shown;
  const bool is_text = name == "text",
             is_line = is_one_of(name, {"path", "polyline", "polygon", "line", "rect", "circle"});
  for (const auto& [key, value] : style) {
    const bool of_text = key.starts_with("font-") || key == "text-anchor", of_stroke = key.starts_with("stroke");
    if (key == "color" || (of_text && !is_text) || (of_stroke && get(style, "stroke") == "none")) continue;
    if ((key == "fill" || of_stroke) && !is_text && !is_line) continue;
    const std::string used = value == "currentColor" ? get(style, "color") : value;
    const bool is_default = (key == "stroke-width" && used == "1") || (key == "stroke-linecap" && used == "butt") ||
                            (key == "stroke-linejoin" && used == "miter") || (key == "stroke" && used == "none");
    if (!is_default) shown.emplace_back(key, used);
  }
  return shown;
}

std::string short_value(const std::string& key, const std::string& value) {
  if (is_one_of(key, {"stroke", "fill", "color"})) return short_colour(value);
  if (key == "d") {
    const std::string d = PathWriter()(value);
    return d.empty() ? value : d;
  }
  if (is_one_of(key, {"font-size", "stroke-width", "x", "y", "width", "height"})) {
    char* end = nullptr;
    const double v = std::strtod(value.c_str(), &end);
    if (end != value.c_str() && *end == '\0' && std::abs(10.0 * v - std::round(10.0 * v)) < 1e-6)
      return short_number(tenths(v));
  }
  return value;
}

// Dissolves groups into one row of elements, each with its inherited style.
class Flattener {
 public:
  std::vector<Node> row;

  void visit(const Node& node, Attributes style) {
    Node leaf;
    leaf.name = node.name;
    for (const auto& [key, value] : node.attributes) {
      if (is_style(key)) {
        set(style, key, short_value(key, value));
      } else if (key != "class") {
        leaf.attributes.emplace_back(key, short_value(key, value));
      }
    }
    if (node.name == "defs") {
      row.push_back(node);
      return;
    }
    if (node.name != "g") {
      draw(node, std::move(leaf), style);
      return;
    }
    Flattener inner;
    for (const Node& child : node.children) {
      if (!child.name.empty() && child.name != "title" && child.name != "desc") inner.visit(child, style);
    }
    leaf.erase("id");
    if (leaf.attributes.empty()) {
      for (Node& one : inner.row) row.push_back(std::move(one));
    } else if (inner.row.size() == 1 && inner.row[0].name == "text" && move_text(inner.row[0], leaf)) {
      row.push_back(std::move(inner.row[0]));
    } else if (!inner.row.empty()) {
      leaf.children = std::move(inner.row);
      row.push_back(std::move(leaf));
    }
  }

 private:
  // A group that only moves a text is replaced by the text's x and y.
  static bool move_text(Node& text, const Node& group) {
    double x = 0.0, y = 0.0;
    int used = 0;
    const std::string* move = group.find("transform");
    if (group.attributes.size() != 1 || !move || text.find("x") || text.find("y") || text.find("transform") ||
        std::sscanf(move->c_str(), "translate(%lf,%lf)%n", &x, &y, &used) != 2)
      return false;
    const std::string rest = move->substr(static_cast<std::size_t>(used));
    if (rest.empty()) {
      text.attributes.insert(text.attributes.end(), {{"x", short_number(tenths(x))}, {"y", short_number(tenths(y))}});
    } else {
      text.attributes.emplace_back(
          "transform", fmt::format("translate({} {}){}", short_number(tenths(x)), short_number(tenths(y)), rest));
    }
    return true;
  }

  // A mark of gnuplot's filled circle, "translate(257.55,172.62) scale(1.12)", joins the dots before it.
  bool dot(const Node& leaf, const Attributes& style) {
    double x = 0.0, y = 0.0, scale = 1.0;
    const std::string *href = leaf.find("xlink:href"), *place = leaf.find("transform");
    if (leaf.name != "use" || !href || *href != "#gpPt6" || !place ||
        std::sscanf(place->c_str(), "translate(%lf,%lf) scale(%lf)", &x, &y, &scale) != 3)
      return false;
    Node dots;
    dots.name = "path";
    dots.attributes = {{"stroke", get(style, "color")},
                       {"stroke-width", fmt::format("{:.2f}", 2.0 * scale)},
                       {"stroke-linecap", "round"}};
    const bool goes_on = !row.empty() && row.back().name == "path" && row.back().attributes.size() == 4 &&
                         std::equal(dots.attributes.begin(), dots.attributes.end(), row.back().attributes.begin());
    if (!goes_on) {
      dots.attributes.emplace_back("d", "");
      row.push_back(std::move(dots));
      dot_x_ = dot_y_ = 0;
    }
    std::string& d = row.back().attributes.back().second;
    d += d.empty() ? 'M' : 'm';
    add_number(d, tenths(x) - dot_x_);
    add_number(d, tenths(y) - dot_y_);
    d += "h0";
    dot_x_ = tenths(x);
    dot_y_ = tenths(y);
    return true;
  }

  void draw(const Node& node, Node leaf, const Attributes& style) {
    if (dot(leaf, style)) return;
    if (const std::string* points = leaf.find("points"); points && leaf.name == "polygon") {
      leaf.attributes.emplace_back("d", PathWriter()("M" + *points + "z"));
      leaf.erase("points");
      leaf.name = "path";
    }
    const bool is_mark = node.name == "use";  // the referenced mark takes the inherited colour
    leaf.attributes.insert(leaf.attributes.begin(), style.begin(), style.end());
    if (!is_mark) {
      const Attributes shown = shown_style(leaf.name, style);
      leaf.attributes.erase(leaf.attributes.begin(), leaf.attributes.begin() + static_cast<long>(style.size()));
      leaf.attributes.insert(leaf.attributes.begin(), shown.begin(), shown.end());
    }
    leaf.children = node.children;
    // gnuplot wraps a whole label in a span that repeats the font.
    if (leaf.children.size() == 1 && leaf.children[0].name == "tspan" && leaf.children[0].attributes.size() == 1 &&
        leaf.children[0].find("font-family"))
      leaf.children = std::vector<Node>(leaf.children[0].children);
    if (leaf.name == "path" && leaf.find("d") && leaf.find("d")->empty()) return;
    row.push_back(std::move(leaf));
  }

  long dot_x_ = 0, dot_y_ = 0;
};

// Styles that several elements share become classes; returns their style sheet.
std::string name_styles(std::vector<Node>& row) {
  std::vector<std::pair<std::string, int>> seen;
  const auto style_of = [](const Node& node) {
    std::string css;
    for (const auto& [key, value] : node.attributes) {
      if (is_style(key)) css += (css.empty() ? "" : ";") + key + ":" + value + (key == "font-size" ? "px" : "");
    }
    return css;
  };
  for (const Node& node : row) {
    const std::string css = node.name == "defs" ? "" : style_of(node);
    if (css.empty()) continue;
    const auto at = std::find_if(seen.begin(), seen.end(), [&](const auto& s) { return s.first == css; });
    if (at == seen.end())
      seen.emplace_back(css, 1);
    else
      ++at->second;
  }
  std::erase_if(seen, [](const auto& s) { return s.second < 3; });
  std::string sheet;
  for (std::size_t i = 0; i < seen.size(); ++i) sheet += fmt::format(".s{}{{{}}}", i, seen[i].first);
  for (Node& node : row) {
    const std::string css = node.name == "defs" ? "" : style_of(node);
    const auto at = std::find_if(seen.begin(), seen.end(), [&](const auto& s) { return s.first == css; });
    if (at == seen.end()) continue;
    std::erase_if(node.attributes, [](const auto& a) { return is_style(a.first); });
    node.attributes.insert(node.attributes.begin(), {"class", fmt::format("s{}", at - seen.begin())});
  }
  return sheet;
}

void find_references(const Node& node, std::set<std::string>& ids) {
  for (const auto& [key, value] : node.attributes) {
    if (key == "xlink:href" && !value.empty() && value[0] == '#') ids.insert(value.substr(1));
    const std::size_t url = value.find("url(#");
    if (url != std::string::npos) ids.insert(value.substr(url + 5, value.find(')', url) - url - 5));
  }
  for (const Node& child : node.children) find_references(child, ids);
}

// Definitions refer to each other, so this repeats until nothing more is dropped.
void drop_unused_definitions(Node& root) {
  for (std::size_t before = 0;;) {
    std::set<std::string> ids;
    find_references(root, ids);
    if (ids.size() == before) return;
    before = ids.size();
    const auto sweep = [&](auto&& self, Node& node) -> void {
      if (node.name == "defs") {
        std::erase_if(node.children, [&](const Node& child) {
          const std::string* id = child.find("id");
          return !id || !ids.count(*id);
        });
      }
      for (Node& child : node.children) self(self, child);
      std::erase_if(node.children, [](const Node& child) { return child.name == "defs" && child.children.empty(); });
    };
    sweep(sweep, root);
  }
}

void write(const Node& node, std::string& out) {
  if (node.name.empty()) {
    out += node.text;
    return;
  }
  out += "<" + node.name;
  for (const auto& [key, value] : node.attributes) out += " " + key + "=\"" + value + "\"";
  if (node.children.empty()) {
    out += "/>";
    return;
  }
  out += ">";
  for (const Node& child : node.children) write(child, out);
  out += "</" + node.name + ">";
  if (is_one_of(node.name, {"text", "defs"})) out += "\n";
}

}  // namespace

std::string compact_svg(const std::string& text) {
  std::optional<Node> root = Parser(text).root();
  if (!root || root->name != "svg") return text;
  const auto has_style = [](const Node& n) { return n.name == "style"; };
  if (std::any_of(root->children.begin(), root->children.end(), has_style)) return text;
  Flattener all;
  for (const Node& child : root->children) {
    if (!child.name.empty() && child.name != "title" && child.name != "desc") all.visit(child, {});
  }
  root->children = std::move(all.row);
  drop_unused_definitions(*root);
  const std::string sheet = name_styles(root->children);
  if (!sheet.empty()) {
    Node style, css;
    style.name = "style";
    css.text = sheet;
    style.children = {css};
    root->children.insert(root->children.begin(), style);
  }
  std::string out;
  write(*root, out);
  return out + "\n";
}

}  // namespace cafx
