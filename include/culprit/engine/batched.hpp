// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include "culprit/detail/parallel.hpp"
#include "culprit/engine/engine.hpp"
#include "culprit/engine/loop.hpp"
#include "culprit/engine/reduction.hpp"
#include "culprit/engine/uses.hpp"
#include "culprit/engine/weight_gradient.hpp"
#include "culprit/visit/operator_observer.hpp"

namespace culprit::engine {

namespace detail {

/// Says once in a process for each cause that a model runs one sample at a time.
inline void warn_fallback(const std::string& cause) {
  static std::mutex mutex;
  static std::set<std::string> told;
  const std::lock_guard lock(mutex);
  if (told.insert(cause).second) {
    TORCH_WARN("culprit: no batched rule for ", cause,
               "; this model runs one sample at a time (engine::Loop)");
  }
}

}  // namespace detail

/// All samples of a batch in one forward and one backward pass.
///
/// The gradient of each layer's weight for sample b is dY_b * unfold(X_b)^T. On the CPU that of a convolution
/// of one or two dimensions or of a linear layer is reduced by the aggregation tile by tile, while it is in
/// cache; else it is formed for a block of samples, reduced, and dropped. Memory is that of a training step
/// plus `block_bytes`. Convolutions of every kind, linear layers and embeddings are covered, also when a
/// parameter is used more than once; a model with any other operator on a unit parameter runs by Loop, with
/// one warning that names the operator.
/// @tparam Fused  reduces the gradients of a layer as they are formed, where it can: FusedOnCpu, or
///                cuda::FusedOnDevice
template <FusedReduction Fused>
struct BasicBatched {
  /// Bound on the temporary block of one layer, of at least one sample; 0 for 8 MiB on the CPU, where it
  /// stays in cache, and 512 MiB elsewhere, where small blocks leave most of a device without work.
  Index block_bytes = 0;

  /// Threads that each take a part of the batch through forward and backward pass, two samples at least, with
  /// one thread of LibTorch's in each: faster than to share each operator among LibTorch's threads. More than
  /// 1 is for models, losses and aggregations that may be called from several threads at a time, as
  /// LibTorch's layers and TorchScript may in evaluation mode, and for none that waits for torch.jit.fork.
  /// There are as many as at::set_num_interop_threads allows, and the caller.
  Index workers = 1;

  /// Samples that a worker takes at a time; 0 for an equal share of the batch. With a number, one worker or
  /// many give the same bits: each chunk is computed by one thread, from the same samples.
  Index chunk = 0;

  [[no_unique_address]] Fused fused{};  ///< and its hyper-parameters

  /// @param inputs  [B, ...] @param targets  [B, ...] as the loss takes them
  template <Aggregation A, Loss L>
  [[nodiscard]] BatchResult operator()(const visit::Plan& plan, const A& aggregation, const L& loss,
                                       const at::Tensor& inputs, const at::Tensor& targets) const {
    const GradientScope scope(plan.model);
    const at::Tensor profiles = empty_profiles(plan, inputs);
    std::vector<BatchResult> parts;
    const bool separable =
        each_part(plan, inputs, targets, parts, [&](BatchResult& part, const Samples& samples) {
          part.profiles = samples.of(profiles);
          return run(plan, aggregation, loss, samples, part);
        });
    if (separable) return joined(profiles, parts);
    return one_by_one([&] { return Loop{}(plan, aggregation, loss, inputs, targets); });
  }

  /// The vector-Jacobian product of the raw profiles for all samples at once, without a graph of any
  /// weight's gradient.
  ///
  /// With u_b the cotangent pulled back through the aggregation, a layer's part is <u_b, dY_b *
  /// unfold(X_b)^T>: linear in dY_b and in X_b. Its gradients for both are found by hand
  /// (weight_gradient_vjp), and carried to the inputs by one pass through the backward graph of the dY and
  /// the forward graph of the X.
  /// @param inputs  [B, ...], floating-point @param targets  [B, ...] as the loss takes them
  template <DifferentiableAggregation A, Loss L>
  [[nodiscard]] Vjp vjp(const visit::Plan& plan, const A& aggregation, const L& loss,
                        const at::Tensor& inputs, const at::Tensor& targets,
                        const Cotangent& cotangent) const {
    const GradientScope scope(plan.model);
    const at::Tensor profiles = empty_profiles(plan, inputs);
    std::mutex mutex;
    std::vector<Vjp> parts;
    const bool separable = each_part(plan, inputs, targets, parts, [&](Vjp& part, const Samples& samples) {
      const Cotangent of_part = [&](const at::Tensor& some, Index first) {
        const std::lock_guard one_at_a_time(mutex);
        return cotangent(some, samples.first + first);
      };
      part.batch.profiles = samples.of(profiles);
      return run_vjp(plan, aggregation, loss, samples, of_part, part);
    });
    if (!separable)
      return one_by_one([&] { return Loop{}.vjp(plan, aggregation, loss, inputs, targets, cotangent); });
    std::vector<BatchResult> batches;
    std::vector<at::Tensor> gradients;
    for (const Vjp& part : parts) {
      batches.push_back(part.batch);
      gradients.push_back(part.input_gradient);
    }
    return {joined(profiles, batches), joined(gradients)};
  }

 private:
  /// Those that a worker takes at a time.
  struct Samples {
    Index first, count;
    at::Tensor inputs, targets;

    [[nodiscard]] at::Tensor of(const at::Tensor& batch) const { return batch.narrow(0, first, count); }
  };

  [[nodiscard]] Index block(const visit::Plan& plan) const {
    if (block_bytes > 0) return block_bytes;
    return Index{plan.device().is_cpu() ? 8 : 512} << 20U;
  }

  static at::Tensor empty_profiles(const visit::Plan& plan, const at::Tensor& inputs) {
    return at::empty({inputs.size(0), plan.units->size()}, profile_options(plan));
  }

  /// Fills a result for each part of the batch by `each(part, samples)`, which says why these samples cannot
  /// be separated, or nothing.
  /// @returns whether they all can
  template <class Part, class Each>
  bool each_part(const visit::Plan& plan, const at::Tensor& inputs, const at::Tensor& targets,
                 std::vector<Part>& parts, const Each& each) const {
    std::string uncovered = detail::probe(plan, inputs);
    const Index batch = inputs.size(0);
    const Index threads = plan.device().is_cpu() ? workers : 1;  // others would not be on the caller's stream
    // Not one sample alone, which some models take for none: a squeeze() drops its dimension.
    const Index number =
        chunk > 0 ? (batch + chunk - 1) / chunk : std::max<Index>(1, std::min(threads, batch / 2));
    if (uncovered.empty() && number == 1 && chunk == 0) {
      uncovered = each(parts.emplace_back(), Samples{0, batch, inputs, targets});
    } else if (uncovered.empty()) {
      if (targets.dim() == 0 || targets.size(0) != batch) {
        throw Error(ErrorCode::shape, "targets", "[" + std::to_string(batch) + ", ...], one for each sample",
                    c10::str(targets.sizes()));
      }
      parts.resize(static_cast<std::size_t>(number));
      std::vector<std::string> causes(parts.size());
      const auto begin_of = [&](Index i) {
        return chunk > 0 ? std::min(batch, chunk * i) : batch * i / number;
      };
      culprit::detail::on_workers(number, threads, [&](Index i) {
        const Index first = begin_of(i);
        const Index count = begin_of(i + 1) - first;
        const auto place = static_cast<std::size_t>(i);
        counted_from(first, [&] {
          causes[place] = each(parts[place], Samples{first, count, inputs.narrow(0, first, count),
                                                     targets.narrow(0, first, count)});
        });
      });
      for (const std::string& cause : causes) {
        if (uncovered.empty()) uncovered = cause;
      }
    }
    if (!uncovered.empty()) detail::warn_fallback(uncovered);
    return uncovered.empty();
  }

  /// Calls Loop; with chunks on one thread, as these are.
  template <class Compute>
  std::invoke_result_t<Compute> one_by_one(const Compute& compute) const {
    if (chunk == 0) return compute();
    std::optional<std::invoke_result_t<Compute>> result;
    culprit::detail::on_workers(1, 1, [&](Index) { result = compute(); });
    return *std::move(result);
  }

  static at::Tensor joined(const std::vector<at::Tensor>& parts) {
    return parts.size() == 1 ? parts.front() : at::cat(parts);
  }

  /// @param profiles  of all parts, which each has filled its own rows of
  static BatchResult joined(const at::Tensor& profiles, const std::vector<BatchResult>& parts) {
    std::vector<at::Tensor> outputs, losses;
    for (const BatchResult& part : parts) {
      outputs.push_back(part.outputs);
      losses.push_back(part.losses);
    }
    return {profiles, joined(outputs), joined(losses)};
  }

  /// One forward and one backward pass; fills the profiles that `result` has. @returns why the samples cannot
  /// be separated; empty when they can
  template <Aggregation A, Loss L>
  std::string run(const visit::Plan& plan, const A& aggregation, const L& loss, const Samples& samples,
                  BatchResult& result) const {
    const auto taps = std::make_shared<detail::TapInserter>(plan, samples.inputs);
    detail::Reduction reduction(plan, aggregation, fused, block(plan), taps->uses, result.profiles);
    taps->sink = [&](const visit::ParameterUse& use, const at::Tensor& dy) { reduction.take(use, dy); };
    const at::Tensor outputs = visit::OperatorObserver::observe(
        taps, [&] { return plan.model.forward(private_copy(samples.inputs)); });
    if (!taps->uncovered.empty()) return taps->uncovered;
    at::Tensor gradient;
    std::tie(result.losses, gradient) = seed(loss, outputs, private_copy(samples.targets));
    if (outputs.requires_grad()) torch::autograd::backward({outputs}, {gradient});
    result.outputs = outputs.detach();
    reduction.finish();
    return {};
  }

  template <DifferentiableAggregation A, Loss L>
  std::string run_vjp(const visit::Plan& plan, const A& aggregation, const L& loss, const Samples& samples,
                      const Cotangent& cotangent, Vjp& result) const {
    const at::Tensor variable = differentiable_copy(samples.inputs);
    const auto keeper = std::make_shared<detail::HistoryKeeper>(plan, samples.inputs);
    const at::Tensor outputs =
        visit::OperatorObserver::observe(keeper, [&] { return plan.model.forward(variable.clone()); });
    if (!keeper->uncovered.empty()) return keeper->uncovered;

    BatchResult& batch = result.batch;
    const auto [losses, seeds] = seed(loss, outputs, private_copy(samples.targets), History::kept);
    batch.losses = losses;
    batch.outputs = outputs.detach();
    torch::autograd::variable_list dys = gradients_of_uses(outputs, seeds, *keeper);
    detail::Reduction reduction(plan, aggregation, fused, block(plan), keeper->uses, batch.profiles);
    std::vector<std::vector<std::size_t>> uses_of(plan.parameters.size());
    for (std::size_t i = 0; i < dys.size(); ++i) {
      const auto& [use, axis, input, version, output] = keeper->kept[i];
      if (!dys[i].defined()) continue;
      detail::require_unchanged(input, version, plan.units->layers()[use.parameter].name);
      reduction.take(use, axis.samples_first(dys[i].detach()));
      uses_of[use.parameter].push_back(i);
    }
    reduction.finish();

    const at::Tensor weights = plan.brought(cotangent(batch.profiles, 0));
    torch::autograd::variable_list factors, factor_gradients;
    for (std::size_t parameter = 0; parameter < uses_of.size(); ++parameter) {
      if (uses_of[parameter].empty()) continue;
      const Layer& layer = plan.units->layers()[parameter];
      std::vector<const visit::ParameterUse*> uses;
      std::vector<at::Tensor> dys_of_uses;
      Index sample_bytes = 1;
      for (const std::size_t i : uses_of[parameter]) {
        const visit::ParameterUse& use = keeper->kept[i].use;
        uses.push_back(&use);
        dys_of_uses.push_back(keeper->kept[i].axis.samples_first(dys[i].detach()));
        sample_bytes =
            std::max(sample_bytes,
                     dys[i].element_size() * block_elements(use, layer.shape, use.input, dys_of_uses.back()));
      }
      const auto found = detail::aggregation_vjp(
          aggregation, layer, uses, dys_of_uses, weights.narrow(1, layer.first, layer.count),
          std::max<Index>(1, block(plan) / sample_bytes), profile_options(plan));
      for (std::size_t n = 0; n < found.size(); ++n) {
        const std::size_t i = uses_of[parameter][n];
        for (const auto& [factor, gradient] :
             {std::pair(dys[i], found[n].dy), std::pair(keeper->kept[i].input, found[n].x)}) {
          if (!factor.requires_grad()) continue;
          factors.push_back(factor);
          factor_gradients.push_back(keeper->kept[i].axis.as_it_was(gradient));
        }
      }
    }
    if (!factors.empty()) {
      result.input_gradient = torch::autograd::grad(factors, {variable}, factor_gradients,
                                                    /*retain_graph=*/false, /*create_graph=*/false,
                                                    /*allow_unused=*/true)[0];
    }
    if (!result.input_gradient.defined()) result.input_gradient = at::zeros_like(samples.inputs);
    return {};
  }

  /// dY of each use that was kept, as a function of the inputs; undefined where the loss does not reach.
  static torch::autograd::variable_list gradients_of_uses(const at::Tensor& outputs, const at::Tensor& seeds,
                                                          const detail::HistoryKeeper& keeper) {
    torch::autograd::variable_list places;
    for (const auto& each : keeper.kept) places.push_back(each.output);
    if (places.empty() || !outputs.requires_grad()) return torch::autograd::variable_list(places.size());
    return torch::autograd::grad({outputs}, places, {seeds}, /*retain_graph=*/true, /*create_graph=*/true,
                                 /*allow_unused=*/true);
  }
};

/// The engine for any model on any device, fused on the CPU.
using Batched = BasicBatched<FusedOnCpu>;

static_assert(DifferentiableEngine<Batched>);

}  // namespace culprit::engine
