// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>
#include <vector>

#include <Eigen/Core>

#include "culprit/concepts.hpp"
#include "culprit/distance/cosine.hpp"

namespace culprit::distance {

/// 1 - Spearman's rank correlation, from 0 for the same order to 2 for the reverse one, whatever the values;
/// tied values share the mean of their ranks. A constant vector is at distance 1 from any that is not, and 0
/// from any that is. A function of ranks has no gradient.
struct Spearman {
  static constexpr std::string_view name = "spearman";

  /// @throws Error (numeric) for a NaN, which has no rank.
  [[nodiscard]] double operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const {
    return Cosine{}(centred_ranks(a), centred_ranks(b));
  }

 private:
  /// Ranks from 0 less their mean: multiples of 1/2, exact.
  static Eigen::VectorXd centred_ranks(const Eigen::VectorXd& values) {
    for (Index unit = 0; unit < values.size(); ++unit) {
      if (std::isnan(values[unit])) throw Error(ErrorCode::numeric, "profile", "numbers to rank", "NaN");
    }
    const auto value_of = [&](Index unit) { return values[unit]; };
    std::vector<Index> order(static_cast<std::size_t>(values.size()));
    std::iota(order.begin(), order.end(), Index{0});
    std::ranges::sort(order, {}, value_of);
    Eigen::VectorXd ranks(values.size());
    const double mean = 0.5 * static_cast<double>(values.size() - 1);
    for (auto first = order.begin(); first != order.end();) {
      const auto end =
          std::find_if(first, order.end(), [&](Index unit) { return values[unit] != values[*first]; });
      const double rank = 0.5 * static_cast<double>((first - order.begin()) + (end - order.begin()) - 1);
      for (; first != end; ++first) ranks[*first] = rank - mean;
    }
    return ranks;
  }
};

static_assert(Distance<Spearman>);

}  // namespace culprit::distance
