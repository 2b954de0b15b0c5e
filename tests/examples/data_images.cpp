// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <culprit/io/json.hpp>
#include <culprit/io/npy.hpp>
#include <stdio.h>  // popen is POSIX
#include <torch/torch.h>

#include "data/dataset.hpp"
#include "data/image.hpp"
#include "data/preprocess.hpp"
#include "data/resize.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/python.hpp"
#include "support/shared_data.hpp"
#include "support/temporary_folder.hpp"

using culprit::ErrorCode;
using culprit::data::centre_crop;
using culprit::data::decode_image;
using culprit::data::Image;
using culprit::data::Preprocess;
using culprit::io::Json;
using culprit::test::error_of;
using culprit::test::read_bytes;
using culprit::test::shared_data;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;

namespace {

Json read_json(const std::filesystem::path& path) {
  return culprit::io::parse_json(read_bytes(path), path.string());
}

/// The largest and the mean difference from the expected [height, width, channels] samples; infinite when the
/// extents differ.
struct Difference {
  double largest;
  double mean;
};
Difference difference(const Image& image, const std::filesystem::path& expected) {
  const auto array = culprit::io::read_npy(expected);
  const std::vector<std::int64_t> shape{image.height, image.width, image.channels};
  if (array.shape != shape) return {HUGE_VAL, HUGE_VAL};
  Difference result{0, 0};
  const auto values = array.values<std::uint8_t>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double apart = std::abs(values[i] - image.pixels[i]);
    result.largest = std::max(result.largest, apart);
    result.mean += apart / static_cast<double>(values.size());
  }
  return result;
}

/// In hexadecimal, by the system's sha256sum.
std::string sha256(const Image& image, const TemporaryFolder& folder) {
  const std::filesystem::path file = folder / "pixels";
  write_bytes(file, {reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size()});
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      ::popen(("sha256sum '" + file.string() + "'").c_str(), "r"), ::pclose);
  std::string digest(64, '\0');
  REQUIRE(pipe);
  REQUIRE(std::fread(digest.data(), 1, digest.size(), pipe.get()) == digest.size());
  return digest;
}

/// Decodes the images of a golden file and compares checksums; gives back their number.
int check_checksums(const Json& golden, const TemporaryFolder& folder) {
  std::vector<Json> entries = golden.at("images").items();
  if (golden.contains("shark")) entries.push_back(golden.at("shark"));
  for (const Json& entry : entries) {
    const std::string path = entry.at("path").as_string();
    INFO(path);
    const Image image = decode_image(shared_data(path));
    CHECK(sha256(image, folder) == entry.at("sha256_decoded_rgb").as_string());
    if (!entry.contains("sha256_crop_224_rgb")) continue;
    const Image crop = Preprocess::preset("imagenet").geometry(image);
    CHECK(sha256(crop, folder) == entry.at("sha256_crop_224_rgb").as_string());
  }
  return static_cast<int>(entries.size());
}

/// A picture whose samples count up.
Image ramp(int width, int height, int channels) {
  Image image = culprit::data::make_image(static_cast<std::uint64_t>(width),
                                          static_cast<std::uint64_t>(height), channels, "ramp");
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i);
  return image;
}

}  // namespace

TEST_CASE("decoding, resizing, cropping and normalising give what Pillow and torchvision give",
          "[examples]") {
  CULPRIT_REQUIRE_PYTHON("torchvision");
  const TemporaryFolder folder;
  const std::string command = "'" CULPRIT_PYTHON "' '" CULPRIT_SOURCE_DIR
                              "/tests/examples/data_references.py' '" +
                              folder.path().string() + "'";
  REQUIRE(std::system(command.c_str()) == 0);
  const Json cases = read_json(folder / "cases.json");
  REQUIRE(cases.size() > 100);
  const auto number = [](const Json& value) { return static_cast<int>(value.as_int()); };
  for (const Json& one : cases.items()) {
    INFO(culprit::io::dump(one));
    const Image image = decode_image(folder / one.at("file").as_string());
    if (one.contains("decoded")) {
      CHECK(difference(image, folder / one.at("decoded").as_string()).largest == 0);
    } else if (one.contains("resized")) {
      const auto& size = one.at("size").items();
      const Image resized = culprit::data::resize(image, number(size[0]), number(size[1]));
      CHECK(difference(resized, folder / one.at("resized").as_string()).largest == 0);
    } else {
      Preprocess preprocess = Preprocess::preset("imagenet");
      preprocess.resize = number(one.at("shorter"));
      preprocess.crop = number(one.at("crop"));
      // Pillow brings a libjpeg of its own, perhaps of another version: equality is asked for without it.
      const auto [largest, mean] =
          difference(preprocess.geometry(image), folder / one.at("cropped").as_string());
      CHECK(largest <= (one.at("file").as_string().ends_with(".png") ? 0 : 1));
      CHECK(mean <= 0.1);
      if (!one.contains("normalised") || largest > 0) continue;
      const auto expected = culprit::io::read_npy(folder / one.at("normalised").as_string());
      const torch::Tensor input = preprocess(image, torch::kFloat64);
      const auto values = expected.values<double>();
      REQUIRE(static_cast<std::size_t>(input.numel()) == values.size());
      CHECK(std::equal(values.begin(), values.end(), input.data_ptr<double>()));
      CHECK(torch::equal(preprocess(image, torch::kFloat32), input.to(torch::kFloat32)));
      CHECK(torch::equal(preprocess(image, torch::kBFloat16), input.to(torch::kBFloat16)));
    }
  }
}

TEST_CASE("the CIFAR-10 pictures of the goldens decode to their checksums", "[examples]") {
  CULPRIT_REQUIRE_DATA("cifar10/test");
  const TemporaryFolder folder;
  CHECK(check_checksums(read_json(shared_data("golden/resnet20_cifar10_test.json")), folder) == 64);
  CHECK(check_checksums(read_json(shared_data("golden/resnet56_cifar10_test.json")), folder) == 64);
}

TEST_CASE("the ImageNet pictures of the goldens decode, resize and crop to their checksums", "[examples]") {
  CULPRIT_REQUIRE_DATA("imagenet/val");
  const TemporaryFolder folder;
  CHECK(check_checksums(read_json(shared_data("golden/mobilenet_imagenet_public.json")), folder) == 33);
}

TEST_CASE("a picture written as PNG comes back as it was", "[examples]") {
  const TemporaryFolder folder;
  for (const int channels : {1, 3}) {
    const Image image = ramp(17, 9, channels);
    culprit::data::write_png(folder / "ramp.png", image);
    CHECK(folder.entries() == 1);
    const Image back = decode_image(folder / "ramp.png");
    CHECK(back.width == 17);
    CHECK(back.height == 9);
    CHECK(back.channels == channels);
    CHECK(back.pixels == image.pixels);
  }
}

TEST_CASE("a picture that is no picture is not written", "[examples]") {
  const TemporaryFolder folder;
  Image short_of_a_row = ramp(4, 4, 3);
  short_of_a_row.pixels.resize(36);
  for (const Image& image : {ramp(4, 4, 2), Image{}, short_of_a_row})
    CHECK(error_of([&] { culprit::data::write_png(folder / "out.png", image); }).code() == ErrorCode::shape);
  CHECK(folder.entries() == 0);
  CHECK(error_of([&] { culprit::data::write_png(folder / "none/out.png", ramp(4, 4, 3)); }).code() ==
        ErrorCode::io);
}

TEST_CASE("a centre crop splits an odd margin as Python rounds", "[examples]") {
  // Margins of 0.5, 1.5 and 2.5 begin at 0, 2 and 2.
  CHECK(centre_crop(ramp(5, 4, 1), 4).pixels[0] == 0);
  CHECK(centre_crop(ramp(7, 4, 1), 4).pixels[0] == 2);
  CHECK(centre_crop(ramp(9, 4, 1), 4).pixels[0] == 2);
  const auto error = error_of([] { (void)centre_crop(ramp(5, 3, 1), 4, "small.png"); });
  CHECK(error.code() == ErrorCode::shape);
  CHECK(std::string(error.what()) == "small.png: expected at least 4 x 4 pixels to crop, came 5 x 3");
}

TEST_CASE("preprocessing describes itself so that different settings differ", "[examples]") {
  CHECK(Preprocess::preset("imagenet").description() ==
        "resize=256 crop=224 mean=0.485,0.456,0.406 std=0.229,0.224,0.225");
  CHECK(Preprocess::preset("cifar10").description() ==
        "resize=0 crop=0 mean=0.485,0.456,0.406 std=0.229,0.224,0.225");
  CHECK(Preprocess::preset("fashion").description() == "resize=0 crop=0 mean=0.286 std=0.353");
  Preprocess close = Preprocess::preset("fashion");
  close.mean[0] = std::nextafter(close.mean[0], 1.0);
  CHECK(close.description() != Preprocess::preset("fashion").description());
}

TEST_CASE("preprocessing refuses what it cannot do and says why", "[examples]") {
  const Image colour = ramp(4, 4, 3);
  const auto code = [&](const Preprocess& preprocess, const Image& image,
                        torch::Dtype dtype = torch::kFloat32) {
    return error_of([&] { (void)preprocess(image, dtype, "picture.png"); }).code();
  };
  const std::vector<double> ones{1, 1, 1};
  CHECK(error_of([] { (void)Preprocess::preset("mnist"); }).code() == ErrorCode::argument);
  CHECK(code({0, 0, {0.5}, {0.5}}, colour) == ErrorCode::shape);
  CHECK(code({0, 5, ones, ones}, colour) == ErrorCode::shape);
  CHECK(code({0, 0, ones, ones}, colour, torch::kInt64) == ErrorCode::dtype);
  CHECK(code({0, 0, {1, 1}, {1, 1}}, colour) == ErrorCode::argument);
  CHECK(code({0, 0, ones, {1, 1}}, colour) == ErrorCode::argument);
  CHECK(code({0, 0, ones, {1, 0, 1}}, colour) == ErrorCode::argument);
  CHECK(code({0, 0, ones, {1, std::nan(""), 1}}, colour) == ErrorCode::argument);
  CHECK(code({0, 0, {1, 1, HUGE_VAL}, ones}, colour) == ErrorCode::argument);
  CHECK(code({-1, 0, ones, ones}, colour) == ErrorCode::argument);
  CHECK(code({1 << 30, 0, ones, ones}, colour) == ErrorCode::argument);
}

TEST_CASE("a grey picture fills the three channels of a colour network", "[examples]") {
  const torch::Tensor input = Preprocess{0, 0, {0, 0, 0}, {1, 1, 1}}(ramp(3, 2, 1), torch::kFloat64);
  CHECK(input.sizes().vec() == std::vector<std::int64_t>{3, 2, 3});
  CHECK(torch::equal(input[0], input[2]));
  CHECK(input[1][1][2].item<double>() == 5.0 / 255);
}
