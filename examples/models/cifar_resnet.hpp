// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "classifier.hpp"

namespace culprit::zoo {

/// Two 3x3 convolutions around a shortcut without parameters: "option A" of He et al. 2016, section 4.2.
class CifarBlock : public torch::nn::Module {
 public:
  CifarBlock(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride)
      : stride_(stride),
        new_channels_(out_channels - in_channels),
        conv1_(register_module("conv1", conv3x3(in_channels, out_channels, stride))),
        bn1_(register_module("bn1", torch::nn::BatchNorm2d(out_channels))),
        conv2_(register_module("conv2", conv3x3(out_channels, out_channels, 1))),
        bn2_(register_module("bn2", torch::nn::BatchNorm2d(out_channels))) {}

  torch::Tensor forward(const torch::Tensor& x) {
    const auto inner = torch::relu(bn1_->forward(conv1_->forward(x)));
    return torch::relu(bn2_->forward(conv2_->forward(inner)) + shortcut(x));
  }

  [[nodiscard]] static torch::nn::Conv2d conv3x3(std::int64_t in_channels, std::int64_t out_channels,
                                                 std::int64_t stride) {
    return torch::nn::Conv2d(
        torch::nn::Conv2dOptions(in_channels, out_channels, 3).stride(stride).padding(1).bias(false));
  }

 private:
  /// Every second pixel, and the new channels as zeros, half of them before and half behind the old ones.
  [[nodiscard]] torch::Tensor shortcut(const torch::Tensor& x) const {
    if (stride_ == 1 && new_channels_ == 0) {
      return x;
    }
    const auto strided =
        x.slice(2, std::nullopt, std::nullopt, stride_).slice(3, std::nullopt, std::nullopt, stride_);
    return torch::constant_pad_nd(strided,
                                  {0, 0, 0, 0, new_channels_ / 2, new_channels_ - new_channels_ / 2});
  }

  std::int64_t stride_;
  std::int64_t new_channels_;
  torch::nn::Conv2d conv1_;
  torch::nn::BatchNorm2d bn1_;
  torch::nn::Conv2d conv2_;
  torch::nn::BatchNorm2d bn2_;
};

/// The extents of a CifarResNet; its depth is 6 * blocks_per_stage + 2.
struct CifarResNetOptions {
  std::int64_t blocks_per_stage = 3;
  std::int64_t in_channels = 3;
  std::int64_t width = 16;  ///< channels of the first stage; the next ones have twice and four times as many
  std::int64_t classes = 10;
};

/// The residual network for small images of He et al. 2016 ("Deep Residual Learning for Image Recognition"),
/// section 4.2: any H and W, [B, in_channels, H, W] -> [B, classes]. The parameters have the names of
/// akamaster/pytorch_resnet_cifar10, whose published weights therefore load by name.
class CifarResNet : public Classifier {
 public:
  explicit CifarResNet(const CifarResNetOptions& options = {})
      : conv1_(register_module("conv1", CifarBlock::conv3x3(options.in_channels, options.width, 1))),
        bn1_(register_module("bn1", torch::nn::BatchNorm2d(options.width))),
        layer1_(register_module("layer1", stage(options.blocks_per_stage, options.width, options.width, 1))),
        layer2_(
            register_module("layer2", stage(options.blocks_per_stage, options.width, 2 * options.width, 2))),
        layer3_(register_module("layer3",
                                stage(options.blocks_per_stage, 2 * options.width, 4 * options.width, 2))),
        linear_(register_module("linear", torch::nn::Linear(4 * options.width, options.classes))) {}

  torch::Tensor forward(torch::Tensor images) override {
    auto x = torch::relu(bn1_->forward(conv1_->forward(images)));
    x = layer3_->forward(layer2_->forward(layer1_->forward(x)));
    return linear_->forward(x.mean({2, 3}));
  }

 private:
  [[nodiscard]] static torch::nn::Sequential stage(std::int64_t blocks, std::int64_t in_channels,
                                                   std::int64_t out_channels, std::int64_t stride) {
    torch::nn::Sequential layers;
    for (std::int64_t i = 0; i < blocks; ++i) {
      const bool first = i == 0;
      layers->push_back(
          std::make_shared<CifarBlock>(first ? in_channels : out_channels, out_channels, first ? stride : 1));
    }
    return layers;
  }

  torch::nn::Conv2d conv1_;
  torch::nn::BatchNorm2d bn1_;
  torch::nn::Sequential layer1_;
  torch::nn::Sequential layer2_;
  torch::nn::Sequential layer3_;
  torch::nn::Linear linear_;
};

}  // namespace culprit::zoo
