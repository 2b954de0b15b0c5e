// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "figures/axis.hpp"
#include "figures/svg.hpp"

namespace culprit::figures {

/// What a legend says of one line, or of dots.
struct LegendEntry {
  std::string name;
  std::string style_class;
  bool dot = false;
};

/// The ends of the values to draw.
class ValueRange {
 public:
  void include(double value) {
    low_ = std::min(low_, value);
    high_ = std::max(high_, value);
    if (value > 0) smallest_ = std::min(smallest_, value);
  }

  [[nodiscard]] ValueAxis axis(bool logarithmic, double top, double bottom) const {
    const bool empty = low_ > high_;
    return logarithmic ? ValueAxis::logarithmic(smallest_, empty ? 0 : high_, top, bottom)
                       : ValueAxis::linear(empty ? 0 : low_, empty ? 0 : high_, top, bottom);
  }

 private:
  double low_ = std::numeric_limits<double>::max();
  double high_ = std::numeric_limits<double>::lowest();
  double smallest_ = std::numeric_limits<double>::max();
};

/// How a figure with a value axis is framed.
struct FrameOptions {
  std::string title;
  std::string value_name;           ///< what the axis shows, with its unit
  double width;                     ///< pixels; from 320, for a phone, upwards
  double height;                    ///< pixels of title, legend and plot; at least 120 are left for the plot
  bool log;                         ///< logarithmic values
  std::vector<LegendEntry> legend;  ///< drawn where there is more than one entry
};

/// The place of a plot, and what stands around it: title, legend and name of the values above it, the ticks
/// left of it, notes below it.
class Frame {
 public:
  static constexpr double margin = 16;
  static constexpr double mark_radius = 4.5;

  Frame(FrameOptions options, const ValueRange& range)
      : options_(std::move(options)), values_(range.axis(options_.log, 0, options_.height)) {
    const double content = options_.width - 2 * margin;
    title_ = wrapped_heading(options_.title, content);
    lay_out_legend(margin + Svg::heading_line * static_cast<double>(title_.size()));
    value_name_ = wrapped(options_.value_name + values_.factor(), Svg::note_size, content);
    top_ = value_name_top_ + Svg::text_line * static_cast<double>(value_name_.size()) + 8;
    bottom_ = std::max(options_.height, top_ + 120);
    values_ = range.axis(options_.log, top_, bottom_);
    double label_width = 0;
    for (const Tick& tick : values_.ticks()) {
      label_width = std::max(label_width, text_width(tick.label, Svg::label_size));
    }
    left_ = margin + label_width + 6;
  }

  [[nodiscard]] const ValueAxis& values() const { return values_; }
  [[nodiscard]] double left() const { return left_; }
  [[nodiscard]] double right() const { return options_.width - margin; }
  [[nodiscard]] double top() const { return top_; }
  [[nodiscard]] double bottom() const { return bottom_; }

  /// The sentences of a note, each on lines of its own.
  [[nodiscard]] std::vector<std::string> lines_of(std::span<const std::string> sentences) const {
    std::vector<std::string> lines;
    for (const std::string& sentence : sentences) {
      for (std::string& line : wrapped(sentence, Svg::label_size, options_.width - 2 * margin)) {
        lines.push_back(std::move(line));
      }
    }
    return lines;
  }

  void draw_head(Svg& svg) const {
    svg.paragraph(margin, margin, title_, "heading", "start", Svg::heading_line);
    for (const auto& [x, y, entry] : places_) {
      const LegendEntry& one = options_.legend[entry];
      if (one.dot) {
        svg.dot(one.style_class, x + legend_sample / 2, y - 4, mark_radius);
      } else {
        svg.line(one.style_class, x, y - 4, x + legend_sample, y - 4);
      }
      svg.text(x + legend_sample + 8, y, one.name, "note value");
    }
    svg.paragraph(margin, value_name_top_, value_name_, "note");
  }

  void draw_ticks(Svg& svg) const {
    for (const Tick& tick : values_.ticks()) {
      const double y = values_.y(tick.value);
      svg.line(!options_.log && tick.value == 0 ? "zero" : "grid", left_, y, right(), y);
      svg.text(left_ - 6, y + 0.36 * Svg::label_size, tick.label, "label", "end");
    }
  }

 private:
  static constexpr double legend_sample = 28;

  /// Where an entry of the legend stands.
  struct Place {
    double x, y;
    std::size_t entry;
  };

  void lay_out_legend(double top) {
    value_name_top_ = top;
    if (options_.legend.size() < 2) return;
    double x = margin;
    double y = top + 12;
    for (std::size_t i = 0; i < options_.legend.size(); ++i) {
      const double width = legend_sample + 8 + text_width(options_.legend[i].name, Svg::note_size);
      if (x > margin && x + width > right()) {
        x = margin;
        y += 20;
      }
      places_.push_back({x, y, i});
      x += width + 20;
    }
    value_name_top_ = y + 14;
  }

  FrameOptions options_;
  ValueAxis values_;
  std::vector<std::string> title_, value_name_;
  std::vector<Place> places_;
  double value_name_top_ = 0, top_ = 0, bottom_ = 0, left_ = 0;
};

}  // namespace culprit::figures
