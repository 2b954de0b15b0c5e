// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <regex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/png.hpp"
#include "examples/well_formed.hpp"
#include "figures/base64.hpp"
#include "figures/colour_map.hpp"
#include "figures/enlarge.hpp"
#include "figures/heat_map_figure.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/not_finite.hpp"

namespace {

using namespace culprit;
using figures::ColourMap;
using figures::HeatMapOptions;
using figures::HeatMapPanel;
using figures::HeatMapSample;
using figures::HeatValues;
using figures::Rgb;
using test::error_of;
using test::flaw;
using test::infinity;
using test::not_a_number;

/// CIE 1976 lightness, 0 to 100, of an sRGB colour.
double lightness(const Rgb& colour) {
  const auto linear = [](std::uint8_t channel) {
    const double share = channel / 255.0;
    return share <= 0.04045 ? share / 12.92 : std::pow((share + 0.055) / 1.055, 2.4);
  };
  const double y = 0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2]);
  return y > 0.008856 ? 116 * std::cbrt(y) - 16 : 903.3 * y;
}

int chroma(const std::uint8_t* pixel) {
  const auto [least, most] = std::minmax({pixel[0], pixel[1], pixel[2]});
  return most - least;
}

/// A picture in which every pixel is another.
data::Image gradient(int width, int height, int channels = 3) {
  data::Image image = data::make_image(static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height),
                                       channels, "gradient");
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<std::uint8_t>(i * 37 % 251);
  return image;
}

/// From 0 at the first pixel to 1 at the last.
HeatValues ramp(int width, int height, double low = 0.00125, double high = 0.5) {
  HeatValues map{width, height, {}, low, high};
  const int count = width * height;
  for (int i = 0; i < count; ++i) map.values.push_back(static_cast<float>(i) / static_cast<float>(count - 1));
  return map;
}

/// A picture with as many heat maps as asked for.
HeatMapSample sample(int width, int height, std::size_t panels) {
  HeatMapSample result{"picture", gradient(width, height), {}};
  for (std::size_t i = 0; i < panels; ++i)
    result.panels.push_back({"panel " + std::to_string(i), ramp(width, height)});
  return result;
}

std::string svg_of(const HeatMapSample& one, const HeatMapOptions& options = {.title = "t"}) {
  return figures::heat_map_svg({&one, 1}, options);
}

/// An embedded picture, where it stands and how it is drawn.
struct Embedded {
  double x, y, width, height;
  std::string style, address;
};

/// The pictures of the figure in drawing order; the last is the colour scale.
std::vector<Embedded> embedded(const std::string& svg) {
  const auto attribute = [](const std::string& tag, const std::string& name) {
    const std::size_t from = tag.find(' ' + name + "=\"");
    if (from == std::string::npos) return std::string{};
    const std::size_t start = from + name.size() + 3;
    return tag.substr(start, tag.find('"', start) - start);
  };
  std::vector<Embedded> result;
  for (std::size_t at = svg.find("<image "); at != std::string::npos; at = svg.find("<image ", at + 1)) {
    const std::string tag = svg.substr(at, svg.find('>', at) - at);
    const auto number = [&](const std::string& name) { return std::stod(attribute(tag, name)); };
    result.push_back({number("x"), number("y"), number("width"), number("height"), attribute(tag, "style"),
                      attribute(tag, "href")});
  }
  return result;
}

std::string address_of(const data::Image& image) {
  return "data:image/png;base64," + figures::base64(data::encode_png(image));
}

/// Width and height of the whole figure.
std::array<double, 2> extents(const std::string& svg) {
  std::smatch found;
  const std::string head = svg.substr(0, 400);
  REQUIRE(std::regex_search(head, found, std::regex(R"re(viewBox="0 0 ([0-9.]+) ([0-9.]+)")re")));
  return {std::stod(found[1].str()), std::stod(found[2].str())};
}

}  // namespace

TEST_CASE("viridis goes from dark violet to yellow and gets lighter all the way", "[figures]") {
  CHECK(figures::colour(ColourMap::viridis, 0) == Rgb{68, 1, 84});
  CHECK(figures::colour(ColourMap::viridis, 1) == Rgb{253, 231, 37});
  double last = 0;
  for (int i = 0; i <= 64; ++i) {
    CAPTURE(i);
    const double here = lightness(figures::colour(ColourMap::viridis, i / 64.0));
    CHECK(here > last);
    last = here;
  }
}

TEST_CASE("viridis stays within 2 of matplotlib's table, between the knots too", "[figures]") {
  struct Entry {
    int index;
    Rgb colour;
  };
  const std::vector<Entry> table{{3, {69, 5, 89}},      {12, {71, 19, 101}},   {20, {72, 29, 111}},
                                 {36, {70, 50, 126}},   {60, {61, 78, 138}},   {92, {46, 111, 142}},
                                 {124, {34, 141, 141}}, {148, {32, 163, 134}}, {163, {44, 177, 126}},
                                 {172, {56, 185, 119}}, {189, {88, 199, 101}}, {196, {103, 204, 92}},
                                 {212, {142, 214, 69}}, {221, {165, 219, 54}}, {236, {205, 225, 29}},
                                 {248, {236, 229, 27}}, {252, {246, 230, 32}}};
  for (const Entry& entry : table) {
    const Rgb came = figures::colour(ColourMap::viridis, entry.index / 255.0);
    for (std::size_t i = 0; i < 3; ++i) {
      CAPTURE(entry.index, i);
      CHECK(std::abs(came[i] - entry.colour[i]) <= 2);
    }
  }
}

TEST_CASE("jet has the rainbow's known colours", "[figures]") {
  const auto jet = [](double value) { return figures::colour(ColourMap::jet, value); };
  CHECK(jet(0) == Rgb{0, 0, 128});
  CHECK(jet(0.125) == Rgb{0, 0, 255});
  CHECK(jet(0.375) == Rgb{0, 255, 255});
  CHECK(jet(0.5) == Rgb{128, 255, 128});
  CHECK(jet(0.625) == Rgb{255, 255, 0});
  CHECK(jet(0.875) == Rgb{255, 0, 0});
  CHECK(jet(1) == Rgb{128, 0, 0});
}

TEST_CASE("colour maps refuse what is no number from 0 to 1, and other names", "[figures]") {
  for (const ColourMap map : {ColourMap::viridis, ColourMap::jet}) {
    const auto code = [map](double value) { return error_of([&] { figures::colour(map, value); }).code(); };
    CHECK(code(not_a_number) == ErrorCode::numeric);
    CHECK(code(infinity) == ErrorCode::numeric);
    CHECK(code(-0.001) == ErrorCode::argument);
    CHECK(code(1.001) == ErrorCode::argument);
    CHECK(figures::colour_map(figures::name_of(map)) == map);
  }
  CHECK(figures::name_of(ColourMap::viridis) == "viridis");
  CHECK(figures::name_of(ColourMap::jet) == "jet");
  const Error error = error_of([] { figures::colour_map("Jet"); });
  CHECK(error.code() == ErrorCode::argument);
  CHECK(error.expected() == "viridis or jet");
  CHECK(error.came() == "\"Jet\"");
}

TEST_CASE("an overlay shows the grey picture at 0 and the map's colours towards 1", "[figures]") {
  for (const ColourMap colours : {ColourMap::viridis, ColourMap::jet}) {
    data::Image picture = gradient(4, 1);
    std::copy_n(std::array<std::uint8_t, 6>{255, 0, 0, 10, 200, 30}.begin(), 6, picture.pixels.begin());
    const data::Image result = figures::overlay(picture, {4, 1, {0, 0, 0.5, 1}, 0, 1}, colours);
    REQUIRE(result.width == 4);
    REQUIRE(result.height == 1);
    REQUIRE(result.channels == 3);
    for (const std::size_t i : {0U, 1U, 2U}) CHECK(result.pixels[i] == 76);
    for (const std::size_t i : {3U, 4U, 5U}) CHECK(result.pixels[i] == 124);
    CHECK(chroma(&result.pixels[6]) > 40);
    CHECK(chroma(&result.pixels[9]) > 90);
  }
}

TEST_CASE("an overlay lets a fifth of the picture through where it is most salient", "[figures]") {
  for (const int grey : {0, 255}) {
    const data::Image picture{1, 1, 1, {static_cast<std::uint8_t>(grey)}};
    const data::Image result = figures::overlay(picture, {1, 1, {1}, 0, 1}, ColourMap::viridis);
    const Rgb full = figures::colour(ColourMap::viridis, 1);
    for (std::size_t i = 0; i < 3; ++i)
      CHECK(std::abs(result.pixels[i] - (0.2 * grey + 0.8 * full[i])) <= 0.51);
  }
}

TEST_CASE("a grey picture looks under a heat map as the same picture in RGB", "[figures]") {
  const data::Image grey = gradient(5, 3, 1);
  data::Image rgb = data::make_image(5, 3, 3, "test");
  for (std::size_t i = 0; i < rgb.pixels.size(); ++i) rgb.pixels[i] = grey.pixels[i / 3];
  CHECK(figures::overlay(grey, ramp(5, 3), ColourMap::jet).pixels ==
        figures::overlay(rgb, ramp(5, 3), ColourMap::jet).pixels);
}

TEST_CASE("an overlay refuses a heat map that does not fit the picture, naming both extents", "[figures]") {
  const auto error = [](const data::Image& picture, const HeatValues& map) {
    return error_of([&] { figures::overlay(picture, map, ColourMap::viridis); });
  };
  for (const auto& [width, height] :
       {std::array{7, 3}, std::array{6, 4}, std::array{3, 6}, std::array{1, 1}}) {
    const Error extents_differ = error(gradient(6, 3), ramp(width, height, 0, 1));
    CHECK(extents_differ.code() == ErrorCode::shape);
    CHECK(extents_differ.expected() == "the picture's 6 x 3");
    CHECK(extents_differ.came() == std::to_string(width) + " x " + std::to_string(height));
  }
  HeatValues short_map = ramp(6, 3);
  short_map.values.pop_back();
  CHECK(error(gradient(6, 3), short_map).expected() == "6 x 3 values");
  CHECK(error(gradient(6, 3, 4), ramp(6, 3)).code() == ErrorCode::shape);
  data::Image cut = gradient(6, 3);
  cut.pixels.pop_back();
  CHECK(error(cut, ramp(6, 3)).code() == ErrorCode::shape);
  CHECK(error({}, {}).code() == ErrorCode::shape);
  HeatValues broken = ramp(6, 3);
  broken.values[4] = std::numeric_limits<float>::quiet_NaN();
  CHECK(error(gradient(6, 3), broken).code() == ErrorCode::numeric);
}

TEST_CASE("a heat map figure holds the picture, its overlays and the colour scale", "[figures]") {
  const HeatMapSample photograph = sample(224, 160, 2);
  for (const ColourMap colours : {ColourMap::viridis, ColourMap::jet}) {
    const std::string svg = svg_of(photograph, {.title = "t", .colours = colours});
    const std::vector<Embedded> pictures = embedded(svg);
    REQUIRE(pictures.size() == 4);
    CHECK(pictures[0].address == address_of(photograph.picture));
    const std::string overlaid =
        address_of(figures::overlay(photograph.picture, photograph.panels[0].map, colours));
    CHECK(pictures[1].address == overlaid);
    CHECK(pictures[2].address == overlaid);
    HeatValues steps{256, 1, {}, 0, 1};
    for (int i = 0; i < 256; ++i) steps.values.push_back(static_cast<float>(i) / 255);
    const data::Image medium{256, 1, 1, std::vector<std::uint8_t>(256, 128)};
    CHECK(pictures[3].address == address_of(figures::overlay(medium, steps, colours)));
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(pictures[i].width / pictures[i].height == Approx(224.0 / 160).margin(0.001));
      CHECK(pictures[i].style == "image-rendering:auto");
    }
  }
}

TEST_CASE("thumbnails are enlarged by whole factors, as large as other pictures or nearly", "[figures]") {
  for (const int size : {28, 32, 64}) {
    for (const double width : {400.0, 960.0}) {
      for (const std::size_t panels : {std::size_t{1}, std::size_t{2}, std::size_t{3}}) {
        CAPTURE(size, width, panels);
        const HeatMapSample thumbnail = sample(size, size, panels);
        const std::vector<Embedded> pictures = embedded(svg_of(thumbnail, {.title = "t", .width = width}));
        REQUIRE(pictures.size() == panels + 2);
        const int factor = static_cast<int>(pictures[0].width) / size;
        CHECK(pictures[0].address == address_of(figures::enlarge(thumbnail.picture, factor)));
        for (std::size_t i = 0; i <= panels; ++i) {
          CHECK(pictures[i].width == factor * size);
          CHECK(pictures[i].width == pictures[i].height);
          CHECK(pictures[i].width >= 256);
          CHECK(pictures[i].style == "image-rendering:pixelated");
        }
      }
    }
  }
}

TEST_CASE("pictures stand beside each other where there is room, below each other on a phone", "[figures]") {
  for (const int size : {32, 224}) {
    for (const double width : {320.0, 400.0, 960.0}) {
      for (std::size_t panels = 1; panels <= 4; ++panels) {
        CAPTURE(size, width, panels);
        HeatMapSample one = sample(size, size, panels);
        one.title = "a/path/of/one/word/" + std::string(60, 'm') + ".jpeg";
        const std::string svg = svg_of(one, {.title = "A title that is rather long for so narrow a figure",
                                             .low_name = "50th percentile of all",
                                             .high_name = "99.5th percentile of all",
                                             .note = "One sentence that is not short either.",
                                             .width = width});
        CHECK(flaw(svg) == "");
        const auto [whole_width, whole_height] = extents(svg);
        CHECK(whole_width == width);
        const std::vector<Embedded> pictures = embedded(svg);
        REQUIRE(pictures.size() == panels + 2);
        for (std::size_t i = 0; i < pictures.size(); ++i) {
          CHECK(pictures[i].x >= 16);
          CHECK(pictures[i].x + pictures[i].width <= width - 16 + 0.01);
          CHECK(pictures[i].y + pictures[i].height < whole_height);
          for (std::size_t j = 0; j < i; ++j) {
            const bool beside = pictures[j].x + pictures[j].width <= pictures[i].x;
            const bool below = pictures[j].y + pictures[j].height <= pictures[i].y;
            CHECK((beside || below));
          }
        }
        CHECK((pictures[1].y > pictures[0].y) == (width < 500));
        if (panels == 3 && width > 500) CHECK(pictures[2].y > pictures[1].y);
        const std::regex text(
            R"re(<text class="[a-z ]+" x="([0-9.]+)" y="([0-9.]+)" text-anchor="(\w+)">([^<]*)<)re");
        std::size_t texts = 0;
        for (std::sregex_iterator it(svg.begin(), svg.end(), text), last; it != last; ++it, ++texts) {
          CAPTURE(it->str());
          const double x = std::stod((*it)[1].str());
          const double length = 0.9 * figures::text_width((*it)[4].str(), figures::Svg::label_size);
          CHECK(x - ((*it)[3] == "end" ? length : 0) >= 15.9);
          CHECK(x + ((*it)[3] == "start" ? length : 0) <= width - 15.9);
          CHECK(std::stod((*it)[2].str()) < whole_height);
        }
        CHECK(texts >= panels + 7);
      }
    }
  }
}

TEST_CASE("the colour scale says what its ends stand for", "[figures]") {
  const auto ends = [](double low, double high) {
    HeatMapSample one = sample(8, 8, 1);
    one.panels[0].map.low = low;
    one.panels[0].map.high = high;
    const std::string svg = svg_of(one, {.title = "t",
                                         .value_name = "saliency <per pixel>",
                                         .low_name = "50th percentile",
                                         .high_name = "99th percentile"});
    CHECK(svg.find(">saliency &lt;per pixel&gt;</text>") != std::string::npos);
    std::smatch found;
    const std::regex pattern(
        R"re(text-anchor="start">([^<]*)</text>\n<text[^>]*start">50th percentile</text>\n)re"
        R"re(<text[^>]*text-anchor="end">([^<]*)</text>\n<text[^>]*end">99th percentile</text>)re");
    REQUIRE(std::regex_search(svg, found, pattern));
    return found[1].str() + " to " + found[2].str();
  };
  CHECK(ends(0, 1) == "0 to 1.00");
  CHECK(ends(0.0012345, 0.0471) == "0.00123 to 0.0471");
  CHECK(ends(1.234e-5, 0.6543) == "1.23 × 10⁻⁵ to 0.654");
  CHECK(ends(-12.5, 123456) == "−12.50 to 1.23 × 10⁵");
  CHECK(ends(2, 2) == "2.00 to 2.00");
}

TEST_CASE("all heat maps of a figure share one scale, or are refused", "[figures]") {
  std::vector<HeatMapSample> samples{sample(32, 32, 2), sample(28, 28, 1)};
  samples[1].title = "the other";
  const auto draw = [&] { return figures::heat_map_svg(samples, {.title = "t"}); };
  const std::string svg = draw();
  CHECK(embedded(svg).size() == 6);
  CHECK(svg.find(">0.00125</text>") == svg.rfind(">0.00125</text>"));
  double& low = samples[1].panels[0].map.low;
  double& high = samples[1].panels[0].map.high;
  high = 0.50001;
  const Error error = error_of(draw);
  CHECK(error.code() == ErrorCode::argument);
  CHECK(error.place() == "scale of the other, panel 0");
  high = 0.5;
  low = 0.001;
  CHECK(error_of(draw).code() == ErrorCode::argument);
  low = not_a_number;
  CHECK(error_of(draw).code() == ErrorCode::numeric);
  samples.pop_back();
  samples[0].panels.pop_back();
  std::swap(samples[0].panels[0].map.low, samples[0].panels[0].map.high);
  CHECK(error_of(draw).expected() == "a lower end first");
  samples[0].panels.clear();
  CHECK(error_of(draw).expected() == "at least one heat map");
  samples.clear();
  CHECK(error_of(draw).code() == ErrorCode::argument);
}

TEST_CASE("a heat map figure is well-formed whatever its names, the same bytes each time, and themed",
          "[figures]") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  HeatMapSample one = sample(28, 28, 1);
  one.title = one.panels[0].title = all;
  const HeatMapOptions options{
      .title = all, .value_name = all, .low_name = all, .high_name = all, .note = all, .width = 400};
  const std::string svg = svg_of(one, options);
  CHECK(flaw(svg) == "");
  CHECK(svg == svg_of(one, options));
  CHECK(svg.find("prefers-color-scheme: dark") != std::string::npos);
  CHECK(svg.find(" id=") == std::string::npos);
}
