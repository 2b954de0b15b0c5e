// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <regex>
#include <string>
#include <vector>

#include "figures/curve.hpp"

namespace culprit::test {

/// The numbers that a pattern with one or more groups finds in the text, a row for each match.
inline std::vector<std::vector<double>> numbers(const std::string& text, const std::string& pattern) {
  const std::regex expression(pattern);
  std::vector<std::vector<double>> rows;
  for (std::sregex_iterator it(text.begin(), text.end(), expression), last; it != last; ++it) {
    auto& row = rows.emplace_back();
    for (std::size_t group = 1; group < it->size(); ++group) row.push_back(std::stod((*it)[group].str()));
  }
  return rows;
}

/// The points of the path with exactly these style classes, one list for each stretch without a gap.
inline std::vector<std::vector<figures::Point>> stretches(const std::string& svg,
                                                          const std::string& style_classes) {
  const std::string start = "<path class=\"" + style_classes + "\" d=\"";
  const std::size_t from = svg.find(start);
  std::vector<std::vector<figures::Point>> result;
  if (from == std::string::npos) return result;
  const std::string data =
      svg.substr(from + start.size(), svg.find('"', from + start.size()) - from - start.size());
  const std::regex point("([ML])([-0-9.]+) ([-0-9.]+)");
  for (std::sregex_iterator it(data.begin(), data.end(), point), last; it != last; ++it) {
    if ((*it)[1] == "M") result.emplace_back();
    result.back().push_back({std::stod((*it)[2]), std::stod((*it)[3])});
  }
  return result;
}

}  // namespace culprit::test
