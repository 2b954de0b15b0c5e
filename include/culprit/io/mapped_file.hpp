// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
#include <cstddef>
#include <fcntl.h>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "culprit/core/error.hpp"

namespace culprit::io {

/// A regular file, mapped read-only. Move-only; a move keeps the addresses. Another process that truncates
/// the file while it is mapped makes later reads fault, as with every mapping: files written by
/// write_atomically are replaced, never truncated.
class MappedFile {
 public:
  /// @throws Error{io} when the path cannot be opened or is not a regular file
  static MappedFile open(const std::filesystem::path& path) {
    const auto refuse = [&path](const char* expected, const std::string& came) {
      throw Error(ErrorCode::io, path.string(), expected, came);
    };
    const auto reason = [] { return std::generic_category().message(errno); };
    // O_NONBLOCK: a named pipe must be refused, not waited for.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) refuse("a file that can be read", reason());
    struct Closer {
      int descriptor;
      ~Closer() { ::close(descriptor); }
    } const closer{descriptor};
    struct ::stat status {};
    if (::fstat(descriptor, &status) != 0) refuse("a file that can be read", reason());
    if (!S_ISREG(status.st_mode)) refuse("a regular file", "a folder, device or pipe");
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size == 0) return MappedFile{nullptr, 0};
    void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (address == MAP_FAILED) refuse("a file that can be mapped", reason());
    return MappedFile{static_cast<const std::byte*>(address), size};
  }

  /// Takes over the mapping.
  MappedFile(MappedFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  /// Takes over the mapping; the other has this one's.
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  }

  /// The file's content, valid while this object, or the one it was moved to, lives.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  /// The same as characters.
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(data_), size_};
  }

 private:
  MappedFile(const std::byte* data, std::size_t size) noexcept : data_(data), size_(size) {}

  const std::byte* data_;
  std::size_t size_;
};

}  // namespace culprit::io
