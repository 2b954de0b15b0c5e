// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>

#include "classifier.hpp"

namespace culprit::zoo {

struct Vgg19Options {
  bool batch_norm = false;  ///< one behind every convolution
  std::int64_t classes = 1000;
};

/// VGG-19 of Simonyan & Zisserman 2015 ("Very Deep Convolutional Networks for Large-Scale Image
/// Recognition"), table 1, configuration E: [B, 3, H, W] -> [B, classes]. Parameters are named as in
/// torchvision.models.vgg.
class Vgg19 : public Classifier {
 public:
  explicit Vgg19(const Vgg19Options& options = {}) {
    constexpr std::array<std::array<std::int64_t, 2>, 5> stages{
        {{2, 64}, {2, 128}, {4, 256}, {4, 512}, {4, 512}}};
    torch::nn::Sequential features;
    std::int64_t in_channels = 3;
    for (const auto& [convolutions, channels] : stages) {
      for (std::int64_t i = 0; i < convolutions; ++i) {
        features->push_back(torch::nn::Conv2d(torch::nn::Conv2dOptions(in_channels, channels, 3).padding(1)));
        if (options.batch_norm) {
          features->push_back(torch::nn::BatchNorm2d(channels));
        }
        features->push_back(torch::nn::ReLU());
        in_channels = channels;
      }
      features->push_back(torch::nn::MaxPool2d(2));
    }
    features_ = register_module("features", features);

    constexpr std::int64_t hidden = 4096;
    torch::nn::Sequential classifier(torch::nn::Linear(in_channels * pooled * pooled, hidden),
                                     torch::nn::ReLU(), torch::nn::Dropout(0.5),
                                     torch::nn::Linear(hidden, hidden), torch::nn::ReLU(),
                                     torch::nn::Dropout(0.5), torch::nn::Linear(hidden, options.classes));
    classifier_ = register_module("classifier", classifier);
  }

  torch::Tensor forward(torch::Tensor images) override {
    const auto maps = torch::adaptive_avg_pool2d(features_->forward(images), {pooled, pooled});
    return classifier_->forward(maps.flatten(1));
  }

 private:
  static constexpr std::int64_t pooled = 7;  ///< height and width of what the linear layers read

  torch::nn::Sequential features_{nullptr};
  torch::nn::Sequential classifier_{nullptr};
};

}  // namespace culprit::zoo
