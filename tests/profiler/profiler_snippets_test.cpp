// SPDX-License-Identifier: MIT
// What README.md and the pages in docs/ show of profilers and their policies, and no other tested code has:
// tests/docs/snippets.py compares.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "culprit/engine/autocast.hpp"
#include "profiler/snippets.hpp"

namespace cu = culprit;
using namespace culprit::test;

namespace {

// [own_tensor_aggregation]
/// The size that a tenth of a unit's gradients exceeds.
struct UpperDecile {
  static constexpr std::string_view name = "upper_decile";

  at::Tensor operator()(const at::Tensor& gradients) const { return gradients.abs().quantile(0.9, -1); }
};
static_assert(cu::DifferentiableAggregation<UpperDecile>);
// [/own_tensor_aggregation]

// [own_standardization]
/// log(s / mu): half and double the usual saliency are equally far from 0. 0 where there is no logarithm.
struct LogRatio {
  static constexpr std::string_view name = "log_ratio";

  double operator()(double s, const cu::UnitStatistics& unit) const {
    return s > 0.0 && unit.mean > 0.0 ? std::log(s / unit.mean) : 0.0;
  }
  double derivative(double s, const cu::UnitStatistics& unit) const {  // for input saliency
    return s > 0.0 && unit.mean > 0.0 ? 1.0 / s : 0.0;
  }
};
static_assert(cu::DifferentiableStandardization<LogRatio>);
// [/own_standardization]

// [own_loss]
/// By how much the label misses a lead of 1 over the best other class; 0 where it has it.
struct Margin {
  static constexpr std::string_view name = "margin";

  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    const at::Tensor label = targets.unsqueeze(1);
    const at::Tensor best_other = outputs.scatter(1, label, -1e300).amax(1);
    return (1.0 + best_other - outputs.gather(1, label).squeeze(1)).clamp_min(0.0);
  }
};
static_assert(cu::Loss<Margin>);
// [/own_loss]

double apart(const Eigen::VectorXd& a, const Eigen::VectorXd& b) { return (a - b).cwiseAbs().maxCoeff(); }

}  // namespace

TEST_CASE("Documentation: aggregations", "[snippets]") {
  const auto [model, inputs, targets, loader, image, label] = Bench();
  // [aggregation]
  const cu::Profiler filters{cu::aggregate::MedianAbs{}};  // a number for each filter
  const cu::Profiler layers{cu::aggregate::TensorMean{}};  // a number for each layer
  const auto median = filters(model, {image, label});
  const auto mean = layers(model, {image, label});
  // [/aggregation]
  CHECK(median.size() == 18);
  CHECK(mean.size() == 3);
  const cu::Profiler decile{UpperDecile{}};
  const auto high = decile(model, {image, label});
  const auto largest = cu::Profiler{cu::aggregate::MaxAbs{}}(model, {image, label});
  for (cu::Index k = 0; k < 18; ++k) {
    CHECK(high[k] > median[k]);
    CHECK(high[k] < largest[k]);
  }
  CHECK(usable(cu::InputSaliency{decile}(model, {image, label}, decile.fit(model, loader)).gradient));
}

TEST_CASE("Documentation: standardizations", "[snippets]") {
  const auto [model, inputs, targets, loader, image, label] = Bench();
  // [standardization]
  const cu::Profiler robust{cu::aggregate::MeanAbs{}, cu::standardize::Robust{}};
  const auto baseline = robust.fit(model, loader);  // mean and deviation, and quantiles as Robust needs them
  const auto profile = robust(model, {image, label}, baseline);
  const auto z = cu::Profiler{}(model, {image, label}, baseline);  // ZScore takes the same baseline
  // [/standardization]
  const auto raw = robust(model, {image, label});
  for (cu::Index k = 0; k < raw.size(); ++k) {
    const cu::UnitStatistics unit = baseline.statistics(k);
    CHECK(profile[k] == Approx((raw[k] - unit.median) / (1.4826022185056018 * unit.mad)));
    CHECK(z[k] == Approx((raw[k] - unit.mean) / unit.stddev));
  }
  const auto without = cu::Profiler{}.fit(model, loader);
  const cu::Error error = error_of([&, &m = model, &i = image, &l = label] {
    (void)robust(m, {i, l}, without);
  });
  CHECK(error.code() == cu::ErrorCode::baseline);
  CHECK(std::string(error.what()) ==
        "baseline: expected one with quantiles (fitted for standardize::Robust), came mean and deviation "
        "only");
  const cu::Profiler log_ratio{cu::aggregate::MeanAbs{}, LogRatio{}};
  CHECK(log_ratio(model, {image, label}, baseline)[7] == Approx(std::log(raw[7] / baseline.mean()[7])));
  CHECK(usable(cu::InputSaliency{log_ratio}(model, {image, label}, baseline).gradient));
}

TEST_CASE("Documentation: visitors and layer ranges", "[snippets]") {
  const auto [model, inputs, targets, loader, image, label] = Bench();
  // [visitor]
  const cu::Profiler neurons{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::LinearNeurons{}};
  const cu::Profiler wide{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{},
                          [](at::IntArrayRef shape) { return shape.size() == 4 && shape[0] >= 6; }};
  // [/visitor]
  CHECK(neurons.plan(model).units->size() == 5);
  CHECK(wide.plan(model).units->size() == 14);
  const cu::Profiler profiler;
  const auto baseline = profiler.fit(model, loader);
  // [within]
  const auto shallow = profiler.within({.up_to = "features.19"});  // no gradient of a deeper layer
  const auto profile = shallow(model, {image, label}, baseline);   // a baseline of all layers serves
  // [/within]
  CHECK(profile.size() == 10);
  CHECK(apart(profile.values(), profiler(model, {image, label}, baseline).values().head(10)) <= 1e-9);
}

TEST_CASE("Documentation: engines", "[snippets]") {
  const auto [model, inputs, targets, loader, image, label] = Bench();
  // [engine]
  using cu::engine::Autocast, cu::engine::Batched, cu::engine::Loop;  // "culprit/engine/autocast.hpp"
  const cu::Profiler fast{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                          Batched{.workers = at::get_num_threads()}};
  const cu::Profiler in_bfloat16{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{},
                                 cu::visit::ConvFilters{},
                                 Autocast<>{.engine = {.workers = at::get_num_threads()}}};
  const cu::Profiler reference{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                               Loop{}};
  const auto plan = fast.plan(model);
  const auto [profiles, outputs, losses] =
      fast.batch(plan, inputs, targets);  // [B, units], [B, classes], [B]
  // [/engine]
  CHECK(profiles.sizes() == at::IntArrayRef{40, 18});
  CHECK(outputs.sizes() == at::IntArrayRef{40, 5});
  CHECK(losses.sizes() == at::IntArrayRef{40});
  CHECK(losses.scalar_type() == at::kDouble);
  CHECK(at::allclose(profiles, reference.batch(plan, inputs, targets).profiles, 1e-10, 1e-14));
  CHECK(in_bfloat16.batch(plan, inputs, targets).profiles.sizes() == profiles.sizes());
}

TEST_CASE("Documentation: losses", "[snippets]") {
  const auto [model, inputs, targets, loader, image, label] = Bench();
  // [loss]
  using cu::loss::AtTarget, cu::loss::PredictedClass, cu::loss::GivenClass;
  const cu::Profiler of_answer{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                               cu::engine::Batched{}, AtTarget<PredictedClass>{}};
  const cu::Profiler of_class_3{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                                cu::engine::Batched{}, AtTarget<GivenClass>{.target = {.index = 3}}};
  // [/loss]
  const auto answer = model.forward(image.unsqueeze(0)).argmax(1).item<cu::Index>();
  const cu::Profiler profiler;
  CHECK(apart(of_answer(model, {image, 0}).values(), profiler(model, {image, answer}).values()) <= 1e-14);
  CHECK(apart(of_class_3(model, {image, 0}).values(), profiler(model, {image, 3}).values()) <= 1e-14);
  const cu::Profiler margin{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                            cu::engine::Batched{}, Margin{}};
  const auto losses = margin.batch(margin.plan(model), inputs, targets).losses;
  const at::Tensor outputs = model.forward(inputs);
  for (cu::Index i = 0; i < 40; ++i) {
    const auto y = targets[i].item<cu::Index>();
    double lead = std::numeric_limits<double>::infinity();
    for (cu::Index j = 0; j < 5; ++j) {
      if (j != y) lead = std::min(lead, (outputs[i][y] - outputs[i][j]).item<double>());
    }
    CHECK(losses[i].item<double>() == Approx(std::max(0.0, 1.0 - lead)).margin(1e-14));
  }
}
