// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include "culprit/core/error.hpp"
#include "culprit/engine/weight_gradient.hpp"
#include "culprit/visit/operator_observer.hpp"
#include "culprit/visit/sample_axis.hpp"

// Nodes of the backward graph that stand in the place of LibTorch's own.
namespace culprit::engine::detail {

using GradientSink = std::function<void(const visit::ParameterUse&, const at::Tensor& dy)>;

/// How LibTorch holds a node: by std::shared_ptr, newer ones by c10::intrusive_ptr.
using NodePointer = decltype(torch::autograd::Edge::function);

template <class Node, class... Arguments>
NodePointer make_node(Arguments&&... arguments) {
  if constexpr (std::is_same_v<NodePointer, std::shared_ptr<torch::autograd::Node>>) {
    return std::make_shared<Node>(std::forward<Arguments>(arguments)...);
  } else {
    return c10::make_intrusive<Node>(std::forward<Arguments>(arguments)...);
  }
}

/// @throws Error (model) when an in-place operation changed the input of a layer since the forward pass.
inline void require_unchanged(const at::Tensor& input, std::int64_t version, const std::string& layer) {
  if (input._version() != version) {
    throw Error(ErrorCode::model, "input of " + layer, "a tensor left unchanged until the backward pass",
                "one that an in-place operation changed");
  }
}

/// A node of the backward graph at the output of a parameter's use: hands dY to the sink, with the samples as
/// the first dimension of X and dY, and passes it on.
class Tap final : public torch::autograd::Node {
 public:
  Tap(visit::ParameterUse use, const visit::SampleAxis& axis, std::string layer, GradientSink sink)
      : use_(std::move(use)),
        axis_(axis),
        layer_(std::move(layer)),
        version_(use_.input._version()),
        sink_(std::move(sink)) {
    // An in-place operation on the input would put this tap into the input's own history, which keeps it
    // alive.
    use_.input = axis_.samples_first(use_.input.detach());
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    if (gradients[0].defined()) {
      require_unchanged(use_.input, version_, layer_);
      sink_(use_, axis_.samples_first(gradients[0]));
    }
    release_variables();
    if (num_outputs() == 0) return {};
    return std::move(gradients);
  }

  void release_variables() override { use_.input.reset(); }

 private:
  visit::ParameterUse use_;
  visit::SampleAxis axis_;
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
    const NodePointer node = make_node<ScaleByChannel>(broadcast);
    node->set_next_edges({torch::autograd::impl::gradient_edge(input)});
    output = output.detach();
    torch::autograd::set_history(output, node);
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    at::Tensor& gradient = gradients[0];
    if (!gradient.defined()) return {at::Tensor()};
    const bool ours = !at::GradMode::is_enabled() && gradient.use_count() == 1 && gradient.has_storage() &&
                      gradient.storage().use_count() == 1 && gradient.is_non_overlapping_and_dense();
    return {ours ? gradient.mul_(factors_) : gradient.mul(factors_)};
  }

  void release_variables() override { factors_.reset(); }

 private:
  at::Tensor factors_;  // broadcastable to the gradient
};

/// The backward node of a convolution with a constant weight and bias: dX is linear in dY, and depends on
/// nothing else.
///
/// LibTorch's own, when it is differentiated again, also forms the gradient of the weight, only to drop it.
class ConstantConvolution final : public torch::autograd::Node {
 public:
  /// @param output  of the use, to take this node as its history
  static void attach(at::Tensor& output, const visit::ParameterUse& use, const at::Tensor& weight) {
    const NodePointer node = make_node<ConstantConvolution>(
        ConvolutionCall(use, weight.to(output.scalar_type()), use.input.detach(), output));
    node->set_next_edges({torch::autograd::impl::gradient_edge(use.input)});
    output = output.detach();
    torch::autograd::set_history(output, node);
  }

  explicit ConstantConvolution(ConvolutionCall call) : call_(std::move(call)) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    const at::Tensor& dy = gradients[0];
    if (!dy.defined()) return {at::Tensor()};
    at::Tensor dx = call_.input_gradient(dy.detach());
    if (at::GradMode::is_enabled() && dy.requires_grad()) {
      const NodePointer again = make_node<Again>(call_);
      again->set_next_edges({torch::autograd::impl::gradient_edge(dy)});
      torch::autograd::set_history(dx, again);
    }
    return {dx};
  }

  void release_variables() override { call_ = {}; }

 private:
  /// The backward node of dX as a function of dY: the convolution itself.
  class Again final : public torch::autograd::Node {
   public:
    explicit Again(ConvolutionCall call) : call_(std::move(call)) {}

    torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
      if (!gradients[0].defined()) return {at::Tensor()};
      return {call_.output(gradients[0])};
    }

    void release_variables() override { call_ = {}; }

   private:
    ConvolutionCall call_;
  };

  ConvolutionCall call_;
};

}  // namespace culprit::engine::detail
