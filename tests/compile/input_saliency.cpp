// SPDX-License-Identifier: MIT
#include "culprit/input_saliency.hpp"

#include <string_view>

#include "culprit/distance/spearman.hpp"

namespace cu = culprit;

struct Sum {
  static constexpr std::string_view name = "sum";
  double map(double gradient) const;
  double combine(double a, double b) const;
  double finish(double total, cu::Index size) const;
  double derivative(double gradient, double result, cu::Index size) const;
};

struct SumWithoutDerivative {
  static constexpr std::string_view name = "sum";
  double map(double gradient) const;
  double combine(double a, double b) const;
  double finish(double total, cu::Index size) const;
};

struct FinishInFloat {
  static constexpr std::string_view name = "sum";
  double map(double gradient) const;
  double combine(double a, double b) const;
  float finish(double total, cu::Index size) const;
  double derivative(double gradient, double result, cu::Index size) const;
};

struct Excess {
  static constexpr std::string_view name = "excess";
  double operator()(double raw, const cu::UnitStatistics& unit) const;
  double derivative(double raw, const cu::UnitStatistics& unit) const;
};

struct ExcessWithMutableDerivative {
  static constexpr std::string_view name = "excess";
  double operator()(double raw, const cu::UnitStatistics& unit) const;
  double derivative(double raw, const cu::UnitStatistics& unit);
};

struct EngineWithoutVjp {
  template <cu::Aggregation A, cu::Loss L>
  cu::engine::BatchResult operator()(const cu::visit::Plan& plan, const A& aggregation, const L& loss,
                                     const at::Tensor& inputs, const at::Tensor& targets) const;
};

struct Engine : EngineWithoutVjp {
  template <cu::DifferentiableAggregation A, cu::Loss L>
  cu::engine::Vjp vjp(const cu::visit::Plan& plan, const A& aggregation, const L& loss,
                      const at::Tensor& inputs, const at::Tensor& targets,
                      const cu::engine::Cotangent& cotangent) const;
};

struct EngineWithGradientOnly : EngineWithoutVjp {
  template <cu::DifferentiableAggregation A, cu::Loss L>
  at::Tensor vjp(const cu::visit::Plan& plan, const A& aggregation, const L& loss, const at::Tensor& inputs,
                 const at::Tensor& targets, const cu::engine::Cotangent& cotangent) const;
};

struct FloatDistance {
  static constexpr std::string_view name = "float";
  float operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const;
  Eigen::VectorXd gradient(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const;
};

void use(cu::visit::ModelView& model, const cu::Sample& sample, const cu::Baseline& baseline) {
  const cu::aggregate::MeanAbs mean_abs;
  const cu::standardize::ZScore z_score;
  const cu::visit::ConvFilters filters;

  const cu::InputSaliency right{cu::Profiler{Sum{}, Excess{}, filters, Engine{}}, cu::distance::Cosine{}};
  (void)right(model, sample, baseline).gradient;

  // error: culprit: input saliency differentiates the aggregation, and this one has no const member
  // derivative(gradient, result, size) that returns a double
  const cu::InputSaliency aggregation{cu::Profiler{SumWithoutDerivative{}}};
  (void)aggregation(model, sample, baseline).gradient;

  // error: culprit: input saliency differentiates the standardization, and this one has no const member
  // derivative(raw, unit) that returns a double
  const cu::InputSaliency standardization{cu::Profiler{mean_abs, ExcessWithMutableDerivative{}}};
  (void)standardization(model, sample, baseline).gradient;

  // error: culprit: input saliency asks the engine for vector-Jacobian products, and this one has no const
  // member vjp(plan, aggregation, loss, inputs, targets, cotangent) that returns an engine::Vjp
  const cu::InputSaliency engine{cu::Profiler{mean_abs, z_score, filters, EngineWithoutVjp{}}};
  (void)engine(model, sample, baseline).gradient;

  // error: culprit: input saliency asks the engine for vector-Jacobian products, and this one has no const
  // member vjp(plan, aggregation, loss, inputs, targets, cotangent) that returns an engine::Vjp
  const cu::InputSaliency gradient_only{cu::Profiler{mean_abs, z_score, filters, EngineWithGradientOnly{}}};
  (void)gradient_only(model, sample, baseline).gradient;

  // error: culprit: input saliency differentiates the distance, and this one has no const member gradient(a,
  // b) that returns an Eigen::VectorXd
  const cu::InputSaliency distance{cu::Profiler{}, cu::distance::Spearman{}};
  (void)distance(model, sample, baseline).gradient;

  // What is no policy of its role at all is told so, and only that.
  // error: culprit: an aggregation's combine returns what map returns, and its finish a double
  const cu::InputSaliency no_aggregation{cu::Profiler{FinishInFloat{}}};
  (void)no_aggregation(model, sample, baseline).gradient;

  // error: culprit: a distance returns a double
  const cu::InputSaliency float_distance{cu::Profiler{}, FloatDistance{}};
  (void)float_distance(model, sample, baseline).gradient;
}
