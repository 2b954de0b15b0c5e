// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "classifier.hpp"

namespace culprit::zoo {

/// Which ResNet; the defaults are torchvision's ResNet-18.
struct ResNetOptions {
  std::array<std::int64_t, 4> blocks = {2, 2, 2, 2};  ///< residual blocks of each stage
  bool bottleneck = false;    ///< 1x1, 3x3, 1x1 with four times the channels, in place of two 3x3
  bool small_images = false;  ///< for 32x32: the first layer is 3x3 with stride 1 and no pooling follows
  std::string shortcut = "downsample";  ///< what the definition calls the 1x1 convolution around a block
  std::string head = "fc";              ///< and the last layer
  std::int64_t classes = 1000;
};

/// Convolutions and batch norms in a row with a shortcut around them: both kinds of block of He et al. 2016,
/// figure 5. A bottleneck has its stride on the 3x3 convolution ("ResNet v1.5"), as torchvision does.
class ResidualBlock : public torch::nn::Module {
 public:
  /// @param width  channels between the convolutions; the block's output has `channels_out(options, width)`
  ResidualBlock(const ResNetOptions& options, std::int64_t in_channels, std::int64_t width,
                std::int64_t stride) {
    const auto out_channels = channels_out(options, width);
    if (options.bottleneck) {
      add(in_channels, width, 1, 1);
      add(width, width, 3, stride);
      add(width, out_channels, 1, 1);
    } else {
      add(in_channels, width, 3, stride);
      add(width, out_channels, 3, 1);
    }
    if (stride != 1 || in_channels != out_channels) {
      shortcut_ = register_module(options.shortcut,
                                  torch::nn::Sequential(convolution(in_channels, out_channels, 1, stride),
                                                        torch::nn::BatchNorm2d(out_channels)));
    }
  }

  torch::Tensor forward(const torch::Tensor& images) {
    auto x = images;
    for (std::size_t i = 0; i < convolutions_.size(); ++i) {
      x = norms_[i]->forward(convolutions_[i]->forward(i == 0 ? x : torch::relu(x)));
    }
    return torch::relu(x + (shortcut_.is_empty() ? images : shortcut_->forward(images)));
  }

  [[nodiscard]] static std::int64_t channels_out(const ResNetOptions& options, std::int64_t width) {
    return options.bottleneck ? 4 * width : width;
  }
  /// Square kernel, padded to keep the size (but for the stride), without bias.
  [[nodiscard]] static torch::nn::Conv2d convolution(std::int64_t in_channels, std::int64_t out_channels,
                                                     std::int64_t kernel, std::int64_t stride) {
    return torch::nn::Conv2d(torch::nn::Conv2dOptions(in_channels, out_channels, kernel)
                                 .stride(stride)
                                 .padding(kernel / 2)
                                 .bias(false));
  }

 private:
  void add(std::int64_t in_channels, std::int64_t out_channels, std::int64_t kernel, std::int64_t stride) {
    const auto number = std::to_string(convolutions_.size() + 1);
    convolutions_.push_back(
        register_module("conv" + number, convolution(in_channels, out_channels, kernel, stride)));
    norms_.push_back(register_module("bn" + number, torch::nn::BatchNorm2d(out_channels)));
  }

  std::vector<torch::nn::Conv2d> convolutions_;
  std::vector<torch::nn::BatchNorm2d> norms_;
  torch::nn::Sequential shortcut_{nullptr};
};

/// The residual network of He et al. 2016 ("Deep Residual Learning for Image Recognition"), table 1:
/// [B, 3, H, W] -> [B, classes]. Parameters are named as in torchvision.models.resnet, or, with
/// shortcut = "shortcut" and head = "linear", as in kuangliu/pytorch-cifar.
class ResNet : public Classifier {
 public:
  explicit ResNet(const ResNetOptions& options = {}) : small_images_(options.small_images) {
    constexpr std::int64_t stem = 64;
    conv1_ = register_module(
        "conv1", ResidualBlock::convolution(3, stem, small_images_ ? 3 : 7, small_images_ ? 1 : 2));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(stem));
    auto channels = stem;
    for (std::size_t i = 0; i < options.blocks.size(); ++i) {
      const auto width = stem << i;
      torch::nn::Sequential stage;
      for (std::int64_t block = 0; block < options.blocks[i]; ++block) {
        const std::int64_t stride = block == 0 && i > 0 ? 2 : 1;
        stage->push_back(std::make_shared<ResidualBlock>(options, channels, width, stride));
        channels = ResidualBlock::channels_out(options, width);
      }
      stages_.push_back(register_module("layer" + std::to_string(i + 1), stage));
    }
    head_ = register_module(options.head, torch::nn::Linear(channels, options.classes));
  }

  torch::Tensor forward(torch::Tensor images) override {
    auto x = torch::relu(bn1_->forward(conv1_->forward(images)));
    if (!small_images_) {
      x = torch::max_pool2d(x, 3, 2, 1);
    }
    for (auto& stage : stages_) {
      x = stage->forward(x);
    }
    return head_->forward(x.mean({2, 3}));
  }

 private:
  bool small_images_;
  torch::nn::Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<torch::nn::Sequential> stages_;
  torch::nn::Linear head_{nullptr};
};

}  // namespace culprit::zoo
