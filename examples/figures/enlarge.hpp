// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "culprit/core/error.hpp"
#include "data/pixels.hpp"

namespace culprit::figures {

/// The picture with every pixel repeated factor x factor times, so that a thumbnail of 28 x 28 can be looked
/// at.
/// @throws Error argument for a factor below 1, format when the result would have more than data::max_pixels
inline data::Image enlarge(const data::Image& image, int factor) {
  if (factor < 1)
    throw Error(ErrorCode::argument, "factor to enlarge by", "1 or more", std::to_string(factor));
  const auto times = static_cast<std::uint64_t>(factor);
  data::Image result =
      data::make_image(static_cast<std::uint64_t>(image.width) * times,
                       static_cast<std::uint64_t>(image.height) * times, image.channels, "enlarged picture");
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* const first = result.row(y * factor);
    std::uint8_t* out = first;
    for (int x = 0; x < image.width; ++x) {
      const std::uint8_t* const pixel = image.row(y) + x * image.channels;
      for (int i = 0; i < factor; ++i) out = std::copy_n(pixel, image.channels, out);
    }
    for (int i = 1; i < factor; ++i) std::copy_n(first, result.row_bytes(), result.row(y * factor + i));
  }
  return result;
}

/// A picture large enough to look at.
inline data::Image enlarged(const data::Image& picture) {
  constexpr int good_side = 256;
  return enlarge(picture, std::max(1, good_side / std::max(picture.width, picture.height)));
}

}  // namespace culprit::figures
