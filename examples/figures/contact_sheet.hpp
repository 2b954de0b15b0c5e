// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "culprit/core/error.hpp"
#include "figures/axis.hpp"
#include "figures/base64.hpp"
#include "figures/grid.hpp"
#include "figures/svg.hpp"

namespace culprit::figures {

/// A picture in a contact sheet.
struct SheetPicture {
  std::string name;  ///< path or synthetic name
  std::string png;   ///< the picture's PNG file, large enough to look at
  std::string true_class;
  std::string predicted_class;
  double similarity = 1;  ///< to the query; a query's own is not shown
};

/// A picture and those most similar to it, most similar first.
struct SheetRow {
  SheetPicture query;
  std::vector<SheetPicture> neighbours;
};

/// How a contact sheet looks.
struct ContactSheetOptions {
  std::string title;
  std::string similarity_name = "similarity";  ///< what the numbers below neighbours are
  std::string note{};                          ///< a sentence below the figure
  double width = 960;                          ///< pixels; from 320, for a phone, upwards
};

namespace detail {

/// Checks the input of a contact sheet as contact_sheet_svg says.
inline void check(std::span<const SheetRow> rows) {
  if (rows.empty()) throw Error(ErrorCode::argument, "contact sheet", "at least one query", "none");
  const auto check_picture = [](const SheetPicture& one) {
    if (one.png.empty()) throw Error(ErrorCode::argument, one.name, "a picture", "none");
  };
  for (const SheetRow& row : rows) {
    check_picture(row.query);
    for (const SheetPicture& one : row.neighbours) {
      check_picture(one);
      check_finite(one.similarity, "similarity of " + row.query.name + " and " + one.name);
    }
  }
}

/// A contact sheet while it is being laid out and drawn; contact_sheet_svg is its face.
class ContactSheet {
 public:
  ContactSheet(std::span<const SheetRow> rows, const ContactSheetOptions& options)
      : rows_(rows), options_(options), grid_(options.width, most_pictures(rows), 104, 12) {}

  [[nodiscard]] std::string draw() const {
    std::string description = "Queries, each with its neighbours:";
    for (const SheetRow& row : rows_) description += ' ' + row.query.name + ';';
    return drawn(options_.width, options_.title, description, [this](Svg& svg) { return draw_on(svg); });
  }

 private:
  /// How a neighbour's classes are those of the query: said in words, and by the line around the picture.
  struct Kinship {
    std::string_view name, style_class;
  };

  [[nodiscard]] static Kinship kinship(const SheetPicture& query, const SheetPicture& one) {
    if (one.true_class == query.true_class && one.predicted_class == query.predicted_class)
      return {"same pair", "mean line-0"};
    if (one.true_class == query.predicted_class && one.predicted_class == query.true_class)
      return {"reversed pair", "mean line-1"};
    return {};
  }

  [[nodiscard]] static std::size_t most_pictures(std::span<const SheetRow> rows) {
    std::size_t most = 0;
    for (const SheetRow& row : rows) most = std::max(most, 1 + row.neighbours.size());
    return most;
  }

  /// Each of the functions that draw starts at y and gives back where it ends.
  double draw_on(Svg& svg) const {
    const auto title = wrapped_heading(options_.title, grid_.content());
    const std::string key = "Number below a neighbour: " + options_.similarity_name + " to the query.";
    double y = svg.paragraph(Grid::margin, Grid::margin, title, "heading", "start", Svg::heading_line) + 4;
    for (const SheetRow& row : rows_) y = draw_row(svg, y, row) + grid_.gap();
    for (const std::string& sentence : {key, options_.note}) {
      y = svg.paragraph(Grid::margin, y, wrapped(sentence, Svg::label_size, grid_.content()), "label");
    }
    return y + Grid::margin / 2;
  }

  double draw_row(Svg& svg, double y, const SheetRow& row) const {
    svg.line("edge", Grid::margin, y, options_.width - Grid::margin, y);
    y = svg.paragraph(Grid::margin, y + 8, wrapped_anywhere(row.query.name, Svg::note_size, grid_.content()),
                      "note value") +
        4;
    double bottom = draw_picture(svg, 0, y, row.query, {"query", {}}, {});
    for (std::size_t i = 1; i <= row.neighbours.size(); ++i) {
      const std::size_t column = i % grid_.columns();
      if (column == 0) y = bottom + grid_.gap();
      const SheetPicture& one = row.neighbours[i - 1];
      const Kinship mark = kinship(row.query, one);
      bottom = std::max(bottom, draw_picture(svg, column, y, one, mark, readable(one.similarity)));
    }
    return bottom;
  }

  double draw_picture(Svg& svg, std::size_t column, double y, const SheetPicture& one, const Kinship& mark,
                      std::string_view similarity) const {
    const double x = grid_.x(column);
    const double side = grid_.side();
    std::string hover = one.name + "\ntrue class " + one.true_class + ", predicted " + one.predicted_class;
    if (!similarity.empty()) hover += '\n' + options_.similarity_name + ' ' + std::string{similarity};
    svg.markup()
        .open("image",
              {{"x", x}, {"y", y}, {"width", side}, {"height", side}, {"href", png_address(one.png)}})
        .element("title", {}, hover)
        .close();
    if (!mark.style_class.empty()) svg.rectangle(mark.style_class, x, y, side, side);
    const auto lines = [side](std::string_view text) {
      return wrapped_anywhere(text, Svg::label_size, side);
    };
    double end = svg.paragraph(x, y + side + 4, lines("true: " + one.true_class), "value");
    end = svg.paragraph(x, end, lines("predicted: " + one.predicted_class), "value");
    end = svg.paragraph(x, end, lines(similarity), "label");
    return svg.paragraph(x, end, lines(mark.name), "note value");
  }

  std::span<const SheetRow> rows_;
  const ContactSheetOptions& options_;
  Grid grid_;
};

}  // namespace detail

/// Rows of pictures, a query first and then its neighbours, each with its true and predicted class. A
/// neighbour with the query's pair of classes, or with that pair reversed, is marked by a word and by a line
/// around it. Where the width does not hold a row, it goes on below.
/// @return an SVG document, the same bytes for the same input
/// @throws Error argument without rows and for an empty picture, numeric for a similarity that is NaN or
///         infinite, naming query and neighbour
inline std::string contact_sheet_svg(std::span<const SheetRow> rows, const ContactSheetOptions& options) {
  detail::check(rows);
  return detail::ContactSheet(rows, options).draw();
}

}  // namespace culprit::figures
