// SPDX-License-Identifier: MIT
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "examples/svg_parts.hpp"
#include "examples/well_formed.hpp"
#include "figures/contact_sheet.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/not_finite.hpp"

namespace {

using namespace culprit;
using figures::ContactSheetOptions;
using figures::SheetPicture;
using figures::SheetRow;
using test::error_of;
using test::flaw;
using test::infinity;
using test::not_a_number;
using test::numbers;

/// A cat taken for a dog, with neighbours of the same pair, of the reversed pair and of neither.
SheetRow row() {
  return {{"q<&>.png", "query bytes", "cat", "dog"},
          {{"n0.png", "n0 bytes", "cat", "dog", 0.9375},
           {"n1.png", "n1 bytes", "dog", "cat", 0.875},
           {"n2.png", "n2 bytes", "cat", "frog", -0.25}}};
}

std::string sheet(const std::vector<SheetRow>& rows, double width = 960) {
  return figures::contact_sheet_svg(
      rows, {.title = "t & u", .similarity_name = "cosine similarity", .note = "A note.", .width = width});
}

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// Left, top and side of the pictures, in drawing order.
std::vector<std::vector<double>> pictures(const std::string& svg) {
  return numbers(svg, R"re(<image x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)")re");
}

}  // namespace

TEST_CASE("a contact sheet shows a query and its neighbours with their classes and similarity", "[figures]") {
  const std::string svg = sheet({row()});
  CHECK(flaw(svg) == "");
  std::size_t last = 0;
  for (const std::string_view bytes : {"query bytes", "n0 bytes", "n1 bytes", "n2 bytes"}) {
    CAPTURE(bytes);
    const std::size_t at = svg.find("href=\"" + figures::png_address(bytes) + '"');
    CHECK(at != std::string::npos);
    CHECK(at > last);
    last = at;
  }
  for (const std::string_view part :
       {"t &amp; u", ">q&lt;&amp;&gt;.png</text>", ">true: cat</text>", ">predicted: frog</text>",
        ">0.94</text>", ">−0.25</text>", "A note.",
        "Number below a neighbour: cosine similarity to the query.",
        "<title>n1.png\ntrue class dog, predicted cat\ncosine similarity 0.88</title>",
        "<title>q&lt;&amp;&gt;.png\ntrue class cat, predicted dog</title>"}) {
    CAPTURE(part);
    CHECK(svg.find(part) != std::string::npos);
  }
}

TEST_CASE("a contact sheet marks the query's pair of classes by a word and a line", "[figures]") {
  const std::string svg = sheet({row()});
  CHECK(count(svg, ">query</text>") == 1);
  CHECK(count(svg, ">same pair</text>") == 1);
  CHECK(count(svg, ">reversed pair</text>") == 1);
  const auto places = pictures(svg);
  REQUIRE(places.size() == 4);
  const std::string frame = R"re(" x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)")re";
  const auto same = numbers(svg, R"re(<rect class="mean line-0)re" + frame);
  const auto reversed = numbers(svg, R"re(<rect class="mean line-1)re" + frame);
  REQUIRE(same.size() == 1);
  REQUIRE(reversed.size() == 1);
  CHECK(same[0] == places[1]);
  CHECK(reversed[0] == places[2]);

  SheetRow right = row();
  right.query.predicted_class = "cat";
  right.neighbours[0].predicted_class = "cat";
  CHECK(count(sheet({right}), ">same pair</text>") == 1);
  CHECK(count(sheet({right}), ">reversed pair</text>") == 0);
}

TEST_CASE("a contact sheet goes on below where its width does not hold a row", "[figures]") {
  SheetRow long_row = row();
  long_row.neighbours.resize(10, long_row.neighbours[1]);
  long_row.neighbours[0].true_class = "a class whose name fills several lines below its picture";
  for (const double width : {320.0, 960.0}) {
    CAPTURE(width);
    const std::string svg = sheet({long_row, row()}, width);
    const auto places = pictures(svg);
    REQUIRE(places.size() == 15);
    for (const std::vector<double>& place : places) {
      CHECK(place[2] >= 80);
      CHECK(place[0] >= 16);
      CHECK(place[0] + place[2] <= width - 16);
    }
    for (std::size_t i = 1; i < places.size(); ++i) {
      const bool right_of_last = places[i][1] == places[i - 1][1] && places[i][0] > places[i - 1][0];
      CHECK((right_of_last || places[i][1] > places[i - 1][1] + places[i - 1][2]));
    }
    const auto texts =
        numbers(svg, R"re(<text class="(?:note value|value|label)" x="([0-9.]+)" y="([0-9.]+)")re");
    for (const std::vector<double>& text : texts) {
      for (const std::vector<double>& place : places) {
        const bool beside = text[0] < place[0] || text[0] >= place[0] + place[2];
        CHECK((beside || text[1] <= place[1] || text[1] - 10 >= place[1] + place[2]));
      }
    }
    const auto height = numbers(svg, R"re(viewBox="0 0 [0-9.]+ ([0-9.]+)")re");
    REQUIRE(height.size() == 1);
    for (const std::vector<double>& text : texts) CHECK(text[1] < height[0][0]);
  }
}

TEST_CASE("contact sheets have the same bytes for the same input", "[figures]") {
  CHECK(sheet({row(), row()}) == sheet({row(), row()}));
  SheetRow alone = row();
  alone.neighbours.clear();
  CHECK(flaw(sheet({alone})) == "");
}

TEST_CASE("contact sheets refuse rows without pictures or numbers", "[figures]") {
  const auto error = [](const std::vector<SheetRow>& rows) { return error_of([&] { sheet(rows); }); };
  CHECK(error({}).code() == ErrorCode::argument);
  SheetRow no_query = row();
  no_query.query.png.clear();
  CHECK(error({no_query}).code() == ErrorCode::argument);
  CHECK(error({no_query}).place() == "q<&>.png");
  SheetRow no_neighbour = row();
  no_neighbour.neighbours[2].png.clear();
  CHECK(error({row(), no_neighbour}).place() == "n2.png");
  for (const double bad : {not_a_number, infinity}) {
    SheetRow broken = row();
    broken.neighbours[1].similarity = bad;
    CHECK(error({broken}).code() == ErrorCode::numeric);
    CHECK(error({broken}).place() == "similarity of q<&>.png and n1.png");
  }
}
