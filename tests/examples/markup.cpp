// SPDX-License-Identifier: MIT
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "examples/well_formed.hpp"
#include "figures/base64.hpp"
#include "figures/enlarge.hpp"
#include "figures/profile_figure.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"

namespace {

using namespace culprit;
using figures::LayerSpan;
using figures::Series;
using test::error_of;
using test::flaw;

}  // namespace

TEST_CASE("the check for well-formed figures sees what is wrong", "[figures]") {
  CHECK(flaw("<svg><g a=\"1\" b=\"2\">x &amp; y</g><p/></svg>\n").empty());
  for (const std::string_view wrong :
       {"", "text", "<svg>", "<svg></g>", "<svg/><svg/>", "<svg>a & b</svg>", "<svg a=1/>", "<svg a=\"<\"/>",
        "<svg a=\"1\" a=\"2\"/>", "<svg>\x01</svg>", "<svg>a < b</svg>", "<svg>&nbsp;</svg>", "<svg/>x",
        "<svg>a > b</svg>", "<svg a=\"1\"b=\"2\"/>", "<svg =\"1\"/>", "</svg>", "<>"}) {
    CAPTURE(wrong);
    CHECK_FALSE(flaw(wrong).empty());
  }
}

TEST_CASE("numbers in figures have no trailing zeros, no exponent and no negative zero", "[figures]") {
  CHECK(figures::fixed(1.0, 2) == "1");
  CHECK(figures::fixed(-0.001, 2) == "0");
  CHECK(figures::fixed(120.0, 0) == "120");
  CHECK(figures::fixed(1e22, 1) == "10000000000000000000000");
  CHECK(figures::fixed(-2.504, 2) == "-2.5");
  CHECK(figures::readable(3) == "3.00");
  CHECK(figures::readable(-12.345) == "−12.35");
  CHECK(figures::readable(0.00001234) == "1.23 × 10⁻⁵");
  CHECK(figures::readable(0) == "0.00");
  CHECK(figures::percent(0.12345) == "12.3 %");
  CHECK(figures::percent(0.99999) == "> 99.9 %");
  CHECK(figures::percent(1) == "100 %");
  CHECK(figures::percent(1e-9) == "< 0.1 %");
  CHECK(figures::percent(-0.25) == "−25 %");
  CHECK(figures::percent(-1e-9) == "0 %");
}

TEST_CASE("text from file names is safe in markup whatever its bytes", "[figures]") {
  CHECK(figures::escaped("a<b>&\"c'") == "a&lt;b&gt;&amp;&quot;c&#39;");
  CHECK(figures::escaped("gr\xc3\xbc\xc3\x9f \xf0\x9f\xa6\x88") == "gr\xc3\xbc\xc3\x9f \xf0\x9f\xa6\x88");
  const std::string_view replacement = "\xef\xbf\xbd";
  for (const std::string_view broken : {"\xff", "\xc3", "\x01", "\x7f", "\x80", "\xc0"}) {
    CHECK(figures::escaped(broken) == replacement);
  }
  CHECK(figures::escaped("\xe0\x80\x80").find('\xe0') == std::string::npos);
  CHECK(figures::escaped("\xed\xa0\x80").find('\xed') == std::string::npos);
  CHECK(figures::escaped("\xef\xbf\xbf").find("\xef\xbf\xbf") == std::string::npos);
  CHECK(figures::escaped("\xf4\x90\x80\x80").find('\xf4') == std::string::npos);
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::vector<LayerSpan> layers{{all, 0, 1}};
  const std::vector<double> value{1};
  const std::vector<Series> series{{all, value}};
  CHECK(flaw(figures::profile_svg(layers, series, {.title = all, .value_name = all})) == "");
}

TEST_CASE("base64 follows the test vectors of RFC 4648", "[figures]") {
  CHECK(figures::base64("").empty());
  CHECK(figures::base64("f") == "Zg==");
  CHECK(figures::base64("fo") == "Zm8=");
  CHECK(figures::base64("foo") == "Zm9v");
  CHECK(figures::base64("foob") == "Zm9vYg==");
  CHECK(figures::base64("fooba") == "Zm9vYmE=");
  CHECK(figures::base64("foobar") == "Zm9vYmFy");
  CHECK(figures::base64("\xff\xfe\xfd") == "//79");
}

TEST_CASE("enlarging repeats every pixel and nothing else", "[figures]") {
  for (const int channels : {1, 3}) {
    data::Image image = data::make_image(3, 2, channels, "test");
    for (std::size_t i = 0; i < image.pixels.size(); ++i)
      image.pixels[i] = static_cast<std::uint8_t>(10 * i + 1);
    for (const int factor : {1, 2, 5}) {
      const data::Image large = figures::enlarge(image, factor);
      REQUIRE(large.width == 3 * factor);
      REQUIRE(large.height == 2 * factor);
      REQUIRE(large.channels == channels);
      for (int y = 0; y < large.height; ++y) {
        for (int x = 0; x < large.width; ++x) {
          for (int c = 0; c < channels; ++c) {
            REQUIRE(large.row(y)[x * channels + c] == image.row(y / factor)[x / factor * channels + c]);
          }
        }
      }
    }
    CHECK(error_of([&] { figures::enlarge(image, 0); }).code() == ErrorCode::argument);
    CHECK(error_of([&] { figures::enlarge(image, 100000); }).code() == ErrorCode::format);
  }
}
