// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "classes.hpp"
#include "pixels.hpp"

namespace culprit::data {

/// One sample of a data set, without its pixels.
struct Item {
  std::string path;  ///< relative to the data set's root ("dog/0121.jpg"), or a record ("test_batch.bin#17")
  std::int64_t label = 0;  ///< class index, from 0
};

/// A numbered sequence of labelled pictures. Every member may be called from several threads at once.
class Dataset {
 public:
  explicit Dataset(Classes classes) : classes_(std::move(classes)) {}
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;
  virtual ~Dataset() = default;

  [[nodiscard]] virtual std::size_t size() const = 0;
  /// @pre i < size()
  [[nodiscard]] virtual Item item(std::size_t i) const = 0;
  /// Decodes picture i. @pre i < size()
  /// @throws Error naming the file when it cannot be read or decoded
  [[nodiscard]] virtual Image image(std::size_t i) const = 0;
  [[nodiscard]] const Classes& classes() const { return classes_; }

 private:
  Classes classes_;
};

/// 16 hexadecimal digits over all paths and labels in order (FNV-1a, 64 bit): which data a result came from.
inline std::string fingerprint(const Dataset& set) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  const auto add = [&hash](std::string_view text) {
    for (const char letter : text) hash = (hash ^ static_cast<std::uint8_t>(letter)) * 0x100000001b3U;
  };
  for (std::size_t i = 0; i < set.size(); ++i) {
    const Item item = set.item(i);
    add(item.path + '\t' + std::to_string(item.label) + '\n');
  }
  std::string text;
  for (unsigned shift = 64; shift != 0; shift -= 4) text += "0123456789abcdef"[(hash >> (shift - 4)) & 15U];
  return text;
}

}  // namespace culprit::data
