// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "figures/markup.hpp"

namespace culprit::figures {

/// Positions to draw instead of all of them: at most max(budget, 4), ascending, with the first, the last, and
/// the smallest and largest value of each of equally long stretches between, so that no extreme is lost.
inline std::vector<std::size_t> decimated(std::span<const double> values, std::size_t budget) {
  const std::size_t count = values.size();
  budget = std::max<std::size_t>(budget, 4);
  std::vector<std::size_t> kept;
  if (count <= budget) {
    kept.resize(count);
    std::iota(kept.begin(), kept.end(), std::size_t{0});
    return kept;
  }
  const std::size_t stretches = (budget - 2) / 2;
  kept.push_back(0);
  for (std::size_t i = 0; i < stretches; ++i) {
    const std::size_t from = 1 + i * (count - 2) / stretches;
    const std::size_t to = 1 + (i + 1) * (count - 2) / stretches;
    const auto [low, high] = std::minmax_element(values.begin() + static_cast<std::ptrdiff_t>(from),
                                                 values.begin() + static_cast<std::ptrdiff_t>(to));
    const auto a = static_cast<std::size_t>(low - values.begin());
    const auto b = static_cast<std::size_t>(high - values.begin());
    kept.push_back(std::min(a, b));
    if (a != b) kept.push_back(std::max(a, b));
  }
  kept.push_back(count - 1);
  return kept;
}

/// A point in pixels.
struct Point {
  double x, y;
};

/// Path data for straight lines through the points, to a tenth of a pixel.
inline std::string polyline(std::span<const Point> points) {
  std::string data;
  for (const Point& point : points) {
    data += (data.empty() ? 'M' : 'L') + fixed(point.x, 1) + ' ' + fixed(point.y, 1);
  }
  return data;
}

}  // namespace culprit::figures
