// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <culprit/culprit.hpp>
#include <torch/script.h>
#include <torch/torch.h>

#include "io/error_of.hpp"
#include "support/catch.hpp"

namespace culprit::test {

using Forward = std::function<at::Tensor(const at::Tensor&)>;

/// A model made of tensors, which become its parameters "0", "1", ... or those names, and a function.
inline visit::ModelView net(std::vector<visit::NamedTensor> parameters, Forward forward) {
  return {std::move(parameters), {}, {}, std::move(forward)};
}

inline at::Tensor normal(at::IntArrayRef sizes, at::ScalarType dtype = at::kDouble) {
  return at::randn(sizes, at::dtype(dtype));
}

/// Weights of a size that keeps activations near 1.
inline at::Tensor weight(at::IntArrayRef sizes, at::ScalarType dtype = at::kDouble) {
  const double fan_in = static_cast<double>(c10::multiply_integers(sizes.slice(1)));
  return normal(sizes, dtype) / std::sqrt(fan_in);
}

inline at::Tensor classes(Index batch, Index count) { return at::randint(count, {batch}, at::kLong); }

/// Every parameter holds units, of any number of dimensions.
struct Everything {
  [[nodiscard]] bool operator()(at::IntArrayRef /*shape*/) const { return true; }
};

/// The largest |a - b| of any sample and layer, over the largest |scale| of that sample and layer. NaN where
/// there is one; 0 where both are 0.
inline double worst(const Units& units, const at::Tensor& a, const at::Tensor& b, const at::Tensor& scale) {
  double result = 0.0;
  for (const Layer& layer : units.layers()) {
    const auto part = [&](const at::Tensor& all) {
      return all.narrow(1, layer.first, layer.count).to(at::kDouble);
    };
    const at::Tensor difference = (part(a) - part(b)).abs().amax(1);
    const at::Tensor largest = part(scale).abs().amax(1);
    const at::Tensor ratio = at::where(difference == 0.0, at::zeros_like(difference), difference / largest);
    const double here = ratio.max().item<double>();
    if (!(here <= result)) result = here;
  }
  return result;
}

inline double worst(const Units& units, const at::Tensor& a, const at::Tensor& b) {
  return worst(units, a, b, b);
}

/// Batched against Loop on the same samples: the largest difference relative to a layer's largest value.
template <class Model, class Visitor = visit::AllWeights, class A = aggregate::MeanAbs,
          class L = loss::CrossEntropy>
double batched_against_loop(Model&& model, const at::Tensor& inputs, const at::Tensor& targets,
                            Visitor visitor = {}, A aggregation = {}, L loss = {},
                            engine::Batched batched = {}) {
  const visit::Plan plan = visit::make_plan(visit::view(model), visitor, granularity_of<A>());
  const engine::BatchResult fast = batched(plan, aggregation, loss, inputs, targets);
  const engine::BatchResult slow = engine::Loop{}(plan, aggregation, loss, inputs, targets);
  CHECK(at::allclose(fast.outputs, slow.outputs, 1e-10, 1e-12));
  CHECK(at::allclose(fast.losses, slow.losses, 1e-10, 1e-12));
  CHECK(slow.profiles.abs().max().item<double>() > 0.0);
  return worst(*plan.units, fast.profiles, slow.profiles);
}

/// A cotangent of fixed random numbers.
inline engine::Cotangent random_cotangent(Index batch, Index units) {
  return engine::Cotangent([all = normal({batch, units})](const at::Tensor& profiles, Index first) {
    return all.narrow(0, first, profiles.size(0));
  });
}

/// Batched against Loop: the largest difference of two vector-Jacobian products, as a share of the sample's
/// largest; 0 where both are 0.
template <class Model, class Visitor = visit::AllWeights, class A = aggregate::MeanAbs,
          class L = loss::CrossEntropy>
double vjp_batched_against_loop(Model&& model, const at::Tensor& inputs, const at::Tensor& targets,
                                Visitor visitor = {}, A aggregation = {}, L loss = {},
                                engine::Batched batched = {}) {
  const visit::Plan plan = visit::make_plan(visit::view(model), visitor, granularity_of<A>());
  const engine::Cotangent cotangent = random_cotangent(inputs.size(0), plan.units->size());
  const engine::Vjp fast = batched.vjp(plan, aggregation, loss, inputs, targets, cotangent);
  const engine::Vjp slow = engine::Loop{}.vjp(plan, aggregation, loss, inputs, targets, cotangent);
  CHECK(fast.input_gradient.sizes() == inputs.sizes());
  CHECK_FALSE(fast.input_gradient.requires_grad());
  CHECK(at::allclose(fast.batch.outputs, slow.batch.outputs, 1e-10, 1e-12));
  CHECK(at::allclose(fast.batch.losses, slow.batch.losses, 1e-10, 1e-12));
  CHECK(worst(*plan.units, fast.batch.profiles, batched(plan, aggregation, loss, inputs, targets).profiles,
              slow.batch.profiles) <= 1e-12);
  const at::Tensor difference = (fast.input_gradient - slow.input_gradient).abs().flatten(1).amax(1);
  const at::Tensor largest = slow.input_gradient.abs().flatten(1).amax(1);
  return at::where(difference == 0.0, at::zeros_like(difference), difference / largest).max().item<double>();
}

/// Collects the project's own warnings, and swallows LibTorch's.
class Warnings final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override {
    if (warning.msg().starts_with("culprit:")) messages.push_back(warning.msg());
  }

  std::vector<std::string> messages;

 private:
  c10::WarningUtils::WarningHandlerGuard guard_{this};
};

/// All that a call must leave as it was in a model.
struct ModelState {
  explicit ModelState(const visit::ModelView& view) : training(view.training) {
    for (const auto* list : {&view.parameters, &view.buffers}) {
      for (const auto& [name, tensor] : *list) {
        values.push_back(tensor.detach().cpu().clone());
        requires_grad.push_back(tensor.requires_grad());
        has_gradient.push_back(tensor.grad().defined());
        versions.push_back(tensor._version());
      }
    }
  }

  [[nodiscard]] bool operator==(const ModelState& other) const {
    const auto same_bytes = [](const at::Tensor& a, const at::Tensor& b) {
      return a.sizes() == b.sizes() && std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
    };
    return std::equal(values.begin(), values.end(), other.values.begin(), other.values.end(), same_bytes) &&
           requires_grad == other.requires_grad && has_gradient == other.has_gradient &&
           versions == other.versions && training == other.training;
  }

  std::vector<at::Tensor> values;
  std::vector<bool> requires_grad, has_gradient;
  std::vector<std::int64_t> versions;
  std::vector<std::string> training;
};

}  // namespace culprit::test
