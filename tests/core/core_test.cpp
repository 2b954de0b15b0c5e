// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include <culprit/core/baseline.hpp>
#include <culprit/core/profile.hpp>

#include "core/units.hpp"
#include "io/error_of.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

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

TEST_CASE("A layer goes by its parameter's name with or without .weight, the exact name first", "[core]") {
  const Units units({layer("a.weight", 3, 9), layer("b", 2, 9), layer("b.weight", 4, 9), layer("c", 1, 9)});
  CHECK(units.find("a") == &units.layers()[0]);
  CHECK(units.find("a.weight") == &units.layers()[0]);
  CHECK(units.find("b") == &units.layers()[1]);
  CHECK(units.find("b.weight") == &units.layers()[2]);
  const Units turned({layer("b.weight", 4, 9), layer("b", 2, 9)});
  CHECK(turned.find("b") == &turned.layers()[1]);
  for (const char* name : {"c.weight", "a.", "a.weigh", "", "weight", ".weight", "a.weight.weight", "A"}) {
    INFO(name);
    CHECK(units.find(name) == nullptr);
  }

  CHECK(units.index("a", 2) == 2);
  CHECK(units.index("b.weight", 0) == 5);
  Index index = 0;
  for (const Layer& each : units.layers()) {
    for (Index channel = 0; channel < each.count; ++channel, ++index)
      CHECK(units.index(each.name, channel) == index);
  }
  for (const Index channel : {Index{-1}, Index{3}, std::numeric_limits<Index>::max()}) {
    const Error error = error_of([&] { (void)units.index("a", channel); });
    CHECK(error.code() == ErrorCode::argument);
    CHECK(error.place() == "a.weight");
    CHECK(error.expected() == "a channel below 3");
    CHECK(error.came() == std::to_string(channel));
  }
  CHECK(error_of([&] { (void)units.index("d", 0); }).place() == "d");

  const auto shared = std::make_shared<const Units>(units);
  CHECK(units_of(Profile(shared, vector({1, 9, 2, 5, 9, 0, 4, 3, 1, 7})).top(2, "a")) ==
        std::vector<Index>{1, 2});
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
