// SPDX-License-Identifier: MIT
#pragma once

// The sentences for a user who gives a host something that is no policy of the role: the first one that
// applies. A concept alone would list expressions of this library's, in other words by each compiler.
//
// A host names the types of these in its head. Each assertion is in a class, for that makes the class invalid
// to clang, and with it the host: else clang would go on to report what the host's members do with the type.

#include "culprit/concepts.hpp"

namespace culprit::detail {

// [aggregation]
template <class A>
consteval auto require_aggregation() {
  constexpr bool on_scalars = requires(const A& policy, double gradient, Index size) {
    policy.finish(policy.combine(policy.map(gradient), policy.map(gradient)), size);
  };
  constexpr bool on_tensors = requires(const A& policy, const at::Tensor& gradients) { policy(gradients); };
  if constexpr (!Policy<A>) {
    struct Sentence {
      static_assert(Policy<A>,
                    "culprit: an aggregation can be copied and assigned, and has a static string `name`");
    };
    return Sentence{};
  } else if constexpr (on_scalars) {
    struct Sentence {
      static_assert(ScalarAggregation<A>,
                    "culprit: an aggregation's combine returns what map returns, and its finish a double");
    };
    return Sentence{};
  } else if constexpr (on_tensors) {
    struct Sentence {
      static_assert(TensorAggregation<A>, "culprit: an aggregation on tensors returns an at::Tensor");
    };
    return Sentence{};
  } else {
    struct Sentence {
      static_assert(
          Aggregation<A>,
          "culprit: an aggregation has const members map(gradient), combine(a, b) and finish(total, "
          "size), or a const operator()(gradients) on tensors");
    };
    return Sentence{};
  }
}
// [/aggregation]

// [standardization]
template <class S>
consteval auto require_standardization() {
  if constexpr (!Policy<S>) {
    struct Sentence {
      static_assert(Policy<S>,
                    "culprit: a standardization can be copied and assigned, and has a static string `name`");
    };
    return Sentence{};
  } else if constexpr (!requires(const S& policy, const UnitStatistics& unit) { policy(0.0, unit); }) {
    struct Sentence {
      static_assert(
          Standardization<S>,
          "culprit: a standardization has a const operator()(double raw, const UnitStatistics& unit)");
    };
    return Sentence{};
  } else {
    struct Sentence {
      static_assert(Standardization<S>, "culprit: a standardization returns a double");
    };
    return Sentence{};
  }
}
// [/standardization]

// [visitor]
template <class V>
consteval auto require_visitor() {
  if constexpr (!std::copyable<V>) {
    struct Sentence {
      static_assert(std::copyable<V>,
                    "culprit: a visitor can be copied and assigned, which a lambda with captures cannot");
    };
    return Sentence{};
  } else if constexpr (!requires(const V& visitor, at::IntArrayRef shape) { visitor(shape); }) {
    struct Sentence {
      static_assert(Visitor<V>, "culprit: a visitor has a const operator()(at::IntArrayRef shape)");
    };
    return Sentence{};
  } else {
    struct Sentence {
      static_assert(
          Visitor<V>,
          "culprit: a visitor returns a bool, whether a parameter of that shape holds units, or an Index, "
          "how many");
    };
    return Sentence{};
  }
}
// [/visitor]

// [engine]
template <class E>
consteval auto require_engine() {
  if constexpr (!std::copyable<E>) {
    struct Sentence {
      static_assert(std::copyable<E>, "culprit: an engine can be copied and assigned");
    };
    return Sentence{};
  } else if constexpr (!requires(const E& engine, const visit::Plan& plan, const at::Tensor& x) {
                         engine(plan, SomeAggregation{}, SomeLoss{}, x, x);
                       }) {
    struct Sentence {
      static_assert(
          Engine<E>,
          "culprit: an engine has a const operator()(plan, aggregation, loss, inputs, targets) that "
          "takes any aggregation and loss");
    };
    return Sentence{};
  } else {
    struct Sentence {
      static_assert(Engine<E>, "culprit: an engine returns an engine::BatchResult");
    };
    return Sentence{};
  }
}
// [/engine]

// [loss]
template <class L>
consteval auto require_loss() {
  if constexpr (!Policy<L>) {
    struct Sentence {
      static_assert(Policy<L>, "culprit: a loss can be copied and assigned, and has a static string `name`");
    };
    return Sentence{};
  } else if constexpr (!requires(const L& loss, const at::Tensor& x) { loss(x, x); }) {
    struct Sentence {
      static_assert(Loss<L>, "culprit: a loss has a const operator()(outputs, targets) on tensors");
    };
    return Sentence{};
  } else {
    struct Sentence {
      static_assert(Loss<L>, "culprit: a loss returns an at::Tensor, one number for each sample");
    };
    return Sentence{};
  }
}
// [/loss]

// [distance]
template <class D>
consteval auto require_distance() {
  if constexpr (!Policy<D>) {
    struct Sentence {
      static_assert(Policy<D>,
                    "culprit: a distance can be copied and assigned, and has a static string `name`");
    };
    return Sentence{};
  } else if constexpr (!requires(const D& distance, const Eigen::VectorXd& a) { distance(a, a); }) {
    struct Sentence {
      static_assert(Distance<D>,
                    "culprit: a distance has a const operator()(a, b) of two const Eigen::VectorXd");
    };
    return Sentence{};
  } else {
    struct Sentence {
      static_assert(Distance<D>, "culprit: a distance returns a double");
    };
    return Sentence{};
  }
}
// [/distance]

// [selection]
template <class S>
consteval auto require_selection() {
  if constexpr (!Policy<S>) {
    struct Sentence {
      static_assert(Policy<S>,
                    "culprit: a selection can be copied and assigned, and has a static string `name`");
    };
    return Sentence{};
  } else if constexpr (!requires(const S& policy, const Profile& profile, std::span<const Index> units) {
                         policy(profile, units);
                       }) {
    struct Sentence {
      static_assert(
          Selection<S>,
          "culprit: a selection has a const operator()(const Profile& profile, std::span<const Index> "
          "candidates)");
    };
    return Sentence{};
  } else {
    struct Sentence {
      static_assert(Selection<S>, "culprit: a selection returns a std::vector<Index> of unit numbers");
    };
    return Sentence{};
  }
}
// [/selection]

// [intervention]
template <class I>
consteval auto require_intervention() {
  if constexpr (!Policy<I>) {
    struct Sentence {
      static_assert(Policy<I>,
                    "culprit: an intervention can be copied and assigned, and has a static string `name`");
    };
    return Sentence{};
  } else if constexpr (!requires(const I& policy, const visit::Plan& plan, const intervene::Subject& subject,
                                 intervene::Undo& undo) { policy(plan, subject, undo); }) {
    struct Sentence {
      static_assert(Intervention<I>,
                    "culprit: an intervention has a const operator()(const visit::Plan& plan, const "
                    "intervene::Subject& subject, intervene::Undo& undo)");
    };
    return Sentence{};
  } else {
    struct Sentence {
      static_assert(Intervention<I>,
                    "culprit: an intervention returns an at::Tensor, the sample's input from then on");
    };
    return Sentence{};
  }
}
// [/intervention]

/// Of policies: for another type there is a sentence already, and these would not be true.
// [differentiable]
template <class A, class S, class E, class D>
consteval auto require_differentiable() {
  if constexpr (Aggregation<A> && Standardization<S> && Engine<E> && Distance<D>) {
    struct Sentence {
      static_assert(
          DifferentiableAggregation<A>,
          "culprit: input saliency differentiates the aggregation, and this one has no const member "
          "derivative(gradient, result, size) that returns a double");
      static_assert(DifferentiableStandardization<S>,
                    "culprit: input saliency differentiates the standardization, and this one has no const "
                    "member derivative(raw, unit) that returns a double");
      static_assert(
          DifferentiableEngine<E>,
          "culprit: input saliency asks the engine for vector-Jacobian products, and this one has no "
          "const member vjp(plan, aggregation, loss, inputs, targets, cotangent) that returns an "
          "engine::Vjp");
      static_assert(DifferentiableDistance<D>,
                    "culprit: input saliency differentiates the distance, and this one has no const member "
                    "gradient(a, b) that returns an Eigen::VectorXd");
    };
    return Sentence{};
  }
}
// [/differentiable]

}  // namespace culprit::detail
