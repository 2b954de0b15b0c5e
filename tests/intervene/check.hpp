// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/nets.hpp"

// What Prune, FineTune and Mask must do on every model, to be called for each architecture.
namespace culprit::test {

/// The model's state but for the version counters: a scope writes to the model, and autograd may know.
template <class M>
ModelState state_of(M&& model) {
  ModelState state(visit::view(model));
  state.versions.clear();
  return state;
}

/// The largest |value| in the feature maps of some units, behind the batch norm where one reads them
/// directly.
class LargestValue final : public visit::OperatorObserver {
 public:
  LargestValue(const visit::Plan& traced, const std::vector<Index>& units)
      : OperatorObserver(traced.parameters), traced_(traced) {
    for (const Index unit : units) units_.push_back(traced.units->unit(unit));
  }

  void on_use(visit::ParameterUse use, at::Tensor& output) override {
    const bool linear = use.kind == visit::ParameterUse::Kind::linear;
    look(use.parameter, linear ? output.movedim(-1, 1) : output);
  }
  void on_batch_norm(const visit::BatchNormUse& use, at::Tensor& output) override {
    for (std::size_t i = 0; i < traced_.outlets.size(); ++i) {
      const visit::Outlet& outlet = traced_.outlets[i];
      const bool scaled = outlet.scale.defined() && outlet.scale.is_same(use.scale);
      const bool plain = outlet.running_mean.defined() && outlet.running_mean.is_same(use.running_mean);
      if (scaled || plain) look(i, output);
    }
  }
  void on_unknown(std::size_t /*parameter*/, const std::string& /*op*/) override {}

  double value = 0.0;
  int maps = 0;

 private:
  void look(std::size_t layer, const at::Tensor& output) {
    for (const Unit& unit : units_) {
      if (unit.layer != static_cast<Index>(layer)) continue;
      ++maps;
      const Layer& of = traced_.units->layers()[layer];
      const Index channels = of.shape.front() / of.count;
      const at::Tensor map = output.narrow(1, unit.channel * channels, channels);
      value = std::max(value, map.abs().max().item<double>());
    }
  }

  const visit::Plan& traced_;
  std::vector<Unit> units_;
};

/// The largest difference relative to the largest value; 0 where there is none.
inline double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  const double difference = (a - b).abs().max().item<double>();
  return difference == 0.0 ? 0.0 : difference / b.abs().max().item<double>();
}

/// @param inputs  [B, ...] @param count  of units to act on
template <class M, class Visitor = visit::ConvFilters>
void check_interventions(M&& model, const at::Tensor& inputs, Index count = 5, Visitor visitor = {}) {
  const Profiler profiler{aggregate::MeanAbs{}, standardize::Identity{}, visitor};
  const at::NoGradGuard no_grad;
  const ModelState before = state_of(model);
  const visit::Plan plan = visit::trace(profiler.plan(model), inputs.narrow(0, 0, 1));
  const Index all = plan.units->size();
  const std::vector<Index> everything = first_indices(all);
  const auto is_as_before = [&] { return state_of(model) == before; };
  const bool wide = inputs.scalar_type() == at::kDouble;

  SECTION("a pruned filter's feature map is exactly 0, and all is as before afterwards") {
    const std::vector<Index> units = drawn(everything, count, 1);
    const intervene::Subject subject{inputs[0], 0, units};
    {
      const intervene::Scope scope(intervene::Prune{}, plan, subject);
      CHECK_FALSE(is_as_before());
      const auto seen = std::make_shared<LargestValue>(plan, units);
      visit::OperatorObserver::observe(seen, [&] { return plan.model.forward(inputs.clone()); });
      CHECK(seen->maps >= static_cast<int>(units.size()));
      CHECK(seen->value == 0.0);
      {
        const intervene::Scope inner(intervene::Prune{}, plan, {inputs[0], 0, everything});
        CHECK(scope.outputs().sizes() == inner.outputs().sizes());
      }
      visit::OperatorObserver::observe(seen, [&] { return plan.model.forward(inputs.clone()); });
      CHECK(seen->value == 0.0);
    }
    CHECK(is_as_before());
    CHECK_THROWS_AS(
        [&] {
          const intervene::Scope scope(intervene::Prune{}, profiler.plan(model), subject);
          throw std::runtime_error("inside the scope");
        }(),
        std::runtime_error);
    CHECK(is_as_before());
    CHECK_THROWS_AS(intervene::Scope(intervene::Prune{}, plan, {inputs[0], 0, {0, all}}), Error);
    CHECK(is_as_before());
  }

  SECTION("fine-tuning moves the chosen filters alone, by eta") {
    std::vector<Index> units = drawn(everything, count, 2);
    units.push_back(units.back());  // named twice is moved once
    const intervene::FineTune<> tune{.eta = 1e-2, .loss = {}};
    {
      std::vector<at::Tensor> old;
      for (const at::Tensor& parameter : plan.parameters) old.push_back(parameter.detach().clone());
      const intervene::Scope scope(tune, plan, {inputs[0], 1, units});
      double squares = 0.0;
      double rounding = 0.0;
      std::vector<Index> changed;
      visit::Plan was = plan;
      was.parameters = old;
      for (Index index = 0; index < all; ++index) {
        const Unit unit = plan.units->unit(index);
        const at::Tensor now = visit::weights_of(plan, unit).detach();
        const at::Tensor then = visit::weights_of(was, unit);
        const double moved = (now - then).to(at::kDouble).square().sum().item<double>();
        squares += moved;
        if (moved > 0.0) {
          changed.push_back(index);
          rounding += then.to(at::kDouble).square().sum().item<double>();
        }
      }
      CHECK(std::includes(units.begin(), units.end(), changed.begin(), changed.end()));
      // Each new weight is rounded once: off by at most half a unit in its last place.
      const double half_ulp = wide ? 0x1p-53 : 0x1p-24;
      CHECK(std::abs(std::sqrt(squares) - 1e-2) <= 2 * half_ulp * (std::sqrt(rounding) + 1e-2) + 1e-14);
      const intervene::Scope inner(intervene::Prune{}, plan, {inputs[0], 0, units});
      CHECK_FALSE(is_as_before());
    }
    CHECK(is_as_before());
    CHECK_THROWS_AS(
        [&] {
          const intervene::Scope scope(tune, plan, {inputs[0], 1, units});
          throw std::runtime_error("inside the scope");
        }(),
        std::runtime_error);
    CHECK(is_as_before());
  }

  SECTION("a mask leaves the model alone") {
    const at::Tensor saliency = at::rand({inputs.size(2), inputs.size(3)});
    const intervene::Mask mask{.share = 0.25};
    const intervene::Subject subject{inputs[0], 0, {}, saliency};
    const intervene::Scope scope(mask, plan, subject);
    const at::Tensor replaced = (scope.input() != inputs[0]).any(0);
    CHECK(replaced.sum().item<Index>() == std::llround(0.25 * static_cast<double>(saliency.numel())));
    CHECK(scope.input().equal(mask(subject)));
    CHECK(is_as_before());
  }

  SECTION("each sample of a batch with its own filters off is as each sample pruned") {
    std::vector<std::vector<Index>> units;
    for (Index sample = 0; sample < inputs.size(0); ++sample)
      units.push_back(drawn(everything, count * sample, static_cast<std::uint64_t>(sample)));
    const at::Tensor together = intervene::outputs_pruned_each(plan, inputs, units);
    CHECK(is_as_before());
    for (Index sample = 0; sample < inputs.size(0); ++sample) {
      const intervene::Scope scope(intervene::Prune{}, plan,
                                   {inputs[sample], 0, units[static_cast<std::size_t>(sample)]});
      INFO("sample " << sample);
      // Sums over a batch and over one sample are rounded in another order, layer by layer.
      CHECK(relative_difference(together[sample], scope.outputs()) <= (wide ? 1e-11 : 1e-4));
    }
    CHECK(is_as_before());
  }
}

}  // namespace culprit::test
