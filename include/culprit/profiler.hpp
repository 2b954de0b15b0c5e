// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>

#include "culprit/aggregate/mean_abs.hpp"
#include "culprit/concepts.hpp"
#include "culprit/core/baseline.hpp"
#include "culprit/core/moments_tree.hpp"
#include "culprit/detail/host_copy.hpp"
#include "culprit/detail/require.hpp"
#include "culprit/engine/batched.hpp"
#include "culprit/loss/cross_entropy.hpp"
#include "culprit/select/layer_range.hpp"
#include "culprit/standardize/z_score.hpp"
#include "culprit/tensor.hpp"
#include "culprit/visit/parameters.hpp"
#include "culprit/visit/plan.hpp"

namespace culprit {

/// One input with its target: input [C, H, W] (or what the model takes, without the batch dimension).
struct Sample {
  at::Tensor input;  ///< [C, H, W], or what the model takes
  Index target = 0;  ///< its class
};

/// What becomes of a sample in whose gradients there is NaN or infinity.
enum class NonFinite {
  refuse,  ///< Error (numeric) that names the first such sample and layer
  skip,    ///< it is left out, and counted
};

/// What Profiler::fit tells and is told.
struct FitOptions {
  std::string preprocessing{};  ///< canonical text of how input was made, kept in the fingerprint
  std::function<void(Index samples)> progress{};  ///< called after each batch with the samples done so far
  NonFinite non_finite = NonFinite::refuse;       ///< what becomes of a sample whose gradients are not finite
};

/// Which rows of some raw profiles have no NaN and no infinity: bool [B].
[[nodiscard]] inline at::Tensor finite_samples(const at::Tensor& profiles) {
  return at::isfinite(profiles).all(1);
}

namespace detail {

/// The two tensors of a batch of any of the types that Profiler::fit takes.
template <class Batch>
std::pair<at::Tensor, at::Tensor> inputs_and_targets(const Batch& batch) {
  using Pair = std::pair<at::Tensor, at::Tensor>;
  if constexpr (requires { Pair(batch.inputs, batch.labels); }) {
    return {batch.inputs, batch.labels};
  } else if constexpr (requires { Pair(batch.inputs, batch.targets); }) {
    return {batch.inputs, batch.targets};
  } else if constexpr (requires { Pair(batch.data, batch.target); }) {
    return {batch.data, batch.target};
  } else if constexpr (requires { Pair(std::get<0>(batch), std::get<1>(batch)); }) {
    return {std::get<0>(batch), std::get<1>(batch)};
  } else {
    static_assert(sizeof(Batch) == 0,
                  "culprit: a batch to fit has tensors `inputs` and `labels` or `targets`, or `data` and "
                  "`target`, or is a pair or tuple that begins with two tensors");
  }
}

// What does not depend on the policies is compiled once, not with each Profiler.

inline void require_batch(const at::Tensor& inputs, const at::Tensor& targets) {
  if (inputs.dim() == 0 || inputs.size(0) == 0) {
    throw Error(ErrorCode::shape, "inputs", "[batch, ...] with at least one sample",
                c10::str(inputs.sizes()));
  }
  if (targets.dim() == 0 || targets.size(0) != inputs.size(0)) {
    throw Error(ErrorCode::shape, "targets", std::to_string(inputs.size(0)) + ", one for each sample",
                c10::str(targets.sizes()));
  }
}

/// @param first  place in the batch of the first profile
inline void require_finite(const visit::Plan& plan, const at::Tensor& profiles, Index first = 0) {
  if (at::isfinite(profiles).all().item<bool>()) return;
  const at::Tensor place = at::isfinite(profiles).logical_not().nonzero()[0];
  const Unit unit = plan.units->unit(place[1].item<Index>());
  throw Error(ErrorCode::numeric,
              "sample " + std::to_string(first + place[0].item<Index>()) + " of the batch",
              "finite gradients",
              "NaN or infinity in " + plan.units->layers()[static_cast<std::size_t>(unit.layer)].name);
}

/// @throws Error (model) in place of an exception of LibTorch that says that an operator has no derivative,
/// the exception itself otherwise.
[[noreturn]] inline void rethrow_underivable(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string_view reason = error.what();
    if (reason.find("is not implemented") == std::string_view::npos) throw;
    throw Error(ErrorCode::model, "model", "operators whose backward pass LibTorch can differentiate",
                std::string(reason.substr(0, reason.find('\n'))));
  }
}

/// The raw profiles of a hold-out set on their way into a baseline.
class Fit {
 public:
  Fit(const visit::Plan& plan, bool needs_quantiles, const FitOptions& options)
      : plan_(plan), options_(options), moments_(plan.units->size()) {
    if (needs_quantiles) quantiles_.emplace(plan.units->size());
  }

  /// Those of a device are summed up while it computes the next batch.
  void add(const at::Tensor& profiles) {
    if (profiles.is_cpu()) {
      sum(profiles);
      return;
    }
    HostCopy copy(profiles);
    if (before_) sum(before_->wait());
    before_ = std::move(copy);
  }

  Baseline finish(Fingerprint mark) {
    if (before_) sum(before_->wait());
    const Index count = moments_.count();
    if (count == 0) throw Error(ErrorCode::argument, "hold-out set", "at least one sample", "none");
    return Baseline(plan_.units, moments_.total(), std::move(mark), std::move(quantiles_), seen_ - count);
  }

 private:
  void sum(at::Tensor profiles) {
    seen_ += profiles.size(0);
    if (options_.non_finite == NonFinite::refuse) {
      require_finite(plan_, profiles);
    } else {
      profiles = profiles.index_select(0, finite_samples(profiles).nonzero().squeeze(1));
    }
    const RowMatrix raw = to_matrix(profiles);
    moments_.add(number_++, Moments::of_samples(raw));
    if (quantiles_) quantiles_->add(raw);
    if (options_.progress) options_.progress(seen_);
  }

  const visit::Plan& plan_;
  const FitOptions& options_;
  MomentsTree moments_;
  std::optional<Quantiles> quantiles_;
  std::optional<HostCopy> before_;
  Index number_ = 0, seen_ = 0;
};

}  // namespace detail

/// Finds the units to blame: composes a way to number gradients (aggregation), what counts as a unit
/// (visitor), what is unusual (standardization), how gradients are made (engine) and of which loss. Section 2
/// of the paper.
///
/// Holds policies only, so one profiler may serve any number of models and threads (each thread with its own
/// model: requires_grad of the parameters changes while a call runs, and comes back, also when it throws).
template <class A = aggregate::MeanAbs, class S = standardize::ZScore, class V = visit::ConvFilters,
          class E = engine::Batched, class L = loss::CrossEntropy>
class Profiler {
  using AggregationRequirements = decltype(detail::require_aggregation<A>());
  using StandardizationRequirements = decltype(detail::require_standardization<S>());
  using VisitorRequirements = decltype(detail::require_visitor<V>());
  using EngineRequirements = decltype(detail::require_engine<E>());
  using LossRequirements = decltype(detail::require_loss<L>());

 public:
  using Aggregation = A;      ///< the policy's type
  using Standardization = S;  ///< the policy's type
  using Engine = E;           ///< the policy's type

  /// A profiler of these policies; without any, the paper's.
  explicit Profiler(A aggregation = {}, S standardization = {}, V visitor = {}, E engine = {}, L loss = {})
      : aggregation_(std::move(aggregation)),
        standardization_(std::move(standardization)),
        visitor_(std::move(visitor)),
        engine_(std::move(engine)),
        loss_(std::move(loss)) {}

  /// A profiler of the same policies for some layers: nothing is computed of the others, and the backward
  /// pass ends at the shallowest one. Its profiles hold the units of these layers only; a baseline fitted to
  /// more layers serves them too.
  [[nodiscard]] Profiler within(const select::LayerRange& range) const {
    Profiler limited = *this;
    limited.range_ = range;
    return limited;
  }

  /// The policy that makes raw numbers comparable.
  [[nodiscard]] const S& standardization() const noexcept { return standardization_; }

  /// The model's units in profile order, and its parameters that hold them.
  /// @throws Error (model) when it has none, or is in training mode; Error (argument) when none is within the
  /// layer range.
  template <Model M>
  [[nodiscard]] visit::Plan plan(M&& model) const {
    visit::ModelView view = visit::view(model);
    visit::require_eval(view);
    return visit::make_plan(std::move(view), visitor_, granularity_of<A>(), range_);
  }

  /// What a baseline of this model by this profiler is marked with.
  /// @throws Error (numeric) when a weight is not finite.
  [[nodiscard]] Fingerprint fingerprint(const visit::Plan& plan, std::string preprocessing = {}) const {
    return {hash_tensors(plan.model), describe(aggregation_), describe(loss_), std::move(preprocessing)};
  }

  /// Raw profiles (Eq. 1), outputs and losses of a batch.
  /// @param inputs  [B, ...], brought to the model's device @param targets  [B, ...] as the loss takes them;
  /// int64 classes [B] for cross entropy
  /// @throws Error (numeric) naming the first sample and layer where a gradient is not finite: this waits for
  /// the model's device.
  [[nodiscard]] engine::BatchResult batch(const visit::Plan& plan, const at::Tensor& inputs,
                                          const at::Tensor& targets) const {
    engine::BatchResult result = batch_as_is(plan, inputs, targets);
    detail::require_finite(plan, result.profiles);
    return result;
  }

  /// The same without a look at the gradients: a row with NaN or infinity is one that finite_samples tells.
  [[nodiscard]] engine::BatchResult batch_as_is(const visit::Plan& plan, const at::Tensor& inputs,
                                                const at::Tensor& targets) const {
    detail::require_batch(inputs, targets);
    return engine_(plan, aggregation_, loss_, plan.brought(inputs), targets);
  }

  /// The batch with the gradient of a function of its raw profiles with respect to the inputs.
  /// @param inputs     [B, ...], floating-point @param targets  as for batch()
  /// @param cotangent  the function's gradient with respect to the raw profiles
  /// @throws Error (model) naming an operator whose backward pass LibTorch cannot differentiate.
  [[nodiscard]] engine::Vjp vjp(const visit::Plan& plan, const at::Tensor& inputs, const at::Tensor& targets,
                                const engine::Cotangent& cotangent) const {
    detail::require_batch(inputs, targets);
    try {
      return engine_.vjp(plan, aggregation_, loss_, plan.brought(inputs), targets,
                         engine::Cotangent([&](const at::Tensor& profiles, Index first) {
                           detail::require_finite(plan, profiles, first);
                           return cotangent(profiles, first);
                         }));
    } catch (...) {
      detail::rethrow_underivable(std::current_exception());
    }
  }

  /// Mean and deviation of every unit over a hold-out set, in one pass, batch by batch; quantiles too where
  /// the standardization needs them: mu and sigma of Eq. 2, sigma^2 = sum_i (s_i - mu)^2 / (n - 1).
  /// @param loader  a range of batches. A batch has members inputs and labels, inputs and targets, or data
  /// and target (torch::data::Example), or is a pair or tuple that begins with the two: [B, ...] and [B,
  /// ...], as for batch()
  /// @throws Error (argument) when there is no sample but skipped ones, or no layer in the range; Error
  /// (model) for a model without units or in training mode; Error (shape, dtype, label) for inputs and
  /// targets that do not fit each other, the loss or the classes; Error (numeric) for a weight that is not
  /// finite and, unless options say to skip them, naming the first sample and layer where a gradient is not.
  /// What the loader or options.progress throws goes through.
  template <Model M, class Loader>
  [[nodiscard]] Baseline fit(M&& model, Loader&& loader, const FitOptions& options = {}) const {
    const visit::Plan plan = this->plan(model);
    Fingerprint mark = fingerprint(plan, options.preprocessing);
    detail::Fit sums(plan, needs_quantiles(standardization_), options);
    for (const auto& next : loader) {
      const auto [inputs, targets] = detail::inputs_and_targets(next);
      sums.add(batch_as_is(plan, inputs, targets).profiles);
    }
    return sums.finish(std::move(mark));
  }

  /// Standardized profile (Eq. 2) of one sample.
  ///
  /// Plans the model and hashes all its weights, on each call. For many samples do that once, with plan() and
  /// part(), and give batch() and standardize() many at a time.
  /// @throws Error (baseline) when the baseline is of another model, aggregation or loss, lacks a layer, or
  /// has no quantiles and the standardization (Robust) needs them; Error (model, argument) as plan(); Error
  /// (label, numeric) as batch().
  template <Model M>
  [[nodiscard]] Profile operator()(M&& model, const Sample& sample, const Baseline& baseline) const {
    const visit::Plan plan = this->plan(model);
    return standardize(raw(plan, sample), part(baseline, plan));
  }

  /// Raw profile (Eq. 1) of one sample. Plans the model on each call: for many samples there are plan() and
  /// batch(). @throws Error (model, argument) as plan(), Error (label, numeric) as batch().
  template <Model M>
  [[nodiscard]] Profile operator()(M&& model, const Sample& sample) const {
    return raw(plan(model), sample);
  }

  /// Standardizes a raw profile: z of Eq. 2, where the standardization is the paper's. Compares nothing but
  /// the units with those of the baseline; it is part() that compares model, aggregation and loss.
  /// @throws Error (baseline) when it is of other units, and what the standardization throws: Robust, Error
  /// (baseline) for a baseline without quantiles.
  [[nodiscard]] Profile standardize(const Profile& raw, const Baseline& baseline) const {
    const std::string difference = baseline.units().difference(raw.units());
    if (!difference.empty())
      throw Error(ErrorCode::baseline, "baseline", "the units of the profile", difference);
    return standardized(raw.values(), baseline);
  }

  /// Standardizes the raw profiles of a batch, each row in float64: z of Eq. 2, where the standardization is
  /// the paper's. Compares nothing but the number of units with that of the baseline; it is part() that
  /// compares model, aggregation and loss.
  /// @param raw  [B, units] of any float dtype on any device, as engine::BatchResult::profiles
  /// @return one profile for each row
  /// @throws Error (shape) when the baseline has not one unit for each column, and what the standardization
  /// throws: Robust, Error (baseline) for a baseline without quantiles.
  [[nodiscard]] std::vector<Profile> standardize(const at::Tensor& raw, const Baseline& baseline) const {
    const Index units = baseline.units().size();
    if (raw.dim() != 2 || raw.size(1) != units) {
      throw Error(ErrorCode::shape, "raw profiles",
                  "[samples, " + std::to_string(units) + "], a number for each unit of the baseline",
                  c10::str(raw.sizes()));
    }
    const RowMatrix rows = to_matrix(raw);
    std::vector<Profile> all;
    for (Index row = 0; row < rows.rows(); ++row) all.push_back(standardized(row_of(rows, row), baseline));
    return all;
  }

  /// What of a baseline belongs to the units of a plan. @throws Error (baseline) when it is of another model,
  /// aggregation or loss, or lacks a layer.
  [[nodiscard]] Baseline part(const Baseline& baseline, const visit::Plan& plan) const {
    baseline.check(fingerprint(plan, baseline.fingerprint().preprocessing));
    return baseline.part(plan.units);
  }

 private:
  [[nodiscard]] Profile standardized(const Eigen::VectorXd& raw, const Baseline& baseline) const {
    Eigen::VectorXd z(raw.size());
    for (Index k = 0; k < raw.size(); ++k) z[k] = standardization_(raw[k], baseline.statistics(k));
    return Profile(baseline.shared_units(), std::move(z));
  }

  [[nodiscard]] Profile raw(const visit::Plan& plan, const Sample& sample) const {
    const at::Tensor target = at::full({1}, sample.target, at::dtype(at::kLong));
    const RowMatrix row = to_matrix(batch(plan, sample.input.unsqueeze(0), target).profiles);
    return Profile(plan.units, row_of(row, 0));
  }

  A aggregation_;
  S standardization_;
  V visitor_;
  E engine_;
  L loss_;
  select::LayerRange range_;
};

}  // namespace culprit
