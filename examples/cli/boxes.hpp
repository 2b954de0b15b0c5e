// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "culprit/core/error.hpp"
#include "culprit/intervene/box.hpp"
#include "culprit/io/describe.hpp"
#include "data/classes.hpp"
#include "data/item.hpp"

namespace culprit::cli {

/// Boxes by their sample's index in the data set.
using Boxes = std::map<std::size_t, intervene::Box>;

namespace detail {

inline constexpr std::string_view box_columns = "path,top,left,bottom,right";

/// A field of a CSV file without its quotes.
inline std::string unquoted(std::string_view field) {
  if (field.size() < 2 || !field.starts_with('"') || !field.ends_with('"')) return std::string(field);
  std::string text;
  for (std::size_t i = 1; i + 1 < field.size(); ++i) {
    text += field[i];
    if (field.substr(i, 2) == "\"\"") ++i;
  }
  return text;
}

/// The place of each path in the data set.
inline std::map<std::string, std::size_t> places(const data::Dataset& set) {
  std::map<std::string, std::size_t> all;
  for (std::size_t i = 0; i < set.size(); ++i) all.emplace(set.item(i).path, i);
  return all;
}

}  // namespace detail

/// Reads a CSV file with the columns path (as the data set lists it), top, left, bottom, right (pixels from
/// 0, bottom and right not included), and a line for each box.
/// @param height, width  of the model's input, in pixels
/// @throws Error (io) for a file that cannot be read, Error (format) naming the line for another header, a
/// path that the data set has not or that comes twice, and a box that is not within the input or holds no
/// pixel
inline Boxes read_boxes(const std::filesystem::path& file, const data::Dataset& set, Index height,
                        Index width) {
  const std::map<std::string, std::size_t> places = detail::places(set);
  Boxes boxes;
  bool header = true;
  data::for_each_line(file, [&](std::size_t number, std::string_view line) {
    const auto fail = [&](const std::string& expected, const std::string& came) {
      throw Error(ErrorCode::format, data::at_line(file, number), expected, came);
    };
    if (header) {
      if (line != detail::box_columns) fail(std::string(detail::box_columns), io::in_quotes(line));
      header = false;
      return;
    }
    // From the right, for a path may hold commas.
    std::array<Index, 4> ends{};
    std::string_view rest = line;
    for (std::size_t i = ends.size(); i-- > 0;) {
      const std::size_t comma = rest.rfind(',');
      const auto value =
          comma == std::string_view::npos ? std::nullopt : data::parse_label(rest.substr(comma + 1));
      if (!value) fail("a path and four whole numbers from 0", io::in_quotes(line));
      ends[i] = *value;
      rest = rest.substr(0, comma);
    }
    const intervene::Box box{ends[0], ends[1], ends[2], ends[3]};
    if (box.top >= box.bottom || box.bottom > height || box.left >= box.right || box.right > width) {
      fail("a box within " + std::to_string(height) + " rows and " + std::to_string(width) + " columns",
           "rows " + std::to_string(box.top) + " to " + std::to_string(box.bottom) + ", columns " +
               std::to_string(box.left) + " to " + std::to_string(box.right));
    }
    const auto place = places.find(detail::unquoted(rest));
    if (place == places.end()) fail("a path of the data set", io::in_quotes(rest));
    if (!boxes.emplace(place->second, box).second) fail("one box for a path", io::in_quotes(rest) + " again");
  });
  if (header) throw Error(ErrorCode::format, file.string(), std::string(detail::box_columns), "no line");
  return boxes;
}

}  // namespace culprit::cli
