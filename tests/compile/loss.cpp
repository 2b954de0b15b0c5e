// SPDX-License-Identifier: MIT
#include <string_view>
#include <utility>
#include <vector>

#include "culprit/profiler.hpp"

namespace cu = culprit;

struct Hinge {
  static constexpr std::string_view name = "hinge";
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const;
};

struct NoName {
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const;
};

struct ReturnsDouble {
  static constexpr std::string_view name = "hinge";
  double operator()(const at::Tensor& outputs, const at::Tensor& targets) const;
};

struct Mutable {
  static constexpr std::string_view name = "hinge";
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets);
};

struct OfOneSample {
  static constexpr std::string_view name = "hinge";
  at::Tensor operator()(const at::Tensor& outputs, cu::Index target) const;
};

void use(cu::visit::ModelView& model, const std::vector<std::pair<at::Tensor, at::Tensor>>& loader,
         const cu::Sample& sample) {
  const cu::aggregate::MeanAbs mean_abs;
  const cu::standardize::ZScore z_score;
  const cu::visit::ConvFilters filters;
  const cu::engine::Batched batched;

  const cu::Profiler right{mean_abs, z_score, filters, batched, Hinge{}};
  (void)right(model, sample, right.fit(model, loader)).top(10);

  // error: culprit: a loss can be copied and assigned, and has a static string `name`
  const cu::Profiler no_name{mean_abs, z_score, filters, batched, NoName{}};
  (void)no_name(model, sample, no_name.fit(model, loader)).top(10);

  // error: culprit: a loss returns an at::Tensor, one number for each sample
  const cu::Profiler returns_double{mean_abs, z_score, filters, batched, ReturnsDouble{}};
  (void)returns_double(model, sample, returns_double.fit(model, loader)).top(10);

  // error: culprit: a loss has a const operator()(outputs, targets) on tensors
  const cu::Profiler is_mutable{mean_abs, z_score, filters, batched, Mutable{}};
  (void)is_mutable(model, sample, is_mutable.fit(model, loader)).top(10);

  // error: culprit: a loss has a const operator()(outputs, targets) on tensors
  const cu::Profiler of_one_sample{mean_abs, z_score, filters, batched, OfOneSample{}};
  (void)of_one_sample(model, sample, of_one_sample.fit(model, loader)).top(10);
}
