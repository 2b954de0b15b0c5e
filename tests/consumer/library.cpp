// SPDX-License-Identifier: MIT
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>

#include "all_headers.hpp"

culprit::Index count_units(const culprit::Profile& profile);

int main() {
  namespace nn = torch::nn;
  nn::Sequential model(nn::Conv2d(nn::Conv2dOptions(3, 4, 3)), nn::AdaptiveAvgPool2d(1), nn::Flatten(),
                       nn::Linear(4, 2));
  model->eval();
  const culprit::Profile profile = culprit::Profiler{}(model, {.input = at::ones({3, 5, 5}), .target = 1});
  return count_units(profile) == 4 && profile.top(1).front().value > 0 ? 0 : 1;
}
