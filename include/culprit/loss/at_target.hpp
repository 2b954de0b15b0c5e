// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>
#include <ATen/ops/full_like.h>

#include "culprit/concepts.hpp"
#include "culprit/loss/cross_entropy.hpp"

namespace culprit::loss {

/// Target: the class with the largest output, whatever the label.
struct PredictedClass {
  [[nodiscard]] at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& /*targets*/) const {
    return outputs.argmax(1);
  }
  [[nodiscard]] std::string description() const { return "predicted class"; }
};

/// Target: one class for every sample.
struct GivenClass {
  Index index = 0;  ///< the class

  [[nodiscard]] at::Tensor operator()(const at::Tensor& /*outputs*/, const at::Tensor& targets) const {
    return at::full_like(targets, index);
  }
  [[nodiscard]] std::string description() const { return "class " + std::to_string(index); }
};

/// Another loss with targets made from outputs [B, classes] and labels [B]: asks what the model answers for,
/// or what speaks against a class, instead of what explains the label.
template <class Target, Loss L = CrossEntropy>
struct AtTarget {
  static constexpr std::string_view name = "at_target";

  Target target{};  ///< what the loss takes for labels
  L loss{};         ///< the loss for class indices

  [[nodiscard]] at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    return loss(outputs, target(outputs, targets));
  }

  [[nodiscard]] at::Tensor gradient(const at::Tensor& outputs,
                                    const at::Tensor& targets) const requires requires {
    loss.gradient(outputs, targets);
  }
  { return loss.gradient(outputs, target(outputs, targets)); }

  [[nodiscard]] std::string description() const { return describe(loss) + " at " + target.description(); }
};

static_assert(Loss<AtTarget<PredictedClass>>);
static_assert(Loss<AtTarget<GivenClass>>);

}  // namespace culprit::loss
