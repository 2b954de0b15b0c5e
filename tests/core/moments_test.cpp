// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <culprit/core/baseline.hpp>

#include "core/units.hpp"
#include "io/error_of.hpp"

using namespace culprit;
using namespace culprit::test;

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
