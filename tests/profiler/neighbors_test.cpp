// SPDX-License-Identifier: MIT
#include <numeric>
#include <random>

#include "engine/nets.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

using Lists = std::vector<std::vector<Neighbor>>;

std::shared_ptr<const Units> some_units(const std::vector<Index>& counts) {
  std::vector<Layer> layers(counts.size());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    layers[i].name = std::string(1, static_cast<char>('a' + i));
    layers[i].count = counts[i];
    layers[i].size = 9;
  }
  return std::make_shared<const Units>(layers);
}

/// A table of profiles as a store has it, [n, units].
template <class T>
struct Table {
  Table(std::shared_ptr<const Units> of, Index n) : units(std::move(of)), count(n) {
    std::mt19937 engine(seed());
    std::normal_distribution<double> draw;
    values.resize(static_cast<std::size_t>(n * units->size()));
    // Rows of a few common directions, so that near ones are near.
    const std::vector<T> centres = [&] {
      std::vector<T> all(static_cast<std::size_t>(20 * units->size()));
      for (T& value : all) value = static_cast<T>(draw(engine));
      return all;
    }();
    for (Index row = 0; row < n; ++row) {
      const double scale = std::exp(draw(engine));
      const T* centre = centres.data() + static_cast<Index>(engine() % 20) * units->size();
      for (Index k = 0; k < units->size(); ++k)
        at(row)[k] = static_cast<T>(scale * (static_cast<double>(centre[k]) + draw(engine)));
    }
  }

  [[nodiscard]] T* at(Index row) { return values.data() + row * units->size(); }
  void copy(Index from, Index to) { std::copy_n(at(from), units->size(), at(to)); }
  void clear(Index row) { std::fill_n(at(row), units->size(), T{0}); }
  [[nodiscard]] ProfileRows rows() const {
    ProfileRows result(units);
    const std::size_t first = values.size() / 3 / static_cast<std::size_t>(units->size());
    const std::span<const T> all(values);
    result.append(all.first(first * static_cast<std::size_t>(units->size())));  // in two tables
    result.append(all.subspan(first * static_cast<std::size_t>(units->size())));
    return result;
  }

  std::shared_ptr<const Units> units;
  Index count;
  std::vector<T> values;
};

/// 1 - cosine of all pairs in float64 from its definition, the k smallest, ties by index.
/// @param first, end  the units that count
template <class T>
Lists by_brute_force(Table<T>& table, const std::vector<Index>& queries, const NeighborOptions& options,
                     Index first, Index end) {
  RowMatrix unit(table.count, end - first);
  for (Index row = 0; row < table.count; ++row) {
    for (Index k = first; k < end; ++k) unit(row, k - first) = static_cast<double>(table.at(row)[k]);
    const double length = unit.row(row).norm();
    if (length > 0.0) unit.row(row) /= length;
  }
  Lists all;
  for (std::size_t q = 0; q < queries.size(); ++q) {
    std::vector<Neighbor> found;
    for (const Index row : options.among.value_or(first_indices(table.count))) {
      if (!options.leave_out.empty() && options.leave_out[q] == row) continue;
      const bool zero = unit.row(row).isZero(0.0);
      const bool both = zero && unit.row(queries[q]).isZero(0.0);
      const double half = 0.5 * (unit.row(queries[q]) - unit.row(row)).squaredNorm();
      found.push_back({row, both ? 0.0 : (zero || unit.row(queries[q]).isZero(0.0) ? 1.0 : half)});
    }
    std::ranges::stable_sort(found, {}, &Neighbor::distance);
    found.resize(std::min(found.size(), static_cast<std::size_t>(options.k)));
    all.push_back(std::move(found));
  }
  return all;
}

void check_equal(const Lists& came, const Lists& expected) {
  REQUIRE(came.size() == expected.size());
  for (std::size_t query = 0; query < came.size(); ++query) {
    INFO("query " << query);
    REQUIRE(came[query].size() == expected[query].size());
    for (std::size_t rank = 0; rank < came[query].size(); ++rank) {
      INFO("rank " << rank);
      REQUIRE(came[query][rank].index == expected[query][rank].index);
      REQUIRE(came[query][rank].distance == Approx(expected[query][rank].distance).margin(1e-14));
    }
  }
}

std::vector<Index> every(Index step, Index count) {
  std::vector<Index> rows;
  for (Index row = 0; row < count; row += step) rows.push_back(row);
  return rows;
}

/// 1 - cos by the general way: a distance that is not distance::Cosine.
struct SlowCosine {
  static constexpr std::string_view name = "slow_cosine";
  double operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const {
    return distance::Cosine{}(a, b);
  }
};

}  // namespace

TEST_CASE("Neighbors are the nearest profiles by distance and layers", "[neighbors]") {
  std::vector<Layer> layers(2);
  for (std::size_t i = 0; i < 2; ++i) {
    layers[i].name = i == 0 ? "a" : "b";
    layers[i].count = 2;
    layers[i].size = 9;
  }
  const auto units = std::make_shared<const Units>(layers);
  const auto profile = [&](double a, double b, double c, double d) {
    return Profile(units, Eigen::Vector4d(a, b, c, d));
  };
  const Profile query = profile(1, 0, 0, 1);
  const std::vector<Profile> profiles{profile(0, 1, 0, 1), profile(2, 0, 0, 2), profile(1, 0, 1, 0),
                                      profile(1, 0, 0, 1), profile(-1, 0, 0, -1)};
  const auto indices = [](const std::vector<Neighbor>& found) {
    std::vector<Index> all;
    for (const Neighbor& each : found) all.push_back(each.index);
    return all;
  };
  CHECK(indices(Neighbors{}(query, profiles, 5)) == std::vector<Index>{1, 3, 0, 2, 4});
  CHECK(indices(Neighbors{distance::Euclidean{}}(query, profiles, 2)) == std::vector<Index>{3, 0});
  CHECK(indices(Neighbors{distance::Cosine{}, {.pattern = "a"}}(query, profiles, 3)) ==
        std::vector<Index>{1, 2, 3});
  CHECK(indices(Neighbors{distance::Cosine{}, {.after = "a"}}(query, profiles, 3)) ==
        std::vector<Index>{0, 1, 3});
  const auto found = Neighbors{}(query, profiles, 5);
  CHECK(found[0].distance == 0.0);
  CHECK(found[2].distance == Approx(0.5).epsilon(1e-14));
  CHECK(found[4].distance == Approx(2.0).epsilon(1e-14));
  CHECK(Neighbors{}(query, profiles, 99).size() == 5);
  layers.pop_back();
  const Profile other(std::make_shared<const Units>(layers), Eigen::Vector2d(1, 0));
  const Error error = error_of([&] { (void)Neighbors{}(query, std::vector{other}, 1); });
  CHECK(error.code() == ErrorCode::shape);
  CHECK(error.place() == "profile 0");
  const Error no_number = error_of([&] {
    (void)Neighbors{}(query, std::vector{query, profile(std::nan(""), 0, 0, 1)}, 1);
  });
  CHECK(no_number.code() == ErrorCode::numeric);
  CHECK(no_number.place() == "profile 1");
}

TEMPLATE_TEST_CASE("Neighbors by matrix products are those of a float64 search one by one", "[neighbors]",
                   float, double) {
  Table<TestType> table(some_units({100, 30, 70}), 2000);
  // Equal rows, rows equal but for their length, and zero rows: ties, more than k of them.
  for (Index i = 0; i < 150; ++i) table.copy(0, 3 + 5 * i);
  for (Index i = 0; i < 40; ++i) table.clear(11 + 7 * i);
  for (Index k = 0; k < 200; ++k) table.at(1999)[k] = 2 * table.at(1)[k];
  const ProfileRows rows = table.rows();
  const std::vector<Index> all = first_indices(2000);

  SECTION("each among all others") {
    const NeighborOptions options{.k = 10, .leave_out = all};
    check_equal(Neighbors{}(rows, rows, options), by_brute_force(table, all, options, 0, 200));
  }
  SECTION("on several threads") {
    const NeighborOptions options{.k = 10, .leave_out = all};
    at::set_num_threads(3);
    const Lists came = Neighbors{}(rows, rows, options);
    at::set_num_threads(1);
    check_equal(came, by_brute_force(table, all, options, 0, 200));
  }
  SECTION("itself too") {
    const NeighborOptions options{.k = 3};
    check_equal(Neighbors{}(rows, rows, options), by_brute_force(table, all, options, 0, 200));
  }
  SECTION("some among some others, in a range of layers") {
    const std::vector<Index> queries = every(9, 2000);
    const NeighborOptions options{.k = 25, .among = every(4, 2000), .leave_out = queries};
    check_equal(Neighbors{distance::Cosine{}, {.up_to = "a"}}(rows.subset(queries), rows, options),
                by_brute_force(table, queries, options, 0, 100));
    check_equal(Neighbors{distance::Cosine{}, {.first = 1, .end = 2}}(rows.subset(queries), rows, options),
                by_brute_force(table, queries, options, 100, 130));
  }
  SECTION("a subset among itself") {
    const std::vector<Index> wrong = every(3, 2000);
    const NeighborOptions options{.k = 10, .among = wrong, .leave_out = wrong};
    check_equal(Neighbors{}(rows.subset(wrong), rows, options),
                by_brute_force(table, wrong, options, 0, 200));
  }
  SECTION("more than there are, none, and of none") {
    const std::vector<Index> queries{0, 11, 1999};
    const NeighborOptions options{.k = 5000, .leave_out = queries};
    check_equal(Neighbors{}(rows.subset(queries), rows, options),
                by_brute_force(table, queries, options, 0, 200));
    CHECK((Neighbors{}(rows.subset(queries), rows, {.k = 0}) == Lists(3)));
    CHECK((Neighbors{}(rows.subset(queries), rows, {.among = std::vector<Index>{}}) == Lists(3)));
    CHECK(Neighbors{}(rows.subset({}), rows).empty());
  }
  SECTION("another distance goes the general way") {
    const std::vector<Index> queries = every(50, 2000);
    const NeighborOptions options{.k = 10, .leave_out = queries};
    check_equal(Neighbors{SlowCosine{}}(rows.subset(queries), rows, options),
                by_brute_force(table, queries, options, 0, 200));
  }
}

TEST_CASE("Neighbors are the same where there are more rows than a block holds", "[neighbors]") {
  constexpr Index count = 4500;  // three blocks
  Table<float> table(some_units({12}), count);
  const ProfileRows rows = table.rows();
  const std::vector<Index> all = first_indices(count);
  const NeighborOptions options{.k = 5, .leave_out = all};
  const Lists expected = by_brute_force(table, all, options, 0, 12);
  check_equal(Neighbors{}(rows, rows, options), expected);
  const Table<float> copy = table;  // queries that are not the rows' memory
  check_equal(Neighbors{}(copy.rows(), rows, options), expected);
}

TEST_CASE("Neighbors are found where float32 alone would not tell them apart", "[neighbors]") {
  // Rows around one direction, nearer to each other than float32 can say, and large and small numbers.
  Table<double> table(some_units({50}), 2000);
  std::mt19937 engine(seed());
  std::normal_distribution<double> draw;
  for (Index row = 1; row < table.count; ++row) {
    for (Index k = 0; k < 50; ++k) table.at(row)[k] = table.at(0)[k] + 1e-7 * draw(engine);
  }
  for (Index row = 0; row < table.count; ++row) {
    const double scale = std::exp(100 * draw(engine));
    for (Index k = 0; k < 50; ++k) table.at(row)[k] *= scale;
  }
  const std::vector<Index> queries = every(20, 2000);
  const ProfileRows rows = table.rows();
  const NeighborOptions options{.k = 10, .leave_out = queries};
  const Lists came = Neighbors{}(rows.subset(queries), rows, options);
  const Lists expected = Neighbors{SlowCosine{}}(rows.subset(queries), rows, options);
  REQUIRE((came == expected));
  CHECK(came[0][0].distance < 1e-12);
  CHECK(came[0][0].distance > 0.0);

  at::globalContext().setFloat32MatmulPrecision("medium");
  const Lists rounded = Neighbors{}(rows.subset(queries), rows, options);
  at::globalContext().setFloat32MatmulPrecision("highest");
  CHECK((rounded == expected));
}

TEST_CASE("Neighbors refuse rows that are not there or are no numbers", "[neighbors]") {
  Table<float> table(some_units({2, 3}), 10);
  const std::vector<Index> queries{4, 5};
  const auto message = [&](const NeighborOptions& options, const auto& neighbors) {
    const ProfileRows rows = table.rows();
    return std::string(error_of([&] { (void)neighbors(rows.subset(queries), rows, options); }).what());
  };
  const auto of_cosine = [&](const NeighborOptions& options) { return message(options, Neighbors{}); };
  CHECK(of_cosine({.k = -1}) == "count: expected a number of units >= 0, came -1");
  CHECK(of_cosine({.among = std::vector<Index>{1, 10}}) ==
        "rows to search among: expected ascending numbers below 10, came 10");
  CHECK(of_cosine({.among = std::vector<Index>{3, 3}}) ==
        "rows to search among: expected ascending numbers below 10, came 3");
  CHECK(of_cosine({.leave_out = {1}}) == "rows to leave out: expected 2, one for each query, came 1");
  table.at(7)[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK(of_cosine({.among = std::vector<Index>{2, 7}}) ==
        "profile 7: expected finite numbers, came NaN or infinity");
  CHECK(message({}, Neighbors{distance::Euclidean{}}) ==
        "profile 7: expected a distance from query 0, came NaN");
  CHECK(message({}, Neighbors{distance::Cosine{}, {.after = "b"}}) ==
        "layer range: expected at least one layer of the model, came after b, which none of its 2 layers is "
        "in");
  {  // not looked at
    const ProfileRows rows = table.rows();
    CHECK(Neighbors{}(rows.subset(queries), rows, {.among = std::vector<Index>{2, 6}})[0].size() == 2);
    CHECK(Neighbors{distance::Cosine{}, {.up_to = "a"}}(rows, rows).size() == 10);
  }
  table.at(5)[3] = std::numeric_limits<float>::infinity();
  CHECK(of_cosine({}) == "query 1: expected finite numbers, came NaN or infinity");

  ProfileRows rows(table.units);
  const std::vector<float> part(7);
  CHECK(std::string(error_of([&] { rows.append(std::span<const float>(part)); }).what()) ==
        "table of profiles: expected rows of 5 values, one for each unit, came 7 values");
  CHECK(std::string(error_of([&] { (void)rows.subset(queries); }).what()) ==
        "profile: expected a number below 0, came 4");
  const ProfileRows others(some_units({5}));
  CHECK(error_of([&] { (void)Neighbors{}(others, rows); }).code() == ErrorCode::shape);
}
