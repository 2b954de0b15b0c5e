// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include "culprit/visit/operator_observer.hpp"
#include "culprit/visit/plan.hpp"

namespace culprit::visit {

namespace detail {

class FlowRecorder final : public OperatorObserver {
 public:
  explicit FlowRecorder(const Plan& plan)
      : OperatorObserver(plan.parameters),
        uses(plan.parameters.size(), 0),
        outlets(plan.parameters.size()),
        readers(plan.parameters.size()) {}

  void on_use(ParameterUse use, at::Tensor& output) override {
    ++uses[use.parameter];
    Outlet& outlet = outlets[use.parameter];
    if (use.transposed) {
      outlet.transposed = true;
      return;
    }
    if (use.kind == ParameterUse::Kind::embedding) {  // its units are no channels
      outlet.unknown = "aten::embedding";
      return;
    }
    if (use.bias.defined()) outlet.biases.push_back(use.bias);
    const bool linear = use.kind == ParameterUse::Kind::linear;
    if (linear && !use.bias.defined()) outlet.bias_added_later = true;  // where there is one: see trace()
    if (linear && output.dim() != 2) return;  // a batch norm takes dimension 1, which is no unit's
    produced_[output.unsafeGetTensorImpl()] = {output, output._version(), use.parameter};
  }

  void on_batch_norm(const BatchNormUse& use, at::Tensor& /*output*/) override {
    const auto found = produced_.find(use.input.unsafeGetTensorImpl());
    if (found == produced_.end() || found->second.version != use.input._version()) return;
    readers[found->second.parameter].push_back(use);
  }

  void on_unknown(std::size_t parameter, const std::string& op) override {
    ++uses[parameter];
    outlets[parameter].unknown = op;
  }

  std::vector<Index> uses;
  std::vector<Outlet> outlets;
  std::vector<std::vector<BatchNormUse>> readers;  ///< of each parameter's output

 private:
  struct Output {
    at::Tensor tensor;  // kept alive: its address is the key
    std::int64_t version = 0;
    std::size_t parameter = 0;
  };
  std::map<const c10::TensorImpl*, Output> produced_;
};

/// The name of a parameter or buffer; empty when the tensor is neither.
inline std::string name_of(const ModelView& model, const at::Tensor& tensor) {
  for (const auto* list : {&model.parameters, &model.buffers}) {
    for (const auto& [name, candidate] : *list) {
      if (candidate.is_same(tensor)) return name;
    }
  }
  return {};
}

/// The parameter ...bias beside ...weight, be it fc.weight or attention.in_proj_weight; undefined where there
/// is none.
inline at::Tensor bias_beside(const ModelView& model, const std::string& weight) {
  constexpr std::string_view ending = "weight";
  if (!weight.ends_with(ending)) return {};
  const std::string bias = weight.substr(0, weight.size() - ending.size()) + "bias";
  for (const auto& [name, tensor] : model.parameters) {
    if (name == bias) return tensor;
  }
  return {};
}

}  // namespace detail

/// The plan with Layer::uses, Layer::batch_norm and its outlets found by running one forward pass without
/// gradients.
///
/// A batch norm is named when it, and no other, reads the layer's output before anything changes that output.
/// @param sample  inputs of the model, [B, ...], brought to its device; one sample is enough
[[nodiscard]] inline Plan trace(const Plan& plan, const at::Tensor& sample) {
  const auto recorder = std::make_shared<detail::FlowRecorder>(plan);
  {
    const c10::InferenceMode no_inference(false);  // there tensors have no version
    const at::NoGradGuard no_grad;
    OperatorObserver::observe(recorder, [&] { return plan.model.forward(plan.brought(sample).clone()); });
  }
  Plan traced = plan;
  traced.outlets = std::move(recorder->outlets);
  std::vector<Layer> layers = plan.units->layers();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    layers[i].uses = recorder->uses[i];
    if (traced.outlets[i].bias_added_later) {
      // Of a product with a bias behind it only the names tell.
      const at::Tensor bias = detail::bias_beside(plan.model, layers[i].name);
      traced.outlets[i].bias_added_later = bias.defined();
      if (bias.defined()) traced.outlets[i].biases.push_back(bias);
    }
    for (const at::Tensor& bias : traced.outlets[i].biases) {
      if (detail::name_of(plan.model, bias).empty())
        traced.outlets[i].unknown = "a bias that the model computes";
    }
    if (recorder->readers[i].size() != 1 || layers[i].uses != 1) continue;
    const BatchNormUse& norm = recorder->readers[i].front();
    const at::Tensor& owner = norm.scale.defined() ? norm.scale : norm.running_mean;
    if (!owner.defined()) continue;
    const std::string name = detail::name_of(plan.model, owner);
    if (name.empty()) continue;
    layers[i].batch_norm = name.substr(0, name.rfind('.'));
    Outlet& outlet = traced.outlets[i];
    outlet.scale = norm.scale;
    outlet.shift = norm.shift;
    outlet.running_mean = norm.running_mean;
  }
  traced.units = std::make_shared<const Units>(std::move(layers));
  return traced;
}

}  // namespace culprit::visit
