// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pad.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include "culprit/core/error.hpp"

namespace culprit {

/// How the channels of a pixel become one number.
enum class Channels {
  largest_absolute,  ///< max |G|: Eq. 4
  as_published,  ///< |max(-G)|: the authors' program takes the largest of its -G before the absolute value
};

/// How salient each pixel is.
/// @param gradient  G, [C, H, W] @return [H, W]
/// @throws Error (shape) for another number of dimensions.
[[nodiscard]] inline at::Tensor pixel_saliency(const at::Tensor& gradient,
                                               Channels channels = Channels::largest_absolute) {
  if (gradient.dim() != 3)
    throw Error(ErrorCode::shape, "input gradient", "[channels, height, width]", c10::str(gradient.sizes()));
  const at::Tensor pixels =
      channels == Channels::largest_absolute ? gradient.abs().amax(0) : gradient.neg().amax(0).abs();
  return pixels.contiguous();
}

/// The two saliencies that become 0 and 1 of a heat map.
struct HeatScale {
  double low = 0.0;   ///< becomes 0
  double high = 1.0;  ///< becomes 1
};

/// From pixel saliency to a map of 0 to 1 as the paper shows it: clipped to two percentiles, scaled, and
/// smoothed by a 3x3 Gaussian.
struct HeatMap {
  double low_percentile = 90.0;   ///< what is below becomes 0
  double high_percentile = 99.0;  ///< what is above becomes 1
  bool smooth = true;             ///< by 1/16 * (1 2 1)^T (1 2 1), the picture's edge repeated outside

  /// The percentiles, interpolated linearly, over the pixels of one map, or of several that share a scale.
  /// @param saliencies  [H, W] each
  /// @throws Error (argument) for no map, or percentiles that are not 0 <= low < high <= 100.
  [[nodiscard]] HeatScale scale(std::span<const at::Tensor> saliencies) const {
    if (saliencies.empty()) throw Error(ErrorCode::argument, "heat maps", "at least one", "none");
    if (!(0.0 <= low_percentile && low_percentile < high_percentile && high_percentile <= 100.0)) {
      throw Error(ErrorCode::argument, "percentiles of a heat map", "0 <= low < high <= 100",
                  std::to_string(low_percentile) + " and " + std::to_string(high_percentile));
    }
    std::vector<at::Tensor> flat;
    for (const at::Tensor& each : saliencies) flat.push_back(each.to(at::kCPU, at::kDouble).flatten());
    const at::Tensor pixels = std::get<0>(at::cat(flat).sort());
    return {percentile(pixels, low_percentile), percentile(pixels, high_percentile)};
  }

  /// The map, [H, W] float64 in 0 to 1; all 0 on a scale without extent.
  /// @param saliency  [H, W]
  [[nodiscard]] at::Tensor operator()(const at::Tensor& saliency, const HeatScale& scale) const {
    const at::Tensor wide = saliency.to(at::kCPU, at::kDouble);
    const double extent = scale.high - scale.low;
    if (!(extent > 0.0)) return at::zeros_like(wide);
    at::Tensor heat = ((wide - scale.low) / extent).clamp(0.0, 1.0);
    if (!smooth) return heat;
    const at::Tensor line = at::tensor({0.25, 0.5, 0.25}, at::kDouble);
    const at::Tensor kernel = at::outer(line, line).view({1, 1, 3, 3});
    return at::conv2d(at::pad(heat.view({1, 1, heat.size(0), heat.size(1)}), {1, 1, 1, 1}, "replicate"),
                      kernel)
        .squeeze(0)
        .squeeze(0);
  }

 private:
  static double percentile(const at::Tensor& sorted, double percent) {
    const double place = percent / 100.0 * static_cast<double>(sorted.numel() - 1);
    const auto below = static_cast<std::int64_t>(place);
    const std::int64_t above = std::min(below + 1, sorted.numel() - 1);
    const auto a = sorted[below].item<double>();
    const auto b = sorted[above].item<double>();
    return a + (place - static_cast<double>(below)) * (b - a);
  }
};

}  // namespace culprit
