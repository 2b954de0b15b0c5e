// SPDX-License-Identifier: MIT
#pragma once

#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include "culprit/core/error.hpp"

namespace culprit::intervene {

/// Puts a model's tensors back as they were, bit for bit, when it goes: also when what comes in between
/// throws. Scopes nest; the inner one ends first.
class Undo {
 public:
  Undo() = default;
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;
  ~Undo() { restore(); }

  /// Keeps the bits of a tensor of the model, or of a view of one, before it is written to.
  /// @returns a view of the same memory outside autograd's sight, to write to under NoGradGuard
  /// @throws Error (model) for a tensor made in inference mode, which cannot be written to outside of it.
  at::Tensor keep(const at::Tensor& tensor) {
    if (tensor.is_inference()) {
      throw Error(ErrorCode::model, "parameter", "a tensor made outside inference mode",
                  "one made in inference mode");
    }
    const c10::InferenceMode no_inference(false);
    const at::NoGradGuard no_grad;
    at::Tensor place = tensor.detach();
    kept_.emplace_back(place, place.clone());
    return place;
  }

  /// Undoes now what the destructor would.
  void restore() {
    const c10::InferenceMode no_inference(false);
    const at::NoGradGuard no_grad;
    for (; !kept_.empty(); kept_.pop_back()) kept_.back().first.copy_(kept_.back().second);
  }

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;  // the place, and what was there
};

}  // namespace culprit::intervene
