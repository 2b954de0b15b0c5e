// SPDX-License-Identifier: MIT
#include "figures/picture_rows.hpp"

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "examples/svg_parts.hpp"
#include "examples/well_formed.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"

namespace {

using namespace culprit;
using figures::PictureRow;
using test::error_of;
using test::flaw;
using test::numbers;

std::string draw(const std::vector<PictureRow>& rows, double width) {
  return figures::picture_rows_svg(rows, {.title = "t & u", .note = "A note.", .width = width});
}

/// Left, top and side of the pictures, in drawing order.
std::vector<std::vector<double>> pictures(const std::string& svg) {
  return numbers(svg, R"re(<image x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)")re");
}

}  // namespace

TEST_CASE("rows of pictures show each picture with its name and lines below it", "[figures]") {
  const std::vector<PictureRow> rows{
      {"first row", {{"a<&>.png", "a bytes", {"cat 12 %", "dog 34 %"}}, {"b", "b bytes", {}}}},
      {"second row", {{"c", "c bytes", {}}, {"d", "d bytes", {}}, {"e", "e bytes", {}}}}};
  for (const double width : {320.0, 960.0}) {
    INFO("width " << width);
    const std::string svg = draw(rows, width);
    CHECK(flaw(svg) == "");
    CHECK(svg == draw(rows, width));
    std::size_t last = 0;
    for (const std::string& part :
         {std::string("t &amp; u"), std::string("first row"), figures::png_address("a bytes"),
          std::string("a&lt;&amp;&gt;.png"), std::string("cat 12 %"), std::string("dog 34 %"),
          figures::png_address("b bytes"), std::string("second row"), figures::png_address("c bytes"),
          figures::png_address("e bytes"), std::string("A note.")}) {
      INFO(part);
      last = svg.find(part, last);
      REQUIRE(last != std::string::npos);
    }
    const auto places = pictures(svg);
    REQUIRE(places.size() == 5);
    for (std::size_t i = 0; i < places.size(); ++i) {
      CHECK(places[i][0] + places[i][2] <= width);
      for (std::size_t j = 0; j < i; ++j) {
        const bool beside = std::abs(places[i][0] - places[j][0]) >= places[i][2];
        const bool below = places[i][1] - places[j][1] >= places[i][2];
        CHECK((beside || below));
      }
    }
    // Two or three side by side: the last picture goes on below where the width does not hold it.
    CHECK((places[4][1] > places[2][1]) == (width < 400));
  }
}

TEST_CASE("rows of pictures refuse to be empty", "[figures]") {
  const auto place = [](const std::vector<PictureRow>& rows) {
    const Error error = error_of([&] { (void)draw(rows, 960); });
    CHECK(error.code() == ErrorCode::argument);
    return error.place();
  };
  CHECK(place({}) == "rows of pictures");
  CHECK(place({{"row", {}}}) == "row");
  CHECK(place({{"row", {{"a", "", {}}}}}) == "a");
}
