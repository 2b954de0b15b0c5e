// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "classifier.hpp"

namespace culprit::zoo {

/// Convolution (no bias), batch norm, leaky ReLU. The two layers are children of the parent under the names
/// of their positions in a Sequential of three, counted from `first`.
class ConvNormActivation {
 public:
  ConvNormActivation(torch::nn::Module& parent, int first, const torch::nn::Conv2dOptions& options)
      : convolution_(parent.register_module(
            std::to_string(first), torch::nn::Conv2d(torch::nn::Conv2dOptions(options).bias(false)))),
        norm_(parent.register_module(std::to_string(first + 1),
                                     torch::nn::BatchNorm2d(options.out_channels()))) {}

  [[nodiscard]] torch::Tensor operator()(const torch::Tensor& x) {
    return torch::leaky_relu(norm_->forward(convolution_->forward(x)), 0.1);
  }

 private:
  torch::nn::Conv2d convolution_;
  torch::nn::BatchNorm2d norm_;
};

/// The first layer: 3x3, stride 2.
class MobileNetStem : public torch::nn::Module {
 public:
  explicit MobileNetStem(std::int64_t out_channels)
      : layer_(*this, 0, torch::nn::Conv2dOptions(3, out_channels, 3).stride(2).padding(1)) {}

  torch::Tensor forward(const torch::Tensor& x) { return layer_(x); }

 private:
  ConvNormActivation layer_;
};

/// A 3x3 convolution within each channel, then a 1x1 convolution across them (Howard et al. 2017,
/// section 3.1).
class SeparableBlock : public torch::nn::Module {
 public:
  SeparableBlock(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride)
      : depthwise_(*this, 0,
                   torch::nn::Conv2dOptions(in_channels, in_channels, 3)
                       .stride(stride)
                       .padding(1)
                       .groups(in_channels)),
        pointwise_(*this, 3, torch::nn::Conv2dOptions(in_channels, out_channels, 1)) {}

  torch::Tensor forward(const torch::Tensor& x) { return pointwise_(depthwise_(x)); }

 private:
  ConvNormActivation depthwise_;
  ConvNormActivation pointwise_;
};

/// MobileNetV1 with width 0.25 (Howard et al. 2017, "MobileNets", table 1) and leaky ReLU of slope 0.1:
/// [B, 3, H, W] -> [B, classes]. Parameters are named as in the backbone of biubug6/Pytorch_Retinaface.
class MobileNetV1Quarter : public Classifier {
 public:
  explicit MobileNetV1Quarter(std::int64_t classes = 1000) {
    torch::nn::Sequential first(std::make_shared<MobileNetStem>(8));
    stage1_ = register_module(
        "stage1", append(first, {{8, 16, 1}, {16, 32, 2}, {32, 32, 1}, {32, 64, 2}, {64, 64, 1}}));
    stage2_ = register_module(
        "stage2",
        append({},
               {{64, 128, 2}, {128, 128, 1}, {128, 128, 1}, {128, 128, 1}, {128, 128, 1}, {128, 128, 1}}));
    stage3_ = register_module("stage3", append({}, {{128, 256, 2}, {256, 256, 1}}));
    fc_ = register_module("fc", torch::nn::Linear(256, classes));
  }

  torch::Tensor forward(torch::Tensor images) override {
    const auto maps = stage3_->forward(stage2_->forward(stage1_->forward(images)));
    return fc_->forward(maps.mean({2, 3}));
  }

 private:
  struct Extents {
    std::int64_t in_channels, out_channels, stride;
  };

  [[nodiscard]] static torch::nn::Sequential append(torch::nn::Sequential stage,
                                                    std::initializer_list<Extents> blocks) {
    for (const auto& block : blocks) {
      stage->push_back(std::make_shared<SeparableBlock>(block.in_channels, block.out_channels, block.stride));
    }
    return stage;
  }

  torch::nn::Sequential stage1_{nullptr};
  torch::nn::Sequential stage2_{nullptr};
  torch::nn::Sequential stage3_{nullptr};
  torch::nn::Linear fc_{nullptr};
};

}  // namespace culprit::zoo
