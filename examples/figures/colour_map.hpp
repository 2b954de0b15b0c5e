// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"
#include "figures/axis.hpp"

namespace culprit::figures {

/// How values become colours: viridis gets lighter all the way and is safe for the colour-blind; jet is the
/// rainbow from dark blue to dark red that saliency papers are used to.
enum class ColourMap { viridis, jet };

/// Red, green and blue, in sRGB.
using Rgb = std::array<std::uint8_t, 3>;

inline std::string_view name_of(ColourMap map) { return map == ColourMap::jet ? "jet" : "viridis"; }

/// The map of that name. @throws Error (argument) for another name
inline ColourMap colour_map(std::string_view name) {
  for (const ColourMap map : {ColourMap::viridis, ColourMap::jet}) {
    if (name == name_of(map)) return map;
  }
  throw Error(ErrorCode::argument, "colour map", "viridis or jet", io::in_quotes(name));
}

namespace detail {

/// Viridis at 0, 1/32, ... 1, from the table of 256 colours that Stefan van der Walt and Nathaniel Smith made
/// for matplotlib and gave to the public domain (CC0). Between these knots, straight lines stay within 2 of
/// 255 of the table.
inline constexpr std::array<Rgb, 33> viridis_knots{
    {{68, 1, 84},    {71, 13, 96},   {72, 24, 106},  {72, 35, 116},  {71, 45, 123},  {69, 54, 129},
     {66, 64, 134},  {63, 73, 137},  {59, 82, 139},  {55, 90, 141},  {51, 99, 141},  {47, 106, 142},
     {44, 114, 142}, {41, 122, 142}, {38, 129, 142}, {35, 137, 142}, {33, 144, 140}, {31, 152, 139},
     {31, 159, 136}, {33, 166, 133}, {40, 174, 128}, {49, 181, 123}, {62, 188, 116}, {76, 194, 108},
     {93, 201, 99},  {110, 206, 88}, {130, 211, 76}, {150, 216, 63}, {171, 220, 50}, {192, 223, 36},
     {213, 226, 26}, {234, 229, 26}, {253, 231, 37}}};

/// A channel of 0 to 255, halves up.
inline std::uint8_t rounded(double channel) { return static_cast<std::uint8_t>(std::lround(channel)); }

inline Rgb viridis(double value) {
  const double place = value * (viridis_knots.size() - 1);
  const std::size_t knot = std::min(static_cast<std::size_t>(place), viridis_knots.size() - 2);
  const double share = place - static_cast<double>(knot);
  Rgb colour{};
  for (std::size_t i = 0; i < colour.size(); ++i) {
    colour[i] = rounded((1 - share) * viridis_knots[knot][i] + share * viridis_knots[knot + 1][i]);
  }
  return colour;
}

/// Trapezoids around 1/4, 1/2 and 3/4 for blue, green and red.
inline Rgb jet(double value) {
  const auto channel = [value](double centre) {
    return rounded(255 * std::clamp(1.5 - 4 * std::abs(value - centre), 0.0, 1.0));
  };
  return {channel(0.75), channel(0.5), channel(0.25)};
}

}  // namespace detail

/// @throws Error numeric for NaN and infinity, argument for another value outside 0 to 1
inline Rgb colour(ColourMap map, double value) {
  check_finite(value, "value to colour");
  if (value < 0 || value > 1) {
    throw Error(ErrorCode::argument, "value to colour", "0 to 1", readable(value));
  }
  return map == ColourMap::jet ? detail::jet(value) : detail::viridis(value);
}

}  // namespace culprit::figures
