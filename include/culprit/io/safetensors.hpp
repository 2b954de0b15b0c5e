// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "culprit/core/error.hpp"
#include "culprit/io/atomic_file.hpp"
#include "culprit/io/describe.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/json_scanner.hpp"
#include "culprit/io/mapped_file.hpp"
#include "culprit/io/tensor_view.hpp"

namespace culprit::io {
namespace detail {

inline constexpr std::size_t safetensors_longest_header = 100'000'000;
inline constexpr std::size_t safetensors_most_dimensions = 64;

/// One entry of a header.
struct SafetensorsEntry {
  std::string name;
  TensorView tensor;
  std::size_t begin = 0;  ///< data_offsets, from the first byte of the data
  std::size_t end = 0;
  std::size_t byte = 0;  ///< where data_offsets stand in the file
};

/// The header of a safetensors file: read, and checked against the data that follows it.
class SafetensorsHeader {
 public:
  SafetensorsHeader(std::string_view file, const std::string& place)
      : file_(file), place_(place), scanner_(header_of(file, place), place, 8) {
    if (scanner_.peek() != '{' || scanner_.offset() != 8) scanner_.refuse("a header that begins with '{'");
    scanner_.object([this](std::string name, std::size_t byte) { member(std::move(name), byte); });
    scanner_.finish();
    data_ = file.substr(8 + header_of(file, place).size());
    place_data();
    sort_names();
  }

  std::vector<SafetensorsEntry> entries;  ///< in the order of their data
  std::vector<std::size_t> by_name;       ///< indices into entries
  std::map<std::string, std::string> metadata;

 private:
  static std::string_view header_of(std::string_view file, const std::string& place) {
    if (file.size() < 8) {
      throw Error(ErrorCode::format, at_byte(place, 0), "8 bytes that hold the header's length",
                  std::to_string(file.size()) + " bytes in all");
    }
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof length);
    const std::size_t longest = std::min(file.size() - 8, safetensors_longest_header);
    if (length > longest) {
      throw Error(ErrorCode::format, at_byte(place, 0),
                  "a header of at most " + std::to_string(longest) + " bytes", std::to_string(length));
    }
    return file.substr(8, static_cast<std::size_t>(length));
  }

  void member(std::string name, std::size_t byte) {
    if (name != "__metadata__") {
      entries.push_back(entry(std::move(name), byte));
      return;
    }
    if (std::exchange(has_metadata_, true)) scanner_.fail(byte, "\"__metadata__\" once", "a second one");
    scanner_.object([this](std::string key, std::size_t key_byte) {
      const auto [at, added] = metadata.try_emplace(std::move(key), scanner_.string());
      if (!added) scanner_.fail(key_byte, "each key once", in_quotes(at->first) + " again");
    });
  }

  SafetensorsEntry entry(std::string name, std::size_t byte) {
    SafetensorsEntry result;
    result.name = std::move(name);
    std::optional<Dtype> dtype;
    std::optional<std::vector<std::int64_t>> shape;
    std::vector<std::int64_t> offsets;
    scanner_.object([&](const std::string& key, std::size_t key_byte) {
      const std::size_t value_byte = scanner_.offset();
      if (key == "dtype" && !dtype) {
        const std::string text = scanner_.string();
        dtype = find_dtype(&DtypeFacts::name, text);
        if (!dtype) scanner_.fail(value_byte, "a dtype of BOOL, U8 to F64, F16 or BF16", in_quotes(text));
      } else if (key == "shape" && !shape) {
        shape = integers(safetensors_most_dimensions);
      } else if (key == "data_offsets" && offsets.empty()) {
        offsets = integers(2);
        if (offsets.size() != 2) scanner_.fail(value_byte, "two offsets", std::to_string(offsets.size()));
        result.byte = value_byte;
      } else {
        scanner_.fail(key_byte, "dtype, shape and data_offsets, each once", in_quotes(key));
      }
    });
    if (!dtype || !shape || offsets.empty()) {
      scanner_.fail(byte, "dtype, shape and data_offsets of tensor " + in_quotes(result.name),
                    std::string{"no "} + (!dtype   ? "dtype"
                                          : !shape ? "shape"
                                                   : "data_offsets"));
    }
    result.tensor.dtype = *dtype;
    result.tensor.shape = std::move(*shape);
    result.begin = static_cast<std::size_t>(offsets[0]);
    result.end = static_cast<std::size_t>(offsets[1]);
    return result;
  }

  /// An array of integers that are not negative.
  std::vector<std::int64_t> integers(std::size_t most) {
    std::vector<std::int64_t> result;
    scanner_.array([&] {
      const std::size_t byte = scanner_.offset();
      if (result.size() == most) scanner_.fail(byte, "at most " + std::to_string(most) + " integers", "more");
      const auto number = scanner_.number();
      const auto* const integer = std::get_if<std::int64_t>(&number);
      if (integer == nullptr || *integer < 0)
        scanner_.fail(byte, "an integer from 0 to 2^63 - 1", "another number");
      result.push_back(*integer);
    });
    return result;
  }

  /// Every byte of the data must belong to exactly one tensor, and every tensor must have the bytes its shape
  /// needs.
  void place_data() {
    std::stable_sort(entries.begin(), entries.end(),
                     [](const SafetensorsEntry& left, const SafetensorsEntry& right) {
                       return std::pair{left.begin, left.end} < std::pair{right.begin, right.end};
                     });
    std::size_t used = 0;
    for (SafetensorsEntry& entry : entries) {
      const auto refuse = [&](const std::string& expected) {
        throw Error(ErrorCode::format, at_byte(place_, entry.byte) + ", tensor " + in_quotes(entry.name),
                    expected,
                    "data_offsets [" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]");
      };
      if (entry.end > data_.size())
        refuse("an end within " + std::to_string(data_.size()) + " bytes of data");
      if (entry.begin != used)
        refuse("data that begins where the tensor before it ends, at " + std::to_string(used));
      const auto bytes = byte_count(entry.tensor.dtype, entry.tensor.shape);
      // An end before the begin makes the difference wrap to 2^63 or more, which is the size of no shape.
      if (bytes != entry.end - entry.begin) {
        refuse((bytes ? std::to_string(*bytes) + " bytes" : std::string{"a size that memory holds"}) +
               " for " + std::string{name_of(entry.tensor.dtype)} + " of shape " +
               text_of(entry.tensor.shape));
      }
      entry.tensor.data = std::as_bytes(std::span{data_.substr(entry.begin, *bytes)});
      used = entry.end;
    }
    if (used != data_.size()) {
      throw Error(ErrorCode::format, at_byte(place_, file_.size() - data_.size() + used),
                  "the end of the file after the last tensor",
                  std::to_string(data_.size() - used) + " more bytes");
    }
  }

  void sort_names() {
    by_name.resize(entries.size());
    std::iota(by_name.begin(), by_name.end(), std::size_t{0});
    std::sort(by_name.begin(), by_name.end(), [this](std::size_t left, std::size_t right) {
      return entries[left].name < entries[right].name;
    });
    for (std::size_t i = 1; i < by_name.size(); ++i) {
      const SafetensorsEntry& entry = entries[by_name[i]];
      if (entry.name == entries[by_name[i - 1]].name) {
        scanner_.fail(entry.byte, "each tensor once", in_quotes(entry.name) + " again");
      }
    }
  }

  std::string_view file_;
  const std::string& place_;
  JsonScanner scanner_;
  std::string_view data_;
  bool has_metadata_ = false;
};

}  // namespace detail

/// A safetensors file (https://github.com/huggingface/safetensors, "Format"), memory-mapped and read-only.
/// Everything is validated on opening, strictly: a header of at most 100 MB, well-formed JSON in UTF-8, names
/// and keys once, known dtypes, sizes without overflow, and data without holes, overlaps or trailing bytes.
/// Safe to open from strangers. Move-only; views and spans stay valid while the object, or the one it was
/// moved to, lives.
class Safetensors {
 public:
  /// @throws Error{io} when the file cannot be read, Error{format} naming file, byte and tensor when it is
  /// malformed
  static Safetensors open(const std::filesystem::path& path) { return Safetensors{path}; }

  /// In the order of the data.
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }
  /// Whether there is a tensor of that name.
  [[nodiscard]] bool contains(std::string_view name) const { return find(name) != nullptr; }
  /// @throws Error{format} when the file has no such tensor
  [[nodiscard]] const TensorView& at(std::string_view name) const {
    const TensorView* const tensor = find(name);
    if (tensor == nullptr) {
      throw Error(ErrorCode::format, place_, "the tensor " + in_quotes(name),
                  std::to_string(names_.size()) + " tensors without it");
    }
    return *tensor;
  }
  /// Names and texts of `__metadata__`.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }

  /// The values of a tensor, in the file's memory. write_safetensors aligns every tensor; other writers may
  /// not.
  /// @throws Error{dtype} for another type than T's, Error{format} when the values are not aligned for T:
  /// read() then
  template <Element T>
  [[nodiscard]] std::span<const T> values(std::string_view name) const {
    return detail::values_of<T>(at(name), place_ + ", tensor " + in_quotes(name));
  }
  /// A copy of the values of a tensor, aligned or not.
  /// @throws Error{dtype} for another type than T's
  template <Element T>
  [[nodiscard]] std::vector<T> read(std::string_view name) const {
    return detail::copy_of<T>(at(name), place_ + ", tensor " + in_quotes(name));
  }

 private:
  explicit Safetensors(const std::filesystem::path& path)
      : file_(MappedFile::open(path)), place_(path.string()) {
    detail::SafetensorsHeader header{file_.text(), place_};
    metadata_ = std::move(header.metadata);
    by_name_ = std::move(header.by_name);
    names_.reserve(header.entries.size());
    tensors_.reserve(header.entries.size());
    for (detail::SafetensorsEntry& entry : header.entries) {
      names_.push_back(std::move(entry.name));
      tensors_.push_back(std::move(entry.tensor));
    }
  }

  [[nodiscard]] const TensorView* find(std::string_view name) const {
    const auto at = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                     [this](std::size_t i, std::string_view key) { return names_[i] < key; });
    return at == by_name_.end() || names_[*at] != name ? nullptr : &tensors_[*at];
  }

  MappedFile file_;
  std::string place_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> names_;
  std::vector<TensorView> tensors_;
  std::vector<std::size_t> by_name_;  ///< indices into the two vectors, sorted by name
};

/// A tensor whose data lies in several places, one behind the other.
struct TensorPieces {
  Dtype dtype = Dtype::F32;                      ///< of the elements
  std::vector<std::int64_t> shape;               ///< of the whole
  std::vector<std::span<const std::byte>> data;  ///< the pieces, in this order

  /// Of all pieces together.
  [[nodiscard]] std::size_t bytes() const noexcept {
    std::size_t sum = 0;
    for (const auto& piece : data) sum += piece.size();
    return sum;
  }
};

/// Writes a safetensors file, atomically (see write_atomically). The bytes depend on the arguments only, and
/// not on where pieces end. Data is ordered by element size, largest first, else as given, and the header is
/// padded with spaces to a multiple of 8 bytes, so that every tensor is aligned in the mapped file.
/// @throws Error{shape} when a tensor's bytes do not fit its shape; Error{argument} for a name twice, or
/// "__metadata__";
///         Error{format} for text that is not UTF-8; Error{io} when the file cannot be written
inline void write_safetensors_in_pieces(const std::filesystem::path& path,
                                        std::span<const std::pair<std::string, TensorPieces>> tensors,
                                        const std::map<std::string, std::string>& metadata = {}) {
  const std::string place = path.string();
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t left, std::size_t right) { return tensors[left].first < tensors[right].first; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto& [name, tensor] = tensors[order[i]];
    if (name == "__metadata__" || (i > 0 && name == tensors[order[i - 1]].first)) {
      throw Error(ErrorCode::argument, place,
                  "tensor names that differ from each other and from __metadata__", in_quotes(name));
    }
    detail::check_extent(tensor.dtype, tensor.shape, tensor.bytes(), place + ", tensor " + in_quotes(name));
  }
  std::sort(order.begin(), order.end(), [&](std::size_t left, std::size_t right) {
    return std::pair{size_of(tensors[right].second.dtype), left} <
           std::pair{size_of(tensors[left].second.dtype), right};
  });

  Json::Object header;
  if (!metadata.empty()) {
    Json::Object texts;
    for (const auto& [key, text] : metadata) texts.emplace_back(key, text);
    header.emplace_back("__metadata__", Json::object(std::move(texts)));
  }
  std::size_t end = 0;
  for (const std::size_t i : order) {
    const auto& [name, tensor] = tensors[i];
    const std::size_t begin = std::exchange(end, end + tensor.bytes());
    header.emplace_back(name,
                        Json::object({{"dtype", name_of(tensor.dtype)},
                                      {"shape", Json::array({tensor.shape.begin(), tensor.shape.end()})},
                                      {"data_offsets", Json::array({begin, end})}}));
  }
  std::string text = dump(Json::object(std::move(header)));
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > detail::safetensors_longest_header) {
    throw Error(ErrorCode::argument, place, "a header of at most 100 MB",
                std::to_string(text.size()) + " bytes");
  }
  write_atomically(path, [&](std::ostream& out) {
    const std::uint64_t length = text.size();
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const std::size_t i : order) {
      for (const auto& piece : tensors[i].second.data)
        out.write(reinterpret_cast<const char*>(piece.data()), static_cast<std::streamsize>(piece.size()));
    }
  });
}

/// The same of tensors in one piece each.
inline void write_safetensors(const std::filesystem::path& path,
                              std::span<const std::pair<std::string, TensorView>> tensors,
                              const std::map<std::string, std::string>& metadata = {}) {
  std::vector<std::pair<std::string, TensorPieces>> pieces;
  for (const auto& [name, tensor] : tensors)
    pieces.emplace_back(name, TensorPieces{tensor.dtype, tensor.shape, {tensor.data}});
  write_safetensors_in_pieces(path, pieces, metadata);
}

}  // namespace culprit::io
