// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "examples/explained_sample.hpp"
#include "examples/svg_parts.hpp"
#include "examples/well_formed.hpp"
#include "figures/profile_figure.hpp"
#include "figures/report_page.hpp"
#include "figures/top_units.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/not_finite.hpp"

namespace {

using namespace culprit;
using figures::LayerSpan;
using figures::ProfileOptions;
using figures::Series;
using test::error_of;
using test::explained_sample;
using test::flaw;
using test::infinity;
using test::not_a_number;
using test::numbers;
using test::stretches;

std::vector<double> noise(std::size_t count, std::uint32_t salt = 0) {
  std::mt19937 random(test::seed() + salt);
  std::normal_distribution<double> normal;
  std::vector<double> values(count);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

/// As many layers as asked for in a CIFAR ResNet's manner: "layerS.B.convC.weight" with 16, 32 and 64
/// filters.
std::vector<LayerSpan> resnet_layers(std::size_t blocks) {
  std::vector<LayerSpan> layers{{"conv1.weight", 0, 16}};
  for (std::size_t stage = 1; stage <= 3; ++stage) {
    for (std::size_t block = 0; block < blocks; ++block) {
      for (const std::string_view convolution : {"conv1", "conv2"}) {
        const LayerSpan& last = layers.back();
        layers.push_back({"layer" + std::to_string(stage) + '.' + std::to_string(block) + '.' +
                              std::string{convolution} + ".weight",
                          last.first + last.count, std::size_t{8} << stage});
      }
    }
  }
  return layers;
}

std::size_t units_of(const std::vector<LayerSpan>& layers) {
  return layers.back().first + layers.back().count;
}

const std::vector<LayerSpan> three_layers{{"a.weight", 0, 2}, {"b.weight", 2, 1}, {"c.weight", 3, 5}};
const std::vector<double> eight_values{1, 4, -1, 0.5, 3, 2, -2, 2};

}  // namespace

TEST_CASE("thinning a curve keeps its ends and extremes within the budget", "[figures]") {
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{4}, std::size_t{5},
                                  std::size_t{37}, std::size_t{38}, std::size_t{1000}, std::size_t{26560}}) {
    for (const std::size_t budget : {std::size_t{0}, std::size_t{4}, std::size_t{37}, std::size_t{2000}}) {
      CAPTURE(count, budget);
      const std::vector<double> values = noise(count, static_cast<std::uint32_t>(count));
      const std::vector<std::size_t> kept = figures::decimated(values, budget);
      CHECK(kept.size() <= std::max(budget, std::size_t{4}));
      CHECK(std::adjacent_find(kept.begin(), kept.end(), std::greater_equal<>{}) == kept.end());
      if (count <= budget) CHECK(kept.size() == count);
      if (count == 0) continue;
      const auto [low, high] = std::minmax_element(values.begin(), values.end());
      for (const auto position : {values.begin(), low, high, values.end() - 1}) {
        CHECK(std::find(kept.begin(), kept.end(), static_cast<std::size_t>(position - values.begin())) !=
              kept.end());
      }
    }
  }
}

TEST_CASE("a profile figure gives layers width by their filters, or all the same", "[figures]") {
  const std::vector<Series> series{{"one", eight_values}};
  const std::string layer = R"re(<rect class="(?:even|odd)" x="([0-9.]+)" y="[0-9.]+" width="([0-9.]+)")re";

  const std::string by_filters = figures::profile_svg(three_layers, series, {.title = "t"});
  const auto wide = numbers(by_filters, layer);
  REQUIRE(wide.size() == 3);
  const double filter = wide[1][1];
  CHECK(wide[0][1] == Approx(2 * filter).margin(0.02));
  CHECK(wide[2][1] == Approx(5 * filter).margin(0.05));

  const auto equal = numbers(figures::layer_profile_svg(three_layers, series, {.title = "t"}), layer);
  REQUIRE(equal.size() == 3);
  CHECK(equal[0][1] == Approx(equal[1][1]).margin(0.02));
  CHECK(equal[1][1] == Approx(equal[2][1]).margin(0.02));

  for (const auto& layers : {wide, equal}) {
    for (std::size_t i = 1; i < 3; ++i)
      CHECK(layers[i][0] == Approx(layers[i - 1][0] + layers[i - 1][1]).margin(0.02));
    CHECK(layers[2][0] + layers[2][1] == Approx(960 - 16).margin(0.02));
  }

  const auto curve = stretches(by_filters, "curve line-0");
  REQUIRE(curve.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(curve[i].front().x >= wide[i][0] - 0.1);
    CHECK(curve[i].back().x <= wide[i][0] + wide[i][1] + 0.1);
  }
  CHECK(curve[1].front().x == Approx(wide[1][0]).margin(0.1));
  CHECK(curve[1].back().x == Approx(wide[1][0] + wide[1][1]).margin(0.1));
}

TEST_CASE("a profile figure draws each layer's filters from the largest value down", "[figures]") {
  const std::vector<Series> series{{"one", eight_values}};
  const std::string svg = figures::profile_svg(three_layers, series, {.title = "t"});
  const auto curve = stretches(svg, "curve line-0");
  REQUIRE(curve.size() == 3);
  const std::vector<std::vector<double>> sorted{{4, 1}, {-1, -1}, {3, 2, 2, 0.5, -2}};
  const double top = curve[0][0].y;
  const double unit = (curve[2].back().y - top) / 6;
  for (std::size_t i = 0; i < 3; ++i) {
    REQUIRE(curve[i].size() == sorted[i].size());
    for (std::size_t j = 0; j < sorted[i].size(); ++j) {
      CHECK(curve[i][j].y == Approx(top + (4 - sorted[i][j]) * unit).margin(0.11));
    }
  }
}

TEST_CASE("layers' names lose a common start only where groups are left to tell apart", "[figures]") {
  const std::vector<Series> series{{"one", eight_values}};
  const auto named = [&](const std::string& a, const std::string& b, const std::string& c) {
    return figures::profile_svg(std::vector<LayerSpan>{{a, 0, 2}, {b, 2, 1}, {c, 3, 5}}, series,
                                {.title = "t"});
  };
  CHECK(named("features.0.weight", "features.3.weight", "features.6.weight").find(">features<") !=
        std::string::npos);
  const std::string wrapped = named("net.stem.weight", "net.block.a.weight", "net.block.b.weight");
  CHECK(wrapped.find(">net<") == std::string::npos);
  CHECK(wrapped.find(">block<") != std::string::npos);
}

TEST_CASE("series keep their order in the legend, in front of one another and in their styles", "[figures]") {
  const std::vector<double> other(8, 0.25);
  const std::vector<Series> series{{"first & foremost", eight_values}, {"second", other}};
  for (const std::string& svg : {figures::profile_svg(three_layers, series, {.title = "t"}),
                                 figures::layer_profile_svg(three_layers, series, {.title = "t"})}) {
    CHECK(flaw(svg) == "");
    const std::size_t first = svg.find(">first &amp; foremost</text>");
    const std::size_t second = svg.find(">second</text>");
    CHECK(first < second);
    CHECK(second != std::string::npos);
    CHECK(svg.rfind("line-0\"") < svg.rfind("line-1\""));
    CHECK(svg.rfind("line-1\"") != std::string::npos);
    CHECK(svg.find("first & foremost") == std::string::npos);
  }
}

TEST_CASE("the heavy line of the equal-width figure joins the layers' means, the band goes around it",
          "[figures]") {
  const std::vector<double> lower{2, -1.5, 0};
  const std::vector<double> upper{3, -0.5, 2};
  const std::vector<Series> series{{"one", eight_values, lower, upper}};
  const std::string svg = figures::layer_profile_svg(three_layers, series, {.title = "t"});
  const auto fine = stretches(svg, "fine line-0");
  const auto mean = stretches(svg, "mean line-0");
  const auto band = stretches(svg, "area fill-0");
  REQUIRE(mean.size() == 1);
  REQUIRE(mean[0].size() == 3);
  REQUIRE(band.size() == 1);
  REQUIRE(band[0].size() == 6);
  const double unit = (fine[0][1].y - fine[0][0].y) / 3;
  const auto y = [&](double value) { return Approx(fine[0][0].y + (4 - value) * unit).margin(0.2); };
  CHECK(mean[0][0].y == y(2.5));
  CHECK(mean[0][1].y == y(-1));
  CHECK(mean[0][2].y == y(1.1));
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(band[0][i].y == y(upper[i]));
    CHECK(band[0][5 - i].y == y(lower[i]));
    CHECK(band[0][i].x == Approx(mean[0][i].x).margin(0.01));
  }
}

TEST_CASE("a figure of 26,560 filters stays small and still shows the largest", "[figures]") {
  std::vector<LayerSpan> layers;
  for (std::size_t i = 0; i < 52; ++i) layers.push_back({"layer" + std::to_string(i), 510 * i, 510});
  layers.push_back({"fc", 510 * 52, 26560 - 510 * 52});
  std::vector<double> values = noise(units_of(layers));
  REQUIRE(values.size() == 26560);
  values[12345] = 9;
  const std::vector<Series> series{{"one", values}};
  for (const bool equal : {false, true}) {
    const ProfileOptions options{.title = "t", .marked = {12345}};
    const std::string svg = equal ? figures::layer_profile_svg(layers, series, options)
                                  : figures::profile_svg(layers, series, options);
    CHECK(svg.size() < 100'000);
    std::size_t points = 0;
    double highest = infinity;
    for (const auto& stretch : stretches(svg, "curve line-0")) {
      points += stretch.size();
      for (const figures::Point& point : stretch) highest = std::min(highest, point.y);
    }
    CHECK(points <= 2000);
    CHECK(points > 1500);
    const auto dots = numbers(
        svg, R"re(<circle class="dot fill-0" cx="([0-9.]+)" cy="([0-9.]+)" r="4.5"><title>1. layer24:105)re");
    REQUIRE(dots.size() == 1);
    CHECK(dots[0][1] == Approx(highest).margin(0.06));
  }
}

TEST_CASE("units left out of a profile figure do not change it", "[figures]") {
  std::vector<double> values = eight_values;
  const std::vector<Series> series{{"one", values}};
  const ProfileOptions options{
      .title = "t", .left_out = {2, 4, 6}, .left_out_name = "dead filters are left out"};
  const std::string before = figures::profile_svg(three_layers, series, options);
  const std::string before_equal = figures::layer_profile_svg(three_layers, series, options);
  values[2] = 1000;
  values[4] = -1000;
  CHECK(figures::profile_svg(three_layers, series, options) == before);
  CHECK(figures::layer_profile_svg(three_layers, series, options) == before_equal);
  CHECK(before.find("3 dead filters are left out.") != std::string::npos);
  CHECK(stretches(before, "curve line-0").size() == 2);
  const ProfileOptions nothing_left{.title = "t", .left_out = {0, 1, 2, 3, 4, 5, 6, 7}};
  CHECK(flaw(figures::layer_profile_svg(three_layers, series, nothing_left)) == "");
}

TEST_CASE("names of 19, 55 and 111 layers do not collide on wide and narrow figures", "[figures]") {
  for (const std::size_t blocks : {std::size_t{3}, std::size_t{9}, std::size_t{18}}) {
    const std::vector<LayerSpan> layers = resnet_layers(blocks);
    const std::vector<double> values = noise(units_of(layers));
    const std::vector<Series> series{{"one", values}};
    for (const double width : {400.0, 960.0}) {
      for (const bool equal : {false, true}) {
        CAPTURE(blocks, width, equal);
        const ProfileOptions options{.title = "t", .width = width};
        const std::string svg = equal ? figures::layer_profile_svg(layers, series, options)
                                      : figures::profile_svg(layers, series, options);
        CHECK(flaw(svg) == "");
        auto places = numbers(svg, R"re(<text class="label" transform="translate\(([0-9.]+) )re");
        CHECK(places.size() >= 10);
        std::sort(places.begin(), places.end());
        for (std::size_t i = 1; i < places.size(); ++i)
          CHECK(places[i][0] - places[i - 1][0] >= figures::Svg::label_size);
        for (const std::string_view stage : {">layer1</text>", ">layer2</text>", ">layer3</text>"}) {
          CHECK(svg.find(stage) != std::string::npos);
        }
        CHECK(svg.find(">0.conv1</text>") != std::string::npos);
        CHECK(svg.find("weight</text>") == std::string::npos);
      }
    }
  }
}

TEST_CASE("the bold words of a title stay within the figure", "[figures]") {
  const std::vector<Series> series{{"one", eight_values}};
  const std::string title = "Change of the confidence in the wrong class when filters are pruned";
  for (const double width : {320.0, 400.0, 500.0}) {
    const std::string svg = figures::profile_svg(three_layers, series, {.title = title, .width = width});
    const std::regex heading("<text class=\"heading\"[^>]*>([^<]*)<");
    for (std::sregex_iterator it(svg.begin(), svg.end(), heading), last; it != last; ++it) {
      CHECK(figures::text_width((*it)[1].str(), figures::Svg::heading_size) <= width - 32);
    }
  }
}

TEST_CASE("a logarithmic profile figure has decades and puts zeros on the lowest", "[figures]") {
  const std::vector<double> values{100, 10, 0, 1, 0.1, 1, 1, 0.1};
  const std::vector<Series> series{{"one", values}};
  const std::string svg = figures::profile_svg(three_layers, series, {.title = "t", .log = true});
  const auto curve = stretches(svg, "curve line-0");
  REQUIRE(curve.size() == 3);
  const double decade = curve[0][1].y - curve[0][0].y;
  CHECK(decade > 20);
  CHECK(curve[2][0].y == Approx(curve[0][1].y + decade).margin(0.11));
  CHECK(curve[2].back().y == Approx(curve[0][1].y + 2 * decade).margin(0.11));
  CHECK(curve[1][0].y == Approx(curve[2].back().y).margin(0.11));
  for (const std::string_view label : {">10⁻¹</text>", ">10⁰</text>", ">10¹</text>", ">10²</text>"}) {
    CHECK(svg.find(label) != std::string::npos);
  }
  const std::vector<double> zeros(8, 0.0);
  const std::vector<Series> nothing{{"one", zeros}};
  CHECK(error_of([&] { figures::profile_svg(three_layers, nothing, {.title = "t", .log = true}); }).code() ==
        ErrorCode::argument);
  CHECK(flaw(figures::profile_svg(three_layers, nothing, {.title = "t"})) == "");
}

TEST_CASE("value axes of any size are labelled with few digits and say the factor", "[figures]") {
  for (const double size : {1e-300, 3e-9, 0.02, 1.0, 7.0, 9000.0, 2.5e7, 1e299}) {
    CAPTURE(size);
    const figures::ValueAxis axis = figures::ValueAxis::linear(-size / 3, size, 0, 300);
    CHECK(axis.ticks().size() >= 4);
    CHECK(axis.ticks().size() <= 12);
    for (const figures::Tick& tick : axis.ticks()) {
      CHECK(figures::text_width(tick.label, 1) <= figures::text_width("−0.005", 1));
      CHECK(axis.y(tick.value) >= -1e-9);
      CHECK(axis.y(tick.value) <= 300 + 1e-9);
    }
    CHECK(axis.factor().empty() == (size >= 0.02 && size < 10000));
  }
  CHECK(figures::ValueAxis::linear(0, 3e-9, 0, 300).factor() == " (× 10⁻⁹)");
  CHECK(error_of([] { figures::ValueAxis::linear(-1.5e308, 1.5e308, 0, 300); }).code() == ErrorCode::numeric);
}

TEST_CASE("the smallest and largest doubles are drawn at finite places", "[figures]") {
  for (const double size : {5e-324, 1e-310, 1e299}) {
    CAPTURE(size);
    const std::vector<double> values{size, 0, size, -size, 0, size, size, size};
    const std::vector<Series> series{{"one", values}};
    const std::vector<figures::BlamedUnit> units{{"a", 0, size, size}, {"b", 0, -size, size}};
    for (const std::string& svg : {figures::profile_svg(three_layers, series, {.title = "t"}),
                                   figures::profile_svg(three_layers, series, {.title = "t", .log = true}),
                                   figures::layer_profile_svg(three_layers, series, {.title = "t"}),
                                   figures::top_units_svg(units, {.title = "t"})}) {
      CHECK_FALSE(std::regex_search(svg, std::regex("[ \"ML-](inf|nan)")));
      CHECK(flaw(svg) == "");
    }
  }
}

TEST_CASE("figures have the same bytes for the same input", "[figures]") {
  const std::vector<LayerSpan> layers = resnet_layers(3);
  const std::vector<double> values = noise(units_of(layers));
  const std::vector<Series> series{{"one", values}};
  const ProfileOptions options{.title = "t", .marked = {3, 1, 2}};
  CHECK(figures::profile_svg(layers, series, options) == figures::profile_svg(layers, series, options));
  figures::ReportPage page{.title = "t", .lead = "l", .samples = {explained_sample()}};
  CHECK(figures::report_html(page) == figures::report_html(page));
}

TEST_CASE("profile figures refuse values that are no numbers and name the filter", "[figures]") {
  for (const double bad : {not_a_number, infinity, -infinity}) {
    std::vector<double> values = eight_values;
    values[4] = bad;
    const std::vector<Series> series{{"fine", eight_values}, {"broken", values}};
    const Error error = error_of([&] { figures::profile_svg(three_layers, series, {.title = "t"}); });
    CHECK(error.code() == ErrorCode::numeric);
    CHECK(error.place() == "series broken, c.weight:1");
    CHECK(error.came() == (std::isnan(bad) ? "NaN" : "infinity"));

    const std::vector<double> ends{1, bad, 1};
    const std::vector<double> good{1, 1, 1};
    const std::vector<Series> band{{"one", eight_values, good, ends}};
    const Error in_band = error_of([&] { figures::layer_profile_svg(three_layers, band, {.title = "t"}); });
    CHECK(in_band.code() == ErrorCode::numeric);
    CHECK(in_band.place() == "upper end of the band of one, b.weight");
  }
}

TEST_CASE("profile figures refuse what does not fit together", "[figures]") {
  const std::vector<Series> series{{"one", eight_values}};
  const std::vector<LayerSpan> none;
  const std::vector<LayerSpan> empty_layer{{"a.weight", 0, 0}};
  const std::vector<LayerSpan> more{{"a.weight", 0, 9}};
  const std::vector<Series> half_band{{"one", eight_values, eight_values, {}}};
  const auto code = [](const std::vector<LayerSpan>& layers, const std::vector<Series>& all,
                       const ProfileOptions& options) {
    return error_of([&] { figures::profile_svg(layers, all, options); }).code();
  };
  CHECK(code(none, series, {.title = "t"}) == ErrorCode::argument);
  CHECK(code(three_layers, {}, {.title = "t"}) == ErrorCode::argument);
  CHECK(code(empty_layer, series, {.title = "t"}) == ErrorCode::argument);
  CHECK(code(more, series, {.title = "t"}) == ErrorCode::shape);
  CHECK(code(three_layers, half_band, {.title = "t"}) == ErrorCode::shape);
  CHECK(code(three_layers, series, {.title = "t", .marked = {8}}) == ErrorCode::argument);
  CHECK(code(three_layers, series, {.title = "t", .left_out = {8}}) == ErrorCode::argument);
}
