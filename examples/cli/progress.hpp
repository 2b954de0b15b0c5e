// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <unistd.h>
#include <utility>

#include "cli/text.hpp"

namespace culprit::cli {

/// How far a task is and how long it will still take, on stderr: a bar that is redrawn on a terminal, a line
/// for every tenth elsewhere.
class Progress {
 public:
  /// @param before  of the total: done by an earlier run
  Progress(std::string task, std::size_t total, std::size_t before = 0)
      : task_(std::move(task)),
        total_(total),
        before_(before),
        terminal_(::isatty(STDERR_FILENO) == 1),
        start_(Clock::now()) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Leaves the bar standing, so that what is printed next, an error too, begins on a line of its own.
  ~Progress() {
    if (drawn_) std::fputc('\n', stderr);
  }

  /// @param done  samples so far, of the total
  void update(std::size_t done) {
    const double seconds = this->seconds();
    const double left = seconds * static_cast<double>(total_ - done) /
                        static_cast<double>(std::max<std::size_t>(done - before_, 1));
    const std::string state = std::to_string(done) + " of " + std::to_string(total_) + ", " +
                              (done < total_ ? duration(left) + " left" : duration(seconds));
    if (terminal_) {
      if (done < total_ && seconds - last_drawn_ < 0.1) return;
      last_drawn_ = seconds;
      const std::size_t filled = width * done / total_;
      const std::string bar = std::string(filled, '#') + std::string(width - filled, '.');
      // The blanks wipe out what a longer line left.
      std::fprintf(stderr, "\r%s [%s] %s    ", task_.c_str(), bar.c_str(), state.c_str());
      drawn_ = true;
    } else if (10 * done / total_ > tenths_) {
      tenths_ = 10 * done / total_;
      std::fprintf(stderr, "%s: %zu %%, %s\n", task_.c_str(), 100 * done / total_, state.c_str());
    }
    std::fflush(stderr);
  }

  /// Since construction.
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t width = 30;

  std::string task_;
  std::size_t total_;
  std::size_t before_;
  bool terminal_;
  Clock::time_point start_;
  double last_drawn_ = -1;
  std::size_t tenths_ = 0;
  bool drawn_ = false;
};

}  // namespace culprit::cli
