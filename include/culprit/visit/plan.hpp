// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "culprit/core/granularity.hpp"
#include "culprit/core/units.hpp"
#include "culprit/select/layer_range.hpp"
#include "culprit/visit/model_view.hpp"
#include "culprit/visit/sample_axis.hpp"

namespace culprit::visit {

/// What a layer's output passes beside its weight, as visit::trace found it: the model's own tensors, so that
/// to switch a channel off is to write zeros into them. What there is not is undefined.
struct Outlet {
  std::vector<at::Tensor> biases;  ///< of the operators that use the weight, [channels]
  at::Tensor scale;                ///< of the batch norm Layer::batch_norm, [channels]
  at::Tensor shift;                ///< of that batch norm, [channels]
  at::Tensor running_mean;         ///< of that batch norm, [channels]
  bool transposed = false;         ///< used by a transposed convolution: units are input channels
  bool bias_added_later = false;   ///< by another operator than the one that takes the weight
  std::string unknown;             ///< an operator without a rule that takes the weight; empty: none
};

/// Where one use of a parameter in a forward pass has its samples.
struct UsePlace {
  std::size_t parameter;  ///< index into Plan::parameters
  SampleAxis axis;        ///< of the operator's input and output
};

/// A model with its units resolved: what an engine works on. A plan serves one thread at a time, like its
/// model.
struct Plan {
  ModelView model;                     ///< the model's own tensors, and its forward
  std::shared_ptr<const Units> units;  ///< of all layers, in profile order
  std::vector<at::Tensor> parameters;  ///< one for each layer of `units`, in the same order
  std::vector<Outlet> outlets;         ///< one for each layer; empty: not traced

  /// For a shape of one sample: the uses, in the order of the forward pass.
  using UsePlaces = std::map<std::vector<Index>, std::vector<UsePlace>>;

  /// Of the shapes that engine::Batched has seen.
  std::shared_ptr<UsePlaces> probed = std::make_shared<UsePlaces>();

  /// Where the model is.
  [[nodiscard]] at::Device device() const { return parameters.front().device(); }

  /// A tensor where the model is: brought to a device without a wait, to the CPU when it is there.
  [[nodiscard]] at::Tensor brought(const at::Tensor& tensor) const {
    return tensor.to(device(), /*non_blocking=*/!device().is_cpu());
  }
};

/// The weights of a unit: a view of the model's own parameter.
[[nodiscard]] inline at::Tensor weights_of(const Plan& plan, const Unit& unit) {
  const auto number = static_cast<std::size_t>(unit.layer);
  const Layer& layer = plan.units->layers()[number];
  at::Tensor weights = plan.parameters[number];
  if (layer.count == 1) return weights;
  if (layer.count == layer.shape.front()) return weights.select(0, unit.channel);
  if (const Index rows = layer.shape.front() / layer.count; rows > 1)
    return weights.narrow(0, unit.channel * rows, rows);
  Index rest = unit.channel;
  Index extent = layer.count;
  for (const Index size : layer.shape) {
    extent /= size;
    weights = weights.select(0, rest / extent);
    rest %= extent;
  }
  return weights;
}

/// Numbers the units of a model.
/// @param visitor  says by its shape whether a parameter holds units
/// @param range    which of the layers so found are taken, numbered anew; the others are not even looked at
/// @throws Error (model) when no parameter holds units, Error (argument) when none of these is in the range,
/// or a visitor gives a number of units that does not divide a parameter's slices.
template <class V>
[[nodiscard]] Plan make_plan(ModelView model, const V& visitor, Granularity granularity,
                             const select::LayerRange& range = {}) {
  std::vector<Layer> all;
  std::vector<at::Tensor> holders;
  for (const auto& [name, tensor] : model.parameters) {
    if (tensor.numel() == 0 || !tensor.is_floating_point()) continue;
    const auto held = visitor(tensor.sizes());
    if (!held) continue;
    Layer layer;
    layer.name = name;
    layer.shape = tensor.sizes().vec();
    switch (granularity) {
      case Granularity::filter:
        layer.count = std::same_as<decltype(held), const bool> ? tensor.size(0) : Index{held};
        if (layer.count < 1 || tensor.size(0) % layer.count != 0) {
          throw Error(ErrorCode::argument, "visitor, for " + name,
                      "a number of units that divides its " + std::to_string(tensor.size(0)) + " slices",
                      std::to_string(layer.count));
        }
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
  const Units found(std::move(all));
  std::vector<Layer> layers;
  std::vector<at::Tensor> parameters;
  for (const std::size_t number : range.layers(found)) {
    layers.push_back(found.layers()[number]);
    parameters.push_back(std::move(holders[number]));
  }
  auto units = std::make_shared<const Units>(std::move(layers));
  return {std::move(model), std::move(units), std::move(parameters), {}};
}

}  // namespace culprit::visit
