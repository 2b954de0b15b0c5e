// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "culprit/concepts.hpp"
#include "culprit/core/profile.hpp"

namespace culprit::select {

/// `count` candidates drawn without replacement, ascending, whatever their values: the paper's control. The
/// same ones for the same seed and number of candidates, on every machine. All where there are fewer.
struct Random {
  static constexpr std::string_view name = "random";
  Index count = 10;        ///< how many
  std::uint64_t seed = 0;  ///< of the draw

  /// @throws Error (argument) for a count below 0.
  [[nodiscard]] std::vector<Index> operator()(const Profile& /*profile*/,
                                              std::span<const Index> candidates) const {
    return drawn(candidates, count, seed);
  }
  [[nodiscard]] std::string description() const {
    return "random " + std::to_string(count) + " by seed " + std::to_string(seed);
  }
};

static_assert(Selection<Random>);

}  // namespace culprit::select
