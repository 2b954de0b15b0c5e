// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "culprit/core/error.hpp"
#include "figures/axis.hpp"
#include "figures/curve.hpp"
#include "figures/frame.hpp"
#include "figures/svg.hpp"

namespace culprit::figures {

/// How values go along a number, for instance along how many filters are pruned.
struct Trend {
  std::string name;                    ///< in the legend
  std::span<const double> values;      ///< [positions], finite
  std::span<const double> lower = {};  ///< [positions] or empty: lower end of a band around the values
  std::span<const double> upper = {};  ///< [positions] or empty, with `lower`
};

/// Where the positions of a trend figure stand: side by side, or as far apart as their numbers, or the
/// logarithms of these, are.
enum class Spacing { equal, linear, logarithmic };

/// How a trend figure looks.
struct TrendOptions {
  std::string title;
  std::string value_name;     ///< what the vertical axis shows, with its unit unless `percent`
  std::string position_name;  ///< what the horizontal axis shows, with its unit
  Spacing spacing = Spacing::equal;
  bool percent = false;     ///< the values are shares of 1, to be shown in per cent
  std::string band_name{};  ///< what the bands are, for instance "95 % interval"
  std::string note{};       ///< a sentence below the figure
  double width = 960;       ///< pixels; from 320, for a phone, upwards
  double height = 400;      ///< pixels of title, legend and plot; the positions' labels come below
};

namespace detail {

/// Checks the input of a trend figure as trend_svg says.
inline void check(std::span<const Tick> positions, std::span<const Trend> trends, Spacing spacing) {
  if (positions.empty() || trends.empty()) {
    throw Error(
        ErrorCode::argument, "trend figure", "at least one position and one trend",
        std::to_string(positions.size()) + " positions and " + std::to_string(trends.size()) + " trends");
  }
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const std::string place = "position " + positions[i].label;
    check_finite(positions[i].value, place);
    if (i > 0 && positions[i].value <= positions[i - 1].value) {
      throw Error(ErrorCode::argument, place, "a number above that of the position before",
                  readable(positions[i].value));
    }
    if (spacing == Spacing::logarithmic && positions[i].value <= 0) {
      throw Error(ErrorCode::argument, place, "a number above 0 on a logarithmic axis",
                  readable(positions[i].value));
    }
  }
  const auto label = [positions](std::size_t i) { return positions[i].label; };
  for (const Trend& one : trends) {
    check_values("trend " + one.name, one.values, positions.size(), label);
    if (one.lower.empty() && one.upper.empty()) continue;
    check_values("lower end of the band of " + one.name, one.lower, positions.size(), label);
    check_values("upper end of the band of " + one.name, one.upper, positions.size(), label);
  }
}

/// A trend figure while it is being laid out and drawn; trend_svg is its face.
class TrendFigure {
 public:
  TrendFigure(std::span<const Tick> positions, std::span<const Trend> trends, const TrendOptions& options)
      : positions_(positions),
        trends_(trends),
        options_(options),
        frame_({options.title, options.value_name + (options.percent ? " (%)" : ""), options.width,
                options.height, false, legend()},
               range()) {
    for (const Tick& position : positions) x_.push_back(place(position.value, x_.size()));
  }

  [[nodiscard]] std::string draw() const {
    const double label_top = frame_.bottom() + 8;
    const double name_top = label_top + Svg::text_line + 4;
    const auto name = wrapped(options_.position_name, Svg::note_size, frame_.right() - frame_.left());
    const std::vector<std::string> note = frame_.lines_of(notes());
    const double note_top = name_top + Svg::text_line * static_cast<double>(name.size()) + 4;

    Svg svg(options_.width, note_top + Svg::text_line * static_cast<double>(note.size()) + Frame::margin / 2,
            options_.title, description());
    frame_.draw_head(svg);
    draw_columns(svg);
    frame_.draw_ticks(svg);
    draw_labels(svg, label_top);
    svg.paragraph((frame_.left() + frame_.right()) / 2, name_top, name, "note", "middle");
    svg.paragraph(Frame::margin, note_top, note, "label");
    for (std::size_t i = 0; i < trends_.size(); ++i) draw_band(svg, i);
    for (std::size_t i = 0; i < trends_.size(); ++i) svg.path("mean " + line_class(i), polyline(curve(i)));
    for (std::size_t i = trends_.size(); i-- > 0;) draw_dots(svg, i);
    return std::move(svg).take();
  }

 private:
  [[nodiscard]] std::vector<LegendEntry> legend() const {
    std::vector<LegendEntry> entries;
    for (std::size_t i = 0; i < trends_.size(); ++i) {
      entries.push_back({trends_[i].name, "mean " + line_class(i)});
    }
    return entries;
  }

  /// The value on the axis.
  [[nodiscard]] double shown(double value) const { return options_.percent ? 100 * value : value; }

  [[nodiscard]] ValueRange range() const {
    ValueRange range;
    for (const Trend& one : trends_) {
      for (const std::span<const double> values : {one.values, one.lower, one.upper}) {
        for (const double value : values) range.include(shown(value));
      }
    }
    return range;
  }

  /// Pixels from the left; half a label's room is kept free at both ends.
  [[nodiscard]] double place(double value, std::size_t index) const {
    const double width = frame_.right() - frame_.left();
    const auto count = static_cast<double>(positions_.size());
    if (options_.spacing == Spacing::equal || positions_.size() == 1) {
      return frame_.left() + width * (static_cast<double>(index) + 0.5) / count;
    }
    const auto number = [this](double of) {
      return options_.spacing == Spacing::logarithmic ? std::log(of) : of;
    };
    const double first = number(positions_.front().value);
    const double share = (number(value) - first) / (number(positions_.back().value) - first);
    return frame_.left() + end_room + share * (width - 2 * end_room);
  }

  [[nodiscard]] double y(double value) const { return frame_.values().y(shown(value)); }

  [[nodiscard]] std::vector<Point> curve(std::size_t trend) const {
    std::vector<Point> points;
    for (std::size_t i = 0; i < x_.size(); ++i) points.push_back({x_[i], y(trends_[trend].values[i])});
    return points;
  }

  [[nodiscard]] std::vector<std::string> notes() const {
    std::vector<std::string> sentences;
    const auto has_band = [](const Trend& one) { return !one.lower.empty(); };
    if (std::ranges::any_of(trends_, has_band)) sentences.push_back("Shaded: " + options_.band_name + '.');
    if (!options_.note.empty()) sentences.push_back(options_.note);
    return sentences;
  }

  [[nodiscard]] std::string description() const {
    std::string text = options_.value_name + " by " + options_.position_name;
    for (const Trend& one : trends_) text += "; " + one.name;
    return text;
  }

  [[nodiscard]] std::string written(double value) const {
    return with_minus(options_.percent ? percent(value) : readable(value));
  }

  [[nodiscard]] std::string value_text(const Trend& one, std::size_t position) const {
    std::string text = one.name + ": " + written(one.values[position]);
    if (!one.lower.empty()) {
      text += " (" + written(one.lower[position]) + " to " + written(one.upper[position]) + ')';
    }
    return text;
  }

  /// All that a position has to say, shown while the pointer rests anywhere above or below it.
  void draw_columns(Svg& svg) const {
    for (std::size_t i = 0; i < x_.size(); ++i) {
      const double from = i == 0 ? frame_.left() : (x_[i - 1] + x_[i]) / 2;
      const double to = i + 1 == x_.size() ? frame_.right() : (x_[i] + x_[i + 1]) / 2;
      std::string text = options_.position_name + ": " + positions_[i].label;
      for (const Trend& one : trends_) text += '\n' + value_text(one, i);
      svg.rectangle("even", from, frame_.top(), to - from, frame_.bottom() - frame_.top(), text);
    }
  }

  /// A label that would touch one written before is left out; the ends come first, for they say how far the
  /// axis goes.
  void draw_labels(Svg& svg, double top) const {
    std::vector<std::size_t> order{x_.size() - 1};
    for (std::size_t i = 0; i + 1 < x_.size(); ++i) order.push_back(i);
    std::vector<std::pair<double, double>> taken;
    for (const std::size_t i : order) {
      svg.line("edge", x_[i], frame_.bottom(), x_[i], frame_.bottom() + 5);
      const double half = text_width(positions_[i].label, Svg::label_size) / 2;
      const double most_right = options_.width - Frame::margin / 2 - half;
      const double x = std::min(std::max(x_[i], Frame::margin / 2 + half), most_right);
      const bool free = std::ranges::none_of(taken, [&](const std::pair<double, double>& other) {
        return x - half < other.second + 4 && x + half > other.first - 4;
      });
      if (!free) continue;
      taken.emplace_back(x - half, x + half);
      svg.text(x, top + 12, positions_[i].label, "label", "middle");
    }
  }

  void draw_band(Svg& svg, std::size_t trend) const {
    const Trend& one = trends_[trend];
    if (one.lower.empty()) return;
    // A lone position's band would have no width.
    const bool lone = x_.size() == 1;
    const std::vector<double> x = lone ? std::vector{x_[0] - end_room, x_[0] + end_room} : x_;
    std::vector<Point> outline;
    for (std::size_t i = 0; i < x.size(); ++i) outline.push_back({x[i], y(one.upper[lone ? 0 : i])});
    for (std::size_t i = x.size(); i-- > 0;) outline.push_back({x[i], y(one.lower[lone ? 0 : i])});
    svg.path("area " + fill_class(trend), polyline(outline) + 'Z');
  }

  void draw_dots(Svg& svg, std::size_t trend) const {
    const std::vector<Point> points = curve(trend);
    for (std::size_t i = 0; i < points.size(); ++i) {
      svg.dot("dot " + fill_class(trend), points[i].x, points[i].y, Frame::mark_radius,
              value_text(trends_[trend], i) + '\n' + options_.position_name + ": " + positions_[i].label);
    }
  }

  static constexpr double end_room = 14;

  std::span<const Tick> positions_;
  std::span<const Trend> trends_;
  const TrendOptions& options_;
  Frame frame_;
  std::vector<double> x_;
};

}  // namespace detail

/// Values along a number as lines with a dot for each position, and bands around them; each dot says its
/// value while the pointer rests on it.
/// @param positions  ascending, with their labels; a label without room is left out
/// @return an SVG document, the same bytes for the same input
/// @throws Error argument without positions or trends, for positions that do not ascend, and for one not
///         above 0 on a logarithmic axis; shape for a trend or an end of a band of another length; numeric
///         for NaN or infinity, naming trend and position
inline std::string trend_svg(std::span<const Tick> positions, std::span<const Trend> trends,
                             const TrendOptions& options) {
  detail::check(positions, trends, options.spacing);
  return detail::TrendFigure(positions, trends, options).draw();
}

}  // namespace culprit::figures
