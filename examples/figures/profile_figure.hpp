// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "figures/axis.hpp"
#include "figures/curve.hpp"
#include "figures/frame.hpp"
#include "figures/layer_axis.hpp"
#include "figures/profile_series.hpp"
#include "figures/svg.hpp"

namespace culprit::figures {

namespace detail {

/// A profile figure while it is being laid out and drawn; profile_svg and layer_profile_svg are its two
/// faces.
class ProfileFigure {
 public:
  ProfileFigure(std::span<const LayerSpan> layers, std::span<const Series> series,
                const ProfileOptions& options, bool equal_width)
      : layers_(layers),
        series_(series),
        options_(options),
        equal_width_(equal_width),
        orders_(sorted_within_layers(layers, series, options.left_out, check(layers, series, options))) {}

  [[nodiscard]] std::string draw() const {
    const Frame frame(
        {options_.title, options_.value_name, options_.width, options_.height, options_.log, legend()},
        range());
    const ValueAxis& values = frame.values();
    const LayerAxis axis(layers_, frame.left(), frame.right(), equal_width_);
    const std::vector<std::string> note = frame.lines_of(notes());
    const double note_top = frame.bottom() + axis.height() + 10;

    Svg svg(options_.width, note_top + 12 + Svg::text_line * static_cast<double>(note.size()), options_.title,
            description());
    frame.draw_head(svg);
    svg.paragraph(Frame::margin, note_top, note, "label");
    draw_ground(svg, axis, frame);
    for (std::size_t i = 0; i < series_.size(); ++i) draw_area(svg, i, axis, values);
    for (std::size_t i = 0; i < series_.size(); ++i) draw_curves(svg, i, axis, values);
    draw_marks(svg, axis, values);
    axis.draw(svg, frame.bottom());
    return std::move(svg).take();
  }

 private:
  static constexpr std::size_t points_per_series = 2000;

  [[nodiscard]] ValueRange range() const {
    ValueRange range;
    const auto include = [&range](double value) { range.include(value); };
    for (std::size_t i = 0; i < series_.size(); ++i) {
      for (const std::vector<std::size_t>& order : orders_[i]) {
        for (const std::size_t unit : order) include(series_[i].values[unit]);
      }
      std::for_each(series_[i].lower.begin(), series_[i].lower.end(), include);
      std::for_each(series_[i].upper.begin(), series_[i].upper.end(), include);
    }
    return range;
  }

  [[nodiscard]] std::vector<LegendEntry> legend() const {
    std::vector<LegendEntry> entries;
    for (std::size_t i = 0; i < series_.size(); ++i) {
      entries.push_back({series_[i].name, "mean " + line_class(i)});
    }
    if (!options_.marked.empty()) entries.push_back({options_.mark_name, "dot " + fill_class(0), true});
    return entries;
  }

  /// The sentences below the figure.
  [[nodiscard]] std::vector<std::string> notes() const {
    std::string layout = "Layers from shallow (left) to deep (right)";
    layout += equal_width_ ? ", all of the same width" : ", each as wide as it has filters";
    std::vector<std::string> sentences{layout +
                                       "; within a layer, filters from the most to the least salient."};
    if (equal_width_) sentences.push_back("Heavy line: mean of the layer.");
    if (!options_.left_out.empty()) {
      sentences.push_back(std::to_string(options_.left_out.size()) + ' ' + options_.left_out_name + '.');
    }
    return sentences;
  }

  [[nodiscard]] std::string description() const {
    std::size_t units = 0;
    for (const LayerSpan& layer : layers_) units += layer.count;
    std::string text = options_.value_name + " of " + std::to_string(units) + " filters in " +
                       std::to_string(layers_.size()) + " layers";
    for (const Series& one : series_) text += "; " + one.name;
    return text;
  }

  [[nodiscard]] double mean_of(std::size_t series, std::size_t layer) const {
    double sum = 0;
    for (const std::size_t unit : orders_[series][layer]) sum += series_[series].values[unit];
    return sum / static_cast<double>(orders_[series][layer].size());
  }

  [[nodiscard]] std::string hover_of(std::size_t layer) const {
    std::string text =
        short_name(layers_[layer].name) + " (" + std::to_string(layers_[layer].count) + " filters)";
    for (std::size_t i = 0; i < series_.size(); ++i) {
      if (orders_[i][layer].empty()) continue;
      const std::size_t first = orders_[i][layer].front();
      text += '\n' + series_[i].name + ": mean " + readable(mean_of(i, layer)) + ", largest " +
              readable(series_[i].values[first]) + " (filter " +
              std::to_string(first - layers_[layer].first) + ')';
    }
    return text;
  }

  void draw_ground(Svg& svg, const LayerAxis& axis, const Frame& frame) const {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      svg.rectangle(i % 2 == 0 ? "even" : "odd", axis.left(i), frame.top(), axis.width(i),
                    frame.bottom() - frame.top(), hover_of(i));
    }
    frame.draw_ticks(svg);
    for (std::size_t i = 1; i < layers_.size(); ++i) {
      if (axis.starts_group(i)) svg.line("edge", axis.left(i), frame.top(), axis.left(i), frame.bottom());
    }
  }

  /// Where the unit at that place of its layer's order is drawn: the middle of its share of the layer's
  /// width.
  [[nodiscard]] double x_of(std::size_t place, std::size_t series, std::size_t layer,
                            const LayerAxis& axis) const {
    const double share = axis.width(layer) / static_cast<double>(orders_[series][layer].size());
    return axis.left(layer) + (static_cast<double>(place) + 0.5) * share;
  }

  /// A layer's values in drawing order, few enough to keep the figure small; a lone unit goes across the
  /// layer.
  [[nodiscard]] std::vector<Point> points(std::size_t series, std::size_t layer, const LayerAxis& axis,
                                          const ValueAxis& scale) const {
    std::vector<double> sorted;
    for (const std::size_t unit : orders_[series][layer]) sorted.push_back(series_[series].values[unit]);
    if (sorted.size() == 1) {
      const double y = scale.y(sorted.front());
      return {{axis.left(layer), y}, {axis.left(layer) + axis.width(layer), y}};
    }
    std::vector<Point> result;
    for (const std::size_t i : decimated(sorted, points_per_series / layers_.size())) {
      result.push_back({x_of(i, series, layer, axis), scale.y(sorted[i])});
    }
    return result;
  }

  /// The band around the layers' means, or, for the only series of a figure, the ground under its curve.
  void draw_area(Svg& svg, std::size_t series, const LayerAxis& axis, const ValueAxis& scale) const {
    const Series& one = series_[series];
    std::string data;
    if (equal_width_ && !one.lower.empty()) {
      std::vector<Point> outline;
      for (std::size_t i = 0; i < layers_.size(); ++i)
        outline.push_back({axis.centre(i), scale.y(one.upper[i])});
      for (std::size_t i = layers_.size(); i-- > 0;)
        outline.push_back({axis.centre(i), scale.y(one.lower[i])});
      data = polyline(outline) + 'Z';
    } else if (series_.size() == 1) {
      for (std::size_t i = 0; i < layers_.size(); ++i) {
        std::vector<Point> outline = points(series, i, axis, scale);
        if (outline.empty()) continue;
        outline.insert(outline.begin(), {outline.front().x, scale.y(scale.base())});
        outline.push_back({outline.back().x, scale.y(scale.base())});
        data += polyline(outline) + 'Z';
      }
    }
    svg.path("area " + fill_class(series), data);
  }

  void draw_curves(Svg& svg, std::size_t series, const LayerAxis& axis, const ValueAxis& scale) const {
    std::string data;
    std::vector<Point> means;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      data += polyline(points(series, i, axis, scale));
      if (!orders_[series][i].empty()) means.push_back({axis.centre(i), scale.y(mean_of(series, i))});
    }
    const bool behind_means = equal_width_ && (series_.size() > 1 || !series_[series].lower.empty());
    svg.path((behind_means ? "fine " : "curve ") + line_class(series), data);
    if (equal_width_) svg.path("mean " + line_class(series), polyline(means));
  }

  void draw_marks(Svg& svg, const LayerAxis& axis, const ValueAxis& scale) const {
    std::vector<Point> dots;
    std::vector<std::string> texts;
    for (const std::size_t unit : options_.marked) {
      for (std::size_t i = 0; i < layers_.size(); ++i) {
        const std::vector<std::size_t>& order = orders_.front()[i];
        const auto found = std::find(order.begin(), order.end(), unit);
        if (found == order.end()) continue;
        const double value = series_.front().values[unit];
        dots.push_back({x_of(static_cast<std::size_t>(found - order.begin()), 0, i, axis), scale.y(value)});
        texts.push_back(short_name(layers_[i].name) + ':' + std::to_string(unit - layers_[i].first) + " (" +
                        readable(value) + ')');
      }
    }
    for (std::size_t i = dots.size(); i-- > 0;) {
      svg.dot("dot " + fill_class(0), dots[i].x, dots[i].y, Frame::mark_radius,
              std::to_string(i + 1) + ". " + texts[i]);
    }
    if (!dots.empty()) label_first(svg, dots, texts.front());
  }

  /// Writes beside the first dot what it is, on a side where neither another dot nor the figure's edge is in
  /// the way.
  void label_first(Svg& svg, std::span<const Point> dots, std::string_view text) const {
    const Point at = dots.front();
    const double width = text_width(text, Svg::label_size) + 9;
    const auto free = [&](double from, double to) {
      return from >= Frame::margin && to <= options_.width - Frame::margin &&
             std::none_of(dots.begin() + 1, dots.end(), [&](const Point& dot) {
               return dot.x > from - 6 && dot.x < to + 6 && std::abs(dot.y - at.y) < 14;
             });
    };
    if (free(at.x, at.x + width)) {
      svg.text(at.x + 9, at.y + 4, text, "halo");
    } else if (free(at.x - width, at.x)) {
      svg.text(at.x - 9, at.y + 4, text, "halo", "end");
    }
  }

  std::span<const LayerSpan> layers_;
  std::span<const Series> series_;
  const ProfileOptions& options_;
  bool equal_width_;
  Orders orders_;
};

}  // namespace detail

/// The paper's Figure 1: the saliency of every filter, layers from shallow to deep and as wide as they have
/// filters, filters sorted in descending order within each layer (each series by its own values).
/// @param layers  in drawing order; their units index the series' values
/// @return an SVG document of about 2,000 points a series at most, the same bytes for the same input
/// @throws Error argument without layers or series, for an empty layer, for a unit that is not there, and on
/// a
///         logarithmic axis without a value above 0; shape for a series of another length; numeric for NaN or
///         infinity, naming series, layer and channel
inline std::string profile_svg(std::span<const LayerSpan> layers, std::span<const Series> series,
                               const ProfileOptions& options) {
  return detail::ProfileFigure(layers, series, options, false).draw();
}

/// The paper's Figure 2: as profile_svg, but all layers get the same width, a heavier line joins the layers'
/// means, and a series may have a band around that line.
inline std::string layer_profile_svg(std::span<const LayerSpan> layers, std::span<const Series> series,
                                     const ProfileOptions& options) {
  return detail::ProfileFigure(layers, series, options, true).draw();
}

}  // namespace culprit::figures
