// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "culprit/concepts.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/select/top.hpp"

namespace culprit::select {

/// One selection among what another one takes: `Within{Top{.count = 10}, LayerRange{.pattern = "layer3.*"}}`
/// is the ten most salient units of those layers.
template <Selection Inner, Selection Outer>
struct Within {
  static constexpr std::string_view name = "within";

  /// `inner_selection` among what `outer_selection` takes.
  explicit Within(Inner inner_selection = {}, Outer outer_selection = {})
      : inner(std::move(inner_selection)), outer(std::move(outer_selection)) {}

  Inner inner;  ///< takes from those
  Outer outer;  ///< says which may be taken

  [[nodiscard]] std::vector<Index> operator()(const Profile& profile,
                                              std::span<const Index> candidates) const {
    std::vector<Index> among = outer(profile, candidates);
    std::ranges::sort(among);
    return inner(profile, among);
  }
  [[nodiscard]] std::string description() const { return describe(inner) + " within " + describe(outer); }
};

static_assert(Selection<Within<Top, Top>>);

}  // namespace culprit::select
