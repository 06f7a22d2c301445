#include "host/cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kernels/base/printable.h"

namespace cafx {

namespace {
constexpr double kPlainSeconds = 10.0;  // between lines where there is no terminal
}

std::string time_text(double seconds) {
  const long s = std::lround(std::max(0.0, seconds));
  if (s >= 3600) return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
  if (s >= 60) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} s", s);
}

ProgressLine::ProgressLine(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (open_) std::fputc('\n', stderr);
}

void ProgressLine::show(double fraction, const std::string& text) {
  if (quiet_) return;
  const double f = std::clamp(fraction, 0.0, 1.0);
  if (!terminal_) {
    const auto now = std::chrono::steady_clock::now();
    if (any_plain_ && std::chrono::duration<double>(now - last_plain_).count() < kPlainSeconds) return;
    any_plain_ = true;
    last_plain_ = now;
    std::fprintf(stderr, "%3.0f %%  %s\n", 100.0 * f, printable_line(text).c_str());
    return;
  }
  winsize size{};
  const int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 100;
  constexpr int kBar = 20;
  const int filled = static_cast<int>(std::lround(f * kBar));
  std::string out = fmt::format("[{}{}] {:3.0f} %  {}", std::string(filled, '='), std::string(kBar - filled, ' '),
                                100.0 * f, printable_line(text));
  if (static_cast<int>(out.size()) >= columns) out.resize(columns - 1);
  std::fprintf(stderr, "\r%s\033[K", out.c_str());
  std::fflush(stderr);
  open_ = true;
}

void ProgressLine::line(const std::string& text) {
  if (!quiet_) warning(text);
}

void ProgressLine::warning(const std::string& text) {
  if (open_) std::fputs("\r\033[K", stderr);
  open_ = false;
  std::fprintf(stderr, "%s\n", printable(text).c_str());
}

void TrainDisplay::progress(const TrainProgress& p) {
  std::string text = fmt::format("{} {}/{}  {:.0f} {}/s  loss {:.5f}", p.stage, p.epoch, p.epochs, p.frames_per_second,
                                 p.segments ? "segments" : "frames", p.loss);
  if (std::isfinite(p.validation) && p.stage != "pretrain") text += fmt::format("  val {:.5f}", p.validation);
  if (std::isfinite(p.best)) text += fmt::format("  best {:.5f}", p.best);
  line_.show(p.fraction, text + "  left " + time_text(p.seconds_left));
}

}  // namespace cafx
