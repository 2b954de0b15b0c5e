// SPDX-License-Identifier: MIT
#include <memory>
#include <utility>
#include <vector>

#include "culprit/profiler.hpp"

namespace cu = culprit;

struct Own {
  template <cu::Aggregation A, cu::Loss L>
  cu::engine::BatchResult operator()(const cu::visit::Plan& plan, const A& aggregation, const L& loss,
                                     const at::Tensor& inputs, const at::Tensor& targets) const;
};

struct ReturnsProfiles {
  template <cu::Aggregation A, cu::Loss L>
  at::Tensor operator()(const cu::visit::Plan& plan, const A& aggregation, const L& loss,
                        const at::Tensor& inputs, const at::Tensor& targets) const;
};

struct Mutable {
  template <cu::Aggregation A, cu::Loss L>
  cu::engine::BatchResult operator()(const cu::visit::Plan& plan, const A& aggregation, const L& loss,
                                     const at::Tensor& inputs, const at::Tensor& targets);
};

struct OfOneAggregation {
  template <cu::Loss L>
  cu::engine::BatchResult operator()(const cu::visit::Plan& plan, const cu::aggregate::MeanAbs& aggregation,
                                     const L& loss, const at::Tensor& inputs,
                                     const at::Tensor& targets) const;
};

struct NoCopy : Own {
  std::unique_ptr<int> cache;
};

void use(cu::visit::ModelView& model, const std::vector<std::pair<at::Tensor, at::Tensor>>& loader,
         const cu::Sample& sample) {
  const cu::aggregate::MeanAbs mean_abs;
  const cu::standardize::ZScore z_score;
  const cu::visit::ConvFilters filters;

  const cu::Profiler right{mean_abs, z_score, filters, Own{}};
  (void)right(model, sample, right.fit(model, loader)).top(10);

  // error: culprit: an engine returns an engine::BatchResult
  const cu::Profiler returns_profiles{mean_abs, z_score, filters, ReturnsProfiles{}};
  (void)returns_profiles(model, sample, returns_profiles.fit(model, loader)).top(10);

  // error: culprit: an engine has a const operator()(plan, aggregation, loss, inputs, targets) that takes any
  // aggregation and loss
  const cu::Profiler is_mutable{mean_abs, z_score, filters, Mutable{}};
  (void)is_mutable(model, sample, is_mutable.fit(model, loader)).top(10);

  // error: culprit: an engine has a const operator()(plan, aggregation, loss, inputs, targets) that takes any
  // aggregation and loss
  const cu::Profiler of_one_aggregation{mean_abs, z_score, filters, OfOneAggregation{}};
  (void)of_one_aggregation(model, sample, of_one_aggregation.fit(model, loader)).top(10);

  // error: culprit: an engine can be copied and assigned
  const cu::Profiler no_copy{mean_abs, z_score, filters, NoCopy{}};
  (void)no_copy(model, sample, no_copy.fit(model, loader)).top(10);
}
