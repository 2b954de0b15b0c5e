// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace culprit::io {

/// The place of one byte of a file, as Error's place: "FILE, byte N" (counted from 0).
inline std::string at_byte(std::string_view place, std::size_t offset) {
  return std::string{place} + ", byte " + std::to_string(offset);
}

/// Text from a file, fit for an error message: in quotes, at most 64 bytes, everything outside printable
/// ASCII as `\xNN`, so that a hostile file cannot send control sequences to a terminal through its own error.
inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 64;
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result = "\"";
  for (const char symbol : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(symbol);
    if (byte >= 0x20 && byte < 0x7f) {
      result += symbol;
    } else {
      result += "\\x";
      result += digits[byte >> 4];
      result += digits[byte & 15];
    }
  }
  return result + (text.size() > longest ? "\"..." : "\"");
}

}  // namespace culprit::io
