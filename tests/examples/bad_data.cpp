// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h does not bring it
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <utility>
#include <vector>

#include <jpeglib.h>
#include <zlib.h>

#include "data/dataset.hpp"
#include "data/image.hpp"
#include "examples/data_files.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using culprit::Error;
using culprit::ErrorCode;
using culprit::data::decode_image;
using culprit::data::open_dataset;
using culprit::test::BadInput;
using culprit::test::big_endian;
using culprit::test::check_refused;
using culprit::test::cifar_record;
using culprit::test::error_of;
using culprit::test::gzipped;
using culprit::test::read_bytes;
using culprit::test::shade_png;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;
using culprit::test::write_idx;

namespace {

/// Scripts of that many scans, up to 127: one for all constant parts, one for each other coefficient of the
/// grey component without its last bit, and one for each last bit.
std::vector<jpeg_scan_info> scans_of(int count) {
  std::vector<jpeg_scan_info> scans{{3, {0, 1, 2}, 0, 0, 0, 0}};
  for (const auto& [before, after] : {std::pair(0, 1), std::pair(1, 0)}) {
    for (int k = 1; k < 64; ++k) scans.push_back({1, {0}, k, k, before, after});
  }
  scans.resize(static_cast<std::size_t>(count));
  return scans;
}

/// A 64 x 64 RGB JPEG with something in every block. @param scans  of a progressive one
std::string some_jpeg(const std::vector<jpeg_scan_info>& scans = {}) {
  jpeg_compress_struct state{};
  jpeg_error_mgr errors{};
  state.err = jpeg_std_error(&errors);
  jpeg_create_compress(&state);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&state, &bytes, &size);
  state.image_width = state.image_height = 64;
  state.input_components = 3;
  state.in_color_space = JCS_RGB;
  jpeg_set_defaults(&state);
  if (!scans.empty()) {
    state.scan_info = scans.data();
    state.num_scans = static_cast<int>(scans.size());
  }
  jpeg_start_compress(&state, TRUE);
  for (unsigned y = 0; y < 64; ++y) {
    std::vector<std::uint8_t> row(64 * 3);
    for (std::size_t x = 0; x < row.size(); ++x) row[x] = static_cast<std::uint8_t>(x * y * 7);
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&state, &pointer, 1);
  }
  jpeg_finish_compress(&state);
  jpeg_destroy_compress(&state);
  std::string text(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return text;
}

}  // namespace

TEST_CASE("a bad picture is refused by name", "[examples]") {
  const TemporaryFolder folder;
  const std::string jpeg = some_jpeg();
  const std::string png = shade_png(7, 20, 20);
  const auto bad = [&](std::string name, std::string bytes, std::string says) -> BadInput {
    return {name, ErrorCode::format, (folder / "picture").string() + ": expected " + says, [&folder, bytes] {
              write_bytes(folder / "picture", bytes);
              (void)decode_image(folder / "picture");
            }};
  };
  const auto patched = [](std::string bytes, std::size_t at, std::string_view with) {
    return bytes.replace(at, with.size(), with);
  };
  const std::size_t frame = jpeg.find("\xff\xc0");
  const std::size_t scan = jpeg.find("\xff\xda");
  REQUIRE(frame != std::string::npos);
  REQUIRE(scan != std::string::npos);
  write_bytes(folder / "picture", jpeg);
  CHECK(decode_image(folder / "picture").width == 64);
  write_bytes(folder / "picture", some_jpeg(scans_of(100)));
  CHECK(decode_image(folder / "picture").width == 64);
  check_refused({
      {"missing", ErrorCode::io, "none.jpg", [&] { (void)decode_image(folder / "none.jpg"); }},
      {"a folder", ErrorCode::io, folder.path().string(), [&] { (void)decode_image(folder.path()); }},
      bad("empty", "", "a JPEG"),
      bad("text", "\x1b[31mhello",
          R"(a JPEG ("\xff\xd8\xff"...) or PNG ("\x89PNG"...), came first bytes "\x1b[31m)"),
      bad("JPEG without its second half", jpeg.substr(0, jpeg.size() / 2),
          "a whole JPEG, came Premature end"),
      bad("JPEG without its last bytes", jpeg.substr(0, jpeg.size() - 20), "a whole JPEG"),
      bad("JPEG of three bytes", jpeg.substr(0, 3), "a whole JPEG"),
      bad("JPEG with a hole in its scan", patched(jpeg, scan + 200, std::string(40, '\xff')), "a whole JPEG"),
      bad("JPEG with a marker in its scan", patched(jpeg, scan + 300, "\xff\xd9"), "a whole JPEG"),
      bad("JPEG of 65,000 x 65,000", patched(jpeg, frame + 5, "\xfd\xe8\xfd\xe8"),
          "1 to 268435456 pixels, came 65000"),
      bad("JPEG of 16,000 x 16,000", patched(jpeg, frame + 5, "\x3e\x80\x3e\x80"),
          "at most 512 pixels for each of its " + std::to_string(jpeg.size()) + " bytes, came 16000 x 16000"),
      bad("JPEG of more than 100 scans", some_jpeg(scans_of(101)), "a whole JPEG, came more than 100 scans"),
      bad("JPEG without extents", patched(jpeg, frame + 5, std::string(4, '\0')), "a whole JPEG"),
      bad("PNG without its second half", png.substr(0, png.size() / 2), "a whole PNG, came premature end"),
      bad("PNG without its end", png.substr(0, png.size() - 4), "a whole PNG"),
      bad("PNG of its magic alone", png.substr(0, 8), "a whole PNG"),
      bad("PNG with a flipped bit", patched(png, png.size() - 20, std::string(1, png[png.size() - 20] ^ 1)),
          "a whole PNG"),
      bad("PNG with other extents", patched(png, 16, "\x7f"), "a whole PNG, came"),
  });
}

TEST_CASE("a PNG that promises more pixels than it has bytes for is refused before memory is taken",
          "[examples]") {
  const TemporaryFolder folder;
  const auto refusal_of = [&](std::uint32_t width, std::uint32_t height) {
    std::string png = shade_png(7).replace(16, 8, big_endian({width, height}));
    const auto head = reinterpret_cast<const Bytef*>(png.data() + 12);
    png.replace(29, 4, big_endian({static_cast<std::uint32_t>(crc32(0, head, 17))}));
    write_bytes(folder / "bomb.png", png);
    const Error error = error_of([&] { (void)decode_image(folder / "bomb.png"); });
    return error.expected() + " - " + error.came();
  };
  CHECK(refusal_of(40000, 40000) == "1 to 268435456 pixels - 40000 x 40000");
  const std::string bytes = std::to_string(shade_png(7).size());
  CHECK(refusal_of(16000, 16000) ==
        "at most 1032 bytes of pixels for each of its " + bytes + " bytes - 16000 x 16000 pixels");
}

TEST_CASE("a bad data set is refused by file, line or byte", "[examples]") {
  const TemporaryFolder folder;
  const std::string root = folder.path().string();
  std::filesystem::create_directories(folder / "empty");
  std::filesystem::create_directories(folder / "bare/class");
  std::filesystem::create_directories(folder / "good/cat");
  write_bytes(folder / "good/cat/1.png", shade_png(1));

  const auto open = [](std::string spec) { return [spec] { (void)open_dataset(spec); }; };
  const auto list = [&](std::string name, std::string text, std::string says) -> BadInput {
    return {name, ErrorCode::format, root + "/list.txt" + says, [&folder, root, text] {
              write_bytes(folder / "list.txt", text);
              (void)open_dataset("list:" + root + "/list.txt");
            }};
  };
  const auto classes = [&](std::string name, std::string text, std::string says) -> BadInput {
    return {name, ErrorCode::format, root + "/classes.txt" + says, [&folder, root, text] {
              write_bytes(folder / "classes.txt", text);
              (void)open_dataset("folder:" + root + "/good", folder / "classes.txt");
            }};
  };
  const auto idx = [&](std::string name, const char* file, std::string bytes, std::string says) -> BadInput {
    return {name, ErrorCode::format, says, [&folder, root, file, bytes] {
              write_idx(folder.path(), "t10k", 2);
              write_bytes(folder / file, bytes);
              (void)open_dataset("idx:" + root);
            }};
  };
  const auto cifar10 = [&](std::string name, std::string bytes, std::string says) -> BadInput {
    return {name, ErrorCode::format, root + "/test_batch.bin" + says, [&folder, root, bytes] {
              write_bytes(folder / "test_batch.bin", bytes);
              (void)open_dataset("cifar10:" + root);
            }};
  };
  const char* images = "t10k-images-idx3-ubyte";
  const char* labels = "t10k-labels-idx1-ubyte";
  write_idx(folder.path(), "compressed", 100);
  const std::string compressed = gzipped(read_bytes(folder / "compressed-images-idx3-ubyte"), folder);

  check_refused({
      {"no kind", ErrorCode::argument, "folder:DIR", open(root)},
      {"no place", ErrorCode::argument, "folder:DIR", open("folder:")},
      {"unknown kind", ErrorCode::argument, "\"tar\"", open("tar:" + root)},
      {"missing folder", ErrorCode::io, root + "/none", open("folder:" + root + "/none")},
      {"a file as folder", ErrorCode::io, "good/cat/1.png", open("folder:" + root + "/good/cat/1.png")},
      {"empty folder", ErrorCode::format, root + "/empty", open("folder:" + root + "/empty")},
      {"class without pictures", ErrorCode::format, root + "/bare/class", open("folder:" + root + "/bare")},
      {"no class for a folder", ErrorCode::label, root + "/good/cat: expected a folder name that starts with",
       [&] {
         write_bytes(folder / "classes.txt", "0 dog\n1 cats\n");
         (void)open_dataset("folder:" + root + "/good", folder / "classes.txt");
       }},
      classes("no index", "0 dog\ncat 1\n", ", line 2: expected 'index name...', came \"cat 1\""),
      classes("no name", "0\n", ", line 1"),
      classes("only spaces after the index", "0  \n", ", line 1"),
      classes("negative index", "-1 cat\n", ", line 1"),
      classes("index twice", "0 cat\n0 dog\n", ", line 2: expected an index of its own"),
      classes("name twice", "0 cat\n1 cat\n", ", line 2: expected a first name of its own"),
      classes("no classes", "\n\n", ": expected lines"),
      {"missing list", ErrorCode::io, "none.txt", open("list:" + root + "/none.txt")},
      list("no tab", "a.png\t1\nb.png 2\n", ", line 2: expected path, TAB, label"),
      list("no path", "\t1\n", ", line 1"),
      list("negative label", "a.png\t-1\n", ", line 1"),
      list("label that is no number", "a.png\tcat\n", ", line 1"),
      list("label with a tail", "a.png\t1x\n", ", line 1"),
      list("label beyond 64 bits", "a.png\t99999999999999999999\n", ", line 1"),
      list("a path to the folder above", "../a.png\t1\n",
           ", line 1: expected a path within the list's folder (list:FILE#ROOT sets another), came "
           "\"../a.png\""),
      list("a path out of the folder and back", "a/../../b.png\t1\n", ", line 1: expected a path within"),
      list("an absolute path", "/a.png\t1\n", ", line 1: expected a path within"),
      list("a path with byte 0", std::string("a\0b\t1\n", 6), ", line 1: expected a path within"),
      list("empty list", "", ": expected lines"),
      {"a pipe as IDX", ErrorCode::io, "pipe-images-idx3-ubyte: expected a readable file",
       [&] {
         REQUIRE(::mkfifo((folder / "pipe-images-idx3-ubyte").c_str(), 0600) == 0);
         (void)open_dataset("idx:" + root + "#pipe");
       }},
      {"missing IDX", ErrorCode::io, "none-images-idx3-ubyte", open("idx:" + root + "#none")},
      idx("empty IDX", images, "", std::string(images) + ", byte 0"),
      idx("IDX of floats", images, big_endian({0xd03, 2, 2, 3}), R"(came "\x00\x00\x0d\x03")"),
      idx("labels as images", images, big_endian({0x801, 2}) + "ab", R"(came "\x00\x00\x08\x01")"),
      idx("short IDX header", images, big_endian({0x803, 2}), "16 bytes of IDX header, came 8"),
      idx("no rows", images, big_endian({0x803, 2, 0, 3}), std::string(images) + ", byte 8"),
      idx("extents that overflow", images, big_endian({0x803, 0xffffffff, 0xffffffff, 0xffffffff}),
          ", byte 8"),
      idx("IDX too short", images, big_endian({0x803, 2, 2, 3}) + "12345678901",
          "12 values, as its header says, came 11"),
      idx("IDX too long", images, big_endian({0x803, 2, 2, 3}) + "1234567890123",
          "12 values, as its header says, came more"),
      idx("other number of labels", labels, big_endian({0x801, 3}) + "abc", "2 labels, one for each image"),
      idx("truncated gzip", images, compressed.substr(0, compressed.size() - 12), "whole gzip data"),
      idx("corrupt gzip", images, std::string(compressed).replace(compressed.size() - 8, 1, "!"),
          "whole gzip data"),
      {"missing CIFAR-10", ErrorCode::io, "data_batch_1.bin", open("cifar10:" + root + "#train")},
      {"unknown CIFAR-10 set", ErrorCode::argument, "#val", open("cifar10:" + root + "#val")},
      cifar10("part of a record", cifar_record(1, 2, 3, 4) + "x", ": expected records of 3073 bytes"),
      cifar10("no record", "", ": expected records of 3073 bytes"),
      cifar10("CIFAR-10 label", cifar_record(1, 2, 3, 4) + cifar_record(10, 2, 3, 4),
              ", byte 3073: expected a label from 0 to 9, came 10"),
  });
}
