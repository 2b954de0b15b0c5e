// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include <culprit/core/statistics.hpp>

#include "io/error_of.hpp"
#include "support/not_finite.hpp"

using namespace culprit;
using culprit::test::error_of;
using culprit::test::infinity;
using culprit::test::not_a_number;
using culprit::test::seed;

namespace {

/// As many differences as asked for, with that mean and a standard error of 1: their t is the mean.
std::vector<double> with_t(double t, std::size_t count) {
  const bool odd = count % 2 != 0;
  const double deviation = std::sqrt(static_cast<double>(odd ? count : count - 1));
  std::vector<double> values;
  for (std::size_t i = 0; i < count / 2; ++i) {
    values.push_back(t + deviation);
    values.push_back(t - deviation);
  }
  if (odd) values.push_back(t);
  return values;
}

TTest against_zeros(const std::vector<double>& values) {
  return paired_t_test(values, std::vector<double>(values.size(), 0.0));
}

}  // namespace

TEST_CASE("The bootstrap of a mean finds the interval of normal theory", "[core]") {
  std::mt19937 random(seed());
  std::normal_distribution<double> normal(3, 2);
  std::vector<double> values(1000);
  double sum = 0;
  for (double& value : values) sum += value = normal(random);
  const double mean = sum / 1000;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double standard_error = std::sqrt(squares) / 1000;

  for (const auto& [level, z, density] :
       {std::array{0.95, 1.959964, 0.058445}, std::array{0.5, 0.674490, 0.317777}}) {
    CAPTURE(level);
    constexpr double resamples = 20000;
    const Interval interval = bootstrap_mean(values, {.resamples = 20000, .level = level, .seed = seed()});
    CHECK(interval.mean == Approx(mean).epsilon(1e-12));
    // A quantile q of that many draws scatters by sqrt(q (1 - q) / draws) / density: 0.019 standard errors at
    // level 0.95. Five times that is allowed.
    const double q = (1 - level) / 2;
    const double tolerance = 5 * std::sqrt(q * (1 - q) / resamples) / density;
    CHECK((interval.low - mean) / standard_error == Approx(-z).margin(tolerance));
    CHECK((interval.high - mean) / standard_error == Approx(z).margin(tolerance));
  }
}

TEST_CASE("The bootstrap's interval holds the true mean as often as it says", "[core]") {
  std::mt19937_64 random(seed());
  constexpr int trials = 1000;
  int held = 0;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> values(100);
    for (double& value : values) value = random() % 10 < 3 ? 1.0 : 0.0;
    const Interval interval =
        bootstrap_mean(values, {.resamples = 400, .seed = static_cast<std::uint64_t>(trial)});
    if (interval.low <= 0.3 && 0.3 <= interval.high) ++held;
  }
  // Shares of 100 come in steps of 0.22 standard errors, which alone may take 0.03 from the level; and 1000
  // trials scatter by sqrt(0.95 * 0.05 / 1000) = 0.007, of which four times is allowed.
  CHECK(held / 1000.0 == Approx(0.95).margin(0.03 + 4 * 0.007));
}

TEST_CASE("The bootstrap is the same on every machine", "[core]") {
  const std::array<double, 10> values{1, 0, 0, 1, -1, 0, 0, 0, 1, 0};
  const Interval interval = bootstrap_mean(values, {.resamples = 999, .seed = 7});
  CHECK(interval.mean == 0.2);
  CHECK(interval.low == -0.2);
  CHECK(interval.high == 0.5);
  const std::array<double, 6> others{0.5, 2.25, -1, 8, 3.75, 0.125};
  const Interval other = bootstrap_mean(others, {.resamples = 1, .seed = 7});
  CHECK(other.low == other.high);
  CHECK(other.low == 5.5 / 6);
  CHECK(bootstrap_mean(others, {.seed = 1}).low != bootstrap_mean(others, {.seed = 2}).low);
}

TEST_CASE("The bootstrap interpolates between the means of its resamples", "[core]") {
  const std::array<double, 6> values{0.5, 2.25, -1, 8, 3.75, 0.125};
  const auto width = [&](double level) {
    const Interval interval = bootstrap_mean(values, {.resamples = 2, .level = level, .seed = 7});
    return interval.high - interval.low;
  };
  CHECK(width(0.8) > 0);
  CHECK(width(0.8) == Approx(4 * width(0.2)));
}

TEST_CASE("The bootstrap of equal values has an interval without width", "[core]") {
  for (const double value : {0.0, 0.1, -3e300}) {
    const std::vector<double> values(7, value);
    const Interval interval = bootstrap_mean(values, {});
    CHECK(interval.mean == interval.low);
    CHECK(interval.mean == interval.high);
    CHECK(interval.mean == Approx(value));
  }
  CHECK(bootstrap_mean(std::array{4.5}, {}).high == 4.5);
}

TEST_CASE("The bootstrap refuses what has no mean or interval", "[core]") {
  const std::array<double, 3> values{1, 2, 3};
  const auto code = [](std::span<const double> of, const Bootstrap& options) {
    return error_of([&] { (void)bootstrap_mean(of, options); }).code();
  };
  CHECK(code({}, {}) == ErrorCode::argument);
  CHECK(code(values, {.resamples = 0}) == ErrorCode::argument);
  for (const double level : {0.0, 1.0, -0.5, 95.0, not_a_number}) {
    CHECK(code(values, {.level = level}) == ErrorCode::argument);
  }
  for (const double bad : {not_a_number, infinity, -infinity}) {
    const std::array<double, 3> broken{1, 2, bad};
    const Error error = error_of([&] { (void)bootstrap_mean(broken, {}); });
    CHECK(error.code() == ErrorCode::numeric);
    CHECK(error.place() == "value 2");
  }
}

TEST_CASE("The paired t-test agrees with Student's example", "[core]") {
  // Hours of sleep gained with two drugs (Cushny, Peebles 1905), the example of Student (1908); p by R 4.
  const std::array<double, 10> first{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0};
  const std::array<double, 10> second{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};
  const TTest test = paired_t_test(first, second);
  CHECK(test.mean == Approx(-1.58));
  CHECK(test.t == Approx(-4.0621).epsilon(1e-5));
  CHECK(test.degrees == 9);
  CHECK(test.p == Approx(0.002833).epsilon(2e-4));
  CHECK(paired_t_test(second, first).t == -test.t);
  CHECK(paired_t_test(second, first).p == test.p);
}

TEST_CASE("The t-test's p agrees with the tables", "[core]") {
  struct Row {
    std::size_t degrees;
    double t, p;
  };
  for (const auto& [degrees, t, p] :
       {Row{1, 12.7062, 0.05}, Row{1, 1.0, 0.5}, Row{2, 9.92484, 0.01}, Row{4, 2.77645, 0.05},
        Row{10, 2.22814, 0.05}, Row{10, 3.16927, 0.01}, Row{30, 2.04227, 0.05}, Row{120, 2.61742, 0.01},
        Row{1899, 1.95996, 0.050146}}) {
    CAPTURE(degrees, t);
    for (const double sign : {1.0, -1.0}) {
      const TTest test = against_zeros(with_t(sign * t, degrees + 1));
      CHECK(test.t == Approx(sign * t).epsilon(1e-12));
      CHECK(test.degrees == static_cast<double>(degrees));
      CHECK(test.p == Approx(p).epsilon(5e-4));
    }
  }
  // With one degree of freedom (Cauchy) p = 1 - 2/pi atan t, with two p = 1 - t / sqrt(2 + t^2).
  for (const double t : {0.001, 0.5, 3.0, 1e3, 1e6}) {
    CHECK(against_zeros(with_t(t, 2)).p == Approx(2 / std::acos(-1.0) * std::atan(1 / t)).epsilon(1e-8));
    CHECK(against_zeros(with_t(t, 3)).p ==
          Approx(2 / std::sqrt(2 + t * t) / (std::sqrt(2 + t * t) + t)).epsilon(1e-8));
  }
}

TEST_CASE("The t-test does not depend on the scale of its values", "[core]") {
  const std::vector<double> values{1, 2, 4, -1};
  const TTest expected = against_zeros(values);
  for (const double scale : {0x1p-1000, 0x1p-300, 0x1p+1000}) {
    std::vector<double> scaled;
    for (const double value : values) scaled.push_back(scale * value);
    const TTest test = against_zeros(scaled);
    CHECK(test.mean == scale * expected.mean);
    CHECK(test.t == expected.t);
    CHECK(test.p == expected.p);
  }
}

TEST_CASE("The t-test says something of differences that do not scatter", "[core]") {
  const std::array<double, 3> values{0.25, 7, -2};
  const TTest same = paired_t_test(values, values);
  CHECK(same.mean == 0);
  CHECK(same.t == 0);
  CHECK(same.degrees == 2);
  CHECK(same.p == 1);
  const TTest shifted = against_zeros({-0.5, -0.5, -0.5});
  CHECK(shifted.mean == -0.5);
  CHECK(shifted.t == -infinity);
  CHECK(shifted.p == 0);
  const TTest balanced = against_zeros({1, -1});
  CHECK(balanced.t == 0);
  CHECK(balanced.p == 1);
}

TEST_CASE("The t-test refuses what are no pairs", "[core]") {
  const std::array<double, 3> three{1, 2, 3};
  const std::array<double, 2> two{1, 2};
  const auto code = [](std::span<const double> a, std::span<const double> b) {
    return error_of([&] { (void)paired_t_test(a, b); }).code();
  };
  CHECK(code(three, two) == ErrorCode::shape);
  CHECK(code({}, {}) == ErrorCode::argument);
  CHECK(code({three.data(), 1}, {two.data(), 1}) == ErrorCode::argument);
  for (const double bad : {not_a_number, infinity, -infinity}) {
    const std::array<double, 2> broken{1, bad};
    const Error error = error_of([&] { (void)paired_t_test(two, broken); });
    CHECK(error.code() == ErrorCode::numeric);
    CHECK(error.place() == "difference 1");
  }
  CHECK(code(std::array{1e308, 0.0}, std::array{-1e308, 0.0}) == ErrorCode::numeric);
}
