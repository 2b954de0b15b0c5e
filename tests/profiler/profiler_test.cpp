// SPDX-License-Identifier: MIT
#include <sstream>

#include "engine/nets.hpp"

namespace cu = culprit;
using namespace culprit;
using namespace culprit::test;

namespace {

torch::nn::Sequential small_model(std::uint64_t model_seed, at::ScalarType dtype = at::kDouble) {
  torch::manual_seed(model_seed);
  torch::nn::Sequential model(torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 3)), torch::nn::BatchNorm2d(4),
                              torch::nn::ReLU(), torch::nn::Conv2d(torch::nn::Conv2dOptions(4, 6, 3)),
                              torch::nn::ReLU(), torch::nn::Flatten(), torch::nn::Linear(24, 5));
  model->to(dtype);
  model->eval();
  return model;
}

struct Data {
  explicit Data(Index count) : inputs(normal({count, 3, 6, 6})), labels(classes(count, 5)) {}

  [[nodiscard]] std::vector<std::pair<at::Tensor, at::Tensor>> batches(Index size) const {
    std::vector<std::pair<at::Tensor, at::Tensor>> all;
    for (Index begin = 0; begin < inputs.size(0); begin += size) {
      const Index count = std::min(size, inputs.size(0) - begin);
      all.emplace_back(inputs.narrow(0, begin, count), labels.narrow(0, begin, count));
    }
    return all;
  }

  at::Tensor inputs, labels;
};

double apart(const Baseline& a, const Baseline& b) {
  return std::max((a.mean() - b.mean()).cwiseAbs().maxCoeff(),
                  (a.stddev() - b.stddev()).cwiseAbs().maxCoeff());
}

class Pairs : public torch::data::datasets::Dataset<Pairs> {
 public:
  explicit Pairs(Data data) : data_(std::move(data)) {}
  torch::data::Example<> get(std::size_t i) override {
    const auto index = static_cast<Index>(i);
    return {data_.inputs[index], data_.labels[index]};
  }
  [[nodiscard]] std::optional<std::size_t> size() const override { return data_.inputs.size(0); }

 private:
  Data data_;
};

struct NamedBatch {
  at::Tensor inputs, labels;
  std::vector<std::size_t> indices;
};

struct BatchOfTargets {
  at::Tensor inputs, targets;
};

/// A user's own policies, one for each role.
struct MeanCube {
  static constexpr std::string_view name = "mean_cube";
  static double map(double g) { return g * g * g; }
  static double combine(double a, double b) { return a + b; }
  static double finish(double sum, Index size) { return sum / static_cast<double>(size); }
};
struct AboveMean {
  static constexpr std::string_view name = "above_mean";
  double operator()(double raw, const UnitStatistics& unit) const { return raw > unit.mean ? 1.0 : 0.0; }
};
// [visitor]
struct FirstLayers {
  Index extent = 4;
  bool operator()(at::IntArrayRef shape) const { return shape.size() == 4 && shape[0] == extent; }
};
// [/visitor]
// [engine]
struct CountingEngine {
  std::shared_ptr<int> calls = std::make_shared<int>(0);

  template <Aggregation A, Loss L>
  engine::BatchResult operator()(const visit::Plan& plan, const A& aggregation, const L& loss,
                                 const at::Tensor& inputs, const at::Tensor& targets) const {
    ++*calls;
    return engine::Loop{}(plan, aggregation, loss, inputs, targets);
  }
};
// [/engine]
struct Hinge {
  static constexpr std::string_view name = "hinge";
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    return outputs.logsumexp(1) - 0.5 * outputs.gather(1, targets.unsqueeze(1)).squeeze(1);
  }
};

}  // namespace

TEST_CASE("The five lines of the plan work as they stand", "[profiler]") {
  auto model = small_model(seed());
  const Data data(20);
  const auto loader = data.batches(8);
  const at::Tensor image = data.inputs[3];
  const Index label = data.labels[3].item<Index>();

  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{}};
  const auto baseline = profiler.fit(model, loader);
  const auto profile = profiler(model, {image, label}, baseline);
  std::ostringstream out;
  for (const auto& [layer, channel, z, unit] : profile.top(10))
    out << layer << ':' << channel << ' ' << z << '\n';

  CHECK(profile.size() == 10);
  CHECK(std::ranges::count(out.str(), '\n') == 10);
  const auto top = profile.top(10);
  for (std::size_t i = 1; i < top.size(); ++i) CHECK(top[i - 1].value >= top[i].value);
  CHECK(top.front().value == profile.values().maxCoeff());
  // What it says of the sample is Eq. 2 of what Loop says of it.
  const visit::Plan plan = profiler.plan(model);
  const auto raw = engine::Loop{}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{},
                                  data.inputs.narrow(0, 3, 1), data.labels.narrow(0, 3, 1));
  for (Index k = 0; k < 10; ++k) {
    const double s = raw.profiles[0][k].item<double>();
    CHECK(profiler(model, {image, label})[k] == Approx(s).epsilon(1e-10));
    CHECK(profile[k] == Approx((s - baseline.mean()[k]) / baseline.stddev()[k]).epsilon(1e-8));
  }
}

TEST_CASE("The baseline's own samples have standardized mean 0 and deviation 1", "[profiler]") {
  auto model = small_model(seed());
  const Data data(25);
  const Profiler profiler;
  std::vector<Index> progress;
  const Baseline baseline =
      profiler.fit(model, data.batches(7), {.progress = [&](Index done) { progress.push_back(done); }});
  CHECK(progress == std::vector<Index>{7, 14, 21, 25});
  CHECK(baseline.count() == 25);
  CHECK(baseline.dead().empty());
  Moments z(10);
  for (Index i = 0; i < 25; ++i) {
    const Profile profile = profiler(model, {data.inputs[i], data.labels[i].item<Index>()}, baseline);
    z.add(profile.values().transpose());
  }
  CHECK(z.mean().cwiseAbs().maxCoeff() < 1e-9);
  CHECK((z.stddev().array() - 1.0).abs().maxCoeff() < 1e-9);
}

TEST_CASE("Any range of batches fits the same baseline", "[profiler]") {
  auto model = small_model(seed());
  const Data data(20);
  const Profiler profiler;
  const Baseline expected = profiler.fit(model, data.batches(20));
  const double close = 1e-12 * expected.mean().maxCoeff();
  CHECK(apart(profiler.fit(model, data.batches(1)), expected) <= close);
  CHECK(apart(profiler.fit(model, data.batches(6)), expected) <= close);

  std::vector<std::tuple<at::Tensor, at::Tensor, int>> tuples;
  std::vector<NamedBatch> named;
  std::vector<BatchOfTargets> of_targets;
  for (const auto& [inputs, labels] : data.batches(6)) {
    tuples.emplace_back(inputs, labels, 0);
    named.push_back({inputs, labels, {}});
    of_targets.push_back({inputs, labels});
  }
  CHECK(apart(profiler.fit(model, tuples), expected) <= close);
  CHECK(apart(profiler.fit(model, named), expected) <= close);
  CHECK(apart(profiler.fit(model, of_targets), expected) <= close);
  const auto loader = torch::data::make_data_loader<torch::data::samplers::SequentialSampler>(
      Pairs(data).map(torch::data::transforms::Stack<>()), torch::data::DataLoaderOptions(6));
  CHECK(apart(profiler.fit(model, *loader), expected) <= close);

  Baseline merged = profiler.fit(model, std::vector{data.batches(6)[0]});
  for (std::size_t i = 1; i < 4; ++i) merged.merge(profiler.fit(model, std::vector{data.batches(6)[i]}));
  CHECK(merged.count() == 20);
  CHECK(apart(merged, expected) <= close);

  const std::vector<std::pair<at::Tensor, at::Tensor>> nothing;
  CHECK(error_of([&] { (void)profiler.fit(model, nothing); }).code() == ErrorCode::argument);
}

TEST_CASE("A batch is standardized row by row", "[profiler]") {
  auto model = small_model(seed());
  const Data data(9);
  const Profiler profiler{aggregate::MeanAbs{}, standardize::Robust{}};
  const Baseline baseline = profiler.fit(model, data.batches(9));
  const visit::Plan plan = profiler.plan(model);
  const at::Tensor raw = profiler.batch(plan, data.inputs, data.labels).profiles;
  for (const at::Tensor& rows : {raw, raw.to(at::kFloat), raw.t().contiguous().t(), raw.narrow(0, 0, 0)}) {
    const std::vector<Profile> all = profiler.standardize(rows, baseline);
    REQUIRE(static_cast<Index>(all.size()) == rows.size(0));
    const RowMatrix wide = to_matrix(rows);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const Profile one(plan.units, row_of(wide, static_cast<Index>(i)));
      CHECK(all[i].values() == profiler.standardize(one, baseline).values());
      CHECK(all[i].shared_units() == baseline.shared_units());
    }
  }
  const Profile alone = profiler(model, {data.inputs[4], data.labels[4].item<Index>()}, baseline);
  CHECK((profiler.standardize(raw, baseline)[4].values() - alone.values()).cwiseAbs().maxCoeff() < 1e-9);

  for (const at::Tensor& other : {raw[0], raw.narrow(1, 0, 9), raw.unsqueeze(0), at::Tensor()}) {
    const Error error = error_of([&] { (void)profiler.standardize(other, baseline); });
    CHECK(error.code() == ErrorCode::shape);
    CHECK(error.expected().find("[samples, 10]") != std::string::npos);
  }
  const Baseline without_quantiles = Profiler{}.fit(model, data.batches(9));
  CHECK(error_of([&] { (void)profiler.standardize(raw, without_quantiles); }).code() == ErrorCode::baseline);
}

TEST_CASE("A baseline of anything else is refused when a sample is profiled", "[profiler]") {
  auto model = small_model(seed());
  const Data data(8);
  const Sample sample{data.inputs[0], data.labels[0].item<Index>()};
  const Profiler profiler;
  const Baseline baseline = profiler.fit(model, data.batches(4), {.preprocessing = "none"});
  CHECK_NOTHROW(profiler(model, sample, baseline));
  const auto came = [&](const auto& other_profiler, auto&& other_model) {
    const Error error = error_of([&] { (void)other_profiler(other_model, sample, baseline); });
    CHECK(error.code() == ErrorCode::baseline);
    return error.came();
  };
  CHECK(came(profiler, small_model(seed() + 1)) == "other values in 0.weight");
  auto touched = small_model(seed());
  {
    const at::NoGradGuard no_grad;
    at::Tensor mean = touched->named_buffers()["1.running_mean"];
    mean[2] = std::nextafter(mean[2].item<double>(), 1.0);
  }
  CHECK(came(profiler, touched) == "other values in 1.running_mean");
  CHECK(came(Profiler{aggregate::Mean{}}, model).find("aggregation mean_abs against mean") !=
        std::string::npos);
  CHECK(came(Profiler{aggregate::MeanAbs{}, standardize::ZScore{}, visit::AllWeights{}}, model)
            .find("none for layer 6.weight") != std::string::npos);
  CHECK(came(Profiler{aggregate::MeanAbs{}, standardize::ZScore{}, visit::ConvFilters{}, engine::Batched{},
                      Hinge{}},
             model)
            .find("hinge") != std::string::npos);
  // The standardization and the engine are no part of what a baseline is of.
  CHECK_NOTHROW(Profiler{aggregate::MeanAbs{}, standardize::MeanRatio{}}(model, sample, baseline));
  CHECK_NOTHROW(Profiler{aggregate::MeanAbs{}, standardize::ZScore{}, visit::ConvFilters{}, engine::Loop{}}(
      model, sample, baseline));
  // Neither is the precision that the same weights are computed in.
  auto single = small_model(seed(), at::kFloat);
  auto widened = small_model(seed(), at::kFloat);
  widened->to(at::kDouble);
  const Sample single_sample{data.inputs[0].to(at::kFloat), sample.target};
  CHECK_NOTHROW(profiler(single, single_sample, profiler.fit(widened, data.batches(4))));
}

TEST_CASE("Numbers that are not finite are errors that name the place", "[profiler]") {
  auto model = small_model(seed());
  const Data data(4);
  const Profiler profiler;
  const visit::Plan plan = profiler.plan(model);
  at::Tensor inputs = data.inputs.clone();
  inputs[2][1][3][3] = std::numeric_limits<double>::quiet_NaN();
  const Error error = error_of([&] { (void)profiler.batch(plan, inputs, data.labels); });
  CHECK(error.code() == ErrorCode::numeric);
  CHECK(error.place() == "sample 2 of the batch");
  CHECK(error.came().find("weight") != std::string::npos);
  CHECK(error_of([&] { (void)profiler.fit(model, std::vector{std::pair(inputs, data.labels)}); }).code() ==
        ErrorCode::numeric);
  {
    const at::NoGradGuard no_grad;
    model->named_parameters()["3.weight"][1][1][1][1] = std::numeric_limits<double>::infinity();
  }
  const Error weights = error_of([&] { (void)profiler.fit(model, data.batches(4)); });
  CHECK(weights.code() == ErrorCode::numeric);
  CHECK(weights.place() == "3.weight");
}

TEST_CASE("Samples with gradients that are not finite can be left out, and are counted", "[profiler]") {
  auto model = small_model(seed());
  const Data data(9);
  const Profiler profiler;
  at::Tensor inputs = data.inputs.clone();
  inputs[2][1][3][3] = std::numeric_limits<double>::quiet_NaN();
  inputs[7][0][0][0] = std::numeric_limits<double>::infinity();
  std::vector<std::pair<at::Tensor, at::Tensor>> batches;
  for (const Index begin : {0, 3, 6})
    batches.emplace_back(inputs.narrow(0, begin, 3), data.labels.narrow(0, begin, 3));
  Index told = 0;
  const Baseline baseline = profiler.fit(
      model, batches, {.progress = [&](Index samples) { told = samples; }, .non_finite = NonFinite::skip});
  CHECK(baseline.count() == 7);
  CHECK(baseline.skipped() == 2);
  CHECK(told == 9);
  const at::Tensor rest = at::tensor({0, 1, 3, 4, 5, 6, 8}, at::kLong);
  const std::vector finite{std::pair(data.inputs.index_select(0, rest), data.labels.index_select(0, rest))};
  CHECK(apart(baseline, profiler.fit(model, finite)) < 1e-14);

  const at::Tensor raw = profiler.batch_as_is(profiler.plan(model), inputs, data.labels).profiles;
  CHECK(at::equal(finite_samples(raw).nonzero().squeeze(1), rest));
}

TEST_CASE("Inputs and targets that do not fit are errors", "[profiler]") {
  auto model = small_model(seed());
  const Data data(4);
  const Profiler profiler;
  const visit::Plan plan = profiler.plan(model);
  const auto code = [&](const at::Tensor& inputs, const at::Tensor& targets) {
    return error_of([&] { (void)profiler.batch(plan, inputs, targets); }).code();
  };
  CHECK(code(data.inputs.narrow(0, 0, 0), data.labels.narrow(0, 0, 0)) == ErrorCode::shape);
  CHECK(code(at::scalar_tensor(1.0), data.labels) == ErrorCode::shape);
  CHECK(code(data.inputs, data.labels.narrow(0, 0, 3)) == ErrorCode::shape);
  CHECK(code(data.inputs, at::scalar_tensor(1)) == ErrorCode::shape);
  CHECK(code(data.inputs, data.labels.unsqueeze(1)) == ErrorCode::shape);
  CHECK(code(data.inputs, data.labels.to(at::kFloat)) == ErrorCode::dtype);
  CHECK(code(data.inputs, data.labels + 5) == ErrorCode::label);
  CHECK(error_of([&] { (void)profiler(model, {data.inputs[0], 17}); }).code() == ErrorCode::label);
}

TEST_CASE("A user's own policies work in every place", "[profiler]") {
  auto model = small_model(seed());
  const Data data(9);
  const CountingEngine engine;
  const Profiler profiler{MeanCube{}, AboveMean{}, FirstLayers{.extent = 6}, engine, Hinge{}};
  const Baseline baseline = profiler.fit(model, data.batches(3));
  CHECK(*engine.calls == 3);
  CHECK(baseline.units().layers().front().name == "3.weight");
  CHECK(baseline.fingerprint().aggregation == "mean_cube");
  CHECK(baseline.fingerprint().loss == "hinge");
  const Sample sample{data.inputs[0], data.labels[0].item<Index>()};
  const Profile raw = profiler(model, sample);
  const Profile z = profiler(model, sample, baseline);
  for (Index k = 0; k < 6; ++k) CHECK(z[k] == (raw[k] > baseline.mean()[k] ? 1.0 : 0.0));
  const Profiler tuned{aggregate::MeanAbs{}, standardize::Identity{}, visit::ConvFilters{},
                       engine::Batched{.block_bytes = 64}};
  CHECK((tuned(model, sample).values() - Profiler{}(model, sample).values()).cwiseAbs().maxCoeff() < 1e-14);
}

TEST_CASE("A profile is an Eigen vector and a tensor without a copy, and the tensor outlives it",
          "[profiler]") {
  auto model = small_model(seed());
  const Data data(1);
  at::Tensor tensor;
  std::vector<double> expected;
  {
    const Profile profile = Profiler{}(model, {data.inputs[0], 1});
    tensor = as_tensor(profile);
    CHECK(tensor.const_data_ptr<double>() == profile.values().data());
    CHECK(tensor.sizes() == at::IntArrayRef{10});
    CHECK(tensor.scalar_type() == at::kDouble);
    expected.assign(profile.values().begin(), profile.values().end());
  }
  const std::vector<at::Tensor> others(
      20, at::full({10}, -1.0, at::kDouble).clone());  // to overwrite what was freed
  CHECK(std::equal(expected.begin(), expected.end(), tensor.const_data_ptr<double>()));
}

TEST_CASE("Raw profiles of any layout and float type become a matrix of float64", "[profiler]") {
  const at::Tensor rows = normal({4, 3});
  const auto same = [](const RowMatrix& matrix, const at::Tensor& tensor) {
    bool equal = matrix.rows() == tensor.size(0) && matrix.cols() == tensor.size(1);
    for (Index i = 0; equal && i < matrix.rows(); ++i) {
      for (Index j = 0; j < matrix.cols(); ++j)
        equal = equal && matrix(i, j) == tensor[i][j].to(at::kDouble).item<double>();
    }
    return equal;
  };
  CHECK(same(to_matrix(rows), rows));
  CHECK(same(to_matrix(rows.t()), rows.t()));
  CHECK(same(to_matrix(rows.to(at::kFloat)), rows.to(at::kFloat)));
  CHECK(same(to_matrix(rows.to(at::kBFloat16)), rows.to(at::kBFloat16)));
  CHECK(same(to_matrix(rows.narrow(0, 0, 0)), rows.narrow(0, 0, 0)));
}

TEST_CASE("The fingerprint of a model is the same in float32 and in float64, and tells other weights apart",
          "[profiler]") {
  const Profiler profiler;
  const auto hashes = [&](auto&& model) { return hash_tensors(visit::view(model)); };
  auto single = small_model(seed(), at::kFloat);
  const auto expected = hashes(single);
  CHECK(expected.size() == 10);  // the batch norm's counter is none of them
  torch::nn::BatchNorm2d norm(4);
  const auto as_made = hashes(norm);
  norm->to(at::kDouble);  // casts the counter as well
  CHECK(hashes(norm) == as_made);
  auto widened = small_model(seed(), at::kFloat);
  widened->to(at::kDouble);
  CHECK(hashes(widened) == expected);
  const at::NoGradGuard no_grad;
  at::Tensor weight = widened->named_parameters()["3.weight"];
  weight[5][3][2][2] = std::nextafter(weight[5][3][2][2].item<double>(), 1.0);
  const auto changed = hashes(widened);
  for (std::size_t i = 0; i < changed.size(); ++i)
    CHECK((changed[i] == expected[i]) == (changed[i].first != "3.weight"));
  const auto index = [](const at::Tensor& buffer) {
    return hash_tensors({{}, {{"index", buffer}}, {}, [](const at::Tensor& x) { return x; }});
  };
  CHECK(index(at::arange(5)) != index(at::arange(5).flip(0)));
  CHECK(index(at::arange(5)) == index(at::arange(5).to(at::kInt)));
  // More values than are widened at a time, and not contiguous.
  at::Tensor large = normal({300, 400}, at::kFloat);
  const auto hash = [](const at::Tensor& tensor) {
    return hash_tensors(net({{"w", tensor}}, [](const at::Tensor& x) { return x; }));
  };
  CHECK(hash(large) == hash(large.to(at::kDouble)));
  CHECK(hash(large) == hash(large.t().contiguous().t()));
  const auto before = hash(large);
  large[299][399] += 1.0;
  CHECK(hash(large) != before);
}
