// SPDX-License-Identifier: MIT
#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <culprit/io/atomic_file.hpp>
#include <culprit/io/npy.hpp>
#include <culprit/io/safetensors.hpp>

#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using culprit::ErrorCode;
using culprit::io::TensorView;
using culprit::io::view_of;
using culprit::io::write_atomically;
using culprit::io::write_npy;
using culprit::io::write_safetensors;
using culprit::test::error_of;
using culprit::test::read_bytes;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;

namespace {

using Tensors = std::vector<std::pair<std::string, TensorView>>;

/// While it lives no file grows beyond the size: the nearest thing to a full disk that needs no disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

/// While it lives the process has not the rights of root.
class Unprivileged {
 public:
  Unprivileged() : dropped_(::geteuid() == 0 && ::seteuid(65534) == 0) {}
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;
  ~Unprivileged() {
    if (dropped_ && ::seteuid(0) != 0) std::terminate();
  }

 private:
  bool dropped_;
};

}  // namespace

TEST_CASE("a file is written whole and replaces the old one", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "result";
  write_atomically(path, [](std::ostream& out) { out << "first"; });
  CHECK(read_bytes(path) == "first");
  std::string large(300'000, 'x');
  large[65'535] = 'y';
  write_atomically(path, [&](std::ostream& out) {
    out << large.substr(0, 10);
    out.write(large.data() + 10, 200'000);
    for (const char symbol : large.substr(200'010)) out.put(symbol);
  });
  CHECK(read_bytes(path) == large);
  CHECK(folder.entries() == 1);
}

TEST_CASE("a file is not created executable or private beyond the user's mask", "[io]") {
  const TemporaryFolder folder;
  const mode_t before = ::umask(027);
  write_atomically(folder / "result", [](std::ostream& out) { out << 1; });
  ::umask(before);
  CHECK(std::filesystem::status(folder / "result").permissions() == std::filesystem::perms{0640});
}

TEST_CASE("a writer that throws leaves the old file and nothing else", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "result";
  const auto fail = [&path] {
    write_atomically(path, [](std::ostream& out) {
      out << std::string(100'000, 'x');
      throw std::runtime_error("the writer's own");
    });
  };
  CHECK_THROWS_WITH(fail(), "the writer's own");
  CHECK(folder.entries() == 0);
  write_bytes(path, "old");
  CHECK_THROWS_WITH(fail(), "the writer's own");
  CHECK(folder.entries() == 1);
  CHECK(read_bytes(path) == "old");
}

TEST_CASE("a disk that fills up is an error that leaves the old file and nothing else", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "result";
  write_bytes(path, "old");
  const auto reason = std::generic_category().message(EFBIG);
  const FileSizeLimit limit{4096};
  SECTION("when the writer goes on regardless") {
    const auto error = error_of([&] {
      write_atomically(path, [](std::ostream& out) { out << std::string(100'000, 'x') << "and more"; });
    });
    CHECK(error.code() == ErrorCode::io);
    CHECK(error.what() == path.string() + ": expected to write the whole file, came " + reason);
  }
  SECTION("when only the last flush meets it") {
    CHECK(error_of([&] {
            write_atomically(path, [](std::ostream& out) { out << std::string(5'000, 'x'); });
          }).came() == reason);
  }
  SECTION("when the writer throws because of it") {
    CHECK(error_of([&] {
            write_atomically(path, [](std::ostream& out) {
              if (!(out << std::string(100'000, 'x'))) throw std::runtime_error("no room?");
            });
          }).came() == reason);
  }
  SECTION("when it is a tensor file") {
    const std::vector<double> values(1'000);
    const Tensors tensors{{"a", view_of<double>(values, {1'000})}};
    CHECK(error_of([&] { write_safetensors(path, tensors); }).came() == reason);
    CHECK(error_of([&] { write_npy(path, tensors[0].second); }).came() == reason);
  }
  CHECK(folder.entries() == 1);
  CHECK(read_bytes(path) == "old");
}

TEST_CASE("a writer that leaves its stream failed writes no file", "[io]") {
  const TemporaryFolder folder;
  const auto error = error_of([&] {
    write_atomically(folder / "result", [](std::ostream& out) { out.setstate(std::ios::failbit); });
  });
  CHECK(error.code() == ErrorCode::io);
  CHECK(folder.entries() == 0);
}

TEST_CASE("a place that cannot be written is an error with the system's reason", "[io]") {
  const TemporaryFolder folder;
  const auto write = [](const std::filesystem::path& path) {
    return error_of([&] { write_atomically(path, [](std::ostream& out) { out << "x"; }); });
  };
  const auto missing = write(folder / "missing/result");
  CHECK(missing.code() == ErrorCode::io);
  CHECK(missing.what() == (folder / "missing/result").string() +
                              ": expected a folder that a file can be created in, came " +
                              std::generic_category().message(ENOENT));
  write_bytes(folder / "file", "x");
  CHECK(write(folder / "file/result").came() == std::generic_category().message(ENOTDIR));
  CHECK(write("").code() == ErrorCode::io);
  CHECK(folder.entries() == 1);

  std::filesystem::permissions(folder.path(), std::filesystem::perms{0555});
  {
    const Unprivileged unprivileged;
    CHECK(write(folder / "result").came() == std::generic_category().message(EACCES));
  }
  std::filesystem::permissions(folder.path(), std::filesystem::perms{0755});
  CHECK(folder.entries() == 1);
}

TEST_CASE("a folder, a pipe and a device are not replaced by a file", "[io]") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "folder");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  std::filesystem::create_symlink("/dev/null", folder / "device");
  for (const auto* name : {"folder", "pipe", "device"}) {
    CAPTURE(name);
    const auto type = std::filesystem::status(folder / name).type();
    const auto error =
        error_of([&] { write_atomically(folder / name, [](std::ostream& out) { out << "x"; }); });
    CHECK(error.code() == ErrorCode::argument);
    CHECK(error.came() == "a folder, device or pipe");
    CHECK(std::filesystem::status(folder / name).type() == type);
  }
  CHECK(std::filesystem::is_character_file("/dev/null"));
  CHECK(folder.entries() == 3);
}

TEST_CASE("a link stays a link and the file it names is replaced", "[io]") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "elsewhere");
  write_bytes(folder / "elsewhere/file", "old");
  std::filesystem::create_symlink("elsewhere/file", folder / "link");
  write_atomically(folder / "link", [](std::ostream& out) { out << "new"; });
  CHECK(std::filesystem::is_symlink(folder / "link"));
  CHECK(read_bytes(folder / "elsewhere/file") == "new");
}

TEST_CASE("a relative path is written in the working folder", "[io]") {
  const TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_atomically("result", [](std::ostream& out) { out << "here"; });
  std::filesystem::current_path(before);
  CHECK(read_bytes(folder / "result") == "here");
}

TEST_CASE("a name as long as the file system allows is written", "[io]") {
  const TemporaryFolder folder;
  const std::string name(255, 'n');
  write_atomically(folder / name, [](std::ostream& out) { out << "x"; });
  CHECK(read_bytes(folder / name) == "x");
}

TEST_CASE("a temporary file that a killed process left is not touched", "[io]") {
  const TemporaryFolder folder;
  const auto left = [&folder](int i) {
    return folder / (culprit::io::detail::temporary_prefix() + std::to_string(i) + ".tmp");
  };
  constexpr int count = 500;
  for (int i = 0; i < count; ++i) write_bytes(left(i), "left");
  write_atomically(folder / "result", [](std::ostream& out) { out << "x"; });
  CHECK(folder.entries() == count + 1);
  for (int i = 0; i < count; ++i) REQUIRE(read_bytes(left(i)) == "left");
}

TEST_CASE("of writers at the same time one wins and none mixes", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "result";
  std::vector<std::thread> writers;
  for (char symbol = 'a'; symbol < 'e'; ++symbol) {
    writers.emplace_back([&path, symbol] {
      for (int i = 0; i < 20; ++i) {
        write_atomically(path, [symbol](std::ostream& out) { out << std::string(100'000, symbol); });
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  const std::string bytes = read_bytes(path);
  CHECK(bytes == std::string(100'000, bytes.at(0)));
  CHECK(folder.entries() == 1);
}
