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

// Reports an unknown command before any other error, with the nearest known one.
void check_command(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  const std::string word = argv[1];
  if (std::find(names.begin(), names.end(), word) != names.end()) return;
  throw cafx::Error("no command '{}'; did you mean '{}'? 'cafx --help' lists them all", word.substr(0, 100),
                    cafx::nearest(word, names));
}

}  // namespace

int main(int argc, char** argv) {
  using namespace cafx;
  CLI::App app("cafx learns an audio effect from recordings of its input and its output.", "cafx");
  app.set_version_flag("--version", about_this_build());
  app.require_subcommand(1);
  app.footer(
      "Example:  cafx train datasets/notes --set data.setting=2 --out runs/ds1\n"
      "'cafx COMMAND --help' tells more.");
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
    check_command(app, argc, argv);
    app.parse(argc, argv);
  } catch (const Error& e) {
    complain(e.what());
    return kExitError;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return finished(app.exit(e));  // --help, --version
    complain(e.what());
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
