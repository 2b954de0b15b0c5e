// SPDX-License-Identifier: MIT
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <span>
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
using culprit::io::Dtype;
using culprit::io::read_npy;
using culprit::io::Safetensors;
using culprit::io::TensorView;
using culprit::io::view_of;
using culprit::io::write_atomically;
using culprit::io::write_npy;
using culprit::io::write_safetensors;
using culprit::test::error_of;
using culprit::test::read_bytes;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;
using namespace std::string_literals;

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

std::string little_endian(std::uint64_t value, std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

std::string safetensors_file(const std::string& header, std::size_t data_bytes) {
  return little_endian(header.size(), 8) + header + std::string(data_bytes, '\0');
}

std::string npy_file(const std::string& header, std::size_t data_bytes) {
  return "\x93NUMPY\x01\x00"s + little_endian(header.size(), 2) + header + std::string(data_bytes, '\0');
}

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

TEST_CASE("a safetensors file has the documented bytes", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "tensors";
  const std::vector<float> floats{1.0F, -2.0F};
  const std::vector<std::uint8_t> bytes{7};
  const std::int64_t count = 258;
  const Tensors tensors{{"u", view_of<std::uint8_t>(bytes, {1})},
                        {"f", view_of<float>(floats, {2, 1})},
                        {"n", view_of<std::int64_t>({&count, 1}, {})}};
  write_safetensors(path, tensors, {{"b", "\"x\""}, {"a", "1"}});
  const auto header =
      R"({"__metadata__":{"a":"1","b":"\"x\""},"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("f":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]},)"
      R"("u":{"dtype":"U8","shape":[1],"data_offsets":[16,17]}})"s;
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  CHECK(read_bytes(path) == little_endian(header.size() + padding.size(), 8) + header + padding +
                                "\x02\x01\0\0\0\0\0\0"s + "\0\0\x80\x3f"s + "\0\0\0\xc0"s + "\x07");
  const std::string first = read_bytes(path);
  write_safetensors(path, tensors, {{"a", "1"}, {"b", "\"x\""}});
  CHECK(read_bytes(path) == first);
}

TEST_CASE("a safetensors file gives back names, shapes, values and metadata", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "tensors";
  const std::vector<double> doubles{1.5, -0.0, 1e300, 4, 5, 6};
  const std::vector<std::int16_t> shorts{-1, 2, 3};
  const bool truth[] = {true, false};
  const Tensors tensors{{"shorts", view_of<std::int16_t>(shorts, {3})},
                        {"empty", view_of<float>({}, {4, 0, 2})},
                        {"doubles \xc3\xa9\n\"", view_of<double>(doubles, {2, 3})},
                        {"scalar", view_of<double>(std::span{doubles}.first(1), {})},
                        {"truth", view_of<bool>(truth, {2})},
                        {"half", {Dtype::F16, {3}, std::as_bytes(std::span{shorts})}},
                        {"brain", {Dtype::BF16, {3, 1}, std::as_bytes(std::span{shorts})}},
                        {"", view_of<double>({}, {0})}};
  const std::map<std::string, std::string> metadata{{"", "empty key"}, {"lines", "a\nb\t\x01\xe2\x82\xac"}};
  write_safetensors(path, tensors, metadata);

  Safetensors opened = Safetensors::open(path);
  const auto before = opened.values<double>("doubles \xc3\xa9\n\"");
  const Safetensors file = std::move(opened);
  CHECK(file.values<double>("doubles \xc3\xa9\n\"").data() == before.data());
  CHECK(std::equal(before.begin(), before.end(), doubles.begin(), doubles.end()));
  CHECK(file.metadata() == metadata);
  CHECK(file.names() == std::vector<std::string>{"doubles \xc3\xa9\n\"", "scalar", "", "empty", "shorts",
                                                 "half", "brain", "truth"});
  for (const auto& [name, tensor] : tensors) {
    CAPTURE(name);
    CHECK(file.contains(name));
    const TensorView& read = file.at(name);
    CHECK(read.dtype == tensor.dtype);
    CHECK(read.shape == tensor.shape);
    CHECK(std::equal(read.data.begin(), read.data.end(), tensor.data.begin(), tensor.data.end()));
  }
  CHECK(file.values<std::int16_t>("shorts")[2] == 3);
  CHECK(file.read<std::int16_t>("shorts") == shorts);
  CHECK(file.values<float>("empty").empty());
  CHECK(file.read<float>("empty").empty());
  CHECK(file.values<double>("scalar").size() == 1);
  CHECK_FALSE(file.contains("short"));
  CHECK(error_of([&] { (void)file.at("sh\x1b"); }).what() ==
        path.string() + ": expected the tensor \"sh\\x1b\", came 8 tensors without it");
  CHECK(error_of([&] { (void)file.values<float>("scalar"); }).what() ==
        path.string() + ", tensor \"scalar\": expected F32 values, came F64");
  CHECK(error_of([&] { (void)file.read<std::uint16_t>("half"); }).code() == ErrorCode::dtype);
}

TEST_CASE("a safetensors file without tensors is one", "[io]") {
  const TemporaryFolder folder;
  write_safetensors(folder / "none", {});
  CHECK(read_bytes(folder / "none") == safetensors_file("{}      ", 0));
  const auto file = Safetensors::open(folder / "none");
  CHECK(file.names().empty());
  CHECK(file.metadata().empty());
}

TEST_CASE("values of a safetensors file that are not aligned are copied only when asked", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "tensors";
  const auto header = R"({"d":{"dtype":"F64","shape":[1],"data_offsets":[1,9]},)"
                      R"("u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})"s;
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  std::string bytes = safetensors_file(header + padding, 9);
  const double value = -12.5;
  std::memcpy(bytes.data() + bytes.size() - 8, &value, 8);
  write_bytes(path, bytes);
  const auto file = Safetensors::open(path);
  CHECK(file.names() == std::vector<std::string>{"u", "d"});
  const auto error = error_of([&] { (void)file.values<double>("d"); });
  CHECK(error.code() == ErrorCode::format);
  CHECK(error.what() == path.string() + ", tensor \"d\": expected values aligned to 8 bytes " +
                            "(read<T>() copies any), came an address 1 bytes past such a boundary");
  CHECK(file.read<double>("d") == std::vector<double>{-12.5});
}

TEST_CASE("a safetensors file from a stranger is refused at the byte that is wrong", "[io]") {
  struct Case {
    std::string bytes;
    std::string sentence;
  };
  const auto tensor = [](const std::string& fields, std::size_t data_bytes) {
    return safetensors_file("{\"a\":{" + fields + "}}", data_bytes);
  };
  std::string dimensions;
  for (int i = 0; i < 65; ++i) dimensions += i == 0 ? "1" : ",1";
  const std::string entry = R"("dtype":"U8","shape":[2],"data_offsets":)";
  const auto two = [&entry](const std::string& first, const std::string& second) {
    return safetensors_file("{\"a\":{" + entry + first + "},\"b\":{" + entry + second + "}}", 4);
  };
  const std::vector<Case> cases{
      {"", ", byte 0: expected 8 bytes that hold the header's length, came 0 bytes in all"},
      {"1234567", ", byte 0: expected 8 bytes that hold the header's length, came 7 bytes in all"},
      {little_endian(3, 8) + "{}", ", byte 0: expected a header of at most 2 bytes, came 3"},
      {little_endian(~std::uint64_t{0}, 8) + "{}",
       ", byte 0: expected a header of at most 2 bytes, came 18446744073709551615"},
      {safetensors_file("", 0), ", byte 8: expected a header that begins with '{', came the end of the text"},
      {safetensors_file(" {}", 0), ", byte 9: expected a header that begins with '{', came \"{\""},
      {safetensors_file("[]", 0), ", byte 8: expected a header that begins with '{', came \"[\""},
      {safetensors_file("{}x", 0), ", byte 10: expected the end of the JSON text, came \"x\""},
      {safetensors_file("{}\0"s, 0), ", byte 10: expected the end of the JSON text, came \"\\x00\""},
      {safetensors_file("{", 0), ", byte 9: expected a string, came the end of the text"},
      {safetensors_file("{\"\xff\":{}}", 0), ", byte 10: expected UTF-8, came \"\\xff\""},
      {safetensors_file("{\"\\ud800\":{}}", 0), ", byte 11: expected a pair of surrogates, came \"ud800\""},
      {safetensors_file("{\"a\":[]}", 0), ", byte 13: expected an object, came \"[\""},
      {safetensors_file("{\"a\":{}}", 0),
       ", byte 9: expected dtype, shape and data_offsets of tensor \"a\", came no dtype"},
      {tensor(R"("dtype":"U8","data_offsets":[0,0])", 0),
       ", byte 9: expected dtype, shape and data_offsets of tensor \"a\", came no shape"},
      {tensor(R"("dtype":"U8","shape":[0])", 0),
       ", byte 9: expected dtype, shape and data_offsets of tensor \"a\", came no data_offsets"},
      {tensor(R"("dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0])", 0),
       ", byte 27: expected dtype, shape and data_offsets, each once, came \"dtype\""},
      {tensor(entry + "[0,2],\"shape\":[2]", 2),
       ", byte 60: expected dtype, shape and data_offsets, each once, came \"shape\""},
      {tensor(entry + "[0,2],\"data_offsets\":[0,2]", 2),
       ", byte 60: expected dtype, shape and data_offsets, each once, came \"data_offsets\""},
      {tensor(entry + "[0,2],\"x\\u001b\":1", 2),
       ", byte 60: expected dtype, shape and data_offsets, each once, came \"x\\x1b\""},
      {tensor(R"("dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0])", 0),
       ", byte 22: expected a dtype of BOOL, U8 to F64, F16 or BF16, came \"F8_E4M3\""},
      {tensor(R"("dtype":"","shape":[0],"data_offsets":[0,0])", 0),
       ", byte 22: expected a dtype of BOOL, U8 to F64, F16 or BF16, came \"\""},
      {tensor(R"("dtype":7,"shape":[0],"data_offsets":[0,0])", 0),
       ", byte 22: expected a string, came \"7\""},
      {tensor(R"("dtype":"U8","shape":2,"data_offsets":[0,2])", 2),
       ", byte 35: expected an array, came \"2\""},
      {tensor(R"("dtype":"U8","shape":["2"],"data_offsets":[0,2])", 2),
       ", byte 36: expected a digit, came \"\"\""},
      {tensor(R"("dtype":"U8","shape":[-2],"data_offsets":[0,2])", 2),
       ", byte 36: expected an integer from 0 to 2^63 - 1, came another number"},
      {tensor(R"("dtype":"U8","shape":[2.0],"data_offsets":[0,2])", 2),
       ", byte 36: expected an integer from 0 to 2^63 - 1, came another number"},
      {tensor(R"("dtype":"U8","shape":[-0],"data_offsets":[0,0])", 0),
       ", byte 36: expected an integer from 0 to 2^63 - 1, came another number"},
      {tensor(R"("dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,0])", 0),
       ", byte 36: expected an integer from 0 to 2^63 - 1, came another number"},
      {tensor("\"dtype\":\"U8\",\"shape\":[" + dimensions + "],\"data_offsets\":[0,1]", 1),
       ", byte 164: expected at most 64 integers, came more"},
      {tensor(R"("dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,0])", 0),
       ", byte 74, tensor \"a\": expected a size that memory holds for U8 of shape [4611686018427387904, 4], "
       "came data_offsets [0, 0]"},
      {tensor(R"("dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0])", 0),
       ", byte 73, tensor \"a\": expected a size that memory holds for F64 of shape [2305843009213693952], "
       "came data_offsets [0, 0]"},
      {tensor(R"("dtype":"U8","shape":[0,4611686018427387904,4],"data_offsets":[0,0])", 0),
       ", byte 76, tensor \"a\": expected a size that memory holds for U8 of shape "
       "[0, 4611686018427387904, 4], came data_offsets [0, 0]"},
      {tensor(entry + "[0]", 2), ", byte 54: expected two offsets, came 1"},
      {tensor(entry + "[]", 2), ", byte 54: expected two offsets, came 0"},
      {tensor(entry + "[0,2,2]", 2), ", byte 59: expected at most 2 integers, came more"},
      {tensor(entry + "[0,3]", 2),
       ", byte 54, tensor \"a\": expected an end within 2 bytes of data, came data_offsets [0, 3]"},
      {tensor(entry + "[0,9223372036854775807]", 2),
       ", byte 54, tensor \"a\": expected an end within 2 bytes of data, came data_offsets "
       "[0, 9223372036854775807]"},
      {tensor(entry + "[2,0]", 2),
       ", byte 54, tensor \"a\": expected data that begins where the tensor before it ends, at 0, came "
       "data_offsets [2, 0]"},
      {two("[0,2]", "[2,0]"),
       ", byte 106, tensor \"b\": expected 2 bytes for U8 of shape [2], came data_offsets [2, 0]"},
      {tensor(entry + "[1,3]", 3),
       ", byte 54, tensor \"a\": expected data that begins where the tensor before it ends, at 0, came "
       "data_offsets [1, 3]"},
      {two("[0,2]", "[1,3]"),
       ", byte 106, tensor \"b\": expected data that begins where the tensor before it ends, at 2, came "
       "data_offsets [1, 3]"},
      {two("[2,4]", "[2,4]"),
       ", byte 54, tensor \"a\": expected data that begins where the tensor before it ends, at 0, came "
       "data_offsets [2, 4]"},
      {safetensors_file("{\"a\":{" + entry + "[0,2]},\"b\":{" + entry + "[3,5]}}", 5),
       ", byte 106, tensor \"b\": expected data that begins where the tensor before it ends, at 2, came "
       "data_offsets [3, 5]"},
      {tensor(entry + "[0,1]", 1),
       ", byte 54, tensor \"a\": expected 2 bytes for U8 of shape [2], came data_offsets [0, 1]"},
      {tensor(entry + "[0,2]", 5),
       ", byte 63: expected the end of the file after the last tensor, came 3 more bytes"},
      {safetensors_file("{}", 1),
       ", byte 10: expected the end of the file after the last tensor, came 1 more bytes"},
      {safetensors_file("{\"a\":{" + entry + "[0,2]},\"a\":{" + entry + "[2,4]}}", 4),
       ", byte 106: expected each tensor once, came \"a\" again"},
      {safetensors_file(R"({"__metadata__":{"k":"v","k":"v"}})", 0),
       ", byte 33: expected each key once, came \"k\" again"},
      {safetensors_file(R"({"__metadata__":{},"__metadata__":{}})", 0),
       ", byte 27: expected \"__metadata__\" once, came a second one"},
      {safetensors_file(R"({"__metadata__":{"k":1}})", 0), ", byte 29: expected a string, came \"1\""},
      {safetensors_file(R"({"__metadata__":null})", 0), ", byte 24: expected an object, came \"n\""},
  };
  const TemporaryFolder folder;
  const auto path = folder / "hostile";
  for (const Case& hostile : cases) {
    write_bytes(path, hostile.bytes);
    CAPTURE(hostile.bytes);
    const auto error = error_of([&] { (void)Safetensors::open(path); });
    CHECK(error.code() == ErrorCode::format);
    CHECK(error.what() == path.string() + hostile.sentence);
  }
}

TEST_CASE("a safetensors header above 100 MB is refused unread", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "large";
  write_bytes(path, little_endian(100'000'001, 8) + "{}");
  std::filesystem::resize_file(path, 200'000'000);
  CHECK(error_of([&] { (void)Safetensors::open(path); }).what() ==
        path.string() + ", byte 0: expected a header of at most 100000000 bytes, came 100000001");
}

TEST_CASE("a safetensors file is not written from wrong views or names", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "tensors";
  const std::vector<float> values(6);
  const auto view = view_of<float>(values, {2, 3});
  const auto refused = [&](const Tensors& tensors, const std::map<std::string, std::string>& metadata = {}) {
    auto error = error_of([&] { write_safetensors(path, tensors, metadata); });
    CHECK(folder.entries() == 0);
    return error;
  };
  CHECK(refused({{"a", view}, {"b", view}, {"a", view}}).code() == ErrorCode::argument);
  CHECK(refused({{"__metadata__", view}}).came() == "\"__metadata__\"");
  CHECK(refused({{"a", {Dtype::F64, {2, 3}, view.data}}}).what() ==
        path.string() + ", tensor \"a\": expected F64 values for shape [2, 3] (48 bytes), came 24 bytes");
  CHECK(refused({{"a", {Dtype::F32, {-2, -3}, view.data}}}).what() ==
        path.string() +
            ", tensor \"a\": expected F32 values for shape [-2, -3], which no memory holds, came 24 bytes");
  CHECK(refused({{"a", {Dtype::F32, {-2, 0}, {}}}}).code() == ErrorCode::shape);
  CHECK(refused({{"\xff", view}}).code() == ErrorCode::format);
  CHECK(refused({{"a", view}}, {{"k", "\xc3"}}).code() == ErrorCode::format);
  CHECK(error_of([&] { view_of<float>(values, {7}); }).code() == ErrorCode::shape);
  CHECK(error_of([&] { view_of<float>(values, {}); }).code() == ErrorCode::shape);
}

TEST_CASE("what is no regular file is not opened", "[io]") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  for (const auto& path : {folder.path(), folder / "pipe", std::filesystem::path{"/dev/zero"}}) {
    CAPTURE(path);
    for (const auto& error :
         {error_of([&] { (void)Safetensors::open(path); }), error_of([&] { read_npy(path); })}) {
      CHECK(error.code() == ErrorCode::io);
      CHECK(error.what() == path.string() + ": expected a regular file, came a folder, device or pipe");
    }
  }
  const auto missing = folder / "missing";
  CHECK(error_of([&] { (void)Safetensors::open(missing); }).what() ==
        missing.string() + ": expected a file that can be read, came " +
            std::generic_category().message(ENOENT));
}

TEST_CASE("an npy file has the documented bytes", "[io]") {
  const TemporaryFolder folder;
  const std::vector<float> values{1.0F, -2.0F};
  write_npy(folder / "f.npy", view_of<float>(values, {2}));
  const auto header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"s;
  CHECK(read_bytes(folder / "f.npy") == "\x93NUMPY\x01\x00\x76\x00"s + header +
                                            std::string(117 - header.size(), ' ') +
                                            "\n\0\0\x80\x3f\0\0\0\xc0"s);
  const auto text_of = [&](const TensorView& tensor) {
    write_npy(folder / "x.npy", tensor);
    const std::string bytes = read_bytes(folder / "x.npy");
    CHECK((bytes.size() - tensor.data.size()) % 64 == 0);
    const auto begin = bytes.find('{');
    return bytes.substr(begin, bytes.find('}') + 1 - begin);
  };
  CHECK(text_of(view_of<float>(values, {2, 1})) ==
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }");
  CHECK(text_of(view_of<float>(std::span{values}.first(1), {})) ==
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), }");
  CHECK(text_of(view_of<std::uint8_t>({}, {3, 0})) ==
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 0), }");
}

TEST_CASE("an npy file gives back type, shape and values", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "x.npy";
  const std::vector<std::int64_t> values{1, -2, 3, 4, 5, INT64_MIN};
  const auto words = std::as_bytes(std::span{values});
  for (const Dtype dtype : {Dtype::Bool, Dtype::U8, Dtype::I8, Dtype::U16, Dtype::I16, Dtype::F16, Dtype::U32,
                            Dtype::I32, Dtype::F32, Dtype::U64, Dtype::I64, Dtype::F64}) {
    CAPTURE(name_of(dtype));
    for (const auto& shape :
         std::vector<std::vector<std::int64_t>>{{}, {1}, {6}, {2, 3}, {1, 3, 1, 2}, {0}, {5, 0}}) {
      std::size_t count = 1;
      for (const auto extent : shape) count *= static_cast<std::size_t>(extent);
      write_npy(path, {dtype, shape, words.first(count * size_of(dtype))});
      const auto array = read_npy(path);
      CHECK(array.dtype == dtype);
      CHECK(array.shape == shape);
      CHECK(std::equal(array.data.begin(), array.data.end(), words.begin(),
                       words.begin() + std::ssize(array.data)));
      CHECK(array.data.size() == count * size_of(dtype));
    }
  }
  write_npy(path, view_of<std::int64_t>(values, {3, 2}));
  CHECK(read_npy(path).values<std::int64_t>()[5] == INT64_MIN);
  CHECK(error_of([&] { (void)read_npy(path).values<double>(); }).what() ==
        "npy array: expected F64 values, came I64"s);
}

TEST_CASE("npy headers of all three versions are read however Python spaces them", "[io]") {
  using culprit::io::parse_npy;
  const auto header = "{ \"shape\":(2,3),'descr' : '<i2','fortran_order':False}\n"s;
  const std::string data(12, '\x01');
  for (const auto& array :
       {parse_npy(npy_file(header, 0) + data, "FILE"),
        parse_npy("\x93NUMPY\x02\x00"s + little_endian(header.size(), 4) + header + data, "FILE"),
        parse_npy("\x93NUMPY\x03\x00"s + little_endian(header.size(), 4) + header + data, "FILE")}) {
    CHECK(array.dtype == Dtype::I16);
    CHECK(array.shape == std::vector<std::int64_t>{2, 3});
    CHECK(array.values<std::int16_t>()[5] == 0x0101);
  }
}

TEST_CASE("an npy file from a stranger is refused at the byte that is wrong", "[io]") {
  struct Case {
    std::string bytes;
    ErrorCode code;
    std::string sentence;
  };
  const auto format = ErrorCode::format;
  const auto with_descr = [](const std::string& descr) {
    return npy_file("{'descr': " + descr + ", 'fortran_order': False, 'shape': (2,), }", 2);
  };
  const auto with_shape = [](const std::string& shape) {
    return npy_file("{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + ", }", 2);
  };
  std::string dimensions = "(";
  for (int i = 0; i < 65; ++i) dimensions += "1,";
  const std::string keys = "the keys descr, fortran_order and shape";
  const std::string types = "|b1, |u1, |i1, <u2 to <u8, <i2 to <i8, or <f2 to <f8";
  const std::vector<Case> cases{
      {"", format, "byte 0: expected \\x93NUMPY, the first bytes of an npy file, came \"\""},
      {"\x93NUMPX\x01\x00"s, format,
       "byte 0: expected \\x93NUMPY, the first bytes of an npy file, came \"\\x93NUMPX\""},
      {"PK\x03\x04", format,
       "byte 0: expected \\x93NUMPY, the first bytes of an npy file, came \"PK\\x03\\x04\""},
      {"\x93NUMPY", format, "byte 6: expected version 1.0, 2.0 or 3.0, came \"\""},
      {"\x93NUMPY\x01", format, "byte 6: expected version 1.0, 2.0 or 3.0, came \"\\x01\""},
      {"\x93NUMPY\x04\x00\x00\x00"s, format, "byte 6: expected version 1.0, 2.0 or 3.0, came \"\\x04\\x00\""},
      {"\x93NUMPY\x01\x01\x00\x00"s, format, "byte 6: expected version 1.0, 2.0 or 3.0, came \"\\x01\\x01\""},
      {"\x93NUMPY\x01\x00\x00"s, format, "byte 8: expected the header's length, came the end of the file"},
      {"\x93NUMPY\x02\x00\x00\x00\x00"s, format,
       "byte 8: expected the header's length, came the end of the file"},
      {"\x93NUMPY\x01\x00\x03\x00{}"s, format, "byte 8: expected a header of at most 2 bytes, came 3"},
      {"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"s, format,
       "byte 8: expected a header of at most 2 bytes, came 4294967295"},
      {npy_file("", 0), format, "byte 10: expected '{', came the end of the header, or byte 0"},
      {npy_file("[]", 0), format, "byte 10: expected '{', came \"[\""},
      {npy_file("{}", 0), format, "byte 10: expected " + keys + ", came no descr"},
      {npy_file("{'descr': '|u1', 'fortran_order': False}", 0), format,
       "byte 10: expected " + keys + ", came no shape"},
      {npy_file("{'descr': '|u1', 'shape': (0,)}", 0), format,
       "byte 10: expected " + keys + ", came no fortran_order"},
      {npy_file("{'descr': '|u1', 'descr': '|u1'}", 0), format,
       "byte 27: expected " + keys + ", each once, came \"descr\""},
      {npy_file("{'shape': (1,), 'shape': (2,)}", 0), format,
       "byte 26: expected " + keys + ", each once, came \"shape\""},
      {npy_file("{'fortran_order': False, 'fortran_order': False}", 0), format,
       "byte 35: expected " + keys + ", each once, came \"fortran_order\""},
      {npy_file("{'evil': 1}", 0), format, "byte 11: expected " + keys + ", each once, came \"evil\""},
      {npy_file("{descr: 1}", 0), format, "byte 11: expected a string in quotes, came \"d\""},
      {npy_file("{'descr", 0), format, "byte 11: expected a string that ends, came none"},
      {npy_file("{'descr' '|u1'}", 0), format, "byte 19: expected ':', came \"'\""},
      {npy_file("{'descr': '|u1' 'shape': (1,)}", 0), format, "byte 26: expected ',' or '}', came \"'\""},
      {npy_file("{'descr': '|u1', 'fortran_order': False, 'shape': (2,), } x", 2), format,
       "byte 68: expected the end of the header, came \"x\""},
      {npy_file("{'descr': '|u1', 'fortran_order': False, 'shape': (2,), ", 2), format,
       "byte 66: expected a string in quotes, came the end of the header, or byte 0"},
      {with_descr("'>f8'"), ErrorCode::dtype, "byte 20: expected little-endian elements, came \">f8\""},
      {with_descr("'<c16'"), ErrorCode::dtype, "byte 20: expected " + types + ", came \"<c16\""},
      {with_descr("'|O'"), ErrorCode::dtype, "byte 20: expected " + types + ", came \"|O\""},
      {with_descr("'<V2'"), ErrorCode::dtype, "byte 20: expected " + types + ", came \"<V2\""},
      {with_descr("''"), ErrorCode::dtype, "byte 20: expected " + types + ", came \"\""},
      {with_descr("[('x', '<f4')]"), ErrorCode::dtype,
       "byte 20: expected one element type, came a structure"},
      {with_descr("1"), format, "byte 20: expected a string in quotes, came \"1\""},
      {npy_file("{'descr': '|u1', 'fortran_order': True, 'shape': (2,), }", 2), format,
       "byte 44: expected an array in C order, came fortran_order True"},
      {npy_file("{'descr': '|u1', 'fortran_order': 0, 'shape': (2,), }", 2), format,
       "byte 44: expected True or False, came \"0\""},
      {with_shape("2"), format, "byte 60: expected '(', came \"2\""},
      {with_shape("(2)"), format, "byte 62: expected ',', came \")\""},
      {with_shape("(1 2)"), format, "byte 63: expected ',', came \"2\""},
      {with_shape("(,)"), format, "byte 61: expected an extent from 0 to 2^63 - 1, came \",\""},
      {with_shape("(-2,)"), format, "byte 61: expected an extent from 0 to 2^63 - 1, came \"-\""},
      {with_shape("(2.0,)"), format, "byte 62: expected ',', came \".\""},
      {with_shape("(2L,)"), format, "byte 62: expected ',', came \"L\""},
      {with_shape("(9223372036854775808,)"), format,
       "byte 61: expected an extent from 0 to 2^63 - 1, came \"9\""},
      {with_shape("(2,"), format, "byte 63: expected an extent from 0 to 2^63 - 1, came \",\""},
      {with_shape(dimensions + ")"), format, "byte 189: expected at most 64 dimensions, came more"},
      {with_shape("(3037000500, 3037000500)"), format,
       "byte 87: expected a size that memory holds for U8 of shape [3037000500, 3037000500], came 2 bytes"},
      {with_shape("(0, 4611686018427387904, 4)"), format,
       "byte 90: expected a size that memory holds for U8 of shape [0, 4611686018427387904, 4], came 2 "
       "bytes"},
      {with_shape("(1000000000000,)"), format,
       "byte 79: expected 1000000000000 bytes for U8 of shape [1000000000000], came 2 bytes"},
      {with_shape("(1,)"), format, "byte 67: expected 1 bytes for U8 of shape [1], came 2 bytes"},
      {with_shape("(3,)"), format, "byte 67: expected 3 bytes for U8 of shape [3], came 2 bytes"},
  };
  const TemporaryFolder folder;
  const auto path = folder / "hostile";
  for (const Case& hostile : cases) {
    write_bytes(path, hostile.bytes);
    CAPTURE(hostile.bytes);
    const auto error = error_of([&] { read_npy(path); });
    CHECK(error.code() == hostile.code);
    CHECK(error.what() == path.string() + ", " + hostile.sentence);
  }
}

TEST_CASE("an npy file is not written from what NumPy cannot hold", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "x.npy";
  const std::vector<std::uint16_t> values(2);
  const auto bytes = std::as_bytes(std::span{values});
  CHECK(error_of([&] {
          write_npy(path, {Dtype::BF16, {2}, bytes});
        }).what() == path.string() + ": expected an element type that NumPy has, came BF16");
  CHECK(error_of([&] { write_npy(path, {Dtype::U16, {3}, bytes}); }).code() == ErrorCode::shape);
  std::vector<std::int64_t> shape(65, 1);
  shape[0] = 2;
  CHECK(error_of([&] { write_npy(path, {Dtype::U16, shape, bytes}); }).code() == ErrorCode::shape);
  CHECK(folder.entries() == 0);
}
