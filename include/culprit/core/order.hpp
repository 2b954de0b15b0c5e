// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "culprit/core/units.hpp"

namespace culprit {

/// The paper's order of blame, largest value first and ties by index ascending, or the same backwards.
enum class Order { largest_first, smallest_first };

/// @throws Error (argument) for a negative number of units.
inline void check_count(Index count) {
  if (count < 0) throw Error(ErrorCode::argument, "count", "a number of units >= 0", std::to_string(count));
}

/// The first `count` of the candidates in that order of their values; all where there are fewer.
/// @param values      of all units, indexed by the candidates
/// @throws Error (argument) for a negative count, Error (numeric) for a NaN among the candidates' values.
[[nodiscard]] inline std::vector<Index> first_ranked(std::span<const double> values,
                                                     std::span<const Index> candidates, Index count,
                                                     Order order) {
  check_count(count);
  const auto value_of = [&](Index unit) { return values[static_cast<std::size_t>(unit)]; };
  for (const Index unit : candidates) {
    if (std::isnan(value_of(unit)))
      throw Error(ErrorCode::numeric, "unit " + std::to_string(unit), "a number to rank", "NaN");
  }
  const auto before = [&](Index a, Index b) {
    return value_of(a) != value_of(b) ? value_of(a) > value_of(b) : a < b;
  };
  std::vector<Index> ranked(candidates.begin(), candidates.end());
  const auto end = ranked.begin() + std::min(count, static_cast<Index>(ranked.size()));
  if (order == Order::largest_first) {
    std::partial_sort(ranked.begin(), end, ranked.end(), before);
  } else {
    std::partial_sort(ranked.begin(), end, ranked.end(), [&](Index a, Index b) { return before(b, a); });
  }
  ranked.erase(end, ranked.end());
  return ranked;
}

/// 0 to count - 1.
[[nodiscard]] inline std::vector<Index> first_indices(Index count) {
  std::vector<Index> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), Index{0});
  return indices;
}

/// `count` of the candidates drawn without replacement, in their order; all where there are fewer. The same
/// ones for the same seed and number of candidates, on every machine.
/// @throws Error (argument) for a count below 0.
[[nodiscard]] inline std::vector<Index> drawn(std::span<const Index> candidates, Index count,
                                              std::uint64_t seed) {
  check_count(count);
  std::vector<Index> taken;
  std::mt19937_64 random(seed);
  const auto wanted = static_cast<std::uint64_t>(count);
  std::uint64_t left = candidates.size();
  // Knuth's algorithm S: each candidate with the probability that fills what is missing from what is left.
  for (const Index candidate : candidates) {
    if (taken.size() == wanted) break;
    if (random() % left < wanted - taken.size()) taken.push_back(candidate);
    --left;
  }
  return taken;
}

/// Indices of the k largest values, largest first, ties by index ascending.
/// @throws Error (argument) for a negative k, Error (numeric) for a NaN.
[[nodiscard]] inline std::vector<Index> largest(std::span<const double> values, Index k) {
  return first_ranked(values, first_indices(static_cast<Index>(values.size())), k, Order::largest_first);
}

}  // namespace culprit
