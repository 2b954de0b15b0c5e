// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "culprit/core/error.hpp"
#include "figures/axis.hpp"
#include "figures/layer_axis.hpp"
#include "figures/svg.hpp"

namespace culprit::figures {

/// One unit to blame and how much.
struct BlamedUnit {
  std::string layer;        ///< the parameter's name
  std::size_t channel = 0;  ///< index within the layer
  double z = 0;             ///< standardized saliency (Eq. 2)
  double saliency = 0;      ///< raw saliency (Eq. 1)

  [[nodiscard]] std::string label() const { return short_name(layer) + ':' + std::to_string(channel); }
};

/// How the bar figure looks.
struct TopUnitsOptions {
  std::string title;
  std::string value_name = "z";  ///< what the bars show, with its unit
  double width = 640;            ///< pixels; from 320 upwards
};

/// The units to blame as horizontal bars, in the order given, each with its label and z; bars of negative z
/// go left. Labels stand left of the bars where there is room, otherwise above them.
/// @throws Error argument without units, numeric for a z or saliency that is NaN or infinite, naming the unit
inline std::string top_units_svg(std::span<const BlamedUnit> units, const TopUnitsOptions& options) {
  if (units.empty()) throw Error(ErrorCode::argument, "bar figure", "at least one unit", "none");
  double low = 0;
  double high = 0;
  double label_width = 0;
  double value_width = 0;
  std::string description = options.value_name + ':';
  for (const BlamedUnit& unit : units) {
    check_finite(unit.z, "z of " + unit.label());
    check_finite(unit.saliency, "saliency of " + unit.label());
    low = std::min(low, unit.z);
    high = std::max(high, unit.z);
    label_width = std::max(label_width, text_width(unit.label(), Svg::note_size));
    value_width = std::max(value_width, text_width(readable(unit.z), Svg::note_size));
    description += ' ' + unit.label() + ' ' + readable(unit.z) + ';';
  }
  if (high - low < 1e-300) high = 1;

  constexpr double margin = 16;
  constexpr double bar = 16;
  const bool above = label_width > 0.4 * options.width;
  const double row = above ? bar + 24 : bar + 10;
  const std::vector<std::string> title = wrapped_heading(options.title, options.width - 2 * margin);
  const std::vector<std::string> value_name =
      wrapped(options.value_name, Svg::note_size, options.width - 2 * margin);
  const double value_name_top = margin + 6 + Svg::heading_line * static_cast<double>(title.size());
  const double top = value_name_top + 12 + Svg::text_line * static_cast<double>(value_name.size());
  const double height = top + row * static_cast<double>(units.size()) + margin / 2;

  // Negative values stand left of their bars, so the room for values is needed on that side too.
  const double left = margin + (above ? 0 : label_width + 10) + (low < 0 ? value_width + 6 : 0);
  const double right = options.width - margin - (high > 0 ? value_width + 6 : 0);
  const double scale = (right - left) / (high - low);
  const double zero = left - low * scale;

  Svg svg(options.width, height, options.title, description);
  svg.paragraph(margin, margin, title, "heading", "start", Svg::heading_line);
  svg.paragraph(margin, value_name_top, value_name, "note");
  for (std::size_t i = 0; i < units.size(); ++i) {
    const BlamedUnit& unit = units[i];
    const double y = top + row * static_cast<double>(i) + (above ? 18 : 4);
    const double length = std::abs(unit.z) * scale;
    svg.text(margin, above ? y - 5 : y + 12.5, unit.label(), "note value");
    svg.rectangle(fill_class(0), unit.z < 0 ? zero - length : zero, y, length, bar,
                  std::to_string(i + 1) + ". " + unit.label() + "\nz " + readable(unit.z) + ", saliency " +
                      readable(unit.saliency));
    svg.text(unit.z < 0 ? zero - length - 6 : zero + length + 6, y + 12.5, readable(unit.z), "note value",
             unit.z < 0 ? "end" : "start");
    const double beyond = above ? 2 : 5;
    svg.line("zero", zero, y - beyond, zero, y + bar + beyond);
  }
  return std::move(svg).take();
}

}  // namespace culprit::figures
