// SPDX-License-Identifier: MIT
#pragma once

#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "culprit/concepts.hpp"
#include "culprit/detail/require.hpp"
#include "culprit/intervene/undo.hpp"
#include "culprit/visit/plan.hpp"

namespace culprit::intervene {

/// What an intervention is applied to: a sample, and what is to blame for its loss.
struct Subject {
  at::Tensor input;            ///< [C, H, W], or what the model takes, without the batch dimension
  Index target = 0;            ///< its true class
  std::vector<Index> units{};  ///< to blame, such as Profile::select(select::Top{25})
  at::Tensor saliency{};       ///< of its pixels, [H, W], where the intervention wants it
};

/// For a scope: a model and a sample after an intervention. At its end every tensor of the model is as it was
/// before, bit for bit, also when something throws.
///
///   const intervene::Scope scope{intervene::Prune{}, plan, {image, label, profile.select(select::Top{25})}};
///   const at::Tensor outputs = scope.outputs();
template <class I>
class Scope {
  using Requirements = decltype(detail::require_intervention<I>());

 public:
  /// Makes the change. @throws what the intervention throws; the model is then as it was
  Scope(const I& intervention, visit::Plan plan, const Subject& subject)
      : plan_(std::move(plan)), input_(intervention(plan_, subject, undo_)) {}

  /// The sample's input as the intervention left it, [C, H, W].
  [[nodiscard]] const at::Tensor& input() const noexcept { return input_; }

  /// What the model now says of it, [classes], without gradients.
  [[nodiscard]] at::Tensor outputs() const {
    const at::NoGradGuard no_grad;
    const at::Tensor copy = plan_.brought(input_).unsqueeze(0).clone();  // the model may change it in place
    return plan_.model.forward(copy).squeeze(0);
  }

 private:
  visit::Plan plan_;
  Undo undo_;
  at::Tensor input_;
};

}  // namespace culprit::intervene
