// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <sys/stat.h>
#include <utility>
#include <vector>

#include <culprit/io/npy.hpp>
#include <culprit/io/safetensors.hpp>

#include "io/error_of.hpp"
#include "io/little_endian.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using culprit::ErrorCode;
using culprit::io::Dtype;
using culprit::io::read_npy;
using culprit::io::Safetensors;
using culprit::io::TensorView;
using culprit::io::view_of;
using culprit::io::write_safetensors;
using culprit::test::error_of;
using culprit::test::little_endian;
using culprit::test::read_bytes;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;
using namespace std::string_literals;

namespace {

using Tensors = std::vector<std::pair<std::string, TensorView>>;

std::string safetensors_file(const std::string& header, std::size_t data_bytes) {
  return little_endian(header.size(), 8) + header + std::string(data_bytes, '\0');
}

}  // namespace

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
