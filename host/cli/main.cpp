// cafx: one program for the whole project; each command is a file beside this one.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>
#include <vector>

#include "datasets/readers/reader.h"
#include "host/cli/build_info.h"
#include "host/cli/command_tree.h"
#include "host/cli/common.h"
#include "kernels/base/describe.h"
#include "kernels/base/error.h"
#include "kernels/base/printable.h"

namespace {

// One line without terminal control characters, whatever a library or a damaged file put into the message.
void complain(const std::string& what) { std::fprintf(stderr, "cafx: %s\n", cafx::printable_line(what).c_str()); }

constexpr int kNobodyReads = 128 + SIGPIPE;  // as of a program that a closed pipe ends: cafx info | head -1

// What was printed must have arrived: on a full disk the last of it fails here.
int finished(int code) {
  errno = 0;
  std::cout.flush();
  if (std::fflush(stdout) == 0 && !std::ferror(stdout) && std::cout) return code;
  if (errno == EPIPE) return kNobodyReads;
  complain(fmt::format("standard output cannot be written: {}; free some space, or write elsewhere",
                       errno ? std::strerror(errno) : "an earlier write failed"));
  return code == 0 ? cafx::kExitError : code;
}

// Reports an unknown command, or one of a command's own, before any other error, with the nearest known one.
void check_command(const CLI::App& app, const std::string& called, int argc, char** argv) {
  const std::vector<const CLI::App*> commands = app.get_subcommands(nullptr);
  if (commands.empty() || argc < 2 || argv[1][0] == '-') return;
  std::vector<std::string> names;
  const std::string word = argv[1];
  for (const CLI::App* command : commands) {
    names.push_back(command->get_name());
    if (word == names.back()) return check_command(*command, called + " " + word, argc - 1, argv + 1);
  }
  const std::string hint = cafx::did_you_mean(word, names);
  throw cafx::Error("no command '{} {}'{}{} '{} --help' lists them all", called, word.substr(0, 100), hint,
                    hint.empty() ? ";" : "", called);
}

// Where an unknown option has the name of a setting: how that is written. Else nothing.
std::string setting_hint(int argc, char** argv) {
  cafx::RunConfig config = cafx::run_preset("default");
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word.rfind("--", 0) != 0) continue;
    word = word.substr(2, word.find('=') - 2);
    std::replace(word.begin(), word.end(), '-', '_');
    for (const cafx::Field& f : cafx::describe(config)) {
      if (!f.name.ends_with("." + word)) continue;
      return fmt::format("; {} is a setting: --set {}=VALUE", f.name, f.name);
    }
  }
  return "";
}

// Where more recordings are given than a command takes: how several are given. Else nothing.
std::string recordings_hint(int argc, char** argv) {
  namespace fs = std::filesystem;
  const std::string command = argv[1];
  if (command != "train" && command != "data") return "";
  std::vector<fs::path> paths;
  std::error_code error;
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i], before = argv[i - 1];
    const bool of_option = before.rfind("--", 0) == 0 && before.find('=') == std::string::npos;
    if (word[0] != '-' && !of_option && fs::exists(word, error)) paths.emplace_back(word);
  }
  if (paths.size() < 3) return "";
  for (fs::path& p : paths) p = p.has_filename() ? p : p.parent_path();
  const bool folders =
      std::all_of(paths.begin(), paths.end(), [&](const auto& p) { return fs::is_directory(p, error); });
  const std::string advice = folders ? cafx::by_pattern(paths) : "";
  return fmt::format("; {} takes one dry and one wet, two files or two folders; {}",
                     command == "train" ? "cafx train" : "cafx data check",
                     !advice.empty() ? advice
                     : folders ? "of several settings choose one, or name them by data.pattern (datasets/README.md)"
                               : "several takes are given as two folders, dry and wet files of equal names in them");
}

}  // namespace

int main(int argc, char** argv) {
  using namespace cafx;
  CLI::App app("cafx learns an audio effect from recordings of its input and its output.", "cafx");
  app.set_version_flag("--version", about_this_build());
  app.require_subcommand(1);
  app.footer(
      "Example:  cafx train datasets/notes --set data.setting=2 --out runs/ds1\n"
      "'cafx COMMAND --help' tells more.\n"
      "Exit codes:  0 done, 2 an error or failed runs, 130 stopped and saved, 70 an error of cafx itself");
  Run run;
  add_train(app, run);
  add_resume(app, run);
  add_eval(app, run);
  add_render(app, run);
  add_distill(app, run);
  add_export(app, run);
  add_import(app, run);
  add_info(app, run);
  add_report(app, run);
  add_data(app, run);
  add_bench(app, run);
  add_doctor(app, run);
  add_sweep(app, run);
  add_reproduce(app, run);
  add_completion(app, run);
  add_manual(app, run);
  name_values(app);
  if (argc == 1) {
    std::fputs(app.help().c_str(), stderr);
    return kExitError;
  }
  try {
    check_command(app, "cafx", argc, argv);
    app.parse(argc, argv);
  } catch (const Error& e) {
    complain(e.what());
    return kExitError;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return finished(app.exit(e));  // --help, --version
    const bool too_many = e.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError);
    complain(e.what() + (too_many ? setting_hint(argc, argv) + recordings_hint(argc, argv) : ""));
    return kExitError;
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit shows as a failed write
  try {
    return finished(run());
  } catch (const WriteError& e) {
    if (e.code == EPIPE) return kNobodyReads;
    complain(e.what());
    return kExitError;
  } catch (const Error& e) {
    complain(e.what());
    return kExitError;
  } catch (const std::bad_alloc&) {
    complain("out of memory; lower train.batch or the sizes of the model");
    return kExitError;
  } catch (const std::filesystem::filesystem_error& e) {
    // A path that the system does not even look at: a loop of links, a name too long, a folder without permission.
    complain(fmt::format("{}: cannot be used: {}", e.path1().string(), e.code().message()));
    return kExitError;
  } catch (const std::exception& e) {
    complain(std::string("internal error, please report it: ") + e.what());
    return kExitBug;
  }
}
