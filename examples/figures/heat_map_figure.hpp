// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "culprit/core/error.hpp"
#include "data/pixels.hpp"
#include "data/png.hpp"
#include "figures/axis.hpp"
#include "figures/base64.hpp"
#include "figures/colour_map.hpp"
#include "figures/enlarge.hpp"
#include "figures/grid.hpp"
#include "figures/svg.hpp"

namespace culprit::figures {

/// How salient each pixel of a picture is, clipped to a scale and divided by it.
struct HeatValues {
  int width = 0;
  int height = 0;
  std::vector<float> values;  ///< rows from the top, 0 to 1
  double low = 0, high = 1;   ///< the saliency that 0 and 1 stand for
};

namespace detail {

/// Checks picture and map as overlay says.
inline void check(const data::Image& picture, const HeatValues& map) {
  const auto extents = [](int width, int height) {
    return std::to_string(width) + " x " + std::to_string(height);
  };
  const std::string expected = extents(picture.width, picture.height);
  if (picture.width < 1 || picture.width != map.width || picture.height < 1 || picture.height != map.height) {
    throw Error(ErrorCode::shape, "heat map", "the picture's " + expected, extents(map.width, map.height));
  }
  const std::size_t count = map.values.size();
  if (count != static_cast<std::size_t>(map.width) * static_cast<std::size_t>(map.height)) {
    throw Error(ErrorCode::shape, "heat map", expected + " values", std::to_string(count));
  }
  const bool grey_or_rgb = picture.channels == 1 || picture.channels == 3;
  if (!grey_or_rgb || picture.pixels.size() != count * static_cast<std::size_t>(picture.channels)) {
    throw Error(ErrorCode::shape, "picture under a heat map", expected + " grey or RGB pixels",
                std::to_string(picture.pixels.size()) + " samples, " + std::to_string(picture.channels) +
                    " for each pixel");
  }
}

/// The brightness of a grey or RGB pixel, 0 to 255, by the weights of ITU-R BT.601.
inline int brightness(const std::uint8_t* pixel, int channels) {
  return channels == 1 ? pixel[0] : (299 * pixel[0] + 587 * pixel[1] + 114 * pixel[2] + 500) / 1000;
}

/// How much of the picture a value covers: never all, so that one sees what is salient. The power of 3/4
/// lifts the middle of the scale, where a plain share would leave greenish grey; it is made of square roots
/// because those, unlike std::pow, are the same in every C library.
inline double cover(double value) { return 0.8 * std::sqrt(value * std::sqrt(value)); }

}  // namespace detail

/// The picture in grey under the colours of the map: (1 - a) grey + a colour(value) with
/// a = 0.8 value^(3/4). What is not salient shows the picture; what is most salient still lets a fifth of it
/// through.
/// @param picture  1 or 3 channels
/// @return RGB, as large as the picture
/// @throws Error shape when the extents differ or values or pixels do not fill them, and as colour
inline data::Image overlay(const data::Image& picture, const HeatValues& map, ColourMap colours) {
  detail::check(picture, map);
  data::Image result = data::make_image(static_cast<std::uint64_t>(picture.width),
                                        static_cast<std::uint64_t>(picture.height), 3, "overlay");
  const std::uint8_t* pixel = picture.pixels.data();
  std::uint8_t* out = result.pixels.data();
  for (const float value : map.values) {
    const Rgb colour_of_value = colour(colours, value);
    const double share = detail::cover(value);
    const int grey = detail::brightness(pixel, picture.channels);
    for (const std::uint8_t channel : colour_of_value) {
      *out++ = detail::rounded((1 - share) * grey + share * channel);
    }
    pixel += picture.channels;
  }
  return result;
}

/// One heat map to lay over a picture.
struct HeatMapPanel {
  std::string title;  ///< what the saliency is of
  HeatValues map;
};

/// A picture and the heat maps to show beside it, each over a copy of it.
struct HeatMapSample {
  std::string title;  ///< the picture's name
  data::Image picture;
  std::vector<HeatMapPanel> panels;
};

/// How a figure of heat maps looks.
struct HeatMapOptions {
  std::string title;
  std::string value_name = "saliency";  ///< what the colours show, with its unit
  std::string low_name{};               ///< what the scale's lower end is, for instance "50th percentile"
  std::string high_name{};              ///< and its upper end
  std::string note{};                   ///< a sentence below the figure
  ColourMap colours = ColourMap::viridis;
  double width = 960;  ///< pixels; from 320, for a phone, upwards
};

namespace detail {

/// A saliency at the end of a scale: three digits, or "1.23 × 10⁻⁵" where these would be far from the point.
inline std::string scale_end(double value) {
  const double size = std::abs(value);
  if (size == 0) return "0";
  if (size < 0.001 || size >= 1) return readable(value);
  return with_minus(fixed(value, size < 0.01 ? 5 : size < 0.1 ? 4 : 3));
}

/// A figure of heat maps while it is being laid out and drawn; heat_map_svg is its face.
class HeatMapFigure {
 public:
  HeatMapFigure(std::span<const HeatMapSample> samples, const HeatMapOptions& options)
      : options_(options), grid_(options.width, most_tiles(samples), least_side, 16) {
    const HeatValues& any = samples.front().panels.front().map;
    low_ = scale_end(any.low);
    high_ = scale_end(any.high);
    description_ = options.value_name + " from " + low_ + " to " + high_;
    for (const HeatMapSample& sample : samples) add_tiles(sample);
  }

  [[nodiscard]] std::string draw() const {
    return drawn(options_.width, options_.title, description_, [this](Svg& svg) { return draw_on(svg); });
  }

 private:
  static constexpr double margin = Grid::margin;
  static constexpr double least_side = 256;

  /// A picture as it is shown.
  struct Tile {
    std::vector<std::string> caption;
    double width, height;  ///< pixels of the figure
    std::string_view style;
    std::string address;
  };

  [[nodiscard]] static std::string address(const data::Image& picture) {
    return png_address(data::encode_png(picture));
  }

  [[nodiscard]] static std::size_t most_tiles(std::span<const HeatMapSample> samples) {
    std::size_t most = 0;
    for (const HeatMapSample& sample : samples) most = std::max(most, 1 + sample.panels.size());
    return most;
  }

  /// Thumbnails are enlarged by whole factors, so that all their pixels are squares of the same size.
  [[nodiscard]] Tile tile(std::string_view title, const data::Image& picture) const {
    constexpr int largest_thumbnail = 64;
    const int longer = std::max(picture.width, picture.height);
    const bool thumbnail = longer <= largest_thumbnail;
    const double scale = thumbnail ? std::floor(grid_.side() / longer) : grid_.side() / longer;
    return {wrapped_anywhere(title, Svg::note_size, grid_.side()), scale * picture.width,
            scale * picture.height, thumbnail ? "image-rendering:pixelated" : "image-rendering:auto",
            address(thumbnail ? enlarge(picture, static_cast<int>(scale)) : picture)};
  }

  void add_tiles(const HeatMapSample& sample) {
    std::vector<Tile> tiles{tile(sample.title, sample.picture)};
    description_ += "; " + sample.title;
    for (const HeatMapPanel& panel : sample.panels) {
      tiles.push_back(tile(panel.title, overlay(sample.picture, panel.map, options_.colours)));
      description_ += ", " + panel.title;
    }
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      if (i % grid_.columns() == 0) lines_.emplace_back();
      lines_.back().push_back(std::move(tiles[i]));
    }
  }

  /// Each of the functions that draw starts at y and gives back where it ends.
  double draw_on(Svg& svg) const {
    const auto title = wrapped_heading(options_.title, grid_.content());
    const auto note = wrapped(options_.note, Svg::label_size, grid_.content());
    double y = svg.paragraph(margin, margin, title, "heading", "start", Svg::heading_line) + 4;
    for (const std::vector<Tile>& line : lines_) y = draw_line(svg, y, line) + grid_.gap();
    y = draw_scale(svg, y);
    return svg.paragraph(margin, note.empty() ? y : y + 8, note, "label") + margin / 2;
  }

  double draw_line(Svg& svg, double y, std::span<const Tile> line) const {
    double top = y;
    for (std::size_t i = 0; i < line.size(); ++i)
      top = std::max(top, svg.paragraph(grid_.x(i), y, line[i].caption, "note value"));
    top += 4;
    double bottom = top;
    for (std::size_t i = 0; i < line.size(); ++i) {
      svg.markup().leaf("image", {{"x", grid_.x(i)},
                                  {"y", top},
                                  {"width", line[i].width},
                                  {"height", line[i].height},
                                  {"style", line[i].style},
                                  {"href", line[i].address}});
      bottom = std::max(bottom, top + line[i].height);
    }
    return bottom;
  }

  /// The colours as they look over medium grey, with what their ends stand for.
  double draw_scale(Svg& svg, double y) const {
    const double width = std::max(least_side, lines_.front().front().width);
    y = svg.paragraph(margin, y, wrapped(options_.value_name, Svg::note_size, grid_.content()),
                      "note value") +
        4;
    svg.markup().leaf("image", {{"x", margin},
                                {"y", y},
                                {"width", width},
                                {"height", 12},
                                {"preserveAspectRatio", "none"},
                                {"href", address(scale_picture())}});
    const auto end = [&](double x, const std::string& value, const std::string& name,
                         std::string_view anchor) {
      svg.text(x, y + 28, value, "value", anchor);
      return svg.paragraph(x, y + 32, wrapped(name, Svg::label_size, width / 2), "label", anchor);
    };
    const double below_low = end(margin, low_, options_.low_name, "start");
    const double below_high = end(margin + width, high_, options_.high_name, "end");
    return std::max(below_low, below_high);
  }

  [[nodiscard]] data::Image scale_picture() const {
    HeatValues ramp{256, 1, {}, 0, 1};
    for (int i = 0; i < ramp.width; ++i) ramp.values.push_back(static_cast<float>(i) / 255);
    return overlay({ramp.width, 1, 1, std::vector<std::uint8_t>(ramp.values.size(), 128)}, ramp,
                   options_.colours);
  }

  const HeatMapOptions& options_;
  Grid grid_;
  std::vector<std::vector<Tile>> lines_;
  std::string low_, high_, description_;
};

/// Checks that all panels share one scale, as heat_map_svg says.
inline void check(std::span<const HeatMapSample> samples) {
  const HeatValues* first = nullptr;
  for (const HeatMapSample& sample : samples) {
    if (sample.panels.empty())
      throw Error(ErrorCode::argument, sample.title, "at least one heat map", "none");
    for (const HeatMapPanel& panel : sample.panels) {
      const std::string place = "scale of " + sample.title + ", " + panel.title;
      check_finite(panel.map.low, place);
      check_finite(panel.map.high, place);
      if (first == nullptr) first = &panel.map;
      const bool same = panel.map.low == first->low && panel.map.high == first->high;
      if (!same || panel.map.low > panel.map.high) {
        throw Error(ErrorCode::argument, place,
                    same ? "a lower end first" : "that of the other heat maps in the figure",
                    scale_end(panel.map.low) + " to " + scale_end(panel.map.high));
      }
    }
  }
  if (first == nullptr) throw Error(ErrorCode::argument, "heat map figure", "at least one sample", "none");
}

}  // namespace detail

/// Pictures beside themselves under heat maps, all in the colours of one scale, which stands below them.
/// Where the width does not hold a sample's pictures at 256 pixels each, they go on below; pictures of up to
/// 64 pixels are enlarged.
/// @return an SVG document, the same bytes for the same input
/// @throws Error argument without samples, for a sample without heat maps, and for heat maps of different
///         scales or a scale upside down; numeric for an end of a scale that is NaN or infinite; and as
///         overlay
inline std::string heat_map_svg(std::span<const HeatMapSample> samples, const HeatMapOptions& options) {
  detail::check(samples);
  return detail::HeatMapFigure(samples, options).draw();
}

}  // namespace culprit::figures
