// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <system_error>

#include "cli/memory.hpp"
#include "cli/options.hpp"
#include "culprit/core/error.hpp"
#include "culprit/io/atomic_file.hpp"
#include "culprit/io/isolate.hpp"

namespace culprit::cli {

/// Removes the temporary files where --out is written: beside a file and in its parts, and everywhere in a
/// folder.
inline void remove_leftovers(const std::filesystem::path& out) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(out, ignored)) {
    io::remove_temporaries(std::filesystem::weakly_canonical(out, ignored).parent_path());
    return io::remove_temporaries(std::filesystem::path(out) += ".parts");
  }
  io::remove_temporaries(out);
  std::error_code failure;
  for (auto entry = std::filesystem::recursive_directory_iterator(out, failure);
       !failure && entry != std::filesystem::recursive_directory_iterator(); entry.increment(failure)) {
    if (entry->is_directory(ignored)) io::remove_temporaries(entry->path());
  }
}

/// Runs the command in a child process that may use as much memory as is free, and --time-limit.
/// @return its exit status
/// @throws Error (process) naming the model when the child was killed
[[nodiscard]] inline int run_isolated(const Options& options, const std::function<int()>& command) {
  io::IsolationLimits limits;
  if (const auto free = available_memory()) limits.memory = static_cast<std::uint64_t>(*free);
  if (options.time_limit > 0) limits.seconds = options.time_limit;
  try {
    return io::run_isolated(command, limits);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::process) throw;
    remove_leftovers(options.out);
    throw Error(error.code(), options.model + ", isolated", error.expected(), error.came());
  }
}

}  // namespace culprit::cli
