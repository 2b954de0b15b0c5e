// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <culprit/io/checkpoint.hpp>

#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using culprit::Error;
using culprit::ErrorCode;
using culprit::io::Job;
using culprit::io::load_checkpoint;
using culprit::io::save_checkpoint;
using culprit::io::TensorView;
using culprit::io::view_of;
using culprit::test::error_of;
using culprit::test::read_bytes;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;

namespace {

const std::vector<double> mean{1.5, -2.25, 1e-300};
const std::vector<std::int64_t> counts{1024, 7};
const Job job{{"batch", "64"}, {"model", "net \"a\"\n\xc3\xa9"}};

void save(const std::filesystem::path& path) {
  save_checkpoint(path, job,
                  std::vector<std::pair<std::string, TensorView>>{{"counts", view_of(std::span(counts), {2})},
                                                                  {"mean", view_of(std::span(mean), {3})}});
}

/// Whether the file, damaged or not, gives what was saved; an error is no wrong result.
bool right_or_refused(const std::filesystem::path& path) {
  try {
    const auto checkpoint = load_checkpoint(path, job);
    return checkpoint && checkpoint->read<double>("mean") == mean &&
           checkpoint->read<std::int64_t>("counts") == counts;
  } catch (const Error&) {
    return true;
  }
}

}  // namespace

TEST_CASE("a checkpoint gives back what it was given, to the same job only", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "run.checkpoint";
  CHECK_FALSE(load_checkpoint(path, job));
  save(path);
  const auto checkpoint = load_checkpoint(path, job);
  REQUIRE(checkpoint);
  CHECK(checkpoint->read<double>("mean") == mean);
  CHECK(checkpoint->read<std::int64_t>("counts") == counts);

  const auto difference = [&](const Job& other) {
    const Error error = error_of([&] { (void)load_checkpoint(path, other); });
    CHECK(error.code() == ErrorCode::argument);
    CHECK(error.place() == path.string());
    return error.expected() + " - " + error.came();
  };
  Job other = job;
  other["batch"] = "32";
  CHECK(difference(other) == "a checkpoint of batch \"32\" - \"64\"");
  Job fewer = job;
  fewer.erase("model");
  CHECK(difference(fewer) == "a checkpoint of model none - " + culprit::io::in_quotes(job.at("model")));
  Job more = job;
  more["seed"] = "1";
  CHECK(difference(more) == "a checkpoint of seed \"1\" - none");
}

TEST_CASE("a damaged checkpoint is refused, never believed", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "run.checkpoint";
  save(path);
  const std::string whole = read_bytes(path);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_bytes(path, whole.substr(0, length));
    CHECK(error_of([&] { (void)load_checkpoint(path, job); }).place().starts_with(path.string()));
  }
  std::mt19937_64 random(culprit::test::seed());
  int refused = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string damaged = whole;
    const std::size_t bit = random() % (8 * whole.size());
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    write_bytes(path, damaged);
    if (!right_or_refused(path)) FAIL("bit " << bit << " of " << whole);
    try {
      (void)load_checkpoint(path, job);
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 9'900);  // but white space for white space
}
