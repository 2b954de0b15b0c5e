// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include "cli/policies.hpp"
#include "culprit/input_saliency.hpp"
#include "culprit/profiler.hpp"
#include "culprit/visit/data_flow.hpp"

// What the module for Python and an aggregation that is compiled later share: a profiler behind virtual
// functions.
namespace culprit::python {

/// inputs and targets
using Batch = std::pair<at::Tensor, at::Tensor>;

/// Gives the next batch; nothing at the end.
using NextBatch = std::function<std::optional<Batch>()>;

/// Every choice of a profiler but its aggregation, which is part of the inner loop's type.
struct Settings {
  cli::AnyStandardization standardization;
  cli::AnyLoss loss;
  cli::AnyVisitor visitor;
  select::LayerRange layers;
  cli::AnyEngine engine;
};

/// What InputSaliency needs beside a profiler.
struct Boost {
  cli::AnyDistance distance;
  cli::AnySelection selection;
  BoostOptions options;
};

/// A Profiler whose aggregation may be compiled after the module.
class Method {
 public:
  Method() = default;
  Method(const Method&) = delete;
  Method& operator=(const Method&) = delete;
  virtual ~Method() = default;

  [[nodiscard]] virtual visit::Plan plan(const visit::ModelView& model) const = 0;

  /// The units of the baseline tell uses and batch norms, as those that the program culprit fits.
  [[nodiscard]] virtual Baseline fit(const visit::ModelView& model, const NextBatch& next,
                                     const FitOptions& options) const = 0;

  /// Raw profiles [B, units]; with a baseline standardized, float64.
  [[nodiscard]] virtual at::Tensor profile(const visit::ModelView& model, const at::Tensor& inputs,
                                           const at::Tensor& targets, const Baseline* baseline) const = 0;

  /// G of Eq. 4, as the inputs.
  [[nodiscard]] virtual at::Tensor input_saliency(const visit::ModelView& model, const at::Tensor& inputs,
                                                  const at::Tensor& targets, const Baseline& baseline,
                                                  const Boost& boost) const = 0;
};

namespace detail {

/// The batches that a function gives, as a range for Profiler::fit.
class Batches {
 public:
  class Iterator {
   public:
    explicit Iterator(const NextBatch& next) : next_(next), batch_(next()) {}
    const Batch& operator*() const { return *batch_; }
    Iterator& operator++() {
      batch_ = next_();
      return *this;
    }
    bool operator!=(std::default_sentinel_t /*end*/) const { return batch_.has_value(); }

   private:
    const NextBatch& next_;
    std::optional<Batch> batch_;
  };

  explicit Batches(NextBatch next) : next_(std::move(next)) {}
  [[nodiscard]] Iterator begin() const { return Iterator(next_); }
  [[nodiscard]] static std::default_sentinel_t end() { return {}; }

 private:
  NextBatch next_;
};

template <class P>
class ProfilerMethod final : public Method {
 public:
  explicit ProfilerMethod(P profiler) : profiler_(std::move(profiler)) {}

  [[nodiscard]] visit::Plan plan(const visit::ModelView& model) const override {
    return profiler_.plan(model);
  }

  [[nodiscard]] Baseline fit(const visit::ModelView& model, const NextBatch& next,
                             const FitOptions& options) const override {
    at::Tensor first;
    const Batches batches([&] {
      std::optional<Batch> batch = next();
      if (batch && !first.defined()) first = batch->first.narrow(0, 0, 1).clone();
      return batch;
    });
    const Baseline baseline = profiler_.fit(model, batches, options);
    return baseline.part(visit::trace(profiler_.plan(model), first).units);
  }

  [[nodiscard]] at::Tensor profile(const visit::ModelView& model, const at::Tensor& inputs,
                                   const at::Tensor& targets, const Baseline* baseline) const override {
    const visit::Plan plan = profiler_.plan(model);
    if (baseline == nullptr) return profiler_.batch(plan, inputs, targets).profiles.cpu();
    const Baseline part = part_of(*baseline, plan);
    const RowMatrix raw = to_matrix(profiler_.batch(plan, inputs, targets).profiles);
    at::Tensor profiles = at::empty({raw.rows(), raw.cols()}, at::dtype(at::kDouble));
    Eigen::Map<RowMatrix> z(profiles.mutable_data_ptr<double>(), raw.rows(), raw.cols());
    for (Index row = 0; row < raw.rows(); ++row) {
      const Profile of_sample(part.shared_units(), row_of(raw, row));
      z.row(row) = profiler_.standardize(of_sample, part).values();
    }
    return profiles;
  }

  [[nodiscard]] at::Tensor input_saliency(const visit::ModelView& model, const at::Tensor& inputs,
                                          const at::Tensor& targets, const Baseline& baseline,
                                          const Boost& boost) const override {
    if constexpr (DifferentiableAggregation<typename P::Aggregation>) {
      const visit::Plan plan = profiler_.plan(model);
      const InputSaliency saliency{profiler_, boost.distance, boost.selection, boost.options};
      std::vector<at::Tensor> gradients;
      for (const InputGradient& each : saliency.batch(plan, inputs, targets, part_of(baseline, plan)))
        gradients.push_back(each.gradient);
      return at::stack(gradients);
    } else {
      throw Error(ErrorCode::argument, "aggregation " + std::string(P::Aggregation::name),
                  "a member derivative(g, result, size), which input saliency needs", "none");
    }
  }

 private:
  [[nodiscard]] Baseline part_of(const Baseline& baseline, const visit::Plan& plan) const {
    if (needs_quantiles(profiler_.standardization()) && !baseline.quantiles()) {
      throw Error(ErrorCode::baseline, "baseline",
                  "quantiles, which a fit by the same standardization collects", "none");
    }
    return profiler_.part(baseline, plan);
  }

  P profiler_;
};

}  // namespace detail

/// @param aggregation  what is none is told by Profiler, in one sentence
template <class A>
[[nodiscard]] std::shared_ptr<Method> make_method(A aggregation, const Settings& settings) {
  auto profiler = Profiler(std::move(aggregation), settings.standardization, settings.visitor,
                           settings.engine, settings.loss)
                      .within(settings.layers);
  return std::make_shared<detail::ProfilerMethod<decltype(profiler)>>(std::move(profiler));
}

}  // namespace culprit::python
