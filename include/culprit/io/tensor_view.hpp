// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "culprit/core/bfloat16.hpp"
#include "culprit/core/error.hpp"

namespace culprit::io {

static_assert(std::endian::native == std::endian::little, "safetensors and npy files are read in place");

/// Element types of tensors in files; F16 has no type here and is read as bytes.
enum class Dtype : std::uint8_t { Bool, U8, I8, U16, I16, F16, BF16, U32, I32, F32, U64, I64, F64 };

namespace detail {

struct DtypeFacts {
  std::string_view name;   ///< as safetensors writes it
  std::string_view descr;  ///< as npy writes it; empty: npy has none
  std::size_t size;
};

/// In the order of Dtype.
inline constexpr std::array<DtypeFacts, 13> dtype_facts{{{"BOOL", "|b1", 1},
                                                         {"U8", "|u1", 1},
                                                         {"I8", "|i1", 1},
                                                         {"U16", "<u2", 2},
                                                         {"I16", "<i2", 2},
                                                         {"F16", "<f2", 2},
                                                         {"BF16", "", 2},
                                                         {"U32", "<u4", 4},
                                                         {"I32", "<i4", 4},
                                                         {"F32", "<f4", 4},
                                                         {"U64", "<u8", 8},
                                                         {"I64", "<i8", 8},
                                                         {"F64", "<f8", 8}}};

constexpr const DtypeFacts& facts(Dtype dtype) noexcept {
  return dtype_facts[static_cast<std::size_t>(dtype)];
}

/// The dtype one of whose facts is the text.
constexpr std::optional<Dtype> find_dtype(std::string_view DtypeFacts::*fact,
                                          std::string_view text) noexcept {
  for (std::size_t i = 0; i < dtype_facts.size(); ++i) {
    if (!text.empty() && dtype_facts[i].*fact == text) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

/// product of the extents times the element size; nothing when it leaves 63 bits or an extent is negative.
constexpr std::optional<std::size_t> byte_count(Dtype dtype, std::span<const std::int64_t> shape) noexcept {
  // An extent of 0 makes the product 0, but extents are checked as if it were 1, so that strides cannot
  // overflow.
  std::uint64_t product = facts(dtype).size;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    if (extent == 0) {
      empty = true;
    } else if (product > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max() / extent)) {
      return std::nullopt;
    } else {
      product *= static_cast<std::uint64_t>(extent);
    }
  }
  return empty ? 0 : static_cast<std::size_t>(product);
}

}  // namespace detail

/// Bytes of one element.
constexpr std::size_t size_of(Dtype dtype) noexcept { return detail::facts(dtype).size; }
/// The name safetensors uses: BOOL, U8, ..., F64.
constexpr std::string_view name_of(Dtype dtype) noexcept { return detail::facts(dtype).name; }

/// C++ types whose values can be read in place. bool is not one: a byte of a file may be neither 0 nor 1.
template <class T>
concept Element = std::same_as<T, double> || std::same_as<T, float> || std::same_as<T, Bfloat16> ||
    (std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> && sizeof(T) <= 8);

/// The Dtype of an Element, or of bool.
template <class T>
requires Element<T> || std::same_as<T, bool>
constexpr Dtype dtype_of() noexcept {
  if constexpr (std::same_as<T, bool>) {
    return Dtype::Bool;
  } else if constexpr (std::same_as<T, Bfloat16>) {
    return Dtype::BF16;
  } else if constexpr (std::floating_point<T>) {
    return sizeof(T) == 4 ? Dtype::F32 : Dtype::F64;
  } else if constexpr (std::is_signed_v<T>) {
    return std::array{Dtype::I8, Dtype::I16, Dtype::I32, Dtype::I64}[std::bit_width(sizeof(T)) - 1];
  } else {
    return std::array{Dtype::U8, Dtype::U16, Dtype::U32, Dtype::U64}[std::bit_width(sizeof(T)) - 1];
  }
}

/// "[2, 3]", for messages.
inline std::string text_of(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (const std::int64_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

/// A tensor somewhere in memory that it does not own: C order, little-endian. Shape [] is one element.
struct TensorView {
  Dtype dtype = Dtype::F32;         ///< of the elements
  std::vector<std::int64_t> shape;  ///< C order
  std::span<const std::byte> data;  ///< little-endian
};

namespace detail {

/// @throws Error{shape} when the shape does not describe exactly so many bytes
inline void check_extent(Dtype dtype, std::span<const std::int64_t> shape, std::size_t came,
                         std::string_view place) {
  const auto bytes = byte_count(dtype, shape);
  if (bytes != came) {
    throw Error(ErrorCode::shape, std::string{place},
                std::string{name_of(dtype)} + " values for shape " + text_of(shape) +
                    (bytes ? " (" + std::to_string(*bytes) + " bytes)" : ", which no memory holds"),
                std::to_string(came) + " bytes");
  }
}

inline void check_extent(const TensorView& tensor, std::string_view place) {
  check_extent(tensor.dtype, tensor.shape, tensor.data.size(), place);
}

inline void check_dtype(const TensorView& tensor, Dtype expected, std::string_view place) {
  if (tensor.dtype != expected) {
    throw Error(ErrorCode::dtype, std::string{place}, std::string{name_of(expected)} + " values",
                std::string{name_of(tensor.dtype)});
  }
}

/// The values behind the view, without a copy.
/// @throws Error{dtype} for another type, Error{format} when they are not aligned for T
template <Element T>
std::span<const T> values_of(const TensorView& tensor, std::string_view place) {
  check_dtype(tensor, dtype_of<T>(), place);
  const auto remainder = reinterpret_cast<std::uintptr_t>(tensor.data.data()) % alignof(T);
  if (!tensor.data.empty() && remainder != 0) {
    throw Error(ErrorCode::format, std::string{place},
                "values aligned to " + std::to_string(alignof(T)) + " bytes (read<T>() copies any)",
                "an address " + std::to_string(remainder) + " bytes past such a boundary");
  }
  return {reinterpret_cast<const T*>(tensor.data.data()), tensor.data.size() / sizeof(T)};
}

/// A copy of the values, aligned or not.
/// @throws Error{dtype} for another type
template <Element T>
std::vector<T> copy_of(const TensorView& tensor, std::string_view place) {
  check_dtype(tensor, dtype_of<T>(), place);
  std::vector<T> values(tensor.data.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), values.size() * sizeof(T));
  return values;
}

}  // namespace detail

/// The values as a tensor of the given shape.
/// @throws Error{shape} when the shape has another number of elements
template <class T>
requires Element<T> || std::same_as<T, bool> TensorView view_of(std::span<const T> values,
                                                                std::vector<std::int64_t> shape) {
  TensorView view{dtype_of<T>(), std::move(shape), std::as_bytes(values)};
  detail::check_extent(view, "tensor");
  return view;
}

}  // namespace culprit::io
