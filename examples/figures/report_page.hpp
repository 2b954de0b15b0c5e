// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "culprit/core/error.hpp"
#include "figures/base64.hpp"
#include "figures/markup.hpp"
#include "figures/page.hpp"
#include "figures/page_style.hpp"
#include "figures/sample_section.hpp"

namespace culprit::figures {

/// A column of a table.
struct TableColumn {
  std::string name;
  bool is_number = false;  ///< set to the right, and sorted by its cells' values
};

/// What stands at a place of a table.
struct TableCell {
  std::string text;
  double value = 0;  ///< what a column of numbers is sorted by; may be infinite
};

/// A table that a click on a column's head sorts.
struct PageTable {
  std::string caption;
  std::vector<TableColumn> columns;
  std::vector<std::vector<TableCell>> rows;  ///< [rows][columns]
};

/// A picture in a row of them.
struct PagePicture {
  std::string png;  ///< its PNG file, large enough to look at
  std::string caption;
  std::string hover;  ///< shown while the pointer rests on it
};

/// A part of a report, in this order: text, pictures, figures, tables.
struct ReportSection {
  std::string heading;
  std::vector<std::string> paragraphs = {};
  std::vector<PagePicture> pictures = {};
  std::vector<PageFigure> figures = {};
  std::vector<PageTable> tables = {};
};

/// What a report shows.
struct ReportPage {
  std::string title;
  std::string lead;  ///< one sentence below the title
  PageFacts facts = {};
  std::vector<ExplainedSample> samples = {};
  std::vector<ReportSection> sections = {};  ///< below the samples
};

namespace detail {

/// The shortest text that reads back as this number. Scripts know "Infinity" only, and a difference of two
/// infinities would be no order, so these become the largest numbers.
inline std::string sort_key(double value) {
  constexpr double largest = std::numeric_limits<double>::max();
  std::array<char, 32> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::clamp(value, -largest, largest));
  return {buffer.data(), end.ptr};
}

inline void write_cell(Markup& html, const TableColumn& column, const TableCell& cell,
                       const std::string& place) {
  if (!column.is_number) {
    html.element("td", {}, cell.text);
    return;
  }
  if (std::isnan(cell.value)) throw Error(ErrorCode::numeric, place, "a number", "NaN");
  html.element("td", {{"class", "number"}, {"data-value", sort_key(cell.value)}}, cell.text);
}

inline void write_table(Markup& html, const PageTable& table) {
  if (table.columns.empty()) {
    throw Error(ErrorCode::argument, "table " + table.caption, "at least one column", "none");
  }
  // What scrolls must be within reach of the keyboard.
  html.open("div",
            {{"class", "table"}, {"role", "region"}, {"aria-label", table.caption}, {"tabindex", "0"}});
  html.open("table", {{"class", "sortable"}}).element("caption", {}, table.caption);
  html.open("thead").open("tr");
  for (const TableColumn& column : table.columns) {
    html.element("th", {{"scope", "col"}, {"class", column.is_number ? "number" : "words"}}, column.name);
  }
  html.close().close().open("tbody");
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::vector<TableCell>& row = table.rows[i];
    const std::string place = "table " + table.caption + ", row " + std::to_string(i + 1);
    if (row.size() != table.columns.size()) {
      throw Error(ErrorCode::shape, place, std::to_string(table.columns.size()) + " cells",
                  std::to_string(row.size()));
    }
    html.open("tr");
    for (std::size_t j = 0; j < row.size(); ++j) {
      write_cell(html, table.columns[j], row[j], place + ", " + table.columns[j].name);
    }
    html.close();
  }
  html.close().close().close();
}

inline void write_pictures(Markup& html, std::span<const PagePicture> pictures) {
  if (pictures.empty()) return;
  html.open("div", {{"class", "pictures"}});
  for (const PagePicture& one : pictures) {
    if (one.png.empty()) throw Error(ErrorCode::argument, one.caption, "a picture", "none");
    html.open("figure");
    html.leaf("img", {{"src", png_address(one.png)}, {"alt", one.caption}, {"title", one.hover}});
    html.element("figcaption", {}, one.caption).close();
  }
  html.close();
}

inline std::string section_address(std::size_t section) { return "section-" + std::to_string(section + 1); }

inline void write_section(Markup& html, const ReportSection& section, std::size_t number) {
  html.open("section", {{"id", section_address(number)}}).element("h2", {}, section.heading);
  for (const std::string& paragraph : section.paragraphs) html.element("p", {{"class", "prose"}}, paragraph);
  write_pictures(html, section.pictures);
  write_figures(html, section.figures);
  for (const PageTable& table : section.tables) write_table(html, table);
  html.close();
}

}  // namespace detail

/// One HTML page that reports what was found: samples as in explain_html, and sections of text, pictures,
/// figures and tables that a click on a column's head sorts. Complete in itself (opens from disk, asks for
/// nothing), light and dark, for wide screens and phones, and well-formed XML; the same bytes for the same
/// input.
/// @throws Error as explain_html, and argument for a table without columns or an empty picture, shape for a
///         row with other than the table's number of cells, numeric for NaN in a column of numbers, naming
///         row and column
inline std::string report_html(const ReportPage& page) {
  Markup html;
  detail::open_page(html, page.title, page.lead, page.facts, report_style);
  html.open("nav", {{"aria-label", "Contents"}});
  detail::write_links(html, page.samples);
  for (std::size_t i = 0; i < page.sections.size(); ++i) {
    html.open("a", {{"href", '#' + detail::section_address(i)}, {"class", "section"}});
    html.text(page.sections[i].heading).close();
  }
  html.close().close().open("main");
  for (std::size_t i = 0; i < page.samples.size(); ++i) detail::write_sample(html, page.samples[i], i);
  for (std::size_t i = 0; i < page.sections.size(); ++i) detail::write_section(html, page.sections[i], i);
  if (!page.samples.empty()) detail::write_reading(html);
  html.close().open("script").raw(sorting_script);
  return std::move(html).take();
}

}  // namespace culprit::figures
