// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "culprit/concepts.hpp"
#include "culprit/core/profile.hpp"

namespace culprit::select {

/// The `count` least salient units, the least salient first: the end of Top's order, backwards. All
/// candidates where there are fewer.
struct Bottom {
  static constexpr std::string_view name = "bottom";
  Index count = 10;  ///< how many

  /// @throws Error (argument) for a count below 0, Error (numeric) for a NaN among the candidates.
  [[nodiscard]] std::vector<Index> operator()(const Profile& profile,
                                              std::span<const Index> candidates) const {
    return profile.ranked(candidates, count, Order::smallest_first);
  }
  [[nodiscard]] std::string description() const { return "bottom " + std::to_string(count); }
};

static_assert(Selection<Bottom>);

}  // namespace culprit::select
