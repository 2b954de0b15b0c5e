// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "culprit/concepts.hpp"
#include "culprit/core/profile.hpp"

namespace culprit::select {

/// The units of a list, each once, ascending: those among the candidates.
struct Given {
  static constexpr std::string_view name = "given";
  std::vector<Index> units{};  ///< those that are taken, in any order

  /// @throws Error (argument) for a number that is no unit of the profile.
  [[nodiscard]] std::vector<Index> operator()(const Profile& profile,
                                              std::span<const Index> candidates) const {
    for (const Index unit : units) (void)profile.units().unit(unit);
    std::vector<Index> sorted = units;
    std::ranges::sort(sorted);
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    std::vector<Index> taken;
    std::ranges::set_intersection(sorted, candidates, std::back_inserter(taken));
    return taken;
  }
};

static_assert(Selection<Given>);

}  // namespace culprit::select
