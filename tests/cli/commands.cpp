// SPDX-License-Identifier: MIT
//
// The commands on a small data set: what they write, checked against each other.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "cli/workspace.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/npy.hpp"
#include "culprit/io/safetensors.hpp"
#include "figures/axis.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::read_bytes;
using culprit::test::read_csv;
using culprit::test::Run;
using culprit::test::succeed;
using culprit::test::with;
using culprit::test::Workspace;
namespace io = culprit::io;

constexpr std::size_t class_count = 10;

io::Json metadata(const io::Safetensors& file, const std::string& key) {
  return io::parse_json(file.metadata().at(key), key);
}

std::size_t largest(const double* values, std::size_t count) {
  return static_cast<std::size_t>(std::max_element(values, values + count) - values);
}

/// The rows of profiles written with --dtype float64 and a baseline.
struct Profiles {
  explicit Profiles(const std::filesystem::path& path)
      : file(io::Safetensors::open(path)),
        raw(file.read<double>("profile")),
        z(file.read<double>("z")),
        logits(file.read<double>("logits")),
        label(file.read<std::int64_t>("label")),
        prediction(file.read<std::int64_t>("prediction")),
        loss(file.read<double>("loss")),
        units(raw.size() / label.size()) {}

  /// softmax of the logits
  [[nodiscard]] double confidence(std::size_t row, std::size_t of_class) const {
    const double* outputs = logits.data() + row * class_count;
    double sum = 0;
    for (std::size_t i = 0; i < class_count; ++i) sum += std::exp(outputs[i] - outputs[of_class]);
    return 1 / sum;
  }

  io::Safetensors file;
  std::vector<double> raw, z, logits;
  std::vector<std::int64_t> label, prediction;
  std::vector<double> loss;
  std::size_t units;
};

const std::vector<std::string> files_of_sample{"heat_map.narrow.svg", "heat_map.svg",
                                               "input.png",           "input_saliency.npy",
                                               "pixel_saliency.npy",  "profile.csv",
                                               "profile.json",        "profile.narrow.svg",
                                               "profile.svg",         "standardized.narrow.svg",
                                               "standardized.svg"};

}  // namespace

TEST_CASE("fit, profile and explain agree with each other and with the definitions", "[cli]") {
  const Workspace workspace;
  const Arguments double_precision{"--dtype", "float64", "--batch", "5"};
  const Run fit = workspace.run(with(Workspace::fit(), double_precision));
  INFO(fit.err);
  REQUIRE(fit.status == 0);
  CHECK(fit.err.find("fit: 100 %, 12 of 12, ") != std::string::npos);
  CHECK(fit.out.find("units       240 in 7 layers\n") != std::string::npos);
  CHECK(fit.out.ends_with("written     b.safetensors\n"));
  succeed(workspace, with(with(Workspace::profile(), double_precision), {"--baseline", "b.safetensors"}));

  const auto baseline = io::Safetensors::open(workspace / "b.safetensors");
  const auto mean = baseline.read<double>("mean");
  const auto stddev = baseline.read<double>("std");
  CHECK(baseline.read<std::int64_t>("count") == std::vector<std::int64_t>{Workspace::samples});
  CHECK(metadata(baseline, "units").size() == 7);
  CHECK(metadata(baseline, "units")[0].at("batch_norm").as_string() == "bn1");
  CHECK(metadata(baseline, "units")[0].at("uses").as_int() == 1);
  CHECK(metadata(baseline, "data").at("samples").as_int() == Workspace::samples);
  CHECK(baseline.metadata().at("model") == "resnet8_fashion:weights.safetensors");

  const Profiles profiles(workspace / "p.safetensors");
  REQUIRE(profiles.units == 240);
  REQUIRE(profiles.label.size() == Workspace::samples);
  CHECK(metadata(profiles.file, "units") == metadata(baseline, "units"));
  CHECK(metadata(profiles.file, "fingerprint") == metadata(baseline, "fingerprint"));
  for (std::size_t k = 0; k < profiles.units; ++k) {
    double sum = 0;
    for (std::size_t row = 0; row < Workspace::samples; ++row) sum += profiles.raw[row * profiles.units + k];
    const double expected_mean = sum / Workspace::samples;
    double squares = 0;
    for (std::size_t row = 0; row < Workspace::samples; ++row) {
      squares += std::pow(profiles.raw[row * profiles.units + k] - expected_mean, 2);
    }
    REQUIRE(mean[k] == Approx(expected_mean).epsilon(1e-12));
    REQUIRE(stddev[k] == Approx(std::sqrt(squares / (Workspace::samples - 1))).epsilon(1e-10));
    for (std::size_t row = 0; row < Workspace::samples; ++row) {
      const std::size_t i = row * profiles.units + k;
      const double z = stddev[k] <= 1e-14 ? 0 : (profiles.raw[i] - mean[k]) / stddev[k];
      REQUIRE(profiles.z[i] == Approx(z).epsilon(1e-12));
    }
  }
  std::vector<std::size_t> wrong;
  for (std::size_t row = 0; row < Workspace::samples; ++row) {
    CHECK(metadata(profiles.file, "paths")[row].as_string() ==
          "t10k-images-idx3-ubyte#" + std::to_string(row));
    CHECK(profiles.label[row] == Workspace::label(row));
    CHECK(static_cast<std::size_t>(profiles.prediction[row]) ==
          largest(&profiles.logits[row * class_count], class_count));
    const double likelihood = profiles.confidence(row, static_cast<std::size_t>(profiles.label[row]));
    CHECK(profiles.loss[row] == Approx(-std::log(likelihood)).epsilon(1e-10));
    if (profiles.label[row] != profiles.prediction[row]) wrong.push_back(row);
  }

  // The most confidently wrong of them, in that order, in folders of their own.
  REQUIRE(wrong.size() >= 2);
  std::stable_sort(wrong.begin(), wrong.end(), [&](std::size_t a, std::size_t b) {
    return profiles.confidence(a, static_cast<std::size_t>(profiles.prediction[a])) >
           profiles.confidence(b, static_cast<std::size_t>(profiles.prediction[b]));
  });
  const Run explain = workspace.run(with(with(Workspace::explain(), double_precision), {"--wrong", "2"}));
  INFO(explain.err);
  REQUIRE(explain.status == 0);
  const double right = 1 - static_cast<double>(wrong.size()) / Workspace::samples;
  const std::string html = read_bytes(workspace / "report/explain.html");
  CHECK(html.find(std::to_string(wrong.size()) + " of " + std::to_string(Workspace::samples) +
                  " samples are mistakes") != std::string::npos);
  CHECK(html.find("of which the model has " + culprit::figures::percent(right) + " right") !=
        std::string::npos);
  for (std::size_t number = 1; number <= 2; ++number) {
    const std::size_t row = wrong[number - 1];
    const std::string path = "t10k-images-idx3-ubyte#" + std::to_string(row);
    const auto folder = workspace / "report" /
                        ("0" + std::to_string(number) + "_t10k-images-idx3-ubyte_" + std::to_string(row));
    for (const std::string& file : files_of_sample) CHECK(std::filesystem::file_size(folder / file) > 0);
    CHECK(read_bytes(folder / "input.png").starts_with("\x89PNG"));
    CHECK(explain.out.find(path + '\n') != std::string::npos);

    const auto table = read_csv(folder / "profile.csv");
    REQUIRE(table.size() == 241);
    CHECK(table[0] == std::vector<std::string>{"unit", "layer", "channel", "raw", "mean", "std", "z"});
    CHECK(table[17][1] == "layer1.0.conv1.weight");
    CHECK(table[18][2] == "1");
    for (std::size_t k = 0; k < profiles.units; ++k) {
      REQUIRE(table[k + 1][0] == std::to_string(k));
      REQUIRE(std::stod(table[k + 1][3]) == Approx(profiles.raw[row * profiles.units + k]).epsilon(1e-9));
      REQUIRE(std::stod(table[k + 1][4]) == mean[k]);
      REQUIRE(std::stod(table[k + 1][5]) == stddev[k]);
      REQUIRE(std::stod(table[k + 1][6]) == Approx(profiles.z[row * profiles.units + k]).epsilon(1e-9));
    }

    const io::Json json = io::parse_json(read_bytes(folder / "profile.json"), "profile.json");
    CHECK(json.at("path").as_string() == path);
    CHECK(json.at("label").as_int() == profiles.label[row]);
    CHECK(json.at("prediction").as_int() == profiles.prediction[row]);
    CHECK(json.at("loss").as_double() == Approx(profiles.loss[row]).epsilon(1e-10));
    CHECK(json.at("classes")[0].at("class").as_int() == profiles.prediction[row]);
    CHECK(json.at("baseline").at("samples").as_int() == Workspace::samples);
    CHECK(json.at("baseline").at("accuracy").as_double() == Approx(right).epsilon(1e-5));
    CHECK(json.at("chosen_from").at("samples").as_int() == Workspace::samples);
    CHECK(json.at("chosen_from").at("mistakes").as_int() == static_cast<std::int64_t>(wrong.size()));
    CHECK(json.at("z").size() == profiles.units);
    std::vector<std::size_t> order(profiles.units);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return json.at("z")[a].as_double() > json.at("z")[b].as_double();
    });
    REQUIRE(json.at("top").size() == 10);
    for (std::size_t rank = 0; rank < 10; ++rank) {
      const io::Json& unit = json.at("top")[rank];
      CHECK(unit.at("unit").as_int() == static_cast<std::int64_t>(order[rank]));
      CHECK(unit.at("layer").as_string() == table[order[rank] + 1][1]);
      CHECK(std::to_string(unit.at("channel").as_int()) == table[order[rank] + 1][2]);
      CHECK(explain.out.find(unit.at("layer").as_string()) != std::string::npos);
      CHECK(explain.out.find(unit.at("batch_norm").as_string()) != std::string::npos);
    }
  }
}

TEST_CASE("explaining one image writes right into the folder, the same bytes each time", "[cli]") {
  const Workspace workspace;
  workspace.write_picture("picture.png", 40, 30, 1);
  succeed(workspace, Workspace::fit());
  const Arguments explain =
      with(Workspace::explain(), {"--data", "", "--image", "picture.png", "--label", "3", "--preset", "",
                                  "--mean", "0.286", "--std", "0.353", "--standardize", "mean_ratio"});
  Run run = workspace.run(explain);
  CHECK(run.status == 0);
  CHECK(run.err == "");
  CHECK(run.out.starts_with("picture.png\n"));
  for (const std::string& file : files_of_sample) CHECK(std::filesystem::exists(workspace / "report" / file));
  const auto listing = workspace.listing();
  const std::string page = read_bytes(workspace / "report/explain.html");
  const std::string json = read_bytes(workspace / "report/profile.json");
  CHECK(page.find("data:image/png;base64,") != std::string::npos);
  REQUIRE(workspace.run(explain).status == 0);
  CHECK(workspace.listing() == listing);
  CHECK(read_bytes(workspace / "report/explain.html") == page);
  CHECK(read_bytes(workspace / "report/profile.json") == json);
  const auto table = read_csv(workspace / "report/profile.csv");
  for (std::size_t k = 1; k < table.size(); ++k) {
    const double ratio =
        std::stod(table[k][5]) <= 1e-14 ? 0 : std::stod(table[k][3]) / std::stod(table[k][4]);
    REQUIRE(std::stod(table[k][6]) == Approx(ratio).epsilon(1e-12));
  }
}

TEST_CASE("class names come from the preset, the folders or a file", "[cli]") {
  const Workspace workspace;
  for (const char* name : {"boots", "shirts"})
    workspace.write_picture(std::string("clothes/") + name + "/1.png", 28, 28, 1);
  culprit::test::write_bytes(workspace / "classes.txt", "6 shirts fine_shirt\n9 boots old_boot\n");
  succeed(workspace, with(Workspace::fit(), {"--data", "folder:clothes"}));
  const auto truth_of = [&](const Arguments& changes) {
    const Run run = workspace.run(with(Workspace::explain(), changes));
    INFO(run.err);
    REQUIRE(run.status == 0);
    std::vector<std::string> lines;
    std::istringstream text(run.out);
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with("  true")) lines.push_back(line.substr(14, line.find(')') - 13));
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  };
  CHECK(truth_of({"--data", "", "--image", "clothes/boots/1.png", "--label", "9"}) ==
        std::vector<std::string>{"ankle boot (9)"});
  CHECK(truth_of({"--data", "", "--image", "clothes/boots/1.png", "--label", "9", "--classes",
                  "classes.txt"}) == std::vector<std::string>{"boots old_boot (9)"});
  for (const std::string& line : truth_of({"--data", "folder:clothes"})) {
    CHECK((line == "boots (0)" || line == "shirts (1)"));
  }
  for (const std::string& line : truth_of({"--data", "folder:clothes", "--classes", "classes.txt"})) {
    CHECK((line == "shirts fine_shirt (6)" || line == "boots old_boot (9)"));
  }
}

TEST_CASE("limit takes the first samples, with a seed as many at random, the same for the same seed",
          "[cli]") {
  const Workspace workspace;
  const auto paths = [&](const Arguments& changes) {
    succeed(workspace, with(Workspace::profile(), changes));
    const auto file = io::Safetensors::open(workspace / "p.safetensors");
    std::vector<std::string> names;
    const io::Json json = metadata(file, "paths");
    for (const io::Json& path : json.items())
      names.push_back(path.as_string().substr(path.as_string().find('#') + 1));
    REQUIRE(static_cast<std::int64_t>(names.size()) == file.at("profile").shape[0]);
    return names;
  };
  const std::vector<std::string> first{"0", "1", "2", "3"};
  CHECK(paths({"--limit", "4"}) == first);
  CHECK(paths({"--limit", "100"}).size() == Workspace::samples);
  const auto drawn = paths({"--limit", "4", "--seed", "1"});
  CHECK(drawn.size() == 4);
  CHECK(drawn == paths({"--limit", "4", "--seed", "1"}));
  CHECK(drawn != first);
  CHECK(drawn != paths({"--limit", "4", "--seed", "2"}));
}

TEST_CASE("every aggregation, target and engine can be chosen, and the engines agree", "[cli]") {
  const Workspace workspace;
  const auto profile = [&](const Arguments& changes) {
    succeed(workspace, with(with(Workspace::profile(), {"--dtype", "float64", "--limit", "3"}), changes));
    return io::Safetensors::open(workspace / "p.safetensors").read<double>("profile");
  };
  std::vector<std::vector<double>> all;
  for (const Arguments& choice : {Arguments{"--aggregate", "mean_abs"},
                                  {"--aggregate", "mean"},
                                  {"--aggregate", "l2_norm"},
                                  {"--aggregate", "max_abs"},
                                  {"--aggregate", "median_abs"},
                                  {"--aggregate", "parameter_wise"},
                                  {"--aggregate", "tensor_mean"},
                                  {"--target", "predicted"},
                                  {"--target", "5"}}) {
    INFO(choice[0] << ' ' << choice[1]);
    Arguments by_loop = choice;
    by_loop.insert(by_loop.end(), {"--engine", "loop"});
    const std::vector<double> batched = profile(choice);
    const std::vector<double> loop = profile(by_loop);
    REQUIRE(batched.size() == loop.size());
    const double scale = std::abs(*std::max_element(loop.begin(), loop.end()));
    for (std::size_t i = 0; i < loop.size(); ++i)
      REQUIRE(batched[i] == Approx(loop[i]).margin(1e-10 * scale));
    for (const std::vector<double>& other : all) CHECK(batched != other);
    all.push_back(batched);
  }
}

TEST_CASE("layers and robust statistics go from fit to explain", "[cli]") {
  const Workspace workspace;
  succeed(workspace, with(Workspace::fit(), {"--standardize", "robust"}));
  const auto baseline = io::Safetensors::open(workspace / "b.safetensors");
  CHECK(baseline.at("quantile_ends").shape == std::vector<std::int64_t>{240});
  succeed(workspace, with(Workspace::profile(),
                          {"--standardize", "robust", "--baseline", "b.safetensors", "--dtype", "float64"}));
  const Profiles all(workspace / "p.safetensors");
  for (std::size_t unit = 0; unit < all.units; unit += 17) {
    // Robust of the baseline's own samples: as many below the median as above it, up to its bucket's width.
    const auto above = [&](double least) {
      std::size_t count = 0;
      for (std::size_t row = 0; row < Workspace::samples; ++row) {
        if (all.z[row * all.units + unit] > least) ++count;
      }
      return count;
    };
    CHECK(above(0.1) <= Workspace::samples / 2);
    CHECK(above(-0.1) >= Workspace::samples / 2);
  }
  // A part of the layers, with the baseline of all of them.
  succeed(workspace, with(Workspace::profile(), {"--standardize", "robust", "--baseline", "b.safetensors",
                                                 "--dtype", "float64", "--layers", "after:layer2.0.conv2"}));
  const Profiles part(workspace / "p.safetensors");
  REQUIRE(part.units == 128);
  for (std::size_t row = 0; row < Workspace::samples; ++row) {
    for (std::size_t unit = 0; unit < part.units; ++unit) {
      REQUIRE(part.z[row * part.units + unit] ==
              Approx(all.z[row * all.units + 240 - 128 + unit]).epsilon(1e-8).margin(1e-8));
    }
  }
  for (const auto& [range, units] :
       {std::pair("up-to:layer1.0.conv2", 48), {"1-2", 32}, {"layer3.*", 128}, {"conv1", 16}}) {
    succeed(workspace, with(Workspace::profile(), {"--layers", range}));
    CHECK(io::Safetensors::open(workspace / "p.safetensors").at("profile").shape[1] == units);
  }
}

TEST_CASE("help tells about every command, with an example", "[cli]") {
  const Workspace workspace;
  const Run top = workspace.run({"--help"});
  CHECK(top.status == 0);
  CHECK(top.err == "");
  for (const char* command : {"fit", "profile", "explain"}) {
    CHECK(top.out.find(std::string("\n  ") + command + ' ') != std::string::npos);
    const Run run = workspace.run({command, "--help"});
    CHECK(run.status == 0);
    CHECK(run.err == "");
    CHECK(run.out.find(std::string("\n  culprit ") + command + " --model ") != std::string::npos);
    for (const char* option :
         {"--model", "--data", "--classes", "--preset", "--resize", "--crop", "--mean", "--std", "--batch",
          "--dtype", "--limit", "--seed", "--engine", "--device", "--target", "--aggregate", "--out"}) {
      INFO(command << ' ' << option);
      CHECK(run.out.find(std::string("\n  ") + option + ' ') != std::string::npos);
    }
  }
  for (const char* command : {"fit", "merge", "profile", "explain", "neighbors", "experiment", "report"}) {
    const Run run = workspace.run({command, "--help"});
    CHECK(run.out.find(std::string("\n  culprit ") + command + ' ') != std::string::npos);
    std::istringstream lines(run.out);
    for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 120);
  }
  const Run version = workspace.run({"--version"});
  CHECK(version.status == 0);
  CHECK(version.out.starts_with("culprit "));
}
