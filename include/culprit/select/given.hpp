// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "culprit/concepts.hpp"
#include "culprit/core/fingerprint.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/io/hexadecimal.hpp"

namespace culprit::select {

namespace detail {

/// The units of a list, each once, ascending.
[[nodiscard]] inline std::vector<Index> each_once(std::vector<Index> units) {
  std::ranges::sort(units);
  units.erase(std::unique(units.begin(), units.end()), units.end());
  return units;
}

/// Text that differs for other units: all of up to eight, else the first eight and a hash of all.
[[nodiscard]] inline std::string in_words(const std::vector<Index>& list) {
  constexpr std::size_t most = 8;
  const std::vector<Index> units = each_once(list);
  std::string text = units.size() == 1 ? "unit" : "units";
  for (std::size_t i = 0; i < std::min(units.size(), most); ++i)
    text.append(i == 0 ? " " : ", ").append(std::to_string(units[i]));
  if (units.size() > most) {
    text += " and " + std::to_string(units.size() - most) + " more (" +
            io::to_hex(hash_bytes(std::as_bytes(std::span(units)))) + ")";
  }
  return units.empty() ? "no units" : text;
}

}  // namespace detail

/// The units of a list, each once, ascending: those among the candidates.
struct Given {
  static constexpr std::string_view name = "given";
  std::vector<Index> units{};  ///< those that are taken, in any order

  /// @throws Error (argument) for a number that is no unit of the profile.
  [[nodiscard]] std::vector<Index> operator()(const Profile& profile,
                                              std::span<const Index> candidates) const {
    for (const Index unit : units) (void)profile.units().unit(unit);
    std::vector<Index> taken;
    std::ranges::set_intersection(detail::each_once(units), candidates, std::back_inserter(taken));
    return taken;
  }
  [[nodiscard]] std::string description() const { return "given " + detail::in_words(units); }
};

static_assert(Selection<Given>);

}  // namespace culprit::select
