// SPDX-License-Identifier: MIT
//
// The input saliency that culprit explain writes.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/workspace.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/npy.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::read_bytes;
using culprit::test::Run;
using culprit::test::succeed;
using culprit::test::with;
using culprit::test::Workspace;
namespace io = culprit::io;

}  // namespace

TEST_CASE("explain writes the input saliency of the filters it is told, in the run's dtype", "[cli]") {
  const Workspace workspace;
  workspace.write_picture("picture.png", 28, 28, 1);
  succeed(workspace, Workspace::fit());
  struct Saliency {
    std::vector<double> gradient;
    io::Json facts;
    std::string err;
  };
  const auto explain = [&](const Arguments& changes) {
    const Run run = workspace.run(
        with(with(Workspace::explain(), {"--data", "", "--image", "picture.png", "--label", "3"}), changes));
    INFO(run.err);
    REQUIRE(run.status == 0);
    const io::NpyArray gradient = io::read_npy(workspace / "report/input_saliency.npy");
    CHECK(gradient.shape == std::vector<std::int64_t>{1, 28, 28});
    const io::Json json = io::parse_json(read_bytes(workspace / "report/profile.json"), "profile.json");
    Saliency saliency{{}, json.at("input_saliency"), run.err};
    // The map beside it is the largest of its channels' absolute values: here of one.
    const io::NpyArray pixels = io::read_npy(workspace / "report/pixel_saliency.npy");
    CHECK(pixels.shape == std::vector<std::int64_t>{28, 28});
    const auto take = [&](const auto& values, const auto& sizes) {
      saliency.gradient.assign(values.begin(), values.end());
      for (std::size_t i = 0; i < values.size(); ++i) REQUIRE(sizes[i] == std::abs(values[i]));
    };
    if (json.at("dtype").as_string() == "float64") {
      take(gradient.values<double>(), pixels.values<double>());
    } else {
      take(gradient.values<float>(), pixels.values<float>());
    }
    const std::string figure = read_bytes(workspace / "report/heat_map.svg");
    CHECK(figure.find("90th percentile") != std::string::npos);
    CHECK(read_bytes(workspace / "report/explain.html").find("90th percentile") != std::string::npos);
    return saliency;
  };
  const auto cosine = [](const std::vector<double>& a, const std::vector<double>& b) {
    double ab = 0, aa = 0, bb = 0;
    for (std::size_t i = 0; i < a.size(); ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
    return ab / std::sqrt(aa * bb);
  };

  const Saliency top = explain({"--dtype", "float64"});
  CHECK(top.err.empty());
  CHECK(top.facts.at("filters").as_string() == "top:10");
  CHECK(top.facts.at("boost").as_double() == 100);
  const io::Json json = io::parse_json(read_bytes(workspace / "report/profile.json"), "profile.json");
  std::string list;
  for (std::size_t i = 0; i < 10; ++i) {
    CHECK(top.facts.at("boosted")[i].as_int() == json.at("top")[i].at("unit").as_int());
    const io::Json& unit = json.at("top")[i];
    // By number, by name, and by name without ".weight".
    std::string layer = unit.at("layer").as_string();
    if (i % 3 == 2) layer = layer.substr(0, layer.size() - std::string(".weight").size());
    list += (i == 0 ? "" : ",") + (i % 3 == 0 ? std::to_string(unit.at("unit").as_int())
                                              : layer + ':' + std::to_string(unit.at("channel").as_int()));
  }
  CHECK(cosine(explain({"--dtype", "float64", "--filters", list}).gradient, top.gradient) >= 1 - 1e-12);
  CHECK(cosine(explain({"--dtype", "float64", "--engine", "loop"}).gradient, top.gradient) >= 1 - 1e-12);
  CHECK(cosine(explain({}).gradient, top.gradient) >= 0.999);

  const auto different = [&](const Arguments& changes) {
    INFO(changes[0] << ' ' << changes[1]);
    const Saliency other = explain(with({"--dtype", "float64", "--seed", "1"}, changes));
    CHECK(cosine(other.gradient, top.gradient) < 1 - 1e-9);
    CHECK(other.gradient == explain(with({"--dtype", "float64", "--seed", "1"}, changes)).gradient);
    return other;
  };
  const Saliency random = different({"--filters", "random:5"});
  CHECK(random.facts.at("boosted").size() == 5);
  CHECK(different({"--filters", "random:5", "--seed", "2"}).facts.at("boosted") !=
        random.facts.at("boosted"));
  const Saliency mild =
      explain({"--dtype", "float64", "--boost", "2"});  // as long as the distance, no other way
  CHECK(mild.facts.at("value").as_double() < 0.9 * top.facts.at("value").as_double());
  CHECK(cosine(mild.gradient, top.gradient) >= 1 - 1e-12);
  (void)different({"--distance", "euclidean"});
  (void)different({"--noise-iters", "3", "--noise-std", "0.2"});
  CHECK(different({"--layers", "layer2*"}).facts.at("boosted").size() == 10);

  // Filters that the sample does not move: said.
  const Saliency few = explain({"--filters", "top:240"});
  CHECK(few.err.starts_with("culprit: warning: picture.png: of its 240 most salient filters "));

  // A scale for each sample, or one for all.
  Arguments two = with(Workspace::explain(), {"--wrong", "2", "--colors", "jet"});
  for (const bool shared : {false, true}) {
    std::filesystem::remove_all(workspace / "report");
    succeed(workspace, two);
    std::vector<double> ends;
    for (const auto& entry : std::filesystem::directory_iterator(workspace / "report")) {
      if (!entry.is_directory()) continue;
      const io::Json facts = io::parse_json(read_bytes(entry.path() / "profile.json"), "profile.json");
      ends.push_back(facts.at("input_saliency").at("scale").at("high").as_double());
    }
    REQUIRE(ends.size() == 2);
    CHECK((ends[0] == ends[1]) == shared);
    two.emplace_back("--shared-scale");
  }
}
