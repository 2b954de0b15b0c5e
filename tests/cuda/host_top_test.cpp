// SPDX-License-Identifier: MIT
// The ranking kernel's work on the host, block by block, against Profile::top.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "culprit/core/profile.hpp"
#include "culprit/cuda/top_kernel.cuh"
#include "culprit/standardize/standardize.hpp"
#include "support/catch.hpp"

using namespace culprit;

namespace {

/// A block of threads that run one after the other, each as far as the next barrier, in another order each
/// time.
struct HostTopBlock {
  cuda::detail::TopShared& memory;
  std::mt19937& dice;
  std::vector<std::function<void(int)>> to_do{};

  template <class Each>
  void each(const Each& f) {
    to_do.emplace_back(f);
  }
  void sync() {
    std::vector<int> order(cuda::top_threads);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), dice);
    for (const int thread : order) {
      for (const auto& phase : to_do) phase(thread);
    }
    to_do.clear();
  }
  static int add(int& counter) { return counter++; }
};

struct Tops {
  std::vector<double> values;
  std::vector<std::int64_t> indices;
};

template <class T, class S>
Tops on_host(const S& standardization, const std::vector<T>& raw, const std::vector<UnitStatistics>& usual,
             int count, std::mt19937& dice) {
  const std::size_t samples = raw.size() / usual.size();
  Tops tops{std::vector<double>(samples * static_cast<std::size_t>(count)),
            std::vector<std::int64_t>(samples * static_cast<std::size_t>(count))};
  const cuda::TopTask<T> task{raw.data(), usual.data(),       static_cast<int>(usual.size()),
                              count,      tops.values.data(), tops.indices.data()};
  for (std::size_t sample = 0; sample < samples; ++sample) {
    const auto memory = std::make_unique<cuda::detail::TopShared>();
    std::fill_n(memory->histogram, 256, -1);
    HostTopBlock block{*memory, dice};
    cuda::detail::find_top(block, task, standardization, static_cast<std::int64_t>(sample));
    block.sync();
  }
  return tops;
}

template <class T, class S>
void check(const S& standardization, std::mt19937& dice) {
  for (int round = 0; round < 100; ++round) {
    const auto units = static_cast<Index>(1 + dice() % (round < 50 ? 40 : 3000));
    const auto count = static_cast<int>(std::min<Index>(units, 1 + dice() % cuda::most_top_units));
    std::vector<UnitStatistics> usual;
    for (Index u = 0; u < units; ++u)
      usual.push_back({0.125 * static_cast<double>(dice() % 4), dice() % 8 == 0 ? 0.0 : 0.5});
    constexpr std::size_t samples = 3;
    // Few different numbers, so that many are equal, of both signs, and infinite ones.
    std::vector<T> raw(samples * static_cast<std::size_t>(units));
    for (T& s : raw) {
      s = (static_cast<T>(dice() % 65) - T(32)) / T(dice() % 2 == 0 ? 16 : 1024);
      if (dice() % 50 == 0) s = std::copysign(std::numeric_limits<T>::infinity(), s);
    }
    const Tops found = on_host(standardization, raw, usual, count, dice);
    Layer layer;
    layer.name = "all";
    layer.shape = {units};
    layer.count = units;
    layer.size = 1;
    const auto layout = std::make_shared<Units>(std::vector<Layer>{layer});
    for (std::size_t sample = 0; sample < samples; ++sample) {
      Eigen::VectorXd z(units);
      for (Index u = 0; u < units; ++u)
        z[u] = standardization(
            static_cast<double>(raw[sample * static_cast<std::size_t>(units) + static_cast<std::size_t>(u)]),
            usual[static_cast<std::size_t>(u)]);
      const std::vector<RankedUnit> expected = Profile(layout, z).top(count);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const std::size_t place = sample * static_cast<std::size_t>(count) + i;
        REQUIRE(found.indices[place] == expected[i].unit);
        REQUIRE(found.values[place] == expected[i].value);
      }
    }
  }
}

}  // namespace

TEST_CASE("The ranking kernel gives what Profile::top gives", "[cuda]") {
  std::mt19937 dice(20221127);
  check<float>(standardize::ZScore{}, dice);
  check<double>(standardize::ZScore{}, dice);
  check<float>(standardize::MeanRatio{}, dice);
  check<double>(standardize::Identity{}, dice);
}

TEST_CASE("A number that is not one comes first in a ranking", "[cuda]") {
  std::mt19937 dice(7);
  const std::vector<UnitStatistics> usual(3, {0.0, 1.0});
  const Tops found = on_host(standardize::Identity{},
                             std::vector<double>{std::numeric_limits<double>::infinity(), 2.0, std::nan("")},
                             usual, 3, dice);
  CHECK(found.indices == std::vector<std::int64_t>{2, 0, 1});
  CHECK(std::isnan(found.values[0]));
}
