// SPDX-License-Identifier: MIT
#include "culprit/heat_map.hpp"
#include "engine/nets.hpp"
#include "engine/random_nets.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

template <class P>
Baseline baseline_of(const P& profiler, const visit::Plan& plan, const at::Tensor& inputs,
                     const at::Tensor& targets) {
  Moments moments(plan.units->size());
  moments.add(to_matrix(profiler.batch(plan, inputs, targets).profiles));
  return {plan.units, std::move(moments), profiler.fingerprint(plan)};
}

struct SaliencyBench {
  SaliencyBench() {
    torch::manual_seed(seed());
    model = torch::nn::Sequential(torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 5, 3)), torch::nn::Tanh(),
                                  torch::nn::Conv2d(torch::nn::Conv2dOptions(5, 6, 3)), torch::nn::ReLU(),
                                  torch::nn::Flatten(), torch::nn::Linear(24, 4));
    model->to(at::kDouble);
    model->eval();
    inputs = normal({6, 3, 6, 6});
    targets = classes(6, 4);
    plan = profiler.plan(model);
    baseline = baseline_of(profiler, *plan, normal({20, 3, 6, 6}), classes(20, 4));
  }

  [[nodiscard]] Sample sample(Index i) const { return {inputs[i], targets[i].item<Index>()}; }

  Profiler<> profiler;
  torch::nn::Sequential model{nullptr};
  at::Tensor inputs, targets;
  std::optional<visit::Plan> plan;
  std::optional<Baseline> baseline;
};

double apart(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

}  // namespace

TEST_CASE("Second-order gradients are the central differences of the distance on 20 smooth networks",
          "[input_saliency]") {
  torch::manual_seed(seed());
  Dice dice(seed());
  constexpr double step = 1e-6;
  int compared = 0;
  for (int i = 0; i < 20; ++i) {
    const RandomNet net = random_net(dice, /*smooth=*/true);
    INFO("configuration " << i << ", seed " << seed() << ": " << net.inputs.sizes() << "; "
                          << net.description.str());
    const Profiler profiler{aggregate::MeanAbs{}, standardize::ZScore{}, visit::AllWeights{}};
    const visit::Plan plan = profiler.plan(net.model);
    std::vector<Index> many = net.inputs.sizes().vec();
    many[0] = 12;
    const Baseline baseline = baseline_of(profiler, plan, normal(many), classes(12, 4));
    const InputSaliency saliency{profiler, distance::Cosine{}, select::Top{.count = 3}};
    const auto results = saliency.batch(plan, net.inputs, net.targets, baseline);
    const auto batch = static_cast<std::size_t>(net.inputs.size(0));
    const auto distances_at = [&](const at::Tensor& inputs) {
      const RowMatrix raw = to_matrix(profiler.batch(plan, inputs, net.targets).profiles);
      std::vector<double> distances;
      for (std::size_t sample = 0; sample < batch; ++sample) {
        const Profile profile(plan.units, raw.row(static_cast<Index>(sample)));
        Eigen::VectorXd boosted = results[sample].profile.values();
        for (const Index unit : results[sample].boosted) boosted[unit] *= 100.0;
        distances.push_back(distance::Cosine{}(profiler.standardize(profile, baseline).values(), boosted));
      }
      return at::tensor(distances, at::kDouble);
    };
    at::Tensor differences = at::zeros_like(net.inputs);
    for (Index pixel = 0; pixel < net.inputs[0].numel(); ++pixel) {
      at::Tensor move = at::zeros_like(net.inputs);
      move.flatten(1).select(1, pixel).fill_(step);
      differences.flatten(1).select(1, pixel).copy_(
          (distances_at(net.inputs + move) - distances_at(net.inputs - move)) / (2 * step));
    }
    for (std::size_t sample = 0; sample < batch; ++sample) {
      const at::Tensor& expected = differences[static_cast<Index>(sample)];
      if (expected.abs().max().item<double>() == 0.0) {  // a sample that the network masks
        CHECK(results[sample].gradient.abs().max().item<double>() == 0.0);
        continue;
      }
      CHECK(apart(results[sample].gradient, expected) <= 1e-3);
      ++compared;
    }
  }
  CHECK(compared >= 20);
}

TEST_CASE("A batch has the gradients of its samples, and they point where the distance grows",
          "[input_saliency]") {
  SaliencyBench bench;
  const InputSaliency saliency{bench.profiler, distance::Cosine{}, select::Top{.count = 3}};
  const ModelState before(bench.plan->model);
  const auto together = saliency.batch(*bench.plan, bench.inputs, bench.targets, *bench.baseline);
  CHECK(ModelState(bench.plan->model) == before);
  REQUIRE(together.size() == 6);
  const Profiler on_workers{aggregate::MeanAbs{}, standardize::ZScore{}, visit::ConvFilters{},
                            engine::Batched{.workers = 4}};
  const auto in_parts = InputSaliency{on_workers, distance::Cosine{}, select::Top{.count = 3}}.batch(
      *bench.plan, bench.inputs, bench.targets, *bench.baseline);
  for (Index i = 0; i < 6; ++i) {
    const InputGradient alone = saliency(bench.model, bench.sample(i), *bench.baseline);
    const InputGradient& in_batch = together[static_cast<std::size_t>(i)];
    CHECK(alone.gradient.sizes() == at::IntArrayRef{3, 6, 6});
    CHECK(apart(in_batch.gradient, alone.gradient) <= 1e-9);
    CHECK(apart(in_parts[static_cast<std::size_t>(i)].gradient, alone.gradient) <= 1e-9);
    CHECK(in_batch.boosted == alone.boosted);
    CHECK(in_parts[static_cast<std::size_t>(i)].boosted == alone.boosted);
    CHECK(in_batch.boosted == in_batch.profile.select(select::Top{.count = 3}));
    CHECK((in_batch.profile.values() - bench.profiler(bench.model, bench.sample(i), *bench.baseline).values())
              .cwiseAbs()
              .maxCoeff() <= 1e-9);
    // A small step against G brings z nearer to the boosted profile.
    Eigen::VectorXd boosted = in_batch.profile.values();
    for (const Index unit : in_batch.boosted) boosted[unit] *= 100.0;
    const at::Tensor step = 1e-4 * in_batch.gradient / in_batch.gradient.norm();
    const Profile nearer =
        bench.profiler(bench.model, {bench.inputs[i] - step, bench.sample(i).target}, *bench.baseline);
    CHECK(distance::Cosine{}(nearer.values(), boosted) < in_batch.distance);
  }
}

TEST_CASE("Boosting follows selection and factor", "[input_saliency]") {
  const SaliencyBench bench;
  const Profile z = bench.profiler(bench.model, bench.sample(0), *bench.baseline);
  const auto run = [&](auto selection, BoostOptions options = {}) {
    return InputSaliency{bench.profiler, distance::Cosine{}, selection, options}(bench.model, bench.sample(0),
                                                                                 *bench.baseline);
  };
  const InputGradient top = run(select::Top{.count = 3});
  CHECK(top.salient() == 3);
  const InputGradient given = run(select::Given{top.boosted});
  CHECK(apart(given.gradient, top.gradient) <= 1e-12);
  const InputGradient random = run(select::Random{.count = 3, .seed = 1});
  CHECK(random.boosted == z.select(select::Random{.count = 3, .seed = 1}));
  CHECK(apart(random.gradient, top.gradient) > 0.1);
  const InputGradient bottom = run(select::Bottom{.count = 3});
  CHECK(bottom.salient() == 0);
  const InputGradient mild = run(select::Top{.count = 3}, {.boost = 2.0});
  CHECK(mild.distance < top.distance);
  // What of s' is not along z points the same way for every factor: G of a cosine distance has another length
  // only.
  const at::Tensor unit = top.gradient / top.gradient.norm();
  CHECK(at::allclose(mild.gradient / mild.gradient.norm(), unit, 1e-9, 1e-12));
  CHECK(mild.gradient.norm().item<double>() != Approx(top.gradient.norm().item<double>()).epsilon(0.01));
  // Boosting by 1 is no boost: the distance is 0, and so is its gradient.
  const InputGradient none = run(select::Top{.count = 3}, {.boost = 1.0});
  CHECK(none.distance == 0.0);
  CHECK(none.gradient.abs().max().item<double>() <= 1e-12 * top.gradient.abs().max().item<double>());
}

TEST_CASE("Averaging over noisy inputs is the mean of their gradients, the same for every batch and seed",
          "[input_saliency]") {
  SaliencyBench bench;
  const auto run = [&](BoostOptions options, const at::Tensor& inputs, const at::Tensor& targets) {
    return InputSaliency{bench.profiler, distance::Cosine{}, select::Top{.count = 3}, options}.batch(
        *bench.plan, inputs, targets, *bench.baseline);
  };
  const BoostOptions noisy{.noise_iters = 5, .noise_std = 0.1, .seed = 3};
  const auto all = run(noisy, bench.inputs, bench.targets);
  const auto one = run(noisy, bench.inputs.narrow(0, 4, 1), bench.targets.narrow(0, 4, 1));
  CHECK(apart(one[0].gradient, all[4].gradient) <= 1e-9);
  const auto again = run(noisy, bench.inputs, bench.targets);
  CHECK(at::equal(again[2].gradient, all[2].gradient));
  const auto clean = run({}, bench.inputs, bench.targets);
  CHECK(all[2].boosted == clean[2].boosted);
  CHECK(all[2].distance == Approx(clean[2].distance).epsilon(1e-12));
  CHECK(apart(all[2].gradient, clean[2].gradient) > 1e-3);
  BoostOptions other = noisy;
  other.seed = 4;
  CHECK(apart(run(other, bench.inputs, bench.targets)[2].gradient, all[2].gradient) > 1e-4);
  // Little noise is nearly none.
  const BoostOptions little{.noise_iters = 2, .noise_std = 1e-9};
  CHECK(apart(run(little, bench.inputs, bench.targets)[1].gradient, clean[1].gradient) <= 1e-5);

  for (const BoostOptions& wrong :
       {BoostOptions{.boost = std::nan("")}, BoostOptions{.boost = -1.0},
        BoostOptions{.noise_iters = -1, .noise_std = 0.1}, BoostOptions{.noise_iters = 5},
        BoostOptions{.noise_std = 0.1}, BoostOptions{.noise_iters = 5, .noise_std = -1.0},
        BoostOptions{.noise_iters = 5, .noise_std = std::nan("")}}) {
    CHECK(error_of([&] { (void)run(wrong, bench.inputs, bench.targets); }).code() == ErrorCode::argument);
  }
}

TEST_CASE("A profiler within a layer range computes nothing outside it", "[profiler]") {
  torch::manual_seed(seed());
  const at::Tensor first = weight({4, 3, 3, 3});
  const at::Tensor second = weight({4, 4, 3, 3});
  const at::Tensor third = weight({4, 4, 3, 3});
  const auto shallow_needs_gradient = std::make_shared<bool>(false);
  const auto model = net({{"first", first}, {"second", second}, {"third", third}}, [=](const at::Tensor& x) {
    const at::Tensor a = at::conv2d(x, first, {}, 1, 1).tanh();
    *shallow_needs_gradient = a.requires_grad();
    return at::conv2d(at::conv2d(a, second, {}, 1, 1).tanh(), third).mean({2, 3});
  });
  const at::Tensor inputs = normal({5, 3, 6, 6});
  const at::Tensor targets = classes(5, 4);
  struct Counting : aggregate::MeanAbs {
    std::shared_ptr<Index> units = std::make_shared<Index>(0);
    [[nodiscard]] double finish(double sum, Index size) const {
      ++*units;
      return MeanAbs::finish(sum, size);
    }
  };
  const auto check = [&](const auto& engine) {
    const Counting counting;
    const Profiler whole{counting, standardize::ZScore{}, visit::ConvFilters{}, engine};
    const auto all = whole.batch(whole.plan(model), inputs, targets).profiles;
    CHECK(*counting.units == 5 * 12);
    CHECK(*shallow_needs_gradient);
    *counting.units = 0;
    const auto deep = whole.within({.after = "first"});
    const visit::Plan plan = deep.plan(model);
    CHECK(plan.units->size() == 8);
    CHECK(plan.units->layers().front().name == "second");
    const auto part = deep.batch(plan, inputs, targets).profiles;
    CHECK(*counting.units == 5 * 8);
    CHECK_FALSE(*shallow_needs_gradient);
    CHECK(at::allclose(part, all.narrow(1, 4, 8), 1e-12, 1e-15));
    *counting.units = 0;
    const auto shallow = whole.within({.up_to = "first"});
    CHECK(at::allclose(shallow.batch(shallow.plan(model), inputs, targets).profiles, all.narrow(1, 0, 4),
                       1e-12, 1e-15));
    CHECK(*counting.units == 5 * 4);

    // A baseline of all layers serves a part of them; one of a part does not serve all.
    const std::vector<std::pair<at::Tensor, at::Tensor>> loader{{inputs, targets}};
    const Baseline baseline = whole.fit(model, loader);
    const Sample sample{inputs[1], targets[1].template item<Index>()};
    const Profile z = whole(model, sample, baseline);
    const Profile z_part = deep(model, sample, baseline);
    CHECK((z_part.values() - z.values().tail(8)).cwiseAbs().maxCoeff() <= 1e-9);
    const Error error = error_of([&] { (void)whole(model, sample, deep.fit(model, loader)); });
    CHECK(error.code() == ErrorCode::baseline);
    CHECK(error.came() == "none for layer first");
    CHECK(error_of([&] { (void)whole.within({.pattern = "no*"}).plan(model); }).code() ==
          ErrorCode::argument);
  };
  check(engine::Batched{});
  check(engine::Loop{});
}

TEST_CASE("Input saliency within a layer range boosts and differentiates that range alone",
          "[input_saliency]") {
  SaliencyBench bench;
  const auto deep = bench.profiler.within({.after = "0"});
  const InputGradient came = InputSaliency{deep, distance::Cosine{}, select::Top{.count = 2}}(
      bench.model, bench.sample(3), *bench.baseline);
  CHECK(came.profile.size() == 6);
  const auto by_loop =
      Profiler{aggregate::MeanAbs{}, standardize::ZScore{}, visit::ConvFilters{}, engine::Loop{}}.within(
          {.after = "0"});
  const InputGradient expected = InputSaliency{by_loop, distance::Cosine{}, select::Top{.count = 2}}(
      bench.model, bench.sample(3), *bench.baseline);
  CHECK(apart(came.gradient, expected.gradient) <= 1e-9);
}

TEST_CASE("A heat map is clipped to percentiles, scaled, and smoothed", "[heat_map]") {
  // |G| of three channels: the largest of each pixel.
  const at::Tensor gradient = at::zeros({3, 10, 10}, at::kDouble);
  const at::Tensor ramp = at::arange(100, at::kDouble).view({10, 10});
  gradient[0].copy_(0.5 * ramp);
  gradient[2].copy_(-ramp);
  const at::Tensor saliency = pixel_saliency(gradient);
  CHECK(at::equal(saliency, ramp));
  CHECK(at::equal(pixel_saliency(at::tensor({-3.0, 1.0, 2.0}).view({3, 1, 1}), Channels::as_published),
                  at::tensor({3.0}).view({1, 1})));
  CHECK(at::equal(pixel_saliency(at::tensor({3.0, 1.0, 2.0}).view({3, 1, 1}), Channels::as_published),
                  at::tensor({1.0}).view({1, 1})));
  CHECK(error_of([&] { (void)pixel_saliency(ramp); }).code() == ErrorCode::shape);

  const HeatScale scale = HeatMap{}.scale(std::vector{saliency});
  CHECK(scale.low == Approx(89.1).epsilon(1e-14));
  CHECK(scale.high == Approx(98.01).epsilon(1e-14));
  const at::Tensor sharp = HeatMap{.smooth = false}(saliency, scale);
  CHECK(sharp.scalar_type() == at::kDouble);
  CHECK(sharp.min().item<double>() == 0.0);
  CHECK(sharp.max().item<double>() == 1.0);
  CHECK(sharp[9][4].item<double>() == Approx((94 - 89.1) / (98.01 - 89.1)).epsilon(1e-13));
  CHECK(at::equal(sharp.gt(0.0), ramp.ge(90.0)));

  // The Gaussian keeps the sum inside and spreads one pixel over nine; a constant stays one, also at the
  // edge.
  const at::Tensor spike = at::zeros({7, 7}, at::kDouble);
  spike[3][3] = 16.0;
  const at::Tensor spread = HeatMap{}(spike, {0.0, 16.0});
  CHECK(spread[3][3].item<double>() == 0.25);
  CHECK(spread[3][2].item<double>() == 0.125);
  CHECK(spread[2][2].item<double>() == 0.0625);
  CHECK(spread.sum().item<double>() == 1.0);
  CHECK(at::allclose(HeatMap{}(at::full({4, 5}, 2.0), {0.0, 4.0}), at::full({4, 5}, 0.5, at::kDouble)));
  CHECK(HeatMap{}(spike, {3.0, 3.0}).abs().max().item<double>() == 0.0);

  // Several maps on one scale: their pixels together.
  const HeatScale both = HeatMap{.low_percentile = 0, .high_percentile = 100}.scale(
      std::vector{ramp, ramp.add(50.0).narrow(0, 0, 3)});
  CHECK(both.low == 0.0);
  CHECK(both.high == 99.0);
  CHECK(error_of([] { (void)HeatMap{}.scale({}); }).code() == ErrorCode::argument);
  for (const HeatMap& wrong :
       {HeatMap{.low_percentile = -1}, HeatMap{.high_percentile = 101}, HeatMap{.low_percentile = 99}}) {
    CHECK(error_of([&] { (void)wrong.scale(std::vector{saliency}); }).code() == ErrorCode::argument);
  }
}
