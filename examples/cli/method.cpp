// SPDX-License-Identifier: MIT
//
// A unit of its own: each aggregation is another engine to compile.
#include "cli/method.hpp"

#include <utility>

#include <ATen/Parallel.h>

#include "culprit/aggregate/aggregate.hpp"
#include "culprit/distance/distance.hpp"
#include "culprit/loss/loss.hpp"
#include "culprit/profiler.hpp"
#include "culprit/standardize/standardize.hpp"

namespace culprit::cli {

namespace {

/// Everything but the profiler's own policies, which are part of its type.
struct Settings {
  AnyDistance distance;
  BoostOptions boost;
};

template <class P>
class ProfilerMethod final : public Method {
 public:
  ProfilerMethod(P profiler, Settings settings)
      : profiler_(std::move(profiler)), settings_(std::move(settings)) {}

  [[nodiscard]] visit::Plan plan(const visit::ModelView& model) const override {
    return profiler_.plan(model);
  }
  [[nodiscard]] Fingerprint fingerprint(const visit::Plan& plan, std::string preprocessing) const override {
    return profiler_.fingerprint(plan, std::move(preprocessing));
  }
  [[nodiscard]] engine::BatchResult batch(const visit::Plan& plan, const at::Tensor& inputs,
                                          const at::Tensor& targets) const override {
    return profiler_.batch(plan, inputs, targets);
  }
  [[nodiscard]] engine::BatchResult batch_as_is(const visit::Plan& plan, const at::Tensor& inputs,
                                                const at::Tensor& targets) const override {
    return profiler_.batch_as_is(plan, inputs, targets);
  }
  [[nodiscard]] Profile standardize(const Profile& raw, const Baseline& baseline) const override {
    return profiler_.standardize(raw, baseline);
  }
  [[nodiscard]] bool needs_quantiles() const override {
    return culprit::needs_quantiles(profiler_.standardization());
  }
  [[nodiscard]] std::vector<InputGradient> input_saliency(const visit::Plan& plan, const at::Tensor& inputs,
                                                          const at::Tensor& targets, const Baseline& baseline,
                                                          const AnySelection& selection) const override {
    const InputSaliency saliency{profiler_, settings_.distance, selection, settings_.boost};
    return saliency.batch(plan, inputs, targets, baseline);
  }

 private:
  P profiler_;
  Settings settings_;
};

}  // namespace

Index workers(const Options& options) {
  if (options.device != "cpu") return 1;
  return options.workers > 0 ? static_cast<Index>(options.workers) : at::get_num_threads();
}

std::unique_ptr<const Method> make_method(const Options& options) {
  const auto standardization =
      with_policy<standardize::ZScore, standardize::MeanRatio, standardize::Identity, standardize::Robust>(
          options.standardize, [](const auto& policy) { return AnyStandardization::of(policy); });
  const Settings settings{with_policy<distance::Cosine, distance::Euclidean>(
                              options.distance, [](const auto& policy) { return AnyDistance::of(policy); }),
                          {options.boost, options.noise_iters, options.noise_std, options.seed.value_or(0)}};
  const AnyVisitor units = visitor(options.units);
  const select::LayerRange range = layer_range(options.layers);

  const AnyEngine engine{
      .one_by_one = options.engine == "loop",
      .batched = {.workers = workers(options),
                  .chunk = has_batch_for_each_worker(options) ? static_cast<Index>(options.batch) : 0}};
  AnyLoss loss = AnyLoss::of(loss::CrossEntropy{});
  if (options.target == "predicted") {
    loss = AnyLoss::of(loss::AtTarget<loss::PredictedClass>{});
  } else if (options.target != "label") {
    loss = AnyLoss::of(loss::AtTarget<loss::GivenClass>{{std::stoll(options.target)}, {}});
  }
  return with_policy<aggregate::MeanAbs, aggregate::Mean, aggregate::L2Norm, aggregate::MaxAbs,
                     aggregate::MedianAbs, aggregate::ParameterWise, aggregate::TensorMean>(
      options.aggregate, [&](const auto& aggregation) -> std::unique_ptr<const Method> {
        auto profiler = Profiler(aggregation, standardization, units, engine, loss).within(range);
        return std::make_unique<ProfilerMethod<decltype(profiler)>>(std::move(profiler), settings);
      });
}

}  // namespace culprit::cli
