// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "culprit/core/error.hpp"
#include "figures/markup.hpp"

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

}  // namespace detail

}  // namespace culprit::figures
