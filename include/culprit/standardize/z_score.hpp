// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "culprit/concepts.hpp"

namespace culprit::standardize {

/// z = (s - mu) / sigma, Eq. 2 of the paper; 0 for a dead unit (sigma <= dead_stddev).
struct ZScore {
  static constexpr std::string_view name = "z_score";

  [[nodiscard]] constexpr double operator()(double s, const UnitStatistics& unit) const {
    return unit.stddev <= dead_stddev ? 0.0 : (s - unit.mean) / unit.stddev;
  }
  /// 1 / sigma; 0 for a dead unit.
  [[nodiscard]] constexpr double derivative(double /*s*/, const UnitStatistics& unit) const {
    return unit.stddev <= dead_stddev ? 0.0 : 1.0 / unit.stddev;
  }
};

static_assert(DifferentiableStandardization<ZScore>);

}  // namespace culprit::standardize
