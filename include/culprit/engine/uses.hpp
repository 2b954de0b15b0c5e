// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/_unsafe_view.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include "culprit/engine/engine.hpp"
#include "culprit/visit/operator_observer.hpp"

// How engine::Batched sees the uses of parameters in a forward pass, and gets at the gradients of their
// outputs.
namespace culprit::engine::detail {

using GradientSink = std::function<void(const visit::ParameterUse&, const at::Tensor& dy)>;

/// @throws Error (model) when an in-place operation changed the input of a layer since the forward pass.
inline void require_unchanged(const at::Tensor& input, std::int64_t version, const std::string& layer) {
  if (input._version() != version) {
    throw Error(ErrorCode::model, "input of " + layer, "a tensor left unchanged until the backward pass",
                "one that an in-place operation changed");
  }
}

/// A node of the backward graph at the output of a parameter's use: hands dY to the sink and passes it on.
class Tap final : public torch::autograd::Node {
 public:
  Tap(visit::ParameterUse use, std::string layer, GradientSink sink)
      : use_(std::move(use)),
        layer_(std::move(layer)),
        version_(use_.input._version()),
        sink_(std::move(sink)) {
    // An in-place operation on the input would put this tap into the input's own history, which keeps it
    // alive.
    use_.input = use_.input.detach();
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    if (gradients[0].defined()) {
      require_unchanged(use_.input, version_, layer_);
      sink_(use_, gradients[0]);
    }
    release_variables();
    if (num_outputs() == 0) return {};
    return std::move(gradients);
  }

  void release_variables() override { use_.input.reset(); }

 private:
  visit::ParameterUse use_;
  std::string layer_;
  std::int64_t version_;
  GradientSink sink_;
};

/// The backward node of a batch norm with running statistics, y = a_c x + b_c for channel c: dX = a_c dY.
///
/// LibTorch's own node keeps X for a sum over the batch that only the gradients of scale and shift need.
class ScaleByChannel final : public torch::autograd::Node {
 public:
  explicit ScaleByChannel(at::Tensor factors) : factors_(std::move(factors)) {}

  /// @param output  to take this node as its history @param factors  a, [C]
  static void attach(at::Tensor& output, const at::Tensor& input, const at::Tensor& factors) {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(output.dim()), 1);
    shape[1] = output.size(1);
    at::Tensor broadcast = factors.to(output.scalar_type()).reshape(shape);
    if (!output.is_contiguous()) {  // a whole row side by side, for a loop that is longer than the channels
      shape.back() = output.size(-1);
      broadcast = broadcast.expand(shape).contiguous(output.suggest_memory_format());
    }
    const auto node = std::make_shared<ScaleByChannel>(broadcast);
    node->set_next_edges({torch::autograd::impl::gradient_edge(input)});
    output = output.detach();
    torch::autograd::set_history(output, node);
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    at::Tensor& gradient = gradients[0];
    if (!gradient.defined()) return {at::Tensor()};
    const bool ours = gradient.use_count() == 1 && gradient.has_storage() &&
                      gradient.storage().use_count() == 1 && gradient.is_non_overlapping_and_dense();
    return {ours ? gradient.mul_(factors_) : gradient.mul(factors_)};
  }

  void release_variables() override { factors_.reset(); }

 private:
  at::Tensor factors_;  // broadcastable to the gradient
};

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

  void on_batch_norm(const visit::BatchNormUse& use, at::Tensor& /*output*/) override {
    if (use.batch_statistics && batch_ > 1) uncovered = "batch norm over the batch";
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
    const auto tap = std::make_shared<Tap>(std::move(use), layer, sink);
    const auto edge = torch::autograd::impl::gradient_edge(output);
    if (output.requires_grad()) tap->set_next_edges({edge});
    torch::autograd::set_history(output, tap);
  }

  void on_batch_norm(const visit::BatchNormUse& use, at::Tensor& output) override {
    UseObserver::on_batch_norm(use, output);
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

  GradientSink sink;  ///< where gradients go in the backward pass

 private:
  std::shared_ptr<const Units> units_;
};

/// Keeps every use with the history of its input and output, to differentiate by both afterwards.
class HistoryKeeper final : public UseObserver {
 public:
  using UseObserver::UseObserver;

  struct Kept {
    visit::ParameterUse use;  ///< its input without history
    at::Tensor input;
    std::int64_t version;  ///< of the input
    at::Tensor output;     ///< stays at this place of the graph, whatever is done in place to the model's own
  };

  void on_separable_use(visit::ParameterUse&& use, at::Tensor& output) override {
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
