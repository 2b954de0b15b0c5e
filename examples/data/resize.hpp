// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "culprit/core/error.hpp"
#include "pixels.hpp"

namespace culprit::data {

namespace detail {

/// The part of a source line that one output sample sees: fixed-point weights for samples first, first + 1,
/// ...
struct Window {
  int first = 0;
  std::vector<std::int32_t> weights;
};

/// Weights have 22 fractional bits: 32 less 8 for the sample and 2 for the sign and overshoot, as in Pillow.
inline constexpr int weight_bits = 32 - 8 - 2;

/// Halves go up, unlike std::lrint's.
inline std::int32_t nearest(double value) { return static_cast<std::int32_t>(std::floor(value + 0.5)); }

/// The triangle filter, widened by the scale when the picture shrinks (antialiasing), for each output sample.
/// The order of the floating-point operations is that of Pillow's precompute_coeffs (libImaging/Resample.c),
/// so that the rounded weights are equal to its weights.
inline std::vector<Window> triangle_windows(int in_size, int out_size) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double support = std::max(scale, 1.0);
  const double inverse = 1.0 / support;
  std::vector<Window> windows(static_cast<std::size_t>(out_size));
  for (int out = 0; out < out_size; ++out) {
    const double centre = (out + 0.5) * scale;
    const int first = std::max(nearest(centre - support), 0);
    const int end = std::min(nearest(centre + support), in_size);
    std::vector<double> weights;
    double sum = 0;
    for (int in = 0; in < end - first; ++in) {
      weights.push_back(std::max(0.0, 1.0 - std::abs((in + first - centre + 0.5) * inverse)));
      sum += weights.back();
    }
    Window& window = windows[static_cast<std::size_t>(out)];
    window.first = first;
    for (const double weight : weights)
      window.weights.push_back(nearest((weight / sum) * (1 << weight_bits)));
  }
  return windows;
}

/// Rounds a weighted sum that began at one half.
inline std::uint8_t sample_of(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> weight_bits, 0, 255));
}
inline constexpr std::int32_t one_half = 1 << (weight_bits - 1);

inline Image resize_width(const Image& image, int width) {
  const std::vector<Window> windows = triangle_windows(image.width, width);
  Image out = make_image(static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(image.height),
                         image.channels, "resized picture");
  const auto channels = static_cast<std::size_t>(image.channels);
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* to = out.row(y);
    for (const Window& window : windows) {
      const std::uint8_t* from = image.row(y) + static_cast<std::size_t>(window.first) * channels;
      for (std::size_t channel = 0; channel < channels; ++channel) {
        std::int32_t sum = one_half;
        for (std::size_t i = 0; i < window.weights.size(); ++i)
          sum += from[i * channels + channel] * window.weights[i];
        *to++ = sample_of(sum);
      }
    }
  }
  return out;
}

inline Image resize_height(const Image& image, int height) {
  const std::vector<Window> windows = triangle_windows(image.height, height);
  Image out = make_image(static_cast<std::uint64_t>(image.width), static_cast<std::uint64_t>(height),
                         image.channels, "resized picture");
  std::vector<std::int32_t> sums(image.row_bytes());
  for (int y = 0; y < height; ++y) {
    const Window& window = windows[static_cast<std::size_t>(y)];
    std::ranges::fill(sums, one_half);
    for (std::size_t i = 0; i < window.weights.size(); ++i) {
      const std::uint8_t* from = image.row(window.first + static_cast<int>(i));
      for (std::size_t x = 0; x < sums.size(); ++x) sums[x] += from[x] * window.weights[i];
    }
    std::ranges::transform(sums, out.row(y), sample_of);
  }
  return out;
}

}  // namespace detail

/// Bilinear with antialiasing, equal to Pillow's Image.resize(BILINEAR) in every sample: 8-bit samples,
/// 22-bit fixed-point weights, first the rows, then the columns, with 8-bit samples between. (Since version
/// 13 Pillow does the columns first where the height shrinks far more than the width: never at kept
/// proportions.)
/// @throws Error argument when an extent is below 1, format when the result has more than max_pixels
inline Image resize(const Image& image, int width, int height) {
  if (width < 1 || height < 1) {
    throw Error(ErrorCode::argument, "resized picture", "at least 1 x 1",
                std::to_string(width) + " x " + std::to_string(height));
  }
  Image out = width == image.width ? image : detail::resize_width(image, width);
  return height == image.height ? out : detail::resize_height(out, height);
}

/// Makes the shorter side `size` and the longer int(size * longer / shorter), as torchvision's Resize(size).
/// @throws Error argument when size is below 1 or the result has more than max_pixels
inline Image resize_shorter_side(const Image& image, int size) {
  const int shorter = std::min(image.width, image.height);
  const double longer = static_cast<double>(size) * std::max(image.width, image.height) / shorter;
  if (size < 1 || longer * size > static_cast<double>(max_pixels)) {
    throw Error(
        ErrorCode::argument, "shorter side", "1 to what gives " + std::to_string(max_pixels) + " pixels",
        std::to_string(size) + " from " + std::to_string(image.width) + " x " + std::to_string(image.height));
  }
  const int rest = static_cast<int>(longer);
  return image.width < image.height ? resize(image, size, rest) : resize(image, rest, size);
}

/// The middle size x size pixels; an odd margin is split as Python's round((extent - size) / 2) does, halves
/// to the even number (torchvision's CenterCrop, but without its padding of smaller pictures).
/// @param place names the picture in the error
/// @throws Error shape when the picture is smaller than the crop
inline Image centre_crop(const Image& image, int size, const std::string& place = "picture") {
  if (size < 1 || size > image.width || size > image.height) {
    throw Error(ErrorCode::shape, place,
                "at least " + std::to_string(size) + " x " + std::to_string(size) + " pixels to crop",
                std::to_string(image.width) + " x " + std::to_string(image.height));
  }
  const auto margin = [size](int extent) { return static_cast<int>(std::lrint((extent - size) / 2.0)); };
  const auto extent = static_cast<std::uint64_t>(size);
  Image out = make_image(extent, extent, image.channels, "centre crop");
  const std::size_t offset =
      static_cast<std::size_t>(margin(image.width)) * static_cast<std::size_t>(image.channels);
  for (int y = 0; y < size; ++y)
    std::copy_n(image.row(y + margin(image.height)) + offset, out.row_bytes(), out.row(y));
  return out;
}

}  // namespace culprit::data
