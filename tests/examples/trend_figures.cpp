// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "examples/svg_parts.hpp"
#include "examples/well_formed.hpp"
#include "figures/trend_figure.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/not_finite.hpp"

namespace {

using namespace culprit;
using figures::Spacing;
using figures::Tick;
using figures::Trend;
using figures::TrendOptions;
using test::error_of;
using test::flaw;
using test::infinity;
using test::not_a_number;
using test::numbers;
using test::stretches;

const std::vector<Tick> four{{1, "1"}, {10, "10"}, {30, "30"}, {100, "100"}};
const std::vector<double> falling{-0.1, -0.2, -0.3, -0.5};
const std::vector<double> falling_low{-0.15, -0.25, -0.4, -0.6};
const std::vector<double> falling_high{-0.05, -0.15, -0.25, -0.45};
const std::vector<double> flat{0, 0.01, 0.02, 0.1};
const std::vector<Trend> two{{"most <salient>", falling, falling_low, falling_high}, {"random", flat}};

TrendOptions options(Spacing spacing = Spacing::equal, double width = 960) {
  return {.title = "t & u",
          .value_name = "change",
          .position_name = "pruned filters",
          .spacing = spacing,
          .percent = true,
          .band_name = "95 % interval",
          .note = "A note.",
          .width = width};
}

/// Middles and texts of the labels below the axis.
std::vector<std::pair<double, std::string>> labels(const std::string& svg) {
  const std::regex label(
      R"re(<text class="label" x="([0-9.]+)" y="[0-9.]+" text-anchor="middle">([^<]*)<)re");
  std::vector<std::pair<double, std::string>> found;
  for (std::sregex_iterator it(svg.begin(), svg.end(), label), last; it != last; ++it) {
    found.emplace_back(std::stod((*it)[1]), (*it)[2]);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

TEST_CASE("a trend figure draws lines, dots and bands at the values", "[figures]") {
  const std::string svg = figures::trend_svg(four, two, options());
  CHECK(flaw(svg) == "");
  const auto first = stretches(svg, "mean line-0");
  const auto second = stretches(svg, "mean line-1");
  const auto band = stretches(svg, "area fill-0");
  REQUIRE(first.size() == 1);
  REQUIRE(first[0].size() == 4);
  REQUIRE(second.size() == 1);
  REQUIRE(band.size() == 1);
  REQUIRE(band[0].size() == 8);
  CHECK(stretches(svg, "area fill-1").empty());
  const double unit = (first[0][3].y - first[0][0].y) / 0.4;
  const auto y = [&](double value) { return Approx(first[0][0].y - (value + 0.1) * unit).margin(0.2); };
  const auto dots = numbers(svg, R"re(<circle class="dot fill-0" cx="([0-9.]+)" cy="([0-9.]+)")re");
  REQUIRE(dots.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(first[0][i].y == y(falling[i]));
    CHECK(second[0][i].y == y(flat[i]));
    CHECK(band[0][i].y == y(falling_high[i]));
    CHECK(band[0][7 - i].y == y(falling_low[i]));
    CHECK(band[0][7 - i].x == band[0][i].x);
    CHECK(dots[i][0] == Approx(first[0][i].x).margin(0.06));
    CHECK(dots[i][1] == Approx(first[0][i].y).margin(0.06));
  }
  const auto zero = numbers(svg, R"re(<line class="zero" x1="[0-9.]+" y1="([0-9.]+)")re");
  REQUIRE(zero.size() == 1);
  CHECK(zero[0][0] == y(0));
}

TEST_CASE("a trend figure spaces its positions as told", "[figures]") {
  const auto x = [](Spacing spacing) {
    const auto curve = stretches(figures::trend_svg(four, two, options(spacing)), "mean line-0");
    REQUIRE(curve.size() == 1);
    REQUIRE(curve[0].size() == 4);
    std::vector<double> shares;
    for (const figures::Point& point : curve[0]) {
      shares.push_back((point.x - curve[0][0].x) / (curve[0][3].x - curve[0][0].x));
    }
    return shares;
  };
  CHECK(x(Spacing::equal)[1] == Approx(1.0 / 3).margin(1e-3));
  CHECK(x(Spacing::linear)[1] == Approx(9.0 / 99).margin(1e-3));
  CHECK(x(Spacing::linear)[2] == Approx(29.0 / 99).margin(1e-3));
  CHECK(x(Spacing::logarithmic)[1] == Approx(0.5).margin(1e-3));
  CHECK(x(Spacing::logarithmic)[2] == Approx(std::log10(30) / 2).margin(1e-3));
}

TEST_CASE("a trend figure says its values in per cent or as plain numbers", "[figures]") {
  const std::string in_percent = figures::trend_svg(four, two, options());
  for (const std::string_view part :
       {">change (%)</text>", ">−60</text>", ">pruned filters</text>", ">random</text>", "t &amp; u",
        "Shaded: 95 % interval.", "A note.",
        "<title>most &lt;salient&gt;: −30 % (−40 % to −25 %)\npruned filters: 30</title>",
        "<title>pruned filters: 10\nmost &lt;salient&gt;: −20 % (−25 % to −15 %)\nrandom: 1 %</title>"}) {
    CAPTURE(part);
    CHECK(in_percent.find(part) != std::string::npos);
  }
  TrendOptions plain = options();
  plain.percent = false;
  const std::string in_numbers = figures::trend_svg(four, two, plain);
  CHECK(in_numbers.find(">change</text>") != std::string::npos);
  CHECK(in_numbers.find(">−0.6</text>") != std::string::npos);
  CHECK(in_numbers.find("random: 0.10\npruned filters: 100</title>") != std::string::npos);
  const std::vector<Trend> without_band{{"random", flat}};
  CHECK(figures::trend_svg(four, without_band, options()).find("Shaded") == std::string::npos);
}

TEST_CASE("the labels of a trend figure neither touch nor leave the figure", "[figures]") {
  std::vector<Tick> positions;
  std::vector<double> values;
  for (const int k : {1, 2, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 2000}) {
    positions.push_back({static_cast<double>(k), std::to_string(k) + " filters"});
    values.push_back(0.001 * k);
  }
  const std::vector<Trend> trends{{"one", values}};
  for (const Spacing spacing : {Spacing::equal, Spacing::linear, Spacing::logarithmic}) {
    for (const double width : {320.0, 400.0, 960.0}) {
      CAPTURE(static_cast<int>(spacing), width);
      const auto written = labels(figures::trend_svg(positions, trends, options(spacing, width)));
      REQUIRE(written.size() >= 3);
      CHECK(written.front().second == "1 filters");
      CHECK(written.back().second == "2000 filters");
      double end = 0;
      for (const auto& [middle, text] : written) {
        const double half = figures::text_width(text, figures::Svg::label_size) / 2;
        CHECK(middle - half >= end);
        end = middle + half;
      }
      CHECK(end <= width);
    }
  }
}

TEST_CASE("a trend of one position shows its value and its band", "[figures]") {
  const std::vector<Tick> one{{5, "5"}};
  const std::vector<double> value{0.5};
  const std::vector<double> low{0.25};
  const std::vector<double> high{1};
  const std::vector<Trend> trends{{"one", value, low, high}};
  for (const Spacing spacing : {Spacing::equal, Spacing::linear, Spacing::logarithmic}) {
    const std::string svg = figures::trend_svg(one, trends, options(spacing));
    CHECK(flaw(svg) == "");
    CHECK_FALSE(std::regex_search(svg, std::regex("[ \"ML-](inf|nan)")));
    const auto band = stretches(svg, "area fill-0");
    REQUIRE(band.size() == 1);
    REQUIRE(band[0].size() == 4);
    CHECK(band[0][1].x - band[0][0].x > 10);
    CHECK(band[0][0].y == band[0][1].y);
    CHECK(band[0][2].y > band[0][1].y);
    CHECK(svg.find("one: 50 % (25 % to 100 %)") != std::string::npos);
  }
}

TEST_CASE("trend figures have the same bytes for the same input", "[figures]") {
  CHECK(figures::trend_svg(four, two, options()) == figures::trend_svg(four, two, options()));
}

TEST_CASE("trend figures refuse what does not fit together", "[figures]") {
  const auto error = [](const std::vector<Tick>& positions, const std::vector<Trend>& trends,
                        Spacing spacing = Spacing::equal) {
    return error_of([&] { figures::trend_svg(positions, trends, options(spacing)); });
  };
  CHECK(error({}, two).code() == ErrorCode::argument);
  CHECK(error(four, {}).code() == ErrorCode::argument);
  const std::vector<Tick> twice{{1, "a"}, {2, "b"}, {2, "c"}, {3, "d"}};
  CHECK(error(twice, two).code() == ErrorCode::argument);
  CHECK(error(twice, two).place() == "position c");
  const std::vector<Tick> from_zero{{0, "none"}, {1, "b"}, {2, "c"}, {3, "d"}};
  CHECK(error(from_zero, two, Spacing::logarithmic).place() == "position none");
  CHECK(flaw(figures::trend_svg(from_zero, two, options(Spacing::linear))) == "");
  const std::vector<double> three{1, 2, 3};
  CHECK(error(four, {{"short", three}}).code() == ErrorCode::shape);
  CHECK(error(four, {{"half", flat, flat, {}}}).code() == ErrorCode::shape);
  for (const double bad : {not_a_number, infinity, -infinity}) {
    const std::vector<double> broken{0, 1, bad, 0};
    CHECK(error(four, {{"one", broken}}).code() == ErrorCode::numeric);
    CHECK(error(four, {{"one", broken}}).place() == "trend one, 30");
    CHECK(error(four, {{"one", flat, broken, flat}}).place() == "lower end of the band of one, 30");
    CHECK(error({{bad, "x"}, {1, "b"}, {2, "c"}, {3, "d"}}, two).place() == "position x");
  }
}
