// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
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
      : OperatorObserver(plan.parameters), uses(plan.parameters.size(), 0) {}

  void on_use(ParameterUse use, at::Tensor& output) override {
    ++uses[use.parameter];
    if (!use.transposed) produced_[output.unsafeGetTensorImpl()] = {output, output._version(), use.parameter};
  }

  void on_batch_norm(const at::Tensor& input, const at::Tensor& owner, bool /*batch_statistics*/) override {
    const auto found = produced_.find(input.unsafeGetTensorImpl());
    if (found == produced_.end() || found->second.version != input._version() || !owner.defined()) return;
    readers[found->second.parameter].push_back(owner);
  }

  void on_unknown(std::size_t parameter, const std::string& /*op*/) override { ++uses[parameter]; }

  std::vector<Index> uses;
  std::map<std::size_t, std::vector<at::Tensor>> readers;

 private:
  struct Output {
    at::Tensor tensor;  // kept alive: its address is the key
    std::int64_t version = 0;
    std::size_t parameter = 0;
  };
  std::map<const c10::TensorImpl*, Output> produced_;
};

inline std::string module_owning(const ModelView& model, const at::Tensor& tensor) {
  for (const auto* list : {&model.parameters, &model.buffers}) {
    for (const auto& [name, candidate] : *list) {
      if (candidate.is_same(tensor)) return name.substr(0, name.rfind('.'));
    }
  }
  return {};
}

}  // namespace detail

/// The plan's units with Layer::uses and Layer::batch_norm found by running one forward pass without
/// gradients.
///
/// A batch norm is named when it, and no other, reads the layer's output before anything changes that output.
/// @param sample  inputs of the model, [B, ...]; one sample is enough
[[nodiscard]] inline Units trace(const Plan& plan, const at::Tensor& sample) {
  const auto recorder = std::make_shared<detail::FlowRecorder>(plan);
  {
    const c10::InferenceMode no_inference(false);  // there tensors have no version
    const at::NoGradGuard no_grad;
    OperatorObserver::observe(recorder, [&] { return plan.model.forward(sample.clone()); });
  }
  std::vector<Layer> layers = plan.units->layers();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    layers[i].uses = recorder->uses[i];
    const auto readers = recorder->readers.find(i);
    if (readers != recorder->readers.end() && readers->second.size() == 1 && layers[i].uses == 1) {
      layers[i].batch_norm = detail::module_owning(plan.model, readers->second.front());
    }
  }
  return Units(std::move(layers));
}

}  // namespace culprit::visit
