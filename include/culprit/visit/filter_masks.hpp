// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include "culprit/visit/plan.hpp"

namespace culprit::visit {

/// Units as boolean tensors by parameter name, for tools that prune or unlearn: mask[w] = 1 where the weight
/// w is one of a unit's, else 0.
/// @param units  in any order, such as Profile::select(select::Top{25})
/// @return for each parameter that holds units, in profile order, a bool tensor of its shape, on the model's
/// device: all false where none of the units is
/// @throws Error (argument) for a unit that is not there.
[[nodiscard]] inline std::vector<NamedTensor> filter_masks(const Plan& plan, std::span<const Index> units) {
  std::vector<NamedTensor> masks;
  for (const Layer& layer : plan.units->layers())
    masks.push_back({layer.name, at::zeros(layer.shape, at::kBool)});
  for (const Index index : units) {
    const Unit unit = plan.units->unit(index);
    const Layer& layer = plan.units->layers()[static_cast<std::size_t>(unit.layer)];
    masks[static_cast<std::size_t>(unit.layer)]
        .tensor.view({layer.count, layer.size})
        .select(0, unit.channel)
        .fill_(true);
  }
  for (NamedTensor& mask : masks) mask.tensor = plan.brought(mask.tensor);
  return masks;
}

}  // namespace culprit::visit
