// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/_unsafe_view.h>
#include <torch/csrc/autograd/functions/utils.h>

#include "culprit/engine/engine.hpp"
#include "culprit/engine/nodes.hpp"
#include "culprit/visit/operator_observer.hpp"

// How engine::Batched sees the uses of parameters in a forward pass, and gets at the gradients of their
// outputs.
namespace culprit::engine::detail {

/// Sees the uses of a forward pass whose samples can be separated, and why they cannot.
class UseObserver : public visit::OperatorObserver {
 public:
  UseObserver(const visit::Plan& plan, Index batch)
      : OperatorObserver(plan.parameters), uses(plan.parameters.size(), 0), batch_(batch) {}

  /// A use with the batch as the first dimension of input and output, in a graph that autograd keeps.
  virtual void on_separable_use(visit::ParameterUse&& /*use*/, at::Tensor& /*output*/) {}

  void on_use(visit::ParameterUse use, at::Tensor& output) final {
    ++uses[use.parameter];
    if (use.input.dim() == 0 || use.input.size(0) != batch_ || output.size(0) != batch_) {
      uncovered = "an input whose first dimension is not the batch";
      return;
    }
    // A part that is frozen, or inside a custom function, whose backward pass is its own.
    if (!at::GradMode::is_enabled()) {
      uncovered = "a parameter used where the model switches autograd off";
      return;
    }
    // A later in-place operation on a view would rewrite the graph behind it.
    if (output.is_view()) output = at::_unsafe_view(output, output.sizes());
    on_separable_use(std::move(use), output);
  }

  void on_batch_norm(const visit::BatchNormUse& use, at::Tensor& output) final {
    if (use.batch_statistics && batch_ > 1) uncovered = "batch norm over the batch";
    const auto constant = [](const at::Tensor& tensor) {
      return !tensor.defined() || !tensor.requires_grad();
    };
    if (use.batch_statistics || !output.requires_grad() || !constant(use.scale) || !constant(use.shift) ||
        !constant(use.running_variance) || !constant(use.running_mean)) {
      return;
    }
    const at::Tensor inverse = use.running_variance.add(use.epsilon).rsqrt();
    ScaleByChannel::attach(output, use.input, use.scale.defined() ? inverse.mul(use.scale) : inverse);
  }

  void on_unknown(std::size_t /*parameter*/, const std::string& op) final { uncovered = op; }

  std::vector<Index> uses;  ///< of each parameter in this forward pass
  std::string uncovered;    ///< why the samples cannot be separated; empty when they can

 private:
  Index batch_;
};

/// Puts a Tap at the output of every use, which also begins the graph there: nothing above the shallowest
/// unit is differentiated, and no parameter needs to require a gradient.
class TapInserter final : public UseObserver {
 public:
  TapInserter(const visit::Plan& plan, Index batch) : UseObserver(plan, batch), units_(plan.units) {}

  void on_separable_use(visit::ParameterUse&& use, at::Tensor& output) override {
    const std::string& layer = units_->layers()[use.parameter].name;
    const NodePointer tap = make_node<Tap>(std::move(use), layer, sink);
    const auto edge = torch::autograd::impl::gradient_edge(output);
    if (output.requires_grad()) tap->set_next_edges({edge});
    torch::autograd::set_history(output, tap);
  }

  GradientSink sink;  ///< where gradients go in the backward pass

 private:
  std::shared_ptr<const Units> units_;
};

/// Keeps every use with the history of its input and output, to differentiate by both afterwards.
class HistoryKeeper final : public UseObserver {
 public:
  HistoryKeeper(const visit::Plan& plan, Index batch)
      : UseObserver(plan, batch), parameters_(plan.parameters) {}

  struct Kept {
    visit::ParameterUse use;  ///< its input without history
    at::Tensor input;
    std::int64_t version;  ///< of the input
    at::Tensor output;     ///< stays at this place of the graph, whatever is done in place to the model's own
  };

  void on_separable_use(visit::ParameterUse&& use, at::Tensor& output) override {
    const bool constant_bias = !use.bias.defined() || !use.bias.requires_grad();
    if (use.kind == visit::ParameterUse::Kind::convolution && output.requires_grad() && constant_bias)
      ConstantConvolution::attach(output, use, parameters_[use.parameter]);
    at::Tensor place = output.detach();
    if (output.requires_grad()) {
      torch::autograd::impl::set_gradient_edge(place, torch::autograd::impl::gradient_edge(output));
    } else {  // what does not depend on the inputs has a gradient all the same
      place.requires_grad_(true);
      output = at::_unsafe_view(place, place.sizes());
    }
    const at::Tensor input = std::exchange(use.input, use.input.detach());
    kept.push_back({std::move(use), input, input._version(), std::move(place)});
  }

  std::vector<Kept> kept;

 private:
  const std::vector<at::Tensor>& parameters_;
};

/// Why the samples of a batch cannot be separated; empty when they can. One forward pass of another batch
/// extent for each new shape of a sample: a dimension that is as long as the batch by chance is not as long
/// as both.
inline std::string probe(const visit::Plan& plan, const at::Tensor& inputs) {
  const std::vector<Index> shape = inputs.sizes().slice(1).vec();
  if (inputs.size(0) == 1 || plan.probed->contains(shape)) return {};
  std::vector<Index> extents = inputs.sizes().vec();
  extents.front() = inputs.size(0) == 2 ? 3 : 2;
  const auto observer = std::make_shared<UseObserver>(plan, extents.front());
  visit::OperatorObserver::observe(
      observer, [&] { return plan.model.forward(private_copy(inputs.narrow(0, 0, 1).expand(extents))); });
  if (observer->uncovered.empty()) plan.probed->insert(shape);
  return observer->uncovered;
}

}  // namespace culprit::engine::detail
