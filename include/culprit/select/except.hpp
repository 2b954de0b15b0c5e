// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "culprit/concepts.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/select/given.hpp"

namespace culprit::select {

/// All candidates but those of a list, ascending: `Except{baseline.dead()}` leaves dead units out.
struct Except {
  static constexpr std::string_view name = "except";
  std::vector<Index> units{};  ///< those that are left out

  [[nodiscard]] std::vector<Index> operator()(const Profile& profile,
                                              std::span<const Index> candidates) const {
    const std::vector<Index> out = Given{units}(profile, candidates);
    std::vector<Index> left;
    std::ranges::set_difference(candidates, out, std::back_inserter(left));
    return left;
  }
  [[nodiscard]] std::string description() const { return "except " + detail::in_words(units); }
};

static_assert(Selection<Except>);

}  // namespace culprit::select
