// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>
#include <vector>

#include "culprit/intervene/scope.hpp"
#include "culprit/visit/data_flow.hpp"

namespace culprit::intervene {

/// Where a unit's feature map gets its values from beside the unit's weights: the entries of Outlet's
/// tensors for its channel, views of the model's own. None where a unit is no channel: a single parameter, or
/// an input channel of a transposed convolution.
/// @throws Error (model) for a layer whose weight goes through an operator without a rule.
[[nodiscard]] inline std::vector<at::Tensor> outlet_of(const visit::Plan& traced, const Unit& unit) {
  const auto number = static_cast<std::size_t>(unit.layer);
  const Layer& layer = traced.units->layers()[number];
  const visit::Outlet& outlet = traced.outlets[number];
  if (!outlet.unknown.empty()) {
    throw Error(ErrorCode::model, layer.name,
                "a weight that convolutions and linear layers take as it is, to switch its units off",
                outlet.unknown);
  }
  const Index channels =
      layer.shape.front() / layer.count;  // of each unit; 0 where one is less than a channel
  if (outlet.transposed || channels == 0) return {};
  std::vector<at::Tensor> all = outlet.biases;
  for (const at::Tensor& tensor : {outlet.scale, outlet.shift}) all.push_back(tensor);
  if (!outlet.scale.defined()) all.push_back(outlet.running_mean);
  std::vector<at::Tensor> entries;
  for (const at::Tensor& tensor : all) {
    if (tensor.defined()) entries.push_back(tensor.narrow(0, unit.channel * channels, channels));
  }
  return entries;
}

/// Switches filters off (section 3.1 of the paper): weight and bias of each unit become 0, and scale and
/// shift of its channel in the batch norm that reads the filter's output directly (without a scale: its
/// running mean), so that this feature map is exactly 0 for every input.
struct Prune {
  static constexpr std::string_view name = "prune";

  /// @param plan  traced (visit::trace), else that is done first, with the subject's input
  /// @throws Error (model) naming a layer whose weight goes through an operator without a rule.
  at::Tensor operator()(const visit::Plan& plan, const Subject& subject, Undo& undo) const {
    const visit::Plan traced = plan.outlets.empty() ? visit::trace(plan, subject.input.unsqueeze(0)) : plan;
    const at::NoGradGuard no_grad;
    for (const Index index : subject.units) {
      const Unit unit = traced.units->unit(index);
      for (const at::Tensor& entries : outlet_of(traced, unit)) undo.keep(entries).zero_();
      undo.keep(visit::weights_of(traced, unit)).zero_();
    }
    return subject.input;
  }
};

static_assert(Intervention<Prune>);

}  // namespace culprit::intervene
