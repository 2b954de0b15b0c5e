// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include <culprit/core/baseline.hpp>
#include <culprit/core/profile.hpp>
#include <culprit/io/baseline_file.hpp>

#include "io/error_of.hpp"
#include "support/temporary_folder.hpp"

using namespace culprit;
using culprit::test::error_of;
using culprit::test::seed;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

Layer layer(std::string name, Index count, Index size) {
  Layer made;
  made.name = std::move(name);
  made.shape = {count, size};
  made.count = count;
  made.size = size;
  return made;
}

std::shared_ptr<const Units> three_layers() {
  return std::make_shared<const Units>(std::vector{layer("a", 3, 27), layer("b", 1, 9), layer("c", 4, 36)});
}

Eigen::VectorXd vector(std::initializer_list<double> values) {
  return Eigen::Map<const Eigen::VectorXd>(values.begin(), static_cast<Index>(values.size()));
}

std::vector<Index> units_of(const std::vector<RankedUnit>& ranked) {
  std::vector<Index> units;
  for (const RankedUnit& each : ranked) units.push_back(each.unit);
  return units;
}

}  // namespace

TEST_CASE("Units are numbered layer by layer", "[core]") {
  const auto units = three_layers();
  REQUIRE(units->size() == 8);
  Index index = 0;
  for (std::size_t i = 0; i < units->layers().size(); ++i) {
    const Layer& each = units->layers()[i];
    CHECK(each.first == index);
    CHECK(each.end() == index + each.count);
    CHECK(units->layer(each.name).first == each.first);
    for (Index channel = 0; channel < each.count; ++channel, ++index) {
      const Unit unit = units->unit(index);
      CHECK(unit.index == index);
      CHECK(unit.layer == static_cast<Index>(i));
      CHECK(unit.channel == channel);
      CHECK(unit.size == each.size);
    }
  }
  CHECK(Units{}.size() == 0);
}

TEST_CASE("Units outside the model are refused", "[core]") {
  const auto units = three_layers();
  for (const Index index :
       {Index{-1}, Index{8}, std::numeric_limits<Index>::max(), std::numeric_limits<Index>::min()}) {
    CHECK(error_of([&] { (void)units->unit(index); }).code() == ErrorCode::argument);
  }
  CHECK(error_of([&] { (void)Units{}.unit(0); }).code() == ErrorCode::argument);
  const Error unknown = error_of([&] { (void)units->layer("d"); });
  CHECK(unknown.code() == ErrorCode::argument);
  CHECK(unknown.place() == "d");
  CHECK(error_of([] { (void)Units({layer("a", 0, 9)}); }).place() == "a");
  CHECK(error_of([] { (void)Units({layer("a", 3, 0)}); }).place() == "a");
  CHECK(error_of([] { (void)Units({layer("a", -3, 9)}); }).place() == "a");
  CHECK(error_of([] { (void)Units({layer("a", 3, 9), layer("b", 3, 9), layer("a", 3, 9)}); }).place() == "a");
  constexpr Index most = std::numeric_limits<Index>::max();
  CHECK(error_of([] { (void)Units({layer("a", most, 1), layer("b", 1, 1)}); }).place() == "b");
}

TEST_CASE("The difference of two sets of units is named", "[core]") {
  const auto units = three_layers();
  CHECK(units->difference(*three_layers()).empty());
  CHECK(units->difference(Units({layer("a", 3, 27)})) == "3 layers against 1");
  const auto against = [&](auto change) {
    std::vector<Layer> layers = units->layers();
    change(layers[1]);
    return units->difference(Units(layers));
  };
  CHECK(against([](Layer& b) { b.name = "z"; }).find("b against z") != std::string::npos);
  CHECK(against([](Layer& b) { b.shape = {1, 3, 3}; }) == "shape of b");
  CHECK(against([](Layer& b) { b.count = 2; }) == "b has 1 units against 2");
  // What the data flow tells is no difference between models.
  CHECK(against([](Layer& b) { b.batch_norm = "bn", b.uses = 2; }).empty());
}

TEST_CASE("The order of blame is by value descending, ties by index ascending", "[core]") {
  const std::array<double, 7> values{1.0, 3.0, -infinity, 3.0, infinity, 1.0, -0.0};
  CHECK(largest(values, 7) == std::vector<Index>{4, 1, 3, 0, 5, 6, 2});
  CHECK(largest(values, 2) == std::vector<Index>{4, 1});
  CHECK(largest(values, 3) == std::vector<Index>{4, 1, 3});
  CHECK(largest(values, 0).empty());
  CHECK(largest(values, 100) == largest(values, 7));
  CHECK(largest({}, 3).empty());
  const std::array<double, 2> zeros{0.0, -0.0};
  CHECK(largest(zeros, 2) == std::vector<Index>{0, 1});
  CHECK(error_of([&] { (void)largest(values, -1); }).code() == ErrorCode::argument);
  const std::array<double, 3> with_nan{1.0, not_a_number, 2.0};
  const Error error = error_of([&] { (void)largest(with_nan, 1); });
  CHECK(error.code() == ErrorCode::numeric);
  CHECK(error.place() == "unit 1");

  std::mt19937 engine(seed());
  for (std::size_t size = 0; size < 50; ++size) {
    std::vector<double> random(size);
    for (double& value : random) value = static_cast<double>(engine() % 5);
    std::vector<Index> expected(size);
    std::iota(expected.begin(), expected.end(), Index{0});
    std::stable_sort(expected.begin(), expected.end(), [&](Index a, Index b) {
      return random[static_cast<std::size_t>(a)] > random[static_cast<std::size_t>(b)];
    });
    for (std::size_t k = 0; k <= size; ++k) {
      CHECK(largest(random, static_cast<Index>(k)) ==
            std::vector<Index>(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(k)));
    }
  }
}

TEST_CASE("A profile ranks its units, overall and by layer", "[core]") {
  const Profile profile(three_layers(), vector({1, 9, 2, 5, 9, 0, 4, 3}));
  const auto top = profile.top(3);
  CHECK(units_of(top) == std::vector<Index>{1, 4, 3});
  CHECK(top[1].layer == "c");
  CHECK(top[1].channel == 0);
  CHECK(top[1].value == 9.0);
  CHECK(units_of(profile.top(100)).size() == 8);
  CHECK(profile.top(0).empty());
  CHECK(units_of(profile.top(2, "c")) == std::vector<Index>{4, 6});
  CHECK(units_of(profile.top(9, "a")) == std::vector<Index>{1, 2, 0});
  CHECK(units_of(profile.top(2, 2, 4)) == std::vector<Index>{3, 2});
  CHECK(profile.top(2, 3, 3).empty());
  CHECK(error_of([&] { (void)profile.top(2, "d"); }).code() == ErrorCode::argument);
  CHECK(error_of([&] { (void)profile.top(-2); }).code() == ErrorCode::argument);
  for (const auto& range : {std::pair<Index, Index>{-1, 3}, {3, 2}, {0, 9}}) {
    CHECK(error_of([&] { (void)profile.top(2, range.first, range.second); }).code() == ErrorCode::argument);
  }
  const Profile broken(three_layers(), vector({1, 9, 2, 5, 9, 0, not_a_number, 3}));
  CHECK(units_of(broken.top(1, "a")) == std::vector<Index>{1});
  const Error error = error_of([&] { (void)broken.top(1, "c"); });
  CHECK(error.code() == ErrorCode::numeric);
  CHECK(error.place() == "unit 6");
}

TEST_CASE("Copies of a profile share its numbers", "[core]") {
  const Profile profile(three_layers(), vector({1, 9, 2, 5, 9, 0, 4, 3}));
  const Profile copy =
      profile;  // NOLINT(performance-unnecessary-copy-initialization): the copy is what is tested
  CHECK(copy.values().data() == profile.values().data());
  CHECK(copy.shared_values()->data() == profile.values().data());
  CHECK(copy[1] == 9.0);
  const Error error = error_of([] { (void)Profile(three_layers(), vector({1, 2})); });
  CHECK(error.code() == ErrorCode::shape);
}

namespace {

using Samples = std::vector<std::vector<double>>;

Moments moments_of(const Samples& samples, std::size_t begin, std::size_t end) {
  const auto units = static_cast<Index>(samples.front().size());
  RowMatrix rows(static_cast<Index>(end - begin), units);
  for (std::size_t i = begin; i < end; ++i) {
    for (Index k = 0; k < units; ++k)
      rows(static_cast<Index>(i - begin), k) = samples[i][static_cast<std::size_t>(k)];
  }
  Moments moments(units);
  moments.add(rows);
  return moments;
}

/// Mean and deviation of one unit, in two passes of long double.
std::pair<double, double> exact(const Samples& samples, std::size_t unit) {
  const auto n = static_cast<long double>(samples.size());
  long double sum = 0.0L;
  for (const auto& sample : samples) sum += sample[unit];
  const long double mean = sum / n;
  long double squares = 0.0L;
  for (const auto& sample : samples) squares += (sample[unit] - mean) * (sample[unit] - mean);
  return {static_cast<double>(mean), static_cast<double>(std::sqrt(squares / (n - 1.0L)))};
}

}  // namespace

TEST_CASE("Moments of any partition in any order are those of all samples at once", "[core]") {
  std::mt19937 engine(seed());
  std::normal_distribution<double> noise;
  Samples samples(257);
  for (auto& sample : samples) {
    sample = {noise(engine), 1e8 + 1e-3 * noise(engine), -1e8 + 0.25 * noise(engine), 1e-12 * noise(engine),
              7.0};
  }
  for (int trial = 0; trial < 40; ++trial) {
    std::vector<Moments> parts;
    for (std::size_t begin = 0; begin < samples.size();) {
      const std::size_t end = std::min(samples.size(), begin + 1 + engine() % 60);
      parts.push_back(moments_of(samples, begin, end));
      begin = end;
    }
    std::shuffle(parts.begin(), parts.end(), engine);
    while (parts.size() > 1) {  // a random tree of merges
      const std::size_t into = engine() % (parts.size() - 1);
      parts[into].merge(parts.back());
      parts.pop_back();
    }
    const Moments& all = parts.front();
    REQUIRE(all.count() == 257);
    const Eigen::VectorXd stddev = all.stddev();
    for (std::size_t k = 0; k < samples.front().size(); ++k) {
      const auto [mean, deviation] = exact(samples, k);
      const auto i = static_cast<Index>(k);
      // The mean of each part is rounded to its last place, which enters the sum of squares through the
      // differences between parts: to first order in ulp / deviation (Chan et al., section 3).
      const double ulp = std::max(std::abs(mean), deviation) * 0x1p-52;
      CHECK(std::abs(all.mean()[i] - mean) <= 8.0 * ulp);
      if (deviation == 0.0) {
        CHECK(stddev[i] == 0.0);
      } else {
        CHECK(std::abs(stddev[i] / deviation - 1.0) <= 1e-12 + 2.0 * ulp / deviation);
      }
    }
  }
}

TEST_CASE("Moments of few samples, and what they refuse", "[core]") {
  Moments moments(2);
  CHECK(moments.count() == 0);
  CHECK(moments.stddev() == Eigen::VectorXd::Zero(2));
  moments.add(RowMatrix(0, 2));
  CHECK(moments.count() == 0);
  RowMatrix one(1, 2);
  one << 3.0, -4.0;
  moments.add(one);
  CHECK(moments.count() == 1);
  CHECK(moments.mean() == vector({3.0, -4.0}));
  CHECK(moments.stddev() == Eigen::VectorXd::Zero(2));
  moments.merge(Moments(2));
  CHECK(moments.count() == 1);
  one << 5.0, -4.0;
  moments.add(one);
  CHECK(moments.mean() == vector({4.0, -4.0}));
  CHECK(moments.stddev()[0] == Approx(std::sqrt(2.0)).epsilon(1e-15));
  moments.merge(moments);
  CHECK(moments.count() == 4);
  CHECK(moments.stddev()[0] == Approx(std::sqrt(4.0 / 3.0)).epsilon(1e-15));

  CHECK(error_of([&] { moments.add(RowMatrix(1, 3)); }).code() == ErrorCode::shape);
  CHECK(error_of([&] { moments.merge(Moments(1)); }).code() == ErrorCode::shape);
  Moments countless(std::numeric_limits<Index>::max() - 3, vector({1, 1}), vector({2, 2}));
  CHECK(error_of([&] { countless.merge(moments); }).code() == ErrorCode::argument);
  CHECK(error_of([] { (void)Moments(2, vector({1, 2}), vector({1})); }).code() == ErrorCode::shape);
  CHECK(error_of([] { (void)Moments(-1, vector({1}), vector({1})); }).code() == ErrorCode::argument);
  CHECK(error_of([] { (void)Moments(3, vector({1}), vector({-1})); }).code() == ErrorCode::numeric);
  CHECK(error_of([] { (void)Moments(3, vector({1}), vector({not_a_number})); }).code() == ErrorCode::numeric);
}

TEST_CASE("Shards' statistics, as their files hold them, merge to those of the whole", "[core]") {
  std::mt19937 engine(seed());
  std::normal_distribution<double> noise;
  Samples samples(1500, std::vector<double>(3));
  for (auto& sample : samples) {  // as profiles are: positive, over many orders of magnitude
    for (double& value : sample) value = std::exp(-20.0 + 3.0 * noise(engine));
  }
  double mean_apart = 0.0, deviation_apart = 0.0;
  for (int trial = 0; trial < 1000; ++trial) {
    const std::size_t shards = 1 + engine() % 1024;
    std::vector<std::size_t> ends(shards - 1);
    for (std::size_t& end : ends) end = engine() % (samples.size() + 1);  // some shards are empty
    std::ranges::sort(ends);
    ends.push_back(samples.size());
    std::vector<Moments> parts;
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
      const Moments part = moments_of(samples, std::exchange(begin, end), end);
      parts.emplace_back(part.count(), part.mean(), part.stddev());
    }
    std::ranges::shuffle(parts, engine);
    Moments all = parts.front();
    for (std::size_t i = 1; i < parts.size(); ++i) all.merge(parts[i]);
    REQUIRE(all.count() == 1500);
    for (std::size_t k = 0; k < samples.front().size(); ++k) {
      const auto [mean, deviation] = exact(samples, k);
      const auto i = static_cast<Index>(k);
      mean_apart = std::max(mean_apart, std::abs(all.mean()[i] / mean - 1.0));
      deviation_apart = std::max(deviation_apart, std::abs(all.stddev()[i] / deviation - 1.0));
    }
  }
  CHECK(mean_apart <= 1e-12);
  CHECK(deviation_apart <= 1e-11);
}

TEST_CASE("Restored moments go on bit for bit", "[core]") {
  std::mt19937 engine(seed());
  std::normal_distribution<double> noise;
  RowMatrix samples(20, 8);
  for (Index i = 0; i < samples.size(); ++i) samples.data()[i] = std::exp(noise(engine));
  Moments whole(8);
  whole.add(samples.topRows(13));
  Moments restored = Moments::restored(whole.count(), whole.mean(), whole.squares());
  for (Moments* const moments : {&whole, &restored}) moments->add(samples.bottomRows(7));
  CHECK(restored.count() == 20);
  CHECK(restored.mean() == whole.mean());
  CHECK(restored.stddev() == whole.stddev());
  CHECK(error_of([&] {
          (void)Moments::restored(2, whole.mean(), Eigen::VectorXd::Constant(8, -1.0));
        }).code() == ErrorCode::numeric);
}

TEST_CASE("Moments made from statistics have exactly these, and merge", "[core]") {
  // The square of this deviation is no double.
  CHECK(Moments(2, vector({1.0}), vector({1e200})).stddev()[0] == 1e200);
  std::mt19937 engine(seed());
  std::uniform_real_distribution<double> exponent(-12.0, 12.0);
  constexpr Index units = 500;
  Eigen::VectorXd mean(units);
  Eigen::VectorXd stddev(units);
  for (Index k = 0; k < units; ++k) {
    mean[k] = std::pow(10.0, exponent(engine));
    stddev[k] = std::pow(10.0, exponent(engine));
  }
  for (const Index count : {2, 3, 7, 9999}) {
    Moments loaded(count, mean, stddev);
    CHECK(loaded.stddev() == stddev);
    loaded.merge(Moments(units));
    CHECK(loaded.stddev() == stddev);
    const Moments copy = loaded;
    loaded.merge(copy);
    const double factor =
        std::sqrt(2.0 * static_cast<double>(count - 1) / static_cast<double>(2 * count - 1));
    CHECK((loaded.stddev() - factor * stddev).cwiseQuotient(stddev).cwiseAbs().maxCoeff() < 1e-14);
  }
}

namespace {

Fingerprint fingerprint() {
  return {{{"conv.weight", 1}, {"bn.running_mean", 2}}, "mean_abs", "cross_entropy", "resize 32"};
}

Baseline baseline(Index count = 5, double scale = 1.0) {
  return Baseline(
      three_layers(),
      Moments(count, scale * vector({1, 2, 3, 4, 5, 6, 7, 8}), vector({1, 0, 1e-14, 1.1e-14, 1, 1, 1, 1})),
      fingerprint());
}

}  // namespace

TEST_CASE("A baseline lists the units that no sample moves", "[core]") {
  CHECK(baseline().dead() == std::vector<Index>{1, 2});
  CHECK(baseline(1).dead().size() == 8);  // one sample moves nothing
  const UnitStatistics third = baseline().statistics(3);
  CHECK(third.mean == 4.0);
  CHECK(third.stddev == 1.1e-14);
  CHECK(error_of([] { (void)Baseline(three_layers(), Moments(3), fingerprint()); }).code() ==
        ErrorCode::shape);
}

TEST_CASE("A baseline of another model, units or preprocessing is refused, naming the difference", "[core]") {
  const Baseline ours = baseline();
  CHECK_NOTHROW(ours.check(*three_layers(), fingerprint()));
  const auto came = [&](const Units& units, const Fingerprint& mark) {
    const Error error = error_of([&] { ours.check(units, mark); });
    CHECK(error.code() == ErrorCode::baseline);
    Baseline merged = ours;
    const Baseline other(std::make_shared<const Units>(units), Moments(units.size()), mark);
    CHECK(error_of([&] { merged.merge(other); }).came() == error.came());
    CHECK(merged.count() == ours.count());
    return error.came();
  };
  CHECK(came(Units({layer("a", 8, 27)}), fingerprint()).find("3 layers against 1") != std::string::npos);
  CHECK(came(Units({layer("a", 3, 27), layer("x", 1, 9), layer("c", 4, 36)}), fingerprint())
            .find("b against x") != std::string::npos);
  const auto changed = [&](auto change) {
    Fingerprint mark = fingerprint();
    change(mark);
    return came(*three_layers(), mark);
  };
  CHECK(changed([](Fingerprint& mark) { mark.tensors[1].second = 3; }).find("bn.running_mean") !=
        std::string::npos);
  CHECK(changed([](Fingerprint& mark) { mark.tensors[0].first = "c.weight"; }).find("c.weight") !=
        std::string::npos);
  CHECK(changed([](Fingerprint& mark) { mark.tensors.pop_back(); }).find("2 tensors against 1") !=
        std::string::npos);
  CHECK(changed([](Fingerprint& mark) { mark.aggregation = "mean"; }).find("aggregation") !=
        std::string::npos);
  CHECK(changed([](Fingerprint& mark) { mark.loss = "margin"; }).find("loss") != std::string::npos);
  CHECK(changed([](Fingerprint& mark) { mark.preprocessing = "resize 64"; }).find("resize 64") !=
        std::string::npos);
}

TEST_CASE("Baselines of disjoint samples merge into that of all", "[core]") {
  std::mt19937 engine(seed());
  std::normal_distribution<double> noise;
  RowMatrix samples(30, 8);
  for (Index i = 0; i < samples.size(); ++i) samples.data()[i] = 3.0 + noise(engine);
  const auto fit = [&](Index first, Index count) {
    Moments moments(8);
    moments.add(samples.middleRows(first, count));
    return Baseline(three_layers(), moments, fingerprint(), std::nullopt, /*skipped=*/first);
  };
  Baseline merged = fit(0, 11);
  merged.merge(fit(11, 1));
  merged.merge(fit(12, 18));
  const Baseline all = fit(0, 30);
  CHECK(merged.count() == 30);
  CHECK(merged.skipped() == 23);
  CHECK((merged.mean() - all.mean()).cwiseAbs().maxCoeff() < 1e-14);
  CHECK((merged.stddev() - all.stddev()).cwiseAbs().maxCoeff() < 1e-14);
  CHECK(merged.dead().empty());

  const auto skipping = [&](Index skipped) {
    return Baseline(three_layers(), Moments(8), fingerprint(), std::nullopt, skipped);
  };
  constexpr Index most = std::numeric_limits<Index>::max();
  CHECK(error_of([&] { merged.merge(skipping(most - 22)); }).place() == "skipped");
  merged.merge(skipping(most - 23));
  CHECK(merged.skipped() == most);
}

TEST_CASE("Units drawn by a seed are as many as asked for, in order, and each as likely as any other",
          "[core]") {
  const std::vector<Index> candidates{2, 3, 5, 7, 11};
  CHECK(drawn(candidates, 5, seed()) == candidates);
  CHECK(drawn(candidates, 9, seed()) == candidates);
  CHECK(drawn(candidates, 0, seed()).empty());
  CHECK(drawn(candidates, 2, 1) == drawn(candidates, 2, 1));
  CHECK(error_of([&] { (void)drawn(candidates, -1, 1); }).code() == ErrorCode::argument);
  std::map<Index, int> times;
  for (std::uint64_t draw = 0; draw < 1000; ++draw) {
    const std::vector<Index> taken = drawn(candidates, 2, draw);
    REQUIRE(taken.size() == 2);
    REQUIRE(taken[0] < taken[1]);
    for (const Index unit : taken) ++times[unit];
  }
  // 400 expected, with a standard deviation of 15.5.
  for (const Index unit : candidates) CHECK(std::abs(times[unit] - 400) < 80);
}

TEST_CASE("The hash of values changes with one unit in the last place and with the order", "[core]") {
  std::vector<double> values(1000);
  std::mt19937 engine(seed());
  std::normal_distribution<double> noise;
  for (double& value : values) value = noise(engine);
  const std::uint64_t hash = hash_values(values);
  CHECK(hash == hash_values(values));
  for (const std::size_t i : {0U, 1U, 499U, 999U}) {
    std::vector<double> other = values;
    other[i] = std::nextafter(other[i], infinity);
    CHECK(hash_values(other) != hash);
    other[i] = -values[i];
    CHECK(hash_values(other) != hash);
    other = values;
    std::swap(other[i], other[(i + 7) % 1000]);
    CHECK(hash_values(other) != hash);
  }
  CHECK(hash_values(std::vector<double>(3, 0.0)) != hash_values(std::vector<double>(4, 0.0)));
  CHECK(hash_values(std::vector<double>{0.0, 1.0}) != hash_values(std::vector<double>{1.0, 0.0}));
  // In parts, as a large tensor is read.
  const std::span<const double> all(values);
  CHECK(hash_values(all.subspan(300), hash_values(all.first(300))) == hash);
}

namespace {

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

/// A file that is a baseline's but for one change.
struct BaselineFile {
  std::vector<double> mean{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<double> stddev{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<std::int64_t> count{5};
  std::map<std::string, std::string> metadata;
  std::string without;  ///< tensor to leave out

  explicit BaselineFile(const std::filesystem::path& model) {
    io::save_baseline(model, baseline());
    metadata = io::Safetensors::open(model).metadata();
  }

  Error refusal(const std::filesystem::path& path) const {
    const auto extent = [](const auto& values) {
      return std::vector<std::int64_t>{static_cast<std::int64_t>(values.size())};
    };
    std::vector<std::pair<std::string, io::TensorView>> tensors{
        {"mean", io::view_of(std::span<const double>(mean), extent(mean))},
        {"std", io::view_of(std::span<const double>(stddev), extent(stddev))},
        {"count", io::view_of(std::span<const std::int64_t>(count), extent(count))}};
    std::erase_if(tensors, [&](const auto& tensor) { return tensor.first == without; });
    io::write_safetensors(path, tensors, metadata);
    Error error = error_of([&] { (void)io::load_baseline(path); });
    INFO(error.what());
    CHECK(std::string(error.what()).find(path.filename().string()) != std::string::npos);
    return error;
  }
};

}  // namespace

TEST_CASE("A baseline comes back from its file bit for bit", "[core]") {
  const test::TemporaryFolder folder;
  std::mt19937 engine(seed());
  std::normal_distribution<double> noise;
  RowMatrix samples(7, 8);
  for (Index i = 0; i < samples.size(); ++i) samples.data()[i] = std::exp(10.0 * noise(engine));
  samples.col(2).setConstant(0.1);  // a dead unit
  Moments moments(8);
  moments.add(samples);
  std::vector<Layer> layers = three_layers()->layers();
  layers[0].batch_norm = "bn1";
  layers[0].uses = 1;
  layers[2].uses = 0;
  Fingerprint mark = fingerprint();
  mark.tensors.emplace_back("quote \" and \n newline", ~std::uint64_t{0});
  const Baseline saved(std::make_shared<const Units>(layers), moments, mark, std::nullopt, /*skipped=*/3);
  io::save_baseline(folder / "baseline.safetensors", saved, {{"note", "of the test"}});
  CHECK(folder.entries() == 1);
  const Baseline loaded = io::load_baseline(folder / "baseline.safetensors");
  CHECK(loaded.count() == 7);
  CHECK(loaded.skipped() == 3);
  for (Index k = 0; k < 8; ++k) {
    CHECK(bits(loaded.mean()[k]) == bits(saved.mean()[k]));
    CHECK(bits(loaded.stddev()[k]) == bits(saved.stddev()[k]));
  }
  CHECK(loaded.dead() == saved.dead());
  CHECK(loaded.dead().size() == 1);
  CHECK(loaded.units().difference(saved.units()).empty());
  CHECK(loaded.units().layers()[0].batch_norm == "bn1");
  CHECK(loaded.units().layers()[0].size == 27);
  CHECK(loaded.units().layers()[1].uses == -1);
  CHECK(loaded.units().layers()[2].uses == 0);
  CHECK(loaded.fingerprint().difference(saved.fingerprint()).empty());
  CHECK_NOTHROW(loaded.check(saved.units(), saved.fingerprint()));
  const io::Safetensors file = io::Safetensors::open(folder / "baseline.safetensors");
  CHECK(file.metadata().at("note") == "of the test");
  CHECK(file.metadata().at("dead_units") == "[2]");

  io::save_baseline(folder / "again.safetensors", loaded, {{"note", "of the test"}});
  CHECK(test::read_bytes(folder / "again.safetensors") == test::read_bytes(folder / "baseline.safetensors"));
}

TEST_CASE("A file that is no baseline is refused, naming the file and what is wrong", "[core]") {
  const test::TemporaryFolder folder;
  const BaselineFile good(folder / "model.safetensors");
  const auto refusal = [&](auto change) {
    BaselineFile file = good;
    change(file);
    return file.refusal(folder / "bad.safetensors");
  };
  CHECK(refusal([](BaselineFile& file) { file.metadata["format"] = "other/1"; }).came() == "other/1");
  for (const std::string key : {"format", "units", "fingerprint"}) {
    const Error missing = refusal([&](BaselineFile& file) { file.metadata.erase(key); });
    CHECK(missing.code() == ErrorCode::format);
    CHECK(missing.expected().find(key) != std::string::npos);
  }
  for (const std::string tensor : {"mean", "std", "count"}) {
    const Error missing = refusal([&](BaselineFile& file) { file.without = tensor; });
    CHECK(std::string(missing.what()).find(tensor) != std::string::npos);
  }
  CHECK(refusal([](BaselineFile& file) { file.mean[3] = not_a_number; }).code() == ErrorCode::numeric);
  CHECK(refusal([](BaselineFile& file) { file.stddev[3] = infinity; }).code() == ErrorCode::numeric);
  CHECK(refusal([](BaselineFile& file) { file.stddev[3] = -1.0; }).code() == ErrorCode::numeric);
  CHECK(refusal([](BaselineFile& file) { file.count = {5, 5}; }).code() == ErrorCode::shape);
  CHECK(refusal([](BaselineFile& file) { file.count = {}; }).code() == ErrorCode::shape);
  CHECK(refusal([](BaselineFile& file) { file.count = {-5}; }).code() == ErrorCode::argument);
  CHECK(refusal([](BaselineFile& file) { file.stddev.pop_back(); }).code() == ErrorCode::shape);
  CHECK(refusal([](BaselineFile& file) { file.mean.pop_back(), file.stddev.pop_back(); }).code() ==
        ErrorCode::shape);
  CHECK(refusal([](BaselineFile& file) { file.metadata["units"] = "[{\"name\": 3}]"; }).code() ==
        ErrorCode::format);
  CHECK(refusal([](BaselineFile& file) { file.metadata["units"] = "{}"; }).code() == ErrorCode::format);
  CHECK(refusal([](BaselineFile& file) {
          file.metadata["units"] = R"([{"name": "a", "shape": [1], "count": -8, "size": 1}])";
        }).code() == ErrorCode::argument);
  CHECK(refusal([](BaselineFile& file) { file.metadata["fingerprint"] = "{"; }).code() == ErrorCode::format);
  CHECK(refusal([](BaselineFile& file) {
          file.metadata["fingerprint"] =
              R"({"tensors": {"a": "xyz"}, "aggregation": "", "loss": "", "preprocessing": ""})";
        }).code() == ErrorCode::format);
  CHECK(error_of([&] { (void)io::load_baseline(folder / "none.safetensors"); }).code() == ErrorCode::io);
}
