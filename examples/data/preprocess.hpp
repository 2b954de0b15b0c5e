// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/ops/empty.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <c10/util/TypeCast.h>
#include <torch/types.h>

#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"
#include "pixels.hpp"
#include "resize.hpp"

namespace culprit::data {

/// What turns pixels into the input of a model: resize, crop, and (v / 255 - mean) / std by channel.
struct Preprocess {
  int resize = 0;            ///< length of the shorter side, 0 to leave the size as it is
  int crop = 0;              ///< side of the centre crop, 0 for none
  std::vector<double> mean;  ///< one value for each channel of the input: 1 or 3
  std::vector<double> std;   ///< as many, above 0

  /// The settings that go with public weights: "cifar10" and "imagenet" (the same constants: the public
  /// CIFAR-10 networks were trained with ImageNet's), "fashion" (one channel; the moments of Fashion-MNIST's
  /// training set).
  /// @throws Error argument for another name
  static Preprocess preset(std::string_view name) {
    const std::vector<double> imagenet_mean{0.485, 0.456, 0.406};
    const std::vector<double> imagenet_std{0.229, 0.224, 0.225};
    if (name == "cifar10") return {0, 0, imagenet_mean, imagenet_std};
    if (name == "imagenet") return {256, 224, imagenet_mean, imagenet_std};
    if (name == "fashion") return {0, 0, {0.2860}, {0.3530}};
    throw Error(ErrorCode::argument, "preset", "cifar10, imagenet or fashion", io::in_quotes(name));
  }

  /// All settings in one line, equal if and only if they are: "resize=256 crop=224 mean=0.485,0.456,0.406
  /// std=...".
  [[nodiscard]] std::string description() const {
    return "resize=" + std::to_string(resize) + " crop=" + std::to_string(crop) + " mean=" + listed(mean) +
           " std=" + listed(std);
  }

  /// @throws Error argument when a setting is outside its domain
  void check() const {
    const bool paired = (mean.size() == 1 || mean.size() == 3) && std.size() == mean.size();
    const bool sized = resize >= 0 && crop >= 0;
    const auto finite = [](double value) { return std::isfinite(value); };
    const auto positive = [&](double value) { return finite(value) && value > 0; };
    if (!paired || !sized || !std::ranges::all_of(mean, finite) || !std::ranges::all_of(std, positive)) {
      throw Error(ErrorCode::argument, "preprocessing",
                  "resize and crop from 0, 1 or 3 means, and as many deviations above 0", description());
    }
  }

  /// The picture after resize and crop, still 8-bit.
  /// @param place names the picture in errors
  /// @throws Error shape when it is smaller than the crop
  [[nodiscard]] Image geometry(const Image& image, const std::string& place = "picture") const {
    Image out = resize > 0 ? resize_shorter_side(image, resize) : image;
    return crop > 0 ? centre_crop(out, crop, place) : out;
  }

  /// Fills `out` with the normalised samples of a picture that went through geometry(): computed in float64,
  /// then cast. A grey picture is repeated for an input of 3 channels.
  /// @param out contiguous, [channels, height, width], of float64, float32, bfloat16 or float16
  /// @throws Error shape for an RGB picture where the input has 1 channel, dtype for another element type
  void normalise(const Image& image, const torch::Tensor& out, const std::string& place = "picture") const {
    check();
    if (image.channels != 1 && static_cast<std::size_t>(image.channels) != mean.size()) {
      throw Error(ErrorCode::shape, place, std::to_string(mean.size()) + " channel(s), as mean and std have",
                  std::to_string(image.channels));
    }
    switch (out.scalar_type()) {
      case torch::kFloat64:
        return write(image, out.data_ptr<double>());
      case torch::kFloat32:
        return write(image, out.data_ptr<float>());
      case torch::kBFloat16:
        return write(image, out.data_ptr<c10::BFloat16>());
      case torch::kFloat16:
        return write(image, out.data_ptr<c10::Half>());
      default:
        throw Error(ErrorCode::dtype, "input", "float64, float32, bfloat16 or float16",
                    c10::toString(out.scalar_type()));
    }
  }

  /// The input for one picture, [channels, height, width], without the batch dimension.
  /// @throws Error as geometry() and normalise()
  [[nodiscard]] torch::Tensor operator()(const Image& image, torch::Dtype dtype,
                                         const std::string& place = "picture") const {
    const Image picture = geometry(image, place);
    torch::Tensor out =
        at::empty({static_cast<std::int64_t>(mean.size()), picture.height, picture.width}, dtype);
    normalise(picture, out, place);
    return out;
  }

 private:
  static std::string listed(const std::vector<double>& values) {
    std::string text;
    for (const double value : values) {
      std::array<char, 32> digits;
      const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
      text += (text.empty() ? "" : ",") + std::string(digits.data(), end);
    }
    return text;
  }
  template <class T>
  void write(const Image& image, T* out) const {
    const auto step = static_cast<std::size_t>(image.channels);
    for (std::size_t channel = 0; channel < mean.size(); ++channel) {
      std::array<T, 256> table;
      for (std::size_t v = 0; v < 256; ++v)
        table[v] = c10::convert<T>((static_cast<double>(v) / 255 - mean[channel]) / std[channel]);
      for (std::size_t i = step == 1 ? 0 : channel; i < image.pixels.size(); i += step)
        *out++ = table[image.pixels[i]];
    }
  }
};

}  // namespace culprit::data
