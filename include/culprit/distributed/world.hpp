// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"

/// One job over many processes.
namespace culprit::distributed {

/// Which of the processes of a job this one is, and where they meet.
struct World {
  int rank = 0;              ///< 0 to size - 1
  int size = 1;              ///< processes of the job
  std::string address;       ///< where rank 0, or the store of its launcher, can be reached
  std::uint16_t port = 0;    ///< of the store
  std::string run;           ///< the launcher's name of the job; empty where it gives none
  bool store_given = false;  ///< whether the launcher has the store already; else rank 0 makes it
};

namespace detail {

/// The variables of one launcher.
struct Launcher {
  const char* rank;
  const char* size;
  /// A batch script of Slurm's has the rank, and no size of a step, for it is the only one of its kind.
  bool rank_alone = false;
};

inline constexpr std::array launchers{
    Launcher{"RANK", "WORLD_SIZE"},                            // torchrun, Kubernetes
    Launcher{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},  // Open MPI
    Launcher{"PMI_RANK", "PMI_SIZE"},                          // MPICH, Intel MPI
    Launcher{"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", true},    // srun
};

/// @throws Error (argument) for anything but an integer of this range
inline int parse_in_range(const char* name, std::string_view text, int least, int most) {
  int value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
    throw Error(ErrorCode::argument, name,
                "an integer from " + std::to_string(least) + " to " + std::to_string(most),
                io::in_quotes(text));
  }
  return value;
}

/// @throws Error (argument) where the variable is not set; `beside` is one that is.
template <class Lookup>
std::string require_variable(const Lookup& lookup, const char* name, const char* expected,
                             const char* beside) {
  const char* const value = lookup(name);
  if (value == nullptr) {
    throw Error(ErrorCode::argument, name, std::string(expected) + ", for " + beside + " is set", "nothing");
  }
  return value;
}

}  // namespace detail

/// The world that environment variables tell of; see world_from_environment().
///
/// @param lookup  name -> value, nullptr where the variable is not set
template <class Lookup>
[[nodiscard]] std::optional<World> world_from(const Lookup& lookup) {
  constexpr int most = 1 << 24;
  for (const detail::Launcher& launcher : detail::launchers) {
    const bool has_size = lookup(launcher.size) != nullptr;
    if (!has_size && (launcher.rank_alone || lookup(launcher.rank) == nullptr)) continue;
    const auto require = [&](const char* name, const char* expected) {
      return detail::require_variable(lookup, name, expected, has_size ? launcher.size : launcher.rank);
    };

    World world;
    world.size =
        detail::parse_in_range(launcher.size, require(launcher.size, "the number of processes"), 1, most);
    world.rank = detail::parse_in_range(launcher.rank, require(launcher.rank, "the number of this process"),
                                        0, world.size - 1);
    if (world.size == 1) return std::nullopt;
    world.address = require("MASTER_ADDR", "a host name or address of rank 0");
    world.port = static_cast<std::uint16_t>(
        detail::parse_in_range("MASTER_PORT", require("MASTER_PORT", "a free port of rank 0"), 1, 65535));
    if (const char* const run = lookup("TORCHELASTIC_RUN_ID")) world.run = run;
    const char* const store = lookup("TORCHELASTIC_USE_AGENT_STORE");
    world.store_given = store != nullptr && std::string_view(store) == "True";
    return world;
  }
  return std::nullopt;
}

/// The world that a launcher put this process into, by the first of these pairs that is set:
///
/// | launcher              | rank                 | size                 |
/// |-----------------------|----------------------|----------------------|
/// | torchrun, Kubernetes  | RANK                 | WORLD_SIZE           |
/// | Open MPI              | OMPI_COMM_WORLD_RANK | OMPI_COMM_WORLD_SIZE |
/// | MPICH, Intel MPI      | PMI_RANK             | PMI_SIZE             |
/// | srun of Slurm         | SLURM_PROCID         | SLURM_STEP_NUM_TASKS |
///
/// Each needs MASTER_ADDR and MASTER_PORT too, which only torchrun sets itself.
///
/// @return nothing for one process alone
/// @throws Error (argument) naming the variable that is missing or malformed
[[nodiscard]] inline std::optional<World> world_from_environment() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here changes the environment
  return world_from([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace culprit::distributed
