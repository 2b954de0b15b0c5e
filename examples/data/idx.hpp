// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <zlib.h>

#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"

namespace culprit::data {

/// An array of unsigned bytes from an IDX file, row-major: [N] labels, or [N, height, width] grey images.
struct IdxArray {
  std::vector<std::uint32_t> shape;
  std::vector<std::uint8_t> values;
};

namespace detail {

/// A file that may be compressed by gzip; one that is not is read as it is.
class GzipReader {
 public:
  explicit GzipReader(const std::filesystem::path& path)
      : place_(path.string()), size_(size_of(path)), file_(gzopen(path.c_str(), "rb"), gzclose) {
    if (!file_) throw Error(ErrorCode::io, place_, "a readable file", std::generic_category().message(errno));
  }
  /// Up to `count` more bytes, fewer at the end of the file. Memory grows with what is there, not with what a
  /// header promises.
  [[nodiscard]] std::vector<std::uint8_t> read(std::uint64_t count) {
    constexpr std::size_t step = std::size_t{1} << 16;
    std::vector<std::uint8_t> bytes;
    if (gzdirect(file_.get()) != 0) bytes.reserve(std::min(count, size_));
    while (bytes.size() < count) {
      const std::size_t old = bytes.size();
      const auto wanted = static_cast<unsigned>(std::min<std::uint64_t>(step, count - old));
      bytes.resize(old + wanted);
      const int got = gzread(file_.get(), bytes.data() + old, wanted);
      int status = Z_OK;
      const std::string reason = gzerror(file_.get(), &status);
      if (got < 0 || (status != Z_OK && status != Z_STREAM_END))
        throw Error(ErrorCode::format, place_, "whole gzip data", reason);
      bytes.resize(old + static_cast<std::size_t>(got));
      if (static_cast<unsigned>(got) < wanted) break;
    }
    return bytes;
  }

 private:
  // A pipe would be waited for.
  static std::uint64_t size_of(const std::filesystem::path& path) {
    std::error_code failure;
    const std::uint64_t size = std::filesystem::file_size(path, failure);
    if (failure) throw Error(ErrorCode::io, path.string(), "a readable file", failure.message());
    return size;
  }

  std::string place_;
  std::uint64_t size_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

}  // namespace detail

/// Reads an IDX file of unsigned bytes, raw or compressed by gzip: magic 00 00 08 R, R big-endian 32-bit
/// extents, the values (Y. LeCun, C. Cortes, "The MNIST database").
/// @param rank the number of extents that is expected
/// @throws Error io or format, naming the file: wrong magic, fewer or more bytes than the extents say
inline IdxArray read_idx(const std::filesystem::path& path, std::size_t rank) {
  detail::GzipReader reader(path);
  const std::string place = path.string();
  const std::vector<std::uint8_t> head = reader.read(4 + 4 * rank);
  const std::string magic{'\0', '\0', '\x08', static_cast<char>(rank)};
  const std::string came(head.begin(), head.begin() + std::min<std::ptrdiff_t>(4, std::ssize(head)));
  if (came != magic) {
    throw Error(ErrorCode::format, io::at_byte(place, 0), "IDX magic " + io::in_quotes(magic),
                io::in_quotes(came));
  }
  if (head.size() < 4 + 4 * rank) {
    throw Error(ErrorCode::format, place, std::to_string(4 + 4 * rank) + " bytes of IDX header",
                std::to_string(head.size()));
  }

  IdxArray array;
  std::uint64_t size = 1;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    const std::uint8_t* field = head.data() + 4 + 4 * axis;
    const std::uint32_t extent = std::uint32_t{field[0]} << 24U | std::uint32_t{field[1]} << 16U |
                                 std::uint32_t{field[2]} << 8U | std::uint32_t{field[3]};
    array.shape.push_back(extent);
    constexpr std::uint64_t most = std::uint64_t{1} << 40;
    if (extent == 0 || extent > most / size) {
      throw Error(ErrorCode::format, io::at_byte(place, 4 + 4 * axis),
                  "extents from 1, at most 2^40 values in all", std::to_string(extent));
    }
    size *= extent;
  }
  array.values = reader.read(size + 1);
  if (array.values.size() != size) {
    throw Error(ErrorCode::format, place, std::to_string(size) + " values, as its header says",
                array.values.size() > size ? "more" : std::to_string(array.values.size()));
  }
  return array;
}

}  // namespace culprit::data
