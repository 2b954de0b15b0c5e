// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include "culprit/engine/engine.hpp"
#include "culprit/engine/reduce.hpp"
#include "culprit/visit/twice_differentiable.hpp"

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
    result.profiles = at::empty({inputs.size(0), plan.units->size()}, profile_options(plan));
    std::vector<at::Tensor> outputs;
    std::vector<at::Tensor> losses;
    for (Index sample = 0; sample < inputs.size(0); ++sample) {
      const at::Tensor output = plan.model.forward(private_copy(inputs.narrow(0, sample, 1)));
      const auto [sample_loss, gradient] = counted_from(
          sample, [&] { return seed(loss, output, private_copy(targets.narrow(0, sample, 1))); });
      torch::autograd::variable_list gradients(plan.parameters.size());
      if (output.requires_grad()) {
        gradients = torch::autograd::grad({output}, plan.parameters, torch::autograd::variable_list{gradient},
                                          /*retain_graph=*/false,
                                          /*create_graph=*/false, /*allow_unused=*/true);
      }
      at::Tensor row = result.profiles.narrow(0, sample, 1);
      reduce_all(plan, aggregation, gradients, row);
      outputs.push_back(output.detach());
      losses.push_back(sample_loss);
    }
    result.outputs = at::cat(outputs);
    result.losses = at::cat(losses);
    return result;
  }

  /// The vector-Jacobian product of the raw profiles by double backward: the reference.
  /// @param inputs  [B, ...], floating-point @param targets  [B, ...] as the loss takes them
  template <DifferentiableAggregation A, Loss L>
  [[nodiscard]] Vjp vjp(const visit::Plan& plan, const A& aggregation, const L& loss,
                        const at::Tensor& inputs, const at::Tensor& targets,
                        const Cotangent& cotangent) const {
    const GradientScope scope(plan.model);
    for (const at::Tensor& parameter : plan.parameters) parameter.set_requires_grad(true);
    std::vector<at::Tensor> profiles, outputs, losses, input_gradients;
    for (Index sample = 0; sample < inputs.size(0); ++sample) {
      const at::Tensor input = differentiable_copy(inputs.narrow(0, sample, 1));
      const at::Tensor output = visit::OperatorObserver::observe(
          std::make_shared<visit::TwiceDifferentiable>(), [&] { return plan.model.forward(input.clone()); });
      const auto [sample_loss, seeds] = counted_from(sample, [&] {
        return seed(loss, output, private_copy(targets.narrow(0, sample, 1)), History::kept);
      });
      torch::autograd::variable_list gradients(plan.parameters.size());
      if (output.requires_grad()) {
        gradients = torch::autograd::grad({output}, plan.parameters, torch::autograd::variable_list{seeds},
                                          /*retain_graph=*/true,
                                          /*create_graph=*/true, /*allow_unused=*/true);
      }
      at::Tensor row = at::empty({1, plan.units->size()}, profile_options(plan));
      reduce_all(plan, aggregation, gradients, row);
      const at::Tensor weights = plan.brought(cotangent(row, sample));

      torch::autograd::variable_list reached, directions;
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        if (!gradients[i].defined() || !gradients[i].requires_grad()) continue;
        const Layer& layer = plan.units->layers()[i];
        const at::Tensor numbers = row.narrow(1, layer.first, layer.count);
        directions.push_back(reduce_layer_vjp(aggregation, gradients[i].detach().reshape({1, -1}), layer,
                                              numbers, weights.narrow(1, layer.first, layer.count))
                                 .reshape_as(gradients[i]));
        reached.push_back(gradients[i]);
      }
      at::Tensor input_gradient;
      if (!reached.empty()) {
        input_gradient = torch::autograd::grad(reached, {input}, directions, /*retain_graph=*/false,
                                               /*create_graph=*/false, /*allow_unused=*/true)[0];
      }
      input_gradients.push_back(input_gradient.defined() ? input_gradient : at::zeros_like(input));
      profiles.push_back(row);
      outputs.push_back(output.detach());
      losses.push_back(sample_loss);
    }
    return {{at::cat(profiles), at::cat(outputs), at::cat(losses)}, at::cat(input_gradients).detach()};
  }

 private:
  /// @param row  [1, units]
  template <Aggregation A>
  static void reduce_all(const visit::Plan& plan, const A& aggregation,
                         const torch::autograd::variable_list& gradients, at::Tensor& row) {
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const Layer& layer = plan.units->layers()[i];
      if (gradients[i].defined()) {
        const at::Tensor gradient = gradients[i].detach();
        reduce_layer(aggregation, (gradient.is_sparse() ? gradient.to_dense() : gradient).reshape({1, -1}),
                     layer, row, 0);
      } else {
        fill_unreached(aggregation, layer, row);
      }
    }
  }
};

static_assert(DifferentiableEngine<Loop>);

}  // namespace culprit::engine
