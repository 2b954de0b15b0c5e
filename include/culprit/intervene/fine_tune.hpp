// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ops/full.h>

#include "culprit/engine/engine.hpp"
#include "culprit/intervene/scope.hpp"
#include "culprit/loss/cross_entropy.hpp"

namespace culprit::intervene {

/// Gradients of one sample's loss with respect to the parameters that hold units.
/// @param input  [C, H, W]
/// @return one for each layer; undefined where the loss does not depend on it
template <Loss L>
[[nodiscard]] std::vector<at::Tensor> gradients(const visit::Plan& plan, const L& loss,
                                                const at::Tensor& input, Index target) {
  const engine::GradientScope scope(plan.model);
  for (const at::Tensor& parameter : plan.parameters) parameter.set_requires_grad(true);
  const at::Tensor output = plan.model.forward(engine::private_copy(plan.brought(input).unsqueeze(0)));
  const at::Tensor targets = at::full({1}, target, at::dtype(at::kLong));
  if (!output.requires_grad()) return std::vector<at::Tensor>(plan.parameters.size());
  return torch::autograd::grad({output}, plan.parameters, {engine::seed(loss, output, targets).second},
                               /*retain_graph=*/false, /*create_graph=*/false, /*allow_unused=*/true);
}

namespace detail {

/// What a gradient is multiplied by so that the step down it is eta long; 0 where it is 0.
/// @param squares  sum over its entries
/// @throws Error (numeric) for a gradient that is not finite.
inline double step_factor(double eta, double squares) {
  if (!std::isfinite(squares)) {
    throw Error(ErrorCode::numeric, "gradient of the chosen units", "finite values", std::to_string(squares));
  }
  return squares == 0.0 ? 0.0 : eta / std::sqrt(squares);
}

}  // namespace detail

/// Nudges filters (section 3.2 of the paper): one step of length eta down the sample's loss, on the chosen
/// units alone:
///   W_S <- W_S - eta * g_S / |g_S|_2, with the norm over the entries S of these units.
/// Nothing changes where g_S is 0.
template <class L = loss::CrossEntropy>
struct FineTune {
  static constexpr std::string_view name = "fine_tune";
  double eta = 1e-3;  ///< length of the step in weight space
  L loss{};           ///< whose gradient the step goes down

  /// @throws Error (numeric) for a gradient that is not finite.
  at::Tensor operator()(const visit::Plan& plan, const Subject& subject, Undo& undo) const {
    step(plan, gradients(plan, loss, subject.input, subject.target), subject.units, undo);
    return subject.input;
  }

  /// The step with gradients that are there already: for several choices of units on one sample.
  void step(const visit::Plan& plan, const std::vector<at::Tensor>& gradients,
            const std::vector<Index>& units, Undo& undo) const {
    const at::NoGradGuard no_grad;
    visit::Plan slopes = plan;
    slopes.parameters = gradients;
    std::vector<std::pair<at::Tensor, at::Tensor>> steps;  // weights and their gradient
    double squares = 0.0;
    const std::set<Index> each_once(units.begin(), units.end());
    for (const Index index : each_once) {
      const Unit unit = plan.units->unit(index);
      if (!gradients[static_cast<std::size_t>(unit.layer)].defined()) continue;
      const at::Tensor slope = visit::weights_of(slopes, unit).to(at::kDouble);
      squares += slope.square().sum().template item<double>();
      steps.emplace_back(visit::weights_of(plan, unit), slope);
    }
    const double factor = detail::step_factor(eta, squares);
    if (factor == 0.0) return;
    for (const auto& [weights, slope] : steps)
      undo.keep(weights).sub_((factor * slope).to(weights.options()));
  }

  [[nodiscard]] std::string description() const {
    return c10::str("fine_tune by ", eta, " down ", describe(loss));
  }
};

static_assert(Intervention<FineTune<>>);

}  // namespace culprit::intervene
