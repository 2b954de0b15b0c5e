// SPDX-License-Identifier: MIT
#pragma once

#include <utility>
#include <vector>

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include "culprit/visit/model_view.hpp"

namespace culprit::visit {

namespace detail {

template <class Items>
std::vector<NamedTensor> named_script_tensors(const Items& items) {
  std::vector<NamedTensor> tensors;
  for (const auto& item : items) tensors.push_back({item.name, item.value});
  return each_once(std::move(tensors));
}

/// Classifiers may return auxiliary outputs behind the logits; the first element is the output.
inline at::Tensor first_tensor(const c10::IValue& value) {
  if (value.isTensor()) return value.toTensor();
  if (value.isTuple() && !value.toTupleRef().elements().empty())
    return first_tensor(value.toTupleRef().elements()[0]);
  throw Error(ErrorCode::model, "output of the script model", "a tensor, or a tuple that begins with one",
              value.tagKind());
}

}  // namespace detail

/// A TorchScript module, traced or scripted. Its graph runs as it was written, not by the module's executor:
/// that one fuses operators, which hides their parameters, and goes on with a graph it has once optimised
/// even where optimisation is switched off.
template <>
struct ViewOf<torch::jit::Module> {
  /// Outputs are what `forward` returns: a tensor, or a tuple that begins with one. @throws Error (model)
  /// without a method forward.
  static ModelView make(const torch::jit::Module& module) {
    ModelView view;
    view.parameters = detail::named_script_tensors(module.named_parameters());
    view.buffers = detail::named_script_tensors(module.named_buffers());
    for (const auto& item : module.named_modules()) {
      if (item.value.hasattr("training") && item.value.attr("training").toBool())
        view.training.push_back(item.name);
    }
    const auto method = module.find_method("forward");
    if (!method) throw Error(ErrorCode::model, "script model", "a method forward", "none");
    const auto graph = method->graph()->copy();
    torch::jit::Inline(*graph);
    view.forward = [script = module._ivalue(), &schema = method->function().getSchema(),
                    code = torch::jit::Code(graph, "forward")](const at::Tensor& x) -> at::Tensor {
      const torch::jit::GraphOptimizerEnabledGuard unfused(false);  // for what cannot be inlined
      torch::jit::Stack stack{script, x};
      schema.checkAndNormalizeInputs(stack);
      torch::jit::InterpreterState(code).run(stack);
      return detail::first_tensor(stack.back());
    };
    return view;
  }
};

}  // namespace culprit::visit
