// SPDX-License-Identifier: MIT
// What holds for every standardization.
#include <random>

#include "engine/nets.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

constexpr UnitStatistics usual{.mean = 0.75, .stddev = 0.125, .median = 0.7, .mad = 0.1};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return 0.5 * (values[(values.size() - 1) / 2] + values[values.size() / 2]);
}

/// Positive numbers with a long tail, as saliencies are: [samples, units].
RowMatrix samples(Index count, Index units) {
  std::mt19937 engine(seed());
  std::lognormal_distribution<double> draw(-3.0, 1.0);
  RowMatrix all(count, units);
  for (double& value : all.reshaped()) value = draw(engine);
  return all;
}

std::shared_ptr<const Units> one_layer(Index units) {
  Layer layer;
  layer.name = "w";
  layer.count = units;
  layer.size = 9;
  return std::make_shared<const Units>(std::vector{layer});
}

Baseline baseline_of(const RowMatrix& all) {
  Moments moments(all.cols());
  moments.add(all);
  Quantiles quantiles(all.cols());
  quantiles.add(all);
  return {one_layer(all.cols()), std::move(moments), {}, std::move(quantiles)};
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("A standardization keeps the order of a unit's values and gives 0 for a dead unit",
                        "[laws]", Standardizations) {
  const TestType policy{};
  double before = policy(-2.0, usual);
  for (double raw = -1.75; raw < 3.0; raw += 0.25) {
    const double now = policy(raw, usual);
    CHECK(now > before);
    before = now;
  }
  for (const double deviation : {0.0, 1e-15, dead_stddev}) {
    const UnitStatistics dead{0.5, deviation, 0.5, deviation};
    constexpr bool identity = std::is_same_v<TestType, standardize::Identity>;
    CHECK(policy(0.75, dead) == (identity ? 0.75 : 0.0));
    CHECK(policy.derivative(0.75, dead) == (identity ? 1.0 : 0.0));
  }
  CHECK(std::isfinite(policy(1.0, {0.0, 1.0, 0.0, 1.0})));
  CHECK(std::isnan(policy(std::numeric_limits<double>::quiet_NaN(), usual)));
}

TEMPLATE_LIST_TEST_CASE("The derivative of a standardization is that of its differences", "[laws]",
                        Standardizations) {
  const TestType policy{};
  constexpr double step = 1e-6;
  for (const double raw : {-1.0, 0.0, 0.5, 0.75, 4.0}) {
    const double quotient = (policy(raw + step, usual) - policy(raw - step, usual)) / (2 * step);
    CHECK(policy.derivative(raw, usual) == Approx(quotient).epsilon(1e-8));
  }
}

TEMPLATE_LIST_TEST_CASE("The baseline's own samples are standardized to what the policy promises", "[laws]",
                        Standardizations) {
  const TestType policy{};
  for (const Index count : {2, 25, 400}) {
    const RowMatrix all = samples(count, 6);
    const Baseline baseline = baseline_of(all);
    for (Index unit = 0; unit < all.cols(); ++unit) {
      std::vector<double> standardized;
      Moments moments(1);
      for (Index row = 0; row < count; ++row) {
        standardized.push_back(policy(all(row, unit), baseline.statistics(unit)));
        moments.add(RowMatrix::Constant(1, 1, standardized.back()));
      }
      if constexpr (std::is_same_v<TestType, standardize::ZScore>) {
        CHECK(std::abs(moments.mean()[0]) <= 1e-12);
        CHECK(moments.stddev()[0] == Approx(1.0).epsilon(1e-12));
      } else if constexpr (std::is_same_v<TestType, standardize::MeanRatio>) {
        CHECK(moments.mean()[0] == Approx(1.0).epsilon(1e-12));
      } else if constexpr (std::is_same_v<TestType, standardize::Robust>) {
        // Values are known to u of themselves: Quantiles says what that does to median and MAD.
        constexpr double u = 0x1p-9;
        const UnitStatistics of_unit = baseline.statistics(unit);
        const double slack = (1 + 8 * u) * u * (2 * of_unit.median + of_unit.mad) /
                             (standardize::Robust::normal_consistency * of_unit.mad);
        const double centre = median(standardized);
        CHECK(std::abs(centre) <= slack);
        std::vector<double> deviations;
        for (const double z : standardized) deviations.push_back(std::abs(z - centre));
        CHECK(std::abs(standardize::Robust::normal_consistency * median(deviations) - 1.0) <=
              standardize::Robust::normal_consistency * slack);
      } else if constexpr (std::is_same_v<TestType, standardize::Identity>) {
        CHECK(moments.mean()[0] == Approx(all.col(unit).mean()).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("Each standardization is its formula", "[laws]") {
  CHECK(standardize::ZScore{}(0.75, {0.5, 0.125}) == 2.0);
  CHECK(standardize::ZScore{}(0.5, {0.5, 0.125}) == 0.0);
  CHECK(standardize::ZScore{}(1.0, {0.0, 2e-14}) == 5e13);
  CHECK(standardize::MeanRatio{}(0.5, {0.5, 0.125}) == 1.0);
  CHECK(standardize::MeanRatio{}(1.5, {0.5, 0.125}) == 3.0);
  CHECK(standardize::MeanRatio{}(1.5, {0.0, 0.125}) == 0.0);
  CHECK(standardize::Identity{}(1.5, {0.5, 0.0}) == 1.5);
  CHECK(standardize::Robust{}(0.75, {9.0, 9.0, 0.5, 0.125}) ==
        Approx(2.0 / standardize::Robust::normal_consistency).epsilon(1e-15));
  const Error error = error_of([] { (void)standardize::Robust{}(1.0, {0.5, 0.125}); });
  CHECK(error.code() == ErrorCode::baseline);
  CHECK(error.came() == "mean and deviation only");
}
