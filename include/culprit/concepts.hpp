// SPDX-License-Identifier: MIT
#pragma once

// The contract of every role on one page: read this first. A policy is a small regular type; its
// hyper-parameters are public members with defaults, its functions are const and keep no state from call to
// call.

#include <concepts>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "culprit/core/baseline.hpp"
#include "culprit/core/granularity.hpp"
#include "culprit/core/units.hpp"
#include "culprit/visit/model_view.hpp"

namespace culprit {

/// A policy has a name, which goes into fingerprints and tables, and is copied freely. One whose
/// hyper-parameters change its numbers says them in a member `description()` too.
template <class P>
concept Policy = std::copyable<P> && requires {
  { P::name } -> std::convertible_to<std::string_view>;
};

/// Text that tells a policy and its hyper-parameters from others: its member `description()` if it has one,
/// else its name.
template <Policy P>
[[nodiscard]] std::string describe(const P& policy) {
  if constexpr (requires { policy.description(); }) {
    return policy.description();
  } else {
    return std::string(std::string_view(P::name));
  }
}

/// Model: anything that visit::view takes, see visit::ViewOf.
template <class M>
concept Model = requires(M& model) {
  { visit::view(model) } -> std::same_as<visit::ModelView>;
};

/// Visitor: which parameters hold units, told by their shape. Units are slices along dimension 0.
template <class V>
concept Visitor = std::copyable<V> && requires(const V& visitor, at::IntArrayRef shape) {
  { visitor(shape) } -> std::same_as<bool>;
};

/// Aggregation: gradients of a unit -> one number, written on scalars so that it runs inside an engine's
/// inner loop:
///   finish(combine(map(g_1), map(g_2), ...), size)
/// `map` may return any type. `combine` must be associative and commutative up to rounding: the order is the
/// engine's. A member `granularity` other than Granularity::filter makes the whole tensor, or each parameter,
/// the unit.
template <class A>
concept Aggregation = Policy<A> && requires(const A& policy, double gradient, Index size) {
  {
    policy.combine(policy.map(gradient), policy.map(gradient))
    } -> std::same_as<decltype(policy.map(gradient))>;
  { policy.finish(policy.map(gradient), size) } -> std::same_as<double>;
};

template <Aggregation A>
[[nodiscard]] constexpr Granularity granularity_of() {
  if constexpr (requires { A::granularity; }) {
    return A::granularity;
  } else {
    return Granularity::filter;
  }
}

/// Standardization: the raw number of a unit, and what is usual for it -> a number comparable between units.
template <class S>
concept Standardization = Policy<S> && requires(const S& policy, double raw, const UnitStatistics& unit) {
  { policy(raw, unit) } -> std::same_as<double>;
};

/// Loss: outputs [B, ...] in float64, targets [B, ...] -> one loss for each sample, [B], differentiable by
/// autograd. A member `gradient(outputs, targets)` with the shape of outputs is used instead of autograd
/// where there is one.
template <class L>
concept Loss = Policy<L> && requires(const L& loss, const at::Tensor& outputs, const at::Tensor& targets) {
  { loss(outputs, targets) } -> std::same_as<at::Tensor>;
};

}  // namespace culprit
