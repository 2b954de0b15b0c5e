// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>

#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"

namespace culprit::io {

/// Up to 16 hexadecimal digits, the fewest.
[[nodiscard]] inline std::string to_hex(std::uint64_t value) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
  return {digits.data(), end};
}

/// @throws Error (format) for anything but up to 16 hexadecimal digits.
[[nodiscard]] inline std::uint64_t from_hex(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (failure != std::errc{} || end != text.data() + text.size()) {
    throw Error(ErrorCode::format, "hash", "up to 16 hexadecimal digits", in_quotes(text));
  }
  return value;
}

}  // namespace culprit::io
