// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "culprit/core/error.hpp"

namespace culprit::data {

/// An 8-bit picture: height x width x channels, rows from the top, channels interleaved (1 grey, 3 RGB).
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;
  std::vector<std::uint8_t> pixels;

  [[nodiscard]] std::size_t row_bytes() const {
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
  }
  [[nodiscard]] const std::uint8_t* row(int y) const {
    return pixels.data() + static_cast<std::size_t>(y) * row_bytes();
  }
  [[nodiscard]] std::uint8_t* row(int y) { return pixels.data() + static_cast<std::size_t>(y) * row_bytes(); }
};

/// Larger pictures are refused before memory is asked for: a header of a few bytes must not cost gigabytes.
inline constexpr std::uint64_t max_pixels = std::uint64_t{1} << 28;

/// @param place named in the error
/// @throws Error format when an extent is 0 or the picture has more than max_pixels
inline void check_pixels(std::uint64_t width, std::uint64_t height, const std::string& place) {
  if (width == 0 || height == 0 || width > max_pixels || height > max_pixels / width) {
    throw Error(ErrorCode::format, place, "1 to " + std::to_string(max_pixels) + " pixels",
                std::to_string(width) + " x " + std::to_string(height));
  }
}

/// A black picture of the given extents.
/// @param place named in the error
/// @throws Error format when an extent is 0 or the picture has more than max_pixels
inline Image make_image(std::uint64_t width, std::uint64_t height, int channels, const std::string& place) {
  check_pixels(width, height, place);
  return {static_cast<int>(width), static_cast<int>(height), channels,
          std::vector<std::uint8_t>(width * height * static_cast<std::uint64_t>(channels))};
}

}  // namespace culprit::data
