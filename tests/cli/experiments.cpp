// SPDX-License-Identifier: MIT
//
// The experiments on a small data set: what they write, checked against each other and against what must
// hold.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cli/workspace.hpp"
#include "culprit/io/json.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::read_bytes;
using culprit::test::Run;
using culprit::test::with;
using culprit::test::Workspace;
namespace io = culprit::io;

/// A results table: rows by column name.
struct Csv {
  explicit Csv(const std::filesystem::path& file) {
    std::vector<std::vector<std::string>> table = culprit::test::read_csv(file);
    columns = table.front();
    for (std::size_t r = 1; r < table.size(); ++r) {
      REQUIRE(table[r].size() == columns.size());
      std::map<std::string, std::string>& row = rows.emplace_back();
      for (std::size_t i = 0; i < columns.size(); ++i) row[columns[i]] = table[r][i];
    }
  }

  [[nodiscard]] double number(std::size_t row, const std::string& column) const {
    return std::stod(rows.at(row).at(column));
  }

  std::vector<std::string> columns;
  std::vector<std::map<std::string, std::string>> rows;
};

/// A folder with a fitted baseline, in which experiments run.
struct Laboratory {
  /// @param changes  of the options of every run
  explicit Laboratory(Arguments changes = {}) : changes_(std::move(changes)) {
    succeed(with(Workspace::fit(), changes_));
  }

  void succeed(const Arguments& arguments) const { culprit::test::succeed(workspace, arguments); }

  [[nodiscard]] Csv run(const std::string& name, const Arguments& more = {}) const {
    Arguments arguments = with(Workspace::explain(), {"--wrong", "", "--out", "results"});
    arguments.front() = "experiment";
    arguments.insert(arguments.begin() + 1, name);
    succeed(with(with(arguments, changes_), more));
    return Csv(workspace / ("results/" + name + ".csv"));
  }

  [[nodiscard]] std::string bytes(const std::string& file) const {
    return read_bytes(workspace / ("results/" + file));
  }

  Workspace workspace;

 private:
  Arguments changes_;
};

/// Every interval holds its mean, and shares are shares.
void check_intervals(const Csv& csv, const std::vector<std::string>& stems) {
  for (std::size_t row = 0; row < csv.rows.size(); ++row) {
    for (const std::string& stem : stems) {
      const bool is_change =
          std::find(csv.columns.begin(), csv.columns.end(), stem + "_change") != csv.columns.end();
      const double mean = csv.number(row, is_change ? stem + "_change" : stem);
      CHECK(csv.number(row, stem + "_low") <= mean);
      CHECK(mean <= csv.number(row, stem + "_high"));
      CHECK(std::abs(mean) <= 1.0);
    }
  }
}

}  // namespace

TEST_CASE("experiment prune counts every size and selection, and all filters are all filters", "[cli]") {
  const Laboratory laboratory;
  const Csv csv = laboratory.run("prune", {"--sizes", "1,5,100000", "--seed", "3"});
  CHECK(csv.columns == std::vector<std::string>{"selection", "k", "samples", "wrong_change", "wrong_low",
                                                "wrong_high", "true_change", "true_low", "true_high",
                                                "corrected", "corrected_low", "corrected_high"});
  REQUIRE(csv.rows.size() == 9);
  check_intervals(csv, {"wrong", "true", "corrected"});
  // With every filter off it does not matter in which order they were chosen.
  for (const std::string& column : csv.columns) {
    if (column == "selection") continue;
    CHECK(csv.rows[2].at(column) == csv.rows[8].at(column));
    if (column != "samples" && column != "k")
      CHECK(csv.number(2, column) == Approx(csv.number(5, column)).margin(1e-12));
  }
  CHECK(csv.number(0, "wrong_change") != csv.number(6, "wrong_change"));

  const io::Json json = io::parse_json(laboratory.bytes("prune.json"), "prune.json");
  CHECK(json.at("rows").size() == 9);
  CHECK(json.at("rows")[4].at("selection").as_string() == "random");
  CHECK(json.at("rows")[4].at("true_change").as_double() == csv.number(4, "true_change"));
  CHECK(json.at("wrong").as_int() == std::stoll(csv.rows[0].at("samples")));
  for (const char* picture : {"prune-wrong", "prune-true", "prune-corrected"}) {
    CHECK(laboratory.bytes(std::string(picture) + ".svg").starts_with("<svg"));
    CHECK(laboratory.bytes(std::string(picture) + ".narrow.svg").starts_with("<svg"));
  }

  const std::string first = laboratory.bytes("prune.csv");
  static_cast<void>(laboratory.run("prune", {"--sizes", "100000,5,1,5", "--seed", "3"}));
  CHECK(laboratory.bytes("prune.csv") == first);
  const Csv wide = laboratory.run("prune", {"--sizes", "1,5", "--seed", "3", "--dtype", "float64"});
  const Csv batched =
      laboratory.run("prune", {"--sizes", "1,5", "--seed", "3", "--dtype", "float64", "--batch", "2"});
  for (std::size_t row = 0; row < wide.rows.size(); ++row) {
    for (const char* column : {"wrong_change", "true_high", "corrected"})
      CHECK(batched.number(row, column) == Approx(wide.number(row, column)).margin(1e-9));
  }
  static_cast<void>(laboratory.run("prune", {"--sizes", "1,5,100000", "--seed", "4"}));
  CHECK(laboratory.bytes("prune.csv") != first);
}

TEST_CASE("experiment correctness has both groups in each layer", "[cli]") {
  const Laboratory laboratory;
  const Csv csv = laboratory.run("correctness");
  REQUIRE(csv.rows.size() % 2 == 0);
  const std::size_t layers = csv.rows.size() / 2;
  CHECK(csv.number(0, "samples") + csv.number(layers, "samples") == Workspace::samples);
  // z over the very samples of the baseline: the two groups' means add up to 0.
  for (std::size_t i = 0; i < layers; ++i) {
    CHECK(csv.rows[i].at("layer") == csv.rows[layers + i].at("layer"));
    const double sum = csv.number(i, "samples") * csv.number(i, "z") +
                       csv.number(layers + i, "samples") * csv.number(layers + i, "z");
    CHECK(sum == Approx(0.0).margin(1e-9 * Workspace::samples));
  }
}

TEST_CASE("experiment neighbors compares with chance", "[cli]") {
  const Laboratory laboratory;
  const Csv csv = laboratory.run("neighbors");
  check_intervals(csv, {"same", "reversed", "either"});
  REQUIRE(csv.rows.size() >= 4);
  CHECK(csv.rows.front().at("layers") == "all");
  CHECK(csv.rows.back().at("layers") == "chance");
}

TEST_CASE("experiment finetune tries every selection and all filters, by a step that it chooses", "[cli]") {
  const std::string clothes = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(clothes)) {
    std::cout << "SKIPPED: needs " << clothes << '\n';
    return;
  }
  const Laboratory laboratory({"--data", "idx:" + clothes, "--limit", "400"});
  const Csv csv = laboratory.run("finetune", {"--sizes", "2,7", "--repeats", "2", "--seed", "5"});
  REQUIRE(csv.rows.size() == 7);
  CHECK(csv.rows.back().at("selection") == "all");
  for (std::size_t row = 0; row < csv.rows.size(); ++row) {
    for (const char* stem : {"corrected", "neighbors_corrected"}) {
      const double mean = csv.number(row, stem);
      CHECK((0.0 <= mean && mean <= 1.0));
      CHECK(csv.number(row, std::string(stem) + "_low") <= mean);
      CHECK(mean <= csv.number(row, std::string(stem) + "_high"));
    }
  }
  // eta is such that a step on all filters corrects half; the same share of them all was tried to choose it.
  CHECK(csv.number(6, "corrected") >= 0.5);
  const io::Json json = io::parse_json(laboratory.bytes("finetune.json"), "finetune.json");
  CHECK(json.at("eta").as_double() >= 1e-3);
  CHECK(json.at("eta by").as_string().find("corrects half of the first") != std::string::npos);
  CHECK(json.at("trials").as_int() == json.at("wrong").as_int() / 2);

  const std::string first = laboratory.bytes("finetune.csv");
  static_cast<void>(laboratory.run("finetune", {"--sizes", "2,7", "--repeats", "2", "--seed", "5"}));
  CHECK(laboratory.bytes("finetune.csv") == first);
  const Csv tiny =
      laboratory.run("finetune", {"--sizes", "2", "--repeats", "1", "--seed", "5", "--eta", "1e-9"});
  CHECK(tiny.number(0, "corrected") == 0.0);
  CHECK(tiny.number(0, "neighbors_true_change") == Approx(0.0).margin(1e-4));
}

TEST_CASE("experiment finetune refuses too few mistakes, and an eta of 0", "[cli]") {
  const Laboratory laboratory;
  Arguments arguments = with(Workspace::explain(), {"--wrong", "", "--out", "results"});
  arguments.front() = "experiment";
  arguments.insert(arguments.begin() + 1, "finetune");
  const Run run = laboratory.workspace.run(arguments);
  CHECK(run.status == 1);
  CHECK(run.err.find("expected 20 wrong samples or more") != std::string::npos);
  CHECK(laboratory.workspace.run(with(arguments, {"--eta", "0"})).status == 2);
}

TEST_CASE("experiments refuse a name that is none", "[cli]") {
  const Laboratory laboratory;
  Arguments arguments = with(Workspace::explain(), {"--wrong", ""});
  arguments.front() = "experiment";
  arguments.insert(arguments.begin() + 1, "nothing");
  const Run run = laboratory.workspace.run(arguments);
  CHECK(run.status == 2);
  CHECK(run.err.find("expected one of correctness, prune, neighbors, finetune, mask") != std::string::npos);
}

TEST_CASE("what explain tries on each mistake is what the experiment prune finds over all", "[cli]") {
  const Laboratory laboratory({"--dtype", "float64"});
  const Csv csv = laboratory.run("prune", {"--sizes", "1,10"});
  laboratory.succeed(
      with(Workspace::explain(), {"--wrong", "12", "--out", "explained", "--dtype", "float64"}));
  double samples = 0;
  std::map<std::string, double> sums;
  for (const auto& entry : std::filesystem::directory_iterator(laboratory.workspace / "explained")) {
    if (!entry.is_directory()) continue;
    const io::Json json = io::parse_json(read_bytes(entry.path() / "profile.json"), "profile.json");
    std::map<std::int64_t, double> before;
    for (const io::Json& one : json.at("classes").items())
      before[one.at("class").as_int()] = one.at("confidence").as_double();
    const std::int64_t label = json.at("label").as_int();
    ++samples;
    for (const io::Json& trial : json.at("trials").items()) {
      if (trial.at("intervention").as_string() == "fine_tune") {
        const bool by_blame = trial.at("selection").as_string() == "most";
        CHECK(trial.at("eta").as_double() >= 1e-3);
        if (by_blame) CHECK(trial.at("prediction").as_int() == label);
        continue;
      }
      CHECK(trial.at("eta").as_double() == 0.0);
      const std::string key = trial.at("selection").as_string() + std::to_string(trial.at("k").as_int());
      sums[key + " wrong"] +=
          trial.at("predicted_confidence").as_double() - before[json.at("prediction").as_int()];
      sums[key + " true"] += trial.at("true_confidence").as_double() - before[label];
      sums[key + " corrected"] += trial.at("prediction").as_int() == label ? 1 : 0;
    }
  }
  REQUIRE(samples == std::stod(csv.rows[0].at("samples")));
  CHECK(sums.size() == 5 * 3);
  for (std::size_t row = 0; row < 2; ++row) {
    const std::string key = "most" + csv.rows[row].at("k");
    CHECK(sums.at(key + " wrong") / samples == Approx(csv.number(row, "wrong_change")).margin(1e-12));
    CHECK(sums.at(key + " true") / samples == Approx(csv.number(row, "true_change")).margin(1e-12));
    CHECK(sums.at(key + " corrected") / samples == Approx(csv.number(row, "corrected")).margin(1e-12));
  }
}

TEST_CASE("report makes one page of explanations and experiments", "[cli]") {
  const Laboratory laboratory;
  static_cast<void>(laboratory.run("prune", {"--sizes", "1,5"}));
  laboratory.succeed(with(Workspace::explain(), {"--wrong", "2", "--out", "explained"}));
  laboratory.succeed(with(Workspace::profile(), {"--baseline", "b.safetensors"}));
  laboratory.succeed(with(Workspace::neighbors(), {"--queries", "wrong:2", "--data", "idx:digits", "--preset",
                                                   "fashion", "--k", "3"}));
  laboratory.succeed({"report", "--explained", "explained", "--neighbors", "near", "--results", "results",
                      "--out", "report.html"});
  const std::string page = read_bytes(laboratory.workspace / "report.html");
  CHECK(page.starts_with("<!DOCTYPE html>"));
  CHECK(page.find("Switching filters off") != std::string::npos);
  for (const char* part : {"prune.csv", "What changing filters does", "10 most salient off",
                           "The nearest neighbours", "neighbors.csv", "cosine similarity of z"}) {
    CAPTURE(part);
    CHECK(page.find(part) != std::string::npos);
  }
  CHECK(page.find("data:image/png;base64,") != std::string::npos);
  for (const char* outside : {"http://", "https://", "src=\"/"}) {
    std::size_t at = 0;  // the name spaces of the page and its figures ask for nothing
    while ((at = page.find(outside, at)) != std::string::npos) {
      CHECK(page.substr(at).starts_with("http://www.w3.org/"));
      ++at;
    }
  }
  const Run nothing = laboratory.workspace.run({"report", "--results", "digits", "--out", "r.html"});
  CHECK(nothing.status == 1);
  CHECK(nothing.err.find("expected a folder that culprit experiment wrote") != std::string::npos);
  static_cast<void>(laboratory.run("neighbors", {"--seed", "1"}));  // its results have the same file's name
  const Run other = laboratory.workspace.run({"report", "--neighbors", "results", "--out", "r.html"});
  CHECK(other.status == 1);
  CHECK(other.err.find("expected what culprit neighbors wrote, came no queries in it") != std::string::npos);
  CHECK(laboratory.workspace.run({"report", "--out", "r.html"}).status == 2);
}
