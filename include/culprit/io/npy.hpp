// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "culprit/core/error.hpp"
#include "culprit/io/atomic_file.hpp"
#include "culprit/io/describe.hpp"
#include "culprit/io/mapped_file.hpp"
#include "culprit/io/tensor_view.hpp"

namespace culprit::io {

/// An array of NumPy: C order, little-endian, its memory owned.
struct NpyArray {
  Dtype dtype = Dtype::F32;         ///< of the elements
  std::vector<std::int64_t> shape;  ///< the last dimension is contiguous
  std::vector<std::byte> data;      ///< the elements' bytes

  [[nodiscard]] TensorView view() const { return {dtype, shape, data}; }  ///< as a tensor, without a copy
  /// @throws Error{dtype} for another type than T's
  template <Element T>
  [[nodiscard]] std::span<const T> values() const {
    return detail::values_of<T>(view(), "npy array");
  }
};

namespace detail {

inline constexpr std::size_t npy_most_dimensions = 64;

/// The header of an npy file, a Python dictionary of three keys, read without Python.
class NpyHeader {
 public:
  /// @param first  where in the file the text begins, in bytes
  NpyHeader(std::string_view text, std::string_view place, std::size_t first)
      : text_(text), place_(place), first_(first) {
    std::optional<Dtype> dtype;
    std::optional<std::vector<std::int64_t>> extents;
    bool has_order = false;
    expect('{');
    while (!take('}')) {
      const std::size_t key_byte = position();
      const std::string_view key = string();
      expect(':');
      const std::size_t value_byte = position();
      if (key == "descr" && !dtype) {
        dtype = read_dtype(value_byte);
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        if (take_word("True"))
          fail(ErrorCode::format, value_byte, "an array in C order", "fortran_order True");
        if (!take_word("False")) refuse("True or False");
      } else if (key == "shape" && !extents) {
        extents = tuple();
      } else {
        fail(ErrorCode::format, key_byte, "the keys descr, fortran_order and shape, each once",
             in_quotes(key));
      }
      if (!take(',') && peek() != '}') refuse("',' or '}'");
    }
    if (position() != first_ + text_.size()) refuse("the end of the header");
    if (!dtype || !extents || !has_order) {
      fail(ErrorCode::format, first_, "the keys descr, fortran_order and shape",
           std::string{"no "} + (!dtype     ? "descr"
                                 : !extents ? "shape"
                                            : "fortran_order"));
    }
    dtype_ = *dtype;
    shape_ = std::move(*extents);
  }

  [[nodiscard]] Dtype dtype() const noexcept { return dtype_; }
  [[nodiscard]] const std::vector<std::int64_t>& shape() const noexcept { return shape_; }

 private:
  [[noreturn]] void fail(ErrorCode code, std::size_t byte, const std::string& expected,
                         const std::string& came) const {
    throw Error(code, at_byte(place_, byte), expected, came);
  }
  [[noreturn]] void refuse(const std::string& expected) {
    const char next = peek();
    fail(ErrorCode::format, position(), expected,
         next == '\0' ? std::string{"the end of the header, or byte 0"} : in_quotes({&next, 1}));
  }
  std::size_t position() {
    at_ = std::min(text_.find_first_not_of(" \t\n\r", at_), text_.size());
    return first_ + at_;
  }
  /// The next byte, white space skipped; 0 at the end.
  char peek() {
    position();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char symbol) {
    const bool taken = peek() == symbol;
    at_ += taken ? 1 : 0;
    return taken;
  }
  bool take_word(std::string_view word) {
    position();
    const bool taken = text_.substr(at_).starts_with(word);
    at_ += taken ? word.size() : 0;
    return taken;
  }
  void expect(char symbol) {
    if (!take(symbol)) refuse(std::string{'\''} + symbol + '\'');
  }
  std::string_view string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') refuse("a string in quotes");
    const std::size_t begin = ++at_;
    at_ = text_.find(quote, begin);
    if (at_ == text_.npos) fail(ErrorCode::format, first_ + begin - 1, "a string that ends", "none");
    return text_.substr(begin, at_++ - begin);
  }
  Dtype read_dtype(std::size_t byte) {
    if (peek() == '[') fail(ErrorCode::dtype, byte, "one element type", "a structure");
    const std::string_view text = string();
    if (text.starts_with('>')) fail(ErrorCode::dtype, byte, "little-endian elements", in_quotes(text));
    const auto dtype = find_dtype(&DtypeFacts::descr, text);
    if (!dtype) {
      fail(ErrorCode::dtype, byte, "|b1, |u1, |i1, <u2 to <u8, <i2 to <i8, or <f2 to <f8", in_quotes(text));
    }
    return *dtype;
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> extents;
    expect('(');
    while (!take(')')) {
      const std::size_t byte = position();
      if (extents.size() == npy_most_dimensions) {
        fail(ErrorCode::format, byte, "at most " + std::to_string(npy_most_dimensions) + " dimensions",
             "more");
      }
      std::int64_t extent = -1;
      const char* const begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), extent);
      if (error != std::errc{} || extent < 0) refuse("an extent from 0 to 2^63 - 1");
      at_ += static_cast<std::size_t>(end - begin);
      extents.push_back(extent);
      // "(3)" is a number in Python, "(3,)" a tuple.
      if (!take(',') && (peek() != ')' || extents.size() == 1)) refuse("','");
    }
    return extents;
  }

  std::string_view text_;
  std::string_view place_;
  std::size_t first_;
  std::size_t at_ = 0;
  Dtype dtype_ = Dtype::F32;
  std::vector<std::int64_t> shape_;
};

}  // namespace detail

/// Reads the bytes of an npy file (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html),
/// versions 1.0 to 3.0. Nothing is allocated before the file is known to hold it. Structured, big-endian,
/// complex, object and Fortran-ordered arrays are refused.
/// @param place  the file, for errors
/// @throws Error{format} or Error{dtype}, naming place and byte
inline NpyArray parse_npy(std::string_view file, std::string_view place) {
  constexpr std::string_view magic = "\x93NUMPY";
  const auto fail = [place](std::size_t byte, const std::string& expected, const std::string& came) {
    throw Error(ErrorCode::format, at_byte(place, byte), expected, came);
  };
  const auto byte_at = [file](std::size_t i) {
    return static_cast<std::size_t>(static_cast<unsigned char>(file[i]));
  };
  if (!file.starts_with(magic))
    fail(0, "\\x93NUMPY, the first bytes of an npy file", in_quotes(file.substr(0, 6)));
  const std::size_t version = file.size() > 7 ? byte_at(6) : 0;
  if (version < 1 || version > 3 || byte_at(7) != 0) {
    fail(6, "version 1.0, 2.0 or 3.0", in_quotes(file.substr(6, 2)));
  }
  const std::size_t begin = version == 1 ? 10 : 12;
  if (file.size() < begin) fail(8, "the header's length", "the end of the file");
  std::size_t length = 0;
  for (std::size_t i = begin; i > 8; --i) length = length << 8 | byte_at(i - 1);
  if (length > file.size() - begin) {
    fail(8, "a header of at most " + std::to_string(file.size() - begin) + " bytes", std::to_string(length));
  }
  const detail::NpyHeader header{file.substr(begin, length), place, begin};
  const std::string_view data = file.substr(begin + length);
  const auto bytes = detail::byte_count(header.dtype(), header.shape());
  if (bytes != data.size()) {
    fail(begin + length,
         (bytes ? std::to_string(*bytes) + " bytes" : std::string{"a size that memory holds"}) + " for " +
             std::string{name_of(header.dtype())} + " of shape " + text_of(header.shape()),
         std::to_string(data.size()) + " bytes");
  }
  const auto span = std::as_bytes(std::span{data});
  return {header.dtype(), header.shape(), {span.begin(), span.end()}};
}

/// Reads an npy file; see parse_npy.
/// @throws Error{io} when the file cannot be read, and what parse_npy throws
inline NpyArray read_npy(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return parse_npy(file.text(), path.string());
}

/// Writes an npy file of version 1.0 with its data at a multiple of 64 bytes, atomically (see
/// write_atomically). The bytes depend on the tensor only.
/// @throws Error{shape} when the view's bytes do not fit its shape, or it has more than 64 dimensions;
/// Error{dtype} for
///         BF16, which NumPy has not; Error{io} when the file cannot be written
inline void write_npy(const std::filesystem::path& path, const TensorView& tensor) {
  const std::string place = path.string();
  detail::check_extent(tensor, place);
  if (tensor.shape.size() > detail::npy_most_dimensions) {
    throw Error(ErrorCode::shape, place, "at most 64 dimensions", std::to_string(tensor.shape.size()));
  }
  const std::string_view descr = detail::facts(tensor.dtype).descr;
  if (descr.empty()) {
    throw Error(ErrorCode::dtype, place, "an element type that NumPy has",
                std::string{name_of(tensor.dtype)});
  }
  std::string shape;
  for (const std::int64_t extent : tensor.shape)
    shape += (shape.empty() ? "" : " ") + std::to_string(extent) + ",";
  if (tensor.shape.size() > 1) shape.pop_back();
  std::string header =
      "{'descr': '" + std::string{descr} + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  constexpr std::size_t before = 10;
  header.append(63 - (before + header.size()) % 64, ' ').append("\n");
  write_atomically(path, [&](std::ostream& out) {
    out.write("\x93NUMPY\x01\x00", 8);
    out.put(static_cast<char>(header.size() & 0xff)).put(static_cast<char>(header.size() >> 8));
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    out.write(reinterpret_cast<const char*>(tensor.data.data()),
              static_cast<std::streamsize>(tensor.data.size()));
  });
}

}  // namespace culprit::io
