// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <culprit/io/profile_store.hpp>

#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace culprit;
using culprit::io::ProfileStore;
using culprit::io::TensorView;
using culprit::io::view_of;
using culprit::test::error_of;
using culprit::test::TemporaryFolder;

namespace {

Units units_of(const std::string& first) {
  std::vector<Layer> layers(2);
  layers[0].name = first;
  layers[1].name = "b";
  layers[0].count = 2;
  layers[1].count = 1;
  for (Layer& layer : layers) layer.size = 9;
  return Units(layers);
}

/// What a file of profiles holds; `change` makes it another one.
struct Shard {
  explicit Shard(std::int64_t rows, double first = 0.0) : count(rows) {
    for (std::int64_t i = 0; i < 3 * rows; ++i) z.push_back(first + static_cast<double>(i));
    for (std::int64_t i = 0; i < rows; ++i) {
      label.push_back(i);
      prediction.push_back(1);
      paths.push_back("picture " + std::to_string(i));
      logits.insert(logits.end(), {0.0F, std::log(3.0F)});
    }
    fingerprint.tensors = {{"a", 7}};
    fingerprint.aggregation = "mean_abs";
  }

  void write(const std::filesystem::path& path) const {
    std::vector<std::pair<std::string, TensorView>> tensors{
        {"profile", view_of<double>(z, {count, 3})},
        {"z", view_of<double>(z, z_shape.empty() ? std::vector<std::int64_t>{count, 3} : z_shape)},
        {"logits", view_of<float>(logits, {static_cast<std::int64_t>(logits.size()) / 2, 2})},
        {"label", view_of<std::int64_t>(label, {static_cast<std::int64_t>(label.size())})},
        {"prediction", view_of<std::int64_t>(prediction, {count})}};
    std::erase_if(tensors, [&](const auto& each) { return each.first == without; });
    std::map<std::string, std::string> metadata{
        {"units", dump(io::units_to_json(units))},
        {"fingerprint", dump(io::fingerprint_to_json(fingerprint))},
        {"standardization", standardization},
        {"paths", dump(io::Json::array({paths.begin(), paths.end()}))}};
    metadata.erase(without);
    io::write_safetensors(path, tensors, metadata);
  }

  std::int64_t count;
  std::vector<double> z;
  std::vector<std::int64_t> z_shape;
  std::vector<float> logits;
  std::vector<std::int64_t> label, prediction;
  std::vector<std::string> paths;
  Units units = units_of("a");
  Fingerprint fingerprint;
  std::string standardization = "z_score";
  std::string without;
};

Eigen::VectorXd row(const ProfileStore& store, Index number) {
  return store.rows().values(number, std::vector<UnitRange>{{0, 2}, {2, 3}});
}

}  // namespace

TEST_CASE("A profile store is the rows of its files, one behind the other, in their memory", "[io]") {
  const TemporaryFolder folder;
  Shard(2).write(folder / "0.safetensors");
  Shard(0).write(folder / "1.safetensors");
  Shard(3, 100.0).write(folder / "2.safetensors");
  culprit::test::write_bytes(folder / "notes.txt", "no profiles");
  const auto check = [](const ProfileStore& store) {
    REQUIRE(store.size() == 5);
    CHECK(store.rows().size() == 5);
    CHECK(store.units().size() == 3);
    CHECK(store.fingerprint().aggregation == "mean_abs");
    CHECK(store.labels() == std::vector<std::int64_t>{0, 1, 0, 1, 2});
    CHECK(store.predictions() == std::vector<std::int64_t>(5, 1));
    CHECK(store.wrong() == std::vector<Index>{0, 2, 4});
    CHECK(store.paths()[3] == "picture 1");
    CHECK(row(store, 1) == Eigen::Vector3d(3.0, 4.0, 5.0));
    CHECK(row(store, 2) == Eigen::Vector3d(100.0, 101.0, 102.0));
    CHECK(row(store, 4) == Eigen::Vector3d(106.0, 107.0, 108.0));
    CHECK(store.rows().values(4, std::vector<UnitRange>(2)).size() ==
          0);  // a range is empty until it is given
    CHECK(store.confidence(0) == Approx(0.75));
    CHECK(store.confidence(4) == Approx(0.75));
  };
  const std::vector<std::filesystem::path> of_folder{folder.path()};
  check(ProfileStore::open(of_folder));
  check(ProfileStore::open(of_folder, "profile"));
  ProfileStore store = ProfileStore::open(
      std::vector{folder / "0.safetensors", folder / "1.safetensors", folder / "2.safetensors"});
  const ProfileStore moved = std::move(store);
  check(moved);
}

TEST_CASE("A profile store refuses files that are no profiles or not those of the first", "[io]") {
  const TemporaryFolder folder;
  const std::filesystem::path first = folder / "first.safetensors";
  const std::filesystem::path second = folder / "second.safetensors";
  Shard(2).write(first);
  const auto message = [&](const std::function<void(Shard&)>& change) {
    Shard shard(3);
    change(shard);
    shard.write(second);
    return std::string(error_of([&] { (void)ProfileStore::open(std::vector{first, second}); }).what());
  };
  const std::string place = second.string();
  const std::string other = place + ": expected profiles made as those of " + first.string() + ", came ";
  CHECK(message([](Shard& shard) { shard.units = units_of("c"); }) == other + "layer a against c");
  CHECK(message([](Shard& shard) { shard.fingerprint.tensors[0].second = 8; }) ==
        other + "other values in a");
  CHECK(message([](Shard& shard) { shard.standardization = "robust"; }) ==
        other + "standardization z_score against robust");
  CHECK(message([](Shard& shard) { shard.without = "z"; }) ==
        place + ": expected the tensor z, which culprit profile --baseline writes, came none");
  CHECK(message([](Shard& shard) { shard.without = "label"; }) ==
        place + ": expected the tensor \"label\", came 4 tensors without it");
  for (const std::string key : {"units", "fingerprint", "standardization", "paths"}) {
    CHECK(message([&](Shard& shard) { shard.without = key; }) ==
          place + ": expected metadata \"" + key + "\", came none");
  }
  CHECK(message([](Shard& shard) {
          shard.z_shape = {9, 1};
        }) == place + ", tensor \"z\": expected [N, 3], a value for each unit, came [9, 1]");
  CHECK(message([](Shard& shard) { shard.label.push_back(0); }) ==
        place + ", tensor \"label\": expected 3 values, as \"z\", came [4]");
  CHECK(message([](Shard& shard) { shard.logits.resize(4); }) ==
        place + ", tensor \"logits\": expected 3 rows, as \"z\", came [2, 2]");
  CHECK(message([](Shard& shard) { shard.paths.pop_back(); }) ==
        place + ", metadata paths: expected 3, one for each row, came 2");
  culprit::test::write_bytes(second, "no file");
  CHECK(error_of([&] {
          (void)ProfileStore::open(std::vector{first, second});
        }).place() == place + ", byte 0");

  CHECK(std::string(error_of([] { (void)ProfileStore::open({}); }).what()) ==
        "profile store: expected at least one file, came none");
  std::filesystem::create_directory(folder / "empty");
  CHECK(std::string(error_of([&] { (void)ProfileStore::open(std::vector{folder / "empty"}); }).what()) ==
        (folder / "empty").string() + ": expected a folder with files *.safetensors, came none");
  CHECK(error_of([&] { (void)ProfileStore::open(std::vector{folder / "none"}); }).code() == ErrorCode::io);
}
