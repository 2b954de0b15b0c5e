// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pad.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "culprit/core/order.hpp"
#include "culprit/intervene/box.hpp"
#include "culprit/intervene/scope.hpp"
#include "culprit/io/hexadecimal.hpp"
#include "culprit/tensor.hpp"

namespace culprit::intervene {

/// Which pixels, in which order.
enum class Pixels { most_salient, least_salient, random };

/// Fill: the image itself, smoothed by a Gaussian, its edge repeated outside.
struct Blur {
  double sigma = 3.0;  ///< in pixels
};

/// Replaces pixels of the sample (section 4 of the paper): the share of them that is most salient, or a
/// region.
///   Mask{.share = 0.05}                                       the top 5 %, by the data set's mean
///   Mask{.share = 0.05, .pixels = Pixels::random, .seed = 1}  the control: as many at random
///   Mask{.region = region, .fill = other}                     pastes a region of another image
struct Mask {
  static constexpr std::string_view name = "mask";
  using Fill = std::variant<double, Blur, at::Tensor>;  ///< what comes in the pixels' place

  double share = 0.05;                   ///< of all pixels, 0 to 1; fewer where the box leaves fewer
  Pixels pixels = Pixels::most_salient;  ///< which the share is taken of
  std::optional<Box> keep{};             ///< stays untouched
  at::Tensor region{};                   ///< [H, W] bool: these pixels, instead of a share
  Fill fill = 0.0;         ///< a value (0 is the data set's mean after normalisation), a blur of the
                           ///< image, or a tensor that broadcasts to [C, H, W]
  std::uint64_t seed = 0;  ///< of random pixels

  /// The input with these pixels replaced, [C, H, W]. @throws as chosen()
  at::Tensor operator()(const visit::Plan& /*plan*/, const Subject& subject, Undo& /*undo*/) const {
    return (*this)(subject);
  }

  /// The input with these pixels replaced, for whoever runs many of them in a batch: the model stays as it
  /// is.
  [[nodiscard]] at::Tensor operator()(const Subject& subject) const {
    return at::where(chosen(subject), filling(subject.input), subject.input);
  }

  /// The pixels that are replaced, [H, W] bool: by saliency descending, ties by place ascending.
  /// @throws Error (shape) when input, saliency, region or box do not belong together, Error (argument) for a
  /// share outside 0 to 1, Error (numeric) for a NaN saliency.
  [[nodiscard]] at::Tensor chosen(const Subject& subject) const {
    if (subject.input.dim() != 3) {
      throw Error(ErrorCode::shape, "input to mask", "[channels, height, width]",
                  c10::str(subject.input.sizes()));
    }
    const Index height = subject.input.size(1);
    const Index width = subject.input.size(2);
    const auto require_map = [&](const at::Tensor& map, const char* place) {
      if (!map.defined() || map.sizes() != at::IntArrayRef{height, width}) {
        throw Error(ErrorCode::shape, place, c10::str(at::IntArrayRef{height, width}) + ", as the image",
                    map.defined() ? c10::str(map.sizes()) : "none");
      }
    };
    at::Tensor free = at::ones({height, width}, at::kBool);
    if (keep) {
      const bool inside = 0 <= keep->top && keep->top <= keep->bottom && keep->bottom <= height &&
                          0 <= keep->left && keep->left <= keep->right && keep->right <= width;
      if (!inside) {
        throw Error(ErrorCode::shape, "box",
                    "within " + std::to_string(height) + " rows and " + std::to_string(width) + " columns",
                    in_words(*keep));
      }
      free.slice(0, keep->top, keep->bottom).slice(1, keep->left, keep->right).fill_(false);
    }
    if (region.defined()) {
      require_map(region, "region");
      return region.to(at::kBool).logical_and(free.to(region.device())).to(subject.input.device());
    }
    if (!(share >= 0.0 && share <= 1.0)) {
      throw Error(ErrorCode::argument, "share of pixels", "0 to 1", std::to_string(share));
    }
    std::vector<Index> candidates;
    const auto is_free = free.accessor<bool, 2>();
    for (Index i = 0; i < height * width; ++i) {
      if (is_free[i / width][i % width]) candidates.push_back(i);
    }
    const auto count = static_cast<Index>(std::llround(share * static_cast<double>(height * width)));
    std::vector<Index> taken;
    if (pixels == Pixels::random) {
      taken = drawn(candidates, count, seed);
    } else {
      require_map(subject.saliency, "saliency of pixels");
      const at::Tensor wide = subject.saliency.to(at::kCPU, at::kDouble).contiguous();
      taken =
          first_ranked({wide.const_data_ptr<double>(), static_cast<std::size_t>(wide.numel())}, candidates,
                       count, pixels == Pixels::most_salient ? Order::largest_first : Order::smallest_first);
    }
    at::Tensor result = at::zeros({height, width}, at::kBool);
    auto to = result.accessor<bool, 2>();
    for (const Index i : taken) to[i / width][i % width] = true;
    return result.to(subject.input.device());
  }

  [[nodiscard]] std::string description() const {
    std::string text = "mask ";
    if (region.defined()) {
      text += in_words("region", region);
    } else {
      text += c10::str(share, " of the pixels, ");
      text += pixels == Pixels::random         ? "random by seed " + std::to_string(seed)
              : pixels == Pixels::most_salient ? "most salient"
                                               : "least salient";
    }
    if (keep) text += " outside " + in_words(*keep);
    text += ", by ";
    if (const auto* value = std::get_if<double>(&fill)) return text + c10::str(*value);
    if (const auto* blur = std::get_if<Blur>(&fill)) return text + c10::str("a blur of ", blur->sigma);
    return text + in_words("image", std::get<at::Tensor>(fill));
  }

 private:
  static std::string in_words(const Box& box) {
    return c10::str("rows ", box.top, " to ", box.bottom, ", columns ", box.left, " to ", box.right);
  }
  static std::string in_words(const char* what, const at::Tensor& tensor) {
    return c10::str(what, " ", tensor.sizes(), " ", io::to_hex(culprit::detail::hash_tensor(tensor)));
  }

  [[nodiscard]] at::Tensor filling(const at::Tensor& input) const {
    if (const auto* value = std::get_if<double>(&fill)) return at::scalar_tensor(*value, input.options());
    if (const auto* blur = std::get_if<Blur>(&fill)) return blurred(input, blur->sigma);
    const auto& image = std::get<at::Tensor>(fill);
    try {
      return image.to(input.options()).expand_as(input);
    } catch (const c10::Error&) {
      throw Error(ErrorCode::shape, "fill of a mask",
                  "a tensor that broadcasts to " + c10::str(input.sizes()), c10::str(image.sizes()));
    }
  }

  static at::Tensor blurred(const at::Tensor& input, double sigma) {
    if (!(sigma > 0.0)) throw Error(ErrorCode::argument, "sigma of a blur", "above 0", std::to_string(sigma));
    const auto radius = static_cast<Index>(std::ceil(3.0 * sigma));
    const at::Tensor offset = at::arange(-radius, radius + 1, input.options());
    at::Tensor line = (offset.square() / (-2.0 * sigma * sigma)).exp();
    line = line / line.sum();
    const at::Tensor padded = at::pad(input.unsqueeze(1), {radius, radius, radius, radius}, "replicate");
    return at::conv2d(at::conv2d(padded, line.view({1, 1, 1, -1})), line.view({1, 1, -1, 1})).squeeze(1);
  }
};

static_assert(Intervention<Mask>);

}  // namespace culprit::intervene
