// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <iostream>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>

#include <stdlib.h>
#include <torch/types.h>

#include "cli/text.hpp"
#include "culprit/core/error.hpp"
#include "culprit/io/atomic_file.hpp"
#include "culprit/io/tensor_view.hpp"

namespace culprit::cli {

namespace detail {

/// The folder that holds the path; where nothing is left of a relative one, ".".
inline std::filesystem::path parent(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

/// Whether a file can be made in the folder, asked by making one: permissions alone do not tell (read-only
/// mounts, root).
inline void check_writable(const std::filesystem::path& folder, const std::filesystem::path& target) {
  std::string probe = (folder / ".culprit-probe-XXXXXX.tmp").string();
  const int descriptor = ::mkstemps(probe.data(), 4);
  if (descriptor < 0) {
    throw Error(ErrorCode::io, target.string(), "a folder that can be written to",
                std::generic_category().message(errno));
  }
  ::close(descriptor);
  ::unlink(probe.c_str());
}

}  // namespace detail

/// Refuses a path that could not be written to at the end of a long run.
/// @throws Error (io) naming it
inline void check_output_file(const std::filesystem::path& file) {
  std::error_code failure;
  if (std::filesystem::exists(file, failure) && !std::filesystem::is_regular_file(file, failure)) {
    throw Error(ErrorCode::io, file.string(), "a file to write", "a folder, device or pipe");
  }
  const std::filesystem::path folder = detail::parent(file);
  if (!std::filesystem::is_directory(folder, failure)) {
    throw Error(ErrorCode::io, file.string(), "a file in a folder that is there",
                "no folder " + folder.string());
  }
  detail::check_writable(folder, file);
}

/// The same for a folder, which need not be there yet.
inline void check_output_folder(const std::filesystem::path& folder) {
  std::error_code failure;
  std::filesystem::path there = folder;
  while (!std::filesystem::exists(there, failure)) there = detail::parent(there);
  if (!std::filesystem::is_directory(there, failure)) {
    throw Error(ErrorCode::io, folder.string(), "a folder that can be made", "the file " + there.string());
  }
  detail::check_writable(there, folder);
}

/// @throws Error (io) naming the folder
inline void make_folder(const std::filesystem::path& folder) {
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure) throw Error(ErrorCode::io, folder.string(), "a folder that can be made", failure.message());
}

inline void write_text(const std::filesystem::path& file, std::string_view text) {
  io::write_atomically(file, [text](std::ostream& out) { out << text; });
}

/// One line of a command's summary.
inline void print_row(const std::string& name, const std::string& value) {
  std::cout << padded(name, 11) << ' ' << value << '\n';
}

/// The bytes of a contiguous tensor on the CPU: bfloat16, float32, float64 or int64.
inline io::TensorView view_of(const torch::Tensor& tensor) {
  const auto dtype = tensor.scalar_type() == torch::kBFloat16  ? io::Dtype::BF16
                     : tensor.scalar_type() == torch::kFloat32 ? io::Dtype::F32
                     : tensor.scalar_type() == torch::kFloat64 ? io::Dtype::F64
                                                               : io::Dtype::I64;
  return {
      dtype, tensor.sizes().vec(), {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

}  // namespace culprit::cli
