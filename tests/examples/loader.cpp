// SPDX-License-Identifier: MIT
#include "data/loader.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <torch/torch.h>

#include "data/dataset.hpp"
#include "data/image.hpp"
#include "examples/data_files.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using culprit::Error;
using culprit::ErrorCode;
using culprit::data::Batch;
using culprit::data::Dataset;
using culprit::data::Image;
using culprit::data::Item;
using culprit::data::Loader;
using culprit::data::LoaderOptions;
using culprit::data::open_dataset;
using culprit::data::Preprocess;
using culprit::test::check_refused;
using culprit::test::error_of;
using culprit::test::shade_png;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;
using culprit::test::write_idx;

namespace {

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

}  // namespace

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
