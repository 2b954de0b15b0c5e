// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <culprit/io/json.hpp>

#include "data/dataset.hpp"
#include "data/image.hpp"
#include "examples/data_files.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "support/temporary_folder.hpp"

using culprit::data::Dataset;
using culprit::data::Image;
using culprit::data::Item;
using culprit::data::open_dataset;
using culprit::test::cifar_record;
using culprit::test::gzipped;
using culprit::test::read_bytes;
using culprit::test::shade_png;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;
using culprit::test::write_idx;

namespace {

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
