// SPDX-License-Identifier: MIT
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <limits>
#include <new>
#include <string>
#include <string_view>

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include "cli/experiments/experiment.hpp"
#include "cli/explain.hpp"
#include "cli/fit.hpp"
#include "cli/memory.hpp"
#include "cli/neighbors.hpp"
#include "cli/options.hpp"
#include "cli/outputs.hpp"
#include "cli/profile.hpp"
#include "cli/report.hpp"
#include "cli/text.hpp"
#include "culprit/distributed/world.hpp"
#include "culprit/io/safetensors.hpp"

namespace culprit::cli {

namespace {

/// LibTorch's warnings, and the library's, on one line each.
class OneLineWarnings final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override {
    constexpr std::string_view own = "culprit: ";
    std::string text = one_line(warning.msg());
    if (text.starts_with(own)) text.erase(0, own.size());
    std::fprintf(stderr, "culprit: warning: %s\n", text.c_str());
  }
};

/// @throws Error (argument) in one of several processes that a launcher started, which would all do the same
void require_one_process(const std::string& command) {
  const auto world = distributed::world_from_environment();
  if (!world) return;
  throw Error(ErrorCode::argument, "culprit " + command,
              "one process (culprit fit shares its samples among many; for profile there is --shard)",
              "rank " + std::to_string(world->rank) + " of " + std::to_string(world->size));
}

/// One result of those that runs with --shard wrote: of baselines or, by their tensors, of profiles.
void merge(const Options& options) {
  check_output_file(options.out);
  const std::string& first = options.parts.front();
  const bool profiles =
      std::filesystem::is_directory(first) || io::Safetensors::open(first).contains("profile");
  return profiles ? merge_profiles(options) : merge_baselines(options);
}

}  // namespace

void run(const Options& options) {
  OneLineWarnings warnings;
  const c10::WarningUtils::WarningHandlerGuard handler(&warnings);
  if (options.workers > 0) at::set_num_interop_threads(static_cast<int>(options.workers));
  switch (options.command) {
    case Command::fit:
      return fit(options);
    case Command::merge:
      return merge(options);
    case Command::profile:
      require_one_process("profile");
      return profile(options);
    case Command::explain:
      return explain(options);
    case Command::experiment:
      require_one_process("experiment");
      return experiment(options);
    case Command::report:
      return report(options);
    case Command::neighbors:
      return neighbors(options);
  }
}

std::string message_of_current_exception() {
  try {
    throw;
  } catch (const Error& error) {
    return one_line(error.what());
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (const std::exception& error) {
    return reason(error);
  } catch (...) {
    return "unknown";
  }
}

}  // namespace culprit::cli
