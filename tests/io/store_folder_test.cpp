// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <culprit/core/error.hpp>
#include <culprit/io/json.hpp>
#include <culprit/io/store_folder.hpp>

#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using culprit::Error;
using culprit::ErrorCode;
using culprit::test::error_of;
using culprit::test::read_bytes;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;
namespace io = culprit::io;

namespace {

const io::Job job{{"batch", "64"}, {"model", "net"}};
constexpr std::int64_t samples = 10;

void append(io::StoreFolder& store, std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = store.done() + static_cast<std::int64_t>(i);
  store.append(count,
               std::vector<std::pair<std::string, io::TensorView>>{
                   {"number", io::view_of(std::span<const std::int64_t>(numbers), {count})}},
               {{"of", "test"}});
}

std::vector<std::int64_t> numbers_in(const std::filesystem::path& folder) {
  std::vector<std::int64_t> numbers;
  for (const auto& path : io::StoreFolder::open(folder).paths())
    std::ranges::copy(io::Safetensors::open(path).read<std::int64_t>("number"), std::back_inserter(numbers));
  return numbers;
}

void write_whole(const std::filesystem::path& folder) {
  io::StoreFolder store = io::StoreFolder::go_on(folder, job, samples);
  for (const std::int64_t count : {4, 4, 2}) append(store, count);
}

}  // namespace

TEST_CASE("A store goes on behind its last whole file, to the same bytes", "[io]") {
  const TemporaryFolder folder;
  write_whole(folder / "whole");
  CHECK(numbers_in(folder / "whole") == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});

  const auto parts = folder / "parts";
  {
    io::StoreFolder store = io::StoreFolder::go_on(parts, job, samples);
    append(store, 4);
  }
  // Killed between a file and the index, and within a file.
  write_bytes(parts / "000000000004.safetensors", "half");
  write_bytes(parts / ".culprit-1-0.tmp", "half");
  {
    io::StoreFolder store = io::StoreFolder::go_on(parts, job, samples);
    CHECK(store.done() == 4);
    append(store, 4);
  }
  io::StoreFolder store = io::StoreFolder::go_on(parts, job, samples);
  append(store, 2);
  CHECK(store.done() == store.samples());
  for (const char* const name :
       {"index.json", "000000000000.safetensors", "000000000004.safetensors", "000000000008.safetensors"})
    CHECK(read_bytes(parts / name) == read_bytes(folder / "whole" / name));

  io::StoreFolder::remove(parts);
  CHECK_FALSE(std::filesystem::exists(parts));
  write_bytes(folder / "whole/notes.txt", "mine");
  io::StoreFolder::remove(folder / "whole");
  CHECK(std::filesystem::exists(folder / "whole/notes.txt"));
  CHECK_FALSE(std::filesystem::exists(io::StoreFolder::index_of(folder / "whole")));
}

TEST_CASE("A store of another job, and a folder of other files, are refused by name", "[io]") {
  const TemporaryFolder folder;
  write_whole(folder / "store");
  const auto refusal = [&](const io::Job& other) {
    return error_of([&] { (void)io::StoreFolder::go_on(folder / "store", other, samples); });
  };
  const Error changed = refusal({{"batch", "32"}, {"model", "net"}});
  CHECK(changed.code() == ErrorCode::argument);
  CHECK(changed.place() == (folder / "store/index.json").string());
  CHECK(changed.expected() == "a store of batch \"32\"");
  CHECK(changed.came() == "\"64\"");
  CHECK(refusal({{"batch", "64"}}).expected() == "a store of model none");

  std::filesystem::create_directory(folder / "other");
  write_bytes(folder / "other/photo.jpeg", "mine");
  const Error other = error_of([&] { (void)io::StoreFolder::go_on(folder / "other", job, samples); });
  CHECK(other.code() == ErrorCode::argument);
  CHECK(other.came() == "a folder with \"photo.jpeg\"");
}

TEST_CASE("A store that another process writes is refused, and what is not of a store is left alone",
          "[io]") {
  const TemporaryFolder folder;
  {
    const io::StoreFolder store = io::StoreFolder::go_on(folder / "store", job, samples);
    const Error error = error_of([&] { (void)io::StoreFolder::go_on(folder / "store", job, samples); });
    CHECK(error.code() == ErrorCode::io);
    CHECK(error.came() == "one that writes it");
  }
  CHECK(io::StoreFolder::go_on(folder / "store", job, samples).done() == 0);

  std::filesystem::create_directory(folder / "site");
  write_bytes(folder / "site/index.json", "{\"name\": \"mine\"}");
  CHECK(error_of([&] { (void)io::StoreFolder::go_on(folder / "site", job, samples); }).code() ==
        ErrorCode::format);
  io::StoreFolder::remove(folder / "site");
  CHECK(std::filesystem::exists(folder / "site/index.json"));
  write_bytes(folder / "file", "mine");
  io::StoreFolder::remove(folder / "file");
  CHECK(std::filesystem::exists(folder / "file"));
}

TEST_CASE("A damaged store is refused, never gone on with", "[io]") {
  const TemporaryFolder folder;
  write_whole(folder / "store");
  const auto index = folder / "store/index.json", file = folder / "store/000000000004.safetensors";
  const std::string index_bytes = read_bytes(index), file_bytes = read_bytes(file);

  // The index cut anywhere, and with each byte changed; of an unfinished store too, where a wrong number of
  // samples would leave a gap.
  const auto refused = [&](const std::filesystem::path& store, const std::string& bytes) {
    write_bytes(io::StoreFolder::index_of(store), bytes);
    const Error error = error_of([&] { (void)io::StoreFolder::go_on(store, job, samples); });
    return error.place().starts_with(store.string());
  };
  {
    io::StoreFolder store = io::StoreFolder::go_on(folder / "unfinished", job, samples);
    append(store, 4);
    append(store, 4);
  }
  std::mt19937 random(5);
  for (const char* const name : {"store", "unfinished"}) {
    const std::string bytes = read_bytes(io::StoreFolder::index_of(folder / name));
    for (std::size_t cut = 0; cut + 1 < bytes.size(); ++cut)
      CHECK(refused(folder / name, bytes.substr(0, cut)));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      std::string flipped = bytes;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << random() % 7));
      CHECK(refused(folder / name, flipped));
    }
  }
  std::string outside = index_bytes;
  outside.replace(outside.find("000000000004"), 12, "../000000004");
  CHECK(refused(folder / "store", outside));
  write_bytes(index, index_bytes);

  for (std::size_t i = 0; i < file_bytes.size(); i += 7) {
    std::string flipped = file_bytes;
    flipped[i] ^= 1;
    write_bytes(file, flipped);
    const Error error = error_of([&] { (void)io::StoreFolder::go_on(folder / "store", job, samples); });
    CHECK(error.code() == ErrorCode::format);
    CHECK(error.place() == file.string());
  }
  write_bytes(file, file_bytes.substr(1));
  CHECK(error_of([&] { (void)io::StoreFolder::open(folder / "store"); }).code() == ErrorCode::format);
  std::filesystem::remove(file);
  CHECK(error_of([&] { (void)io::StoreFolder::open(folder / "store"); }).code() == ErrorCode::io);
}
