// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "culprit/concepts.hpp"
#include "culprit/visit/plan.hpp"

namespace culprit::engine {

/// What an engine gives for a batch.
struct BatchResult {
  at::Tensor profiles;  ///< raw profiles (Eq. 1), [B, units], float32 or float64 as the model computes, on
                        ///< its device
  at::Tensor outputs;   ///< the model's outputs, detached
  at::Tensor losses;    ///< [B] float64
};

/// What makes a vector-Jacobian product of raw profiles: for each sample and unit, by how much the result
/// changes with that number.
///
/// Called with the raw profiles, on the model's device, of samples first, first + 1, ... of the batch, one
/// call at a time, in any order, until every sample has been given; where one is given again, the last call
/// counts. Returns [samples, units] of any float dtype, on any device.
class Cotangent : public std::function<at::Tensor(const at::Tensor& profiles, Index first)> {
 public:
  using std::function<at::Tensor(const at::Tensor&, Index)>::function;
};

/// A batch and the vector-Jacobian product of its raw profiles.
struct Vjp {
  BatchResult batch;          ///< profiles, outputs and losses
  at::Tensor input_gradient;  ///< as inputs: for each sample, sum over units k of cotangent_k * ds_k/dx
};

/// For a scope: autograd on, in whatever mode the caller is, and no tensor of the model requiring a gradient;
/// gives back what each had.
class GradientScope {
 public:
  /// @throws Error (model) for a tensor that autograd cannot differentiate by.
  explicit GradientScope(const visit::ModelView& model) {
    for (const auto* list : {&model.parameters, &model.buffers}) {
      for (const auto& [name, tensor] : *list) {
        if (tensor.is_inference() || !tensor.is_leaf()) {
          throw Error(
              ErrorCode::model, name, "a leaf tensor of autograd",
              tensor.is_inference() ? "a tensor made in inference mode" : "the result of an operation");
        }
        saved_.emplace_back(tensor, tensor.requires_grad());
      }
    }
    for (auto& [tensor, was] : saved_) tensor.requires_grad_(false);
  }
  GradientScope(const GradientScope&) = delete;
  GradientScope& operator=(const GradientScope&) = delete;
  ~GradientScope() {
    for (auto& [tensor, was] : saved_) tensor.requires_grad_(was);
  }

 private:
  c10::InferenceMode no_inference_{false};
  at::AutoGradMode with_grad_{true};
  std::vector<std::pair<at::Tensor, bool>> saved_;
};

/// A copy for one forward pass: the model may change it in place, and autograd may save it.
[[nodiscard]] inline at::Tensor private_copy(const at::Tensor& tensor) { return tensor.detach().clone(); }

namespace detail {

/// @throws Error (shape) when a loss policy gave anything but one loss for each sample.
template <Loss L>
void require_per_sample(const at::Tensor& losses, const at::Tensor& outputs) {
  if (outputs.dim() == 0 || losses.sizes() != outputs.sizes().slice(0, 1)) {
    throw Error(ErrorCode::shape, "loss " + std::string(L::name),
                "one loss for each sample of outputs " + c10::str(outputs.sizes()), c10::str(losses.sizes()));
  }
}

}  // namespace detail

/// Whether what is computed from the outputs goes on as a function of them, to be differentiated again.
enum class History { cut, kept };

/// Loss of each sample, and its gradient at the outputs: formed in float64, then cast to the dtype of the
/// outputs.
/// @param outputs  of the model, part of a graph or not
template <Loss L>
[[nodiscard]] std::pair<at::Tensor, at::Tensor> seed(const L& loss, const at::Tensor& outputs,
                                                     const at::Tensor& targets,
                                                     History history = History::cut) {
  const bool kept = history == History::kept;
  at::Tensor wide = (kept ? outputs : outputs.detach()).to(at::kDouble);
  at::Tensor losses;
  at::Tensor gradient;
  if constexpr (requires { loss.gradient(wide, targets); }) {
    const at::AutoGradMode mode(kept);
    losses = loss(wide, targets);
    detail::require_per_sample<L>(losses, wide);
    gradient = loss.gradient(wide, targets);
  } else {
    const at::AutoGradMode with_grad(true);
    if (!wide.requires_grad()) wide = wide.clone().requires_grad_(true);
    losses = loss(wide, targets);
    detail::require_per_sample<L>(losses, wide);
    gradient =
        torch::autograd::grad({losses.sum()}, {wide}, {}, /*retain_graph=*/kept, /*create_graph=*/kept)[0];
  }
  return {losses.detach().to(at::kDouble), gradient.to(outputs.scalar_type())};
}

/// What `run` returns for a part of a batch.
/// @param first  the part's first sample, which an error about a label then names
template <class Run>
decltype(auto) counted_from(Index first, const Run& run) {
  try {
    return run();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::label || first == 0) throw;
    throw Error(error.code(), error.place() + ", counted from sample " + std::to_string(first),
                error.expected(), error.came());
  }
}

/// A copy of the inputs that a gradient is wanted of. @throws Error (dtype) for inputs without one.
[[nodiscard]] inline at::Tensor differentiable_copy(const at::Tensor& inputs) {
  if (!inputs.is_floating_point()) {
    throw Error(ErrorCode::dtype, "inputs", "floating-point numbers, to differentiate by",
                c10::toString(inputs.scalar_type()));
  }
  return private_copy(inputs).requires_grad_(true);
}

/// Raw profiles are where the model is: in float64 for a float64 model, in float32 for every other.
[[nodiscard]] inline at::TensorOptions profile_options(const visit::Plan& plan) {
  const at::Tensor& parameter = plan.parameters.front();
  return parameter.options().dtype(parameter.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

}  // namespace culprit::engine
