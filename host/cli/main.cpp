// cafx: one binary for all that the project does. A command is a file of its own beside this one.
#include <csignal>
#include <cstdio>
#include <new>

#include "host/cli/common.h"
#include "host/version.h"
#include "kernels/base/error.h"

namespace {

void on_signal(int) {
  // A second one ends the process at once.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  cafx::stop_requested = true;
}

// One line that commands no terminal, whatever a library or a damaged file put into the message.
void complain(const char* what) {
  constexpr std::size_t kMost = 8000;
  std::string line(what);
  if (line.size() > kMost) line = line.substr(0, kMost) + "...";
  for (char& c : line) c = static_cast<unsigned char>(c) < 32 || c == 127 ? ' ' : c;
  std::fprintf(stderr, "cafx: %s\n", line.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  using namespace cafx;
  CLI::App app("cafx learns an audio effect from recordings of its input and its output.", "cafx");
  app.set_version_flag("--version", std::string("cafx ") + kVersion);
  app.require_subcommand(1);
  app.footer(
      "Example:  cafx train --set data.path=datasets/notes --set data.setting=2 --out runs/ds1\n"
      "'cafx COMMAND --help' tells more.");
  Run run;
  add_train(app, run);
  add_resume(app, run);
  add_eval(app, run);
  add_render(app, run);
  add_export(app, run);
  add_import(app, run);
  add_info(app, run);
  add_report(app, run);
  add_data(app, run);
  add_bench(app, run);
  add_doctor(app, run);
  add_sweep(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    complain(e.what());
    return kExitError;
  }
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit shows as a failed write
  try {
    return run();
  } catch (const Error& e) {
    complain(e.what());
    return kExitError;
  } catch (const std::bad_alloc&) {
    complain("out of memory; lower train.batch or the sizes of the model");
    return kExitError;
  } catch (const std::exception& e) {
    complain((std::string("internal error, please report it: ") + e.what()).c_str());
    return kExitBug;
  }
}
