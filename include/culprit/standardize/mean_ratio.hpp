// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "culprit/concepts.hpp"

namespace culprit::standardize {

/// s / mu: how many times its usual saliency a unit has; 0 for a unit whose mean is 0, or that is dead.
struct MeanRatio {
  static constexpr std::string_view name = "mean_ratio";

  [[nodiscard]] constexpr double operator()(double s, const UnitStatistics& unit) const {
    return unit.stddev <= dead_stddev || unit.mean == 0.0 ? 0.0 : s / unit.mean;
  }
  /// 1 / mu; 0 where the ratio is 0 by definition.
  [[nodiscard]] constexpr double derivative(double /*s*/, const UnitStatistics& unit) const {
    return unit.stddev <= dead_stddev || unit.mean == 0.0 ? 0.0 : 1.0 / unit.mean;
  }
};

static_assert(DifferentiableStandardization<MeanRatio>);

}  // namespace culprit::standardize
