// SPDX-License-Identifier: MIT
//
// culprit neighbors on a small data set: what it writes against the profiles, and what it refuses.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cli/workspace.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/safetensors.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::read_bytes;
using culprit::test::Run;
using culprit::test::succeed;
using culprit::test::with;
using culprit::test::Workspace;
namespace io = culprit::io;

void write_profiles(const Workspace& workspace) {
  succeed(workspace, Workspace::fit());
  succeed(workspace, with(Workspace::profile(), {"--baseline", "b.safetensors"}));
}

/// The cosine of two rows, in the columns [first, end).
double cosine(const double* a, const double* b, std::size_t first, std::size_t end) {
  double product = 0, of_a = 0, of_b = 0;
  for (std::size_t k = first; k < end; ++k) {
    product += a[k] * b[k];
    of_a += a[k] * a[k];
    of_b += b[k] * b[k];
  }
  return product / std::sqrt(of_a * of_b);
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  std::istringstream text(read_bytes(path));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("neighbors finds the samples with the most similar z, among the wrong ones, in a range of layers",
          "[cli]") {
  const Workspace workspace;
  write_profiles(workspace);
  const auto file = io::Safetensors::open(workspace / "p.safetensors");
  const auto z = file.read<double>("z");
  const auto label = file.read<std::int64_t>("label");
  const auto prediction = file.read<std::int64_t>("prediction");
  const std::size_t units = z.size() / label.size();
  const std::size_t first = 16;  // behind conv1
  std::vector<std::size_t> wrong;
  for (std::size_t row = 0; row < label.size(); ++row) {
    if (label[row] != prediction[row]) wrong.push_back(row);
  }
  REQUIRE(wrong.size() > 4);
  const std::size_t query = wrong[1];

  const Run run =
      succeed(workspace, with(Workspace::neighbors(),
                              {"--queries", std::to_string(query), "--k", "3", "--among", "wrong", "--layers",
                               "after:conv1", "--data", "idx:digits", "--preset", "fashion"}));
  std::vector<std::pair<double, std::size_t>> expected;
  for (const std::size_t row : wrong) {
    if (row != query) expected.emplace_back(-cosine(&z[query * units], &z[row * units], first, units), row);
  }
  std::sort(expected.begin(), expected.end());
  const auto table = lines_of(workspace / "near/neighbors.csv");
  REQUIRE(table.size() == 4);
  CHECK(table[0] == "query,rank,sample,path,label,prediction,similarity,pair");
  const io::Json json = io::parse_json(read_bytes(workspace / "near/neighbors.json"), "neighbors.json");
  CHECK(json.at("among").as_string() == "wrong");
  CHECK(json.at("layers").as_string() == "after:conv1");
  REQUIRE(json.at("queries").size() == 1);
  CHECK(json.at("queries")[0].at("row").as_int() == static_cast<std::int64_t>(query));
  for (std::size_t rank = 1; rank <= 3; ++rank) {
    const std::size_t row = expected[rank - 1].second;
    const io::Json& found = json.at("queries")[0].at("neighbors")[rank - 1];
    CHECK(found.at("sample").as_int() == static_cast<std::int64_t>(row));
    CHECK(found.at("similarity").as_double() == Approx(-expected[rank - 1].first).margin(1e-12));
    CHECK(table[rank].starts_with(std::to_string(query) + ',' + std::to_string(rank) + ',' +
                                  std::to_string(row) + ",t10k-images-idx3-ubyte#" + std::to_string(row) +
                                  ',' + std::to_string(label[row]) + ',' + std::to_string(prediction[row]) +
                                  ','));
    const bool same = label[row] == label[query] && prediction[row] == prediction[query];
    const bool reversed = label[row] == prediction[query] && prediction[row] == label[query];
    CHECK(found.at("pair").as_string() == (same ? "same" : reversed ? "reversed" : ""));
  }
  CHECK(run.out.starts_with("t10k-images-idx3-ubyte#" + std::to_string(query) + ", sample "));
  CHECK(run.out.ends_with("written     near/neighbors.svg\n"));
  CHECK(read_bytes(workspace / "near/neighbors.svg").find("data:image/png;base64,") != std::string::npos);
}

TEST_CASE("neighbors searches several files as one, by z or raw profiles, for the surest mistakes", "[cli]") {
  const Workspace workspace;
  write_profiles(workspace);
  std::filesystem::create_directory(workspace / "parts");
  std::filesystem::copy(workspace / "p.safetensors", workspace / "parts/0.safetensors");
  std::filesystem::copy(workspace / "p.safetensors", workspace / "parts/1.safetensors");
  for (const char* const space : {"z", "raw"}) {
    Arguments arguments = with(Workspace::neighbors(),
                               {"--profiles", "parts", "--queries", "3,15", "--k", "100", "--space", space});
    const Run run = succeed(workspace, arguments);
    CHECK(run.out.ends_with("written     near/neighbors.csv\n"));
    const auto table = lines_of(workspace / "near/neighbors.csv");
    REQUIRE(table.size() == 1 + 2 * (2 * Workspace::samples - 1));
    CHECK(table[1].starts_with("3,1,15,t10k-images-idx3-ubyte#3,"));  // its twin in the other file
    CHECK(table[1].find(",1,same") != std::string::npos);
    CHECK(table[24].starts_with("15,1,3,t10k-images-idx3-ubyte#3,"));
  }
  succeed(workspace, with(Workspace::neighbors(), {"--queries", "wrong:2"}));
  const io::Json json = io::parse_json(read_bytes(workspace / "near/neighbors.json"), "neighbors.json");
  REQUIRE(json.at("queries").size() == 2);
  CHECK(json.at("queries")[0].at("confidence").as_double() >=
        json.at("queries")[1].at("confidence").as_double());
  for (const io::Json& query : json.at("queries").items())
    CHECK(query.at("label").as_int() != query.at("prediction").as_int());
}

TEST_CASE("neighbors refuses what it cannot search in one line", "[cli]") {
  const Workspace workspace;
  write_profiles(workspace);
  succeed(workspace, with(Workspace::profile(), {"--out", "raw.safetensors"}));
  succeed(workspace, with(Workspace::profile(),
                          {"--out", "part.safetensors", "--baseline", "b.safetensors", "--layers", "0-2"}));
  workspace.write_picture("grey/a/1.png", 28, 28, 1);
  const Arguments neighbors = Workspace::neighbors();
  Arguments two = neighbors;
  two.insert(two.begin() + 3, "part.safetensors");
  const std::string see = " (see culprit neighbors --help)";
  const auto before = workspace.listing();
  for (const auto& [arguments, status, message] : std::vector<std::tuple<Arguments, int, std::string>>{
           {with(neighbors, {"--profiles", ""}), 2, "--profiles is required" + see},
           {with(neighbors, {"--queries", "right:3"}), 2,
            "--queries: expected wrong:N, or numbers of samples between commas, came 'right:3'" + see},
           {with(neighbors, {"--queries", "wrong:0"}), 2,
            "--queries: expected wrong:N, or numbers of samples between commas, came 'wrong:0'" + see},
           {with(neighbors, {"--among", "right"}), 2,
            "--among: expected one of all, wrong, came 'right'" + see},
           {with(neighbors, {"--data", "idx:digits"}), 2,
            "--preset, or --mean and --std (and --resize, --crop), is required" + see},
           {with(neighbors, {"--queries", "0,12"}), 1, "--queries: expected samples below 12, came 12"},
           {with(neighbors, {"--profiles", "raw.safetensors"}), 1,
            "raw.safetensors: expected the tensor z, which culprit profile --baseline writes, came none"},
           {two, 1,
            "part.safetensors: expected profiles made as those of p.safetensors, came 7 layers against 3"},
           {with(neighbors, {"--layers", "up-to:conv9"}), 1,
            "layer range: expected the name of a layer with units, came conv9"},
           {with(neighbors, {"--data", "folder:grey", "--preset", "fashion", "--queries", "3"}), 1,
            "--data: expected the data set of the profiles, came one without t10k-images-idx3-ubyte#3"}}) {
    const Run run = workspace.run(arguments);
    CHECK(run.status == status);
    CHECK(run.err == "culprit: error: " + message + '\n');
    CHECK(run.out.empty());
  }
  CHECK(workspace.listing() == before);
}

TEST_CASE("neighbors tells about itself, with an example", "[cli]") {
  const Workspace workspace;
  const Run run = succeed(workspace, {"neighbors", "--help"});
  CHECK(run.out.find("\n  culprit neighbors --profiles ") != std::string::npos);
  for (const char* option : {"--profiles", "--queries", "--k", "--among", "--layers", "--space", "--data",
                             "--classes", "--preset", "--resize", "--crop", "--mean", "--std", "--out"}) {
    INFO(option);
    CHECK(run.out.find(std::string("\n  ") + option + ' ') != std::string::npos);
  }
  CHECK(run.out.find("--model") == std::string::npos);
  std::istringstream lines(run.out);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 120);
}
