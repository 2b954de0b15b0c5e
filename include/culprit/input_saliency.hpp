// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>

#include "culprit/concepts.hpp"
#include "culprit/detail/require.hpp"
#include "culprit/distance/cosine.hpp"
#include "culprit/profiler.hpp"
#include "culprit/select/top.hpp"
#include "culprit/tensor.hpp"

namespace culprit {

/// How units are boosted, and whether the gradient is averaged over noisy inputs.
struct BoostOptions {
  double boost = 100.0;    ///< factor of the boosted units in s' (Eq. 3)
  Index noise_iters = 0;   ///< number of noisy inputs to average over; 0: the input itself
  double noise_std = 0.0;  ///< deviation of the normal noise, in units of the model's input
  std::uint64_t seed = 0;  ///< of the noise: the same draws for every sample of every batch
};

/// What one sample's pixels have to do with its boosted units.
struct InputGradient {
  at::Tensor gradient;         ///< G of Eq. 4, signed, as the input without batch dimension
  Profile profile;             ///< z
  std::vector<Index> boosted;  ///< F, in the selection's order
  double distance;             ///< D(z, s') at the input itself

  /// How many of the boosted units have z > 0. With select::Top the others do not stand out; dead ones, z =
  /// 0, come first among them and stay 0 when they are boosted. Where F is nothing but these, s' = z and G is
  /// rounding noise.
  [[nodiscard]] Index salient() const {
    Index count = 0;
    for (const Index unit : boosted) count += profile[unit] > 0.0 ? 1 : 0;
    return count;
  }
};

namespace detail {

/// A sample's standardized and boosted profile.
struct Sight {
  Profile profile;             ///< z
  std::vector<Index> boosted;  ///< F
  Eigen::VectorXd target;      ///< s'
  double distance;             ///< D(z, s')
};

inline std::vector<InputGradient> input_gradients(const std::vector<Sight>& sights,
                                                  const at::Tensor& gradients) {
  std::vector<InputGradient> all;
  for (std::size_t i = 0; i < sights.size(); ++i) {
    const Sight& sight = sights[i];
    all.push_back({gradients[static_cast<Index>(i)], sight.profile, sight.boosted, sight.distance});
  }
  return all;
}

}  // namespace detail

/// Which pixels drive the culprits: section 2.3 of the paper.
///
/// The units F that `selection` takes from the standardized profile z are multiplied by `boost`; the result
/// s' (Eq. 3) and F are constants, and
///   G = grad_x D(z(x), s')   (Eq. 4 with D = 1 - cos)
/// points to where the input would have to change for these units to stand out less. (The authors' program
/// differentiates the similarity, which is -G.) A second derivative of the model; what the loss reaches is
/// differentiated through the profiler's aggregation and standardization, whose statistics are constants.
///
/// Holds policies only; the model comes back as it was, also when something throws.
template <class P = Profiler<>, class D = distance::Cosine, class F = select::Top>
class InputSaliency {
  using DistanceRequirements = decltype(detail::require_distance<D>());
  using SelectionRequirements = decltype(detail::require_selection<F>());
  using DifferentiableRequirements =
      decltype(detail::require_differentiable<typename P::Aggregation, typename P::Standardization,
                                              typename P::Engine, D>());

 public:
  /// @throws Error (argument) for a boost that is no number from 0, and for noise that is not: iterations or
  /// a deviation below 0, or only one of them.
  explicit InputSaliency(P profiler = P(), D distance = {}, F selection = {}, BoostOptions options = {})
      : profiler_(std::move(profiler)),
        distance_(std::move(distance)),
        selection_(std::move(selection)),
        options_(options) {
    if (!(options.boost >= 0.0) || std::isinf(options.boost)) {
      throw Error(ErrorCode::argument, "boost", "a number from 0", std::to_string(options.boost));
    }
    if (options.noise_iters < 0 || !(options.noise_std >= 0.0) ||
        (options.noise_iters == 0) != (options.noise_std == 0.0)) {
      throw Error(ErrorCode::argument, "noise", "iterations and a deviation above 0, or neither",
                  std::to_string(options.noise_iters) + " of deviation " + std::to_string(options.noise_std));
    }
  }

  /// G of one sample.
  /// @throws Error (baseline) when the baseline is of another model, Error (dtype) for integer inputs.
  template <Model M>
  [[nodiscard]] InputGradient operator()(M&& model, const Sample& sample, const Baseline& baseline) const {
    const visit::Plan plan = profiler_.plan(model);
    const at::Tensor target = at::full({1}, sample.target, at::dtype(at::kLong));
    return std::move(batch(plan, sample.input.unsqueeze(0), target, profiler_.part(baseline, plan)).front());
  }

  /// G of every sample of a batch; each is what it would be alone, up to rounding.
  /// @param inputs    [B, ...], floating-point @param targets  [B, ...] as the loss takes them
  /// @param baseline  of the plan's units
  [[nodiscard]] std::vector<InputGradient> batch(const visit::Plan& plan, const at::Tensor& inputs,
                                                 const at::Tensor& targets, const Baseline& baseline) const {
    if (options_.noise_iters > 0) return averaged(plan, inputs, targets, baseline);
    std::vector<std::vector<detail::Sight>> sights(
        static_cast<std::size_t>(inputs.size(0)));  // by first sample
    const engine::Vjp result =
        profiler_.vjp(plan, inputs, targets, engine::Cotangent([&](const at::Tensor& profiles, Index first) {
                        const std::vector<Profile> z = profiler_.standardize(profiles, baseline);
                        std::vector<detail::Sight>& some = sights[static_cast<std::size_t>(first)];
                        some = look(z);
                        return slopes(profiles, z, baseline, some);
                      }));
    std::vector<detail::Sight> all;
    for (std::vector<detail::Sight>& some : sights) std::ranges::move(some, std::back_inserter(all));
    return detail::input_gradients(all, result.input_gradient);
  }

 private:
  [[nodiscard]] std::vector<detail::Sight> look(std::span<const Profile> profiles) const {
    std::vector<detail::Sight> sights;
    for (const Profile& z : profiles) {
      std::vector<Index> boosted = z.select(selection_);
      Eigen::VectorXd target = z.values();
      for (const Index unit : boosted) target[unit] *= options_.boost;
      const double distance = distance_(z.values(), target);
      sights.push_back({z, std::move(boosted), std::move(target), distance});
    }
    return sights;
  }

  /// dD/ds of each raw profile, z when it is standardized, towards the samples' s'.
  [[nodiscard]] at::Tensor slopes(const at::Tensor& profiles, std::span<const Profile> z,
                                  const Baseline& baseline, std::span<const detail::Sight> sights) const {
    const RowMatrix raw = to_matrix(profiles);
    const auto& standardization = profiler_.standardization();
    at::Tensor result = at::empty({raw.rows(), raw.cols()}, at::dtype(at::kDouble));
    auto* const to = result.mutable_data_ptr<double>();
    for (Index row = 0; row < raw.rows(); ++row) {
      const auto sample = static_cast<std::size_t>(row);
      const Eigen::VectorXd by_z = distance_.gradient(z[sample].values(), sights[sample].target);
      for (Index k = 0; k < raw.cols(); ++k) {
        to[row * raw.cols() + k] = by_z[k] * standardization.derivative(raw(row, k), baseline.statistics(k));
      }
    }
    return result;
  }

  [[nodiscard]] std::vector<InputGradient> averaged(const visit::Plan& plan, const at::Tensor& inputs,
                                                    const at::Tensor& targets,
                                                    const Baseline& baseline) const {
    const std::vector<detail::Sight> sights =
        look(profiler_.standardize(profiler_.batch(plan, inputs, targets).profiles, baseline));
    at::Tensor sum = at::zeros_like(inputs, plan.device());
    auto generator = at::detail::createCPUGenerator(options_.seed);
    for (Index i = 0; i < options_.noise_iters; ++i) {
      // Drawn in float64, so that a run in float32 sees the same noise.
      const at::Tensor noise = at::randn(inputs.sizes().slice(1), generator, at::dtype(at::kDouble));
      const at::Tensor noisy = inputs + (options_.noise_std * noise).to(inputs.options());
      sum += profiler_
                 .vjp(plan, noisy, targets, engine::Cotangent([&](const at::Tensor& profiles, Index first) {
                        return slopes(profiles, profiler_.standardize(profiles, baseline), baseline,
                                      std::span(sights).subspan(static_cast<std::size_t>(first)));
                      }))
                 .input_gradient;
    }
    return detail::input_gradients(sights, sum / static_cast<double>(options_.noise_iters));
  }

  P profiler_;
  D distance_;
  F selection_;
  BoostOptions options_;
};

}  // namespace culprit
