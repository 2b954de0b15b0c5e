// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DispatchKeySet.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "culprit/engine/reduce.hpp"
#include "culprit/engine/weight_gradient.hpp"
#include "culprit/visit/operator_observer.hpp"
#include "culprit/visit/plan.hpp"

// From the inputs of a batch's layers and the gradients of their outputs to raw profiles, and back.
namespace culprit::engine::detail {

/// Takes the gradients of one backward pass, layer by layer, and reduces them into raw profiles.
template <Aggregation A, FusedReduction Fused>
class Reduction {
 public:
  /// @param fused  reduces a layer without its gradients in memory, where it can
  /// @param uses   how often the forward pass used each parameter
  Reduction(const visit::Plan& plan, const A& aggregation, const Fused& fused, Index block_bytes,
            const std::vector<Index>& uses, at::Tensor profiles)
      : plan_(plan),
        aggregation_(aggregation),
        fused_(fused),
        block_bytes_(block_bytes),
        uses_(uses),
        profiles_(std::move(profiles)),
        seen_(uses.size(), 0),
        summed_(uses.size()) {}

  void take(const visit::ParameterUse& use, const at::Tensor& dy) {
    const c10::impl::ExcludeDispatchKeyGuard exact(c10::autocast_dispatch_keyset);
    const std::size_t i = use.parameter;
    const Layer& layer = plan_.units->layers()[i];
    ++seen_[i];
    const bool shared = uses_[i] > 1;
    if (shared && !summed_[i].defined()) {
      summed_[i] = at::zeros({dy.size(0), plan_.parameters[i].numel()}, dy.options().dtype(wide(dy)));
    }
    // Where the model computes with fewer bits than it has in this input, those are what it multiplied.
    const at::Tensor x = cast(use.input, dy.scalar_type());
    if constexpr (ScalarAggregation<A>) {
      if (!shared && wide(dy) == profiles_.scalar_type() &&
          fused_(aggregation_, use, layer, x, dy, profiles_))
        return;
    }
    const Index sample_bytes =
        static_cast<Index>(c10::elementSize(wide(dy))) * block_elements(use, layer.shape, x, dy);
    const Index samples = std::max<Index>(1, block_bytes_ / sample_bytes);
    for (Index begin = 0; begin < dy.size(0); begin += samples) {
      const Index count = std::min(samples, dy.size(0) - begin);
      const auto block = [&](const at::Tensor& all) { return cast(all.narrow(0, begin, count), wide(dy)); };
      const at::Tensor gradient = weight_gradient(use, layer.shape, block(x), block(dy));
      if (shared) {
        summed_[i].narrow(0, begin, count).add_(gradient);
      } else {
        reduce_layer(aggregation_, gradient, layer, profiles_, begin);
      }
    }
    if (shared && seen_[i] == uses_[i]) finish_shared(i);
  }

  /// After the backward pass: what no gradient reached, or not on every use.
  void finish() {
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      if (summed_[i].defined()) finish_shared(i);
      if (seen_[i] == 0) fill_unreached(aggregation_, plan_.units->layers()[i], profiles_);
    }
  }

 private:
  static at::Tensor cast(const at::Tensor& tensor, at::ScalarType dtype) {
    return tensor.is_floating_point() ? tensor.to(dtype).resolve_neg() : tensor;
  }

  /// What sums of these numbers are kept in.
  static at::ScalarType wide(const at::Tensor& numbers) {
    return c10::isReducedFloatingType(numbers.scalar_type()) ? at::kFloat : numbers.scalar_type();
  }

  void finish_shared(std::size_t i) {
    reduce_layer(aggregation_, summed_[i], plan_.units->layers()[i], profiles_, 0);
    summed_[i].reset();
  }

  const visit::Plan& plan_;
  const A& aggregation_;
  const Fused& fused_;
  Index block_bytes_;
  const std::vector<Index>& uses_;
  at::Tensor profiles_;
  std::vector<Index> seen_;
  std::vector<at::Tensor> summed_;  // gradients of parameters used more than once, until their last use
};

/// Gradients of sum over samples of <u_b, gradient of a parameter for sample b> with respect to dY and X of
/// each of its uses, where u_b is the vector-Jacobian product of the aggregation.
/// @param uses       of one parameter @param dys  of each use, [B, ...]
/// @param cotangent  [B, layer.count]
/// @param samples    in a block
template <DifferentiableAggregation A>
std::vector<FactorGradients> aggregation_vjp(const A& aggregation, const Layer& layer,
                                             const std::vector<const visit::ParameterUse*>& uses,
                                             const std::vector<at::Tensor>& dys, const at::Tensor& cotangent,
                                             Index samples, const at::TensorOptions& profile_options) {
  Layer alone = layer;
  alone.first = 0;
  std::vector<FactorGradients> results;
  for (std::size_t i = 0; i < uses.size(); ++i)
    results.push_back({at::empty_like(dys[i]), at::empty_like(uses[i]->input)});
  for (Index begin = 0; begin < cotangent.size(0); begin += samples) {
    const Index count = std::min(samples, cotangent.size(0) - begin);
    const auto part = [&](const at::Tensor& all) { return all.narrow(0, begin, count); };
    at::Tensor gradient;
    for (std::size_t i = 0; i < uses.size(); ++i) {
      const at::Tensor of_use = weight_gradient(*uses[i], layer.shape, part(uses[i]->input), part(dys[i]));
      gradient = gradient.defined() ? gradient.add(of_use) : of_use;
    }
    at::Tensor numbers = at::empty({count, layer.count}, profile_options);
    reduce_layer(aggregation, gradient, alone, numbers, 0);
    const at::Tensor u = reduce_layer_vjp(aggregation, gradient, layer, numbers, part(cotangent));
    for (std::size_t i = 0; i < uses.size(); ++i) {
      const FactorGradients found =
          weight_gradient_vjp(*uses[i], layer.shape, u, part(uses[i]->input), part(dys[i]));
      part(results[i].dy).copy_(found.dy);
      if (found.x.defined()) part(results[i].x).copy_(found.x);
    }
  }
  return results;
}

}  // namespace culprit::engine::detail
