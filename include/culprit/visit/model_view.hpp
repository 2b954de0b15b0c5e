// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include <ATen/core/Tensor.h>

#include "culprit/core/error.hpp"

namespace culprit::visit {

/// A parameter or buffer by its name in the model.
struct NamedTensor {
  std::string name;   ///< such as "layer1.0.conv1.weight"
  at::Tensor tensor;  ///< the model's own, not a copy
};

/// Without undefined tensors, and a shared tensor only under its first name.
[[nodiscard]] inline std::vector<NamedTensor> each_once(std::vector<NamedTensor> tensors) {
  std::unordered_set<const c10::TensorImpl*> seen;
  std::erase_if(tensors, [&](const NamedTensor& named) {
    return !named.tensor.defined() || !seen.insert(named.tensor.unsafeGetTensorImpl()).second;
  });
  return tensors;
}

/// All that culprit asks of a model, whatever its type: made by view(model). The tensors are the model's own,
/// not copies.
struct ModelView {
  std::vector<NamedTensor>
      parameters;  ///< in named_parameters() order, a shared parameter once, under its first name
  std::vector<NamedTensor> buffers;                      ///< in named_buffers() order, each once
  std::vector<std::string> training;                     ///< modules in training mode
  std::function<at::Tensor(const at::Tensor&)> forward;  ///< inputs [B, ...] -> outputs [B, classes]
};

/// How a type of model is seen; specialize it, with a static function `make(model)`, for a type of your own.
/// There: torch::nn modules, holders and shared pointers (visit/nn_module.hpp), torch::jit::Module
/// (visit/script_module.hpp), and a ModelView itself.
template <class M>
struct ViewOf;

/// A view is a model itself.
template <>
struct ViewOf<ModelView> {
  /// That view.
  static const ModelView& make(const ModelView& model) { return model; }
};

/// The view of any model. The view may not outlive the model.
template <class M>
requires requires(M& model) {
  { ViewOf<std::remove_cvref_t<M>>::make(model) } -> std::convertible_to<ModelView>;
}
[[nodiscard]] ModelView view(M&& model) { return ViewOf<std::remove_cvref_t<M>>::make(model); }

/// @throws Error (model) when a module is in training mode: dropout and batch statistics would mix the
/// samples.
inline void require_eval(const ModelView& view) {
  if (!view.training.empty()) {
    const std::string& module = view.training.front();
    throw Error(ErrorCode::model, module.empty() ? "model" : "module " + module,
                "eval mode (call model.eval())", "training mode");
  }
}

}  // namespace culprit::visit
