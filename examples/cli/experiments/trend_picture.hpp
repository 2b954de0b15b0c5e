// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "cli/experiments/study.hpp"
#include "figures/trend_figure.hpp"

namespace culprit::cli {

/// Which columns of a table make a trend figure: a line for each text of the first column.
struct TrendColumns {
  std::string position;  ///< the column of numbers that go along the figure
  std::string value;
  std::string low{}, high{};  ///< of the band; empty: none
};

/// Draws a table's rows; those whose first column is in `left_out` are not drawn.
[[nodiscard]] inline Picture trend_picture(const Table& table, const TrendColumns& columns,
                                           const std::string& file, figures::TrendOptions options,
                                           const std::vector<std::string>& left_out = {}) {
  struct Line {
    std::string name;
    std::vector<double> values, low, high;
  };
  const auto column = [&](const std::string& name) {
    return static_cast<std::size_t>(std::ranges::find(table.columns, name) - table.columns.begin());
  };
  std::vector<Line> lines;
  std::vector<figures::Tick> positions;
  for (const auto& row : table.rows) {
    const std::string& name = row.front().as_string();
    if (std::ranges::find(left_out, name) != left_out.end()) continue;
    auto line = std::ranges::find(lines, name, &Line::name);
    if (line == lines.end()) line = lines.insert(line, {name, {}, {}, {}});
    line->values.push_back(row[column(columns.value)].as_double());
    if (!columns.low.empty()) {
      line->low.push_back(row[column(columns.low)].as_double());
      line->high.push_back(row[column(columns.high)].as_double());
    }
    const io::Json& position = row[column(columns.position)];
    if (line == lines.begin()) positions.push_back({position.as_double(), io::dump(position)});
  }
  std::vector<figures::Trend> trends;
  for (const Line& line : lines) trends.push_back({line.name, line.values, line.low, line.high});
  if (!columns.low.empty()) options.band_name = "95 % interval of the mean";
  const auto draw = [&](double width) {
    options.width = width;
    return figures::trend_svg(positions, trends, options);
  };
  const std::string title = options.title;
  return {file, title, draw(960), draw(380)};
}

}  // namespace culprit::cli
