// SPDX-License-Identifier: MIT
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <utility>
#include <vector>

#include <culprit/io/json.hpp>
#include <jpeglib.h>
#include <torch/torch.h>
#include <zlib.h>

#include "data/dataset.hpp"
#include "data/image.hpp"
#include "data/loader.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "support/temporary_folder.hpp"

using culprit::Error;
using culprit::ErrorCode;
using culprit::data::Batch;
using culprit::data::Dataset;
using culprit::data::decode_image;
using culprit::data::Image;
using culprit::data::Item;
using culprit::data::Loader;
using culprit::data::LoaderOptions;
using culprit::data::open_dataset;
using culprit::data::Preprocess;
using culprit::test::error_of;
using culprit::test::read_bytes;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;

namespace {

/// A grey picture of one shade.
std::string shade_png(int shade, int width = 2, int height = 2) {
  const auto count = static_cast<std::size_t>(width * height);
  return culprit::data::encode_png(
      {width, height, 1, std::vector<std::uint8_t>(count, static_cast<std::uint8_t>(shade))});
}

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

std::string big_endian(std::initializer_list<std::uint32_t> words) {
  std::string text;
  for (const std::uint32_t word : words)
    for (const unsigned shift : {24U, 16U, 8U, 0U}) text += static_cast<char>(word >> shift & 255U);
  return text;
}

/// `count` grey pictures of width 3 and height 2 whose samples are all their number (modulo 256), with labels
/// number % 10.
void write_idx(const std::filesystem::path& folder, const std::string& set, std::uint32_t count) {
  std::string images = big_endian({0x803, count, 2, 3});
  std::string labels = big_endian({0x801, count});
  for (std::uint32_t i = 0; i < count; ++i) {
    images += std::string(6, static_cast<char>(i));
    labels += static_cast<char>(i % 10);
  }
  write_bytes(folder / (set + "-images-idx3-ubyte"), images);
  write_bytes(folder / (set + "-labels-idx1-ubyte"), labels);
}

std::string gzipped(const std::string& text, const TemporaryFolder& folder) {
  const std::string path = (folder / "gzipped").string();
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(gzwrite(file, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size()));
  REQUIRE(gzclose(file) == Z_OK);
  std::string bytes = read_bytes(path);
  std::filesystem::remove(path);
  return bytes;
}

/// A CIFAR-10 record whose channels are red, green and blue throughout, but for a first red sample of 1.
std::string cifar_record(int label, int red, int green, int blue) {
  std::string record(1, static_cast<char>(label));
  for (const int value : {red, green, blue}) record += std::string(1024, static_cast<char>(value));
  record[1] = 1;
  return record;
}

std::vector<Item> items_of(const Dataset& set) {
  std::vector<Item> items;
  for (std::size_t i = 0; i < set.size(); ++i) items.push_back(set.item(i));
  return items;
}
std::string text_of(const Dataset& set) {
  std::string text;
  for (const Item& item : items_of(set)) text += item.path + '=' + std::to_string(item.label) + ' ';
  return text;
}

/// Counts how many pictures of another data set were asked for.
class Counted final : public Dataset {
 public:
  explicit Counted(const Dataset& set) : Dataset(set.classes()), set_(set) {}
  [[nodiscard]] std::size_t size() const override { return set_.size(); }
  [[nodiscard]] Item item(std::size_t i) const override { return set_.item(i); }
  [[nodiscard]] Image image(std::size_t i) const override {
    ++asked_;
    return set_.image(i);
  }
  [[nodiscard]] std::size_t asked() const { return asked_; }

 private:
  const Dataset& set_;
  mutable std::atomic<std::size_t> asked_{0};
};

const Preprocess grey{0, 0, {0.0}, {1.0 / 255}};  // keeps the sample's number

struct BadInput {
  std::string name;
  ErrorCode code;
  std::string says;            ///< part of the message
  std::function<void()> call;  ///< what throws
};
void check_refused(const std::vector<BadInput>& table) {
  for (const auto& [name, code, says, call] : table) {
    INFO(name);
    const Error error = error_of(call);
    INFO(error.what());
    CHECK(error.code() == code);
    CHECK(std::string_view(error.what()).find(says) != std::string_view::npos);
  }
}

}  // namespace

TEST_CASE("a folder's classes and pictures are sorted by bytes and only pictures are taken", "[examples]") {
  const TemporaryFolder folder;
  for (const char* name :
       {"b/2.png", "b/10.PNG", "Z/x.JpEg", "a/1.jpg", "a/notes.txt", "a/.hidden.png", ".git/1.png"}) {
    std::filesystem::create_directories((folder / name).parent_path());
    write_bytes(folder / name, shade_png(1));
  }
  std::filesystem::create_directory(folder / "a/folder.png");
  write_bytes(folder / "1.png", shade_png(1));
  const auto set = open_dataset("folder:" + folder.path().string());
  CHECK(text_of(*set) == "Z/x.JpEg=0 a/1.jpg=1 b/10.PNG=2 b/2.png=2 ");
  CHECK(set->classes().name(0) == "Z");
  CHECK(set->classes().name(3) == "3");
  CHECK(set->image(3).pixels == std::vector<std::uint8_t>(4, 1));
}

TEST_CASE("a classes file gives sub-folders the label of the longest first name that starts them",
          "[examples]") {
  const TemporaryFolder folder;
  for (const char* name : {"cargo ship/1.png", "car/1.png", "n01440764_tench/1.png"}) {
    std::filesystem::create_directories((folder / name).parent_path());
    write_bytes(folder / name, shade_png(1));
  }
  write_bytes(folder / "classes.txt", "7 car\r\n3\tcargo\n\n12 n01440764 tench, Tinca tinca\n");
  const auto set = open_dataset("folder:" + folder.path().string(), folder / "classes.txt");
  CHECK(text_of(*set) == "car/1.png=7 cargo ship/1.png=3 n01440764_tench/1.png=12 ");
  CHECK(set->classes().name(3) == "cargo");
  CHECK(set->classes().name(12) == "tench, Tinca tinca");
}

TEST_CASE("a list's paths are relative to its folder", "[examples]") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "a b");
  write_bytes(folder / "a b/1.png", shade_png(9));
  write_bytes(folder / "list.txt", "a b/1.png\t5\r\n\na b/1.png\t0");
  write_bytes(folder / "classes.txt", "5 five\n");
  const auto set = open_dataset("list:" + (folder / "list.txt").string(), folder / "classes.txt");
  CHECK(text_of(*set) == "a b/1.png=5 a b/1.png=0 ");
  CHECK(set->image(1).pixels[0] == 9);
  CHECK(set->classes().name(5) == "five");
}

TEST_CASE("IDX files are read raw or compressed", "[examples]") {
  const TemporaryFolder folder;
  write_idx(folder.path(), "t10k", 300);
  write_idx(folder.path(), "train", 2);
  for (const char* name : {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}) {
    const std::string bytes = gzipped(read_bytes(folder / name), folder);
    std::filesystem::remove(folder / name);
    write_bytes(folder / (std::string(name) + ".gz"), bytes);
  }
  const auto set = open_dataset("idx:" + folder.path().string());
  REQUIRE(set->size() == 300);
  CHECK(set->item(17).path == "t10k-images-idx3-ubyte#17");
  CHECK(set->item(17).label == 7);
  const Image image = set->image(299);
  CHECK(image.width == 3);
  CHECK(image.height == 2);
  CHECK(image.pixels == std::vector<std::uint8_t>(6, 43));
  CHECK(open_dataset("idx:" + folder.path().string() + "#train")->size() == 2);
}

TEST_CASE("CIFAR-10 records are read plane by plane", "[examples]") {
  const TemporaryFolder folder;
  write_bytes(folder / "test_batch.bin", cifar_record(3, 10, 20, 30) + cifar_record(9, 40, 50, 60));
  for (int batch = 1; batch <= 5; ++batch)
    write_bytes(folder / ("data_batch_" + std::to_string(batch) + ".bin"), cifar_record(batch, batch, 0, 0));
  const auto test = open_dataset("cifar10:" + folder.path().string());
  CHECK(text_of(*test) == "test_batch.bin#0=3 test_batch.bin#1=9 ");
  const Image image = test->image(1);
  CHECK(image.width == 32);
  CHECK(image.height == 32);
  CHECK(std::vector<int>(image.pixels.begin(), image.pixels.begin() + 6) ==
        std::vector<int>{1, 50, 60, 40, 50, 60});
  const auto train = open_dataset("cifar10:" + folder.path().string() + "#train");
  REQUIRE(train->size() == 5);
  CHECK(train->item(4).path == "data_batch_5.bin#0");
  CHECK(train->image(4).pixels[3] == 5);
}

TEST_CASE("the fingerprint of a data set knows paths, labels and order", "[examples]") {
  const TemporaryFolder folder;
  const auto fingerprint = [&](std::string_view lines) {
    write_bytes(folder / "list.txt", lines);
    return culprit::data::fingerprint(*open_dataset("list:" + (folder / "list.txt").string()));
  };
  CHECK(fingerprint("a\t1\nb\t2\n") == fingerprint("a\t1\n\nb\t2"));
  CHECK(fingerprint("a\t1\nb\t2\n") != fingerprint("b\t2\na\t1\n"));
  CHECK(fingerprint("a\t1\nb\t2\n") != fingerprint("a\t2\nb\t1\n"));
  CHECK(fingerprint("a\t1\n") != fingerprint("b\t1\n"));
  CHECK(fingerprint("a\t1\n").size() == 16);
}

TEST_CASE("the data sets of the goldens hold their paths and labels", "[examples]") {
  CULPRIT_REQUIRE_DATA("cifar10/test");
  CULPRIT_REQUIRE_DATA("imagenet/classes.txt");
  const auto check = [](const Dataset& set, const std::string& root, const std::string& golden) {
    std::set<std::pair<std::string, std::int64_t>> present;
    for (const Item& item : items_of(set)) present.emplace(root + item.path, item.label);
    const auto path = culprit::test::shared_data("golden/" + golden);
    const auto json = culprit::io::parse_json(read_bytes(path), golden);
    for (const auto& image : json.at("images").items())
      CHECK(present.contains({image.at("path").as_string(), image.at("label").as_int()}));
  };
  const std::string data = culprit::test::shared_data().string();
  const auto cifar10 = open_dataset("folder:" + data + "cifar10/test");
  CHECK(cifar10->size() == 10000);
  check(*cifar10, "cifar10/test/", "resnet20_cifar10_test.json");
  const auto imagenet = open_dataset("folder:" + data + "imagenet/val", data + "imagenet/classes.txt");
  CHECK(imagenet->size() == 600);
  CHECK(imagenet->classes().name(2) == "great_white_shark");
  check(*imagenet, "imagenet/val/", "mobilenet_imagenet_public.json");
}

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

TEST_CASE("a loader gives every sample once, in order, whatever the number of threads", "[examples]") {
  const TemporaryFolder folder;
  write_idx(folder.path(), "t10k", 250);
  const auto set = open_dataset("idx:" + folder.path().string());
  for (const std::size_t threads : {1U, 2U, 5U}) {
    Loader loader(*set, grey, {.batch = 8, .prefetch = threads});
    CHECK(loader.size() == 250);
    CHECK(loader.batches() == 32);
    for (int pass = 0; pass < 2; ++pass) {
      std::size_t next = 0;
      for (const Batch& batch : loader) {
        REQUIRE(batch.inputs.sizes().vec() ==
                std::vector<std::int64_t>{static_cast<std::int64_t>(batch.indices.size()), 1, 2, 3});
        CHECK(batch.indices.size() == (next == 248 ? 2 : 8));
        for (std::size_t k = 0; k < batch.indices.size(); ++k, ++next) {
          const auto row = static_cast<std::int64_t>(k);
          CHECK(batch.indices[k] == next);
          CHECK(batch.labels[row].item<std::int64_t>() == static_cast<std::int64_t>(next % 10));
          CHECK(batch.inputs[row][0][1][2].item<float>() == static_cast<float>(next));
        }
      }
      CHECK(next == 250);
    }
    CHECK(loader.wait_seconds() > 0);
  }
}

TEST_CASE("a loader can be told which samples to load, how many, and in which type", "[examples]") {
  const TemporaryFolder folder;
  write_idx(folder.path(), "t10k", 20);
  const auto set = open_dataset("idx:" + folder.path().string());
  const auto loaded = [&](LoaderOptions options) {
    std::vector<double> samples;
    for (Loader loader(*set, grey, std::move(options)); const Batch& batch : loader)
      for (std::int64_t k = 0; k < batch.inputs.size(0); ++k)
        samples.push_back(batch.inputs[k][0][0][0].item<double>());
    return samples;
  };
  CHECK(loaded({.batch = 3, .limit = 4}) == std::vector<double>{0, 1, 2, 3});
  CHECK(loaded({.batch = 2, .indices = {{19, 3, 3}}}) == std::vector<double>{19, 3, 3});
  CHECK(loaded({.batch = 2, .limit = 1, .indices = {{19, 3, 3}}}) == std::vector<double>{19});
  CHECK(loaded({.indices = std::vector<std::size_t>{}}).empty());
  CHECK(loaded({.limit = 100}).size() == 20);
  Loader loader(*set, grey, {.dtype = torch::kFloat64});
  CHECK((*loader.begin()).inputs.dtype() == torch::kFloat64);
  CHECK((*loader.begin()).labels.dtype() == torch::kInt64);
}

TEST_CASE("an error in a loader's thread comes out at its batch as the same Error", "[examples]") {
  const TemporaryFolder folder;
  std::string list;
  for (int i = 0; i < 20; ++i) {
    const std::string name = std::to_string(i) + ".png";
    write_bytes(folder / name, i == 13 ? shade_png(i).substr(0, 40) : shade_png(i));
    list += name + '\t' + std::to_string(i) + '\n';
  }
  write_bytes(folder / "list.txt", list);
  const auto set = open_dataset("list:" + (folder / "list.txt").string());
  Loader loader(*set, grey, {.batch = 4});
  int batches = 0;
  const Error error = error_of([&] {
    for (const Batch& batch : loader) batches += batch.inputs.size(0) == 4 ? 1 : 0;
  });
  CHECK(batches == 3);
  CHECK(error.code() == ErrorCode::format);
  CHECK(error.place() == (folder / "13.png").string());
}

TEST_CASE("a loader refuses pictures of several sizes and options outside their domain", "[examples]") {
  const TemporaryFolder folder;
  write_bytes(folder / "a.png", shade_png(1));
  write_bytes(folder / "b.png", shade_png(1, 2, 3));
  write_bytes(folder / "list.txt", "a.png\t0\nb.png\t0\n");
  const auto set = open_dataset("list:" + (folder / "list.txt").string());
  const auto load = [&](LoaderOptions options, Preprocess preprocess = grey) {
    return [&set, options, preprocess] {
      Loader loader(*set, preprocess, options);
      (void)loader.begin();
    };
  };
  check_refused({
      {"sizes", ErrorCode::shape, "b.png: expected 2 x 2 pixels, as the rest of its batch, came 2 x 3",
       load({})},
      {"no samples in a batch", ErrorCode::argument, "at least 1 sample", load({.batch = 0})},
      {"no threads", ErrorCode::argument, "at least 1 decoding thread", load({.prefetch = 0})},
      {"index", ErrorCode::argument, "indices below 2, came 2", load({.indices = {{0, 2}}})},
      {"crop", ErrorCode::shape, "a.png: expected at least 3 x 3", load({}, {0, 3, {0.0}, {1.0}})},
      {"dtype", ErrorCode::dtype, "float64", load({.dtype = torch::kInt32})},
      {"preprocessing", ErrorCode::argument, "1 or 3 means", load({}, {0, 0, {}, {}})},
  });
}

TEST_CASE("a loader that is left early decodes no more and its threads end", "[examples]") {
  const TemporaryFolder folder;
  write_idx(folder.path(), "t10k", 20000);
  const auto set = open_dataset("idx:" + folder.path().string());
  const Counted counted(*set);
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
  };
  const auto before = threads();
  {
    Loader loader(counted, grey, {.batch = 10, .prefetch = 3});
    for (const Batch& batch : loader) {
      CHECK(batch.indices[0] == 0);
      CHECK(threads() == before + 3);
      break;
    }
  }
  CHECK(threads() == before);
  // The batch that was taken, and at most two for each thread behind it.
  CHECK(counted.asked() <= 70);
}
