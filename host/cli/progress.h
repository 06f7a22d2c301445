// host/cli/progress.h -- progress for people, on standard error: one line that is rewritten on a terminal, plain lines
// every few seconds elsewhere.
#pragma once

#include <chrono>
#include <string>

#include "host/train/train.h"

namespace cafx {

class ProgressLine {
 public:
  explicit ProgressLine(bool quiet);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(double fraction, const std::string& text);  // a bar and the text
  void line(const std::string& text);                   // permanent line
  void warning(const std::string& text);                // permanent line; printed even with --quiet
  bool terminal() const { return terminal_; }

 private:
  bool quiet_, terminal_, open_ = false;
  std::chrono::steady_clock::time_point last_plain_;
  bool any_plain_ = false;
};

class TrainDisplay : public TrainObserver {
 public:
  explicit TrainDisplay(bool quiet) : line_(quiet) {}
  void message(const std::string& text) override { line_.line(text); }
  void progress(const TrainProgress&) override;
  void epoch(const TrainProgress& p) override { progress(p); }

 private:
  ProgressLine line_;
};

std::string time_text(double seconds);  // "1 h 02 min", "3 min 05 s", "12 s"

}  // namespace cafx
