// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>
#include <vector>

#include "examples/explained_sample.hpp"
#include "examples/page_parts.hpp"
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
using test::error_of;
using test::explained_sample;
using test::flaw;
using test::infinity;
using test::not_a_number;
using test::numbers;
using test::outward_addresses;

}  // namespace

TEST_CASE("bars are as long as their z, in the given order, negative ones to the left", "[figures]") {
  const std::vector<figures::BlamedUnit> units{
      {"a<b.weight", 3, 4, 0.1}, {"c.weight", 0, 2, 0.2}, {"d.weight", 12, -1, 0.3}};
  for (const double width : {320.0, 640.0}) {
    const std::string svg = figures::top_units_svg(units, {.title = "t", .width = width});
    CHECK(flaw(svg) == "");
    CHECK(svg.find(">a&lt;b:3</text>") < svg.find(">c:0</text>"));
    CHECK(svg.find(">c:0</text>") < svg.find(">d:12</text>"));
    CHECK(svg.find(">−1.00</text>") != std::string::npos);
    const auto bars =
        numbers(svg, R"re(<rect class="fill-0" x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)")re");
    REQUIRE(bars.size() == 3);
    CHECK(bars[0][2] == Approx(4 * bars[2][2]).margin(0.03));
    CHECK(bars[1][2] == Approx(2 * bars[2][2]).margin(0.03));
    CHECK(bars[0][0] == bars[1][0]);
    CHECK(bars[2][0] + bars[2][2] == Approx(bars[0][0]).margin(0.02));
    CHECK(bars[0][1] < bars[1][1]);
    CHECK(bars[1][1] < bars[2][1]);
  }
  const Error error = error_of([&] {
    const std::vector<figures::BlamedUnit> broken{{"c.weight", 5, not_a_number, 0}};
    figures::top_units_svg(broken, {.title = "t"});
  });
  CHECK(error.code() == ErrorCode::numeric);
  CHECK(error.place() == "z of c:5");
  CHECK(error_of([] {
          const std::vector<figures::BlamedUnit> broken{{"c.weight", 5, 0, infinity}};
          figures::top_units_svg(broken, {.title = "t"});
        }).place() == "saliency of c:5");
  CHECK(error_of([] { figures::top_units_svg({}, {.title = "t"}); }).code() == ErrorCode::argument);
}

TEST_CASE("a page of samples is one well-formed document that asks the network for nothing", "[figures]") {
  const std::vector<figures::LayerSpan> layers{{"a.weight", 0, 2}, {"b.weight", 2, 1}, {"c.weight", 3, 5}};
  const std::vector<double> values{1, 4, -1, 0.5, 3, 2, -2, 2};
  const std::vector<figures::Series> series{{"one", values}};
  const std::string figure = figures::profile_svg(layers, series, {.title = "t"});
  figures::ExplainedSample first = explained_sample();
  first.name = "a<&>\".png";
  first.figures = {{figure, figure, "wide & narrow"}, {figure}};
  figures::ExplainedSample second = explained_sample();
  second.confidences = {{"dog", 1, true, true}};
  const figures::ReportPage page{.title = "Who <is> it?",
                                 .lead = "Some words.",
                                 .facts = {{"Model", "m & n"}},
                                 .samples = {first, second}};
  const std::string html = figures::report_html(page);
  CHECK(flaw(html) == "");
  CHECK(html.starts_with("<!DOCTYPE html>\n"));
  for (const std::string_view part :
       {"Who &lt;is&gt; it?", "m &amp; n", "a&lt;&amp;&gt;&quot;.png", "75 %", "25 %", "layer1.0.conv1",
        "6.25", "data:image/png;base64,bm90IGxvb2tlZCBpbnRv", "deer instead of dog", "dog (correct)",
        "wide &amp; narrow"}) {
    CAPTURE(part);
    CHECK(html.find(part) != std::string::npos);
  }
  CHECK(outward_addresses(html).empty());
  CHECK(html.find("prefers-color-scheme: dark") != std::string::npos);
  CHECK(html.find("name=\"viewport\"") != std::string::npos);
}

TEST_CASE(
    "a page refuses samples without one true and one predicted class, and values that are no "
    "numbers",
    "[figures]") {
  const auto error = [](const figures::ExplainedSample& one) {
    return error_of([&] { figures::report_html({.title = "t", .lead = "l", .samples = {one}}); });
  };
  figures::ExplainedSample none = explained_sample();
  none.confidences[1].is_true = false;
  CHECK(error(none).code() == ErrorCode::argument);
  CHECK(error(none).place() == "dog/0121.jpg");
  figures::ExplainedSample two = explained_sample();
  two.confidences[1].is_predicted = true;
  CHECK(error(two).code() == ErrorCode::argument);
  figures::ExplainedSample confidence = explained_sample();
  confidence.confidences[0].confidence = not_a_number;
  CHECK(error(confidence).place() == "dog/0121.jpg, confidence of deer");
  figures::ExplainedSample z = explained_sample();
  z.units[1].z = infinity;
  CHECK(error(z).place() == "dog/0121.jpg, z of conv1:3");
  figures::ExplainedSample saliency = explained_sample();
  saliency.units[0].saliency = not_a_number;
  CHECK(error(saliency).code() == ErrorCode::numeric);
}
