// SPDX-License-Identifier: MIT
#include <string_view>
#include <utility>
#include <vector>

#include "culprit/profiler.hpp"

namespace cu = culprit;

struct Sum {
  static constexpr std::string_view name = "sum";
  double map(double gradient) const;
  double combine(double a, double b) const;
  double finish(double total, cu::Index size) const;
};

struct NoName {
  double map(double gradient) const;
  double combine(double a, double b) const;
  double finish(double total, cu::Index size) const;
};

struct NoAssignment {
  static constexpr std::string_view name = "sum";
  const double threshold = 0.0;
  double map(double gradient) const;
  double combine(double a, double b) const;
  double finish(double total, cu::Index size) const;
};

struct FinishInFloat {
  static constexpr std::string_view name = "sum";
  double map(double gradient) const;
  double combine(double a, double b) const;
  float finish(double total, cu::Index size) const;
};

struct CombineOfOtherType {
  static constexpr std::string_view name = "sum";
  float map(double gradient) const;
  double combine(double a, double b) const;
  double finish(double total, cu::Index size) const;
};

struct MutableCombine {
  static constexpr std::string_view name = "sum";
  double map(double gradient) const;
  double combine(double a, double b);
  double finish(double total, cu::Index size) const;
};

struct NoFinish {
  static constexpr std::string_view name = "sum";
  double map(double gradient) const;
  double combine(double a, double b) const;
};

struct SumOnTensors {
  static constexpr std::string_view name = "sum";
  at::Tensor operator()(const at::Tensor& gradients) const;
};

struct DoubleOnTensors {
  static constexpr std::string_view name = "sum";
  double operator()(const at::Tensor& gradients) const;
};

void use(cu::visit::ModelView& model, const std::vector<std::pair<at::Tensor, at::Tensor>>& loader,
         const cu::Sample& sample) {
  const cu::Profiler right{Sum{}};
  (void)right(model, sample, right.fit(model, loader)).top(10);

  // error: culprit: an aggregation can be copied and assigned, and has a static string `name`
  const cu::Profiler no_name{NoName{}};
  (void)no_name(model, sample, no_name.fit(model, loader)).top(10);

  // error: culprit: an aggregation can be copied and assigned, and has a static string `name`
  const cu::Profiler no_assignment{NoAssignment{}};
  (void)no_assignment(model, sample, no_assignment.fit(model, loader)).top(10);

  // error: culprit: an aggregation's combine returns what map returns, and its finish a double
  const cu::Profiler finish_in_float{FinishInFloat{}};
  (void)finish_in_float(model, sample, finish_in_float.fit(model, loader)).top(10);

  // error: culprit: an aggregation's combine returns what map returns, and its finish a double
  const cu::Profiler combine_of_other_type{CombineOfOtherType{}};
  (void)combine_of_other_type(model, sample, combine_of_other_type.fit(model, loader)).top(10);

  // error: culprit: an aggregation has const members map(gradient), combine(a, b) and finish(total, size), or
  // a const operator()(gradients) on tensors
  const cu::Profiler mutable_combine{MutableCombine{}};
  (void)mutable_combine(model, sample, mutable_combine.fit(model, loader)).top(10);

  // error: culprit: an aggregation has const members map(gradient), combine(a, b) and finish(total, size), or
  // a const operator()(gradients) on tensors
  const cu::Profiler no_finish{NoFinish{}};
  (void)no_finish(model, sample, no_finish.fit(model, loader)).top(10);

  const cu::Profiler right_on_tensors{SumOnTensors{}};
  (void)right_on_tensors(model, sample, right_on_tensors.fit(model, loader)).top(10);

  // error: culprit: an aggregation on tensors returns an at::Tensor
  const cu::Profiler double_on_tensors{DoubleOnTensors{}};
  (void)double_on_tensors(model, sample, double_on_tensors.fit(model, loader)).top(10);
}
