// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <unsupported/Eigen/SpecialFunctions>

#include "culprit/core/units.hpp"

namespace culprit {

/// A mean and the ends of its confidence interval.
struct Interval {
  double mean;  ///< of the values
  double low;   ///< lower end
  double high;  ///< upper end
};

/// How bootstrap_mean draws.
struct Bootstrap {
  Index resamples = 2000;  ///< how many
  double level = 0.95;     ///< share of the resamples' means within the interval
  std::uint64_t seed = 0;  ///< of the draws: the same ones on every machine
};

namespace detail {

/// @throws Error (numeric) for NaN or infinity, naming its position
inline void check_finite(std::span<const double> values, const std::string& name) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw Error(ErrorCode::numeric, name + ' ' + std::to_string(i), "a finite value",
                std::isnan(values[i]) ? "NaN" : "infinity");
  }
}

inline double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

}  // namespace detail

/// The mean with a percentile bootstrap interval (Efron, Tibshirani: "An Introduction to the Bootstrap",
/// 1993, chapter 13): of the means of `resamples` samples drawn with replacement, the quantiles
/// (1 - level) / 2 and (1 + level) / 2, interpolated linearly between neighbours. The same for the same
/// values and options on every machine.
/// @throws Error (argument) for no values, fewer than one resample or a level that is not between 0 and 1,
/// Error (numeric) for NaN or infinity.
[[nodiscard]] inline Interval bootstrap_mean(std::span<const double> values, const Bootstrap& options) {
  if (values.empty()) throw Error(ErrorCode::argument, "bootstrap", "at least one value", "none");
  if (options.resamples < 1) {
    throw Error(ErrorCode::argument, "bootstrap", "one resample or more", std::to_string(options.resamples));
  }
  if (!(options.level > 0 && options.level < 1)) {
    throw Error(ErrorCode::argument, "bootstrap", "a level between 0 and 1", std::to_string(options.level));
  }
  detail::check_finite(values, "value");

  // The standard leaves the arithmetic of its distributions open. 53 random bits are a share of 1 as fine as
  // a double can hold, and times the number of values it stays below that number after rounding.
  std::mt19937_64 random(options.seed);
  const auto count = static_cast<double>(values.size());
  std::vector<double> means(static_cast<std::size_t>(options.resamples));
  for (double& mean : means) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double share = static_cast<double>(random() >> 11) * 0x1p-53;
      sum += values[static_cast<std::size_t>(share * count)];
    }
    mean = sum / count;
  }
  std::ranges::sort(means);
  const auto quantile = [&means](double share) {
    const double place = share * static_cast<double>(means.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, means.size() - 1);
    return means[below] + (place - static_cast<double>(below)) * (means[above] - means[below]);
  };
  return {detail::mean_of(values), quantile((1 - options.level) / 2), quantile((1 + options.level) / 2)};
}

/// What paired_t_test found.
struct TTest {
  double mean;     ///< of the differences
  double t;        ///< the mean over its standard error
  double degrees;  ///< of freedom
  double p;        ///< two-sided: how often chance alone gives a t at least as far from 0
};

/// Student's t-test of the differences a_i - b_i against 0: t = mean / (s / sqrt(n)) with s their standard
/// deviation (n - 1), and p = I_x(degrees / 2, 1 / 2) at x = degrees / (degrees + t^2), I being the
/// regularised incomplete beta function (Abramowitz, Stegun: 26.5.27 and 26.7.1). Where all differences are
/// 0, t is 0 and p 1; where they are all the same otherwise, t is infinite and p 0.
/// @throws Error (shape) for different lengths, Error (argument) for fewer than two pairs, Error (numeric)
/// for a difference that is NaN or infinite.
[[nodiscard]] inline TTest paired_t_test(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size()) {
    throw Error(ErrorCode::shape, "paired t-test", std::to_string(a.size()) + " values, as many as first",
                std::to_string(b.size()));
  }
  if (a.size() < 2) {
    throw Error(ErrorCode::argument, "paired t-test", "two pairs or more", std::to_string(a.size()));
  }
  std::vector<double> differences(a.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    differences[i] = a[i] - b[i];
    largest = std::max(largest, std::abs(differences[i]));
  }
  detail::check_finite(differences, "difference");

  const auto count = static_cast<double>(a.size());
  const double degrees = count - 1;
  if (largest == 0) return {0, 0, degrees, 1};
  const auto [low, high] = std::minmax_element(differences.begin(), differences.end());
  if (*low == *high) return {*low, std::copysign(std::numeric_limits<double>::infinity(), *low), degrees, 0};

  // t does not depend on the scale, and near 1 the squares neither overflow nor vanish.
  int exponent = 0;
  (void)std::frexp(largest, &exponent);
  for (double& difference : differences) difference = std::ldexp(difference, -exponent);
  const double mean = detail::mean_of(differences);
  double squares = 0;
  for (const double difference : differences) squares += (difference - mean) * (difference - mean);
  const double t = mean / std::sqrt(squares / degrees / count);
  const double p = Eigen::numext::betainc(degrees / 2, 0.5, degrees / (degrees + t * t));
  return {std::ldexp(mean, exponent), t, degrees, p};
}

}  // namespace culprit
