// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string_view>

#include "culprit/concepts.hpp"

namespace culprit::standardize {

/// (s - median) / (1.4826 * MAD): like ZScore, but a few extreme samples of the hold-out set do not move it.
/// The factor makes the median absolute deviation estimate sigma of normal data (Rousseeuw and Croux 1993).
/// 0 for a unit whose MAD is at most dead_stddev: half of the samples or more give it the same number.
///
/// Needs a baseline with quantiles, which Profiler::fit collects for it.
struct Robust {
  static constexpr std::string_view name = "robust";
  static constexpr bool needs_quantiles = true;
  static constexpr double normal_consistency = 1.4826022185056018;  ///< 1 / (3/4 quantile of the normal)

  /// @throws Error (baseline) when the baseline was fitted without quantiles.
  [[nodiscard]] double operator()(double s, const UnitStatistics& unit) const {
    return (s - unit.median) * derivative(s, unit);
  }

  /// 1 / (1.4826 * MAD); 0 where MAD is at most dead_stddev.
  [[nodiscard]] double derivative(double /*s*/, const UnitStatistics& unit) const {
    if (std::isnan(unit.mad)) {
      throw Error(ErrorCode::baseline, "baseline", "one with quantiles (fitted for standardize::Robust)",
                  "mean and deviation only");
    }
    return unit.mad <= dead_stddev ? 0.0 : 1.0 / (normal_consistency * unit.mad);
  }
};

static_assert(DifferentiableStandardization<Robust>);

}  // namespace culprit::standardize
