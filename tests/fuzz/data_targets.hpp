// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <culprit/core/error.hpp>
#include <zlib.h>

#include "cli/boxes.hpp"
#include "data/classes.hpp"
#include "data/file_dataset.hpp"
#include "data/idx.hpp"
#include "data/jpeg.hpp"
#include "data/png.hpp"
#include "data/record_dataset.hpp"
#include "fuzz/memory_file.hpp"
#include "fuzz/promise.hpp"

namespace culprit::test {

/// Reads the bytes as a file; an Error must be of the code, or one of io that no bytes can cause, and name
/// it.
template <class Read>
bool fuzz_file(std::string_view bytes, const Read& read) {
  const MemoryFile file(bytes);
  try {
    read(file.path());
    return true;
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format, "an error's code");
    require(error.place().starts_with(file.path().string()), "an error names its file");
    return false;
  }
}

inline bool fuzz_list(std::string_view bytes) {
  return fuzz_file(bytes, [&](const std::filesystem::path& path) {
    const auto set = data::open_list(path, std::nullopt);
    require(set->size() > 0 && set->size() <= bytes.size(), "an item for each line");
    for (std::size_t i = 0; i < set->size(); ++i) {
      const data::Item item = set->item(i);
      require(item.label >= 0, "a label from 0");
      const auto joined = (std::filesystem::path("/folder/of/list") / item.path).lexically_normal();
      require(joined.string().starts_with("/folder/of/list"), "no path leads out of the list's folder");
    }
  });
}

inline bool fuzz_classes(std::string_view bytes) {
  return fuzz_file(bytes, [&](const std::filesystem::path& path) {
    const data::Classes classes = data::Classes::read(path);
    (void)classes.name(0);
    const auto label = classes.label_of(bytes.substr(0, 64));
    require(!label || *label >= 0, "a label from 0");
  });
}

/// Of two pictures, "a.png" and "b,c.png", that the model sees as 8 x 9 pixels.
inline bool fuzz_boxes(std::string_view bytes) {
  const data::FileDataset set("/folder", {{"a.png", 0}, {"b,c.png", 1}}, {});
  return fuzz_file(bytes, [&](const std::filesystem::path& path) {
    for (const auto& [sample, box] : cli::read_boxes(path, set, 8, 9)) {
      require(sample < set.size(), "a box is of a sample");
      require(0 <= box.top && box.top < box.bottom && box.bottom <= 8, "rows within the picture");
      require(0 <= box.left && box.left < box.right && box.right <= 9, "columns within the picture");
    }
  });
}

inline bool fuzz_idx(std::string_view bytes) {
  const auto read = [&](std::size_t rank) {
    return fuzz_file(bytes, [&](const std::filesystem::path& path) {
      const data::IdxArray array = data::read_idx(path, rank);
      require(array.shape.size() == rank, "as many extents as asked for");
      std::uint64_t size = 1;
      for (const std::uint32_t extent : array.shape) size *= extent;
      require(size == array.values.size(), "the shape fits the values");
    });
  };
  return read(bytes.size() > 3 && bytes[3] == 1 ? 1 : 3);
}

inline bool fuzz_cifar10(std::string_view bytes) {
  return fuzz_file(bytes, [&](const std::filesystem::path& path) {
    std::vector<data::Cifar10Dataset::Source> sources;
    sources.push_back(data::open_cifar10_batch(path));
    const data::Cifar10Dataset set(std::move(sources), {});
    require(set.size() * data::Cifar10Dataset::record_bytes == bytes.size(), "every byte is of a record");
    for (std::size_t i = 0; i < set.size(); ++i) {
      require(set.item(i).label >= 0 && set.item(i).label <= 9, "a label from 0 to 9");
      const data::Image image = set.image(i);
      (void)sum_of(std::as_bytes(std::span{image.pixels}));
    }
  });
}

template <class Decode>
bool fuzz_image(std::string_view bytes, const Decode& decode) {
  try {
    const data::Image image = decode(std::as_bytes(std::span{bytes}), "fuzz");
    require(image.width > 0 && image.height > 0, "a picture has pixels");
    require(image.channels == 1 || image.channels == 3, "grey or RGB");
    require(image.pixels.size() == image.row_bytes() * static_cast<std::size_t>(image.height),
            "the pixels fill the extents");
    (void)sum_of(std::as_bytes(std::span{image.pixels}));
    return true;
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format && error.place() == "fuzz", "an error names its picture");
    return false;
  }
}

inline bool fuzz_jpeg(std::string_view bytes) { return fuzz_image(bytes, data::decode_jpeg); }

/// A PNG with the right checksum behind each of its chunks: a changed byte mostly ends at a wrong one.
inline std::string with_checksums(std::string_view bytes) {
  std::string png(bytes);
  const auto number = [&png](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8U | static_cast<std::uint8_t>(png[at + i]);
    return value;
  };
  constexpr std::size_t magic = 8, around = 12;  // length, type and checksum of a chunk
  for (std::size_t at = magic; at + around <= png.size() && number(at) <= png.size() - at - around;
       at += around + number(at)) {
    const std::size_t end = at + 8 + number(at);
    const auto* const type = reinterpret_cast<const Bytef*>(png.data() + at + 4);
    const uLong sum = crc32(0, type, static_cast<uInt>(end - at - 4));
    for (std::size_t i = 0; i < 4; ++i) png[end + i] = static_cast<char>(sum >> (24 - 8 * i) & 0xffU);
  }
  return png;
}

inline bool fuzz_png(std::string_view bytes) {
  const bool accepted = fuzz_image(bytes, data::decode_png);
  return fuzz_image(with_checksums(bytes), data::decode_png) || accepted;
}

}  // namespace culprit::test
