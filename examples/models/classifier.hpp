// SPDX-License-Identifier: MIT
#pragma once

#include <torch/nn/module.h>

namespace culprit::zoo {

/// A network that maps a batch of images [B, C, H, W] to one row of class scores (logits) each, [B, classes].
/// The interface of every network here, so that a program can choose one by name while it runs.
struct Classifier : torch::nn::Module {
  using torch::nn::Module::Module;

  virtual torch::Tensor forward(torch::Tensor images) = 0;
};

}  // namespace culprit::zoo
