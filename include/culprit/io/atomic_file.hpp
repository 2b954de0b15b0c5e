// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <ostream>
#include <random>
#include <streambuf>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "culprit/core/error.hpp"

namespace culprit::io {
namespace detail {

[[noreturn]] inline void fail_io(const std::filesystem::path& path, const char* expected, int error) {
  throw Error(ErrorCode::io, path.string(), expected, std::generic_category().message(error));
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int value) noexcept : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }

  [[nodiscard]] int value() const noexcept { return value_; }
  /// 0 or errno: network file systems report a failed write only here.
  int close() noexcept {
    const int open = std::exchange(value_, -1);
    return open >= 0 && ::close(open) != 0 ? errno : 0;
  }

 private:
  int value_;
};

/// Buffered output to a descriptor that remembers why a write failed; std::ofstream forgets it.
class DescriptorBuffer : public std::streambuf {
 public:
  explicit DescriptorBuffer(int descriptor) : descriptor_(descriptor) {
    setp(buffer_.data(), buffer_.data() + buffer_.size());
  }
  /// errno of the first write that failed, 0 if none did.
  [[nodiscard]] int error() const noexcept { return error_; }

 protected:
  int_type overflow(int_type symbol) override {
    if (sync() != 0) return traits_type::eof();
    if (!traits_type::eq_int_type(symbol, traits_type::eof())) sputc(traits_type::to_char_type(symbol));
    return traits_type::not_eof(symbol);
  }
  int sync() override {
    const bool written = write(pbase(), static_cast<std::size_t>(pptr() - pbase()));
    setp(buffer_.data(), buffer_.data() + buffer_.size());
    return written ? 0 : -1;
  }
  std::streamsize xsputn(const char* data, std::streamsize count) override {
    if (count < epptr() - pptr()) return std::streambuf::xsputn(data, count);
    return sync() == 0 && write(data, static_cast<std::size_t>(count)) ? count : 0;
  }

 private:
  bool write(const char* data, std::size_t count) noexcept {
    while (error_ == 0 && count > 0) {
      const ssize_t done = ::write(descriptor_, data, count);
      if (done > 0) {
        data += done;
        count -= static_cast<std::size_t>(done);
      } else if (done == 0) {
        error_ = EIO;
      } else if (errno != EINTR) {
        error_ = errno;
      }
    }
    return error_ == 0;
  }

  int descriptor_;
  int error_ = 0;
  std::array<char, 65536> buffer_;
};

/// Removes a temporary file unless it became the real one.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::filesystem::path path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  void keep() noexcept { path_.clear(); }

 private:
  std::filesystem::path path_;
};

/// What the names of this process's temporary files begin with, and of those of a process that is forked from
/// it after the first call. The random number tells them from those of the same process number on another
/// machine.
inline const std::string& temporary_prefix() {
  static const std::string prefix =
      ".culprit-" + std::to_string(::getpid()) + '-' + std::to_string(std::random_device()()) + '-';
  return prefix;
}

/// Opens a new file in the folder under a name that nothing had; the name leaves room for any target's
/// length.
inline std::pair<int, std::filesystem::path> create_unique(const std::filesystem::path& folder,
                                                           const std::filesystem::path& target) {
  static std::atomic<unsigned long> next{0};
  for (;;) {
    auto path = folder / (temporary_prefix() + std::to_string(next++) + ".tmp");
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) return {descriptor, std::move(path)};
    if (errno != EEXIST && errno != EINTR) fail_io(target, "a folder that a file can be created in", errno);
  }
}

inline void sync_folder(const std::filesystem::path& folder, const std::filesystem::path& target) {
  Descriptor descriptor{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  // Some network file systems cannot sync a folder and say EINVAL; there the rename itself is all there is.
  if (descriptor.value() < 0 || (::fsync(descriptor.value()) != 0 && errno != EINVAL)) {
    fail_io(target, "a folder that can be synced", errno);
  }
}

}  // namespace detail

/// Writes a file so that, whatever happens (an exception, a full disk, a crash, a power cut), the path holds
/// either its old content or all of the new one: a temporary file in the same folder (named .culprit-*.tmp;
/// only a killed process leaves one), fsync, rename, fsync of the folder. A link is followed: the file it
/// names is replaced.
///
/// @param path    the file; its folder must exist
/// @param writer  writes the content; what it throws passes through after the temporary file is removed
/// @throws Error{io} naming the path and the system's reason; Error{argument} when the path is a device, pipe
/// or folder
inline void write_atomically(const std::filesystem::path& path,
                             const std::function<void(std::ostream&)>& writer) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw Error(ErrorCode::argument, path.string(), "the path of a regular file", "a folder, device or pipe");
  }
  auto target = std::filesystem::exists(status) ? std::filesystem::canonical(path, ignored) : path;
  if (target.empty()) target = path;
  const auto folder = target.has_parent_path() ? target.parent_path() : std::filesystem::path{"."};

  auto [value, name] = detail::create_unique(folder, path);
  detail::Descriptor descriptor{value};
  detail::TemporaryFile temporary{std::move(name)};
  detail::DescriptorBuffer buffer{descriptor.value()};
  std::ostream out{&buffer};
  constexpr const char* expected = "to write the whole file";
  try {
    writer(out);
    out.flush();
  } catch (...) {
    if (buffer.error() != 0) detail::fail_io(path, expected, buffer.error());
    throw;
  }
  if (buffer.error() != 0) detail::fail_io(path, expected, buffer.error());
  if (!out)
    throw Error(ErrorCode::io, path.string(), expected, "a stream that its writer left in a failed state");
  if (::fsync(descriptor.value()) != 0) detail::fail_io(path, expected, errno);
  if (const int error = descriptor.close(); error != 0) detail::fail_io(path, expected, error);
  if (::rename(temporary.path().c_str(), target.c_str()) != 0) {
    detail::fail_io(path, "a file that can be replaced", errno);
  }
  temporary.keep();
  detail::sync_folder(folder, path);
}

/// Removes the temporary files in the folder that a killed child of run_isolated() left; no thread may be
/// writing a file there. Nothing is said of what cannot be removed.
inline void remove_temporaries(const std::filesystem::path& folder) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().starts_with(detail::temporary_prefix()))
      std::filesystem::remove(entry.path(), ignored);
  }
}

}  // namespace culprit::io
