// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "culprit/core/granularity.hpp"
#include "culprit/core/units.hpp"
#include "culprit/select/layer_range.hpp"
#include "culprit/visit/model_view.hpp"

namespace culprit::visit {

/// A model with its units resolved: what an engine works on. A plan serves one thread at a time, like its
/// model.
struct Plan {
  ModelView model;
  std::shared_ptr<const Units> units;
  std::vector<at::Tensor> parameters;  ///< one for each layer of `units`, in the same order

  /// Shapes of one sample for which engine::Batched has seen that dimension 0 is the batch throughout.
  std::shared_ptr<std::set<std::vector<Index>>> probed = std::make_shared<std::set<std::vector<Index>>>();
};

/// Numbers the units of a model.
/// @param visitor  says by its shape whether a parameter holds units
/// @param range    which of the layers so found are taken, numbered anew; the others are not even looked at
/// @throws Error (model) when no parameter holds units, Error (argument) when none of these is in the range.
template <class V>
[[nodiscard]] Plan make_plan(ModelView model, const V& visitor, Granularity granularity,
                             const select::LayerRange& range = {}) {
  std::vector<Layer> all;
  std::vector<at::Tensor> holders;
  for (const auto& [name, tensor] : model.parameters) {
    if (tensor.numel() == 0 || !tensor.is_floating_point() || !visitor(tensor.sizes())) continue;
    Layer layer;
    layer.name = name;
    layer.shape = tensor.sizes().vec();
    switch (granularity) {
      case Granularity::filter:
        layer.count = tensor.size(0);
        break;
      case Granularity::tensor:
        layer.count = 1;
        break;
      case Granularity::parameter:
        layer.count = tensor.numel();
        break;
    }
    layer.size = tensor.numel() / layer.count;
    all.push_back(std::move(layer));
    holders.push_back(tensor);
  }
  if (all.empty()) {
    throw Error(ErrorCode::model, "model", "a parameter that holds units (such as a 4-D convolution weight)",
                std::to_string(model.parameters.size()) + " parameters, none of that shape");
  }
  std::vector<Layer> layers;
  std::vector<at::Tensor> parameters;
  for (const std::size_t number : range.layers(all)) {
    layers.push_back(std::move(all[number]));
    parameters.push_back(std::move(holders[number]));
  }
  auto units = std::make_shared<const Units>(std::move(layers));
  return {std::move(model), std::move(units), std::move(parameters)};
}

}  // namespace culprit::visit
