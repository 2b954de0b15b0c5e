// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "culprit/concepts.hpp"
#include "culprit/core/profile.hpp"

namespace culprit::select {

/// The `count` most salient units, the most salient first: by value descending, ties by number ascending. All
/// candidates where there are fewer. The paper's F.
struct Top {
  static constexpr std::string_view name = "top";
  Index count = 10;  ///< how many

  /// @throws Error (argument) for a count below 0, Error (numeric) for a NaN among the candidates.
  [[nodiscard]] std::vector<Index> operator()(const Profile& profile,
                                              std::span<const Index> candidates) const {
    return profile.ranked(candidates, count, Order::largest_first);
  }
  [[nodiscard]] std::string description() const { return "top " + std::to_string(count); }
};

static_assert(Selection<Top>);

}  // namespace culprit::select
