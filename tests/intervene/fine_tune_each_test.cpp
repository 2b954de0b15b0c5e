// SPDX-License-Identifier: MIT
// Steps of many trials in one pass against the step on the weights, trial by trial.
#include <tuple>

#include "intervene/check.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

using intervene::Trial;

/// What FineTune and a forward pass of the trial's rows say.
at::Tensor by_scope(const visit::Plan& plan, const intervene::FineTune<>& tune, const at::Tensor& inputs,
                    const at::Tensor& targets, const Trial& trial) {
  const at::NoGradGuard no_grad;
  intervene::Undo undo;
  tune(plan, {inputs[trial.sample], targets[trial.sample].item<Index>(), trial.units}, undo);
  return plan.model.forward(inputs.index_select(0, at::tensor(trial.rows, at::kLong)));
}

/// Trials of different choices on some samples: none, a few, a layer, all, and units named twice.
std::vector<Trial> trials_of(const Units& units, Index samples) {
  const std::vector<Index> all = first_indices(units.size());
  std::vector<Trial> trials;
  for (Index sample = 0; sample < samples; ++sample) {
    const auto seed = static_cast<std::uint64_t>(sample);
    std::vector<Index> rows{sample};
    for (Index i = 0; i <= sample; ++i) rows.push_back((3 * sample + i) % samples);
    for (const Index count : {Index{0}, Index{1}, units.size() / 8, units.size()})
      trials.push_back({sample, drawn(all, count, seed), rows});
    trials.push_back({samples - 1 - sample, drawn(all, 2, seed + 9), {sample}});
    trials.back().units.push_back(trials.back().units.front());
  }
  return trials;
}

enum class Way { shared, one_by_one };

/// Checks that the passes are shared, or are not.
/// @return the largest difference to the loop, relative to the largest change
template <class M, class Visitor = visit::AllWeights>
double against_scopes(M&& model, const at::Tensor& inputs, Way way = Way::shared, Index batch = 64,
                      Visitor visitor = {}) {
  const ModelState before = state_of(model);
  const visit::Plan plan = visit::make_plan(visit::view(model), visitor, Granularity::filter);
  const at::Tensor targets = classes(inputs.size(0), 3);
  const intervene::FineTune<> tune{.eta = 0.1, .loss = {}};
  const std::vector<Trial> trials = trials_of(*plan.units, inputs.size(0));
  const std::vector<at::Tensor> outputs =
      intervene::outputs_fine_tuned_each(plan, tune, inputs, targets, trials, batch);
  CHECK(state_of(model) == before);
  {
    const ModelState unwritten(visit::view(model));
    const std::vector<Trial> one{{0, {0}, {0}}};
    std::ignore = intervene::outputs_fine_tuned_each(plan, tune, inputs, targets, one, batch);
    CHECK((ModelState(visit::view(model)) == unwritten) == (way == Way::shared));
  }
  REQUIRE(outputs.size() == trials.size());
  double worst = 0.0;
  double largest = 0.0;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    const at::Tensor expected = by_scope(plan, tune, inputs, targets, trials[i]);
    REQUIRE(outputs[i].sizes() == expected.sizes());
    CHECK_FALSE(outputs[i].requires_grad());
    worst = std::max(worst, (outputs[i] - expected).abs().max().item<double>());
    const at::NoGradGuard no_grad;
    const at::Tensor plain =
        plan.model.forward(inputs.index_select(0, at::tensor(trials[i].rows, at::kLong)));
    largest = std::max(largest, (expected - plain).abs().max().item<double>());
  }
  CHECK(largest > 1e-4);
  return worst / largest;
}

/// Batch norm, padding, stride, dilation, groups, one filter for each channel, 1x1, linear, with and without
/// bias.
struct MixedImpl : torch::nn::Module {
  MixedImpl() {
    using Options = torch::nn::Conv2dOptions;
    const auto conv = [&](const char* name, const Options& options) {
      return register_module(name, torch::nn::Conv2d(options));
    };
    first = conv("first", Options(3, 8, 3).padding(1).bias(false));
    norm = register_module("norm", torch::nn::BatchNorm2d(8));
    depthwise = conv("depthwise", Options(8, 8, 3).groups(8).padding(1).stride(2));
    pointwise = conv("pointwise", Options(8, 12, 1).bias(false));
    grouped = conv("grouped", Options(12, 8, {3, 2}).groups(4).padding({2, 1}).dilation({2, 1}));
    strided = conv("strided", Options(8, 6, 3).stride({2, 1}).padding(1));
    skipping = conv("skipping", Options(6, 6, 1).stride(2));
    fc = register_module("fc", torch::nn::Linear(6, 5));
    const at::NoGradGuard no_grad;
    for (auto& item : named_parameters()) item.value().normal_(0.0, 0.4);
    norm->running_mean.normal_();
    norm->running_var.uniform_(0.5, 2.0);
    eval();
    to(torch::kDouble);
    norm->bias.requires_grad_(false);
  }

  at::Tensor forward(const at::Tensor& x) {
    const at::Tensor y = pointwise(depthwise(norm(first(x)).relu_()).tanh()).tanh();
    return fc(skipping(strided(grouped(y).tanh_()).tanh()).mean({2, 3}));
  }

  torch::nn::Conv2d first{nullptr}, depthwise{nullptr}, pointwise{nullptr}, grouped{nullptr},
      strided{nullptr}, skipping{nullptr};
  torch::nn::BatchNorm2d norm{nullptr};
  torch::nn::Linear fc{nullptr};
};
TORCH_MODULE(Mixed);

}  // namespace

TEST_CASE("Trials in one pass are as the steps on the weights", "[fine_tune_each]") {
  torch::manual_seed(1);
  Mixed model;
  const at::Tensor x = normal({5, 3, 9, 10});
  CHECK(against_scopes(model, x, Way::shared, GENERATE(1, 7, 64)) <= 1e-10);
  CHECK(against_scopes(model, x.contiguous(at::MemoryFormat::ChannelsLast), Way::shared, 64,
                       visit::ConvFilters{}) <= 1e-10);
  CHECK(against_scopes(model, x.slice(0, 0, 1)) <= 1e-10);
}

TEST_CASE("Uses of one parameter are all nudged", "[fine_tune_each]") {
  torch::manual_seed(2);
  const at::Tensor first = weight({6, 3, 3});
  const at::Tensor shared = weight({6, 6, 3});
  const at::Tensor mixer = weight({6, 6});
  const auto model = net({{"first", first}, {"shared", shared}, {"mixer", mixer}}, [=](const at::Tensor& x) {
    at::Tensor y = at::conv1d(x, first).tanh();
    y = at::conv1d(at::conv1d(y, shared, {}, 1, 1).tanh(), shared, {}, 2).tanh();
    return at::linear(y.transpose(1, 2), mixer).tanh().matmul(mixer.t()).mean(1);
  });
  CHECK(against_scopes(model, normal({4, 3, 12})) <= 1e-10);
}

TEST_CASE("Volumes are nudged too", "[fine_tune_each]") {
  torch::manual_seed(3);
  const at::Tensor first = weight({5, 2, 3, 2, 3});
  const at::Tensor last = weight({4, 5, 1, 1, 1});
  const auto model = net({{"first", first}, {"last", last}}, [=](const at::Tensor& x) {
    return at::conv3d(at::conv3d(x, first, {}, {1, 2, 1}, {1, 0, 2}).tanh(), last).mean({2, 3, 4});
  });
  CHECK(against_scopes(model, normal({3, 2, 5, 6, 4})) <= 1e-10);
}

TEST_CASE("Steps that no rule covers are taken on the weights", "[fine_tune_each]") {
  torch::manual_seed(4);
  const at::Tensor w = weight({4, 3, 3, 3});
  const at::Tensor up = weight({4, 3, 2, 2});
  const at::Tensor scale = normal({4});
  const auto with = [&](const Forward& forward) { return net({{"w", w}, {"up", up}}, forward); };
  const at::Tensor x = normal({4, 3, 6, 6});
  const auto transposed = with([=](const at::Tensor& in) {
    return at::conv_transpose2d(at::conv2d(in, w).tanh(), up).mean({2, 3});
  });
  CHECK(against_scopes(transposed, x, Way::one_by_one) <= 1e-10);
  const auto computed = with([=](const at::Tensor& in) {
    return at::conv2d(in, w / (w.norm() + 1.0)).mean({2, 3});
  });
  CHECK(against_scopes(computed, x, Way::one_by_one) <= 1e-10);
  const auto by_batch = with([=](const at::Tensor& in) {
    const at::Tensor y = at::batch_norm(at::conv2d(in, w), scale, {}, {}, {}, true, 0.1, 1e-5, false);
    return y.tanh().mean({2, 3});
  });
  CHECK(against_scopes(by_batch, x, Way::one_by_one) <= 1e-10);
  CHECK(against_scopes(by_batch, x.slice(0, 0, 1), Way::one_by_one) <= 1e-10);

  // Units that are no channels.
  const visit::Plan plan = visit::make_plan(with([=](const at::Tensor& in) {
                                              return at::conv2d(in, w).mean({2, 3});
                                            }),
                                            visit::ConvFilters{}, Granularity::parameter);
  const intervene::FineTune<> tune{.eta = 0.1, .loss = {}};
  const at::Tensor targets = classes(4, 3);
  const std::vector<Trial> trials{{1, {3, 50}, {0, 1}}, {2, {}, {2}}};
  const auto outputs = intervene::outputs_fine_tuned_each(plan, tune, x, targets, trials);
  for (std::size_t i = 0; i < trials.size(); ++i)
    CHECK(at::allclose(outputs[i], by_scope(plan, tune, x, targets, trials[i]), 1e-12, 1e-12));
}

TEST_CASE("Trials leave the model alone, also when something throws", "[fine_tune_each]") {
  torch::manual_seed(5);
  Mixed model;
  const visit::Plan plan = visit::make_plan(visit::view(model), visit::AllWeights{}, Granularity::filter);
  const at::Tensor x = normal({3, 3, 9, 10});
  const at::Tensor targets = classes(3, 5);
  const std::vector<Trial> trials{{0, {1, 9}, {0, 1}}, {2, {4}, {2}}};
  const ModelState before(visit::view(model));
  const auto run = [](const visit::Plan& with, const auto& tune, const at::Tensor& inputs,
                      const at::Tensor& labels, const std::vector<Trial>& all, Index batch = 64) {
    return intervene::outputs_fine_tuned_each(with, tune, inputs, labels, all, batch);
  };
  const intervene::FineTune<> tune;
  CHECK(run(plan, tune, x, targets, trials).size() == 2);
  CHECK(ModelState(visit::view(model)) == before);  // not even written to
  CHECK(run(plan, tune, x, targets, {}).empty());

  for (const int good : {0, 1, 2}) {  // the probe, the gradients, the rows
    visit::Plan failing = visit::make_plan(visit::view(model), visit::AllWeights{}, Granularity::filter);
    failing.model.forward = [&, forward = failing.model.forward, calls = 0](const at::Tensor& in) mutable {
      if (calls++ == good) throw std::runtime_error("inside the model");
      return forward(in);
    };
    CHECK_THROWS_AS(run(failing, tune, x, targets, trials), std::runtime_error);
    CHECK(ModelState(visit::view(model)) == before);
  }

  const auto code = [&](const at::Tensor& inputs, const at::Tensor& labels, const Trial& trial,
                        Index batch = 64) {
    return error_of([&] { run(plan, tune, inputs, labels, {trial}, batch); }).code();
  };
  CHECK(code(x, targets, {3, {1}, {0}}) == ErrorCode::argument);
  CHECK(code(x, targets, {0, {1}, {-1}}) == ErrorCode::argument);
  CHECK(code(x, targets, {0, {plan.units->size()}, {0}}) == ErrorCode::argument);
  CHECK(code(x, targets, {0, {1}, {}}) == ErrorCode::argument);
  CHECK(code(x, targets, {0, {1}, {0}}, 0) == ErrorCode::argument);
  CHECK(code(x, targets.slice(0, 1), {0, {1}, {0}}) == ErrorCode::shape);
  CHECK(code(at::full_like(x, NAN), targets, {0, {1}, {0}}) == ErrorCode::numeric);
  CHECK(ModelState(visit::view(model)) == before);
}
