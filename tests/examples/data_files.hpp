// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <zlib.h>

#include "data/image.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace culprit::test {

/// A grey picture of one shade.
inline std::string shade_png(int shade, int width = 2, int height = 2) {
  const auto count = static_cast<std::size_t>(width * height);
  return data::encode_png(
      {width, height, 1, std::vector<std::uint8_t>(count, static_cast<std::uint8_t>(shade))});
}

inline std::string big_endian(std::initializer_list<std::uint32_t> words) {
  std::string text;
  for (const std::uint32_t word : words)
    for (const unsigned shift : {24U, 16U, 8U, 0U}) text += static_cast<char>(word >> shift & 255U);
  return text;
}

/// `count` grey pictures of width 3 and height 2 whose samples are all their number (modulo 256), with labels
/// number % 10.
inline void write_idx(const std::filesystem::path& folder, const std::string& set, std::uint32_t count) {
  std::string images = big_endian({0x803, count, 2, 3});
  std::string labels = big_endian({0x801, count});
  for (std::uint32_t i = 0; i < count; ++i) {
    images += std::string(6, static_cast<char>(i));
    labels += static_cast<char>(i % 10);
  }
  write_bytes(folder / (set + "-images-idx3-ubyte"), images);
  write_bytes(folder / (set + "-labels-idx1-ubyte"), labels);
}

inline std::string gzipped(const std::string& text, const TemporaryFolder& folder) {
  const std::string path = (folder / "gzipped").string();
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(gzwrite(file, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size()));
  REQUIRE(gzclose(file) == Z_OK);
  std::string bytes = read_bytes(path);
  std::filesystem::remove(path);
  return bytes;
}

/// A CIFAR-10 record whose channels are red, green and blue throughout, but for a first red sample of 1.
inline std::string cifar_record(int label, int red, int green, int blue) {
  std::string record(1, static_cast<char>(label));
  for (const int value : {red, green, blue}) record += std::string(1024, static_cast<char>(value));
  record[1] = 1;
  return record;
}

/// What a reader or a loader refuses.
struct BadInput {
  std::string name;
  ErrorCode code;
  std::string says;            ///< part of the message
  std::function<void()> call;  ///< what throws
};

inline void check_refused(const std::vector<BadInput>& table) {
  for (const auto& [name, code, says, call] : table) {
    INFO(name);
    const Error error = error_of(call);
    INFO(error.what());
    CHECK(error.code() == code);
    CHECK(std::string_view(error.what()).find(says) != std::string_view::npos);
  }
}

}  // namespace culprit::test
