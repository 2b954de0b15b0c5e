// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "culprit/core/units.hpp"

namespace culprit {

/// Indices of the k largest values, largest first, ties by index ascending (the paper's order of blame).
/// @param k      clipped to the number of values
/// @param first  index of values[0]
/// @throws Error (argument) for a negative k, Error (numeric) for a NaN.
[[nodiscard]] inline std::vector<Index> largest(std::span<const double> values, Index k, Index first = 0) {
  if (k < 0) throw Error(ErrorCode::argument, "k", "a number of units >= 0", std::to_string(k));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) {
      throw Error(ErrorCode::numeric, "unit " + std::to_string(first + static_cast<Index>(i)),
                  "a number to rank", "NaN");
    }
  }
  std::vector<Index> order(values.size());
  std::iota(order.begin(), order.end(), Index{0});
  const auto count = std::min(k, static_cast<Index>(values.size()));
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](Index a, Index b) {
    const double left = values[static_cast<std::size_t>(a)];
    const double right = values[static_cast<std::size_t>(b)];
    return left != right ? left > right : a < b;
  });
  order.resize(static_cast<std::size_t>(count));
  for (Index& index : order) index += first;
  return order;
}

}  // namespace culprit
