// SPDX-License-Identifier: MIT
//
// culprit experiment mask on pictures of which a quarter is wrong.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/workspace.hpp"
#include "culprit/io/json.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::read_bytes;
using culprit::test::read_csv;
using culprit::test::succeed;
using culprit::test::with;
using culprit::test::Workspace;
namespace io = culprit::io;

using Rows = std::vector<std::vector<std::string>>;

const std::vector<std::string> columns{"selection",       "share",        "samples",       "wrong_change",
                                       "wrong_low",       "wrong_high",   "true_change",   "true_low",
                                       "true_high",       "corrected",    "corrected_low", "corrected_high",
                                       "saliency_change", "saliency_low", "saliency_high", "wrong_t",
                                       "wrong_p",         "true_t",       "true_p"};

constexpr std::size_t mistakes = 3;

/// A bag, trousers and a shirt by turns, as bright as their number; the first three with one another's
/// labels.
void write_clothes(const Workspace& workspace) {
  std::string images("\0\0\x08\x03\0\0\0\x0c\0\0\0\x1c\0\0\0\x1c", 16);
  std::string labels("\0\0\x08\x01\0\0\0\x0c", 8);
  constexpr int bag = 8, trousers = 1, shirt = 0;
  constexpr int classes[]{bag, trousers, shirt};
  for (std::size_t i = 0; i < Workspace::samples; ++i) {
    for (int y = 0; y < Workspace::side; ++y) {
      for (int x = 0; x < Workspace::side; ++x) {
        const bool lit[]{4 < x && x < 24 && 6 < y && y < 24, (8 < x && x < 13) || (15 < x && x < 20),
                         8 < x && x < 20};
        images += static_cast<char>(lit[i % 3] ? 190 + i : 0);
      }
    }
    labels += static_cast<char>(classes[(i < mistakes ? i + 1 : i) % 3]);
  }
  culprit::test::write_bytes(workspace / "digits/t10k-images-idx3-ubyte", images);
  culprit::test::write_bytes(workspace / "digits/t10k-labels-idx1-ubyte", labels);
}

/// The numbers of a row behind its selection and share.
std::vector<double> numbers(const std::vector<std::string>& row) {
  std::vector<double> values;
  for (std::size_t i = 2; i < row.size(); ++i) values.push_back(std::stod(row[i]));
  return values;
}

}  // namespace

TEST_CASE("the mask experiment replaces salient and random pixels of the wrong samples", "[cli]") {
  const Workspace workspace;
  write_clothes(workspace);
  succeed(workspace, Workspace::fit());
  const Arguments experiment =
      with(Workspace::mask(), {"--dtype", "float64", "--shares", "1,0.05", "--repeats", "2", "--filters",
                               "top:5", "--paste", "2", "--seed", "3", "--batch", "2"});
  const auto table = [&](const Arguments& changes) {
    succeed(workspace, with(experiment, changes));
    return read_csv(workspace / "results/mask.csv");
  };
  const Rows rows = table({});
  REQUIRE(rows.size() == 5);
  CHECK(rows[0] == columns);
  const std::vector<std::vector<std::string>> begins{
      {"salient", "0.05"}, {"salient", "1"}, {"random", "0.05"}, {"random", "1"}};
  for (std::size_t i = 1; i < rows.size(); ++i) {
    INFO("row " << i);
    REQUIRE(rows[i].size() == columns.size());
    CHECK(std::vector(rows[i].begin(), rows[i].begin() + 2) == begins[i - 1]);
    const std::vector<double> values = numbers(rows[i]);
    CHECK(values[0] == mistakes);
    for (const std::size_t mean : {1U, 4U, 7U, 10U}) {
      CHECK(values[mean + 1] <= values[mean]);
      CHECK(values[mean] <= values[mean + 2]);
      if (mean < 10) CHECK(std::abs(values[mean]) <= 1);
    }
    CHECK(values[7] >= 0);
    for (const std::size_t p : {14U, 16U}) CHECK((0 <= values[p] && values[p] <= 1));
  }
  // All pixels are all pixels, in whatever order.
  CHECK(numbers(rows[2]) == numbers(rows[4]));
  CHECK(std::vector(rows[2].end() - 4, rows[2].end()) == std::vector<std::string>{"0", "1", "0", "1"});
  CHECK(numbers(rows[1]) != numbers(rows[3]));
  CHECK(std::vector(rows[1].end() - 4, rows[1].end()) == std::vector(rows[3].end() - 4, rows[3].end()));

  const io::Json json = io::parse_json(read_bytes(workspace / "results/mask.json"), "mask.json");
  CHECK(json.at("samples").as_int() == Workspace::samples);
  CHECK(json.at("wrong").as_int() == mistakes);
  CHECK(json.at("filters").as_string() == "top:5");
  CHECK(json.at("rows").size() == 4);
  CHECK(json.at("rows")[1].at("wrong_change").as_double() == numbers(rows[2])[1]);
  for (const char* name : {"wrong", "true", "corrected", "saliency", "steps", "paste"}) {
    for (const char* ending : {".svg", ".narrow.svg"}) {
      CHECK(read_bytes(workspace / ("results/mask-" + std::string(name) + ending)).starts_with("<svg"));
    }
  }

  // With all its pixels on them, the other images are the mistake itself.
  const Rows pasted = read_csv(workspace / "results/mask-paste.csv");
  REQUIRE(pasted.size() == 3);
  CHECK(pasted[0] == std::vector<std::string>{"path", "label", "predicted_before", "predicted_after",
                                              "wrong_change", "true_change"});
  for (std::size_t i = 1; i < pasted.size(); ++i) {
    CHECK(pasted[i][1] == pasted[i][2]);
    CHECK(pasted[i][3] != pasted[i][2]);
    CHECK(std::stod(pasted[i][4]) > 0);
    CHECK(std::stod(pasted[i][5]) < 0);
  }
  CHECK(json.at("pasted onto").as_int() == 2);
  CHECK(json.at("mask-paste").size() == 2);
  CHECK(json.at("mask-paste")[0].at("path").as_string() == pasted[1][0]);

  // The seed alone decides, over all files.
  std::vector<std::string> files;
  for (const std::string& name : workspace.listing()) {
    if (name.starts_with("results/")) files.push_back(name);
  }
  CHECK(files.size() == 15);
  std::vector<std::string> bytes;
  for (const std::string& name : files) bytes.push_back(read_bytes(workspace / name));
  CHECK(table({}) == rows);
  for (std::size_t i = 0; i < files.size(); ++i) CHECK(read_bytes(workspace / files[i]) == bytes[i]);
  const Rows other = table({"--seed", "4"});
  CHECK(numbers(other[3]) != numbers(rows[3]));
  CHECK(other[1][3] == rows[1][3]);

  std::filesystem::remove_all(workspace / "results");
  (void)table({"--paste", "0"});
  CHECK_FALSE(std::filesystem::exists(workspace / "results/mask-paste.csv"));
  CHECK_FALSE(std::filesystem::exists(workspace / "results/mask-paste.svg"));
}

TEST_CASE("the mask experiment keeps boxes untouched", "[cli]") {
  const Workspace workspace;
  write_clothes(workspace);
  succeed(workspace, Workspace::fit());
  const auto table = [&](const std::string& box, std::size_t boxes) {
    std::string csv = "path,top,left,bottom,right\n";
    for (std::size_t i = 0; i < boxes; ++i) csv += "t10k-images-idx3-ubyte#" + std::to_string(i) + ',' + box;
    culprit::test::write_bytes(workspace / "boxes.csv", csv);
    succeed(workspace, with(Workspace::mask(), {"--dtype", "float64", "--shares", "1", "--repeats", "1",
                                                "--boxes", "boxes.csv"}));
    Rows rows = read_csv(workspace / "results/mask.csv");
    REQUIRE(rows.size() == 3);
    CHECK(numbers(rows[1]) == numbers(rows[2]));
    const io::Json json = io::parse_json(read_bytes(workspace / "results/mask.json"), "mask.json");
    CHECK(json.at("with a box").as_int() == static_cast<std::int64_t>(boxes));
    return numbers(rows[1]);
  };
  // With a box around everything nothing changes.
  const std::vector<double> nothing = table("0,0,28,28\n", mistakes);
  for (std::size_t i = 1; i <= 12; ++i) CHECK(nothing[i] == 0);
  const std::vector<double> everything = table("", 0);
  const std::vector<double> one = table("0,0,28,28\n", 1);
  const std::vector<double> half = table("0,0,14,28\n", mistakes);
  CHECK(everything[1] < 0);
  for (const std::vector<double>& some : {one, half}) {
    CHECK(some != everything);
    CHECK(some != nothing);
  }
}
