// SPDX-License-Identifier: MIT
// What holds for every selection.
#include <random>
#include <set>

#include "engine/nets.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

/// Layers "a.weight" to "d.weight" with 3, 1, 4 and 2 units.
std::shared_ptr<const Units> four_layers() {
  std::vector<Layer> layers;
  for (const auto& [name, count] : {std::pair("a", 3), {"b", 1}, {"c", 4}, {"d", 2}}) {
    Layer layer;
    layer.name = std::string(name) + ".weight";
    layer.count = count;
    layer.size = 9;
    layers.push_back(layer);
  }
  return std::make_shared<const Units>(std::move(layers));
}

Profile profile_of(std::initializer_list<double> values) {
  return {four_layers(),
          Eigen::Map<const Eigen::VectorXd>(values.begin(), static_cast<Index>(values.size()))};
}

const Profile& distinct() {
  static const Profile profile = profile_of({5, 1, 9, -2, 7, 0, 3, 8, -4, 6});
  return profile;
}

const Profile& tied() {
  static const Profile profile = profile_of({0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  return profile;
}

/// A selection of the role with something to do, and how many units it takes from all ten.
template <class S>
std::pair<S, Index> example() {
  if constexpr (requires { S::count; }) {
    return {S{.count = 4}, 4};
  } else if constexpr (std::is_same_v<S, select::Given>) {
    return {S{{7, 2, 2, 9}}, 3};
  } else if constexpr (std::is_same_v<S, select::Except>) {
    return {S{{7, 2, 2, 9}}, 7};
  } else if constexpr (std::is_same_v<S, select::LayerRange>) {
    return {S{.after = "a"}, 7};
  } else if constexpr (std::is_same_v<S, select::Within<select::Top, select::LayerRange>>) {
    return {S{select::Top{.count = 2}, select::LayerRange{.pattern = "[ac]"}}, 2};
  } else {
    return {S{}, static_cast<Index>(distinct().select(S{}).size())};
  }
}

using Units10 = std::vector<Index>;

}  // namespace

TEMPLATE_LIST_TEST_CASE("A selection takes its exact number of candidates, each once, the same every time",
                        "[laws]", Selections) {
  const auto [selection, size] = example<TestType>();
  for (const Profile* profile : {&distinct(), &tied()}) {
    const std::vector<Index> taken = profile->select(selection);
    CHECK(static_cast<Index>(taken.size()) == size);
    const std::set<Index> each(taken.begin(), taken.end());
    CHECK(each.size() == taken.size());
    CHECK((*each.begin() >= 0 && *each.rbegin() < profile->size()));
    CHECK(profile->select(selection) == taken);
    // Of fewer candidates none but these, and never more than there are.
    const std::vector<Index> few{1, 4, 5};
    const std::vector<Index> of_few = selection(*profile, few);
    CHECK(of_few.size() <= few.size());
    for (const Index unit : of_few) CHECK(std::ranges::count(few, unit) == 1);
    CHECK(std::set<Index>(of_few.begin(), of_few.end()).size() == of_few.size());
    CHECK(selection(*profile, std::span<const Index>()).empty());
  }
  const TestType other{};
  if (distinct().select(other) != distinct().select(selection)) CHECK(describe(other) != describe(selection));
}

TEMPLATE_LIST_TEST_CASE("A selection with a count takes all where there are fewer, and refuses one below 0",
                        "[laws]", Selections) {
  if constexpr (requires { TestType::count; }) {
    CHECK(distinct().select(TestType{.count = 100}).size() == 10);
    CHECK(distinct().select(TestType{.count = 0}).empty());
    CHECK(error_of([] { (void)distinct().select(TestType{.count = -1}); }).code() == ErrorCode::argument);
    CHECK(describe(TestType{.count = 4}) != describe(TestType{.count = 5}));
  } else {
    SUCCEED("a selection without count");
  }
}

TEST_CASE("The top is the order of blame, and the bottom its end backwards", "[laws]") {
  CHECK(distinct().select(select::Top{.count = 3}) == Units10{2, 7, 4});
  CHECK(distinct().select(select::Bottom{.count = 3}) == Units10{8, 3, 5});
  CHECK(tied().select(select::Top{.count = 3}) == Units10{0, 1, 2});
  CHECK(tied().select(select::Bottom{.count = 3}) == Units10{9, 8, 7});
  Units10 all = distinct().select(select::Top{.count = 10});
  std::ranges::reverse(all);
  CHECK(distinct().select(select::Bottom{.count = 10}) == all);
  const Profile with_nan = profile_of({5, 1, 9, -2, std::nan(""), 0, 3, 8, -4, 6});
  CHECK(error_of([&] { (void)with_nan.select(select::Top{}); }).place() == "unit 4");
  CHECK(with_nan.select(select::Within{select::Top{.count = 1}, select::Except{{4}}}) == Units10{2});
}

TEST_CASE("A random selection is uniform, repeatable, and follows its seed", "[laws]") {
  constexpr int draws = 4000;
  std::array<int, 10> times{};
  std::set<Units10> different;
  for (std::uint64_t seed = 0; seed < draws; ++seed) {
    const Units10 taken = tied().select(select::Random{.count = 3, .seed = seed});
    for (const Index unit : taken) ++times[static_cast<std::size_t>(unit)];
    different.insert(taken);
    CHECK(std::ranges::is_sorted(taken));
  }
  CHECK(different.size() == 120);  // all ten over three
  // Binomial with p = 0.3: five deviations are sqrt(draws * 0.21) * 5.
  for (const int count : times) CHECK(std::abs(count - 0.3 * draws) < 5 * std::sqrt(draws * 0.21));
  CHECK(distinct().select(select::Random{.count = 3, .seed = 5}) ==
        tied().select(select::Random{.count = 3, .seed = 5}));
}

TEST_CASE("A layer range goes by number, by name, and by where it begins and ends", "[laws]") {
  using select::LayerRange;
  const auto units = [](const LayerRange& range) { return distinct().select(range); };
  const Units10 all{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  CHECK(units({}) == all);
  CHECK(units({.first = 1, .end = 3}) == Units10{3, 4, 5, 6, 7});
  CHECK(units({.end = 1}) == Units10{0, 1, 2});
  CHECK(units({.first = 3}) == Units10{8, 9});
  CHECK(units({.pattern = "*"}) == all);
  CHECK(units({.pattern = "[bd].weight"}) == Units10{3, 8, 9});
  CHECK(units({.pattern = "?"}) == all);
  CHECK(units({.up_to = "b"}) == Units10{0, 1, 2, 3});
  CHECK(units({.up_to = "b.weight"}) == Units10{0, 1, 2, 3});
  CHECK(units({.after = "b"}) == Units10{4, 5, 6, 7, 8, 9});
  CHECK(units({.up_to = "c", .after = "a"}) == Units10{3, 4, 5, 6, 7});
  CHECK(units({.first = 2, .pattern = "[ac]"}) == Units10{4, 5, 6, 7});
  // Up to and after a layer part all units in two.
  Units10 both = units({.up_to = "c"});
  for (const Index unit : units({.after = "c"})) both.push_back(unit);
  CHECK(both == all);

  CHECK(LayerRange{}.description() == "all layers");
  CHECK(LayerRange{.first = 1, .end = 3, .pattern = "x*", .up_to = "c", .after = "a"}.description() ==
        "from layer 1, before layer 3, named like x*, up to c, after a");
  for (const LayerRange& wrong : {LayerRange{.up_to = "z"}, LayerRange{.after = "d"}, LayerRange{.first = 4},
                                  LayerRange{.pattern = "z*"}, LayerRange{.first = 2, .end = 2}}) {
    const Error error = error_of([&] { (void)units(wrong); });
    CHECK(error.code() == ErrorCode::argument);
    CHECK(error.place() == "layer range");
  }
  CHECK(error_of([&] { (void)units({.after = "z"}); }).came() == "z");
}

TEST_CASE("Selections go within each other", "[laws]") {
  using namespace select;
  CHECK(distinct().select(Within{Top{.count = 2}, LayerRange{.pattern = "c"}}) == Units10{7, 4});
  CHECK(distinct().select(Within{Bottom{.count = 1}, LayerRange{.up_to = "b"}}) == Units10{3});
  CHECK(distinct().select(Within{Top{.count = 2}, Within{Except{{7}}, LayerRange{.pattern = "c"}}}) ==
        Units10{4, 6});
  CHECK(distinct().select(Within{LayerRange{.up_to = "c"}, Top{.count = 3}}) == Units10{2, 4, 7});
  CHECK(describe(Within{Top{.count = 2}, LayerRange{.up_to = "b"}}) == "top 2 within up to b");
  CHECK(describe(Given{{7, 2, 2, 9}}) == "given units 2, 7, 9");
  CHECK(describe(Except{{7}}) == "except unit 7");
  CHECK(describe(Given{}) == "given no units");
  const Units10 all{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  CHECK(describe(Given{all}).starts_with("given units 0, 1, 2, 3, 4, 5, 6, 7 and 2 more ("));
  CHECK(describe(Given{all}) != describe(Given{{0, 1, 2, 3, 4, 5, 6, 7, 8, 10}}));
  CHECK(error_of([] { (void)distinct().select(Given{{10}}); }).code() == ErrorCode::argument);
  CHECK(error_of([] { (void)distinct().select(Except{{-1}}); }).code() == ErrorCode::argument);
}
