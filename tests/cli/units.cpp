// SPDX-License-Identifier: MIT
//
// The commands with other units than filters, on a vision transformer.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/workspace.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/safetensors.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::read_bytes;
using culprit::test::read_csv;
using culprit::test::Run;
using culprit::test::succeed;
using culprit::test::with;
using culprit::test::Workspace;
using culprit::test::write_bytes;
namespace io = culprit::io;

const Arguments transformer{"--model", "transformer.pt", "--dtype", "float64"};

/// "layer:count" of each layer that a result file tells.
std::vector<std::string> layers_of(const io::Safetensors& file) {
  std::vector<std::string> layers;
  const io::Json units = io::parse_json(file.metadata().at("units"), "units");
  for (const io::Json& layer : units.items()) {
    layers.push_back(layer.at("name").as_string() + ':' + std::to_string(layer.at("count").as_int()));
    CHECK(layer.at("uses").as_int() == 1);
  }
  return layers;
}

std::vector<std::string> expected_layers(const std::string& units) {
  std::vector<std::string> layers;
  if (units == "weights") layers.emplace_back("patches.weight:12");
  for (const std::string block : {"encoder.layers.0.", "encoder.layers.1."}) {
    layers.push_back(block + "self_attn.in_proj_weight:" + (units == "heads:3" ? "9" : "36"));
    if (units == "heads:3") continue;
    layers.push_back(block + "self_attn.out_proj.weight:12");
    layers.push_back(block + "linear1.weight:24");
    layers.push_back(block + "linear2.weight:12");
  }
  if (units != "heads:3") layers.emplace_back("head.weight:10");
  return layers;
}

}  // namespace

TEST_CASE("a transformer's weights and heads are units of every command", "[cli]") {
  const Workspace workspace;
  if (!workspace.write_script_models()) return;
  for (const std::string units : {"weights", "heads:3"}) {
    INFO(units);
    const auto of_units = [&](const Arguments& command, const Arguments& more = {}) {
      return with(with(with(command, transformer), {"--units", units}), more);
    };
    const Run fit = succeed(workspace, of_units(Workspace::fit()));
    CHECK(fit.err.find("warning") == std::string::npos);  // of an operator without a batched rule
    const std::vector<std::string> layers = expected_layers(units);
    const auto baseline = io::Safetensors::open(workspace / "b.safetensors");
    CHECK(layers_of(baseline) == layers);
    const std::size_t all = baseline.read<double>("mean").size();

    succeed(workspace, of_units(Workspace::profile(), {"--baseline", "b.safetensors"}));
    const auto profiles = io::Safetensors::open(workspace / "p.safetensors");
    CHECK(layers_of(profiles) == layers);
    const auto raw = profiles.read<double>("profile");
    REQUIRE(raw.size() == Workspace::samples * all);
    succeed(workspace, of_units(Workspace::profile(), {"--engine", "loop", "--out", "loop.safetensors"}));
    const auto one_by_one = io::Safetensors::open(workspace / "loop.safetensors").read<double>("profile");
    for (std::size_t i = 0; i < raw.size(); ++i) REQUIRE(raw[i] == Approx(one_by_one[i]).epsilon(1e-9));

    // The last unit, by its layer and its number there.
    const std::size_t colon = layers.back().rfind(':');
    const std::string layer = layers.back().substr(0, colon);
    const std::string last = std::to_string(std::stoi(layers.back().substr(colon + 1)) - 1);
    const Run explain =
        succeed(workspace, of_units(Workspace::explain(), {"--wrong", "1", "--filters", layer + ':' + last}));
    CHECK(explain.err.find("warning") == std::string::npos);
    const io::Json json = io::parse_json(read_bytes(workspace / "report/profile.json"), "profile.json");
    CHECK(json.at("layers").size() == layers.size());
    CHECK(json.at("z").size() == all);
    REQUIRE(json.at("input_saliency").at("boosted").size() == 1);
    CHECK(json.at("input_saliency").at("boosted")[0].as_int() == static_cast<std::int64_t>(all) - 1);
    const auto rows = read_csv(workspace / "report/profile.csv");
    REQUIRE(rows.size() == all + 1);
    CHECK(rows.back()[1] == layer);
    CHECK(rows.back()[2] == last);
    REQUIRE(json.at("trials").size() >= 5);
    const double ten_off = json.at("trials")[3].at("predicted_confidence").as_double();
    CHECK(std::abs(ten_off - json.at("classes")[0].at("confidence").as_double()) > 1e-6);

    Arguments prune = of_units(Workspace::mask(), {"--sizes", "1,9", "--repeats", "1"});
    prune[1] = "prune";
    succeed(workspace, prune);
    CHECK(read_csv(workspace / "results/prune.csv").size() == 7);  // three selections of two sizes
    std::filesystem::remove_all(workspace / "results");
    std::filesystem::remove_all(workspace / "report");
  }
}

TEST_CASE("a baseline or checkpoint of other units is refused, and one of more units serves", "[cli]") {
  const Workspace workspace;
  if (!workspace.write_script_models()) return;
  const Arguments fit = with(Workspace::fit(), transformer);
  const Arguments explain = with(Workspace::explain(), transformer);
  const std::string expected =
      "culprit: error: b.safetensors: expected one fitted to this model, units and preprocessing, came ";
  succeed(workspace, with(fit, {"--units", "heads:3"}));
  CHECK(workspace.run(explain).err == expected + "none for layer patches.weight\n");
  const Run two = workspace.run(with(explain, {"--units", "heads:2"}));
  CHECK(two.status == 1);
  CHECK(two.err == expected + "encoder.layers.0.self_attn.in_proj_weight has 9 units against 6\n");
  CHECK_FALSE(std::filesystem::exists(workspace / "report"));

  succeed(workspace, with(fit, {"--units", "weights"}));
  succeed(workspace, with(with(Workspace::profile(), transformer),
                          {"--units", "neurons", "--baseline", "b.safetensors"}));
  CHECK(layers_of(io::Safetensors::open(workspace / "p.safetensors")) == expected_layers("neurons"));

  // More than a checkpoint's samples, and then a picture that ends the run.
  workspace.write_picture("whole.png", Workspace::side, Workspace::side, 1);
  write_bytes(workspace / "cut.png", read_bytes(workspace / "whole.png").substr(0, 60));
  std::string list;
  for (int i = 0; i < 1100; ++i) list += "whole.png\t" + std::to_string(i % 10) + '\n';
  write_bytes(workspace / "list.tsv", list + "cut.png\t0\n");
  const Arguments cut_off = with(fit, {"--model", "good.pt", "--data", "list:list.tsv"});
  CHECK(workspace.run(with(cut_off, {"--units", "weights"})).status == 1);
  REQUIRE(std::filesystem::exists(workspace / "b.safetensors.checkpoint"));
  const Run other = workspace.run(cut_off);
  CHECK(other.status == 1);
  CHECK(other.err.find("expected a checkpoint of units ") != std::string::npos);
}
