// SPDX-License-Identifier: MIT
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>
#include <ostream>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <culprit/io/atomic_file.hpp>
#include <culprit/io/isolate.hpp>
#include <signal.h>

#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using culprit::Error;
using culprit::ErrorCode;
using culprit::io::IsolationLimits;
using culprit::io::remove_temporaries;
using culprit::io::run_isolated;
using culprit::io::write_atomically;
using culprit::test::error_of;
using culprit::test::read_bytes;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;

namespace {

/// The sentence of the Error that ends an isolated call.
std::string failure(const std::function<int()>& function, const IsolationLimits& limits = {}) {
  const Error error = error_of([&] { static_cast<void>(run_isolated(function, limits)); });
  CHECK(error.code() == ErrorCode::process);
  return error.what();
}

/// Of a child: the test program and the sanitizers have handlers of their own.
void die_by(int signal) {
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

[[noreturn]] void wait_for_ever() {
  for (;;) ::pause();
}

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

/// While it lives the signal has this action.
class Action {
 public:
  Action(int signal, void (*handler)(int)) : signal_(signal), before_(std::signal(signal, handler)) {}
  Action(const Action&) = delete;
  Action& operator=(const Action&) = delete;
  ~Action() { std::signal(signal_, before_); }

 private:
  int signal_;
  void (*before_)(int);
};

volatile std::sig_atomic_t received = 0;
void count(int /*signal*/) { received = received + 1; }

}  // namespace

TEST_CASE("an isolated function's status passes through, and nothing else of it", "[isolate]") {
  const TemporaryFolder folder;
  int changed = 0;
  for (const int status : {0, 1, 42, 255}) {
    CHECK(run_isolated([&] {
            changed = 1;
            return status;
          }) == status);
  }
  CHECK(changed == 0);

  std::FILE* const file = std::fopen((folder / "log").c_str(), "w");
  std::fputs("before ", file);
  CHECK(run_isolated([file] { return std::fputs("within ", file) < 0 ? 1 : 0; }) == 0);
  std::fputs("after", file);
  std::fclose(file);
  CHECK(read_bytes(folder / "log") == "before within after");
}

TEST_CASE("a signal that ends an isolated function is an error that names it", "[isolate]") {
  const std::string expected = "isolated process: expected to end by itself, came ";
  const std::vector<std::pair<int, std::string>> deaths{
      {SIGSEGV, "SIGSEGV, segmentation fault"},
      {SIGBUS, "SIGBUS, memory that is not there"},
      {SIGFPE, "SIGFPE, arithmetic that has no result"},
      {SIGILL, "SIGILL, no instruction of this processor"},
      {SIGKILL, "SIGKILL, killed from outside, as for want of memory"},
      {SIGUSR1, "signal " + std::to_string(SIGUSR1)},
  };
  for (const auto& [signal, name] : deaths) {
    CHECK(failure([signal = signal] {
            die_by(signal);
            return 0;
          }) == expected + name);
  }
  const std::string gave_up = expected + "SIGABRT, it gave up by itself";
  CHECK(failure([]() -> int {
          std::signal(SIGABRT, SIG_DFL);
          std::abort();
        }) == gave_up);
  CHECK(failure([]() -> int {
          std::signal(SIGABRT, SIG_DFL);
          throw std::runtime_error("on purpose, in a child of the test");
        }) == gave_up);
}

TEST_CASE("an isolated function gets no more memory than its limit", "[isolate]") {
  constexpr std::size_t block = std::size_t{1} << 20;
  const int blocks = run_isolated(
      [] {
        int held = 0;
        while (held < 200 && ::mmap(nullptr, block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                                    0) != MAP_FAILED)
          ++held;
        return held;
      },
      {.memory = 64 * block});
  CHECK(blocks >= 60);
  CHECK(blocks <= 64);
}

TEST_CASE("an isolated function that takes too long is an error", "[isolate]") {
  CHECK(failure(
            [] {
              const volatile bool endless = true;
              while (endless) {
              }
              return 0;
            },
            {.processor_seconds = 1}) ==
        "isolated process: expected to stay within its limit of processor time, came more");
  CHECK(failure([]() -> int { wait_for_ever(); }, {.seconds = 1}) ==
        "isolated process: expected to be done in 1 s, came more");
  CHECK(run_isolated([] { return 5; }, {.processor_seconds = 60, .seconds = 60}) == 5);
}

TEST_CASE("an isolated function is held to its limits of files", "[isolate]") {
  const TemporaryFolder folder;
  const auto write = [&] {
    std::signal(SIGXFSZ, SIG_DFL);
    write_bytes(folder / "large", std::string(1000, 'x'));
    return 0;
  };
  CHECK(run_isolated(write, {.file_bytes = 1000}) == 0);
  CHECK(failure(write, {.file_bytes = 999}) ==
        "isolated process: expected to stay within its limit of bytes in a file, came more");
  CHECK(run_isolated(
            [] {
              int last = 0;
              for (int next = 0; next >= 0; next = ::dup(0)) last = next;
              return last;
            },
            {.open_files = 40}) == 39);
}

TEST_CASE("an isolated function cannot leave its bounds, which are not its parent's", "[isolate]") {
  const auto limits_of = [](auto resource) {
    rlimit limit{};
    ::getrlimit(resource, &limit);
    return std::array{limit.rlim_cur, limit.rlim_max};
  };
  const auto before = limits_of(RLIMIT_NOFILE), core = limits_of(RLIMIT_CORE);
  CHECK(run_isolated(
            [&] {
              int death = 0;
              ::prctl(PR_GET_PDEATHSIG, &death);
              const bool bound = death == SIGKILL && ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
                                 limits_of(RLIMIT_CORE) == std::array<rlim_t, 2>{0, 0} &&
                                 limits_of(RLIMIT_NOFILE) == std::array<rlim_t, 2>{50, 50};
              const rlimit lower{30, 50};
              ::setrlimit(RLIMIT_NOFILE, &lower);
              const auto not_raised = [&] { return limits_of(RLIMIT_NOFILE)[0] == 30 ? 0 : 1; };
              return bound && run_isolated(not_raised, {.open_files = 40}) == 0 ? 0 : 1;
            },
            {.open_files = 50}) == 0);
  CHECK(limits_of(RLIMIT_NOFILE) == before);
  CHECK(limits_of(RLIMIT_CORE) == core);
  CHECK(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
}

TEST_CASE("isolation leaves no zombie, no open file and every signal as it was", "[isolate]") {
  const Action ignored(SIGCHLD, SIG_IGN);
  const Action counted(SIGTERM, count);
  sigset_t mask{};
  ::sigprocmask(SIG_SETMASK, nullptr, &mask);
  const auto files = open_files();

  CHECK(run_isolated([] { return 6; }) == 6);
  CHECK_FALSE(failure([] {
                die_by(SIGSEGV);
                return 0;
              }).empty());

  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(errno == ECHILD);
  CHECK(open_files() == files);
  struct sigaction action = {};
  ::sigaction(SIGCHLD, nullptr, &action);
  CHECK(action.sa_handler == SIG_IGN);
  ::sigaction(SIGTERM, nullptr, &action);
  CHECK(action.sa_handler == count);
  sigset_t mask_after{};
  ::sigprocmask(SIG_SETMASK, nullptr, &mask_after);
  for (const int signal : {SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM})
    CHECK(::sigismember(&mask, signal) == ::sigismember(&mask_after, signal));
}

TEST_CASE("signals are passed on, and what ends the child is raised in the parent", "[isolate]") {
  const Action counted(SIGTERM, count);
  received = 0;
  CHECK(failure([]() -> int {
          std::signal(SIGTERM, SIG_DFL);
          ::kill(::getppid(), SIGTERM);
          wait_for_ever();
        }) == "isolated process: expected to end by itself, came SIGTERM, terminated");
  CHECK(received == 1);

  received = 0;
  CHECK(run_isolated([] {
          std::signal(SIGTERM, [](int) { ::_exit(9); });
          ::kill(::getppid(), SIGTERM);
          wait_for_ever();
          return 0;
        }) == 9);
  CHECK(received == 0);
}

TEST_CASE("an isolated function ends with its parent", "[isolate]") {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    ::close(pipe[0]);
    static_cast<void>(run_isolated([&]() -> int {
      static_cast<void>(::write(pipe[1], "x", 1) == 1);
      wait_for_ever();
    }));
    ::_exit(1);
  }
  ::close(pipe[1]);
  char byte = 0;
  CHECK(::read(pipe[0], &byte, 1) == 1);  // it lives
  ::kill(parent, SIGKILL);
  CHECK(::waitpid(parent, nullptr, 0) == parent);
  CHECK(::read(pipe[0], &byte, 1) == 0);  // nobody has the other end any more
  ::close(pipe[0]);
}

TEST_CASE("a process of several threads is refused", "[isolate]") {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  std::thread waiting([&] {
    char byte = 0;
    static_cast<void>(::read(pipe[0], &byte, 1) == 1);
  });
  const Error error = error_of([] { static_cast<void>(run_isolated([] { return 0; })); });
  CHECK(::write(pipe[1], "x", 1) == 1);
  waiting.join();
  for (const int end : pipe) ::close(end);
  CHECK(error.code() == ErrorCode::argument);
  CHECK(std::string(error.what()) == "process to isolate from: expected a single thread, came 2");
}

TEST_CASE("a file that a killed child was writing stays whole, and its temporary file can be removed",
          "[isolate]") {
  const TemporaryFolder folder;
  write_bytes(folder / "result", "old");
  write_bytes(folder / ".culprit-1-2-3.tmp", "of another machine's process");
  CHECK_FALSE(failure([&] {
                write_atomically(folder / "result", [](std::ostream& out) {
                  out << "new" << std::flush;
                  ::raise(SIGKILL);
                });
                return 0;
              }).empty());
  CHECK(read_bytes(folder / "result") == "old");
  CHECK(folder.entries() == 3);
  remove_temporaries(folder.path());
  CHECK(folder.entries() == 2);
  CHECK(std::filesystem::exists(folder / ".culprit-1-2-3.tmp"));
}
