// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fnmatch.h>

#include "culprit/concepts.hpp"
#include "culprit/core/profile.hpp"

namespace culprit::select {

/// The units of some layers, ascending: those for which every member that is set holds.
///   LayerRange{.pattern = "layer3.*"}       by name
///   LayerRange{.first = 4, .end = 8}        by number among the layers with units: 4 to 7
///   LayerRange{.up_to = "features.19"}      that layer and all before it (the paper's shallow layers: up to
///   LayerRange{.after = "features.19"}      VGG-19's relu4_1), and all behind it (its deep ones)
/// A layer goes by the name of its parameter, with or without ".weight".
///
/// Also what limits a Profiler (Profiler::within): there, nothing outside is computed.
struct LayerRange {
  static constexpr std::string_view name = "layer_range";
  Index first = 0;                                ///< number of the first layer
  Index end = std::numeric_limits<Index>::max();  ///< one past that of the last
  std::string pattern{};  ///< shell wildcards: * any text, ? any character, [...] one of a set
  std::string up_to{};    ///< the last layer's name; empty: no end
  std::string after{};    ///< the name of the layer before the first; empty: from the first

  /// The numbers of the layers in the range, ascending; never none.
  /// @throws Error (argument) for a name that no layer has, and for a range without layers.
  [[nodiscard]] std::vector<std::size_t> layers(const Units& units) const {
    const std::vector<Layer>& all = units.layers();
    const auto count = static_cast<Index>(all.size());
    const Index begin = std::max(first, after.empty() ? 0 : number_of(after, units) + 1);
    const Index stop = std::min({end, count, up_to.empty() ? count : number_of(up_to, units) + 1});
    std::vector<std::size_t> numbers;
    for (Index i = std::max<Index>(begin, 0); i < stop; ++i) {
      const auto number = static_cast<std::size_t>(i);
      if (pattern.empty() || matches(all[number].name)) numbers.push_back(number);
    }
    if (numbers.empty()) {
      throw Error(ErrorCode::argument, "layer range", "at least one layer of the model",
                  description() + ", which none of its " + std::to_string(count) + " layers is in");
    }
    return numbers;
  }

  [[nodiscard]] std::vector<Index> operator()(const Profile& profile,
                                              std::span<const Index> candidates) const {
    std::vector<Index> taken;
    for (const std::size_t number : layers(profile.units())) {
      const Layer& layer = profile.units().layers()[number];
      const auto from = std::ranges::lower_bound(candidates, layer.first);
      taken.insert(taken.end(), from, std::ranges::lower_bound(candidates, layer.end()));
    }
    return taken;
  }

  /// The members that are set, in words; "all layers" when none is.
  [[nodiscard]] std::string description() const {
    std::string text;
    const auto say = [&](const std::string& words) { text += (text.empty() ? "" : ", ") + words; };
    if (first != 0) say("from layer " + std::to_string(first));
    if (end != std::numeric_limits<Index>::max()) say("before layer " + std::to_string(end));
    if (!pattern.empty()) say("named like " + pattern);
    if (!up_to.empty()) say("up to " + up_to);
    if (!after.empty()) say("after " + after);
    return text.empty() ? "all layers" : text;
  }

 private:
  [[nodiscard]] bool matches(const std::string& layer) const {
    return ::fnmatch(pattern.c_str(), layer.c_str(), 0) == 0 ||
           ::fnmatch((pattern + ".weight").c_str(), layer.c_str(), 0) == 0;
  }

  static Index number_of(const std::string& wanted, const Units& units) {
    const Layer* const found = units.find(wanted);
    if (found == nullptr)
      throw Error(ErrorCode::argument, "layer range", "the name of a layer with units", wanted);
    return found - units.layers().data();
  }
};

static_assert(Selection<LayerRange>);

}  // namespace culprit::select
