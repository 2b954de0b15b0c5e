// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace culprit::figures {

/// The bytes in base64 with padding (RFC 4648, section 4), for data: addresses.
inline std::string base64(std::string_view bytes) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      text += i + j <= bytes.size() ? alphabet[group >> (18 - 6 * j) & 63U] : '=';
    }
  }
  return text;
}

/// A PNG file as the address of a picture, which then needs no file.
inline std::string png_address(std::string_view png) { return "data:image/png;base64," + base64(png); }

}  // namespace culprit::figures
