// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>

namespace culprit::cli {

/// The text as one line that is safe to print on a terminal: white space runs become one blank, other control
/// characters '?'.
[[nodiscard]] inline std::string one_line(std::string_view text) {
  std::string line;
  for (const char symbol : text) {
    const auto byte = static_cast<unsigned char>(symbol);
    if (symbol == ' ' || (byte >= '\t' && byte <= '\r')) {
      if (!line.empty() && line.back() != ' ') line += ' ';
    } else {
      line += byte < 0x20 || byte == 0x7f ? '?' : symbol;
    }
  }
  if (line.ends_with(' ')) line.pop_back();
  return line;
}

/// std::snprintf into a string, for one number.
template <class Number>
[[nodiscard]] std::string formatted(const char* format, Number value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// "12 s", "3 min 20 s", "1 h 5 min".
[[nodiscard]] inline std::string duration(double seconds) {
  const auto whole = static_cast<long long>(std::ceil(seconds));
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + std::to_string(whole % 3600 / 60) + " min";
}

/// The text with blanks behind it, so that it fills that many columns of a terminal (UTF-8, one column each).
[[nodiscard]] inline std::string padded(std::string text, std::size_t columns) {
  std::size_t used = 0;
  for (const char symbol : text) used += (static_cast<unsigned char>(symbol) & 0xc0U) != 0x80U ? 1 : 0;
  if (used < columns) text.append(columns - used, ' ');
  return text;
}

}  // namespace culprit::cli
