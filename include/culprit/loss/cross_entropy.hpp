// SPDX-License-Identifier: MIT
#pragma once

#include <limits>
#include <string>
#include <string_view>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/log1p.h>
#include <ATen/ops/softmax.h>

#include "culprit/concepts.hpp"

namespace culprit::loss {

/// Cross entropy of one sample with a class index: L = -log p_y, p = softmax(outputs).
///
/// Outputs [B, classes], targets [B] int64: best on the CPU, where they are checked, also for a model on
/// another device, which else must be waited for. Both loss and gradient avoid the cancellation of 1 - p_y:
/// of a sample that is right with confidence near 1 they keep all digits.
struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";

  /// L = log(1 + sum over j != y of exp(o_j - o_y)), from the largest output where o_y is not it.
  /// @throws Error (shape, dtype or label) naming the sample.
  [[nodiscard]] at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    const at::Tensor index = index_of(outputs, targets);
    const at::Tensor margins = (outputs - outputs.gather(1, index)).scatter(1, index, minus_infinity);
    const at::Tensor largest = margins.amax(1).clamp_min(0.0);
    const at::Tensor others = (margins - largest.unsqueeze(1)).exp().sum(1);
    return largest + at::log1p(others + (largest.neg().exp() - 1.0));
  }

  /// dL/do_j = p_j, and dL/do_y = -sum over j != y of p_j.
  [[nodiscard]] at::Tensor gradient(const at::Tensor& outputs, const at::Tensor& targets) const {
    const at::Tensor index = index_of(outputs, targets);
    const at::Tensor others = at::softmax(outputs, 1).scatter(1, index, 0.0);
    return others.scatter(1, index, others.sum(1, /*keepdim=*/true).neg());
  }

 private:
  static constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

  /// The targets, checked, as an index [B, 1] into the outputs.
  static at::Tensor index_of(const at::Tensor& outputs, const at::Tensor& targets) {
    if (outputs.dim() != 2) {
      throw Error(ErrorCode::shape, "model output", "[batch, classes]", c10::str(outputs.sizes()));
    }
    if (targets.dim() != 1 || targets.size(0) != outputs.size(0)) {
      throw Error(ErrorCode::shape, "targets",
                  "[" + std::to_string(outputs.size(0)) + "], one class for each sample",
                  c10::str(targets.sizes()));
    }
    if (targets.scalar_type() != at::kLong) {
      throw Error(ErrorCode::dtype, "targets", "int64 class indices", c10::toString(targets.scalar_type()));
    }
    const at::Tensor host = targets.cpu();
    const auto* label = host.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < host.size(0); ++i) {
      const std::int64_t value = label[i * host.stride(0)];
      if (value < 0 || value >= outputs.size(1)) {
        throw Error(ErrorCode::label, "label of sample " + std::to_string(i) + " of the batch",
                    "0 to " + std::to_string(outputs.size(1) - 1), std::to_string(value));
      }
    }
    const at::Tensor there = outputs.is_cpu() ? host : targets.to(outputs.device(), /*non_blocking=*/true);
    return there.unsqueeze(1);
  }
};

static_assert(Loss<CrossEntropy>);

}  // namespace culprit::loss
