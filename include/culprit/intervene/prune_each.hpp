// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/index_put.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "culprit/engine/uses.hpp"
#include "culprit/intervene/prune.hpp"

namespace culprit::intervene {

namespace detail {

/// Writes zeros into the feature maps of each sample's own channels, wherever the model would have them if
/// these units were pruned.
class Switch final : public visit::OperatorObserver {
 public:
  /// @param units   to switch off, for each sample of the batch
  /// @param device  of the feature maps
  Switch(const visit::Plan& traced, std::span<const std::vector<Index>> units, at::Device device)
      : OperatorObserver(traced.parameters), batch_(static_cast<Index>(units.size())) {
    struct Places {
      std::vector<Index> samples, channels;
    };
    std::vector<Places> places(traced.parameters.size());
    for (std::size_t sample = 0; sample < units.size(); ++sample) {
      for (const Index index : units[sample]) {
        const Unit unit = traced.units->unit(index);
        Places& of_layer = places[static_cast<std::size_t>(unit.layer)];
        of_layer.samples.push_back(static_cast<Index>(sample));
        of_layer.channels.push_back(unit.channel);
      }
    }
    std::vector<Index> all;  // for one copy to the device
    for (const Places& of_layer : places) {
      all.insert(all.end(), of_layer.samples.begin(), of_layer.samples.end());
      all.insert(all.end(), of_layer.channels.begin(), of_layer.channels.end());
    }
    const at::Tensor there = at::tensor(all, at::kLong).to(device);
    Index begin = 0;
    for (std::size_t i = 0; i < places.size(); ++i) {
      const auto count = static_cast<Index>(places[i].samples.size());
      maps_.emplace_back(there.narrow(0, begin, count), there.narrow(0, begin + count, count));
      begin += 2 * count;
      const visit::Outlet& outlet = traced.outlets[i];
      const at::Tensor& owner = outlet.scale.defined() ? outlet.scale : outlet.running_mean;
      if (owner.defined()) normed_[owner.unsafeGetTensorImpl()].push_back(i);
    }
  }

  void on_use(visit::ParameterUse use, at::Tensor& output) override {
    if (output.dim() < 2 || output.size(0) != batch_) {
      uncovered = "an output whose first dimension is not the batch";
      return;
    }
    const bool linear = use.kind == visit::ParameterUse::Kind::linear;
    clear(use.parameter, linear ? output.movedim(-1, 1) : output);
  }

  void on_batch_norm(const visit::BatchNormUse& use, at::Tensor& output) override {
    if (use.batch_statistics) uncovered = "batch norm over the batch";
    const at::Tensor& owner = use.scale.defined() ? use.scale : use.running_mean;
    if (!owner.defined()) return;
    const auto layers = normed_.find(owner.unsafeGetTensorImpl());
    if (layers == normed_.end()) return;
    for (const std::size_t layer : layers->second) clear(layer, output);
  }

  void on_unknown(std::size_t /*parameter*/, const std::string& op) override { uncovered = op; }

  std::string uncovered;  ///< why samples cannot have units of their own switched off; empty: they can

 private:
  /// @param output  [B, channels, ...]
  void clear(std::size_t layer, const at::Tensor& output) {
    const auto& [samples, channels] = maps_[layer];
    if (samples.numel() == 0) return;
    output.index_put_({samples, channels}, at::zeros({}, output.options()));
  }

  Index batch_;
  std::vector<std::pair<at::Tensor, at::Tensor>> maps_;                // samples and channels of each layer
  std::map<const c10::TensorImpl*, std::vector<std::size_t>> normed_;  // layers by their batch norm's owner
};

/// Whether switching channels off in a batch is all that pruning these units is.
inline bool can_switch(const visit::Plan& traced, const at::Tensor& inputs) {
  for (std::size_t i = 0; i < traced.outlets.size(); ++i) {
    const Layer& layer = traced.units->layers()[i];
    if (layer.count != layer.shape.front() || traced.outlets[i].transposed) return false;
    if (!traced.outlets[i].unknown.empty() || traced.outlets[i].bias_added_later) return false;
  }
  const engine::GradientScope scope(traced.model);
  return engine::detail::samples_are_first(traced, inputs);
}

}  // namespace detail

/// Virtual pruning: the model's outputs for each sample with its own units switched off, in one batched
/// forward pass that leaves the weights alone. Equal to Prune up to rounding.
///
/// A model whose samples cannot be separated, or whose units are not channels, is pruned and run sample by
/// sample instead.
/// @param plan    traced (visit::trace), else that is done first, with the first of the inputs
/// @param inputs  [B, ...], one sample or more, on any device
/// @param units   to switch off, for each sample
/// @return [B, classes], without gradients
/// @throws Error (shape) when there is no sample, or not one list of units for each, Error (argument) for a
/// unit that is not there, Error (model) naming a layer whose weight goes through an operator without a rule.
[[nodiscard]] inline at::Tensor outputs_pruned_each(const visit::Plan& plan, const at::Tensor& inputs,
                                                    std::span<const std::vector<Index>> units) {
  if (inputs.dim() == 0 || inputs.size(0) == 0) {
    throw Error(ErrorCode::shape, "inputs", "[batch, ...] with at least one sample",
                c10::str(inputs.sizes()));
  }
  if (inputs.size(0) != static_cast<Index>(units.size())) {
    throw Error(ErrorCode::shape, "units to prune",
                std::to_string(inputs.size(0)) + " lists, one for each sample", std::to_string(units.size()));
  }
  const c10::InferenceMode no_inference(false);
  const at::NoGradGuard no_grad;
  const at::Tensor here = plan.brought(inputs);
  const visit::Plan traced = plan.outlets.empty() ? visit::trace(plan, here.narrow(0, 0, 1)) : plan;
  if (detail::can_switch(traced, here)) {
    const auto off = std::make_shared<detail::Switch>(traced, units, here.device());
    at::Tensor outputs =
        visit::OperatorObserver::observe(off, [&] { return plan.model.forward(engine::private_copy(here)); });
    if (off->uncovered.empty()) return outputs;
  }
  std::vector<at::Tensor> outputs;
  for (std::size_t sample = 0; sample < units.size(); ++sample) {
    const Scope scope(Prune{}, traced, {here[static_cast<Index>(sample)], 0, units[sample]});
    outputs.push_back(scope.outputs());
  }
  return at::stack(outputs);
}

}  // namespace culprit::intervene
