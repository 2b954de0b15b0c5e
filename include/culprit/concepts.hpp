// SPDX-License-Identifier: MIT
#pragma once

// The contract of every role on one page: read this first. A policy is a small regular type; its
// hyper-parameters are public members with defaults, its functions are const and keep no state from call to
// call. Hosts (Profiler, InputSaliency, nearest) say in one sentence what a type lacks: detail/require.hpp.

#include <concepts>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>
#include <Eigen/Core>

#include "culprit/core/baseline.hpp"
#include "culprit/core/granularity.hpp"
#include "culprit/core/units.hpp"
#include "culprit/visit/model_view.hpp"

namespace culprit {

class Profile;
namespace visit {
struct Plan;
}
namespace intervene {
struct Subject;
class Undo;
}  // namespace intervene
namespace engine {
struct BatchResult;
struct Vjp;
class Cotangent;
}  // namespace engine

// [policy]
/// A policy has a name, which goes into fingerprints and tables, and is copied freely. One whose
/// hyper-parameters change its numbers says them in a member `description()` too.
template <class P>
concept Policy = std::copyable<P> && requires {
  { P::name } -> std::convertible_to<std::string_view>;
};
// [/policy]

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

// [visitor]
/// Visitor: which parameters hold units, told by their shape: yes or no, or how many, 0 for none. Units are
/// slices along dimension 0: each a unit, or as many units of equal extent as the visitor says.
template <class V>
concept Visitor = std::copyable<V> &&(
    requires(const V& visitor, at::IntArrayRef shape) {
      { visitor(shape) } -> std::same_as<bool>;
    } ||
    requires(const V& visitor, at::IntArrayRef shape) {
      { visitor(shape) } -> std::same_as<Index>;
    });
// [/visitor]

// [aggregation]
/// Aggregation on scalars: gradients of a unit -> one number, inside an engine's inner loop:
///   finish(combine(map(g_1), map(g_2), ...), size)
/// `map` may return any type. `combine` must be associative and commutative up to rounding: the order is the
/// engine's.
template <class A>
concept ScalarAggregation = Policy<A> && requires(const A& policy, double gradient, Index size) {
  {
    policy.combine(policy.map(gradient), policy.map(gradient))
    } -> std::same_as<decltype(policy.map(gradient))>;
  { policy.finish(policy.map(gradient), size) } -> std::same_as<double>;
};

/// Aggregation on tensors, for what has no such form: gradients [samples, units, size] -> [samples, units],
/// on the gradients' device.
template <class A>
concept TensorAggregation = Policy<A> && requires(const A& policy, const at::Tensor& gradients) {
  { policy(gradients) } -> std::same_as<at::Tensor>;
};

/// Aggregation, in either form or in both: then scalars serve the CPU, and tensors the other devices, where
/// one on scalars alone has the gradients copied to the CPU. A member `granularity` other than
/// Granularity::filter makes the whole tensor, or each parameter, the unit.
template <class A>
concept Aggregation = ScalarAggregation<A> || TensorAggregation<A>;

/// What input saliency needs of an aggregation. On scalars: d result / d gradient of one parameter, from
/// that parameter's gradient, the unit's result and its size. On tensors autograd finds it.
template <class A>
concept DifferentiableAggregation = Aggregation<A> &&
    (TensorAggregation<A> || requires(const A& policy, double g, Index size) {
      { policy.derivative(g, /*result=*/g, size) } -> std::same_as<double>;
    });
// [/aggregation]

/// What an aggregation takes for a unit: its member `granularity` if it has one, else Granularity::filter.
template <Aggregation A>
[[nodiscard]] constexpr Granularity granularity_of() {
  if constexpr (requires { A::granularity; }) {
    return A::granularity;
  } else {
    return Granularity::filter;
  }
}

// [standardization]
/// Standardization: the raw number of a unit, and what is usual for it -> a number comparable between units.
/// One that reads UnitStatistics::median or mad has a member `needs_quantiles` that is true: Profiler::fit
/// then collects them.
template <class S>
concept Standardization = Policy<S> && requires(const S& policy, double raw, const UnitStatistics& unit) {
  { policy(raw, unit) } -> std::same_as<double>;
};

/// What input saliency needs of a standardization: d result / d raw.
template <class S>
concept DifferentiableStandardization = Standardization<S> &&
    requires(const S& policy, double raw, const UnitStatistics& unit) {
  { policy.derivative(raw, unit) } -> std::same_as<double>;
};
// [/standardization]

/// Whether a standardization reads quantiles: its member `needs_quantiles` if it has one, else false.
template <Standardization S>
[[nodiscard]] constexpr bool needs_quantiles(const S& policy) {
  if constexpr (requires { policy.needs_quantiles; }) {
    return policy.needs_quantiles;
  } else {
    return false;
  }
}

// [distance]
/// Distance of two profiles of the same units, from 0 for equal ones up.
template <class D>
concept Distance = Policy<D> && requires(const D& distance, const Eigen::VectorXd& a) {
  { distance(a, a) } -> std::same_as<double>;
};

/// What input saliency needs of a distance: its gradient with respect to the first profile.
template <class D>
concept DifferentiableDistance = Distance<D> && requires(const D& distance, const Eigen::VectorXd& a) {
  { distance.gradient(a, a) } -> std::same_as<Eigen::VectorXd>;
};
// [/distance]

// [selection]
/// Selection: which of the candidates, unit numbers in ascending order, are taken from a profile. Each at
/// most once; the order is the policy's.
template <class S>
concept Selection = Policy<S> &&
    requires(const S& policy, const Profile& profile, std::span<const Index> candidates) {
  { policy(profile, candidates) } -> std::same_as<std::vector<Index>>;
};
// [/selection]

// [loss]
/// Loss: outputs [B, ...] in float64, targets [B, ...] -> one loss for each sample, [B], differentiable by
/// autograd. A member `gradient(outputs, targets)` with the shape of outputs is used instead of autograd
/// where there is one; input saliency differentiates it by autograd.
template <class L>
concept Loss = Policy<L> && requires(const L& loss, const at::Tensor& outputs, const at::Tensor& targets) {
  { loss(outputs, targets) } -> std::same_as<at::Tensor>;
};
// [/loss]

// [intervention]
/// Intervention: changes the model, the sample, or both, for as long as an intervene::Scope lives. What it
/// writes to goes through `undo` first. Returns the sample's input from then on.
template <class I>
concept Intervention = Policy<I> && requires(const I& policy, const visit::Plan& plan,
                                             const intervene::Subject& subject, intervene::Undo& undo) {
  { policy(plan, subject, undo) } -> std::same_as<at::Tensor>;
};
// [/intervention]

namespace detail {

struct SomeAggregation {
  static constexpr std::string_view name = "some";
  static double map(double gradient) { return gradient; }
  static double combine(double a, double b) { return a + b; }
  static double finish(double sum, Index /*size*/) { return sum; }
  static double derivative(double /*gradient*/, double /*result*/, Index /*size*/) { return 1.0; }
};
static_assert(DifferentiableAggregation<SomeAggregation>);

struct SomeLoss {
  static constexpr std::string_view name = "some";
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& /*targets*/) const { return outputs; }
};
static_assert(Loss<SomeLoss>);

}  // namespace detail

// [engine]
/// Engine: raw profiles of a batch, for any aggregation and loss. inputs [B, ...], targets [B, ...].
template <class E>
concept Engine = std::copyable<E> && requires(const E& engine, const visit::Plan& plan, const at::Tensor& x) {
  {
    engine(plan, detail::SomeAggregation{}, detail::SomeLoss{}, x, /*targets=*/x)
    } -> std::same_as<engine::BatchResult>;
};

/// What input saliency needs of an engine: vector-Jacobian products of the raw profiles with respect to the
/// inputs.
template <class E>
concept DifferentiableEngine = Engine<E> &&
    requires(const E& engine, const visit::Plan& plan, const at::Tensor& x,
             const engine::Cotangent& cotangent) {
  {
    engine.vjp(plan, detail::SomeAggregation{}, detail::SomeLoss{}, x, /*targets=*/x, cotangent)
    } -> std::same_as<engine::Vjp>;
};
// [/engine]

}  // namespace culprit
