// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include <culprit/core/baseline.hpp>
#include <culprit/core/order.hpp>
#include <culprit/core/quantiles.hpp>
#include <culprit/io/baseline_file.hpp>

#include "io/error_of.hpp"
#include "support/temporary_folder.hpp"

using namespace culprit;
using culprit::test::error_of;
using culprit::test::seed;

namespace {

double exact_median(std::vector<double> values) {
  std::ranges::sort(values);
  return 0.5 * (values[(values.size() - 1) / 2] + values[values.size() / 2]);
}

double exact_mad(const std::vector<double>& values) {
  const double median = exact_median(values);
  std::vector<double> deviations;
  for (const double value : values) deviations.push_back(std::abs(value - median));
  return exact_median(deviations);
}

using Draw = std::function<double(std::mt19937&)>;

const std::vector<Draw>& draws() {
  static const std::vector<Draw> all{
      [](std::mt19937& engine) { return std::lognormal_distribution<double>(-8.0, 2.0)(engine); },
      [](std::mt19937& engine) { return std::normal_distribution<double>(0.0, 1.0)(engine); },
      [](std::mt19937& engine) { return std::normal_distribution<double>(-40.0, 3.0)(engine); },
      [](std::mt19937& engine) { return engine() % 3 == 0 ? 0.0 : static_cast<double>(engine() % 4); },
      [](std::mt19937&) { return 0.3; },
      [](std::mt19937& engine) { return 1e-310 * static_cast<double>(engine() % 9); }};
  return all;
}

/// A column for each of the draws.
RowMatrix samples(Index count, std::mt19937& engine) {
  RowMatrix all(count, static_cast<Index>(draws().size()));
  for (Index row = 0; row < count; ++row) {
    for (Index unit = 0; unit < all.cols(); ++unit)
      all(row, unit) = draws()[static_cast<std::size_t>(unit)](engine);
  }
  return all;
}

Quantiles of(const RowMatrix& all) {
  Quantiles quantiles(all.cols());
  quantiles.add(all);
  return quantiles;
}

std::shared_ptr<const Units> two_layers() {
  std::vector<Layer> layers(2);
  layers[0].name = "a";
  layers[1].name = "b";
  layers[0].count = 2;
  layers[1].count = 4;
  for (Layer& layer : layers) layer.size = 9;
  return std::make_shared<const Units>(std::move(layers));
}

Baseline baseline_of(const RowMatrix& all) {
  Moments moments(all.cols());
  moments.add(all);
  return {two_layers(), std::move(moments), {}, of(all)};
}

}  // namespace

TEST_CASE("Median and MAD are within the bound that a bucket's width sets", "[core]") {
  std::mt19937 engine(seed());
  constexpr double u = 0x1p-9;
  for (const Index count : {1, 2, 3, 10, 101, 3000}) {
    const RowMatrix all = samples(count, engine);
    const Quantiles quantiles = of(all);
    const Eigen::VectorXd median = quantiles.median();
    const Eigen::VectorXd mad = quantiles.mad();
    CHECK(quantiles.count() == count);
    for (Index unit = 0; unit < all.cols(); ++unit) {
      INFO("unit " << unit << ", " << count << " samples");
      const std::vector<double> values(all.col(unit).begin(), all.col(unit).end());
      const double middle = exact_median(values);
      const double spread = exact_mad(values);
      // Below the smallest normal number a value is known to 2^-1022 / 2^8 only. The two in the middle of an
      // even number may cancel: their median is within u of the larger.
      std::vector<double> sorted = values;
      std::ranges::sort(sorted);
      const double larger =
          std::max(std::abs(sorted[(sorted.size() - 1) / 2]), std::abs(sorted[sorted.size() / 2]));
      CHECK(std::abs(median[unit] - middle) <= u * larger + 0x1p-1030);
      CHECK(std::abs(mad[unit] - spread) <= u * (2 * larger + spread) * (1 + 4 * u) + 0x1p-1029);
    }
  }
}

TEST_CASE("Quantiles of any partition in any order have the same buckets", "[core]") {
  std::mt19937 engine(seed());
  const RowMatrix all = samples(200, engine);
  const Quantiles whole = of(all);
  for (int partition = 0; partition < 100; ++partition) {
    std::vector<Index> order = first_indices(all.rows());
    std::shuffle(order.begin(), order.end(), engine);
    std::vector<Quantiles> shards(1 + engine() % 40, Quantiles(all.cols()));
    for (const Index row : order) shards[engine() % shards.size()].add(all.row(row));
    Quantiles merged(all.cols());
    for (const Quantiles& shard : shards) merged.merge(shard);
    CHECK(merged.count() == 200);
    CHECK(merged.buckets() == whole.buckets());
  }
}

TEST_CASE("Quantiles refuse what is no number and other units, and know nothing of no samples", "[core]") {
  Quantiles quantiles(2);
  CHECK(std::isnan(quantiles.median()[0]));
  CHECK(std::isnan(quantiles.mad()[1]));
  for (const double wrong : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    for (const Index unit : {0, 1}) {
      RowMatrix sample = RowMatrix::Zero(1, 2);
      sample(0, unit) = wrong;
      CHECK(error_of([&] { quantiles.add(sample); }).code() == ErrorCode::numeric);
    }
  }
  CHECK(error_of([&] { quantiles.add(RowMatrix::Zero(1, 3)); }).code() == ErrorCode::shape);
  CHECK(error_of([&] { quantiles.merge(Quantiles(3)); }).code() == ErrorCode::shape);
  quantiles.add(RowMatrix::Constant(3, 2, std::numeric_limits<double>::max()));
  quantiles.add(RowMatrix::Constant(2, 2, -std::numeric_limits<double>::max()));
  CHECK(std::isfinite(quantiles.median()[0]));
  CHECK(Quantiles(quantiles.buckets()).median() == quantiles.median());
  using Buckets = Quantiles::Buckets;
  for (const std::vector<Buckets>& wrong : {std::vector<Buckets>{{{5, 1}, {5, 1}}},
                                            {{{5, 1}, {4, 1}}},
                                            {{{5, 0}}},
                                            {{{5, -1}}},
                                            {{{std::numeric_limits<std::int64_t>::max(), 1}}},
                                            {{{std::numeric_limits<std::int64_t>::min(), 1}}},
                                            {{{5, 1}}, {{5, 2}}},
                                            {{{5, std::numeric_limits<Index>::max()}, {6, 1}}}}) {
    CHECK(error_of([&] { (void)Quantiles(wrong); }).code() == ErrorCode::format);
  }
}

TEST_CASE("A baseline's part for some layers has their statistics", "[core]") {
  std::mt19937 engine(seed());
  const RowMatrix all = samples(50, engine);
  const Baseline whole = baseline_of(all);
  std::vector<Layer> layers{two_layers()->layers()[1]};
  const auto b = std::make_shared<const Units>(layers);
  const Baseline part = whole.part(b);
  CHECK(part.count() == 50);
  CHECK(part.units().size() == 4);
  for (Index unit = 0; unit < 4; ++unit) {
    const UnitStatistics of_part = part.statistics(unit);
    const UnitStatistics of_whole = whole.statistics(unit + 2);
    CHECK(of_part.mean == of_whole.mean);
    CHECK(of_part.stddev == of_whole.stddev);
    CHECK(of_part.median == of_whole.median);
    CHECK(of_part.mad == of_whole.mad);
  }
  // Parts merge like wholes, and one made of a file's statistics keeps them bit for bit.
  Baseline twice = part;
  twice.merge(part);
  CHECK(twice.count() == 100);
  CHECK(twice.statistics(1).median == part.statistics(1).median);
  const Baseline stored(two_layers(), Moments(50, whole.mean(), whole.stddev()), {});
  CHECK(stored.part(b).stddev() == whole.stddev().tail(4));

  const auto refusal = [&](auto change) {
    std::vector<Layer> changed = layers;
    change(changed[0]);
    const Error error = error_of([&] { (void)whole.part(std::make_shared<const Units>(changed)); });
    CHECK(error.code() == ErrorCode::baseline);
    return error.came();
  };
  CHECK(refusal([](Layer& layer) { layer.name = "c"; }) == "none for layer c");
  CHECK(refusal([](Layer& layer) { layer.count = 3; }) == "b has 4 units against 3");
  CHECK(refusal([](Layer& layer) { layer.shape = {7}; }) == "shape of b");

  // Quantiles in one of two parts only, or of another number of samples.
  Baseline without(two_layers(), Moments(50, whole.mean(), whole.stddev()), {});
  CHECK(error_of([&] { without.merge(whole); }).code() == ErrorCode::baseline);
  CHECK(std::isnan(without.statistics(0).median));
  CHECK(error_of([&] {
          (void)Baseline(two_layers(), Moments(49, whole.mean(), whole.stddev()), {}, whole.quantiles());
        }).code() == ErrorCode::baseline);
  CHECK(error_of([&] {
          (void)Baseline(two_layers(), Moments(50, whole.mean(), whole.stddev()), {}, Quantiles(5));
        }).code() == ErrorCode::shape);
}

TEST_CASE("Quantiles come back from a baseline's file, and damaged ones are refused by name", "[core]") {
  const test::TemporaryFolder folder;
  std::mt19937 engine(seed());
  const Baseline saved = baseline_of(samples(60, engine));
  io::save_baseline(folder / "b.safetensors", saved);
  const Baseline loaded = io::load_baseline(folder / "b.safetensors");
  REQUIRE(loaded.quantiles());
  CHECK(loaded.quantiles()->buckets() == saved.quantiles()->buckets());
  CHECK(loaded.statistics(3).mad == saved.statistics(3).mad);
  Baseline merged = loaded;
  merged.merge(saved);
  CHECK(merged.count() == 120);

  const io::Safetensors file = io::Safetensors::open(folder / "b.safetensors");
  const auto refusal = [&](const std::string& tensor,
                           const std::function<void(std::vector<std::int64_t>&)>& change) {
    std::vector<std::int64_t> values = file.read<std::int64_t>(tensor);
    change(values);
    std::vector<std::pair<std::string, io::TensorView>> tensors;
    for (const std::string& name : file.names()) {
      tensors.emplace_back(name, name == tensor ? io::view_of(std::span<const std::int64_t>(values),
                                                              {static_cast<std::int64_t>(values.size())})
                                                : file.at(name));
    }
    io::write_safetensors(folder / "bad.safetensors", tensors, file.metadata());
    const Error error = error_of([&] { (void)io::load_baseline(folder / "bad.safetensors"); });
    INFO(error.what());
    CHECK(error.place().find("bad.safetensors") != std::string::npos);
    return error.code();
  };
  using Values = std::vector<std::int64_t>;
  CHECK(refusal("quantile_keys", [](Values& keys) { keys.pop_back(); }) == ErrorCode::shape);
  CHECK(refusal("quantile_keys", [](Values& keys) { std::swap(keys[0], keys[1]); }) == ErrorCode::format);
  CHECK(refusal("quantile_counts", [](Values& counts) { counts[0] = 0; }) == ErrorCode::format);
  CHECK(refusal("quantile_counts", [](Values& counts) { ++counts[0]; }) == ErrorCode::format);
  CHECK(refusal("quantile_ends", [](Values& ends) { ends[0] = -1; }) == ErrorCode::format);
  CHECK(refusal("quantile_ends", [](Values& ends) { ends.back() += 1; }) == ErrorCode::format);
  CHECK(refusal("quantile_ends", [](Values& ends) { ends[1] = ends[0] - 1; }) == ErrorCode::format);
  CHECK(refusal("quantile_ends", [](Values& ends) { ends.pop_back(); }) == ErrorCode::shape);
  CHECK(refusal("count", [](Values& count) { count[0] = 61; }) == ErrorCode::baseline);
}
