// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "culprit/core/error.hpp"
#include "figures/base64.hpp"
#include "figures/grid.hpp"
#include "figures/svg.hpp"

namespace culprit::figures {

/// A picture with what is to be read below it.
struct CaptionedPicture {
  std::string name;                ///< what it is, or what was done to it
  std::string png;                 ///< the picture's PNG file, large enough to look at
  std::vector<std::string> lines;  ///< below its name
};

/// Pictures side by side.
struct PictureRow {
  std::string title;
  std::vector<CaptionedPicture> pictures;
};

/// How rows of pictures look.
struct PictureRowsOptions {
  std::string title;
  std::string note{};  ///< a sentence below the figure
  double width = 960;  ///< pixels; from 320, for a phone, upwards
};

namespace detail {

/// Rows of pictures while they are being laid out and drawn; picture_rows_svg is their face.
class PictureRows {
 public:
  PictureRows(std::span<const PictureRow> rows, const PictureRowsOptions& options)
      : rows_(rows), options_(options), grid_(options.width, most_pictures(rows), least_side, 12) {}

  [[nodiscard]] std::string draw() const {
    std::string description = "Pictures:";
    for (const PictureRow& row : rows_) description += ' ' + row.title + ';';
    return drawn(options_.width, options_.title, description, [this](Svg& svg) { return draw_on(svg); });
  }

 private:
  static constexpr double least_side = 140;  // room for a class's name and its confidence on one line

  [[nodiscard]] static std::size_t most_pictures(std::span<const PictureRow> rows) {
    std::size_t most = 0;
    for (const PictureRow& row : rows) most = std::max(most, row.pictures.size());
    return most;
  }

  /// Each of the functions that draw starts at y and gives back where it ends.
  double draw_on(Svg& svg) const {
    const auto title = wrapped_heading(options_.title, grid_.content());
    double y = svg.paragraph(Grid::margin, Grid::margin, title, "heading", "start", Svg::heading_line) + 4;
    for (const PictureRow& row : rows_) y = draw_row(svg, y, row) + grid_.gap();
    y = svg.paragraph(Grid::margin, y, wrapped(options_.note, Svg::label_size, grid_.content()), "label");
    return y + Grid::margin / 2;
  }

  double draw_row(Svg& svg, double y, const PictureRow& row) const {
    svg.line("edge", Grid::margin, y, options_.width - Grid::margin, y);
    y = svg.paragraph(Grid::margin, y + 8, wrapped_anywhere(row.title, Svg::note_size, grid_.content()),
                      "note value") +
        4;
    double bottom = y;
    for (std::size_t i = 0; i < row.pictures.size(); ++i) {
      const std::size_t column = i % grid_.columns();
      if (i > 0 && column == 0) y = bottom + grid_.gap();
      bottom = std::max(bottom, draw_picture(svg, grid_.x(column), y, row.pictures[i]));
    }
    return bottom;
  }

  double draw_picture(Svg& svg, double x, double y, const CaptionedPicture& one) const {
    const double side = grid_.side();
    svg.markup()
        .open("image",
              {{"x", x}, {"y", y}, {"width", side}, {"height", side}, {"href", png_address(one.png)}})
        .element("title", {}, one.name)
        .close();
    double end = svg.paragraph(x, y + side + 4, wrapped_anywhere(one.name, Svg::label_size, side), "value");
    for (const std::string& line : one.lines)
      end = svg.paragraph(x, end, wrapped_anywhere(line, Svg::label_size, side), "label");
    return end;
  }

  std::span<const PictureRow> rows_;
  const PictureRowsOptions& options_;
  Grid grid_;
};

}  // namespace detail

/// Rows of pictures, each with its name and some lines of text below it. Where the width does not hold a row,
/// it goes on below.
/// @return an SVG document, the same bytes for the same input
/// @throws Error argument without a row, for a row without pictures, and for an empty picture
inline std::string picture_rows_svg(std::span<const PictureRow> rows, const PictureRowsOptions& options) {
  if (rows.empty()) throw Error(ErrorCode::argument, "rows of pictures", "at least one", "none");
  for (const PictureRow& row : rows) {
    if (row.pictures.empty()) throw Error(ErrorCode::argument, row.title, "at least one picture", "none");
    for (const CaptionedPicture& one : row.pictures) {
      if (one.png.empty()) throw Error(ErrorCode::argument, one.name, "a picture", "none");
    }
  }
  return detail::PictureRows(rows, options).draw();
}

}  // namespace culprit::figures
