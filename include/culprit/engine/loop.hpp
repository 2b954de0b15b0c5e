// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include "culprit/engine/engine.hpp"
#include "culprit/engine/reduce.hpp"

namespace culprit::engine {

/// One sample at a time by autograd: the reference, and what Batched falls back to. Right for every
/// differentiable model; memory is that of one training step at batch 1.
struct Loop {
  /// @param inputs  [B, ...] @param targets  [B, ...] as the loss takes them
  template <Aggregation A, Loss L>
  [[nodiscard]] BatchResult operator()(const visit::Plan& plan, const A& aggregation, const L& loss,
                                       const at::Tensor& inputs, const at::Tensor& targets) const {
    const GradientScope scope(plan.model);
    for (const at::Tensor& parameter : plan.parameters) parameter.set_requires_grad(true);
    BatchResult result;
    result.profiles = at::empty({inputs.size(0), plan.units->size()}, at::dtype(profile_dtype(plan)));
    std::vector<at::Tensor> outputs;
    std::vector<at::Tensor> losses;
    for (Index sample = 0; sample < inputs.size(0); ++sample) {
      const at::Tensor output = plan.model.forward(private_copy(inputs.narrow(0, sample, 1)));
      const auto [sample_loss, gradient] = seed(loss, output, private_copy(targets.narrow(0, sample, 1)));
      torch::autograd::variable_list gradients(plan.parameters.size());
      if (output.requires_grad()) {
        gradients = torch::autograd::grad({output}, plan.parameters, {gradient}, /*retain_graph=*/false,
                                          /*create_graph=*/false, /*allow_unused=*/true);
      }
      at::Tensor row = result.profiles.narrow(0, sample, 1);
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        const Layer& layer = plan.units->layers()[i];
        if (gradients[i].defined()) {
          reduce_layer(aggregation, gradients[i].reshape({1, -1}), layer, row, 0);
        } else {
          fill_unreached(aggregation, layer, row);
        }
      }
      outputs.push_back(output.detach());
      losses.push_back(sample_loss);
    }
    result.outputs = at::cat(outputs);
    result.losses = at::cat(losses);
    return result;
  }
};

}  // namespace culprit::engine
