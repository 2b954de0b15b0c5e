// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "culprit/core/error.hpp"
#include "culprit/io/atomic_file.hpp"

namespace culprit::io {

/// What an isolated child may use. What is not given stays as it is for the parent; a limit that the parent
/// has itself (ulimit) is never raised.
struct IsolationLimits {
  /// Bytes of private memory that can be written to, beyond those that it begins with, touched or not. The
  /// address space is left free: CUDA reserves more of it than any machine has memory.
  std::optional<std::uint64_t> memory = {};
  std::optional<std::uint64_t> processor_seconds = {};  ///< of all its threads together
  std::optional<std::uint64_t> seconds = {};            ///< that pass until it has to be done
  std::optional<std::uint64_t> file_bytes = {};         ///< of each file that it writes
  std::optional<std::uint64_t> open_files = {};         ///< at a time
};

namespace detail {

/// Holds back, as long as it lives, the signals that concern a parent that waits: those that end programs, to
/// be passed on, and that of a child's end, which must have its standard action for the child's status to be
/// kept.
class HeldSignals {
 public:
  HeldSignals() noexcept {
    ::sigemptyset(&signals_);
    for (const int signal : {SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM}) ::sigaddset(&signals_, signal);
    ::pthread_sigmask(SIG_BLOCK, &signals_, &mask_);
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &standard, &child_action_);
  }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  ~HeldSignals() { release(); }

  /// All as it was before.
  void release() noexcept {
    ::sigaction(SIGCHLD, &child_action_, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  /// The signal that comes within that time; nothing when none did.
  [[nodiscard]] std::optional<int> wait(std::chrono::nanoseconds time) const noexcept {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    const std::timespec spec{seconds.count(), (time - seconds).count()};
    const int signal = ::sigtimedwait(&signals_, nullptr, &spec);
    return signal > 0 ? std::optional(signal) : std::nullopt;
  }

 private:
  sigset_t signals_ = {};
  sigset_t mask_ = {};
  struct sigaction child_action_ = {};
};

/// @param grace  how far above it the limit is that cannot be caught
/// @return whether the system took it
inline bool set_limit(decltype(RLIMIT_DATA) resource, std::optional<std::uint64_t> value,
                      rlim_t grace = 0) noexcept {
  if (!value) return true;
  rlimit limit = {};
  if (::getrlimit(resource, &limit) != 0) return false;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_cur, *value);
  limit.rlim_max = std::min(limit.rlim_max, limit.rlim_cur + grace);
  return ::setrlimit(resource, &limit) == 0;
}

/// The limit of the system's kind that allows so much beyond what this process has.
inline std::optional<std::uint64_t> total_memory(std::optional<std::uint64_t> beyond) {
  if (!beyond) return beyond;
  std::ifstream counts("/proc/self/statm");
  std::uint64_t pages = 0;
  for (int column = 0; column < 6; ++column) counts >> pages;  // the sixth: data and stack
  const auto bytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes + std::min(*beyond, RLIM_INFINITY - bytes);
}

/// The child's life. What the function throws ends it, by std::terminate: no frame of the parent's is left.
[[noreturn]] inline void live_isolated(pid_t parent, HeldSignals& signals, const IsolationLimits& limits,
                                       const std::function<int()>& function) noexcept {
  // At its hard limit of processor time a process is killed without a word that it was that.
  const bool set = ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                   set_limit(RLIMIT_CORE, 0) && set_limit(RLIMIT_DATA, total_memory(limits.memory)) &&
                   set_limit(RLIMIT_CPU, limits.processor_seconds, 1) &&
                   set_limit(RLIMIT_FSIZE, limits.file_bytes) && set_limit(RLIMIT_NOFILE, limits.open_files);
  if (!set) ::raise(SIGSYS);
  if (::getppid() != parent) ::_exit(1);  // it ended before it could be told apart
  signals.release();
  const int status = function();
  std::cout.flush();
  std::fflush(nullptr);
  ::_exit(status);  // what is destroyed at the parent's exit is the parent's
}

/// "SIGSEGV, segmentation fault"
[[nodiscard]] inline std::string name_of_signal(int signal) {
  struct Name {
    int signal;
    std::string_view name;
  };
  constexpr std::array names{
      Name{SIGABRT, "SIGABRT, it gave up by itself"},
      Name{SIGBUS, "SIGBUS, memory that is not there"},
      Name{SIGFPE, "SIGFPE, arithmetic that has no result"},
      Name{SIGHUP, "SIGHUP, hang-up"},
      Name{SIGILL, "SIGILL, no instruction of this processor"},
      Name{SIGINT, "SIGINT, interrupted"},
      Name{SIGKILL, "SIGKILL, killed from outside, as for want of memory"},
      Name{SIGQUIT, "SIGQUIT, quit"},
      Name{SIGSEGV, "SIGSEGV, segmentation fault"},
      Name{SIGSYS, "SIGSYS, a system call that is not allowed here"},
      Name{SIGTERM, "SIGTERM, terminated"},
      Name{SIGTRAP, "SIGTRAP, trap"},
  };
  const auto* const found =
      std::find_if(names.begin(), names.end(), [signal](const Name& each) { return each.signal == signal; });
  return found == names.end() ? "signal " + std::to_string(signal) : std::string(found->name);
}

[[noreturn]] inline void fail_isolated(std::string expected, std::string came) {
  throw Error(ErrorCode::process, "isolated process", std::move(expected), std::move(came));
}

/// How a child ended.
struct ChildEnd {
  int status = 0;     ///< as waitpid gives it
  int passed_on = 0;  ///< the last signal that the parent got meanwhile; 0: none
  bool late = false;  ///< it was killed because its time was over
};

/// Waits until the child ends, passes on what signals come, and kills it when the time is over.
inline ChildEnd wait_for(pid_t child, const HeldSignals& signals, std::optional<std::uint64_t> seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr std::uint64_t longest = 1000000000;  // 31 years: no overflow, and for ever
  const auto end = Clock::now() + std::chrono::seconds(std::min(seconds.value_or(longest), longest));
  ChildEnd result;
  for (;;) {
    const pid_t ended = ::waitpid(child, &result.status, WNOHANG);
    if (ended == child) return result;
    if (ended < 0 && errno != EINTR)
      fail_isolated("to be waited for", std::generic_category().message(errno));
    const auto left = end - Clock::now();
    if (left <= left.zero() && !result.late) {
      result.late = true;
      ::kill(child, SIGKILL);
    }
    const auto signal = signals.wait(result.late ? std::chrono::hours(1) : std::max(left, left.zero()));
    if (signal && *signal != SIGCHLD) {
      result.passed_on = *signal;
      ::kill(child, *signal);
    }
  }
}

/// Of this process; 0 where the system does not say.
[[nodiscard]] inline std::ptrdiff_t threads() {
  std::error_code failure;
  const std::filesystem::directory_iterator tasks("/proc/self/task", failure);
  return failure ? 0 : std::distance(tasks, {});
}

}  // namespace detail

/// Runs a function in a child process, so that its crash, or its want of too much memory or time, is an Error
/// here: for what strangers wrote, such as a TorchScript file, which is a program. The child is a fork of
/// this process with limits, without core dumps and without ways to more rights; it ends when this process
/// does.
///
/// What it does not protect from: the child has the rights of its user, who can read and write files and use
/// the network, and so can a script, or what takes over the child by an error in LibTorch. That takes a
/// container or another user. Nor is a GPU's memory limited.
///
/// A file that the killed child was writing is as it was before, if write_atomically wrote it;
/// remove_temporaries removes what is left of the new one.
///
/// SIGHUP, SIGINT, SIGQUIT and SIGTERM are passed on to the child; one that ends it is then raised here too.
/// Linux only.
///
/// @param function  what the child does; its result (0 to 255) becomes the exit status. What it throws ends
/// the child as std::terminate does. What it changes in memory stays in the child.
/// @return the child's exit status
/// @throws Error{argument} when this process has other threads, which a fork would leave behind with their
/// locks taken: call it first of all. Error{process} naming the limit or the signal that ended the child, or
/// the system's reason when there can be no child.
[[nodiscard]] inline int run_isolated(const std::function<int()>& function,
                                      const IsolationLimits& limits = {}) {
  if (const auto threads = detail::threads(); threads > 1) {
    throw Error(ErrorCode::argument, "process to isolate from", "a single thread", std::to_string(threads));
  }
  static_cast<void>(detail::temporary_prefix());  // of the child's too
  // What is buffered would be written by both.
  std::cout.flush();
  std::fflush(nullptr);
  detail::ChildEnd end;
  {
    detail::HeldSignals signals;
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child == 0) detail::live_isolated(parent, signals, limits, function);
    if (child < 0) {
      detail::fail_isolated("a process that can be started", std::generic_category().message(errno));
    }
    end = detail::wait_for(child, signals, limits.seconds);
  }
  if (WIFEXITED(end.status)) return WEXITSTATUS(end.status);
  const int signal = WTERMSIG(end.status);
  if (signal == end.passed_on) ::raise(signal);
  if (end.late) {
    detail::fail_isolated("to be done in " + std::to_string(*limits.seconds) + " s", "more");
  }
  if (signal == SIGXCPU) detail::fail_isolated("to stay within its limit of processor time", "more");
  if (signal == SIGXFSZ) detail::fail_isolated("to stay within its limit of bytes in a file", "more");
  detail::fail_isolated("to end by itself", detail::name_of_signal(signal));
}

}  // namespace culprit::io
