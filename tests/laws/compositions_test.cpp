// SPDX-License-Identifier: MIT
// Every policy of every role with every one of the others, on a small network: what is composed gives what
// its parts give one by one, by the engine Loop.
#include "engine/nets.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

constexpr double rounding = 1e-9;

struct LawBench {
  LawBench() {
    torch::manual_seed(seed());
    model = torch::nn::Sequential(torch::nn::Conv2d(torch::nn::Conv2dOptions(2, 4, 3).padding(1)),
                                  torch::nn::BatchNorm2d(4), torch::nn::ReLU(torch::nn::ReLUOptions(true)),
                                  torch::nn::Conv2d(torch::nn::Conv2dOptions(4, 4, 3).stride(2).groups(2)),
                                  torch::nn::Tanh(), torch::nn::Flatten(), torch::nn::Linear(16, 6),
                                  torch::nn::Tanh(),
                                  torch::nn::Linear(6, 18),  // as the projections of an attention
                                  torch::nn::Tanh(), torch::nn::Linear(18, 3));
    model->to(at::kDouble);
    model->eval();
    inputs = normal({7, 2, 6, 6});
    targets = classes(7, 3);
    loader = {{inputs, targets}};
    sample = {inputs[2], targets[2].item<Index>()};
  }

  torch::nn::Sequential model{nullptr};
  at::Tensor inputs, targets;
  std::vector<std::pair<at::Tensor, at::Tensor>> loader;
  Sample sample;
};

template <class Tuple, class Use>
void for_each_policy(const Use& use) {
  std::apply([&](const auto&... policy) { (use(policy), ...); }, Tuple{});
}

template <class Tuple>
constexpr int count_of = static_cast<int>(std::tuple_size_v<Tuple>);

// Visitors and distances of any type as one of a single type: the other roles' policies are compiled with it
// once, not with each.

template <Visitor V>
std::function<Index(at::IntArrayRef)> erased(const V& visitor) {
  return [visitor](at::IntArrayRef shape) -> Index {
    const auto held = visitor(shape);
    if constexpr (std::same_as<decltype(held), const bool>) {
      return held ? shape.front() : 0;
    } else {
      return held;
    }
  };
}

struct AnyDistance {
  static constexpr std::string_view name = "any";
  std::string described;
  std::function<double(const Eigen::VectorXd&, const Eigen::VectorXd&)> value;
  std::function<Eigen::VectorXd(const Eigen::VectorXd&, const Eigen::VectorXd&)> slope;

  double operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const { return value(a, b); }
  [[nodiscard]] Eigen::VectorXd gradient(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const {
    return slope(a, b);
  }
};

std::string composed(const std::vector<std::string>& descriptions) {
  std::string all;
  for (const std::string& each : descriptions) all += (all.empty() ? "" : ", ") + each;
  return all;
}

double apart(const Eigen::VectorXd& a, const Eigen::VectorXd& b) {
  return (a - b).cwiseAbs().maxCoeff() / std::max(b.cwiseAbs().maxCoeff(), 1e-300);
}

// What is checked of each composition stands in functions of no type: there are hundreds of compositions.

void check_profile(const std::string& composition, const Baseline& baseline, const Moments& moments,
                   const Profile& profile, const Eigen::VectorXd& expected) {
  INFO(composition);
  CHECK(apart(baseline.mean(), moments.mean()) <= rounding);
  CHECK(apart(baseline.stddev(), moments.stddev()) <= rounding);
  CHECK(apart(profile.values(), expected) <= rounding);
}

void check_saliency(const std::string& composition, const InputGradient& came,
                    const std::vector<Index>& boosted, double distance, const at::Tensor& expected) {
  INFO(composition);
  CHECK(came.boosted == boosted);
  CHECK(came.distance == Approx(distance).epsilon(1e-9));
  const double largest = expected.abs().max().item<double>();
  CHECK(largest > 0.0);
  CHECK((came.gradient - expected).abs().max().item<double>() <= rounding * largest);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("Every composition gives what its parts give", "[laws]", Aggregations) {
  const TestType aggregation{};
  LawBench bench;
  int compositions = 0;
  std::vector<std::function<Index(at::IntArrayRef)>> visitors;
  for_each_policy<Visitors>([&](const auto& policy) { visitors.push_back(erased(policy)); });
  for (const auto& visitor : visitors) {
    const visit::Plan plan = visit::make_plan(visit::view(bench.model), visitor, granularity_of<TestType>());
    const auto loop = engine::Loop{}(plan, aggregation, loss::CrossEntropy{}, bench.inputs, bench.targets);
    const RowMatrix raw = to_matrix(loop.profiles);
    Moments moments(raw.cols());
    moments.add(raw);
    for_each_policy<Standardizations>([&](const auto& standardization) {
      const std::string composition =
          composed({describe(aggregation), describe(standardization), std::to_string(raw.cols()) + " units"});
      for_each_policy<Engines>([&](const auto& engine) {
        const Profiler profiler{aggregation, standardization, visitor, engine};
        const Baseline baseline = profiler.fit(bench.model, bench.loader);
        Eigen::VectorXd expected(raw.cols());
        for (Index k = 0; k < raw.cols(); ++k)
          expected[k] = standardization(raw(2, k), baseline.statistics(k));
        check_profile(composition, baseline, moments, profiler(bench.model, bench.sample, baseline),
                      expected);
        ++compositions;
      });
    });
  }
  CHECK(compositions == count_of<Visitors> * count_of<Standardizations> * count_of<Engines>);
}

TEMPLATE_LIST_TEST_CASE("Every differentiable composition has the input saliency of its parts", "[laws]",
                        Aggregations) {
  const TestType aggregation{};
  LawBench bench;
  const auto visitor = erased(visit::AllWeights{});
  const Sample& sample = bench.sample;
  std::vector<AnyDistance> distances;
  for_each_policy<Distances>([&](const auto& distance) {
    if constexpr (DifferentiableDistance<std::remove_cvref_t<decltype(distance)>>) {
      distances.push_back({describe(distance), distance,
                           [distance](const auto& a, const auto& b) { return distance.gradient(a, b); }});
    }
  });
  CHECK(distances.size() >= 2);
  std::size_t compositions = 0;
  for_each_policy<Standardizations>([&](const auto& standardization) {
    const Profiler reference{aggregation, standardization, visitor, engine::Loop{}};
    const visit::Plan plan = reference.plan(bench.model);
    const Baseline baseline = reference.fit(bench.model, bench.loader);
    const Profile raw = reference(bench.model, sample);
    const Profile z = reference(bench.model, sample, baseline);
    // Fewer than any plan has units: a profile boosted everywhere keeps its direction, and cosine sees none.
    const select::Top top{.count = 2};
    Eigen::VectorXd boosted = z.values();
    for (const Index unit : z.select(top)) boosted[unit] *= 100.0;
    for (const AnyDistance& distance : distances) {
      const std::string composition =
          composed({describe(aggregation), describe(standardization), distance.described});
      // Eq. 4 step by step: D's gradient, times that of the standardization, through the profile.
      Eigen::VectorXd slope = distance.gradient(z.values(), boosted);
      for (Index k = 0; k < z.size(); ++k)
        slope[k] *= standardization.derivative(raw[k], baseline.statistics(k));
      const at::Tensor cotangent = at::from_blob(slope.data(), {1, z.size()}, at::kDouble).clone();
      const at::Tensor expected =
          engine::Loop{}
              .vjp(plan, aggregation, loss::CrossEntropy{}, sample.input.unsqueeze(0),
                   bench.targets.narrow(0, 2, 1),
                   engine::Cotangent([&](const at::Tensor&, Index) { return cotangent; }))
              .input_gradient[0];
      for_each_policy<Engines>([&](const auto& engine) {
        const InputSaliency saliency{Profiler{aggregation, standardization, visitor, engine}, distance, top};
        check_saliency(composition, saliency(bench.model, sample, baseline), z.select(top),
                       distance(z.values(), boosted), expected);
        ++compositions;
      });
    }
  });
  CHECK(compositions == distances.size() * count_of<Standardizations> * count_of<Engines>);
}

TEMPLATE_LIST_TEST_CASE("Every engine gives a sample the same profile whatever batch it is in", "[laws]",
                        Engines) {
  LawBench bench;
  const Profiler profiler{aggregate::MeanAbs{}, standardize::ZScore{}, visit::AllWeights{}, TestType{}};
  const visit::Plan plan = profiler.plan(bench.model);
  const at::Tensor together = profiler.batch(plan, bench.inputs, bench.targets).profiles;
  for (Index i = 0; i < 7; ++i) {
    const at::Tensor alone =
        profiler.batch(plan, bench.inputs.narrow(0, i, 1), bench.targets.narrow(0, i, 1)).profiles;
    CHECK(at::allclose(alone[0], together[i], 1e-12, 1e-15));
  }
  const at::Tensor order = at::randperm(7, at::kLong);
  CHECK(at::allclose(
      profiler.batch(plan, bench.inputs.index_select(0, order), bench.targets.index_select(0, order))
          .profiles,
      together.index_select(0, order), 1e-12, 1e-15));
}

TEMPLATE_LIST_TEST_CASE("A visitor looks at shapes alone, and each unit is part of one parameter", "[laws]",
                        Visitors) {
  LawBench bench;
  const visit::ModelView view = visit::view(bench.model);
  const visit::Plan plan = visit::make_plan(view, TestType{}, Granularity::filter);
  Index units = 0;
  for (std::size_t i = 0; i < plan.parameters.size(); ++i) {
    const Layer& layer = plan.units->layers()[i];
    CHECK(erased(TestType{})(plan.parameters[i].sizes()) == layer.count);
    CHECK(plan.parameters[i].size(0) % layer.count == 0);
    CHECK(layer.count * layer.size == plan.parameters[i].numel());
    units += layer.count;
  }
  CHECK(plan.units->size() == units);
  CHECK(static_cast<std::ptrdiff_t>(plan.parameters.size()) ==
        std::ranges::count_if(
            view.parameters, [](const visit::NamedTensor& each) { return TestType{}(each.tensor.sizes()); }));
}
