// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <c10/util/Exception.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "culprit/core/error.hpp"
#include "culprit/distributed/world.hpp"
#include "culprit/io/hexadecimal.hpp"

namespace culprit::distributed {

using Bytes = std::vector<std::uint8_t>;  ///< what processes give each other

/// The processes of a job, which meet at a store of torch.distributed's (c10d::TCPStore): that of torchrun's
/// agent, or one that rank 0 makes. All call the same members in the same order; one group for a process.
///
/// A process waits for others for as long as that takes. Where one dies it is the launcher's part to end the
/// others, as torchrun and mpirun do, and srun with --kill-on-bad-exit. Where the store dies, all get an
/// Error.
class ProcessGroup {
 public:
  /// Meets the other processes.
  ///
  /// @param patience  how long to wait for the store and for all processes to be there
  /// @throws Error (io) naming who is missing; Error (argument) for two processes of one rank or other sizes
  explicit ProcessGroup(World world, std::chrono::milliseconds patience = std::chrono::minutes(30))
      : world_(std::move(world)) {
    guarded("a store of torch.distributed that answers", [&] {
      c10d::TCPStoreOptions options;
      options.port = world_.port;
      options.isServer = is_first() && !world_.store_given;
      options.waitWorkers = false;
      options.timeout = patience;
      const auto store = c10::make_intrusive<c10d::TCPStore>(world_.address, options);
      store_ = c10::make_intrusive<c10d::PrefixStore>("culprit/" + world_.run, store);
    });
    meet();
    store_->setTimeout(forever);
  }

  /// Which of the processes this one is.
  [[nodiscard]] const World& world() const noexcept { return world_; }
  /// Whether this is rank 0.
  [[nodiscard]] bool is_first() const noexcept { return world_.rank == 0; }

  /// Brings a part of each process to rank 0, one process after the other, so that the store never holds more
  /// than one part.
  ///
  /// @return the parts in the order of the ranks at rank 0, which then is free to exit; nothing elsewhere
  /// @throws Error (io) if the store is gone
  std::vector<Bytes> gather(std::span<const std::uint8_t> part) {
    const std::string name = "gather/" + std::to_string(calls_++) + '/';
    std::vector<Bytes> parts;
    guarded("parts of all processes", [&] {
      if (!is_first()) return send(name + std::to_string(world_.rank), part);
      parts.emplace_back(part.begin(), part.end());
      for (int rank = 1; rank < world_.size; ++rank) parts.push_back(receive(name + std::to_string(rank)));
    });
    return parts;
  }

  /// Returns when all processes have called it; rank 0 then is free to exit.
  /// @throws Error (io) if the store is gone
  void barrier() {
    const std::string name = "barrier/" + std::to_string(calls_++) + '/';
    guarded("all processes", [&] {
      if (is_first()) {
        store_->wait(of_others(name + "here/"));
        store_->set(name + "open", Bytes{});
        // The store must not go before its answer has reached everyone.
        store_->wait(of_others(name + "left/"));
      } else {
        store_->set(name + "here/" + std::to_string(world_.rank), Bytes{});
        store_->wait({name + "open"});
        store_->set(name + "left/" + std::to_string(world_.rank), Bytes{});
      }
    });
  }

 private:
  /// The most that c10d::TCPStore takes for a timeout is an int of milliseconds, 24 days.
  static constexpr std::chrono::milliseconds forever = std::chrono::hours(24 * 24);
  /// The store of torchrun's agent refuses values of more than 8 MiB.
  static constexpr std::size_t chunk = std::size_t{4} << 20U;

  /// Gives all processes of this round a place in the store that no other has.
  ///
  /// The agent's store outlives its processes, and after a restart it still holds what the former ones said.
  /// Nothing that a process is given tells the rounds apart: TORCHELASTIC_RESTART_COUNT counts one machine's
  /// own failures, and differs from machine to machine. So rank 0 draws a name for the round and tells it to
  /// everyone who asks, also to those who are gone, until each rank has answered with that name.
  void meet() {
    const std::string own = random_name();
    if (!is_first()) {
      guarded("rank 0", [&] {
        store_->queuePush("rank 0", bytes(own));
        const std::string round = text(store_->get("round of " + own));
        store_->queuePush("rank 0", bytes(presence(round, world_.rank)));
        store_ = c10::make_intrusive<c10d::PrefixStore>(round, store_);
      });
      return;
    }
    std::set<std::string> missing;
    for (int rank = 1; rank < world_.size; ++rank) missing.insert(presence(own, rank));
    while (!missing.empty()) {
      const std::string message = guarded(
          missing.begin()->substr(own.size()) + " and " + std::to_string(missing.size() - 1) + " more",
          [&] { return text(store_->queuePop("rank 0", true)); });
      if (missing.erase(message) != 0) continue;
      if (message.starts_with(own)) {
        throw Error(ErrorCode::argument, place(), "each rank of " + std::to_string(world_.size) + " once",
                    message.substr(own.size()));
      }
      guarded("a store that answers", [&] { store_->set("round of " + message, bytes(own)); });
    }
    store_ = c10::make_intrusive<c10d::PrefixStore>(own, store_);
  }

  [[nodiscard]] std::string presence(const std::string& round, int rank) const {
    return round + "rank " + std::to_string(rank) + " of " + std::to_string(world_.size);
  }

  void send(const std::string& name, std::span<const std::uint8_t> part) {
    store_->wait({name + "/turn"});
    store_->set(name + "/size", bytes(io::to_hex(part.size())));
    for (std::size_t begin = 0; begin < part.size(); begin += chunk) {
      const auto piece = part.subspan(begin, std::min(chunk, part.size() - begin));
      store_->set(name + '/' + std::to_string(begin), Bytes(piece.begin(), piece.end()));
    }
  }

  [[nodiscard]] Bytes receive(const std::string& name) {
    store_->set(name + "/turn", Bytes{});
    Bytes part(io::from_hex(text(store_->get(name + "/size"))));
    for (std::size_t begin = 0; begin < part.size(); begin += chunk) {
      const std::string key = name + '/' + std::to_string(begin);
      const Bytes piece = store_->get(key);
      if (piece.size() != std::min(chunk, part.size() - begin)) {
        throw Error(ErrorCode::format, place() + ", " + key,
                    std::to_string(std::min(chunk, part.size() - begin)) + " bytes",
                    std::to_string(piece.size()));
      }
      std::ranges::copy(piece, part.begin() + static_cast<std::ptrdiff_t>(begin));
      store_->deleteKey(key);
    }
    return part;
  }

  [[nodiscard]] std::vector<std::string> of_others(const std::string& name) const {
    std::vector<std::string> keys;
    for (int rank = 1; rank < world_.size; ++rank) keys.push_back(name + std::to_string(rank));
    return keys;
  }

  /// Calls `work`, and says as an Error what the store throws.
  template <class Work>
  std::invoke_result_t<Work> guarded(const std::string& expected, const Work& work) const {
    try {
      return work();
    } catch (const c10::Error& error) {
      const std::string reason = error.what_without_backtrace();
      throw Error(ErrorCode::io, place(), expected, reason.substr(0, reason.find('\n')));
    }
  }

  [[nodiscard]] std::string place() const {
    return "rank " + std::to_string(world_.rank) + " of " + std::to_string(world_.size) + " at " +
           world_.address + ':' + std::to_string(world_.port);
  }

  [[nodiscard]] static std::string random_name() {
    std::random_device random;
    std::string name;
    for (int i = 0; i < 4; ++i) name += io::to_hex(random()) + '-';
    return name;
  }
  [[nodiscard]] static Bytes bytes(const std::string& text) { return {text.begin(), text.end()}; }
  [[nodiscard]] static std::string text(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

  World world_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::uint64_t calls_ = 0;
};

}  // namespace culprit::distributed
