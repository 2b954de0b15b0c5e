// SPDX-License-Identifier: MIT
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include <culprit/core/baseline.hpp>
#include <culprit/io/baseline_file.hpp>

#include "core/units.hpp"
#include "io/error_of.hpp"
#include "support/temporary_folder.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

Fingerprint fingerprint() {
  return {{{"conv.weight", 1}, {"bn.running_mean", 2}}, "mean_abs", "cross_entropy", "resize 32"};
}

Baseline baseline(Index count = 5, double scale = 1.0) {
  return Baseline(
      three_layers(),
      Moments(count, scale * vector({1, 2, 3, 4, 5, 6, 7, 8}), vector({1, 0, 1e-14, 1.1e-14, 1, 1, 1, 1})),
      fingerprint());
}

}  // namespace

TEST_CASE("A baseline lists the units that no sample moves", "[core]") {
  CHECK(baseline().dead() == std::vector<Index>{1, 2});
  CHECK(baseline(1).dead().size() == 8);  // one sample moves nothing
  const UnitStatistics third = baseline().statistics(3);
  CHECK(third.mean == 4.0);
  CHECK(third.stddev == 1.1e-14);
  CHECK(error_of([] { (void)Baseline(three_layers(), Moments(3), fingerprint()); }).code() ==
        ErrorCode::shape);
}

TEST_CASE("A baseline of another model, units or preprocessing is refused, naming the difference", "[core]") {
  const Baseline ours = baseline();
  CHECK_NOTHROW(ours.check(*three_layers(), fingerprint()));
  const auto came = [&](const Units& units, const Fingerprint& mark) {
    const Error error = error_of([&] { ours.check(units, mark); });
    CHECK(error.code() == ErrorCode::baseline);
    Baseline merged = ours;
    const Baseline other(std::make_shared<const Units>(units), Moments(units.size()), mark);
    CHECK(error_of([&] { merged.merge(other); }).came() == error.came());
    CHECK(merged.count() == ours.count());
    return error.came();
  };
  CHECK(came(Units({layer("a", 8, 27)}), fingerprint()).find("3 layers against 1") != std::string::npos);
  CHECK(came(Units({layer("a", 3, 27), layer("x", 1, 9), layer("c", 4, 36)}), fingerprint())
            .find("b against x") != std::string::npos);
  const auto changed = [&](auto change) {
    Fingerprint mark = fingerprint();
    change(mark);
    return came(*three_layers(), mark);
  };
  CHECK(changed([](Fingerprint& mark) { mark.tensors[1].second = 3; }).find("bn.running_mean") !=
        std::string::npos);
  CHECK(changed([](Fingerprint& mark) { mark.tensors[0].first = "c.weight"; }).find("c.weight") !=
        std::string::npos);
  CHECK(changed([](Fingerprint& mark) { mark.tensors.pop_back(); }).find("2 tensors against 1") !=
        std::string::npos);
  CHECK(changed([](Fingerprint& mark) { mark.aggregation = "mean"; }).find("aggregation") !=
        std::string::npos);
  CHECK(changed([](Fingerprint& mark) { mark.loss = "margin"; }).find("loss") != std::string::npos);
  CHECK(changed([](Fingerprint& mark) { mark.preprocessing = "resize 64"; }).find("resize 64") !=
        std::string::npos);
}

TEST_CASE("Baselines of disjoint samples merge into that of all", "[core]") {
  std::mt19937 engine(seed());
  std::normal_distribution<double> noise;
  RowMatrix samples(30, 8);
  for (Index i = 0; i < samples.size(); ++i) samples.data()[i] = 3.0 + noise(engine);
  const auto fit = [&](Index first, Index count) {
    Moments moments(8);
    moments.add(samples.middleRows(first, count));
    return Baseline(three_layers(), moments, fingerprint(), std::nullopt, /*skipped=*/first);
  };
  Baseline merged = fit(0, 11);
  merged.merge(fit(11, 1));
  merged.merge(fit(12, 18));
  const Baseline all = fit(0, 30);
  CHECK(merged.count() == 30);
  CHECK(merged.skipped() == 23);
  CHECK((merged.mean() - all.mean()).cwiseAbs().maxCoeff() < 1e-14);
  CHECK((merged.stddev() - all.stddev()).cwiseAbs().maxCoeff() < 1e-14);
  CHECK(merged.dead().empty());

  const auto skipping = [&](Index skipped) {
    return Baseline(three_layers(), Moments(8), fingerprint(), std::nullopt, skipped);
  };
  constexpr Index most = std::numeric_limits<Index>::max();
  CHECK(error_of([&] { merged.merge(skipping(most - 22)); }).place() == "skipped");
  merged.merge(skipping(most - 23));
  CHECK(merged.skipped() == most);
}

namespace {

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

/// A file that is a baseline's but for one change.
struct BaselineFile {
  std::vector<double> mean{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<double> stddev{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<std::int64_t> count{5};
  std::map<std::string, std::string> metadata;
  std::string without;  ///< tensor to leave out

  explicit BaselineFile(const std::filesystem::path& model) {
    io::save_baseline(model, baseline());
    metadata = io::Safetensors::open(model).metadata();
  }

  Error refusal(const std::filesystem::path& path) const {
    const auto extent = [](const auto& values) {
      return std::vector<std::int64_t>{static_cast<std::int64_t>(values.size())};
    };
    std::vector<std::pair<std::string, io::TensorView>> tensors{
        {"mean", io::view_of(std::span<const double>(mean), extent(mean))},
        {"std", io::view_of(std::span<const double>(stddev), extent(stddev))},
        {"count", io::view_of(std::span<const std::int64_t>(count), extent(count))}};
    std::erase_if(tensors, [&](const auto& tensor) { return tensor.first == without; });
    io::write_safetensors(path, tensors, metadata);
    Error error = error_of([&] { (void)io::load_baseline(path); });
    INFO(error.what());
    CHECK(std::string(error.what()).find(path.filename().string()) != std::string::npos);
    return error;
  }
};

}  // namespace

TEST_CASE("A baseline comes back from its file bit for bit", "[core]") {
  const test::TemporaryFolder folder;
  std::mt19937 engine(seed());
  std::normal_distribution<double> noise;
  RowMatrix samples(7, 8);
  for (Index i = 0; i < samples.size(); ++i) samples.data()[i] = std::exp(10.0 * noise(engine));
  samples.col(2).setConstant(0.1);  // a dead unit
  Moments moments(8);
  moments.add(samples);
  std::vector<Layer> layers = three_layers()->layers();
  layers[0].batch_norm = "bn1";
  layers[0].uses = 1;
  layers[2].uses = 0;
  Fingerprint mark = fingerprint();
  mark.tensors.emplace_back("quote \" and \n newline", ~std::uint64_t{0});
  const Baseline saved(std::make_shared<const Units>(layers), moments, mark, std::nullopt, /*skipped=*/3);
  io::save_baseline(folder / "baseline.safetensors", saved, {{"note", "of the test"}});
  CHECK(folder.entries() == 1);
  const Baseline loaded = io::load_baseline(folder / "baseline.safetensors");
  CHECK(loaded.count() == 7);
  CHECK(loaded.skipped() == 3);
  for (Index k = 0; k < 8; ++k) {
    CHECK(bits(loaded.mean()[k]) == bits(saved.mean()[k]));
    CHECK(bits(loaded.stddev()[k]) == bits(saved.stddev()[k]));
  }
  CHECK(loaded.dead() == saved.dead());
  CHECK(loaded.dead().size() == 1);
  CHECK(loaded.units().difference(saved.units()).empty());
  CHECK(loaded.units().layers()[0].batch_norm == "bn1");
  CHECK(loaded.units().layers()[0].size == 27);
  CHECK(loaded.units().layers()[1].uses == -1);
  CHECK(loaded.units().layers()[2].uses == 0);
  CHECK(loaded.fingerprint().difference(saved.fingerprint()).empty());
  CHECK_NOTHROW(loaded.check(saved.units(), saved.fingerprint()));
  const io::Safetensors file = io::Safetensors::open(folder / "baseline.safetensors");
  CHECK(file.metadata().at("note") == "of the test");
  CHECK(file.metadata().at("dead_units") == "[2]");

  io::save_baseline(folder / "again.safetensors", loaded, {{"note", "of the test"}});
  CHECK(test::read_bytes(folder / "again.safetensors") == test::read_bytes(folder / "baseline.safetensors"));
}

TEST_CASE("A file that is no baseline is refused, naming the file and what is wrong", "[core]") {
  const test::TemporaryFolder folder;
  const BaselineFile good(folder / "model.safetensors");
  const auto refusal = [&](auto change) {
    BaselineFile file = good;
    change(file);
    return file.refusal(folder / "bad.safetensors");
  };
  CHECK(refusal([](BaselineFile& file) { file.metadata["format"] = "other/1"; }).came() == "other/1");
  for (const std::string key : {"format", "units", "fingerprint"}) {
    const Error missing = refusal([&](BaselineFile& file) { file.metadata.erase(key); });
    CHECK(missing.code() == ErrorCode::format);
    CHECK(missing.expected().find(key) != std::string::npos);
  }
  for (const std::string tensor : {"mean", "std", "count"}) {
    const Error missing = refusal([&](BaselineFile& file) { file.without = tensor; });
    CHECK(std::string(missing.what()).find(tensor) != std::string::npos);
  }
  CHECK(refusal([](BaselineFile& file) { file.mean[3] = not_a_number; }).code() == ErrorCode::numeric);
  CHECK(refusal([](BaselineFile& file) { file.stddev[3] = infinity; }).code() == ErrorCode::numeric);
  CHECK(refusal([](BaselineFile& file) { file.stddev[3] = -1.0; }).code() == ErrorCode::numeric);
  CHECK(refusal([](BaselineFile& file) { file.count = {5, 5}; }).code() == ErrorCode::shape);
  CHECK(refusal([](BaselineFile& file) { file.count = {}; }).code() == ErrorCode::shape);
  CHECK(refusal([](BaselineFile& file) { file.count = {-5}; }).code() == ErrorCode::argument);
  CHECK(refusal([](BaselineFile& file) { file.stddev.pop_back(); }).code() == ErrorCode::shape);
  CHECK(refusal([](BaselineFile& file) { file.mean.pop_back(), file.stddev.pop_back(); }).code() ==
        ErrorCode::shape);
  CHECK(refusal([](BaselineFile& file) { file.metadata["units"] = "[{\"name\": 3}]"; }).code() ==
        ErrorCode::format);
  CHECK(refusal([](BaselineFile& file) { file.metadata["units"] = "{}"; }).code() == ErrorCode::format);
  CHECK(refusal([](BaselineFile& file) {
          file.metadata["units"] = R"([{"name": "a", "shape": [1], "count": -8, "size": 1}])";
        }).code() == ErrorCode::argument);
  CHECK(refusal([](BaselineFile& file) { file.metadata["fingerprint"] = "{"; }).code() == ErrorCode::format);
  CHECK(refusal([](BaselineFile& file) {
          file.metadata["fingerprint"] =
              R"({"tensors": {"a": "xyz"}, "aggregation": "", "loss": "", "preprocessing": ""})";
        }).code() == ErrorCode::format);
  CHECK(error_of([&] { (void)io::load_baseline(folder / "none.safetensors"); }).code() == ErrorCode::io);
}
