// cafx manual: manual pages (man), made of the command line's own description.
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "host/cli/command_tree.h"
#include "host/cli/common.h"
#include "host/version.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

// Text for troff: no backslash, dot or quote of it is a command.
std::string troff(const std::string& text) {
  std::string out;
  bool first_of_line = true;
  for (const char c : text) {
    if (first_of_line && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    first_of_line = c == '\n';
  }
  return out;
}

std::string page_name(const std::string& path) {
  std::string name = path;
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

std::string of_option(const Command::Option& o) {
  std::string text = ".TP\n";
  for (std::size_t i = 0; i < o.names.size(); ++i) text += (i ? ", " : "") + ("\\fB" + troff(o.names[i]) + "\\fR");
  if (o.takes_value && o.names[0][0] == '-') text += " \\fI" + troff(o.value) + "\\fR";
  const std::string by_default = o.by_default.empty() ? "" : "; " + o.by_default + " by default";
  return text + "\n" + troff(o.help.empty() ? "." : o.help) + troff(by_default) + "\n";
}

std::string page(const Command& c, const std::vector<Command>& all) {
  std::string upper = page_name(c.path);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char x) { return std::toupper(x); });
  std::string text =
      fmt::format(".TH {} 1 \"\" \"cafx {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n",
                  troff(upper), kVersion, troff(page_name(c.path)), troff(c.help), troff(c.path));
  for (const Command::Option& o : c.positionals) {
    const std::string name = "\\fI" + troff(o.names[0]) + "\\fR";
    text += o.required ? name + "\n" : "[" + name + "]\n";
  }
  if (!c.options.empty()) text += "[\\fIoptions\\fR]\n";
  if (!c.commands.empty()) text += "\\fIcommand\\fR ...\n";
  if (!c.positionals.empty()) text += ".SH ARGUMENTS\n";
  for (const Command::Option& o : c.positionals) text += of_option(o);
  if (!c.options.empty()) text += ".SH OPTIONS\n";
  for (const Command::Option& o : c.options) text += of_option(o);
  if (!c.commands.empty()) text += ".SH COMMANDS\n";
  for (const Command& d : all) {
    const bool below = d.path.rfind(c.path + " ", 0) == 0 && d.path.find(' ', c.path.size() + 1) == std::string::npos;
    if (below) {
      text += fmt::format(".TP\n.BR {} (1)\n{}\n", troff(page_name(d.path)), troff(d.help));
    }
  }
  if (!c.footer.empty()) text += ".SH NOTES\n.nf\n" + troff(c.footer) + "\n.fi\n";
  text += ".SH EXIT STATUS\n0: done.  2: an error, told in one line.  130: stopped and saved.  70: a bug of cafx.\n";
  const std::size_t above = c.path.rfind(' ');
  if (above != std::string::npos)
    text += fmt::format(".SH SEE ALSO\n.BR {} (1)\n", troff(page_name(c.path.substr(0, above))));
  return text;
}

}  // namespace

void add_manual(CLI::App& app, Run& run) {
  auto folder = std::make_shared<std::string>();
  CLI::App* c = app.add_subcommand("manual", "write the manual pages of all commands, for man");
  c->add_option("folder", *folder, "where to; made if it is missing")->required();
  c->footer("Example:  cafx manual ~/.local/share/man/man1 && man cafx-train");
  c->callback([folder, &app, &run] {
    run = [folder, &app] {
      std::error_code error;
      std::filesystem::create_directories(*folder, error);
      if (error) throw Error("{}: cannot be made: {}", *folder, error.message());
      const std::vector<Command> all = command_tree(app);
      for (const Command& command : all) {
        write_text(*folder + "/" + page_name(command.path) + ".1", page(command, all));
      }
      return 0;
    };
  });
}

}  // namespace cafx
